//! What was typed: words become flags with values, and the words that are left.
//!
//! Pure: no environment, no files; what a value means is decided in `config`.
//!
//! - Options stand anywhere, before or after the address; `--flag value` and `--flag=value`; `--` ends them.
//! - What is not known is reported with its nearest neighbour and ignored, never refused: a configuration written for
//!   npm mcp-remote, of any version, must go on working. So what follows an unknown option counts as its value.
//! - The order of `--header` and `--header-file` counts, as in npm; hence a loop of our own and no argument library.
//! - Hosts that split arguments at spaces are forgiven: `--header Name:` takes the words that follow.
//! - No warning repeats a word: any of them may be a token that slipped out of its header.
//!
//! Flags: all of `flags`; each one's meaning is told by the file that the table names.

use std::ffi::OsString;
use std::fmt;
use std::iter::Peekable;
use std::vec::IntoIter;

use super::flags::{FLAGS, Flag, Program};
use crate::error::{Error, Kind, Result};

/// What was typed.
#[derive(Default, PartialEq, Eq)]
pub struct Typed {
    /// The server's address.
    pub url: Option<String>,
    /// The second word: the callback port.
    pub port: Option<String>,
    /// The second word where `--call` or `--prompt` takes its arguments from it.
    pub argument: Option<String>,
    /// Flags and their values, in order.
    pub flags: Vec<(&'static str, String)>,
    /// What was ignored, and why.
    pub warnings: Vec<String>,
}

impl Typed {
    /// Whether the flag was given.
    pub fn has(&self, name: &str) -> bool {
        self.flags.iter().any(|(given, _)| *given == name)
    }

    /// The first value of the flag: npm's rule for all that cannot be repeated.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.flags
            .iter()
            .find(|(given, _)| *given == name)
            .map(|(_, value)| value.as_str())
    }

    /// All values of the flag, in order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.flags
            .iter()
            .filter(move |(given, _)| *given == name)
            .map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values hold header values and client secrets.
        let names: Vec<_> = self.flags.iter().map(|(name, _)| name).collect();
        write!(f, "Typed({names:?})")
    }
}

/// Reads a command line, without the program's name.
///
/// # Errors
/// If an argument is not UTF-8, or a flag that npm refuses without a value has none.
pub fn parse(program: Program, args: Vec<OsString>) -> Result<Typed> {
    let mut words = Vec::new();
    for (at, word) in args.into_iter().enumerate() {
        words.push(
            word.into_string().map_err(|_| {
                Error::new(Kind::Usage, format!("argument {} is not UTF-8", at + 1))
            })?,
        );
    }
    let mut walk = Walk {
        program,
        rest: words.into_iter().peekable(),
        typed: Typed::default(),
        stray: 0,
    };
    walk.run()?;
    let typed = &mut walk.typed;
    let takes_argument = typed.has("--call") || typed.has("--prompt");
    if takes_argument {
        typed.argument = typed.port.take();
        // Who types the arguments right after the name means no address by them.
        let is_address = |word: &Option<String>| word.as_ref().is_some_and(|w| w.contains("://"));
        if is_address(&typed.argument)
            && typed
                .url
                .as_ref()
                .is_some_and(|word| word.starts_with(['{', '@', '-']))
        {
            std::mem::swap(&mut typed.url, &mut typed.argument);
        }
    }
    if walk.stray > 0 {
        let stray = walk.stray;
        let second = match takes_argument {
            true => "arguments",
            false => "callback port",
        };
        walk.warn(format!(
            "words beyond the address and the {second} are ignored: {stray}"
        ));
    }
    Ok(walk.typed)
}

/// The way through the words, left to right.
struct Walk {
    program: Program,
    rest: Peekable<IntoIter<String>>,
    typed: Typed,
    stray: usize,
}

impl Walk {
    fn run(&mut self) -> Result<()> {
        while let Some(word) = self.rest.next() {
            if word == "--" {
                while let Some(word) = self.rest.next() {
                    self.free(word);
                }
            } else if word.starts_with('-') && word != "-" {
                self.option(&word)?;
            } else {
                self.free(word);
            }
        }
        Ok(())
    }

    fn free(&mut self, word: String) {
        if self.typed.url.is_none() {
            self.typed.url = Some(word);
        } else if self.typed.port.is_none() {
            self.typed.port = Some(word);
        } else {
            self.stray += 1;
        }
    }

