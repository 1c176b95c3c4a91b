//! The entry for one server: the flags of the command line as arguments of `mcp-remote`. Pure.
//!
//! - No secret is written to a file: the value of a header that holds one (`Authorization`, names with `key`, `token`
//!   and the like) and the `client_secret` of the static client info become `${VARIABLE}`, with a note to the user.
//! - Paths of files are made absolute: clients start programs in directories of their own.
//! - Flags that `mcp-remote` does not have are left out.

use serde_json::Value;

use super::super::args::Typed;
use super::super::flags::{FLAGS, Program};
use crate::error::{Error, Kind, Result};
use crate::log::clean;

/// One server for a client.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the client.
    pub name: String,
    /// The program.
    pub command: String,
    /// Its arguments; the first is the address.
    pub args: Vec<String>,
    /// The names of the variables in the arguments.
    pub variables: Vec<String>,
}

/// What an entry is made from.
pub struct Source<'a> {
    /// The words of the command line.
    pub typed: &'a Typed,
    /// The program to start.
    pub command: String,
    /// Makes a path absolute.
    pub absolute: &'a dyn Fn(&str) -> String,
}

impl Entry {
    /// The entry for a command line; `notes` gets what the user should know.
    ///
    /// # Errors
    /// If the name is not valid.
    pub fn new(source: &Source<'_>, notes: &mut Vec<String>) -> Result<Entry> {
        let typed = source.typed;
        let url = typed.url.clone().unwrap_or_default();
        let name = match typed.value("--name") {
            Some(name) => checked(name)?,
            None => name_of(&url),
        };
        let mut secrets = Secrets {
            name: &name,
            notes,
            absolute: source.absolute,
        };
        let mut args = vec![url];
        args.extend(typed.port.clone());
        for (flag, value) in &typed.flags {
            let Some(flag) = FLAGS
                .iter()
                .find(|known| known.name == *flag)
                .filter(|known| known.is_for(Program::Proxy))
            else {
                continue;
            };
            if !flag.takes_value() {
                args.push(flag.name.to_owned());
                continue;
            }
            let value = secrets.without_secrets(flag.name, flag.value, value);
            if value.starts_with('-') {
                args.push(format!("{}={value}", flag.name));
            } else {
                args.extend([flag.name.to_owned(), value]);
            }
        }
        let mut variables: Vec<String> = Vec::new();
        for variable in args.iter().flat_map(|arg| variables_in(arg)) {
            if !variables.contains(&variable) {
                variables.push(variable);
            }
        }
        Ok(Entry {
            name,
            command: source.command.clone(),
            args,
            variables,
        })
    }
}

/// The names between `${` and `}`.
pub fn variables_in(text: &str) -> Vec<String> {
    text.split("${")
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| name.to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// A name that every client accepts.
fn checked(name: &str) -> Result<String> {
    let fits = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if !fits || name.is_empty() || name.len() > 60 {
        let what = format!(
            "--name must be up to 60 letters, digits, \"-\" and \"_\", not \"{}\"",
            clean(name, 60)
        );
        return Err(Error::new(Kind::Usage, what));
    }
    Ok(name.to_owned())
}

/// A name made from the address: the label of the host that users know, such as `linear` in `mcp.linear.app`.
fn name_of(url: &str) -> String {
    let url = url::Url::parse(url).ok();
    let host = match url.as_ref().and_then(|url| url.host()) {
        Some(url::Host::Domain(host)) => host.to_owned(),
        Some(url::Host::Ipv4(_) | url::Host::Ipv6(_)) | None => return "remote".to_owned(),
    };
    let labels: Vec<&str> = host.split('.').filter(|label| !label.is_empty()).collect();
    let name = match labels.as_slice() {
        [] => "remote",
        [one] => one,
        // Second-level domains such as co.uk.
        [.., name, second, top]
            if second.len() <= 3 && top.len() == 2 && !matches!(*name, "mcp" | "www" | "api") =>
        {
            name
        }
        [.., name, _] => name,
    };
    checked(name).unwrap_or_else(|_| "remote".to_owned())
}

/// Replaces secrets by variables.
struct Secrets<'a> {
    name: &'a str,
    notes: &'a mut Vec<String>,
    absolute: &'a dyn Fn(&str) -> String,
}

