//! stderr lines, the debug file and `--log-file`.
//!
//! - Lines have npm's shape: `[pid] text`; debug lines `[time][pid] text`; `--log-format json`: one object each.
//! - Text from the network is cleaned of control characters and shortened before it gets here or by [`clean`].
//! - Files are made with mode 0600 and stop growing at [`FILE_LIMIT`].
//! - A closed stderr is no reason to fail: a line that cannot be written is dropped. Nor is one that nobody reads a reason to
//!   stop: a pipe that is full is waited for once, then lines are dropped and counted until it is read again.
//!
//! Flags: `--debug`, `--silent`, `--log-file`, `--log-format`.
//! Secrets are of the type `Secret`, which cannot be printed; those that were sent are taken from each line, in case a server
//! repeats them. Not done here: no secret is recognised by its looks.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::blocking::Blocking;
use crate::config::LogConfig;
use crate::error::{Error, Kind, Result, plain};
use crate::secret::Secrets;

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A step, shown only with `--debug`.
    Debug,
    /// What a person must do or should know.
    Info,
    /// Something is wrong, work goes on.
    Warn,
    /// Something failed.
    Error,
}

/// A log file stops growing at 10 MiB.
pub const FILE_LIMIT: u64 = 10 * 1024 * 1024;

/// Where lines go. Shared by all threads.
#[derive(Debug)]
pub struct Log {
    config: LogConfig,
    /// Begins with the first line.
    stderr: Mutex<Option<Stderr>>,
    files: Mutex<Vec<(File, u64)>>,
    introduction: OnceLock<String>,
    /// What was sent as a secret, and must not be in a line.
    pub secrets: Secrets,
}

impl Log {
    /// A log that writes to stderr as configured, and to `--log-file`.
    ///
    /// # Errors
    /// If the log file cannot be opened.
    pub fn open(config: LogConfig) -> Result<Log> {
        let mut files = Vec::new();
        if let Some(path) = &config.file {
            let file = append_to(path).map_err(|e| {
                Error::new(
                    Kind::Config,
                    format!("cannot open log file \"{}\": {}", path.display(), plain(&e)),
                )
            })?;
            files.push(file);
        }
        Ok(Log {
            config,
            stderr: Mutex::default(),
            files: Mutex::new(files),
            introduction: OnceLock::new(),
            secrets: Secrets::default(),
        })
    }

    /// Adds npm's debug file, if debugging; a file that cannot be opened is worth one warning.
    pub fn add_debug_file(&self, path: &Path) {
        if !self.config.debug {
            return;
        }
        match append_to(path) {
            Ok((mut file, written)) => {
                if let Some(text) = self.introduction.get() {
                    // A file that cannot be written is found out by the next line.
                    file.write_all(self.line(Level::Debug, text).as_bytes())
                        .ok();
                }
                let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
                files.push((file, written));
            }
            Err(e) => self.say(
                Level::Warn,
                &format!(
                    "cannot write the debug file \"{}\": {}",
                    path.display(),
                    plain(&e)
                ),
            ),
        }
    }

    /// Says once what the output of `--debug` begins with, wherever it goes.
    pub fn introduce(&self, text: &str) {
        self.say(Level::Debug, text);
        self.introduction.set(text.to_owned()).ok();
    }

    /// Whether debug lines go anywhere; spares the work of making them.
    pub fn is_debug(&self) -> bool {
        self.config.debug
    }

    /// Writes one line.
    pub fn say(&self, level: Level, text: &str) {
        if level == Level::Debug && !self.config.debug {
            return;
        }
        let line = self.line(level, &self.secrets.take_from(text));
        if !self.config.silent {
            self.to_stderr(line.clone());
        }
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain_mut(|(file, written)| {
            *written += line.len() as u64;
            if *written > FILE_LIMIT {
                file.write_all(b"(the file is full: nothing more is written to it)\n")
                    .ok();
                return false;
            }
            file.write_all(line.as_bytes()).is_ok()
        });
    }

