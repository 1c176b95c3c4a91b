//! JSON, also with comments and trailing commas: where everything stands, and one entry put in. Pure.
//!
//! - Comments (`//`, `/* */`) and trailing commas are read only where the client reads them: VS Code and its relatives, Zed,
//!   Gemini CLI. For the others such a file is as broken as for the client.
//! - An entry of the same name is replaced; a new one goes after the last; a missing container is made.
//! - What surrounds the entry sets the style: end of line, indentation, trailing comma.
//!
//! Spec: RFC 8259; the comments of Visual Studio Code's "JSON with Comments".
//! Not done here: JSON5; anything that is not understood is refused.

mod read;

use super::tree::{self, Edit, Member, Node, Trouble};
use read::Reader;
pub use read::read;

type Read<T> = Result<T, Trouble>;

/// The text with this entry in the container: `container` is the name of a member of the document.
/// `value` is JSON, indented by two spaces.
///
/// # Errors
/// If the text is not understood.
pub fn put(text: &str, comments: bool, container: &str, name: &str, value: &str) -> Read<String> {
    let Some(root) = read(text, comments)? else {
        let whole = format!(
            "{{\n  \"{container}\": {{\n    \"{name}\": {}\n  }}\n}}\n",
            tree::indented(value, "\n", "    ")
        );
        return Ok(format!(
            "{text}{}",
            whole.replace('\n', tree::newline(text))
        ));
    };
    let Some(members) = root.members() else {
        return Err(Trouble::new(root.span.start, "the document is no object"));
    };
    let style = Style::of(text);
    let edits = match tree::member(members, container)? {
        None => {
            let inner = format!(
                "{{\n{0}\"{name}\": {1}\n}}",
                style.unit,
                tree::indented(value, "\n", style.unit)
            );
            style.add(&root, members, container, &inner)
        }
        Some(found) => {
            let Some(entries) = found.value.members() else {
                return Err(Trouble::new(
                    found.at,
                    format!("\"{container}\" is no object"),
                ));
            };
            match tree::member(entries, name)? {
                Some(entry) => {
                    let indent = tree::indent_at(text, entry.at);
                    let value = style.reindented(value);
                    let value = tree::indented(&value, style.newline, indent);
                    vec![Edit::replace(entry.value.span.clone(), value)]
                }
                None => style.add(&found.value, entries, name, value),
            }
        }
    };
    let new = tree::apply(text, edits)?;
    read(&new, comments)?;
    Ok(new)
}

/// The text with this object in a list of the document, if none there has the same `id`.
///
/// # Errors
/// If the text is not understood, or holds no object yet.
pub fn list(text: &str, comments: bool, name: &str, id: &str, value: &str) -> Read<String> {
    let root = read(text, comments)?;
    let Some((root, members)) = root.as_ref().and_then(|root| Some((root, root.members()?))) else {
        return Err(Trouble::new(0, "the document is no object"));
    };
    let style = Style::of(text);
    let edits = match tree::member(members, name)? {
        None => {
            let value = tree::indented(value, "\n", "  ");
            style.add(root, members, name, &format!("[\n  {value}\n]"))
        }
        Some(found) => {
            let Some(items) = found.value.items() else {
                return Err(Trouble::new(found.at, format!("\"{name}\" is no list")));
            };
            let same = |item: &Node| {
                let member = item.members()?.iter().find(|member| member.key == "id")?;
                member.value.text().filter(|found| *found == id).map(drop)
            };
            if items.iter().any(|item| same(item).is_some()) {
                return Ok(text.to_owned());
            }
            let first = items.first().map(|item| item.span.start);
            let last = items.last().map(|item| item.span.end);
            style.append(&found.value, first.zip(last), value)
        }
    };
    let new = tree::apply(text, edits)?;
    read(&new, comments)?;
    Ok(new)
}

/// How a text is laid out.
struct Style<'a> {
    text: &'a str,
    newline: &'static str,
    /// One step of indentation.
    unit: &'a str,
}

