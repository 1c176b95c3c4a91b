//! `mcp-remote-client --setup`: prints what an MCP client must be told of a server, and puts it into the client's file.
//!
//! - stdout is given the block and nothing else; where it belongs and what to do next is said on stderr.
//! - With `--write` the entry is put into the file: everything else in it stays byte for byte, the old file is kept beside it
//!   as `.bak`, and a file that is not understood, or that changes meanwhile, is not touched.
//!
//! Flags: `--setup`, `--name`, `--file`, `--write`, `--from-npx`.
//! Not done here: reading and writing the file (`file`), the formats (`json`, `toml`, `yaml`), the clients (`clients`), the entry (`entry`, `block`).

mod block;
mod clients;
mod entry;
mod file;
mod json;
mod npx;
mod toml;
mod tree;
mod yaml;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::config;
use super::env_vars::Environment;
use super::flags::Typed;
use crate::error::{Error, Kind, Result};
use crate::log::clean;
use clients::{Client, Format, System};
use entry::{Entry, Source};
use tree::Trouble;

/// What is to be done.
#[derive(Debug)]
pub struct Request {
    typed: Typed,
    task: Task,
    /// What a person should know.
    notes: Vec<String>,
}

#[derive(Debug)]
enum Task {
    /// Show the entry for this client, and write it if that was asked for.
    Entry(&'static Client),
    /// Rewrite the entries of this file.
    FromNpx(String),
}

impl Request {
    /// What was asked for; `None` if it is not a setup.
    ///
    /// # Errors
    /// If something is missing or refused.
    pub fn read(typed: &Typed, environment: Environment<'_>) -> Result<Option<Request>> {
        let copy = Typed {
            url: typed.url.clone(),
            port: typed.port.clone(),
            argument: None,
            flags: typed.flags.clone(),
            warnings: Vec::new(),
        };
        let request = |task, notes| {
            Ok(Some(Request {
                typed: copy,
                task,
                notes,
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
                name => format!("\"{}\" is no client that is known", clean(name, 40)),
            };
            return Err(usage(what).with_hint(format!("one of {}", Client::names())));
        };
        if typed.url.is_none() {
            let hint = format!("mcp-remote-client --setup {} https://host/mcp", client.id);
            return Err(usage("the address of the server is missing").with_hint(hint));
        }
        // What the bridge would refuse must not be written. The variables of headers need not be set here.
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

    /// Does it.
    ///
    /// # Errors
    /// If a file cannot be read, understood or written; then nothing was changed.
    pub fn run(self, environment: Environment<'_>) -> Result<ExitCode> {
        let silent = self.typed.has("--silent");
        let say = |note: &str| {
            if !silent {
                // A closed stderr is the caller's choice.
                writeln!(io::stderr(), "mcp-remote-client: {note}").ok();
            }
        };
        for note in &self.notes {
            say(&format!("warning: {note}"));
        }
        match self.task {
            Task::Entry(client) => entry(client, &self.typed, environment, &say),
            Task::FromNpx(file) => from_npx(&file, environment, &say),
        }
    }
}

/// How the clients are called on the command line.
pub fn client_ids() -> Vec<&'static str> {
    clients::CLIENTS.iter().map(|client| client.id).collect()
}

const FROM_NPX: &str = "mcp-remote-client --setup --from-npx FILE";

fn usage(what: impl Into<String>) -> Error {
    Error::new(Kind::Usage, what)
}

fn entry(
    client: &Client,
    typed: &Typed,
    environment: Environment<'_>,
    say: &dyn Fn(&str),
) -> Result<ExitCode> {
    let command = program(environment, client.in_terminal, say)?;
    let mut notes = Vec::new();
    let source = Source {
        typed,
        command,
        whole: &whole,
    };
    let entry = Entry::new(&source, &mut notes)?;
    let impossible = |trouble: Trouble| {
        Error::new(
            Kind::Bug,
            format!("the block cannot be written: {}", trouble.what),
        )
    };
    let shown = block::put(client, &entry, "").map_err(impossible)?;
    // Whoever stops reading has seen enough.
    io::stdout().write_all(shown.as_bytes()).ok();
    notes.iter().for_each(|note| say(note));
    let path = match typed.value("--file") {
        Some(file) => PathBuf::from(file),
        None => file_of(client, environment)?,
    };
    variables_note(client, &entry, say);
    let url = typed
        .url
        .as_deref()
        .and_then(|url| url::Url::parse(url).ok());
    if url.is_some_and(|url| url.password().is_some()) {
        say(
            "warning: the address holds a password, which stands in the block; --header with a ${VARIABLE} keeps it out",
        );
    }
    if !typed.has("--write") {
        say(&format!(
            "{} reads this from {}; with --write it is put there",
            client.title,
            path.display()
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let old = file::read(&path)?;
    let text = old.as_deref().unwrap_or_default();
    let new = block::put(client, &entry, text)
        .map_err(|trouble| not_understood(&path, text, &trouble))?;
    let is_news = !block::has(client, &entry.name, text);
    if new == text {
        say(&format!("{} holds this entry already", path.display()));
        return Ok(ExitCode::SUCCESS);
    }
    let backup = file::replace(&path, old.as_deref(), &new)?;
    let done = if is_news {
        "is put into"
    } else {
        "is replaced in"
    };
    say(&format!(
        "\"{}\" {done} {}{}; {}",
        entry.name,
        path.display(),
        beside(backup.as_deref()),
        client.then
    ));
    Ok(ExitCode::SUCCESS)
}

/// What a person must do for the variables of an entry.
fn variables_note(client: &Client, entry: &Entry, say: &dyn Fn(&str)) {
    if entry.variables.is_empty() {
        return;
    }
    let names = entry.variables.join(", ");
    match client.variables {
        clients::Variables::Value => say(&format!(
            "{} hands no variables on: put the value of {names} into \"env\" in its file",
            client.title
        )),
        clients::Variables::Asked => say(&format!(
            "{} asks for {names} when it starts the server, and keeps it",
            client.title
        )),
        clients::Variables::Inherited
        | clients::Variables::Named(_)
        | clients::Variables::Reference(..) => say(&format!(
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
    let ending = path
        .extension()
        .and_then(|ending| ending.to_str())
        .unwrap_or_default();
    let format = match ending.to_lowercase().as_str() {
        "toml" => Format::Toml,
        "yaml" | "yml" => Format::Yaml,
        _ => Format::Json { comments: true },
    };
    let command = program(environment, false, say)?;
    let (new, found) = npx::rewrite(&text, format, &command)
        .map_err(|trouble| not_understood(&path, &text, &trouble))?;
    for found in &found {
        let line = Trouble::new(found.at, "").line(&text);
        match &found.replaced {
            Some(words) => say(&format!(
                "line {line}, \"{}\": {} becomes {command}",
                clean(&found.name, 60),
                clean(words, 200)
            )),
            None => say(&format!(
                "line {line}, \"{}\": starts mcp-remote in a way that is not known; it stays as it is",
                clean(&found.name, 60)
            )),
        }
    }
    if new == text {
        say(&format!(
            "{}: no entry for npm's mcp-remote was changed",
            path.display()
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let backup = file::replace(&path, Some(&text), &new)?;
    say(&format!(
        "{} is rewritten{}",
        path.display(),
        beside(backup.as_deref())
    ));
    Ok(ExitCode::SUCCESS)
}

fn beside(backup: Option<&Path>) -> String {
    backup.map_or(String::new(), |backup| {
        format!(" (as it was: {})", backup.display())
    })
}

fn not_understood(path: &Path, text: &str, trouble: &Trouble) -> Error {
    let what = format!(
        "{}, line {}: {}; nothing was changed",
        path.display(),
        trouble.line(text),
        trouble.what
    );
    Error::new(Kind::Config, what).with_hint("correct the line, or put the block in by hand")
}

/// The program the block names: the `mcp-remote` beside this one. Its name alone only where the shell's PATH is known and
/// leads to the same file: a client that is started from a desktop has another.
fn program(environment: Environment<'_>, in_terminal: bool, say: &dyn Fn(&str)) -> Result<String> {
    let name = format!("mcp-remote{}", std::env::consts::EXE_SUFFIX);
    let beside = std::env::current_exe()
        .ok()
        .map(|exe| exe.with_file_name(&name))
        .filter(|path| path.is_file());
    let path = environment("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join(&name))
        .find(|path| path.is_file());
    let same = match (&beside, &found) {
        (Some(beside), Some(found)) => {
            fs::canonicalize(beside).ok() == fs::canonicalize(found).ok()
        }
        _ => beside.is_none(),
    };
    // An installer's link in PATH outlives the version it leads to.
    let program = match found.filter(|found| same && found.is_absolute()) {
        Some(_) if in_terminal => return Ok("mcp-remote".to_owned()),
        Some(found) => found,
        None => match beside {
            Some(beside) => beside,
            None => {
                say(
                    "warning: mcp-remote is neither beside this program nor in PATH; the block names it without a path",
                );
                return Ok("mcp-remote".to_owned());
            }
        },
    };
    let text = program.to_str().map(str::to_owned);
    text.ok_or_else(|| {
        Error::new(
            Kind::Config,
            format!(
                "the path \"{}\" is not UTF-8, which no configuration can hold",
                program.display()
            ),
        )
    })
}

/// The whole path of a file that is named on the command line.
fn whole(file: &str) -> String {
    let whole = std::path::absolute(file).ok();
    whole
        .and_then(|path| path.to_str().map(str::to_owned))
        .unwrap_or_else(|| file.to_owned())
}

/// The client's file: the first that exists, else the likeliest.
fn file_of(client: &Client, environment: Environment<'_>) -> Result<PathBuf> {
    let (Some(home), Some(settings)) = (dirs::home_dir(), dirs::config_dir()) else {
        return Err(Error::new(Kind::Config, "the home directory is not known")
            .with_hint("name the client's file with --file FILE"));
    };
    let files = client.files(System::THIS, &home, &settings, environment);
    let there = files.iter().find(|file| file.exists());
    there
        .or(files.first())
        .cloned()
        .ok_or_else(|| Error::new(Kind::Bug, "the client has no file"))
}
