//! Arguments of a tool or prompt as words: `NAME=TEXT` and `NAME:=JSON`, as HTTPie and xh write them. Pure.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::args::usage;
use crate::error::Result;
use crate::jsonrpc::quoted;

/// The name and the JSON value of `NAME=TEXT` or `NAME:=JSON`.
pub(super) fn split_pair(word: &str) -> Option<(&str, Cow<'_, str>)> {
    let (name, value) = word.split_once('=')?;
    let (name, value) = match name.strip_suffix(':') {
        Some(name) => (name, Cow::Borrowed(value)),
        None => (name, Cow::Owned(quoted(value))),
    };
    let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '$');
    (!name.is_empty() && name.chars().all(is_of_name)).then_some((name, value))
}

/// The JSON object of these pairs.
///
/// # Errors
/// If a value is not JSON; the error does not repeat it, because it may be a secret.
pub(super) fn object(pairs: &[String]) -> Result<String> {
    let mut members = Vec::new();
    for (name, value) in pairs.iter().filter_map(|pair| split_pair(pair)) {
        if serde_json::from_str::<IgnoredAny>(&value).is_err() {
            let what = format!("the value of {name}:= is not valid JSON");
            let hint = format!("for text, write {name}=TEXT");
            return Err(usage(what).with_hint(hint));
        }
        members.push(format!("{}:{value}", quoted(name)));
    }
    Ok(format!("{{{}}}", members.join(",")))
}