impl<'a> Style<'a> {
    fn of(text: &'a str) -> Style<'a> {
        let unit = text
            .lines()
            .filter(|line| !line.trim_start().starts_with(['*', '/']))
            .map(|line| {
                line.get(..line.len() - line.trim_start().len())
                    .unwrap_or_default()
            })
            .find(|indent| !indent.is_empty())
            .unwrap_or("  ");
        let newline = tree::newline(text);
        Style {
            text,
            newline,
            unit,
        }
    }

    /// JSON that is indented by two spaces, indented as this text is.
    fn reindented(&self, json: &str) -> String {
        let line = |line: &str| {
            let content = line.trim_start_matches(' ');
            let steps = (line.len() - content.len()) / 2;
            format!("{}{content}", self.unit.repeat(steps))
        };
        json.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    /// A new last member of an object.
    fn add(&self, object: &Node, members: &[Member], key: &str, value: &str) -> Vec<Edit> {
        let first = members.first().map(|member| member.at);
        let last = members.last().map(|member| member.value.span.end);
        self.append(object, first.zip(last), &format!("\"{key}\": {value}"))
    }

    /// Something new at the end of an object or array; `content`: where its first part begins and its last one ends.
    fn append(&self, container: &Node, content: Option<(usize, usize)>, new: &str) -> Vec<Edit> {
        let base = tree::indent_at(self.text, container.span.start);
        let indent = match content {
            Some((first, _)) if self.starts_line(first) => {
                tree::indent_at(self.text, first).to_owned()
            }
            _ => format!("{base}{}", self.unit),
        };
        let mut edits = Vec::new();
        let mut at = container.span.start + 1;
        let mut comma = "";
        if let Some((_, last)) = content {
            at = last;
            let mut reader = self.reader(at);
            if reader.space().is_ok() && reader.peek() == Some(b',') {
                at = reader.at + 1;
                comma = ",";
            } else {
                edits.push(Edit::insert(at, ","));
            }
        }
        // A comment on the same line belongs to what stands before it.
        let at = self.after_comments(at);
        let new = tree::indented(&self.reindented(new), self.newline, &indent);
        let mut new = format!("{}{indent}{new}{comma}", self.newline);
        let next = self.after_blanks(at);
        if next + 1 == container.span.end {
            new.push_str(self.newline);
            new.push_str(base);
            edits.push(Edit::replace(at..next, new));
        } else {
            edits.push(Edit::insert(at, new));
        }
        edits
    }

    /// Whether nothing stands before this byte on its line.
    fn starts_line(&self, at: usize) -> bool {
        let before = self.text.get(..at).unwrap_or_default();
        before.trim_end_matches([' ', '\t']).ends_with('\n')
    }

    fn reader(&self, at: usize) -> Reader<'a> {
        Reader {
            text: self.text,
            at,
            comments: true,
            depth: 0,
        }
    }

    /// The end of the last comment that begins on this line, if any does.
    fn after_comments(&self, mut at: usize) -> usize {
        loop {
            let mut reader = self.reader(self.after_blanks(at));
            if reader.peek() != Some(b'/') || reader.comment().is_err() {
                return at;
            }
            at = reader.at;
        }
    }

    fn after_blanks(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        at + rest.len() - rest.trim_start_matches([' ', '\t']).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "{\n  \"command\": \"c\",\n  \"args\": [\n    \"u\"\n  ]\n}";

    fn put_in(text: &str) -> String {
        put(text, true, "s", "n", NEW).unwrap_or_else(|e| panic!("{e:?}: {text}"))
    }

    /// Every shape a file has, made of parts; each with comments and without, in two styles of line ends.
    fn files() -> Vec<String> {
        let mut files = Vec::new();
        for container in [
            "",
            "\"s\": {}",
            "\"s\": { }",
            "\"s\": { // c\n  }",
            "\"s\": {\"a\": {\"x\": \"}\"}}",
            "\"s\": {\n\t\t\"a\": 1, // c\n\t\t\"b\": [1, 2,] // d\n\t\t// e\n\t}",
            "\"s\": {\n    \"a\": 1 /* c */ , // d\n  }",
            "\"s\": {\n    \"n\": {\"old\": 1}, \"b\": 2}",
            "\"s\": {\n    \"a\": 1,\n    \"n\": null // ours\n  }",
        ] {
            for before in ["", "\"p\": [\"//\"],", "\n  // first\n  \"p\": 1.5e3,\n  "] {
                for after in ["", ",", ", // last\n", "\n"] {
                    let after = if container.is_empty() { "" } else { after };
                    let before = if container.is_empty() {
                        before.trim_end().trim_end_matches(',')
                    } else {
                        before
                    };
                    let file = format!("{{{before}{container}{after}}}\n");
                    files.push(file.replace('\n', "\r\n"));
                    files.push(file);
                }
            }
        }
        files
    }

    /// All values but the entry, all comments.
    fn rest(text: &str) -> (Vec<(String, String)>, Vec<String>) {
        let root = read(text, true).unwrap().unwrap();
        let mut values = Vec::new();
        let mut walk = |prefix: &str, members: &[Member]| {
            for member in members {
                let path = format!("{prefix}{}", member.key);
                if path != "s" && path != "s/n" {
                    values.push((path, text[member.value.span.clone()].to_owned()));
                }
            }
        };
        walk("", root.members().unwrap());
        let container = member(root.members().unwrap(), "s").unwrap();
        walk(
            "s/",
            container
                .and_then(|s| s.value.members())
                .unwrap_or_default(),
        );
        let comments = [
            "// first", "// c", "/* c */", "// d", "// e", "// last", "// ours",
        ];
        let kept = comments
            .iter()
            .filter(|c| text.contains(**c))
            .map(|c| (*c).to_owned());
        (values, kept.collect())
    }

    use super::super::tree::member;

    #[test]
    fn an_entry_is_put_in_and_nothing_else_changes() {
        for file in files() {
            let new = put_in(&file);
            let root = read(&new, true).unwrap().unwrap();
            let container = member(root.members().unwrap(), "s").unwrap().unwrap();
            let entry = member(container.value.members().unwrap(), "n")
                .unwrap()
                .unwrap();
            let json: serde_json::Value =
                serde_json::from_str(&new[entry.value.span.clone()]).unwrap();
            assert_eq!(
                json,
                serde_json::from_str::<serde_json::Value>(NEW).unwrap(),
                "{new}"
            );
            assert_eq!(rest(&file), rest(&new), "{file}\n{new}");
            assert_eq!(
                new.matches('\n').count(),
                new.matches("\r\n").count()
                    + if file.contains('\r') {
                        0
                    } else {
                        new.matches('\n').count()
                    }
            );
            // Doing it again changes nothing.
            assert_eq!(put_in(&new), new);
            // Without what is new, the old text is left: all other bytes are as they were.
            let squeeze = |text: &str| text.replace([' ', '\t', '\r', '\n', ','], "");
            if !file.contains("\"n\"") {
                let (squeezed, old) = (squeeze(&new), squeeze(&file));
                let added = squeeze(&format!("\"n\": {NEW}"));
                let without = squeezed.replacen(&added, "", 1).replacen(
                    "\"s\":{}",
                    "",
                    usize::from(!old.contains("\"s\"")),
                );
                assert_eq!(without, old);
            }
        }
    }

    #[test]
    fn the_style_of_the_file_is_kept() {
        assert_eq!(
            put_in("{\n\t\"s\": {\n\t\t\"a\": {}\n\t}\n}\n"),
            "{\n\t\"s\": {\n\t\t\"a\": {},\n\t\t\"n\": {\n\t\t\t\"command\": \"c\",\n\t\t\t\"args\": [\n\t\t\t\t\"u\"\n\t\t\t]\n\t\t}\n\t}\n}\n"
        );
        assert_eq!(
            put("", false, "s", "n", "{}").unwrap(),
            "{\n  \"s\": {\n    \"n\": {}\n  }\n}\n"
        );
        assert_eq!(
            put("{}", false, "s", "n", "{}").unwrap(),
            "{\n  \"s\": {\n    \"n\": {}\n  }\n}"
        );
        assert_eq!(
            put(
                "{\n  \"s\": {\n    \"a\": 1, // c\n  },\n}",
                true,
                "s",
                "n",
                "{}"
            )
            .unwrap(),
            "{\n  \"s\": {\n    \"a\": 1, // c\n    \"n\": {},\n  },\n}"
        );
        assert_eq!(
            put("\u{feff}{\"s\": { }}", true, "s", "n", "{}").unwrap(),
            "\u{feff}{\"s\": {\n  \"n\": {}\n}}"
        );
    }

    #[test]
    fn an_object_is_put_into_a_list_once() {
        let put = |text: &str| list(text, true, "l", "x", "{\n  \"id\": \"x\"\n}").unwrap();
        for (text, expected) in [
            (
                "{}",
                "{\n  \"l\": [\n    {\n      \"id\": \"x\"\n    }\n  ]\n}",
            ),
            (
                "{\n  \"l\": []\n}",
                "{\n  \"l\": [\n    {\n      \"id\": \"x\"\n    }\n  ]\n}",
            ),
            (
                "{\n  \"l\": [\n    {\"id\": \"y\"}, // y\n    // end\n  ],\n}",
                "{\n  \"l\": [\n    {\"id\": \"y\"}, // y\n    {\n      \"id\": \"x\"\n    },\n    // end\n  ],\n}",
            ),
        ] {
            assert_eq!(put(text), expected);
            assert_eq!(put(expected), expected);
        }
        for text in ["", "[]", "{\"l\": {}}"] {
            assert!(list(text, true, "l", "x", "{}").is_err());
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for (text, line, what) in [
            ("{\n\"s\": [", 2, "it ends where a value should be"),
            ("{\n\n\"s\" 1}", 3, "a \":\" should be here"),
            ("{\"s\": 1\n\"b\": 2}", 2, "a \",\" or \"}\" should be here"),
            ("{\"s\": {}} {}", 1, "something stands after the end"),
            ("{\"s\": \"a\n\"}", 1, "a string is not closed on its line"),
            ("{\"s\": \"\\q\"}", 1, "an escape in a string is wrong"),
            ("{\"s\": tru}", 1, "a value should be here"),
            ("{\"s\": 01}", 1, "a value should be here"),
            ("{s: 1}", 1, "a name in quotes should be here"),
            ("{\"s\": 1}", 1, "\"s\" is no object"),
            ("{\"s\": {},\n\"s\": {}}", 2, "\"s\" stands twice"),
            ("{\"s\": {\"n\": 1, \"n\": 2}}", 1, "\"n\" stands twice"),
            ("[]", 1, "the document is no object"),
            ("{ /* }", 1, "a comment is not closed"),
            ("{,}", 1, "a name in quotes should be here"),
        ] {
            let trouble = put(text, true, "s", "n", "{}").unwrap_err();
            assert_eq!(
                (trouble.line(text), trouble.what.as_str()),
                (line, what),
                "{text}"
            );
        }
        for text in ["{} // c", "{\"a\": 1,}", "{\"a\": [1,]}"] {
            assert!(
                put(text, false, "s", "n", "{}")
                    .unwrap_err()
                    .what
                    .contains("does not read")
            );
            assert!(put(text, true, "s", "n", "{}").is_ok());
        }
        let deep = "[".repeat(100_000);
        assert_eq!(read(&deep, true).unwrap_err().what, "it is nested too deep");
    }

    #[test]
    fn no_cut_and_no_garbled_text_makes_it_panic_or_write_nonsense() {
        for file in files() {
            for at in (0..file.len()).filter(|at| file.is_char_boundary(*at)) {
                for text in [
                    file[..at].to_owned(),
                    format!("{}\"{}", &file[..at], &file[at..]),
                    format!("{}}}{}", &file[..at], &file[at..]),
                ] {
                    if let Ok(new) = put(&text, true, "s", "n", "{}") {
                        assert!(read(&new, true).is_ok(), "{text}");
                    }
                }
            }
        }
    }
}
