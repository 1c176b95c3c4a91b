//! Reads the command line of both programs: options with their values, the words that are left, and the task.
//!
//! Pure: reads no environment and no files; `config` decides what a value means.
//!
//! - pico-args reads the options. It would search the whole line, take any word for a value and lose the order, so it gets
//!   the line in parts: a known option and the words up to the next known option.
//! - `mcp-remote` ignores an unknown option and its value, with a warning: a configuration for any version of npm
//!   mcp-remote must keep working. `mcp-remote-client` refuses it.
//! - Some hosts split arguments at spaces: `--header Name:` takes the words that follow.
//! - No warning repeats a word: any of them may be a token that was split off its header.
//!
//! Flags: all of `flags`; that table names the file that says what each one means.

use std::ffi::OsString;
use std::fmt;
use std::iter::Peekable;
use std::vec::IntoIter;

use pico_args::Arguments;

use super::flags::{FLAGS, Flag, Program, nearest};
use super::pairs::{object, split_pair};
use crate::error::{Error, Kind, Result};

/// The command line, read.
#[derive(Default, PartialEq, Eq)]
pub struct Typed {
    /// The server's address.
    pub url: Option<String>,
    /// The second word: the callback port.
    pub port: Option<String>,
    /// The second word with `--call` or `--prompt`: the arguments.
    pub argument: Option<String>,
    /// Flags and their values, in order.
    pub flags: Vec<(&'static str, String)>,
    /// What was ignored, and why.
    pub warnings: Vec<String>,
}

impl Typed {
    /// Whether the flag was given.
    pub fn has(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// The first value of the flag: npm's rule for all that cannot be repeated.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// All values of the flag, in order.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.flags
            .iter()
            .filter(move |(given, _)| *given == name)
            .map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secrets.
        let names: Vec<_> = self.flags.iter().map(|(name, _)| name).collect();
        write!(f, "Typed({names:?})")
    }
}

/// Reads a command line, without the program's name.
///
/// # Errors
/// If an argument is not UTF-8, a value is missing that must be there, or `mcp-remote-client` does not know an option.
pub fn parse(program: Program, args: Vec<OsString>) -> Result<Typed> {
    let mut words = Vec::new();
    for (at, word) in args.into_iter().enumerate() {
        let word = word.into_string();
        words.push(word.map_err(|_| usage(format!("argument {} is not UTF-8", at + 1)))?);
    }
    let mut reader = Reader {
        program,
        typed: Typed::default(),
        free: Vec::new(),
    };
    let mut halves = words.splitn(2, |word| word == "--");
    let options = halves.next().unwrap_or_default();
    for part in options.chunk_by(|_, next| find(next).is_none()) {
        reader.read(part)?;
    }
    let free = halves.next().unwrap_or_default();
    reader.free.extend_from_slice(free);
    reader.finish()
}

/// The option that a word names, and its value if that is in the same word.
fn find(word: &str) -> Option<(&'static Flag, Option<&str>)> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    let is_named = |flag: &&Flag| flag.name == name || flag.short.contains(&name);
    FLAGS.iter().find(is_named).map(|flag| (flag, value))
}

struct Reader {
    program: Program,
    typed: Typed,
    /// The words that belong to no option.
    free: Vec<String>,
}

type Words = Peekable<IntoIter<String>>;

impl Reader {
    /// Reads a known option, if there is one at the start, and the words after it.
    fn read(&mut self, part: &[String]) -> Result<()> {
        let Some((flag, inline)) = part.first().and_then(|word| find(word)) else {
            return self.read_rest(Vec::from(part).into_iter().peekable());
        };
        if inline.is_some() && !flag.takes_value() {
            self.warn(format!(
                "{} takes no value; ignoring what follows the \"=\"",
                flag.name
            ));
        }
        // `--name=value` becomes two words: pico-args strips quotes after `=` and refuses an empty value.
        let words = [flag.name]
            .into_iter()
            .chain(inline.filter(|_| flag.takes_value()))
            .chain(part.iter().skip(1).map(String::as_str));
        let mut args = Arguments::from_vec(words.map(OsString::from).collect());
        let value = if flag.takes_value() {
            args.opt_value_from_str(flag.name).ok().flatten()
        } else {
            Some(String::new())
        };
        // A switch, or an option without a value.
        args.contains(flag.name);
        let rest = args.finish().into_iter();
        let rest: Vec<String> = rest.filter_map(|word| word.into_string().ok()).collect();
        let mut rest = rest.into_iter().peekable();
        match value {
            _ if !flag.is_for(self.program) => self.warn(format!(
                "{} is an option of mcp-remote-client; ignored",
                flag.name
            )),
            Some(value) if flag.name == "--header" => {
                let header = joined(value, &mut rest, !self.free.is_empty());
                self.add(flag, header);
            }
            Some(value) => self.add(flag, value),
            None if MUST_HAVE_VALUE.contains(&flag.name) => {
                let error = usage(format!("{} needs a value", flag.name));
                return Err(error.with_hint(flag.usage()));
            }
            // `setup` names the clients, and `--from-npx` needs none.
            None if flag.name == "--setup" => self.add(flag, String::new()),
            None => self.warn(format!("{} needs a value; ignored", flag.name)),
        }
        self.read_rest(rest)
    }

