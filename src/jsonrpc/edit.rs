//! The members of a JSON object, found and replaced in its text.
//!
//! Values are slices of the text: nothing is copied to look at them, and what is not replaced keeps its bytes.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The JSON text of a string.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Valid JSON holds no line break inside a string, so each one found stands between tokens.
pub(super) fn one_line(text: String) -> String {
    if memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_some() {
        text.replace(['\r', '\n'], " ")
    } else {
        text
    }
}

/// White space around a text costs a copy only where there is some.
pub(super) fn trimmed(mut text: String) -> String {
    const BLANK: [char; 4] = [' ', '\t', '\r', '\n'];
    text.truncate(text.trim_end_matches(BLANK).len());
    if text.starts_with(BLANK) {
        text.trim_start_matches(BLANK).to_owned()
    } else {
        text
    }
}

/// Calls `visit` with each top-level member of an object, in order.
pub(super) fn for_each_member<'a>(
    text: &'a str,
    visit: impl FnMut(&str, &'a str),
) -> serde_json::Result<()> {
    struct Members<F>(F);
    impl<'de, F: FnMut(&str, &'de str)> Visitor<'de> for Members<F> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some(key) = map.next_key::<String>()? {
                let value: &'de RawValue = map.next_value()?;
                (self.0)(&key, value.get());
            }
            Ok(())
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.deserialize_map(Members(visit))?;
    deserializer.end()
}

/// The JSON text of a member of a JSON object (the last one of that name); `None` if there is none, or no object.
pub fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let mut found = None;
    let read = for_each_member(object, |key, value| {
        if key == name {
            found = Some(value);
        }
    });
    read.ok().and(found)
}

/// The JSON text at a path of member names.
pub fn member_at<'a>(object: &'a str, path: &[&str]) -> Option<&'a str> {
    path.iter()
        .try_fold(object, |object, name| member(object, name))
}

/// The members of a JSON object, in order; none if it is not an object.
pub fn members(object: &str) -> Vec<(String, &str)> {
    let mut found = Vec::new();
    let read = for_each_member(object, |name, value| found.push((name.to_owned(), value)));
    read.map(|()| found).unwrap_or_default()
}

/// Whether a JSON object has no members.
pub fn is_empty(object: &str) -> bool {
    let mut empty = true;
    for_each_member(object, |_, _| empty = false).is_ok() && empty
}

/// The object without every top-level member of this name; what stays keeps its bytes.
pub fn without_member(text: &str, name: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Up to where the text is copied, and where the value before ended.
    let (mut copied, mut last, mut any) = (0, None, false);
    let read = for_each_member(text, |key, value| {
        // Holds because `value` is a slice of `text`: its place is the distance of the two addresses.
        let end = value.as_ptr() as usize - text.as_ptr() as usize + value.len();
        let start = last.unwrap_or_else(|| text.find('{').map_or(0, |at| at + 1));
        if key == name {
            out.push_str(text.get(copied..start).unwrap_or_default());
            copied = end;
        } else if !any {
            // The first member that stays has no comma before it.
            any = true;
            let between = text.get(start.max(copied)..end).unwrap_or_default();
            let between = between.trim_start();
            if copied > 0 && between.starts_with(',') {
                copied = end - between.len() + 1;
            }
        }
        last = Some(end);
    });
    if read.is_err() || copied == 0 {
        return text.to_owned();
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out
}

/// The string a JSON text holds; `None` if it is not a string.
pub fn string(text: &str) -> Option<String> {
    // What is not a string is told by its first byte: an error in words would cost more than all the rest.
    let quoted = text.trim_ascii_start().starts_with('"');
    quoted.then(|| serde_json::from_str(text).ok()).flatten()
}

/// Replaces the value of every top-level member of this name, or adds the member at the end.
pub fn replace_member(text: &str, name: &str, value: &str) -> String {
    let mut out = String::with_capacity(text.len() + value.len() + name.len() + 4);
    let mut copied = 0;
    // A text that is not an object has no members, and is given back with one added.
    for_each_member(text, |key, old| {
        if key == name {
            // Holds because `old` is a slice of `text`: its place is the distance of the two addresses.
            let at = old.as_ptr() as usize - text.as_ptr() as usize;
            out.push_str(text.get(copied..at).unwrap_or_default());
            out.push_str(value);
            copied = at + old.len();
        }
    })
    .ok();
    if copied == 0 {
        let body = text.trim_end().strip_suffix('}').unwrap_or(text).trim_end();
        let comma = if body.ends_with('{') { "" } else { "," };
        return format!("{body}{comma}{}:{value}}}", quoted(name));
    }
    out.push_str(text.get(copied..).unwrap_or_default());
    out
}
