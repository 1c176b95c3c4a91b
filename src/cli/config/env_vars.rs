//! `${NAME}` in header values and in the static client info. Pure: the environment is a function.
//!
//! A variable that is set, even to nothing, is put in; one that is not stays as it is written, with a warning (npm).

use crate::log::clean;

/// The environment: the value of a variable, if it is set.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces every `${NAME}`; a note for each that is set, a warning for each that is not.
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
            // npm's expression wants at least one character between the braces.
            Some(value) if !name.is_empty() => {
                notes.push(format!("the environment variable {name} is put in"));
                out.push_str(&value);
            }
            _ => {
                if !name.is_empty() {
                    let name = clean(name, 60);
                    warnings.push(format!(
                        "the environment variable {name} is not set; \"${{{name}}}\" stays as it is"
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn set_variables_are_put_in_once() {
        assert_eq!(expanded("x${A}y${EMPTY}z${NESTED}").0, "x1yz${A}");
    }

    #[test]
    fn what_is_not_set_stays_and_is_reported() {
        let (text, warnings) = expanded("a ${NO} ${} ${open");
        assert_eq!(text, "a ${NO} ${} ${open");
        assert_eq!(
            warnings,
            ["the environment variable NO is not set; \"${NO}\" stays as it is"]
        );
    }
}