    fn add(&mut self, flag: &'static Flag, value: String) {
        // npm refuses a second success URL; `config` does it, and must see both.
        let counts_once =
            flag.takes_value() && !flag.repeatable && flag.name != "--auth-success-url";
        if counts_once && self.typed.has(flag.name) {
            self.warn(format!(
                "{} is given more than once; using the first one",
                flag.name
            ));
        }
        self.typed.flags.push((flag.name, value));
    }

    /// Unknown options, and words that belong to no option.
    fn read_rest(&mut self, mut rest: Words) -> Result<()> {
        while let Some(word) = rest.next() {
            if word.starts_with('-') && word != "-" {
                self.read_unknown(&word, &mut rest)?;
            } else {
                self.free.push(word);
            }
        }
        Ok(())
    }

    /// The value of an unknown option must become neither address nor port.
    fn read_unknown(&mut self, word: &str, rest: &mut Words) -> Result<()> {
        let name = word.split('=').next().unwrap_or(word);
        let nearest = nearest(name, self.program);
        if name == word && nearest.is_none_or(Flag::takes_value) {
            let has_url = !self.free.is_empty();
            rest.next_if(|next| !next.starts_with('-') && (has_url || !next.contains("://")));
        }
        // Cut at the first character that no name has: a host may have glued a header's value to its flag.
        let is_of_name = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let name: String = name.chars().take_while(is_of_name).take(40).collect();
        let hint = match nearest {
            Some(nearest) => format!("did you mean {}?", nearest.name),
            None => "see --help".to_owned(),
        };
        if self.program == Program::Client {
            return Err(usage(format!("unknown option {name}: {hint}")));
        }
        self.warn(format!("unknown option {name} is ignored; {hint}"));
        Ok(())
    }

    fn finish(self) -> Result<Typed> {
        let (mut typed, free) = (self.typed, self.free);
        let takes_argument = typed.has("--call") || typed.has("--prompt");
        // As in `npx mcp-remote@latest URL`.
        let package = free.first().filter(|word| is_package(word));
        let free = free.iter().skip(usize::from(package.is_some())).cloned();
        let (pairs, free): (Vec<String>, Vec<String>) =
            free.partition(|word| takes_argument && split_pair(word).is_some());
        let mut free = free.into_iter();
        typed.url = free.next();
        let mut second = free.next();
        if takes_argument {
            // Arguments right after the tool's name stand before the address.
            let is_address = |word: &String| word.contains("://");
            let is_argument = |word: &String| word.starts_with(['{', '@', '-']);
            if second.as_ref().is_some_and(is_address)
                && typed.url.as_ref().is_some_and(is_argument)
            {
                std::mem::swap(&mut typed.url, &mut second);
            }
            if second.is_some() && !pairs.is_empty() {
                return Err(usage(
                    "arguments are given as JSON and as NAME=VALUE; use one of them",
                ));
            }
            typed.argument = if pairs.is_empty() {
                second
            } else {
                Some(object(&pairs)?)
            };
        } else {
            typed.port = second;
        }
        let ignored = free.count();
        if ignored > 0 {
            let second = if takes_argument {
                "arguments"
            } else {
                "callback port"
            };
            typed.warnings.push(format!(
                "words after the address and the {second} are ignored: {ignored}"
            ));
        }
        Ok(typed)
    }