    fn option(&mut self, word: &str) -> Result<()> {
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word, None),
        };
        let flag = match find(name) {
            Some(flag) if flag.is_for(self.program) => flag,
            Some(flag) => {
                self.warn(format!(
                    "{} is an option of mcp-remote-client; ignored",
                    flag.name
                ));
                return Ok(());
            }
            None => {
                self.unknown(name, inline.is_some());
                return Ok(());
            }
        };
        if !flag.takes_value() {
            if inline.is_some() {
                self.warn(format!(
                    "{} takes no value; what follows the \"=\" is ignored",
                    flag.name
                ));
            }
            self.add(flag, String::new());
            return Ok(());
        }
        let value = inline.or_else(|| self.rest.next_if(|next| !is_option(next)));
        match value {
            Some(value) if flag.name == "--header" => {
                let value = self.rejoined(value);
                self.add(flag, value);
            }
            Some(value) => self.add(flag, value),
            // npm stops here: without them the sign-in would be another one than was asked for.
            // Of ours, those without which something else would be done.
            None if MUST_HAVE_VALUE.contains(&flag.name) => {
                let what = format!("{} needs a value", flag.name);
                return Err(Error::new(Kind::Usage, what).with_hint(flag.usage()));
            }
            // Which clients there are, and that `--from-npx` needs none, is told by `setup`.
            None if flag.name == "--setup" => self.add(flag, String::new()),
            None => self.warn(format!("{} needs a value, ignored", flag.name)),
        }
        Ok(())
    }

    fn add(&mut self, flag: &'static Flag, value: String) {
        // npm refuses a second success URL; `oauth_flags` does, and so must see both.
        if flag.takes_value()
            && !flag.repeatable
            && self.typed.has(flag.name)
            && flag.name != "--auth-success-url"
        {
            self.warn(format!(
                "{} is given again; the first one counts",
                flag.name
            ));
        }
        self.typed.flags.push((flag.name, value));
    }

    /// A header whose value is missing takes the words up to the next option, address or port;
    /// one that has only an authentication scheme takes one word.
    fn rejoined(&mut self, mut header: String) -> String {
        let url_known = self.typed.url.is_some();
        let may_follow = |word: &String| {
            !is_option(word) && !word.starts_with("--") && (url_known || !word.contains("://"))
        };
        let is_split = value_of(&header).is_some_and(str::is_empty);
        let is_more =
            |word: &String| !word.bytes().all(|b| b.is_ascii_digit()) && !word.contains("://");
        let mut taken = 0;
        while let Some(value) = value_of(&header) {
            let needs_more = value.is_empty()
                || ["bearer", "basic", "token"].contains(&value.to_ascii_lowercase().as_str());
            let next = self.rest.next_if(|word| {
                may_follow(word) && (needs_more || is_split && taken > 0 && is_more(word))
            });
            let Some(word) = next else { break };
            header = format!("{} {word}", header.trim_end());
            taken += 1;
        }
        header
    }

    /// Its value, if it may have one, must become neither address nor port.
    fn unknown(&mut self, name: &str, has_value: bool) {
        let nearest = nearest(name, self.program);
        let url_known = self.typed.url.is_some();
        if !has_value && nearest.is_none_or(Flag::takes_value) {
            self.rest
                .next_if(|next| !next.starts_with('-') && (url_known || !next.contains("://")));
        }
        // Cut at the first odd letter: a host may have glued a header value to its flag.
        let name: String = name
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
            .take(40)
            .collect();
        self.warn(match nearest {
            Some(nearest) => {
                format!(
                    "unknown option {name} is ignored; did you mean {}?",
                    nearest.name
                )
            }
            None => format!("unknown option {name} is ignored; see --help"),
        });
    }

    fn warn(&mut self, what: String) {
        self.typed.warnings.push(what);
    }
}

/// These are refused without a value.
const MUST_HAVE_VALUE: &[&str] = &[
    "--auth-success-url",
    "--token-endpoint",
    "--profile",
    "--call",
    "--read",
    "--prompt",
];

fn value_of(header: &str) -> Option<&str> {
    header.split_once(':').map(|(_, value)| value.trim())
}

/// Whether the word is an option of ours, and so not the value of the one before it.
fn is_option(word: &str) -> bool {
    let name = word.split_once('=').map_or(word, |(name, _)| name);
    word == "--" || find(name).is_some()
}

fn find(name: &str) -> Option<&'static Flag> {
    FLAGS
        .iter()
        .find(|flag| flag.name == name || flag.short.contains(&name))
}

/// The flag that differs least from this name, if it is near enough to be meant.
fn nearest(name: &str, program: Program) -> Option<&'static Flag> {
    FLAGS
        .iter()
        .filter(|flag| flag.is_for(program))
        .map(|flag| (distance(name, flag.name), flag))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, flag)| *distance <= 1 + flag.name.len() / 6)
        .map(|(_, flag)| flag)
}

/// How many letters must be changed, added or left out (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, left) in a.chars().enumerate() {
        let mut above_left = at;
        let mut before = at + 1;
        for (right, above) in b.iter().zip(row.iter_mut().skip(1)) {
            let here = (*above + 1)
                .min(before + 1)
                .min(above_left + usize::from(left != *right));
            above_left = *above;
            *above = here;
            before = here;
        }
        if let Some(first) = row.first_mut() {
            *first = at + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
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
                "words beyond the address and the callback port are ignored: 2",
            ),
            (&["u", "--header"], "--header needs a value, ignored"),
            (
                &["u", "--transport", "a", "--transport=b"],
                "--transport is given again; the first one counts",
            ),
            (
                &["u", "--debug=1"],
                "--debug takes no value; what follows the \"=\" is ignored",
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
    fn the_nearest_word_is_found_by_its_letters() {
        assert_eq!(
            (
                distance("kitten", "sitting"),
                distance("", "abc"),
                distance("abc", "abc")
            ),
            (3, 3, 0)
        );
    }
}
