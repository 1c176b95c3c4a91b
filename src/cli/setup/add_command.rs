//! The `mcp add` command of a client: which words it takes, and running it. The client edits its own file then.
//!
//! Tried with Claude Code 2.1.197, Codex 0.171.0 and Gemini CLI 0.61.0.
//! VS Code's `--add-mcp` was not tried.
//!
//! - Arguments hold the names of variables, never their values: other users of the machine can read a command line.
//! - Codex's command cannot set `env_vars`, and VS Code's is not relied on for `inputs`: entries with variables do not use them.
//! - Gemini CLI replaces every variable that its file names by its value when it writes the file: it is only run where
//!   neither the entry nor the file names one.
//!
//! Not done here: on Windows only a `.exe` is run. npm installs `.cmd` files, which read their arguments a second time.

use std::io;
use std::process::{Command, Stdio};

use super::block;
use super::clients::Client;
use super::entry::Entry;
use crate::error::{Error, Kind, Result};

/// The words after the program's name; `None` if the command cannot express this entry. `file`: the text of the client's file.
pub fn arguments(client: &Client, entry: &Entry, file: &str) -> Option<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    let mut add = |more: &[&str]| words.extend(more.iter().map(|&word| word.to_owned()));
    match client.id {
        "claude-code" => {
            add(&["mcp", "add", "--scope", "user", &entry.name]);
            for (name, value) in block::env(client, entry) {
                add(&["-e", &format!("{name}={value}")]);
            }
            add(&["--", &entry.command]);
        }
        "codex" if entry.variables.is_empty() => {
            add(&["mcp", "add", &entry.name, "--", &entry.command]);
        }
        "gemini" if entry.variables.is_empty() && !file.contains('$') => {
            add(&[
                "mcp",
                "add",
                "--scope",
                "user",
                &entry.name,
                &entry.command,
                "--",
            ]);
        }
        "vscode" if entry.variables.is_empty() => {
            let server = serde_json::json!({
                "name": entry.name, "type": "stdio", "command": entry.command, "args": entry.args
            });
            return Some(vec!["--add-mcp".to_owned(), server.to_string()]);
        }
        _ => return None,
    }
    words.extend(entry.args.iter().cloned());
    Some(words)
}

/// The command as a shell reads it.
pub fn shown(program: &str, arguments: &[String]) -> String {
    let is_plain = |word: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
        !word.is_empty() && word.chars().all(plain)
    };
    let quoted = |word: &String| {
        if is_plain(word) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    let words: Vec<_> = arguments.iter().map(quoted).collect();
    format!("{program} {}", words.join(" "))
}

/// Runs the command; its output goes to stderr, or nowhere if `silent`.
///
/// # Errors
/// If it cannot be started or fails.
pub fn run(program: &std::path::Path, arguments: &[String], silent: bool) -> Result<()> {
    let (out, err) = if silent {
        (Stdio::null(), Stdio::null())
    } else {
        (Stdio::from(io::stderr()), Stdio::inherit())
    };
    let status = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .status();
    let failed = |what: String| {
        Error::new(Kind::Config, format!("\"{}\" {what}", program.display()))
            .with_hint("put the printed block into the client's file by hand")
    };
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(format!("failed ({status})"))),
        Err(error) => Err(failed(format!("could not be started: {error}"))),
    }
}
