//! The two programs: parse, run, report, exit.
//!
//! ```text
//!  words ─▶ flags (what was typed) ─▶ config (+ environment, files) ─▶ Config ─▶ transport::run, doctor::run
//! ```
//!
//! Exit codes are npm's: 0 after a normal end, help and version; 1 for every refusal and failure. `one_shot` has one more.

pub mod client_args;
mod completions;
pub mod config;
mod conversation;
pub mod doctor;
pub mod env_vars;
pub mod flags;
pub mod headers;
mod help;
mod listing;
mod manual;
mod oauth_flags;
mod one_shot;
mod report;
mod sessions;
mod setup;
mod table;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::log::{Level, Log};
use client_args::{ClientArgs, Task};
use env_vars::Environment;
use flags::Program;
use setup::Request;

/// `mcp-remote`: joins the client on stdin and stdout to the server.
pub fn proxy() -> ExitCode {
    start(Program::Proxy, |config, _, log| {
        crate::transport::run(config, log).map(|()| ExitCode::SUCCESS)
    })
}

/// `mcp-remote-client`: connects and tells what each step found, or looks after the stored sign-ins.
pub fn doctor() -> ExitCode {
    start(Program::Client, |config, args, log| match args.task {
        Task::Connect => Ok(doctor::run(config, args.json, log)),
        Task::Ask(request) => one_shot::run(config, request, args.json, &log),
        Task::List => sessions::list(&config, args.json, &log),
        Task::Status => Ok(sessions::status(&config, args.json, log)),
        Task::Logout => Ok(sessions::logout(&config, &log)),
        Task::LogoutAll => sessions::logout_all(&config, &log),
    })
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Action {
    /// This text on stdout: help or version.
    Print(String),
    /// `mcp-remote-client --setup`.
    Setup(Request),
    /// The work of the program.
    Run(Box<config::Read>, ClientArgs),
}

/// Decides what a command line, without the program's name, asks for.
/// `warnings` holds what was ignored before the words were refused.
///
/// # Errors
/// If something is missing or refused.
pub fn action(
    program: Program,
    args: Vec<OsString>,
    environment: Environment<'_>,
    warnings: &mut Vec<String>,
) -> Result<Action> {
    // Help and version count wherever they stand, even where a value was expected, as in npm.
    if has(&args, &["--help", "-h"]) {
        return Ok(Action::Print(flags::help(program)));
    }
    if has(&args, &["--version", "-V", "-v"]) {
        return Ok(Action::Print(
            concat!(env!("CARGO_PKG_VERSION"), "\n").to_owned(),
        ));
    }
    // For those who make packages; see `manual`.
    if has(&args, &["--print-man"]) {
        return Ok(Action::Print(manual::page(program)));
    }
    if let Some(at) = args.iter().position(|word| word == "--print-completions") {
        let shell = args.get(at + 1).and_then(|shell| shell.to_str());
        return completions::script(program, shell.unwrap_or_default()).map(Action::Print);
    }
    let typed = flags::parse(program, args)?;
    warnings.clone_from(&typed.warnings);
    if let Some(request) = Request::read(&typed, environment)? {
        return Ok(Action::Setup(request));
    }
    let client = client_args::read(&typed)?;
    let read = config::read(&typed, client.task.needs_server(), environment)?;
    Ok(Action::Run(Box::new(read), client))
}

/// Whether one of these words stands before a `--`.
fn has(args: &[OsString], names: &[&str]) -> bool {
    args.iter()
        .take_while(|word| *word != "--")
        .any(|word| names.iter().any(|name| word == name))
}

fn start(
    program: Program,
    work: impl FnOnce(Config, ClientArgs, Arc<Log>) -> Result<ExitCode>,
) -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    // Words that cannot be read must not break the silence either.
    let silent = has(&args, &["--silent"]);
    let environment = |name: &str| std::env::var(name).ok();
    let mut warnings = Vec::new();
    let failed = match action(program, args, &environment, &mut warnings) {
        Ok(Action::Print(text)) => {
            // A closed stdout (`--help | head`) is no failure.
            std::io::stdout().write_all(text.as_bytes()).ok();
            return ExitCode::SUCCESS;
        }
        Ok(Action::Setup(request)) => match request.run(&environment) {
            Ok(code) => return code,
            Err(error) => refusal(program, &[], &error),
        },
        Ok(Action::Run(read, client)) => {
            let done = open_log(&read).and_then(|log| work(read.config, client, log));
            match done {
                Ok(code) => return code,
                Err(error) => refusal(program, &[], &error),
            }
        }
        Err(error) => refusal(program, &warnings, &error),
    };
    if !silent {
        // A closed stderr is the host's choice.
        std::io::stderr().write_all(failed.as_bytes()).ok();
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

/// What was ignored stands first: a misspelled option is often why the rest is refused.
fn refusal(program: Program, warnings: &[String], error: &Error) -> String {
    let name = program.name();
    let mut text: String = warnings
        .iter()
        .map(|warning| format!("{name}: warning: {warning}\n"))
        .collect();
    text.push_str(&format!("{name}: {error}\n"));
    text
}
