//! `Secret`: a string that cannot be printed by accident.
//!
//! Tokens, header values, codes and client secrets travel in this type, so that `{:?}` of anything
//! that holds one shows `(redacted)`. The text is read with [`Secret::expose`], which is easy to search for.

//!
//! [`Secrets`] are what this process has sent: a server may repeat them in an error text, from which they are taken.

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// A string whose `Debug` is `(redacted)` and which has no `Display`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

/// In bytes.
const MAX_FILE: u64 = 64 * 1024;

impl Secret {
    /// Wraps a text that must not reach a log, an error or a process argument.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text of a file, 64 KiB at most.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn from_file(path: &Path) -> std::io::Result<Secret> {
        let mut text = String::new();
        let file = std::fs::File::open(path)?;
        file.take(MAX_FILE).read_to_string(&mut text)?;
        Ok(Secret(text))
    }

    /// The text itself. Whoever calls this keeps it out of logs, errors and arguments.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
    }
}

/// The secrets that a server may repeat.
#[derive(Debug, Default)]
pub struct Secrets(Mutex<Vec<Secret>>);

/// Tokens and sessions change; older ones than these are forgotten.
const MAX_SECRETS: usize = 64;
/// A shorter header value may be any word of a sentence.
const MIN_PART: usize = 6;

impl Secrets {
    /// Adds a secret.
    pub fn add(&self, text: &str) {
        let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_long_enough(text) || secrets.iter().any(|secret| secret.expose() == text) {
            return;
        }
        if secrets.len() >= MAX_SECRETS {
            // The first ones are those of the configuration.
            secrets.remove(MAX_SECRETS / 2);
        }
        secrets.push(Secret::new(text));
    }

    /// Adds the value of a header or the query of an address, and the parts of it that may be repeated alone, except what is
    /// a part of the `public` text.
    pub fn add_parts(&self, value: &str, public: &str) {
        let add = |part: &str| {
            if part.len() >= MIN_PART && !public.contains(part) {
                self.add(part);
            }
        };
        add(value.trim());
        for part in value.split([' ', '\t', ',', ';', '&']) {
            let scheme = ["bearer", "basic", "token", "apikey"];
            if !scheme.contains(&part.to_ascii_lowercase().as_str()) {
                add(part);
            }
            if let Some((_, named)) = part.split_once('=') {
                add(named.trim_matches('"'));
            }
        }
    }

    /// The text with `(redacted)` in place of each secret.
    pub fn take_from(&self, text: &str) -> String {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sent: Vec<&str> = secrets.iter().map(Secret::expose).collect();
        // One that holds another is replaced as a whole.
        sent.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        without(text, sent.into_iter())
    }
}

/// A short value is not a secret, and may be any word of a sentence.
fn is_long_enough(text: &str) -> bool {
    text.len() > 3
}

/// The text with `(redacted)` in place of each of these.
pub fn without<'a>(text: &str, secrets: impl Iterator<Item = &'a str>) -> String {
    secrets
        .filter(|secret| is_long_enough(secret))
        .fold(text.to_owned(), |text, secret| {
            text.replace(secret, "(redacted)")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_taken_from_a_text_that_repeats_it() {
        let secrets = Secrets::default();
        secrets.add_parts("Bearer t0ken-of-mine", "");
        secrets.add_parts("session=c00kie; theme=dark; host=a.test", "https://a.test/");
        secrets.add("t0ken");
        secrets.add("s");
        let text = secrets.take_from("Bearer no: 't0ken-of-mine' t0ken, c00kie, s, dark, a.test");
        assert_eq!(
            text,
            "Bearer no: '(redacted)' (redacted), (redacted), s, dark, a.test"
        );
    }

    #[test]
    fn as_many_secrets_are_kept_as_matter() {
        let secrets = Secrets::default();
        for at in 0..1000 {
            secrets.add(&format!("token{at}"));
        }
        assert_eq!(secrets.0.lock().unwrap().len(), MAX_SECRETS);
    }

    #[test]
    fn debug_output_never_holds_the_text() {
        assert_eq!(
            format!("{:?}", Some(Secret::new("hunter2"))),
            "Some((redacted))"
        );
    }
}
