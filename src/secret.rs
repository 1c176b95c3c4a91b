//! `Secret`: a string that cannot be printed by accident.
//!
//! Tokens, header values, codes and client secrets travel in this type, so that `{:?}` of anything
//! that holds one shows `(redacted)`. The text is read with [`Secret::expose`], which is easy to search for.

use std::fmt;

/// A string whose `Debug` is `(redacted)` and which has no `Display`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text that must not reach a log, an error or a process argument.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_never_holds_the_text() {
        assert_eq!(
            format!("{:?}", Some(Secret::new("hunter2"))),
            "Some((redacted))"
        );
    }
}