    fn warn(&mut self, what: String) {
        self.typed.warnings.push(what);
    }
}

/// npm's name of this program, with or without a version.
fn is_package(word: &str) -> bool {
    word == "mcp-remote" || word.starts_with("mcp-remote@")
}

/// A header with the words that a host split off its value. An empty value takes the words up to the next option, address
/// or port; one that is only an authentication scheme takes one word.
fn joined(mut header: String, rest: &mut Words, has_url: bool) -> String {
    let value_of = |header: &str| Some(header.split_once(':')?.1.trim().to_ascii_lowercase());
    let is_split = value_of(&header).is_some_and(|value| value.is_empty());
    while let Some(value) = value_of(&header) {
        let is_incomplete = ["", "bearer", "basic", "token"].contains(&value.as_str());
        let next = rest.next_if(|word| {
            let is_address = word.contains("://");
            let is_number = word.bytes().all(|b| b.is_ascii_digit());
            !word.starts_with("--")
                && (has_url || !is_address)
                && (is_incomplete || is_split && !is_address && !is_number)
        });
        let Some(word) = next else { break };
        header = format!("{} {word}", header.trim_end());
    }
    header
}

/// Refused without a value, by npm or because something else would be done than was asked for.
const MUST_HAVE_VALUE: &[&str] = &[
    "--auth-success-url",
    "--token-endpoint",
    "--profile",
    "--call",
    "--read",
    "--prompt",
];

/// What `mcp-remote-client` is asked to do.
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

/// One request to the server.
#[derive(Clone, PartialEq, Eq)]
pub enum Request {
    /// Call a tool (`--call`) with the arguments as they were typed.
    Call(String, Option<String>),
    /// Read a resource (`--read`).
    Read(String),
    /// Get a prompt (`--prompt`) with the arguments as they were typed.
    Prompt(String, Option<String>),
    /// List the tools (`--list-tools`).
    ListTools,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments and addresses may hold secrets.
        f.write_str(match self {
            Request::Call(..) => "Call",
            Request::Read(_) => "Read",
            Request::Prompt(..) => "Prompt",
            Request::ListTools => "ListTools",
        })
    }
}

impl Task {
    /// The task of a command line of `mcp-remote-client`.
    ///
    /// # Errors
    /// If two tasks are given, or `--all` with another task.
    pub fn of(typed: &Typed) -> Result<Task> {
        let mut given = TASKS.iter().filter(|name| typed.has(name));
        let name = given.next().copied().unwrap_or_default();
        if let Some(other) = given.next() {
            return Err(usage(format!("{name} and {other} exclude each other")));
        }
        let value = typed.value(name).unwrap_or_default().to_owned();
        let argument = typed.argument.clone();
        let task = match name {
            "--list" => Task::List,
            "--status" => Task::Status,
            "--call" => Task::Ask(Request::Call(value, argument)),
            "--read" => Task::Ask(Request::Read(value)),
            "--prompt" => Task::Ask(Request::Prompt(value, argument)),
            "--list-tools" => Task::Ask(Request::ListTools),
            "--logout" if typed.has("--all") => Task::LogoutAll,
            "--logout" => Task::Logout,
            _ => Task::Connect,
        };
        if typed.has("--all") && task != Task::LogoutAll {
            return Err(usage("--all can only be used with --logout"));
        }
        if task == Task::LogoutAll && typed.url.is_some() {
            // Either may be meant, and deleted tokens cannot be restored.
            return Err(usage("--logout takes an address or --all, not both"));
        }
        Ok(task)
    }

    /// Whether an address must be given.
    pub fn needs_server(&self) -> bool {
        !matches!(self, Task::List | Task::LogoutAll)
    }
}

/// At most one of these is given.
const TASKS: &[&str] = &[
    "--list",
    "--status",
    "--logout",
    "--call",
    "--read",
    "--prompt",
    "--list-tools",
];

pub(super) fn usage(what: impl Into<String>) -> Error {
    Error::new(Kind::Usage, what)
}

#[cfg(test)]
mod tests {
    use super::super::flags::difference;
    use super::*;

    fn parse_for(program: Program, words: &[&str]) -> Result<Typed> {
        parse(program, words.iter().map(OsString::from).collect())
    }

    fn typed(words: &[&str]) -> Typed {
        parse_for(Program::Proxy, words).unwrap()
    }

    #[test]
    fn options_stand_anywhere_and_take_values_both_ways() {
        let expected = vec![
            ("--transport", "sse-only".to_owned()),
            ("--debug", String::new()),
        ];
        for words in [
            &[
                "--transport",
                "sse-only",
                "--debug",
                "https://a.test",
                "9000",
            ][..],
            &["https://a.test", "--transport=sse-only", "9000", "--debug"][..],
            &[
                "--transport=sse-only",
                "--debug",
                "--",
                "https://a.test",
                "9000",
            ][..],
        ] {
            let typed = typed(words);
            assert_eq!(
                (typed.url.as_deref(), typed.port.as_deref()),
                (Some("https://a.test"), Some("9000"))
            );
            assert_eq!(typed.flags, expected);
            assert_eq!(typed.warnings, [""; 0]);
        }
    }

