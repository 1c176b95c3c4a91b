//! What `mcp-remote-client` was asked for. Pure.
//!
//! Not done here: none of the tasks; see `doctor` and `sessions`.

use super::flags::Typed;
use crate::error::{Error, Kind, Result};

/// What only `mcp-remote-client` is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientArgs {
    /// What to do.
    pub task: Task,
    /// Print one JSON document (`--json`).
    pub json: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Connect and say what each step found.
    Connect,
    /// List the servers with stored tokens (`--list`).
    List,
    /// Say whether there are tokens for the server (`--status`).
    Status,
    /// Revoke and delete the tokens for the server (`--logout`).
    Logout,
    /// The same for every server (`--logout --all`).
    LogoutAll,
}

impl Task {
    /// Whether it concerns one server, whose address must be given.
    pub fn needs_server(self) -> bool {
        match self {
            Task::Connect | Task::Status | Task::Logout => true,
            Task::List | Task::LogoutAll => false,
        }
    }
}

/// Decides what was meant.
///
/// # Errors
/// If two tasks are asked for at once, or `--all` without its task.
pub fn read(typed: &Typed) -> Result<ClientArgs> {
    let given = ["--list", "--status", "--logout"].map(|name| typed.has(name));
    let all = typed.has("--all");
    let task = match given {
        [false, false, false] => Task::Connect,
        [true, false, false] => Task::List,
        [false, true, false] => Task::Status,
        [false, false, true] if all => Task::LogoutAll,
        [false, false, true] => Task::Logout,
        _ => return Err(usage("--list, --status and --logout exclude each other")),
    };
    if all && task != Task::LogoutAll {
        return Err(usage("--all can only be used with --logout"));
    }
    if task == Task::LogoutAll && typed.url.is_some() {
        // Who names a server and says "all" may mean either; what is deleted cannot be brought back.
        return Err(usage("--logout takes an address or --all, not both"));
    }
    let json = typed.has("--json");
    Ok(ClientArgs { task, json })
}

fn usage(what: &str) -> Error {
    Error::new(Kind::Usage, what)
}

#[cfg(test)]
mod tests {
    use super::super::flags::{Program, parse};
    use super::*;

    fn read_words(words: &[&str]) -> Result<ClientArgs> {
        read(&parse(Program::Client, words.iter().map(Into::into).collect()).unwrap())
    }

    #[test]
    fn one_task_is_asked_for_at_a_time() {
        for (words, task) in [
            (&["u"][..], Task::Connect),
            (&["--list"], Task::List),
            (&["u", "--status"], Task::Status),
            (&["u", "--logout"], Task::Logout),
            (&["--logout", "--all"], Task::LogoutAll),
        ] {
            assert_eq!(read_words(words).unwrap().task, task);
        }
        for words in [
            &["u", "--list", "--status"][..],
            &["u", "--all"],
            &["u", "--logout", "--all"],
        ] {
            assert!(read_words(words).is_err(), "{words:?}");
        }
    }
}
