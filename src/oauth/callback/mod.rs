//! Catches the OAuth redirect on the loopback.
//!
//! - The ports are npm's: the first free one of eight, or only the one that was asked for. If another instance holds the port for the same
//!   server, it leads the sign-in. A leader on an earlier port also wins after we have bound a later one.
//! - The port is bound on 127.0.0.1 and, under the same number, on `::1`: browsers may take `localhost` for either. With
//!   `--callback-bind` it is bound on that address, too.
//! - With `--redirect-uri` the browser may come through a proxy: requests for the URI's host and path are accepted as well.
//! - A callback is handed to the sign-in together with the waiting browser, so that the page tells how the sign-in ended.
//!
//! Flags: `--callback-bind`, `--host`, `--callback-path`, `--redirect-uri`, `--auth-success-url` (a redirect instead of the page).
//! Spec: RFC 8252 7.3 and 8.3 (loopback redirect), RFC 6749 4.1.2 (authorization response), RFC 9207 2 (`iss`);
//! npm mcp-remote 0.15.1 (coordinateAuth).
//! Not done here: `state` and `iss` are not compared, no code is redeemed (`authorization_code.rs`).

mod http;
pub mod page;
mod server;
mod sibling;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tiny_http::Request;
use url::Url;

use crate::error::{Error, Kind, Result, plain};
use crate::secret::Secret;
use crate::store::ServerHash;
use http::Response;
use page::Page;
pub use server::silence_tiny_http;
use server::{Pending, Port};
use sibling::Holder;
pub use sibling::is_sibling;

/// Where the listener is to be.
#[derive(Debug, Clone)]
pub struct Place {
    /// The first port to try.
    pub port: u16,
    /// Try no other port.
    pub strict: bool,
    /// The host of the redirect URI, accepted in `Host` beside the names of the loopback.
    pub host: String,
    /// The path of the redirect URI.
    pub path: String,
    /// An address to listen on beside the loopback.
    pub address: Option<IpAddr>,
    /// The configured redirect URI.
    pub redirect_uri: Option<Url>,
    /// The MCP server's address as the pages show it.
    pub server: String,
}

/// The result of [`Listener::bind`].
#[derive(Debug)]
pub enum Bound {
    /// This instance leads the sign-in.
    Listening(Listener),
    /// Another instance leads it, on this port.
    SiblingAt(u16),
}

/// Receives the callbacks of one sign-in; the sign-in is pending until this is dropped.
pub struct Listener {
    port: Arc<Port>,
    callbacks: Receiver<Callback>,
}

/// The parameters of an authorization response, from whoever sent it.
pub struct Callback {
    /// The authorization code.
    pub code: Option<Secret>,
    /// The state.
    pub state: Option<String>,
    /// The issuer (RFC 9207).
    pub iss: Option<String>,
    /// The error code (RFC 6749 4.1.2.1).
    pub error: Option<String>,
    /// The description of the error: untrusted text.
    pub error_description: Option<String>,
    /// The browser, waiting for its page.
    pub responder: Responder,
}

/// A browser that waits for its page; if dropped without one, it shows that the sign-in was interrupted.
pub struct Responder {
    request: Option<Request>,
    server: String,
}

impl Listener {
    /// Binds a callback port, or finds the instance that leads the sign-in.
    ///
    /// # Errors
    /// If no port is free.
    pub fn bind(place: &Place, hash: &ServerHash) -> Result<Bound> {
        let last = if place.strict {
            place.port
        } else {
            place.port.saturating_add(PORTS - 1)
        };
        for port in place.port..=last {
            let listener = match Listener::open(port, place, hash) {
                Ok(listener) => listener,
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                    return Err(port_refused(port, &error));
                }
                Err(_) => match sibling::claim(port, hash) {
                    Holder::Leader => return Ok(Bound::SiblingAt(port)),
                    holder => match Listener::open_again(port, place, hash, &holder) {
                        Ok(listener) => listener,
                        Err(error) if place.strict => return Err(port_refused(port, &error)),
                        Err(_) => continue,
                    },
                },
            };
            if let Some(earlier) = (place.port..port).find(|port| is_sibling(*port, hash)) {
                listener.port.give_up();
                return Ok(Bound::SiblingAt(earlier));
            }
            return Ok(Bound::Listening(listener));
        }
        let what = format!(
            "none of the callback ports {} to {last} is free",
            place.port
        );
        Err(Error::new(Kind::SignIn, what).with_hint(
            "close the program that holds them, or name a free port after the server's address",
        ))
    }

    fn open(port: u16, place: &Place, hash: &ServerHash) -> io::Result<Listener> {
        let (sender, callbacks) = mpsc::sync_channel(MAX_WAITING);
        let pending = Pending::new(place, hash, sender);
        let port = Port::open(port, place.strict, pending)?;
        Ok(Listener { port, callbacks })
    }

    /// The holder may have gone, or may be closing the port: tiny_http frees it late.
    fn open_again(
        port: u16,
        place: &Place,
        hash: &ServerHash,
        holder: &Holder,
    ) -> io::Result<Listener> {
        let begun = Instant::now();
        loop {
            match Listener::open(port, place, hash) {
                Err(_) if *holder == Holder::Leaving && begun.elapsed() < LEAVING_TIMEOUT => {
                    thread::sleep(Duration::from_millis(50));
                }
                opened => return opened,
            }
        }
    }

    /// The number of the port.
    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// Waits for the next callback. Anybody may have sent it: compare its state before anything else.
    pub fn next(&self, timeout: Duration) -> Option<Callback> {
        self.callbacks.recv_timeout(timeout).ok()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.port.end_sign_in();
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({})", self.port.number)
    }
}

impl Responder {
    /// Shows a page.
    pub fn page(mut self, page: &Page) {
        self.respond(&Response::page(page));
    }

    /// Sends the browser to another address (`--auth-success-url`).
    pub fn redirect(mut self, to: &Url) {
        self.respond(&Response::redirect(to));
    }

    fn respond(&mut self, response: &Response) {
        if let Some(request) = self.request.take() {
            // The process may end next, and the page must be sent before.
            response.send(request).recv_timeout(SEND_TIMEOUT).ok();
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if self.request.is_some() {
            self.respond(&Response::page(&Page::over(&self.server)));
        }
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback")
            .field("code", &self.code)
            .field("iss", &self.iss)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// npm's PORT_CANDIDATES.
const PORTS: u16 = 8;
/// Callbacks that the sign-in has not looked at yet; further ones are answered that the sign-in was interrupted.
const MAX_WAITING: usize = 16;
const SEND_TIMEOUT: Duration = Duration::from_secs(1);
const LEAVING_TIMEOUT: Duration = Duration::from_secs(3);

fn port_refused(port: u16, error: &io::Error) -> Error {
    let (what, hint) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            format!("callback port {port} is in use by another program"),
            "close that program, or name another port after the server's address",
        ),
        io::ErrorKind::AddrNotAvailable => (
            "this machine has no such address to listen on".to_owned(),
            "check --callback-bind: 0.0.0.0 is every address",
        ),
        _ => (
            format!("cannot listen on callback port {port}: {}", plain(error)),
            "name another port after the server's address",
        ),
    };
    Error::new(Kind::SignIn, what).with_hint(hint)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the target of a request as the listener does, for fuzzing.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_request(head: &[u8]) -> Option<Url> {
    let text = String::from_utf8_lossy(head);
    let url = http::address(text.split(' ').nth(1)?)?;
    http::Parameters::read(&url);
    Some(url)
}

#[cfg(test)]
mod tests;
