//! The three ways of `--write`: the client's own command, editing its JSON file, and telling the user what to paste.
//!
//! Not done here: running the command (`add_command`), editing JSON (`json`), replacing the file (`file`).

use std::path::Path;

use super::super::config::Environment;
use super::clients::{Client, Format};
use super::entry::Entry;
use super::json::{Dialect, SyntaxError};
use super::program::in_path;
use super::{add_command, file, json};
use crate::error::{Error, Kind, Result};

/// Runs the client's own command, and whether it did so.
pub fn add(
    client: &Client,
    entry: &Entry,
    environment: Environment<'_>,
    old: Option<&str>,
    silent: bool,
    say: &dyn Fn(&str),
) -> Result<bool> {
    let Some(program) = client.program else {
        return Ok(false);
    };
    let text = old.unwrap_or_default();
    // Most of these commands refuse an entry that exists, or drop its other members.
    let is_there = match client.format {
        Format::Json(dialect) => json::has(text, dialect, client.container, &entry.name),
        Format::Toml | Format::Yaml => {
            let table = format!("[{}.{}", client.container, entry.name);
            let mut starts = text
                .lines()
                .filter_map(|line| line.trim_start().strip_prefix(&table));
            starts.any(|rest| rest.starts_with([']', '.']))
        }
    };
    if is_there {
        return Ok(false);
    }
    let Some(path) = in_path(environment, program) else {
        say(&format!("{program} is not in PATH"));
        return Ok(false);
    };
    let Some(arguments) = add_command::arguments(client, entry, text) else {
        return Ok(false);
    };
    say(&format!(
        "running {}",
        add_command::shown(program, &arguments)
    ));
    add_command::run(&path, &arguments, silent)?;
    say(&format!(
        "\"{}\" was added to {}; {}",
        entry.name, client.title, client.then
    ));
    Ok(true)
}

/// Puts the entry into a JSON file.
pub fn edit(
    client: &Client,
    dialect: Dialect,
    entry: &Entry,
    block: &str,
    path: &Path,
    old: Option<String>,
    say: &dyn Fn(&str),
) -> Result<()> {
    let text = old.as_deref().unwrap_or_default();
    let new = json::merge(text, dialect, block).map_err(|error| not_valid(path, text, &error))?;
    if new == text {
        say(&format!("{} has this entry already", path.display()));
        return Ok(());
    }
    let done = if json::has(text, dialect, client.container, &entry.name) {
        "was updated in"
    } else {
        "was added to"
    };
    let backup = file::replace(path, old.as_deref(), &new)?;
    say(&format!(
        "\"{}\" {done} {}{}; {}",
        entry.name,
        path.display(),
        beside(backup.as_deref()),
        client.then
    ));
    Ok(())
}

/// Tells the user where a block of TOML or YAML belongs; an error, because it is not there yet.
pub fn paste(
    client: &Client,
    entry: &Entry,
    block: &str,
    path: &Path,
    old: Option<String>,
) -> Result<()> {
    if old.is_some_and(|text| text.replace("\r\n", "\n").contains(block)) {
        return Ok(());
    }
    let name = &entry.name;
    let place = match client.format {
        Format::Yaml => format!(
            "below \"{}:\"; if \"{name}\" exists there, replace it",
            client.container
        ),
        Format::Json(_) | Format::Toml => {
            format!(
                "at its end; if [{}.{name}] exists, replace it",
                client.container
            )
        }
    };
    let what = format!(
        "{} was not changed: only JSON files are edited",
        path.display()
    );
    Err(Error::new(Kind::Config, what).with_hint(format!("put the printed block into it, {place}")))
}

pub fn beside(backup: Option<&Path>) -> String {
    backup.map_or(String::new(), |backup| {
        format!(" (the old file: {})", backup.display())
    })
}

pub fn not_valid(path: &Path, text: &str, error: &SyntaxError) -> Error {
    let what = format!(
        "{}, line {}: {}; nothing was changed",
        path.display(),
        json::line(text, error.at),
        error.message
    );
    Error::new(Kind::Config, what).with_hint("correct the line, or put the block in by hand")
}