    #[test]
    fn the_words_of_an_npx_command_are_understood() {
        for words in [
            &["mcp-remote@latest", "https://a.test", "9000"][..],
            &["mcp-remote", "https://a.test", "9000", "-H", "A: 1"],
        ] {
            let typed = typed(words);
            assert_eq!(typed.url.as_deref(), Some("https://a.test"));
            assert_eq!(typed.port.as_deref(), Some("9000"));
            assert_eq!(typed.warnings, [""; 0]);
        }
        assert_eq!(typed(&["u", "-H", "A: 1"]).value("--header"), Some("A: 1"));
    }

    #[test]
    fn a_typo_is_reported_with_its_neighbour_and_ignored() {
        for (words, warning) in [
            (
                &["u", "--alow-http"][..],
                "unknown option --alow-http is ignored; did you mean --allow-http?",
            ),
            (
                &["u", "--frobnicate"],
                "unknown option --frobnicate is ignored; see --help",
            ),
            (
                &["u", "--foo"],
                "unknown option --foo is ignored; see --help",
            ),
            (
                &["u", "1", "2", "3"],
                "words after the address and the callback port are ignored: 2",
            ),
            (&["u", "--header"], "--header needs a value; ignored"),
            (
                &["u", "--transport", "a", "--transport=b"],
                "--transport is given more than once; using the first one",
            ),
            (
                &["u", "--debug=1"],
                "--debug takes no value; ignoring what follows the \"=\"",
            ),
            (
                &["u", "--json"],
                "--json is an option of mcp-remote-client; ignored",
            ),
        ] {
            assert_eq!(typed(words).warnings, [warning], "{words:?}");
        }
        assert!(
            parse_for(Program::Client, &["u", "--json"])
                .unwrap()
                .has("--json")
        );
    }

    #[test]
    fn the_value_of_an_unknown_option_is_neither_address_nor_port() {
        for words in [
            &["u", "--not-yet", "value"][..],
            &["--not-yet", "value", "u"],
            &["--not-yet=value", "u"],
            &["u", "--transprt", "value"],
        ] {
            let typed = typed(words);
            assert_eq!(
                (typed.url.as_deref(), typed.port),
                (Some("u"), None),
                "{words:?}"
            );
        }
        // One that resembles a switch has no value, and an address is an address.
        assert_eq!(
            typed(&["u", "--debg", "9000"]).port.as_deref(),
            Some("9000")
        );
        let address = typed(&["--not-yet", "https://a.test"]).url;
        assert_eq!(address.as_deref(), Some("https://a.test"));
    }

    #[test]
    fn the_client_refuses_an_unknown_option() {
        for (words, what) in [
            (
                &["u", "--logot"][..],
                "unknown option --logot: did you mean --logout?",
            ),
            (
                &["u", "--cal=x"],
                "unknown option --cal: did you mean --call?",
            ),
            (
                &["u", "--lst"],
                "unknown option --lst: did you mean --list?",
            ),
            (&["u", "-x"], "unknown option -x: see --help"),
            (
                &["u", "--frobnicate=hunter2"],
                "unknown option --frobnicate: see --help",
            ),
        ] {
            let error = parse_for(Program::Client, words).unwrap_err();
            assert_eq!((error.kind(), error.what()), (Kind::Usage, what));
        }
    }

    #[test]
    fn a_value_in_the_same_word_is_taken_as_it_is() {
        for (word, value) in [
            ("--resource=", ""),
            ("--resource=\"a\"", "\"a\""),
            ("--resource='a", "'a"),
            ("--resource=--debug", "--debug"),
            ("--resource=a=b", "a=b"),
            ("--resource=--resource", "--resource"),
        ] {
            let typed = typed(&["u", word, "9000"]);
            assert_eq!(typed.flags, [("--resource", value.to_owned())]);
            assert_eq!(typed.port.as_deref(), Some("9000"));
            assert_eq!(typed.warnings, [""; 0]);
        }
    }

    #[test]
    fn the_order_of_headers_and_header_files_is_kept() {
        let typed = typed(&[
            "--header-file",
            "f",
            "u",
            "--header=A: 1",
            "--header-file=g",
        ]);
        let order: Vec<&str> = typed
            .flags
            .iter()
            .map(|(_, value)| value.as_str())
            .collect();
        assert_eq!(order, ["f", "A: 1", "g"]);
    }

    #[test]
    fn an_option_is_never_the_value_of_the_one_before_it() {
        let typed = typed(&["u", "--transport", "--debug", "--host", "--", "9000"]);
        assert_eq!(typed.flags, [("--debug", String::new())]);
        assert_eq!(typed.port.as_deref(), Some("9000"));
        assert_eq!(typed.warnings.len(), 2);
    }

