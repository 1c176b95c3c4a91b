//! Rewrites entries made for npm's mcp-remote: our command replaces the words up to the package. Pure.
//!
//! Known: `npx`, `bunx`, `bun x`, `pnpm dlx`, `pnpx`, `yarn dlx`, `npm exec`, `deno run npm:…`, and `node …/mcp-remote/dist/proxy.js`,
//! each also behind `cmd /c` and with `.cmd` or `.exe`. Everything after the package, and every other member, stays.
//!
//! Not done here: a command that is one string for a shell is reported and kept; in TOML and YAML only the lines are found.

use super::json::{self, Dialect, Edit, Kind, Member, Node, SyntaxError};

/// An entry that starts npm's mcp-remote.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    pub name: String,
    /// The byte where its command begins.
    pub at: usize,
    /// The words that were replaced; `None` if the way it starts mcp-remote is unknown and it stays.
    pub replaced: Option<String>,
}

/// The JSON text with every entry for npm's mcp-remote rewritten, and the entries found.
///
/// # Errors
/// If the text is not valid.
pub fn rewrite(text: &str, command: &str) -> Result<(String, Vec<Found>), SyntaxError> {
    let mut walk = Walk {
        command,
        edits: Vec::new(),
        found: Vec::new(),
    };
    // Which client reads the file is not known here.
    let dialect = Dialect::TrailingCommas;
    if let Some(root) = json::read(text, dialect)? {
        walk.node("", &root);
    }
    Ok((json::apply(text, dialect, walk.edits)?, walk.found))
}

/// The lines of a TOML or YAML text, from 1, that name npm's package as an argument.
pub fn lines(text: &str) -> Vec<usize> {
    let is_npm = |line: &str| {
        let line = line.split(" #").next().unwrap_or_default().trim_start();
        let mut words = line.split([' ', '\t', ',', '[', ']', '"', '\'']);
        // Our own program can be called that, too.
        let is_command = line.starts_with("command") || line.starts_with("cmd");
        !line.starts_with('#') && !is_command && words.any(is_package)
    };
    let numbered = text.lines().zip(1..);
    let found = numbered.filter(|(line, _)| is_npm(line));
    found.map(|(_, number)| number).collect()
}

struct Walk<'a> {
    command: &'a str,
    edits: Vec<Edit>,
    found: Vec<Found>,
}

impl Walk<'_> {
    fn node(&mut self, name: &str, node: &Node) {
        match &node.kind {
            Kind::Object(members) => self.object(name, members),
            Kind::Array(items) => items.iter().for_each(|item| self.node(name, item)),
            Kind::String(_) | Kind::Null | Kind::Other => {}
        }
    }

    fn object(&mut self, name: &str, members: &[Member]) {
        if !self.entry(name, members) {
            for member in members {
                // Zed once wrote "command": { "path": …, "args": … }.
                let inner = if member.key == "command" {
                    name
                } else {
                    &member.key
                };
                self.node(inner, &member.value);
            }
        }
    }

    /// Whether this is an entry with a program to start.
    fn entry(&mut self, name: &str, members: &[Member]) -> bool {
        let Some(command) = members.iter().find(|member| {
            matches!(member.key.as_str(), "command" | "cmd" | "path")
                && first_word(&member.value).is_some()
        }) else {
            return false;
        };
        // opencode writes the program and its arguments as one list.
        let nodes: Vec<&Node> = if let Kind::Array(items) = &command.value.kind {
            items.iter().collect()
        } else {
            let args = members.iter().find(|member| member.key == "args");
            let args = args.map(|args| args.value.items()).unwrap_or_default();
            std::iter::once(&command.value).chain(args).collect()
        };
        let words: Vec<&str> = nodes
            .iter()
            .map(|node| node.text().unwrap_or_default())
            .collect();
        let place = first_kept(&words).and_then(|kept| {
            let program = nodes.first()?.span.clone();
            let gone = nodes.get(1)?.span.start..nodes.get(kept)?.span.start;
            Some((program, gone, words.get(..kept)?))
        });
        let replaced = place.map(|(program, gone, replaced)| {
            let quoted = serde_json::Value::from(self.command).to_string();
            self.edits.push(Edit::new(program, quoted));
            self.edits.push(Edit::new(gone, ""));
            replaced.join(" ")
        });
        let mentions = words.iter().any(|word| {
            is_package(word) || word.contains("mcp-remote ") || word.contains("mcp-remote@")
        });
        let program = words.first().copied().unwrap_or_default();
        if replaced.is_some() || mentions && stem(program) != "mcp-remote" {
            self.found.push(Found {
                name: name.to_owned(),
                at: command.value.span.start,
                replaced,
            });
        }
        true
    }
}

