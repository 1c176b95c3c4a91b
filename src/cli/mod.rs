//! The two programs: parse, run, report, exit.
//!
//! Exit codes are npm's: 0 after a normal end, help and version; 1 for every refusal and failure.

pub mod config;
pub mod doctor;
pub mod env_vars;
pub mod flags;
pub mod headers;
mod oauth_flags;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use crate::error::Result;
use crate::log::{Level, Log};
use flags::Typed;

/// `mcp-remote`: joins the client on stdin and stdout to the server.
pub fn proxy() -> ExitCode {
    with_config("mcp-remote", |read, log, _| {
        crate::transport::run(read.config, log).map(|()| ExitCode::SUCCESS)
    })
}

/// `mcp-remote-client`: connects and tells what each step found.
pub fn doctor() -> ExitCode {
    with_config("mcp-remote-client", |read, log, typed| {
        Ok(doctor::run(read.config, log, typed.has("--json")))
    })
}

fn with_config(
    program: &str,
    run: impl FnOnce(config::Read, Arc<Log>, &Typed) -> Result<ExitCode>,
) -> ExitCode {
    let typed = match flags::parse(std::env::args_os().skip(1).collect()) {
        Ok(typed) => typed,
        Err(error) => return refuse(program, &error.to_string(), false),
    };
    if typed.has("--help") {
        return print(&flags::help(program));
    }
    if typed.has("--version") {
        return print(concat!(env!("CARGO_PKG_VERSION"), "\n"));
    }
    let environment = |name: &str| std::env::var(name).ok();
    let done = config::read(&typed, &environment).and_then(|read| {
        let log = Arc::new(Log::open(read.config.log.clone())?);
        for warning in &read.warnings {
            log.say(Level::Warn, warning);
        }
        run(read, log, &typed)
    });
    done.unwrap_or_else(|error| refuse(program, &error.to_string(), typed.has("--silent")))
}

fn refuse(program: &str, why: &str, silent: bool) -> ExitCode {
    if !silent {
        // A closed stderr is the host's choice.
        writeln!(std::io::stderr(), "{program}: {why}").ok();
    }
    ExitCode::FAILURE
}

/// A closed stdout (`--help | head`) is no failure.
fn print(text: &str) -> ExitCode {
    std::io::stdout().write_all(text.as_bytes()).ok();
    ExitCode::SUCCESS
}
