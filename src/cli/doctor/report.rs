//! What the doctor found, as lines for a person or as one JSON document. Pure, but for stdout.
//!
//! Colour and the line that says what is waited for appear only on a terminal; `NO_COLOR` turns colour off.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How it is shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// One JSON document at the end.
    pub json: bool,
    /// Colours.
    pub colour: bool,
    /// A line that is written over again and again.
    pub progress: bool,
}

/// What was found so far.
pub struct Report {
    style: Style,
    steps: Vec<Value>,
    warnings: Vec<String>,
    lists: Vec<Value>,
    /// The second that the line says which is to be written over.
    second: Option<u64>,
}

const GREEN: &str = "32";
const YELLOW: &str = "33";
const RED: &str = "31";

impl Report {
    /// Nothing was found yet.
    pub fn new(style: Style) -> Report {
        Report {
            style,
            steps: Vec::new(),
            warnings: Vec::new(),
            lists: Vec::new(),
            second: None,
        }
    }

    /// The step worked.
    pub fn ok(&mut self, step: &str, since: Instant, found: &str) {
        self.ok_after(step, since.elapsed(), found);
    }

    /// The step worked, after this time.
    pub fn ok_after(&mut self, step: &str, time: Duration, found: &str) {
        let millis = time.as_millis();
        let ok = self.painted("ok    ", GREEN);
        self.line(&format!("{step:<18} {ok} {millis:>6} ms  {found}"));
        self.steps
            .push(json!({ "step": step, "ok": true, "ms": millis, "found": found }));
    }

    /// The step failed: there is nothing after it.
    pub fn failed(&mut self, step: &str, since: Instant, why: &str) -> Option<()> {
        let millis = since.elapsed().as_millis();
        let failed = self.painted("FAILED", RED);
        self.line(&format!("{step:<18} {failed} {millis:>6} ms  {why}"));
        self.steps
            .push(json!({ "step": step, "ok": false, "ms": millis, "error": why }));
        None
    }

    /// It works now, and will not always.
    pub fn warn(&mut self, what: &str) {
        let warning = self.painted("warning", YELLOW);
        self.line(&format!("{:<18} {warning}            {what}", ""));
        self.warnings.push(what.to_owned());
    }

    /// A list that the server gave.
    pub fn list(&mut self, what: &str, since: Instant, names: &[String]) {
        self.ok(what, since, &names.len().to_string());
        names
            .iter()
            .for_each(|name| self.line(&format!("  {name}")));
        self.lists.push(json!({ "what": what, "names": names }));
    }

    /// Says what is waited for, for as long as nothing else is said.
    pub fn waiting(&mut self, what: &str, since: Instant) {
        let seconds = since.elapsed().as_secs();
        // Who gets an answer at once need not be told.
        if self.style.progress && seconds > 0 && self.second != Some(seconds) {
            self.second = Some(seconds);
            let mut out = std::io::stdout();
            write!(out, "\r\x1b[2Kwaiting for {what}, {seconds} s").ok();
            out.flush().ok();
        }
    }

    /// Takes the line away that `waiting` wrote.
    pub fn clear(&mut self) {
        if self.second.take().is_some() {
            write!(std::io::stdout(), "\r\x1b[2K").ok();
        }
    }

    /// The end; what else the JSON document holds is given.
    pub fn finish(&mut self, ok: bool, server: &str) {
        self.clear();
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
        match self.style.colour {
            true => format!("\x1b[{colour}m{word}\x1b[0m"),
            false => word.to_owned(),
        }
    }

    fn line(&mut self, line: &str) {
        self.clear();
        if !self.style.json {
            self.print(line);
        }
    }

    /// A reader that stops listening (`| head`) is no failure.
    fn print(&self, line: &str) {
        writeln!(std::io::stdout(), "{line}").ok();
    }
}