impl Secrets<'_> {
    /// The value for the file. `kind` is the placeholder of the flag's value in the help.
    fn without_secrets(&mut self, flag: &str, kind: &str, value: &str) -> String {
        match kind {
            "FILE" => (self.absolute)(value),
            "JSON|@FILE" => match value.strip_prefix('@') {
                Some(file) => format!("@{}", (self.absolute)(file)),
                None => self.client_info(value),
            },
            _ if flag == "--header" => self.header(value),
            _ => value.to_owned(),
        }
    }

    fn header(&mut self, header: &str) -> String {
        let Some((name, value)) = header.split_once(':') else {
            return header.to_owned();
        };
        let value = value.trim();
        if value.contains("${") || value.is_empty() || !is_secret(name) {
            return header.to_owned();
        }
        let authorization = name.eq_ignore_ascii_case("authorization");
        let variable = self.variable(if authorization { "token" } else { name });
        // The scheme stays readable in the file.
        let scheme = value.split(' ').next().unwrap_or_default();
        let known = ["bearer", "basic", "token"].contains(&scheme.to_lowercase().as_str());
        let scheme = if authorization && known {
            format!("{scheme} ")
        } else {
            String::new()
        };
        let without = match scheme.trim_end() {
            "" => String::new(),
            scheme => format!(", without \"{scheme}\""),
        };
        self.notes.push(format!(
            "the value of header \"{name}\" is not written; ${{{variable}}} is in its place{without}"
        ));
        format!("{name}: {scheme}${{{variable}}}")
    }

    fn client_info(&mut self, json: &str) -> String {
        let Ok(Value::Object(mut members)) = serde_json::from_str(json) else {
            return json.to_owned();
        };
        let literal = members
            .get("client_secret")
            .and_then(Value::as_str)
            .is_some_and(|secret| !secret.contains("${"));
        if !literal {
            return json.to_owned();
        }
        let variable = self.variable("client_secret");
        self.notes.push(format!(
            "the client_secret is not written; ${{{variable}}} is in its place"
        ));
        members.insert(
            "client_secret".to_owned(),
            Value::String(format!("${{{variable}}}")),
        );
        Value::Object(members).to_string()
    }

    fn variable(&self, what: &str) -> String {
        let name = format!("{}_{what}", self.name)
            .to_uppercase()
            .replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            format!("MCP_{name}")
        } else {
            name
        }
    }
}

fn is_secret(header: &str) -> bool {
    let header = header.to_lowercase();
    [
        "auth",
        "cookie",
        "key",
        "token",
        "secret",
        "password",
        "credential",
        "session",
    ]
    .iter()
    .any(|word| header.contains(word))
}

#[cfg(test)]
mod tests {
    use super::super::super::args::parse;
    use super::*;

    fn entry(words: &[&str]) -> (Entry, Vec<String>) {
        let typed = parse(Program::Client, words.iter().map(Into::into).collect()).unwrap();
        let source = Source {
            typed: &typed,
            command: "mcp-remote".to_owned(),
            absolute: &|file| format!("/dir/{file}"),
        };
        let mut notes = Vec::new();
        (Entry::new(&source, &mut notes).unwrap(), notes)
    }

    #[test]
    fn what_was_typed_becomes_arguments() {
        let (entry, notes) = entry(&[
            "--setup",
            "codex",
            "https://mcp.a.test/mcp",
            "9000",
            "--write",
            "--debug",
            "--json",
            "--transport",
            "sse-only",
            "--ca-cert",
            "ca.pem",
            "--header",
            "X-Region: eu",
            "--header",
            "Authorization: Bearer ${TOKEN}",
            "--resource=--x",
            "--static-oauth-client-info",
            "@c.json",
        ]);
        assert_eq!(
            entry.args,
            [
                "https://mcp.a.test/mcp",
                "9000",
                "--debug",
                "--transport",
                "sse-only",
                "--ca-cert",
                "/dir/ca.pem",
                "--header",
                "X-Region: eu",
                "--header",
                "Authorization: Bearer ${TOKEN}",
                "--resource=--x",
                "--static-oauth-client-info",
                "@/dir/c.json",
            ]
        );
        assert_eq!(
            (entry.name.as_str(), entry.variables),
            ("a", vec!["TOKEN".to_owned()])
        );
        assert!(notes.is_empty());
    }

    #[test]
    fn no_secret_stands_in_the_entry() {
        let (entry, notes) = entry(&[
            "--setup",
            "codex",
            "https://a.test",
            "--name",
            "my-a",
            "--header",
            "Authorization: Bearer hunter2",
            "--header",
            "X-Api-Key: hunter2",
            "--header",
            "authorization: hunter2",
            "--static-oauth-client-info",
            r#"{"client_id":"i","client_secret":"hunter2"}"#,
        ]);
        assert!(
            !format!("{entry:?} {notes:?}").contains("hunter2"),
            "{entry:?} {notes:?}"
        );
        assert_eq!(entry.args[2], "Authorization: Bearer ${MY_A_TOKEN}");
        assert_eq!(entry.args[4], "X-Api-Key: ${MY_A_X_API_KEY}");
        assert_eq!(
            entry.args[8],
            r#"{"client_id":"i","client_secret":"${MY_A_CLIENT_SECRET}"}"#
        );
        assert_eq!(
            entry.variables,
            ["MY_A_TOKEN", "MY_A_X_API_KEY", "MY_A_CLIENT_SECRET"]
        );
        assert_eq!(notes.len(), 4);
    }

    #[test]
    fn a_server_is_named_after_its_host() {
        for (url, name) in [
            ("https://mcp.linear.app/sse", "linear"),
            ("https://example.com", "example"),
            ("https://mcp.shop.co.uk/x", "shop"),
            ("https://mcp.a.io", "a"),
            ("https://mcp.x.ai", "x"),
            ("http://localhost:3000/mcp", "localhost"),
            ("http://127.0.0.1:3000/mcp", "remote"),
            ("http://[::1]:3000/mcp", "remote"),
            ("nonsense", "remote"),
        ] {
            assert_eq!(name_of(url), name, "{url}");
        }
        for name in ["", "a b", "a.b", "ä", "a\"", &"a".repeat(61)] {
            assert!(checked(name).is_err(), "{name}");
        }
    }
}
