//! The two programs: read the command line, run, report, exit.
//!
//! ```text
//!  words ─▶ args ─▶ config (+ environment, files) ─▶ Config ─▶ transport::run, doctor, call, sessions
//! ```
//!
//! Exit codes are npm's: 0 after a normal end, `--help` and `--version`; 1 after any error. `call` and `--status` have one more each.
//!
//! Flags: `--help`, `--version`.

mod address;
pub mod args;
mod call;
pub mod config;
mod conversation;
pub mod doctor;
pub mod flags;
mod help;
mod pairs;
mod sessions;
mod setup;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use pico_args::Arguments;

use crate::blocking::Blocking;
use crate::error::{Error, Result};
use crate::log::{Level, Log};
use args::{Task, Typed};
use config::Environment;
use flags::Program;
use setup::Request;

/// `mcp-remote`: connects the client on stdin and stdout to the server.
pub fn proxy() -> ExitCode {
    start(Program::Proxy, |typed, environment| {
        let read = config::read(&typed, true, environment)?;
        Ok(Box::new(move || {
            let log = open_log(&read)?;
            if std::io::stdin().is_terminal() {
                let server = crate::url::shown(&read.config.server);
                log.say(
                    Level::Info,
                    &format!("waiting for an MCP client; to check the server or sign in, run: mcp-remote-client {server}"),
                );
            }
            crate::transport::run(read.config, log)?;
            Ok(ExitCode::SUCCESS)
        }))
    })
}

/// `mcp-remote-client`: does one task, by default checking the server step by step.
pub fn doctor() -> ExitCode {
    start(Program::Client, |typed, environment| {
        if let Some(request) = Request::read(&typed, environment)? {
            return Ok(Box::new(move || request.run(environment)));
        }
        let task = Task::of(&typed)?;
        let json = typed.has("--json");
        let read = config::read(&typed, task.needs_server(), environment)?;
        Ok(Box::new(move || {
            let log = open_log(&read)?;
            let config = read.config;
            match task {
                Task::Connect => Ok(doctor::run(config, json, log)),
                Task::Ask(request) => call::run(config, request, json, &log),
                Task::List => sessions::list(&config, json, &log),
                Task::Status => Ok(sessions::status(&config, json, log)),
                Task::Logout => Ok(sessions::logout(&config, json, &log)),
                Task::LogoutAll => sessions::logout_all(&config, json, &log),
            }
        }))
    })
}

/// The rest of the program, once the command line has been read without an error.
type Work<'a> = Box<dyn FnOnce() -> Result<ExitCode> + 'a>;

/// The text of `--help` or `--version`, wherever the flag stands before a `--`, even where a value is expected, as in npm.
fn text_asked_for(program: Program, args: &mut Arguments) -> Option<String> {
    if args.contains(["-h", "--help"]) {
        Some(help::text(program))
    } else if args.contains(["-V", "--version"]) || args.contains("-v") {
        Some(concat!(env!("CARGO_PKG_VERSION"), "\n").to_owned())
    } else {
        None
    }
}

/// Reads the command line and runs `decide`, which each program gives, so that neither contains the code of the other.
fn start(
    program: Program,
    decide: impl for<'a> FnOnce(Typed, Environment<'a>) -> Result<Work<'a>>,
) -> ExitCode {
    crate::oauth::callback::silence_tiny_http();
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let options = args.iter().take_while(|word| *word != "--").cloned();
    let mut options = Arguments::from_vec(options.collect());
    if let Some(text) = text_asked_for(program, &mut options) {
        // A closed stdout (`--help | head`) is not an error.
        Blocking(std::io::stdout()).write_all(text.as_bytes()).ok();
        return ExitCode::SUCCESS;
    }
    // Read before anything else: an error in the command line must not break the silence.
    let silent = options.contains("--silent");
    let environment = |name: &str| std::env::var(name).ok();
    let mut warnings = Vec::new();
    let decided = args::parse(program, args).and_then(|typed| {
        warnings.clone_from(&typed.warnings);
        decide(typed, &environment)
    });
    let failed = match decided.map(|work| work()) {
        Ok(Ok(code)) => return code,
        // The log has the warnings already.
        Ok(Err(error)) => error_text(program, &[], &error),
        Err(error) => error_text(program, &warnings, &error),
    };
    if !silent {
        // Errors of a closed stderr are ignored.
        Blocking(std::io::stderr())
            .write_all(failed.as_bytes())
            .ok();
    }
    ExitCode::FAILURE
}

fn open_log(read: &config::Read) -> Result<Arc<Log>> {
    let log = Arc::new(Log::open(read.config.log.clone())?);
    log.introduce(&read.about);
    for warning in &read.warnings {
        log.say(Level::Warn, warning);
    }
    for note in &read.notes {
        log.say(Level::Debug, note);
    }
    Ok(log)
}

/// The warnings come first: a misspelled option is often the reason for the error.
fn error_text(program: Program, warnings: &[String], error: &Error) -> String {
    let name = program.name();
    let mut text: String = warnings
        .iter()
        .map(|warning| format!("{name}: warning: {warning}\n"))
        .collect();
    text.push_str(&format!("{name}: {error}\n"));
    text
}