/// The program of a command: a text, or a list that begins with one.
fn first_word(command: &Node) -> Option<&str> {
    command.text().or_else(|| command.items().first()?.text())
}

/// How many words start npm's mcp-remote, if they do and something follows.
fn first_kept(words: &[&str]) -> Option<usize> {
    let mut at = 0;
    if stem(words.first()?) == "cmd" {
        at = 1 + words
            .iter()
            .position(|word| word.eq_ignore_ascii_case("/c"))?;
    }
    let runner = stem(words.get(at)?);
    at += 1;
    let verb = words.get(at).copied().unwrap_or_default();
    match (runner.as_str(), verb) {
        ("npx" | "bunx" | "pnpx", _) => {}
        ("bun", "x") | ("pnpm" | "yarn", "dlx") | ("npm", "exec" | "x") | ("deno", "run" | "x") => {
            at += 1
        }
        ("node", _) => {}
        _ => return None,
    }
    let mut named = false;
    while let Some(word) = words.get(at) {
        at += 1;
        if matches!(*word, "-p" | "--package") {
            named = words.get(at).is_some_and(|word| is_package(word));
            at += 1;
        } else if let Some(package) = word.strip_prefix("--package=") {
            named = is_package(package);
        } else if is_script(word) && runner == "node"
            || is_package(word)
                && (runner != "deno" || word.starts_with("npm:"))
                && runner != "node"
        {
            // With -p the second word is the program of that package.
            return (at < words.len() && (!named || *word == "mcp-remote")).then_some(at);
        } else if !word.starts_with('-') {
            return None;
        }
    }
    None
}

fn is_package(word: &str) -> bool {
    let word = word.strip_prefix("npm:").unwrap_or(word);
    word.strip_prefix("mcp-remote")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('@'))
}

fn is_script(word: &str) -> bool {
    word.replace('\\', "/")
        .ends_with("mcp-remote/dist/proxy.js")
}

