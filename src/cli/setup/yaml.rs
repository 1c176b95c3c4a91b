//! YAML as people and programs write settings in it: where everything stands, and one entry put in. Pure.
//!
//! - Read: block and flow maps and lists, plain and quoted strings, block strings, comments, one document.
//! - Refused, so that nothing is guessed at: anchors, aliases, tags, directives, complex keys, tabs as indentation, several
//!   documents, and a container that is written in braces and is not empty.
//! - An entry of the same name is replaced; a new one goes after the last; a missing container goes to the end.
//!
//! Spec: YAML 1.2.2, chapters 6 to 8.
//! Not done here: which plain words are numbers or truth values; here all are strings.

mod read;
mod scalar;

use super::tree::{self, Edit, Kind, Member, Node, Trouble};
pub use read::read;

type Read<T> = Result<T, Trouble>;

/// The text with this entry in the container. `value` is a block map, one member on each line or more, not indented.
///
/// # Errors
/// If the text is not understood.
pub fn put(text: &str, container: &str, name: &str, value: &str) -> Read<String> {
    let newline = tree::newline(text);
    let entry = |indent: &str| {
        let deeper = format!("{indent}  ");
        format!(
            "{}:{newline}{deeper}{}",
            key(name),
            tree::indented(value, newline, &deeper)
        )
    };
    // What goes to the end of a line, behind a comment that may stand there.
    let after_line = |at: usize, what: String| {
        let rest = text.get(at..).unwrap_or_default();
        let end = at
            + rest.find('\n').map_or(rest.len(), |end| {
                end - usize::from(rest.get(..end).is_some_and(|line| line.ends_with('\r')))
            });
        Edit::insert(end, format!("{newline}{what}"))
    };
    let root = read(text)?;
    let members = match &root {
        None => &[],
        Some(root) => root
            .members()
            .filter(|_| {
                !text
                    .get(root.span.clone())
                    .is_some_and(|root| root.starts_with('{'))
            })
            .ok_or_else(|| {
                Trouble::new(
                    root.span.start,
                    "the document is not written as \"name: value\" lines",
                )
            })?,
    };
    if let Some(last) = root.as_ref().map(last_value)
        && !text.ends_with('\n')
        && text
            .get(last.span.clone())
            .is_some_and(|last| last.starts_with(['|', '>']))
    {
        return Err(Trouble::new(last.span.end, UNENDED));
    }
    let base = members
        .first()
        .map_or("", |first| tree::indent_at(text, first.at));
    let edits = match tree::member(members, container)? {
        None => {
            let first = if text.is_empty() || text.ends_with('\n') {
                ""
            } else {
                newline
            };
            let deeper = format!("{base}  ");
            let new = format!(
                "{first}{base}{container}:{newline}{deeper}{}{newline}",
                entry(&deeper)
            );
            vec![Edit::insert(text.len(), new)]
        }
        Some(found) => {
            let span = &found.value.span;
            let written = text.get(span.clone()).unwrap_or_default();
            let entries = found.value.members();
            match entries {
                Some(entries) if !written.starts_with('{') => match tree::member(entries, name)? {
                    Some(old) => {
                        let indent = tree::indent_at(text, old.at);
                        vec![Edit::replace(old.at..old.value.span.end, entry(indent))]
                    }
                    None => {
                        let indent = entries
                            .first()
                            .map_or("", |first| tree::indent_at(text, first.at));
                        vec![after_line(span.end, format!("{indent}{}", entry(indent)))]
                    }
                },
                _ if matches!(written, "" | "~" | "null")
                    || entries.is_some_and(<[Member]>::is_empty) =>
                {
                    let deeper = format!("{base}  ");
                    vec![
                        Edit::replace(span.clone(), ""),
                        after_line(span.end, format!("{deeper}{}", entry(&deeper))),
                    ]
                }
                _ => {
                    return Err(Trouble::new(
                        found.at,
                        format!("\"{container}\" is not written as \"name: value\" lines"),
                    ));
                }
            }
        }
    };
    let new = tree::apply(text, edits)?;
    read(&new)?;
    Ok(new)
}

const UNENDED: &str = "the last line has no end, and one would become part of its text";

/// What stands at the very end.
fn last_value(node: &Node) -> &Node {
    let last = match &node.kind {
        Kind::Map(members) => members.last().map(|member| &member.value),
        Kind::List(items) => items.last(),
        Kind::Text(_) | Kind::Other => None,
    };
    last.map_or(node, last_value)
}