    fn to_stderr(&self, line: String) {
        let mut held = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            *held = Stderr::start().ok();
        }
        let Some(stderr) = &mut *held else {
            return write(&line);
        };
        if !stderr.is_free() {
            stderr.lost += 1;
            return;
        }
        match std::mem::take(&mut stderr.lost) {
            0 => stderr.write(line),
            lost => {
                let what = format!("nobody read stderr: {lost} lines are missing here");
                stderr.write(self.line(Level::Warn, &what) + &line);
            }
        }
    }

    fn line(&self, level: Level, text: &str) -> String {
        if self.config.json {
            json_line(level, text)
        } else {
            plain_line(level, text)
        }
    }
}

/// What writes to stderr: a thread of its own, which alone is stopped by a reader that has stopped.
#[derive(Debug)]
struct Stderr {
    lines: Sender<String>,
    written: Receiver<()>,
    /// The last line is not written yet.
    waits: bool,
    /// Lines that were dropped since.
    lost: usize,
}

/// How long a line may take. Whoever reads is slow at times.
const PATIENCE: Duration = Duration::from_secs(2);

impl Stderr {
    fn start() -> std::io::Result<Stderr> {
        let (lines, queue) = channel::<String>();
        let (done, written) = channel();
        let body = move || {
            for line in queue {
                write(&line);
                if done.send(()).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new()
            .name("log".to_owned())
            .stack_size(128 * 1024)
            .spawn(body)?;
        Ok(Stderr {
            lines,
            written,
            waits: false,
            lost: 0,
        })
    }

    fn is_free(&mut self) -> bool {
        self.waits = self.waits && self.written.try_recv().is_err();
        !self.waits
    }

    fn write(&mut self, line: String) {
        let is_sent = self.lines.send(line).is_ok();
        self.waits = is_sent && self.written.recv_timeout(PATIENCE).is_err();
    }
}

/// A closed stderr is the host's choice, not a failure of ours.
fn write(line: &str) {
    Blocking(std::io::stderr()).write_all(line.as_bytes()).ok();
}

fn append_to(path: &Path) -> std::io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

fn plain_line(level: Level, text: &str) -> String {
    let pid = std::process::id();
    let text = text.replace('\n', "\n    ");
    match level {
        Level::Debug => format!("[{}][{pid}] {text}\n", now_iso()),
        Level::Info => format!("[{pid}] {text}\n"),
        Level::Warn => format!("[{pid}] Warning: {text}\n"),
        Level::Error => format!("[{pid}] Error: {text}\n"),
    }
}

fn json_line(level: Level, text: &str) -> String {
    let level = match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    };
    let (pid, text) = (std::process::id(), crate::jsonrpc::quoted(text));
    format!(
        "{{\"time\":\"{}\",\"level\":\"{level}\",\"pid\":{pid},\"message\":{text}}}\n",
        now_iso()
    )
}

/// Now, as ISO 8601 in UTC with milliseconds.
fn now_iso() -> String {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    iso_time(since.as_secs(), since.subsec_millis())
}

/// Civil date from days since 1970 (the usual 400-year-era algorithm, with March as first month).
fn iso_time(seconds: u64, millis: u32) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Text from outside made fit for a terminal and an error: no control characters, one line, at most `limit` characters.
pub fn clean(text: &str, limit: usize) -> String {
    let mut out: String = text
        .chars()
        .map(|c| {
            if c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') { ' ' } else { c }
        })
        .take(limit)
        .collect();
    if text.chars().nth(limit).is_some() {
        out.push('…');
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_across_leap_years() {
        assert_eq!(iso_time(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso_time(951_782_400, 7), "2000-02-29T00:00:00.007Z");
        assert_eq!(
            iso_time(1_785_196_800 + 86_399, 999),
            "2026-07-28T23:59:59.999Z"
        );
    }

    #[test]
    fn control_sequences_do_not_survive_cleaning() {
        assert_eq!(clean("a\x1b[31mb\r\nc\u{202e}", 100), "a [31mb  c");
        assert_eq!(clean("abcdef", 3), "abc…");
    }
}
