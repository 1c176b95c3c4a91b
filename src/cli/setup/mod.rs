//! `mcp-remote-client --setup`: prints the configuration that makes an MCP client use a server, and adds it to the client.
//!
//! - stdout gets the configuration and nothing else; where it belongs and what to do next is written to stderr.
//! - With `--write` the client's own `mcp add` command is run where it is installed and can express the entry (`add_command`).
//!   Otherwise a JSON file is edited (`json`, `file`): everything else in it stays byte for byte, the old file is kept as
//!   `.bak`, and a file that is not valid or changes meanwhile is not touched. An entry that exists is always edited, so that
//!   its other members stay.
//! - TOML and YAML files are not edited; the user puts the printed block in by hand.
//!
//! Flags: `--setup`, `--name`, `--file`, `--write`, `--from-npx`.

mod add_command;
mod block;
mod clients;
mod entry;
mod file;
mod json;
mod npx;
mod program;
mod write;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::args::Typed;
use super::config::{self, Environment};
use crate::error::{Error, Kind, Result};
use crate::log::clean;
use clients::{Client, Format, System, Variables};
use entry::{Entry, Source};
pub(crate) use json::PLACEHOLDER;
use program::bridge;
use write::{add, beside, edit, not_valid, paste};

/// What `--setup` has to do.
#[derive(Debug)]
pub struct Request {
    typed: Typed,
    task: Task,
    warnings: Vec<String>,
}

#[derive(Debug)]
enum Task {
    /// Print the entry for this client; with `--write` add it.
    Entry(&'static Client),
    /// Rewrite the entries of this file.
    FromNpx(String),
}

impl Request {
    /// The task of a command line; `None` if it has no `--setup`.
    ///
    /// # Errors
    /// If an argument is missing or refused.
    pub fn read(typed: &Typed, environment: Environment<'_>) -> Result<Option<Request>> {
        let copy = Typed {
            url: typed.url.clone(),
            port: typed.port.clone(),
            argument: None,
            flags: typed.flags.clone(),
            warnings: Vec::new(),
        };
        let request = |task, warnings| {
            Ok(Some(Request {
                typed: copy,
                task,
                warnings,
            }))
        };
        if let Some(file) = typed.value("--from-npx") {
            if typed.url.is_some()
                || typed
                    .value("--setup")
                    .is_some_and(|client| !client.is_empty())
            {
                return Err(usage("--from-npx takes a file and nothing else").with_hint(FROM_NPX));
            }
            return request(Task::FromNpx(file.to_owned()), typed.warnings.clone());
        }
        let Some(name) = typed.value("--setup") else {
            let stray = ["--name", "--file", "--write"]
                .into_iter()
                .find(|flag| typed.has(flag));
            return match stray {
                Some(flag) => Err(usage(format!("{flag} can only be used with --setup"))),
                None => Ok(None),
            };
        };
        let Some(client) = Client::find(name) else {
            let what = match name {
                "" => "--setup needs the name of a client".to_owned(),
                name => format!("unknown client \"{}\"", clean(name, 40)),
            };
            return Err(usage(what).with_hint(format!("one of {}", client_ids().join(", "))));
        };
        if typed.url.is_none() {
            let hint = format!("mcp-remote-client --setup {} https://host/mcp", client.id);
            return Err(usage("the address of the server is missing").with_hint(hint));
        }
        // Only what the bridge accepts is written. The variables of headers need not be set here.
        let set = |name: &str| {
            let written = typed
                .flags
                .iter()
                .any(|(_, value)| value.contains(&format!("${{{name}}}")));
            environment(name).or(written.then(String::new))
        };
        let read = config::read(typed, true, &set)?;
        request(Task::Entry(client), read.warnings)
    }

    /// Does the task.
    ///
    /// # Errors
    /// If the client's command fails, or a file cannot be read, is not valid or cannot be written; it is unchanged then.
    pub fn run(self, environment: Environment<'_>) -> Result<ExitCode> {
        let silent = self.typed.has("--silent");
        let say = |note: &str| {
            if !silent {
                // Failures are ignored: stderr may be closed.
                writeln!(io::stderr(), "mcp-remote-client: {note}").ok();
            }
        };
        for warning in &self.warnings {
            say(&format!("warning: {warning}"));
        }
        match self.task {
            Task::Entry(client) => set_up(client, &self.typed, environment, &say),
            Task::FromNpx(file) => from_npx(&file, environment, &say),
        }
    }
}

fn client_ids() -> Vec<&'static str> {
    clients::CLIENTS.iter().map(|client| client.id).collect()
}

const FROM_NPX: &str = "mcp-remote-client --setup --from-npx FILE";

fn usage(what: impl Into<String>) -> Error {
    Error::new(Kind::Usage, what)
}

