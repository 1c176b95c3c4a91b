//! Custom headers, header files, and `${NAME}` in values. Pure: the caller reads files, and the environment is a function.
//!
//! - A line is `Name: value`; the name is letters, digits, `-` and `_`. An invalid line is reported without its text.
//! - Files are UTF-8; blank lines and lines that start with `#` are skipped.
//! - The last header of a name counts. Names that differ in case are different names for the store's hash, as in npm.
//! - A variable that is set, even to nothing, is replaced; one that is not set stays as written, with a warning, as in npm, and is
//!   named where the server refuses.
//! - White space around a value is not sent; npm's store hashes it.
//!
//! Flags: `--header`, `--header-file`.
//! Spec: RFC 9110 5.5 (field values).

use crate::cli::setup::PLACEHOLDER;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::log::clean;
use crate::secret::Secret;

/// A header as written.
pub type Header = (String, Secret);

/// Reads one `Name: value`; `None` if it is invalid.
pub fn parse(line: &str) -> Option<Header> {
    let (name, value) = line.split_once(':')?;
    let valid = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    valid.then(|| (name.to_owned(), Secret::new(value.trim_start())))
}

/// Reads a header file; an invalid line is reported by its number.
pub fn parse_file(path: &str, text: &str, warnings: &mut Vec<String>) -> Vec<Header> {
    let mut headers = Vec::new();
    // A byte order mark; JavaScript counts it as a space.
    let text = text.trim_start_matches('\u{feff}');
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match parse(line) {
            Some(header) => headers.push(header),
            None => warnings.push(format!(
                "line {} of \"{path}\" is not a valid \"Name: value\"; ignored",
                at + 1
            )),
        }
    }
    headers
}

/// Adds a header, or replaces the one of the same name.
pub fn put(headers: &mut Vec<Header>, header: Header) {
    match headers.iter_mut().find(|(name, _)| *name == header.0) {
        Some(old) => *old = header,
        None => headers.push(header),
    }
}

/// Checks a header's value. The error does not repeat it.
///
/// # Errors
/// If it contains a control character.
pub fn check(header: &Header) -> Result<()> {
    if header
        .1
        .expose()
        .chars()
        .any(|c| c.is_control() && c != '\t')
    {
        return Err(Error::new(
            Kind::Usage,
            format!(
                "the value of header \"{}\" contains a line break or control character",
                header.0
            ),
        ));
    }
    Ok(())
}

/// The environment: the value of a variable, if it is set.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The names of what `${NAME}` stands for in a text and is not set, or still has the value that `--setup` writes.
pub fn unset(text: &str, environment: Environment<'_>) -> Vec<String> {
    let is_unset = |name: &&str| environment(name).is_none_or(|value| value == PLACEHOLDER);
    let named = text
        .split("${")
        .skip(1)
        .filter_map(|rest| rest.split_once('}'));
    let names = named.map(|(name, _)| name).filter(|name| !name.is_empty());
    names.filter(is_unset).map(|name| clean(name, 60)).collect()
}

/// Replaces every `${NAME}`: adds a note for each that is set, a warning for each that is not.
pub fn expand(
    text: &str,
    environment: Environment<'_>,
    warnings: &mut Vec<String>,
    notes: &mut Vec<String>,
) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, from) = rest.split_at(start);
        let name = from
            .strip_prefix("${")
            .and_then(|inner| inner.split_once('}'))
            .map(|(name, _)| name);
        let Some(name) = name else { break };
        out.push_str(before);
        let written = from.get(..name.len() + 3).unwrap_or(from);
        match environment(name) {
            // npm's expression requires at least one character between the braces.
            Some(value) if !name.is_empty() => {
                notes.push(format!("the environment variable {name} is used"));
                out.push_str(&value);
            }
            _ => {
                if !name.is_empty() {
                    let name = clean(name, 60);
                    warnings.push(format!(
                        "the environment variable {name} is not set; \"${{{name}}}\" is left as it is"
                    ));
                }
                out.push_str(written);
            }
        }
        rest = from.get(written.len()..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// Puts the values of variables into the headers that were typed.
///
/// # Errors
/// If a header is then invalid in HTTP.
pub(super) fn expand_all(
    environment: Environment<'_>,
    config: &mut Config,
    warnings: &mut Vec<String>,
    notes: &mut Vec<String>,
) -> Result<()> {
    for (name, value) in &config.headers_typed {
        let unset = unset(value.expose(), environment);
        config.unset_variables.extend(unset);
        let value = expand(value.expose(), environment, warnings, notes);
        let header = (name.clone(), Secret::new(value.trim()));
        check(&header)?;
        config.headers.push(header);
    }
    if !config.headers.is_empty() {
        let names: Vec<_> = config
            .headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        notes.push(format!("custom headers: {}", names.join(", ")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<(String, String)> {
        parse(line).map(|(name, value)| (name, value.expose().to_owned()))
    }

    #[test]
    fn a_header_is_a_name_a_colon_and_a_value() {
        assert_eq!(
            read("X-A_1:  b: c "),
            Some(("X-A_1".into(), "b: c ".into()))
        );
        assert_eq!(read("X-A:"), Some(("X-A".into(), String::new())));
        for line in ["X A: 1", ": 1", "X-Ä: 1", "nothing", " X: 1"] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn a_file_is_read_line_by_line_and_bad_lines_are_named_by_number() {
        let mut warnings = Vec::new();
        let headers = parse_file(
            "h.txt",
            "# c\n\n A: 1 \r\nsecret value\nB: 2",
            &mut warnings,
        );
        assert_eq!(
            headers
                .iter()
                .map(|(name, _)| name.as_str())
                .collect::<Vec<_>>(),
            ["A", "B"]
        );
        assert_eq!(
            warnings,
            ["line 4 of \"h.txt\" is not a valid \"Name: value\"; ignored"]
        );
    }

    #[test]
    fn a_value_with_a_line_break_is_refused_unprinted() {
        let error = check(&("X".to_owned(), Secret::new("hunter2\nY: 1"))).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    fn expanded(text: &str) -> (String, Vec<String>) {
        let mut warnings = Vec::new();
        let environment = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${A}".to_owned()),
            _ => None,
        };
        (
            expand(text, &environment, &mut warnings, &mut Vec::new()),
            warnings,
        )
    }

    #[test]
    fn what_is_not_set_and_what_setup_wrote_is_named() {
        let environment = |name: &str| match name {
            "A" => Some("1".to_owned()),
            "B" => Some(PLACEHOLDER.to_owned()),
            _ => None,
        };
        let text = "https://${A}.test/${B}/${user_config.key}?${} ${open";
        assert_eq!(unset(text, &environment), ["B", "user_config.key"]);
    }

    #[test]
    fn set_variables_are_put_in_once() {
        assert_eq!(expanded("x${A}y${EMPTY}z${NESTED}").0, "x1yz${A}");
    }

    #[test]
    fn what_is_not_set_stays_and_is_reported() {
        let (text, warnings) = expanded("a ${NO} ${} ${open");
        assert_eq!(text, "a ${NO} ${} ${open");
        assert_eq!(
            warnings,
            ["the environment variable NO is not set; \"${NO}\" is left as it is"]
        );
    }
}
