//! Edits a JSON document, also one with comments and trailing commas: puts an entry in and keeps every other byte. Pure.
//!
//! - Comments (`//`, `/* */`) and trailing commas are accepted only where the client accepts them.
//! - An entry of the same name gets our members and keeps its others; `null` in place of an object counts as empty.
//! - The line ends, the indentation and the trailing comma of what surrounds the entry are kept.
//!
//! Spec: RFC 8259; the comments of Visual Studio Code's "JSON with Comments".
//! Not done here: JSON5; a file with anything else in it is refused.

mod read;
mod style;

use std::ops::Range;

use serde_json::Value;

pub use read::read;
use style::Style;

/// What stands where the user must put a value; a value that stands there already is kept.
pub const PLACEHOLDER: &str = "put the value here";

/// What a client accepts beside RFC 8259.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Nothing.
    Strict,
    /// Comments.
    Comments,
    /// Comments and trailing commas.
    TrailingCommas,
}

/// A value and its bytes in the text.
#[derive(Debug)]
pub struct Node {
    pub span: Range<usize>,
    pub kind: Kind,
}

#[derive(Debug)]
pub enum Kind {
    Object(Vec<Member>),
    Array(Vec<Node>),
    /// Unescaped.
    String(String),
    Null,
    /// A number, `true` or `false`.
    Other,
}

/// One member of an object.
#[derive(Debug)]
pub struct Member {
    /// Unescaped.
    pub key: String,
    /// Where the key begins.
    pub at: usize,
    pub value: Node,
}

impl Node {
    /// The members; none if it is not an object.
    pub fn members(&self) -> &[Member] {
        match &self.kind {
            Kind::Object(members) => members,
            Kind::Array(_) | Kind::String(_) | Kind::Null | Kind::Other => &[],
        }
    }

    /// The items; none if it is not an array.
    pub fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::Array(items) => items,
            Kind::Object(_) | Kind::String(_) | Kind::Null | Kind::Other => &[],
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::String(text) => Some(text),
            Kind::Object(_) | Kind::Array(_) | Kind::Null | Kind::Other => None,
        }
    }

    /// The value of the first member with this key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let member = self.members().iter().find(|member| member.key == key)?;
        Some(&member.value)
    }
}

/// Why a text was refused.
#[derive(Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The byte in the text.
    pub at: usize,
    pub message: String,
}

impl SyntaxError {
    pub fn new(at: usize, message: impl Into<String>) -> SyntaxError {
        let message = message.into();
        SyntaxError { at, message }
    }
}

/// The line of this byte, from 1.
pub fn line(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at.min(text.len()));
    1 + before
        .unwrap_or_default()
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
}

/// Bytes to replace; an empty range is an insertion.
#[derive(Debug)]
pub struct Edit {
    pub span: Range<usize>,
    pub with: String,
}

impl Edit {
    pub fn new(span: Range<usize>, with: impl Into<String>) -> Edit {
        let with = with.into();
        Edit { span, with }
    }
}

/// The text with all edits made, checked to be valid again. Edits at the same byte are made in the order given.
///
/// # Errors
/// If two edits overlap or the result is not valid.
pub fn apply(text: &str, dialect: Dialect, mut edits: Vec<Edit>) -> Result<String, SyntaxError> {
    edits.sort_by_key(|edit| edit.span.start);
    let mut new = String::with_capacity(text.len() + 256);
    let mut done = 0;
    for edit in edits {
        let before = text.get(done..edit.span.start);
        let before = text.get(edit.span.clone()).and(before);
        new.push_str(before.ok_or_else(|| SyntaxError::new(done, "the changes overlap"))?);
        new.push_str(&edit.with);
        done = edit.span.end;
    }
    new.push_str(text.get(done..).unwrap_or_default());
    read(&new, dialect)?;
    Ok(new)
}

/// Whether the document has this entry.
pub fn has(text: &str, dialect: Dialect, container: &str, name: &str) -> bool {
    let root = read(text, dialect).ok().flatten();
    root.is_some_and(|root| {
        root.get(container)
            .is_some_and(|all| all.get(name).is_some())
    })
}

/// The text with everything in it that `block` has: a JSON document, indented by two spaces.
///
/// # Errors
/// If the text is not valid, has a key twice on the way, or has another kind of value where the block has an object or array.
pub fn merge(text: &str, dialect: Dialect, block: &str) -> Result<String, SyntaxError> {
    let Some(old) = read(text, dialect)? else {
        return Ok(format!(
            "{text}{}",
            block.replace('\n', style::newline(text))
        ));
    };
    let Some(new) = read(block, Dialect::Strict)? else {
        return Ok(text.to_owned());
    };
    let mut merge = Merge {
        style: Style::of(text),
        text,
        block,
        edits: Vec::new(),
    };
    merge.value("document", &old, &new)?;
    apply(text, dialect, merge.edits)
}

struct Merge<'a> {
    style: Style<'a>,
    text: &'a str,
    block: &'a str,
    edits: Vec<Edit>,
}

