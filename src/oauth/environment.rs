//! `Environment`: the network, clock, browser and messages of a sign-in, so that tests can replace them.
//!
//! The flow is straight-line code that calls it; the real one is `transport/fetch.rs`.
//!
//! Not done here: the callback listener and the store are used directly; they work in tests as they are.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

use super::browser::Opened;
use super::dpop::Prover;
use crate::error::{Error, Result};
use crate::log::Level;
use crate::secret::Secret;
use crate::store::{Object, UnixMillis};

/// What a sign-in needs from outside.
pub trait Environment: Send + Sync {
    /// One HTTP request, bounded to 1 MiB and 10 s; a request for tokens to `--headers-timeout`.
    ///
    /// # Errors
    /// `Network` and `Timeout` errors are temporary; any other is final.
    fn fetch(&self, fetch: &Fetch) -> std::result::Result<Fetched, Unanswered>;
    /// Milliseconds since 1970.
    fn now(&self) -> UnixMillis;
    /// Waits.
    fn sleep(&self, time: Duration);
    /// Fills the buffer from the operating system's generator.
    ///
    /// # Errors
    /// If the generator fails.
    fn random(&self, buffer: &mut [u8]) -> Result<()>;
    /// Opens a browser.
    fn open_browser(&self, url: &Url) -> Opened;
    /// Logs a message for the user.
    fn say(&self, level: Level, text: &str);
    /// Shows the URL that the user must open; called before a browser is opened.
    fn show_url(&self, url: &Url, text: &str);
    /// There are new tokens: requests can be sent.
    fn signed_in(&self);
    /// A step of the sign-in was done, with this result.
    fn found(&self, step: &'static str, what: &str);
    /// Whether the user runs us at a terminal: then a browser may be opened at any time, and a URL can be pasted.
    fn is_by_hand(&self) -> bool;
    /// The next line that the user has pasted, if any.
    fn pasted(&self) -> Option<String>;
}

/// 32 random bytes as 43 characters that fit a URL, a file name and a PKCE verifier (RFC 7636 4.1).
///
/// # Errors
/// If the operating system has no random bytes.
pub fn random_text(env: &dyn Environment) -> Result<String> {
    let mut bytes = [0; 32];
    env.random(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// Why a request has no response.
#[derive(Debug)]
pub struct Unanswered {
    /// The reason.
    pub error: Error,
    /// Whether the server may have acted on it all the same.
    pub may_have_arrived: bool,
}

impl From<Error> for Unanswered {
    fn from(error: Error) -> Unanswered {
        Unanswered {
            error,
            may_have_arrived: true,
        }
    }
}

/// A request of the sign-in.
#[derive(Debug)]
pub struct Fetch {
    /// Where to.
    pub url: Url,
    /// What is sent: nothing makes it a GET, anything a POST.
    pub body: Content,
    /// The `Authorization` header.
    pub authorization: Option<Secret>,
    /// Makes the `DPoP` header.
    pub dpop: Option<Prover>,
    /// Whether redirects are followed: only for documents, which carry no credentials.
    pub follow: bool,
    /// Whether the user configured this URL, so that it may be on any network.
    pub trusted: bool,
}

/// The secret members of forms.
const SECRET_MEMBERS: [&str; 9] = [
    "assertion",
    "client_assertion",
    "client_secret",
    "code",
    "code_verifier",
    "device_code",
    "refresh_token",
    "subject_token",
    "token",
];

/// What a request carries.
#[derive(Debug, Clone)]
pub enum Content {
    /// Nothing.
    Nothing,
    /// `application/x-www-form-urlencoded`.
    Form(Secret),
    /// `application/json`.
    Json(Secret),
}

impl Fetch {
    /// A document that anybody may read.
    pub fn document(url: Url) -> Fetch {
        Fetch {
            url,
            body: Content::Nothing,
            authorization: None,
            dpop: None,
            follow: true,
            trusted: false,
        }
    }

    /// Whether it redeems something that is valid once: a code (RFC 6749 4.1.2), a refresh token that rotates (RFC 9700 4.14.2).
    pub fn is_good_for_once(&self) -> bool {
        self.has_member(&["code", "refresh_token"])
    }

    /// Whether it requests tokens (RFC 6749 3.2).
    pub fn is_for_tokens(&self) -> bool {
        self.has_member(&["grant_type"])
    }

    fn has_member(&self, members: &[&str]) -> bool {
        let Content::Form(form) = &self.body else {
            return false;
        };
        let mut names = form.expose().split('&').map(|pair| pair.split('=').next());
        names.any(|name| name.is_some_and(|name| members.contains(&name)))
    }

    /// Text from the server with the secrets of the request replaced.
    pub fn without_secrets(&self, text: &str) -> String {
        let mut secrets = Vec::new();
        if let Some(authorization) = &self.authorization {
            let value = authorization.expose();
            secrets.extend(value.split_once(' ').map(|(_, proof)| proof.to_owned()));
        }
        if let Content::Form(form) = &self.body {
            for pair in form.expose().split('&') {
                let Some((name, sent)) = pair.split_once('=') else {
                    continue;
                };
                if SECRET_MEMBERS.contains(&name) {
                    let plain = url::form_urlencoded::parse(pair.as_bytes()).next();
                    secrets.extend(plain.map(|(_, plain)| plain.into_owned()));
                    secrets.push(sent.to_owned());
                }
            }
        }
        crate::secret::without(text, secrets.iter().map(String::as_str))
    }

    /// A form, which may hold secrets.
    pub fn form(url: Url, form: Secret) -> Fetch {
        Fetch {
            url,
            body: Content::Form(form),
            authorization: None,
            dpop: None,
            follow: false,
            trusted: false,
        }
    }
}

/// A response, whatever its status.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The status.
    pub status: u16,
    /// `Retry-After`, as far as it was understood.
    pub retry_after: Option<Duration>,
    /// `DPoP-Nonce`, if it is valid.
    pub dpop_nonce: Option<String>,
    /// The body; it may hold tokens.
    pub body: Secret,
}

impl Fetched {
    /// The body, if it is a JSON object; a byte order mark before it is ignored (RFC 8259 8.1).
    pub fn object(&self) -> Option<Object> {
        serde_json::from_str(self.body.expose().trim_start_matches('\u{feff}')).ok()
    }
}