/// The name of a program without its directory and ending.
fn stem(program: &str) -> String {
    let name = program
        .rsplit(['/', '\\'])
        .next()
        .unwrap_or_default()
        .to_lowercase();
    let ending = [".cmd", ".exe", ".bat"]
        .iter()
        .find_map(|ending| name.strip_suffix(ending));
    ending.unwrap_or(&name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_that_start_npm_s_package_are_known() {
        for (line, kept) in [
            ("npx -y mcp-remote@latest URL --debug", Some(3)),
            ("npx mcp-remote URL", Some(2)),
            ("npx --yes --quiet mcp-remote@0.1.29 URL", Some(4)),
            (
                "C:\\Program_Files\\nodejs\\npx.cmd -y mcp-remote URL",
                Some(3),
            ),
            ("cmd /c npx -y mcp-remote URL", Some(5)),
            ("cmd.exe /d /C npx mcp-remote URL", Some(5)),
            ("npx -y -p mcp-remote@latest mcp-remote URL", Some(5)),
            ("npx -y --package=mcp-remote mcp-remote URL", Some(4)),
            ("bunx mcp-remote URL", Some(2)),
            ("bun x mcp-remote URL", Some(3)),
            ("pnpm dlx mcp-remote@latest URL", Some(3)),
            ("pnpm --silent dlx mcp-remote URL", None),
            ("yarn dlx -q mcp-remote URL", Some(4)),
            ("npm exec -y -- mcp-remote URL", Some(5)),
            ("deno run -A npm:mcp-remote URL", Some(4)),
            (
                "/usr/bin/node /x/node_modules/mcp-remote/dist/proxy.js URL",
                Some(2),
            ),
            ("npx -y -p mcp-remote@latest mcp-remote-client URL", None),
            ("npx -y mcp-remote", None),
            ("npx -y mcp-remote-other URL", None),
            ("npx -y other mcp-remote URL", None),
            ("deno run -A mcp-remote URL", None),
            ("node mcp-remote URL", None),
            ("mcp-remote URL", None),
            ("cmd npx mcp-remote URL", None),
        ] {
            assert_eq!(
                first_kept(&line.split(' ').collect::<Vec<_>>()),
                kept,
                "{line}"
            );
        }
    }

    fn rewritten(text: &str) -> (String, Vec<(String, Option<String>)>) {
        let (new, found) = rewrite(text, "/bin/mcp-remote").unwrap();
        (
            new,
            found
                .into_iter()
                .map(|found| (found.name, found.replaced))
                .collect(),
        )
    }

    #[test]
    fn entries_are_rewritten_and_nothing_else_changes() {
        let json = "{ // all\n  \"mcpServers\": {\n    \"a\": { \"command\": \"npx\", \"args\": [\"-y\", \"mcp-remote@latest\", \"URL\", /* c */ \"--debug\",], \"env\": {\"A\": \"1\"} },\n    \"b\": {\n      \"args\": [\n        \"/c\",\n        \"npx\",\n        \"mcp-remote\", // package\n        \"URL\"\n      ],\n      \"command\": \"cmd\" // Windows\n    },\n    \"c\": {\"command\": {\"path\": \"npx\", \"args\": [\"mcp-remote\", \"URL\"]}},\n    \"d\": {\"command\": \"npx\", \"args\": [\"other\"]},\n    \"e\": {\"command\": \"npx -y mcp-remote URL\"},\n    \"f\": {\"command\": \"mcp-remote\", \"args\": [\"URL\"]}\n  }\n}";
        let (new, found) = rewritten(json);
        let expected = json
            .replace(
                "\"npx\", \"args\": [\"-y\", \"mcp-remote@latest\", \"URL\"",
                "\"/bin/mcp-remote\", \"args\": [\"URL\"",
            )
            .replace(
                "\"/c\",\n        \"npx\",\n        \"mcp-remote\", // package\n        \"URL\"",
                "\"URL\"",
            )
            .replace("\"cmd\"", "\"/bin/mcp-remote\"")
            .replace(
                "\"path\": \"npx\", \"args\": [\"mcp-remote\", ",
                "\"path\": \"/bin/mcp-remote\", \"args\": [",
            );
        assert_eq!(new, expected);
        let name = |name: &str, words: Option<&str>| (name.to_owned(), words.map(str::to_owned));
        assert_eq!(
            found,
            [
                name("a", Some("npx -y mcp-remote@latest")),
                name("b", Some("cmd /c npx mcp-remote")),
                name("c", Some("npx mcp-remote")),
                name("e", None),
            ]
        );
        // Once is enough.
        assert_eq!(rewritten(&new).0, new);
    }

    #[test]
    fn a_command_that_is_a_list_is_rewritten() {
        let json = r#"{"mcp": {
            "a": {"type": "local", "command": ["npx", "-y", "mcp-remote", "URL", "--debug"], "enabled": true},
            "b": {"type": "local", "command": ["cmd", "/c", "npx", /* c */ "mcp-remote", "URL"]},
            "c": {"command": ["sh", "-c", "npx mcp-remote URL"]},
            "d": {"command": ["npx", "other"]},
            "e": {"command": []},
            "f": {"command": ["/bin/mcp-remote", "URL"]}
        }}"#;
        let (new, found) = rewritten(json);
        let expected = json
            .replace(r#""npx", "-y", "mcp-remote", "#, r#""/bin/mcp-remote", "#)
            .replace(
                r#""cmd", "/c", "npx", /* c */ "mcp-remote", "#,
                r#""/bin/mcp-remote", "#,
            );
        assert_eq!(new, expected);
        let names: Vec<_> = found
            .iter()
            .map(|(name, words)| (name.as_str(), words.as_deref()))
            .collect();
        let expected = [
            ("a", Some("npx -y mcp-remote")),
            ("b", Some("cmd /c npx mcp-remote")),
            ("c", None),
        ];
        assert_eq!(names, expected);
        assert_eq!(rewritten(&new).0, new);
    }

    #[test]
    fn lines_with_npm_s_package_are_found_in_toml_and_yaml() {
        let toml = "x = 1 # mcp-remote\n[mcp_servers.mcp-remote]\ncommand = 'npx'\nargs = ['-y', # yes\n  'mcp-remote', 'URL'] # end\n[a]\ncommand = \"mcp-remote\"\nargs = [\"URL\"]\n";
        assert_eq!(lines(toml), [5]);
        let yaml = "# - mcp-remote\nextensions:\n  mcp-remote:\n    cmd: npx\n    args:\n    - -y\n    - mcp-remote@latest\n    - URL\n  b:\n    args: [mcp-remote, URL]\n";
        assert_eq!(lines(yaml), [7, 10]);
        assert!(lines("command = \"/bin/mcp-remote\"\nargs = [\"mcp-remote-other\"]\n").is_empty());
    }
}