/// A name as YAML takes it for a string: some words and all numbers mean something else.
fn key(name: &str) -> String {
    let words = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && !words.contains(&name.to_lowercase().as_str());
    if plain {
        name.to_owned()
    } else {
        format!("\"{name}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "type: stdio\nargs:\n  - \"u\"";
    const FILE: &str = "# goose
GOOSE_MODEL: gpt-5 # the model
'quoted key': \"a: b # c\"
url: https://a.test:1/x#y
empty:
list:
- a
- - b
  - {c: [d, \"e]\"], f: g}
-
  h: 1
  i: 'it''s'
-   j: k
    l: m
prompt: |-
  extensions:
    none: of these

  # no comment
folded: >+
    x

extensions:   # servers
  a:
    cmd: npx
    args: [-y, mcp-remote@latest, # package
      https://a.test/mcp]
  # about b
  b:
    args:
    - -y
    - plain text
      goes on
    env: {}  # nothing
    double: \"one
      two\"
last: null
";

    fn value<'a>(root: &'a Node, path: &[&str]) -> &'a Node {
        path.iter().fold(root, |node, key| {
            let members = node.members().unwrap();
            &tree::member(members, key).unwrap().unwrap().value
        })
    }

    #[test]
    fn values_are_read_where_they_stand() {
        let root = read(FILE).unwrap().unwrap();
        for (path, text) in [
            (&["GOOSE_MODEL"][..], "gpt-5"),
            (&["quoted key"], "a: b # c"),
            (&["url"], "https://a.test:1/x#y"),
            (&["extensions", "a", "cmd"], "npx"),
            (&["last"], "null"),
        ] {
            assert_eq!(value(&root, path).text(), Some(text));
        }
        let texts = |path: &[&str]| -> Vec<String> {
            let items = value(&root, path).items().unwrap();
            items
                .iter()
                .map(|item| item.text().unwrap_or("-").to_owned())
                .collect()
        };
        assert_eq!(
            texts(&["extensions", "a", "args"]),
            ["-y", "mcp-remote@latest", "https://a.test/mcp"]
        );
        assert_eq!(texts(&["extensions", "b", "args"]), ["-y", "-"]);
        assert_eq!(value(&root, &["list"]).items().unwrap().len(), 4);
        assert_eq!(value(&root, &["empty"]).kind, Kind::Other);
        assert_eq!(root.members().unwrap().len(), 9);
    }

    #[test]
    fn a_new_entry_goes_after_the_last_and_nothing_else_changes() {
        let (before, after) = FILE.split_once("last:").unwrap();
        let new = put(FILE, "extensions", "new", NEW).unwrap();
        let entry = "  new:\n    type: stdio\n    args:\n      - \"u\"\n";
        assert_eq!(new, format!("{before}{entry}last:{after}"));
        assert_eq!(put(&new, "extensions", "new", NEW).unwrap(), new);
        let windows = put(&FILE.replace('\n', "\r\n"), "extensions", "new", NEW).unwrap();
        assert_eq!(windows, new.replace('\n', "\r\n"));
        // At the end of the text, with a line end and without.
        for end in ["", "\n"] {
            let text = format!("{}{end}", before.trim_end());
            let put = put(&text, "extensions", "new", NEW).unwrap();
            assert_eq!(
                put,
                format!("{}\n{}{end}", before.trim_end(), entry.trim_end())
            );
        }
    }

    #[test]
    fn an_entry_of_the_same_name_is_replaced() {
        let new = put(FILE, "extensions", "a", NEW).unwrap();
        let (before, rest) = FILE.split_once("  a:\n").unwrap();
        let after = rest.split_once("/mcp]").unwrap().1;
        let entry = "  a:\n    type: stdio\n    args:\n      - \"u\"";
        assert_eq!(new, format!("{before}{entry}{after}"));
        let new = put(FILE, "extensions", "b", NEW).unwrap();
        assert!(
            new.ends_with(
                "  # about b\n  b:\n    type: stdio\n    args:\n      - \"u\"\nlast: null\n"
            ),
            "{new}"
        );
    }

    #[test]
    fn a_name_stays_a_string() {
        for (name, written) in [
            ("a-1", "a-1"),
            ("1", "\"1\""),
            ("No", "\"No\""),
            ("-", "\"-\""),
        ] {
            let new = put("", "e", name, "a: 1").unwrap();
            assert_eq!(new, format!("e:\n  {written}:\n    a: 1\n"));
            assert_eq!(put(&new, "e", name, "a: 1").unwrap(), new);
        }
    }

    #[test]
    fn a_missing_or_empty_container_is_made() {
        let entry = "\n  new:\n    type: stdio\n    args:\n      - \"u\"\n";
        for (text, expected) in [
            ("", format!("extensions:{entry}")),
            ("# c\n", format!("# c\nextensions:{entry}")),
            ("a: 1", format!("a: 1\nextensions:{entry}")),
            ("---\na: 1\n", format!("---\na: 1\nextensions:{entry}")),
            ("extensions:\na: 1\n", format!("extensions:{entry}a: 1\n")),
            (
                "extensions: {} # c\na: 1\n",
                format!("extensions:  # c{entry}a: 1\n"),
            ),
            ("extensions: null\n", format!("extensions: {entry}")),
        ] {
            assert_eq!(
                put(text, "extensions", "new", NEW).unwrap(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for (text, line, what) in [
            (
                "a: 1\nextensions: {b: 1}",
                2,
                "\"extensions\" is not written as \"name: value\" lines",
            ),
            (
                "extensions: yes",
                1,
                "\"extensions\" is not written as \"name: value\" lines",
            ),
            (
                "{a: 1}",
                1,
                "the document is not written as \"name: value\" lines",
            ),
            (
                "- a",
                1,
                "the document is not written as \"name: value\" lines",
            ),
            ("a: &b\n  c: 1", 1, "a \"&\" is not understood here"),
            ("a: *b", 1, "a \"*\" is not understood here"),
            ("a: !t b", 1, "a \"!\" is not understood here"),
            ("%YAML 1.2\n---\na: 1", 1, "a \"%\" is not understood here"),
            (
                "? a\n: b",
                1,
                "a name that begins with \"?\" is not understood",
            ),
            ("a:\n\tb: 1", 2, "a tab stands where spaces should"),
            ("a: 1\n---\nb: 1", 2, "a second document begins here"),
            ("a: 1\n...\n", 2, "a second document begins here"),
            ("a: b: c", 1, "a \":\" stands inside a value without quotes"),
            (
                "a: b\n  c: d",
                2,
                "a \":\" stands inside a value without quotes",
            ),
            ("a: \"b\" c", 1, "something stands after the end of a value"),
            (
                "a:\n  b: 1\n   c: 2",
                3,
                "a \":\" stands inside a value without quotes",
            ),
            (
                "a:\n  b: \"1\"\n   c: 2",
                3,
                "this line is indented too far",
            ),
            ("a:\n    b: 1\n  c: 2", 3, "this line is indented too far"),
            ("a: 1\na: 2", 2, "\"a\" stands twice"),
            ("a: \"b", 1, "a string is not closed"),
            ("a: [b, c", 1, "a bracket is not closed"),
            ("a: [b}", 1, "a \",\" or \"]\" should be here"),
            ("a: |\n  b", 2, UNENDED),
            ("a: 1\nb", 2, "a \"name: value\" should be here"),
        ] {
            let trouble = put(text, "extensions", "new", NEW).unwrap_err();
            assert_eq!(
                (trouble.line(text), trouble.what.as_str()),
                (line, what),
                "{text}"
            );
        }
        for deep in ["[".repeat(100_000), "- ".repeat(100_000)] {
            assert_eq!(read(&deep).unwrap_err().what, "it is nested too deep");
        }
    }

    #[test]
    fn no_cut_and_no_garbled_text_makes_it_panic_or_write_nonsense() {
        for at in (0..FILE.len()).filter(|at| FILE.is_char_boundary(*at)) {
            for more in [
                "", "\"", "'", "]", ":", "\n", "  ", "- ", "é", "\\", "#", "|", "{}",
            ] {
                let after = if more.is_empty() { "" } else { &FILE[at..] };
                let text = format!("{}{more}{after}", &FILE[..at]);
                if let Ok(new) = put(&text, "extensions", "new", NEW) {
                    let root = read(&new).unwrap().unwrap();
                    assert!(
                        value(&root, &["extensions", "new"]).members().is_some(),
                        "{text}"
                    );
                }
            }
        }
    }
}
