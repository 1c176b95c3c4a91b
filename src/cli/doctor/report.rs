//! The doctor's report: lines of text, or one JSON document. Only writes to stdout.
//!
//! Colour and the progress line appear only on a terminal; `NO_COLOR` turns colour off.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::blocking::Blocking;

/// The format of the report.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// One JSON document at the end.
    pub json: bool,
    /// Use colours.
    pub colour: bool,
    /// Show a progress line, which is overwritten.
    pub progress: bool,
}

/// The steps, warnings and lists so far.
pub struct Report {
    style: Style,
    steps: Vec<Value>,
    warnings: Vec<String>,
    lists: Vec<Value>,
    /// The seconds shown in the progress line, if there is one.
    second: Option<u64>,
}

const GREEN: &str = "32";
const YELLOW: &str = "33";
const RED: &str = "31";

impl Report {
    /// An empty report.
    pub fn new(style: Style) -> Report {
        Report {
            style,
            steps: Vec::new(),
            warnings: Vec::new(),
            lists: Vec::new(),
            second: None,
        }
    }

    /// Reports a step that worked.
    pub fn ok(&mut self, step: &str, since: Instant, found: &str) {
        self.ok_after(step, since.elapsed(), found);
    }

    /// Reports a step that worked and took this time.
    pub fn ok_after(&mut self, step: &str, time: Duration, found: &str) {
        let millis = time.as_millis();
        let ok = self.painted("ok    ", GREEN);
        self.line(&format!("{step:<18} {ok} {millis:>6} ms  {found}"));
        self.steps
            .push(json!({ "step": step, "ok": true, "ms": millis, "found": found }));
    }

    /// Reports a step that failed. Returns `None`, so that the caller ends there.
    pub fn failed(&mut self, step: &str, since: Instant, why: &str) -> Option<()> {
        let millis = since.elapsed().as_millis();
        let failed = self.painted("FAILED", RED);
        self.line(&format!("{step:<18} {failed} {millis:>6} ms  {why}"));
        self.steps
            .push(json!({ "step": step, "ok": false, "ms": millis, "error": why }));
        None
    }

    /// Reports something that works now and may fail later.
    pub fn warn(&mut self, what: &str) {
        let warning = self.painted("warning", YELLOW);
        self.line(&format!("{:<18} {warning}            {what}", ""));
        self.warnings.push(what.to_owned());
    }

    /// Reports a list from the server.
    pub fn list(&mut self, what: &str, since: Instant, names: &[String]) {
        self.ok(what, since, &names.len().to_string());
        names
            .iter()
            .for_each(|name| self.line(&format!("  {name}")));
        self.lists.push(json!({ "what": what, "names": names }));
    }

    /// Writes the progress line. The next output removes it.
    pub fn waiting(&mut self, what: &str, since: Instant) {
        let seconds = since.elapsed().as_secs();
        // Not in the first second: most steps are faster.
        if self.style.progress && seconds > 0 && self.second != Some(seconds) {
            self.second = Some(seconds);
            let mut out = std::io::stdout();
            write!(out, "\r\x1b[2Kwaiting for {what}, {seconds} s").ok();
            out.flush().ok();
        }
    }

    /// Removes the progress line.
    pub fn clear(&mut self) {
        if self.second.take().is_some() {
            write!(std::io::stdout(), "\r\x1b[2K").ok();
        }
    }

    /// Ends the report; prints the JSON document.
    pub fn finish(&mut self, ok: bool, server: &str) {
        self.clear();
        if ok {
            self.line(&format!(
                "\nnext: mcp-remote-client --setup CLIENT {server} --write adds it to an MCP client; --help lists them"
            ));
        }
        if self.style.json {
            let document = json!({
                "ok": ok,
                "server": server,
                "version": env!("CARGO_PKG_VERSION"),
                "steps": self.steps,
                "warnings": self.warnings,
                "lists": self.lists,
            });
            self.print(&format!("{document:#}"));
        }
    }

    fn painted(&self, word: &str, colour: &str) -> String {
        if self.style.colour {
            format!("\x1b[{colour}m{word}\x1b[0m")
        } else {
            word.to_owned()
        }
    }

    fn line(&mut self, line: &str) {
        self.clear();
        if !self.style.json {
            self.print(line);
        }
    }

    /// A closed stdout (`| head`) is not an error.
    fn print(&self, line: &str) {
        writeln!(Blocking(std::io::stdout()), "{line}").ok();
    }
}
