//! `FLAGS`: every flag, once. The parser, `--help` and the README's table are made from it.
//!
//! This is what was typed; what it means is decided in `config`. Pure: no environment, no files.
//!
//! - Options stand anywhere, before or after the address; `--flag value` and `--flag=value`; `--` ends them.
//! - What is not known is reported with its nearest neighbour and ignored, never refused: a configuration written for
//!   npm mcp-remote must go on working.
//! - The order of `--header` and `--header-file` counts, as in npm; hence a loop of our own and no argument library.
//! - Hosts that split arguments at spaces are forgiven: `--header Name:` takes the words that follow.
//!
//! Flags: `--help`, `--version`.

use std::ffi::OsString;

use crate::error::{Error, Kind, Result};

/// One flag.
#[derive(Debug)]
pub struct Flag {
    /// Its name, with the dashes.
    pub name: &'static str,
    /// What its value is called; empty if it takes none.
    pub value: &'static str,
    /// The heading it stands under.
    pub group: Group,
    /// What it does, in one sentence.
    pub help: &'static str,
    /// Its default, in words; empty if there is none.
    pub default: &'static str,
    /// The source file that is its home.
    pub home: &'static str,
}

/// The headings of the help text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// What to connect to.
    Connection,
    /// Request headers.
    Headers,
    /// Proxies, TLS and time limits.
    Network,
    /// What the client sees.
    Messages,
    /// OAuth.
    SignIn,
    /// Logging and the rest.
    Output,
}

impl Group {
    /// All of them, in the order of the help text.
    pub const ALL: [Group; 6] = [
        Group::Connection,
        Group::Headers,
        Group::Network,
        Group::Messages,
        Group::SignIn,
        Group::Output,
    ];

    /// The heading.
    pub fn title(self) -> &'static str {
        match self {
            Group::Connection => "Connection",
            Group::Headers => "Headers",
            Group::Network => "Network",
            Group::Messages => "Messages and tools",
            Group::SignIn => "Sign-in (OAuth)",
            Group::Output => "Output",
        }
    }
}

const fn flag(
    group: Group,
    name: &'static str,
    value: &'static str,
    default: &'static str,
    home: &'static str,
    help: &'static str,
) -> Flag {
    Flag {
        name,
        value,
        group,
        help,
        default,
        home,
    }
}

use Group::{Connection, Headers, Messages, Network, Output, SignIn};