fn set_up(
    client: &Client,
    typed: &Typed,
    environment: Environment<'_>,
    say: &dyn Fn(&str),
) -> Result<ExitCode> {
    let mut notes = Vec::new();
    let source = Source {
        typed,
        command: bridge(environment, client.in_terminal, say)?,
        absolute: &absolute,
    };
    let entry = Entry::new(&source, &mut notes)?;
    let block = block::render(client, &entry);
    // Failures are ignored: stdout may be closed.
    io::stdout().write_all(block.as_bytes()).ok();
    notes.iter().for_each(|note| say(note));
    variables_note(client, &entry, say);
    let path = match typed.value("--file") {
        Some(file) => PathBuf::from(file),
        None if client.id == "json" && typed.has("--write") => {
            return Err(usage("--setup json --write needs --file FILE"));
        }
        None if client.id == "json" => return Ok(ExitCode::SUCCESS),
        None => file_of(client, environment)?,
    };
    let url = typed.url.as_deref().map(url::Url::parse);
    if url.is_some_and(|url| url.is_ok_and(|url| url.password().is_some())) {
        say(
            "warning: the address contains a password, and so does the block; use --header with a ${VARIABLE} instead",
        );
    }
    if !typed.has("--write") {
        let what = match client.format {
            Format::Json(_) => "--write puts it there",
            Format::Toml | Format::Yaml => "put it there",
        };
        say(&format!(
            "{} reads this from {}; {what}",
            client.title,
            path.display()
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let old = file::read(&path)?;
    if typed.value("--file").is_none()
        && add(
            client,
            &entry,
            environment,
            old.as_deref(),
            typed.has("--silent"),
            say,
        )?
    {
        return Ok(ExitCode::SUCCESS);
    }
    match client.format {
        Format::Json(dialect) => edit(client, dialect, &entry, &block, &path, old, say)?,
        Format::Toml | Format::Yaml => paste(client, &entry, &block, &path, old)
            .map(|()| say(&format!("{} has this entry already", path.display())))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells the user what to do for the variables of an entry.
fn variables_note(client: &Client, entry: &Entry, say: &dyn Fn(&str)) {
    if entry.variables.is_empty() {
        return;
    }
    let names = entry.variables.join(", ");
    match client.variables {
        Variables::Value => say(&format!(
            "{} does not pass environment variables to servers: put the value of {names} into \"env\" in its file",
            client.title
        )),
        Variables::Asked => say(&format!(
            "{} asks for {names} when it starts the server, and stores it",
            client.title
        )),
        Variables::Inherited | Variables::Named(_) | Variables::Reference(..) => say(&format!(
            "{names} must be set where {} is started",
            client.title
        )),
    }
    if client.replaces_in_arguments() {
        say(&format!(
            "{} puts the value of {names} into the arguments itself, which other users of this machine can see; --header-file FILE keeps it out",
            client.title
        ));
    }
}

fn from_npx(file: &str, environment: Environment<'_>, say: &dyn Fn(&str)) -> Result<ExitCode> {
    let path = PathBuf::from(file);
    let Some(text) = file::read(&path)? else {
        return Err(Error::new(
            Kind::Config,
            format!("there is no file \"{}\"", path.display()),
        ));
    };
    let command = bridge(environment, false, say)?;
    let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
    if let Some("toml" | "yaml" | "yml") = ending.to_str() {
        return npx_by_hand(&path, &text, &command, ending == "toml", say);
    }
    let (new, found) =
        npx::rewrite(&text, &command).map_err(|error| not_valid(&path, &text, &error))?;
    for found in &found {
        let line = json::line(&text, found.at);
        let name = clean(&found.name, 60);
        match &found.replaced {
            Some(words) => say(&format!(
                "line {line}, \"{name}\": {} becomes {command}",
                clean(words, 200)
            )),
            None => say(&format!(
                "line {line}, \"{name}\": starts mcp-remote in an unknown way; it was not changed"
            )),
        }
    }
    if new == text {
        return Ok(nothing_for_npm(&path, say));
    }
    let backup = file::replace(&path, Some(&text), &new)?;
    say(&format!(
        "{} was rewritten{}",
        path.display(),
        beside(backup.as_deref())
    ));
    Ok(ExitCode::SUCCESS)
}

/// Prints what replaces the command in a TOML or YAML file, and the lines that start npm's package.
fn npx_by_hand(
    path: &Path,
    text: &str,
    command: &str,
    is_toml: bool,
    say: &dyn Fn(&str),
) -> Result<ExitCode> {
    let lines = npx::lines(text);
    if lines.is_empty() {
        return Ok(nothing_for_npm(path, say));
    }
    let command = serde_json::Value::from(command);
    let block = if is_toml {
        format!("command = {command}\n")
    } else {
        format!("cmd: {command}\n")
    };
    // Failures are ignored: stdout may be closed.
    io::stdout().write_all(block.as_bytes()).ok();
    let lines: Vec<String> = lines.iter().map(usize::to_string).collect();
    let what = format!(
        "{} was not changed: only JSON files are edited; npm's mcp-remote is in line {}",
        path.display(),
        lines.join(", ")
    );
    Err(Error::new(Kind::Config, what).with_hint(
        "in each of these entries, put the printed line in place of the command and delete the arguments up to mcp-remote",
    ))
}

fn nothing_for_npm(path: &Path, say: &dyn Fn(&str)) -> ExitCode {
    say(&format!(
        "{}: no entry for npm's mcp-remote was changed",
        path.display()
    ));
    ExitCode::SUCCESS
}

/// The absolute path of a file that is named on the command line.
fn absolute(file: &str) -> String {
    let path = std::path::absolute(file).ok();
    path.and_then(|path| path.to_str().map(str::to_owned))
        .unwrap_or_else(|| file.to_owned())
}

/// The client's file: the first that exists, or else the likeliest.
fn file_of(client: &Client, environment: Environment<'_>) -> Result<PathBuf> {
    let (Some(home), Some(settings)) = (dirs::home_dir(), dirs::config_dir()) else {
        return Err(Error::new(Kind::Config, "the home directory is unknown")
            .with_hint("name the client's file with --file FILE"));
    };
    let files = client.files(System::THIS, &home, &settings, environment);
    let there = files.iter().find(|file| file.exists());
    there
        .or(files.first())
        .cloned()
        .ok_or_else(|| Error::new(Kind::Bug, "the client has no file"))
}