impl Merge<'_> {
    fn value(&mut self, key: &str, old: &Node, new: &Node) -> Result<(), SyntaxError> {
        let wrong = |what| SyntaxError::new(old.span.start, format!("\"{key}\" is not {what}"));
        match (&old.kind, &new.kind) {
            // An entry that starts no program has nothing to keep.
            (Kind::Object(_), Kind::Object(_))
                if new.get("command").is_some() && old.get("command").is_none() =>
            {
                self.replace(old, new);
            }
            (Kind::Object(old_members), Kind::Object(members)) => {
                self.object(old, old_members, members)?;
            }
            (Kind::Array(old_items), Kind::Array(items))
                if items.iter().any(|item| item.get("id").is_some()) =>
            {
                let id = |item: &Node| item.get("id")?.text().map(str::to_owned);
                let missing = items
                    .iter()
                    .filter(|item| !old_items.iter().any(|old| id(old) == id(item)))
                    .map(|item| self.source(item))
                    .collect();
                let first = old_items.first().map(|item| item.span.start);
                let last = old_items.last().map(|item| item.span.end);
                let edits = self.style.append(&old.span, first.zip(last), missing);
                self.edits.extend(edits);
            }
            // The user has chosen which tools may be used.
            (Kind::Array(_), Kind::Array(_)) if key == "tools" => {}
            (Kind::Null, _) | (Kind::Array(_), Kind::Array(_)) => self.replace(old, new),
            (_, Kind::Object(_)) => return Err(wrong("an object")),
            (_, Kind::Array(_)) => return Err(wrong("a list")),
            (Kind::String(_), Kind::String(text)) if text == PLACEHOLDER => {}
            (_, Kind::String(_) | Kind::Null | Kind::Other) => self.replace(old, new),
        }
        Ok(())
    }

    fn object(
        &mut self,
        old: &Node,
        old_members: &[Member],
        new: &[Member],
    ) -> Result<(), SyntaxError> {
        let mut missing = Vec::new();
        for member in new {
            let mut found = old_members.iter().filter(|found| found.key == member.key);
            let first = found.next();
            if let Some(second) = found.next() {
                let message = format!("\"{}\" stands twice", member.key);
                return Err(SyntaxError::new(second.at, message));
            }
            match first {
                Some(found) => self.value(&member.key, &found.value, &member.value)?,
                None => {
                    let key = Value::from(member.key.as_str());
                    let source = self.source(&member.value);
                    missing.push(format!("{key}: {source}"));
                }
            }
        }
        let first = old_members.first().map(|member| member.at);
        let last = old_members.last().map(|member| member.value.span.end);
        let edits = self.style.append(&old.span, first.zip(last), missing);
        self.edits.extend(edits);
        Ok(())
    }

    /// Replaces the old value, unless it is the same in other words.
    fn replace(&mut self, old: &Node, new: &Node) {
        let text = self.text.get(old.span.clone()).unwrap_or_default();
        let source = self.source(new);
        let value = |text: &str| serde_json::from_str::<Value>(text).ok();
        if value(text) != value(&source) {
            let with = self
                .style
                .fit(&source, style::indent_at(self.text, old.span.start));
            self.edits.push(Edit::new(old.span.clone(), with));
        }
    }

    /// The block's text of a value, as if it stood at the left margin.
    fn source(&self, node: &Node) -> String {
        let source = self.block.get(node.span.clone()).unwrap_or_default();
        let indent = style::indent_at(self.block, node.span.start);
        source.replace(&format!("\n{indent}"), "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Dialect = Dialect::TrailingCommas;
    const NEW: &str = "{\n  \"command\": \"c\",\n  \"args\": [\n    \"u\"\n  ]\n}";

    /// Puts one entry in.
    fn put(
        text: &str,
        dialect: Dialect,
        container: &str,
        name: &str,
        value: &str,
    ) -> Result<String, SyntaxError> {
        let value = value.replace('\n', "\n    ");
        let block = format!("{{\n  \"{container}\": {{\n    \"{name}\": {value}\n  }}\n}}\n");
        merge(text, dialect, &block)
    }

    fn put_in(text: &str) -> String {
        put(text, ALL, "s", "n", NEW).unwrap_or_else(|e| panic!("{e:?}: {text}"))
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
        let root = read(text, ALL).unwrap().unwrap();
        let mut values = Vec::new();
        let mut walk = |prefix: &str, members: &[Member]| {
            for member in members {
                let path = format!("{prefix}{}", member.key);
                if path != "s" && path != "s/n" {
                    values.push((path, text[member.value.span.clone()].to_owned()));
                }
            }
        };
        walk("", root.members());
        walk("s/", root.get("s").map(Node::members).unwrap_or_default());
        let comments = [
            "// first", "// c", "/* c */", "// d", "// e", "// last", "// ours",
        ];
        let kept = comments
            .iter()
            .filter(|c| text.contains(**c))
            .map(|c| (*c).to_owned());
        (values, kept.collect())
    }

    #[test]
    fn an_entry_is_put_in_and_nothing_else_changes() {
        for file in files() {
            let new = put_in(&file);
            let root = read(&new, ALL).unwrap().unwrap();
            let entry = root.get("s").and_then(|all| all.get("n")).unwrap();
            let json: serde_json::Value = serde_json::from_str(&new[entry.span.clone()]).unwrap();
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
            put("", Dialect::Strict, "s", "n", "{}").unwrap(),
            "{\n  \"s\": {\n    \"n\": {}\n  }\n}\n"
        );
        assert_eq!(
            put("{}", Dialect::Strict, "s", "n", "{}").unwrap(),
            "{\n  \"s\": {\n    \"n\": {}\n  }\n}"
        );
        assert_eq!(
            put(
                "{\n  \"s\": {\n    \"a\": 1, // c\n  },\n}",
                ALL,
                "s",
                "n",
                "{}"
            )
            .unwrap(),
            "{\n  \"s\": {\n    \"a\": 1, // c\n    \"n\": {},\n  },\n}"
        );
        assert_eq!(
            put("\u{feff}{\"s\": { }}", ALL, "s", "n", "{}").unwrap(),
            "\u{feff}{\"s\": {\n  \"n\": {}\n}}"
        );
    }

    #[test]
    fn an_entry_keeps_its_other_members() {
        let new = "{\n  \"command\": \"new\",\n  \"args\": [\n    \"u\"\n  ],\n  \"env\": {\n    \"T\": \"put the value here\"\n  }\n}";
        for (old, expected) in [
            (
                r#"{"s": {"n": {"command": "old", "timeout": 5, "args": ["u"], "env": {"T": "v", "U": "w"}}}}"#,
                r#"{"s": {"n": {"command": "new", "timeout": 5, "args": ["u"], "env": {"T": "v", "U": "w"}}}}"#,
            ),
            (
                "{\"s\": {\"n\": {\n\t\"command\": \"old\", // c\n\t\"args\": []\n}}}",
                "{\"s\": {\"n\": {\n\t\"command\": \"new\", // c\n\t\"args\": [\n\t\t\"u\"\n\t],\n\t\"env\": {\n\t\t\"T\": \"put the value here\"\n\t}\n}}}",
            ),
        ] {
            assert_eq!(put(old, ALL, "s", "n", new).unwrap(), expected);
        }
        assert_eq!(
            put("{\"s\": null}", ALL, "s", "n", "{}").unwrap(),
            "{\"s\": {\n  \"n\": {}\n}}"
        );
        assert!(put("{\"s\": []}", ALL, "s", "n", "{}").is_err());
    }

    #[test]
    fn an_object_is_put_into_a_list_once() {
        let block = "{\n  \"l\": [\n    {\n      \"id\": \"x\"\n    }\n  ]\n}";
        let put = |text: &str| merge(text, ALL, block).unwrap();
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
        for text in ["[]", "{\"l\": {}}"] {
            assert!(merge(text, ALL, block).is_err());
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        for (text, number, what) in [
            ("{\n\"s\": [", 2, "it ends where a value should be"),
            ("{\n\n\"s\" 1}", 3, "a \":\" should be here"),
            ("{\"s\": 1\n\"b\": 2}", 2, "a \",\" or \"}\" should be here"),
            ("{\"s\": {}} {}", 1, "something stands after the end"),
            ("{\"s\": \"a\n\"}", 1, "a string is not closed on its line"),
            ("{\"s\": \"\\q\"}", 1, "an escape in a string is wrong"),
            ("{\"s\": tru}", 1, "a value should be here"),
            ("{\"s\": 01}", 1, "a value should be here"),
            ("{s: 1}", 1, "a name in quotes should be here"),
            ("{\"s\": 1}", 1, "\"s\" is not an object"),
            ("{\"s\": {},\n\"s\": {}}", 2, "\"s\" stands twice"),
            ("{\"s\": {\"n\": 1, \"n\": 2}}", 1, "\"n\" stands twice"),
            ("[]", 1, "\"document\" is not an object"),
            ("{ /* }", 1, "a comment is not closed"),
            ("{,}", 1, "a name in quotes should be here"),
        ] {
            let error = put(text, ALL, "s", "n", "{}").unwrap_err();
            assert_eq!(
                (line(text, error.at), error.message.as_str()),
                (number, what),
                "{text}"
            );
        }
        for text in ["{} // c", "{\"a\": 1,}", "{\"a\": [1,]}"] {
            assert!(
                put(text, Dialect::Strict, "s", "n", "{}")
                    .unwrap_err()
                    .message
                    .contains("does not read")
            );
            assert!(put(text, ALL, "s", "n", "{}").is_ok());
        }
        let deep = "[".repeat(100_000);
        assert_eq!(
            read(&deep, ALL).unwrap_err().message,
            "it is nested too deep"
        );
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
                    if let Ok(new) = put(&text, ALL, "s", "n", "{}") {
                        assert!(read(&new, ALL).is_ok(), "{text}");
                    }
                }
            }
        }
    }
}