/// Every flag.
#[rustfmt::skip]
pub const FLAGS: &[Flag] = &[
    flag(Connection, "--transport", "STRATEGY", "http-first", "bridge/strategy.rs", "Which transport to try: http-first, sse-first, http-only, sse-only"),
    flag(Connection, "--protocol", "ERA", "auto", "cli/config.rs", "Protocol era of the server: auto, legacy (2024-11-05 to 2025-11-25), modern (2026-07-28)"),
    flag(Connection, "--allow-http", "", "", "cli/config.rs", "Allow plain http to hosts that are not this machine"),
    flag(Headers, "--header", "\"NAME: VALUE\"", "", "cli/headers.rs", "Send a header to the server; ${VAR} in the value is replaced; repeatable"),
    flag(Headers, "--header-file", "FILE", "", "cli/headers.rs", "Read headers from a file, one per line; # starts a comment; repeatable"),
    flag(Headers, "--disable-cookies", "", "", "transport/cookies.rs", "Do not keep and send back cookies"),
    flag(Network, "--connect-timeout", "SECONDS", "10", "transport/agent.rs", "Limit for connecting: TCP, proxy and TLS together"),
    flag(Network, "--headers-timeout", "SECONDS", "300", "transport/agent.rs", "Limit until an answer begins; 0 is none"),
    flag(Network, "--body-timeout", "SECONDS", "300", "transport/agent.rs", "Limit for a silence inside an answer; 0 is none; open streams obey it only if it is given"),
    flag(Network, "--request-timeout", "SECONDS", "none", "bridge/requests.rs", "Answer a request with an error after this time and cancel it at the server"),
    flag(Network, "--ipv4", "", "", "transport/agent.rs", "Connect over IPv4 only"),
    flag(Network, "--no-proxy", "", "", "transport/agent.rs", "Ignore HTTPS_PROXY, HTTP_PROXY and ALL_PROXY"),
    flag(Network, "--enable-proxy", "", "on", "transport/agent.rs", "Accepted for compatibility: proxies are used by default"),
    flag(Network, "--ca-cert", "FILE", "", "transport/tls.rs", "Trust the certificates in a PEM file in addition; repeatable"),
    flag(Network, "--client-cert", "FILE", "", "transport/tls.rs", "Client certificate chain (PEM) for mutual TLS"),
    flag(Network, "--client-key", "FILE", "", "transport/tls.rs", "Private key (PEM) of the client certificate"),
    flag(Network, "--keep-alive", "", "", "bridge/keep_alive.rs", "Send a ping whenever nothing was said for the ping interval"),
    flag(Network, "--ping-interval", "SECONDS", "30", "bridge/keep_alive.rs", "Time without traffic after which a ping is sent; turns --keep-alive on"),
    flag(Messages, "--ignore-tool", "GLOB", "", "bridge/tool_filter.rs", "Hide tools whose name matches; * stands for any text; repeatable"),
    flag(Messages, "--allow-tool", "GLOB", "", "bridge/tool_filter.rs", "Show only tools whose name matches; repeatable; --ignore-tool wins"),
    flag(Messages, "--max-message-size", "MIB", "64", "cli/config.rs", "Longest message that is passed on, either way"),
    flag(SignIn, "--host", "NAME", "localhost (127.0.0.1 on Windows)", "cli/config.rs", "Host name in the redirect URI"),
    flag(SignIn, "--callback-path", "PATH", "/oauth/callback", "cli/config.rs", "Path of the redirect URI"),
    flag(SignIn, "--auth-timeout", "SECONDS", "30", "cli/config.rs", "How long a request waits for a sign-in"),
    flag(SignIn, "--auth-success-url", "URL", "", "cli/config.rs", "Send the browser there after signing in"),
    flag(SignIn, "--no-browser", "", "", "cli/config.rs", "Print the sign-in address, open nothing"),
    flag(SignIn, "--static-oauth-client-info", "JSON|@FILE", "", "cli/config.rs", "Use this client registration; ${VAR} in it is replaced"),
    flag(SignIn, "--static-oauth-client-metadata", "JSON|@FILE", "", "cli/config.rs", "Override members of the client metadata"),
    flag(SignIn, "--client-metadata-url", "URL", "", "cli/config.rs", "Client id metadata document"),
    flag(SignIn, "--client-assertion-key", "FILE", "", "cli/config.rs", "Private key (PEM) that signs client assertions (private_key_jwt)"),
    flag(SignIn, "--resource", "URL", "", "cli/config.rs", "Value of the resource parameter; empty leaves it out"),
    flag(SignIn, "--disable-resource-parameter", "", "", "cli/config.rs", "Leave the resource parameter out"),
    flag(SignIn, "--authorize-param", "KEY=VALUE", "", "cli/config.rs", "Extra parameter of the authorization request; repeatable"),
    flag(SignIn, "--use-id-token", "", "", "cli/config.rs", "Send the id token instead of the access token"),
    flag(SignIn, "--device-code", "", "", "cli/config.rs", "Sign in with a code on another device"),
    flag(SignIn, "--client-credentials", "", "", "cli/config.rs", "Sign in as a program, with the static client"),
    flag(SignIn, "--token-endpoint", "URL", "", "cli/config.rs", "Token endpoint for --client-credentials, without discovery"),
    flag(Output, "--debug", "", "", "log.rs", "Tell each step, on stderr and in a file beside the credentials"),
    flag(Output, "--silent", "", "", "log.rs", "Write nothing to stderr"),
    flag(Output, "--log-file", "FILE", "", "log.rs", "Append log lines to a file, too"),
    flag(Output, "--log-format", "FORMAT", "text", "log.rs", "text or json"),
    flag(Output, "--json", "", "", "cli/doctor.rs", "mcp-remote-client: print one JSON document"),
    flag(Output, "--help", "", "", "cli/flags.rs", "Print this help (-h)"),
    flag(Output, "--version", "", "", "cli/flags.rs", "Print the version (-V, -v)"),
];

/// What was typed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Typed {
    /// The server's address.
    pub url: Option<String>,
    /// The second word: the callback port.
    pub port: Option<String>,
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

/// Reads a command line, without the program's name.
///
/// # Errors
/// If an argument is no UTF-8.
pub fn parse(args: Vec<OsString>) -> Result<Typed> {
    let mut words = Vec::new();
    for word in args {
        words.push(word.into_string().map_err(|word| {
            Error::new(Kind::Usage, format!("the argument {word:?} is not UTF-8"))
        })?);
    }
    let mut typed = Typed::default();
    let mut free = Vec::new();
    let mut words = words.into_iter().peekable();
    while let Some(word) = words.next() {
        if word == "--" {
            free.extend(words);
            break;
        }
        if !word.starts_with('-') || word == "-" {
            free.push(word);
            continue;
        }
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let Some(flag) = find(name) else {
            typed.warnings.push(unknown(name));
            continue;
        };
        let value = match (flag.value.is_empty(), inline) {
            (true, None) => String::new(),
            (true, Some(_)) => {
                typed.warnings.push(format!(
                    "{} takes no value; what follows the \"=\" is ignored",
                    flag.name
                ));
                String::new()
            }
            (false, Some(value)) => value,
            (false, None) => match words.next() {
                Some(value) => value,
                None => {
                    typed
                        .warnings
                        .push(format!("{} needs a value; ignored", flag.name));
                    continue;
                }
            },
        };
        let value = if flag.name == "--header" {
            rejoined(value, &mut words)
        } else {
            value
        };
        typed.flags.push((flag.name, value));
    }
    let mut free = free.into_iter();
    typed.url = free.next();
    typed.port = free.next();
    typed.warnings.extend(
        free.map(|word| format!("\"{word}\" is ignored: only an address and a port are expected")),
    );
    Ok(typed)
}