    #[test]
    fn what_npm_refuses_without_a_value_is_refused() {
        for name in ["--auth-success-url", "--token-endpoint"] {
            for words in [&["u", name][..], &["u", name, "--debug"]] {
                let error = parse_for(Program::Proxy, words).unwrap_err();
                assert_eq!(error.what(), format!("{name} needs a value"));
            }
        }
    }

    #[test]
    fn headers_that_a_host_split_are_joined_again() {
        for words in [
            &["u", "--header", "Authorization: Bearer x"][..],
            &["u", "--header", "Authorization:", "Bearer", "x", "--debug"][..],
            &["u", "--header=Authorization:", "Bearer", "x", "9000"][..],
            &["--header", "Authorization:", "Bearer x", "--", "u"][..],
            &["--header", "Authorization: Bearer", "x", "u"][..],
        ] {
            let typed = typed(words);
            assert_eq!(
                typed.value("--header"),
                Some("Authorization: Bearer x"),
                "{words:?}"
            );
            assert_eq!(typed.url.as_deref(), Some("u"));
        }
        let before = typed(&["--header", "X:", "https://a.test"]);
        assert_eq!(before.url.as_deref(), Some("https://a.test"));
        let after = typed(&["u", "--header", "Origin:", "https://a.test", "9000"]);
        assert_eq!(after.value("--header"), Some("Origin: https://a.test"));
        assert_eq!(after.port.as_deref(), Some("9000"));
        let many = typed(&["u", "--header", "User-Agent:", "a", "(b;", "c)", "9000"]);
        assert_eq!(many.value("--header"), Some("User-Agent: a (b; c)"));
        let whole = typed(&["u", "--header", "X: a", "9000"]);
        assert_eq!(
            (whole.value("--header"), whole.port.as_deref()),
            (Some("X: a"), Some("9000"))
        );
    }

    #[test]
    fn no_warning_and_no_debug_output_repeats_a_word() {
        for words in [
            &["u", "1", "hunter2"][..],
            &["u", "--headerX: hunter2"],
            &["u", "--nothing=hunter2"],
            &["u", "--nothing", "hunter2"],
            &["u", "--header", "X: hunter2"],
        ] {
            let typed = typed(words);
            let shown = format!("{:?} {typed:?}", typed.warnings);
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn a_name_with_one_mistake_is_recognised() {
        for (name, nearest_name) in [
            ("--statsu", "--status"),
            ("--transpport", "--transport"),
            ("--trnsport", "--transport"),
            ("--hedaer", "--header"),
            ("--listt", "--list"),
            ("--list-tool", "--list-tools"),
        ] {
            let found = nearest(name, Program::Client).map(|flag| flag.name);
            assert_eq!(found, Some(nearest_name));
        }
        assert!(nearest("--frobnicate", Program::Client).is_none());
        assert_eq!(difference("--all", "--allall"), 3);
    }

    fn task_of(words: &[&str]) -> Result<Task> {
        Task::of(&parse_for(Program::Client, words)?)
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
            assert_eq!(task_of(words).unwrap(), task);
        }
        for words in [
            &["u", "--list", "--status"][..],
            &["u", "--call", "t", "--list"],
            &["u", "--all"],
            &["u", "--logout", "--all"],
        ] {
            assert!(task_of(words).is_err(), "{words:?}");
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
            assert_eq!(task_of(words).unwrap(), call, "{words:?}");
        }
        let prompt = Task::Ask(Request::Prompt("p".to_owned(), None));
        assert_eq!(task_of(&["u", "--prompt", "p"]).unwrap(), prompt);
        for (words, arguments) in [
            (
                &["https://a", "--call", "t", "text=a=b", "count:=3"][..],
                "{\"text\":\"a=b\",\"count\":3}",
            ),
            (
                &["--call", "t", "link=https://b?c=d", "https://a?b=c"],
                "{\"link\":\"https://b?c=d\"}",
            ),
        ] {
            let call = Task::Ask(Request::Call("t".to_owned(), Some(arguments.to_owned())));
            assert_eq!(task_of(words).unwrap(), call, "{words:?}");
        }
        for (words, what) in [
            (
                &["u", "--call", "t", "a:=hunter2"][..],
                "the value of a:= is not valid JSON",
            ),
            (
                &["u", "--call", "t", "a=1", "{}"],
                "arguments are given as JSON and as NAME=VALUE; use one of them",
            ),
        ] {
            assert_eq!(task_of(words).unwrap_err().what(), what);
        }
        let shown = format!("{:?}", task_of(&["u", "{\"a\":1}", "--call", "t"]));
        assert!(!shown.contains("\"a"), "{shown}");
    }
}
