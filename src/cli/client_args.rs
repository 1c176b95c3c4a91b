//! What `mcp-remote-client` was asked for. Pure.
//!
//! Not done here: none of the tasks; see `doctor`, `call` and `sessions`.

use std::fmt;

use super::args::Typed;
use crate::error::{Error, Kind, Result};

/// What only `mcp-remote-client` is told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientArgs {
    /// What to do.
    pub task: Task,
    /// Print one JSON document (`--json`).
    pub json: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Connect and say what each step found.
    Connect,
    /// Send one request and print its result.
    Ask(Request),
    /// List the servers with stored tokens (`--list`).
    List,
    /// Say whether there are tokens for the server (`--status`).
    Status,
    /// Revoke and delete the tokens for the server (`--logout`).
    Logout,
    /// The same for every server (`--logout --all`).
    LogoutAll,
}

/// What is asked of the server.
#[derive(Clone, PartialEq, Eq)]
pub enum Request {
    /// Call a tool (`--call`) with what was typed for arguments.
    Call(String, Option<String>),
    /// Read a resource (`--read`).
    Read(String),
    /// Get a prompt (`--prompt`) with what was typed for arguments.
    Prompt(String, Option<String>),
    /// List the tools (`--list-tools`).
    ListTools,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments may hold secrets, and so may addresses.
        f.write_str(match self {
            Request::Call(..) => "Call",
            Request::Read(_) => "Read",
            Request::Prompt(..) => "Prompt",
            Request::ListTools => "ListTools",
        })
    }
}

impl Task {
    /// Whether it concerns one server, whose address must be given.
    pub fn needs_server(&self) -> bool {
        match self {
            Task::Connect | Task::Ask(_) | Task::Status | Task::Logout => true,
            Task::List | Task::LogoutAll => false,
        }
    }
}

/// Decides what was meant.
///
/// # Errors
/// If two tasks are asked for at once, or `--all` without its task.
pub fn read(typed: &Typed) -> Result<ClientArgs> {
    let mut given = TASKS.iter().filter(|name| typed.has(name));
    let task = given.next().copied();
    if let (Some(one), Some(other)) = (task, given.next()) {
        return Err(usage(&format!("{one} and {other} exclude each other")));
    }
    let all = typed.has("--all");
    let value = |name| typed.value(name).unwrap_or_default().to_owned();
    let argument = typed.argument.clone();
    let task = match task {
        None => Task::Connect,
        Some("--list") => Task::List,
        Some("--status") => Task::Status,
        Some("--call") => Task::Ask(Request::Call(value("--call"), argument)),
        Some("--read") => Task::Ask(Request::Read(value("--read"))),
        Some("--prompt") => Task::Ask(Request::Prompt(value("--prompt"), argument)),
        Some("--list-tools") => Task::Ask(Request::ListTools),
        Some(_) if all => Task::LogoutAll,
        Some(_) => Task::Logout,
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

/// One of these at a time.
const TASKS: &[&str] = &[
    "--list",
    "--status",
    "--logout",
    "--call",
    "--read",
    "--prompt",
    "--list-tools",
];

fn usage(what: &str) -> Error {
    Error::new(Kind::Usage, what)
}

#[cfg(test)]
mod tests {
    use super::super::args::parse;
    use super::super::flags::Program;
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
            (&["u", "--list-tools"], Task::Ask(Request::ListTools)),
            (
                &["u", "--read", "a:b"],
                Task::Ask(Request::Read("a:b".to_owned())),
            ),
        ] {
            assert_eq!(read_words(words).unwrap().task, task);
        }
        for words in [
            &["u", "--list", "--status"][..],
            &["u", "--call", "t", "--list"],
            &["u", "--all"],
            &["u", "--logout", "--all"],
        ] {
            assert!(read_words(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn the_word_after_the_address_is_the_arguments_of_a_call() {
        let call = Task::Ask(Request::Call("t".to_owned(), Some("{}".to_owned())));
        for words in [
            &["https://a", "--call", "t", "{}"][..],
            &["--call", "t", "https://a", "{}"],
            &["--call", "t", "{}", "https://a"],
            &["https://a", "{}", "--call=t"],
        ] {
            assert_eq!(read_words(words).unwrap().task, call, "{words:?}");
        }
        let prompt = Task::Ask(Request::Prompt("p".to_owned(), None));
        assert_eq!(read_words(&["u", "--prompt", "p"]).unwrap().task, prompt);
        let shown = format!("{:?}", read_words(&["u", "{\"a\":1}", "--call", "t"]));
        assert!(!shown.contains("\"a"), "{shown}");
    }
}