/// Some hosts split arguments at spaces: a header without a value takes the words up to the next flag or address,
/// one with only an authentication scheme takes the next word.
fn rejoined(
    mut value: String,
    words: &mut std::iter::Peekable<std::vec::IntoIter<String>>,
) -> String {
    let is_value = |word: &String| !word.starts_with("--") && !word.contains("://");
    loop {
        let rest = value.split_once(':').map_or("x", |(_, rest)| rest.trim());
        let open = rest.is_empty()
            || ["bearer", "basic", "token"].contains(&rest.to_ascii_lowercase().as_str());
        if !open {
            return value;
        }
        match words.next_if(is_value) {
            Some(word) => value = format!("{} {word}", value.trim_end()),
            None => return value,
        }
    }
}

fn find(name: &str) -> Option<&'static Flag> {
    let name = match name {
        "-h" => "--help",
        "-V" | "-v" => "--version",
        other => other,
    };
    FLAGS.iter().find(|flag| flag.name == name)
}

fn unknown(name: &str) -> String {
    let nearest = FLAGS
        .iter()
        .map(|flag| (distance(name, flag.name), flag.name))
        .min();
    match nearest {
        Some((distance, nearest)) if distance <= 3 => {
            format!("unknown option {name} is ignored; did you mean {nearest}?")
        }
        _ => format!("unknown option {name} is ignored; see --help"),
    }
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

/// The text of `--help`.
pub fn help(program: &str) -> String {
    let what = match program {
        "mcp-remote-client" => "Connects to a remote MCP server and tells what each step found.",
        _ => "Joins an MCP client on stdin and stdout to a remote MCP server.",
    };
    let mut text = format!("{what}\n\nUsage: {program} <URL> [callback port] [options]\n");
    for group in Group::ALL {
        text.push_str(&format!("\n{}:\n", group.title()));
        for flag in FLAGS.iter().filter(|flag| flag.group == group) {
            let head = format!("{} {}", flag.name, flag.value);
            text.push_str(&format!(
                "  {:<38} {}{}\n",
                head.trim_end(),
                flag.help,
                default_of(flag)
            ));
        }
    }
    text.push_str("\nEnvironment: MCP_REMOTE_CONFIG_DIR, HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, NODE_EXTRA_CA_CERTS\n");
    text
}

/// The README's table of flags.
pub fn markdown_table() -> String {
    let mut text = String::from("| flag | what it does |\n|---|---|\n");
    for group in Group::ALL {
        text.push_str(&format!("| **{}** | |\n", group.title()));
        for flag in FLAGS.iter().filter(|flag| flag.group == group) {
            let head = format!("{} {}", flag.name, flag.value.replace('|', "\\|"));
            text.push_str(&format!(
                "| `{}` | {}{} |\n",
                head.trim_end(),
                flag.help,
                default_of(flag)
            ));
        }
    }
    text
}

fn default_of(flag: &Flag) -> String {
    if flag.default.is_empty() {
        String::new()
    } else {
        format!(" [default: {}]", flag.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(words: &[&str]) -> Typed {
        parse(words.iter().map(OsString::from).collect()).unwrap()
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
            assert!(typed.warnings.is_empty());
        }
    }

    #[test]
    fn a_typo_is_reported_with_its_neighbour_and_ignored() {
        assert_eq!(
            typed(&["u", "--alow-http"]).warnings,
            ["unknown option --alow-http is ignored; did you mean --allow-http?"]
        );
        assert_eq!(
            typed(&["u", "--frobnicate"]).warnings,
            ["unknown option --frobnicate is ignored; see --help"]
        );
        assert_eq!(
            typed(&["u", "1", "2"]).warnings,
            ["\"2\" is ignored: only an address and a port are expected"]
        );
        assert_eq!(
            typed(&["u", "--header"]).warnings,
            ["--header needs a value; ignored"]
        );
    }

    #[test]
    fn headers_that_a_host_split_are_joined_again() {
        for words in [
            &["u", "--header", "Authorization: Bearer x"][..],
            &["u", "--header", "Authorization:", "Bearer", "x", "--debug"][..],
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
        assert_eq!(
            typed(&["--header", "X:", "https://a.test"]).url.as_deref(),
            Some("https://a.test")
        );
    }

    #[test]
    fn every_flag_has_one_name_and_one_home_that_names_it() {
        for (at, flag) in FLAGS.iter().enumerate() {
            assert!(
                FLAGS
                    .iter()
                    .skip(at + 1)
                    .all(|other| other.name != flag.name),
                "{} stands twice",
                flag.name
            );
            let home = format!("{}/src/{}", env!("CARGO_MANIFEST_DIR"), flag.home);
            let text = std::fs::read_to_string(&home).unwrap_or_else(|e| panic!("{home}: {e}"));
            let head: String = text
                .lines()
                .take_while(|line| line.starts_with("//!"))
                .collect();
            assert!(
                head.contains(&format!("`{}`", flag.name)),
                "the head of {} does not name {}",
                flag.home,
                flag.name
            );
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
