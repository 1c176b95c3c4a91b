//! `Error`: what went wrong, for whom to act on it, and what a person should do next.
//!
//! - `kind` exists for branching: one value per branch that is taken somewhere.
//! - `what` is one sentence: lower case, no full stop, names the thing in quotes and the limit in units.
//! - `hint` says what to do next.
//! - [`Error::to_json_rpc`] is the only mapping from our errors to what the client is told.
//!
//! Spec: JSON-RPC 2.0 section 5.1 (error object).
//! Not done here: no text from an error is ever searched for words; branch on `kind`.

use std::time::Duration;
use std::{fmt, io};

use crate::jsonrpc::RequestId;
use crate::log::clean;

/// A failure: its kind, one sentence and a hint. As small as a pointer, because every result has room for one.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: Kind,
    what: String,
    detail: Option<String>,
    hint: Option<String>,
    data: Data,
}

/// What callers branch on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The command line is wrong, or what a program that embeds the library asks for.
    Usage,
    /// A file or an environment variable is wrong.
    Config,
    /// The network: name resolution, connection refused or cut.
    Network,
    /// TLS: certificates, protocol versions, alerts.
    Tls,
    /// A limit in time was reached.
    Timeout,
    /// The server answered with this HTTP status.
    Http(u16),
    /// The server broke a rule of the protocol.
    PeerMisbehaved,
    /// Nobody is wrong, but the two sides have no common ground.
    PeerIncompatible,
    /// Sign-in failed, or is needed.
    SignIn,
    /// The disk: the credential store.
    Store,
    /// The client broke a rule (a bad line, a reserved or reused id).
    Client,
    /// The tool is hidden by `--ignore-tool` or not allowed by `--allow-tool`.
    HiddenTool,
    /// The process is on its way out.
    Closing,
    /// Our own fault.
    Bug,
}

/// The machine-readable part of an error answer (`error.data`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Data {
    /// The HTTP status the server answered with.
    pub http_status: Option<u16>,
    /// The server's `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
}

impl Error {
    /// An error of this kind with one sentence.
    pub fn new(kind: Kind, what: impl Into<String>) -> Error {
        let data = Data {
            http_status: if let Kind::Http(status) = kind {
                Some(status)
            } else {
                None
            },
            retry_after: None,
        };
        Error(Box::new(Inner {
            kind,
            what: what.into(),
            detail: None,
            hint: None,
            data,
        }))
    }

    /// Adds what the server said. It is told to the client, who asked, but not logged: it may repeat what was asked.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Error {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds what to do next.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the server's `Retry-After`, in seconds.
    pub fn with_retry_after(mut self, seconds: Option<u64>) -> Error {
        self.0.data.retry_after = seconds;
        self
    }

    /// The server's `Retry-After`, in seconds.
    pub fn retry_after(&self) -> Option<u64> {
        self.0.data.retry_after
    }

    /// The same error for another request that met the same failure.
    pub fn again(&self) -> Error {
        self.clone()
    }

    /// What callers branch on.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The sentence, without the hint.
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// What to do next, if there is something.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The one line of JSON that answers the request `id` with this error.
    ///
    /// Code and message have npm mcp-remote's shape: `-32001` and `mcp-remote: …`, `-32603` for a hidden
    /// tool, `-32600` for a line that is no request, `-32700` for one that is no JSON.
    pub fn to_json_rpc(&self, id: &RequestId) -> String {
        let mut message = if self.0.kind == Kind::HiddenTool {
            self.0.what.clone()
        } else {
            format!("mcp-remote: {}", self.0.what)
        };
        if let Some(detail) = &self.0.detail {
            message.push_str(": ");
            message.push_str(detail);
        }
        if let Some(hint) = &self.0.hint {
            message.push_str(" (");
            message.push_str(hint);
            message.push(')');
        }
        let code = match self.0.kind {
            Kind::HiddenTool | Kind::Bug => -32603,
            Kind::Client => -32600,
            _ => -32001,
        };
        let mut members = Vec::new();
        if let Some(status) = self.0.data.http_status {
            members.push(format!("\"httpStatus\":{status}"));
        }
        if let Some(seconds) = self.0.data.retry_after {
            members.push(format!("\"retryAfter\":{seconds}"));
        }
        let data = if members.is_empty() {
            String::new()
        } else {
            format!(",\"data\":{{{}}}", members.join(","))
        };
        let message = crate::jsonrpc::quoted(&message);
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":{code},\"message\":{message}{data}}}}}"
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)?;
        if let Some(hint) = &self.0.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {}

/// A time in seconds as a number: "30", "1.5". JSON's way of writing one; the standard library's is more code in the program.
pub(crate) fn seconds(time: Duration) -> String {
    let text = serde_json::Value::from(time.as_secs_f64()).to_string();
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// An error of the operating system in the words of its kind, without numbers.
pub(crate) fn plain(error: &io::Error) -> String {
    use io::ErrorKind;
    let words = match error.kind() {
        ErrorKind::NotFound => "no such file",
        ErrorKind::PermissionDenied => "permission denied",
        ErrorKind::IsADirectory => "it is a directory",
        ErrorKind::NotADirectory => "a part of the path is no directory",
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only",
        ErrorKind::StorageFull => "the disk is full",
        ErrorKind::ConnectionRefused => "connection refused",
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            "connection reset"
        }
        ErrorKind::UnexpectedEof => "the connection was closed too early",
        ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::AddrNotAvailable => "the network is unreachable",
        _ => {
            let text = error.to_string();
            let text = text.split(" (os error ").next().unwrap_or_default();
            return clean(text, 200);
        }
    };
    words.to_owned()
}

/// The result of anything that fails with an [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_written_as_a_person_writes_them() {
        let shown = |milliseconds| seconds(Duration::from_millis(milliseconds));
        assert_eq!([0, 30_000, 1500].map(shown), ["0", "30", "1.5"]);
    }

    #[test]
    fn an_http_error_becomes_a_json_rpc_error_with_its_status() {
        let error = Error::new(Kind::Http(503), "https://a.test/mcp answered 503")
            .with_retry_after(Some(7));
        assert_eq!(
            error.to_json_rpc(&RequestId::from_text("1").unwrap()),
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"mcp-remote: https://a.test/mcp answered 503","data":{"httpStatus":503,"retryAfter":7}}}"#
        );
    }

    #[cfg(unix)]
    #[test]
    fn the_operating_system_speaks_in_words() {
        for (number, words) in [(2, "no such file"), (13, "permission denied")] {
            assert_eq!(plain(&io::Error::from_raw_os_error(number)), words);
        }
        let other = plain(&io::Error::from_raw_os_error(33));
        assert!(!other.contains("os error") && !other.is_empty(), "{other}");
        assert_eq!(
            plain(&io::Error::other("it is no regular file")),
            "it is no regular file"
        );
    }

    #[test]
    fn a_hint_is_part_of_the_message() {
        let error = Error::new(Kind::Tls, "unknown authority").with_hint("use --ca-cert");
        let line = error.to_json_rpc(&RequestId::null());
        assert!(
            line.contains(r#""id":null"#)
                && line.contains("mcp-remote: unknown authority (use --ca-cert)"),
            "{line}"
        );
    }
}
