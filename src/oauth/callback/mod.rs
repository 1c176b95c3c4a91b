//! The loopback listener a sign-in comes back to.
//!
//! - The port walk is npm's: the first free one of eight, or only the one that was asked for; a port that a sibling holds ends
//!   the walk, because the sibling runs the sign-in. An earlier port's sibling wins also after we have bound.
//! - It listens on 127.0.0.1 and, on the same port, on `::1`: `localhost` may be either.
//! - It exists only while a sign-in is pending, answers three paths and nobody but this machine, and is bounded in time and
//!   memory whatever is thrown at it; dropping it frees the port at once.
//! - A callback is handed to the flow together with the waiting browser, so that the page tells how the sign-in ended.
//!
//! Flags: `--host`, `--callback-path`, `--auth-success-url` (a redirect instead of the page).
//! Spec: RFC 8252 7.3 and 8.3 (loopback redirect), RFC 6749 4.1.2 (authorization response), 3.1 (no parameter twice),
//! RFC 9207 2 (`iss`); npm mcp-remote 0.15.1 (coordinateAuth, `/.mcp-remote/id`, `/wait-for-auth`).
//! Not done here: `state` and `iss` are not compared, nothing is redeemed (`authorization_code.rs`).

mod http;
pub mod page;
mod server;
mod sibling;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use url::Url;

use crate::error::{Error, Kind, Result, plain};
use crate::secret::Secret;
use crate::store::ServerHash;
use http::Answer;
use page::Page;
use server::Shared;
pub use sibling::is_sibling;

/// Where the listener is to be.
#[derive(Debug, Clone)]
pub struct Place {
    /// The first port to try.
    pub port: u16,
    /// Try no other.
    pub strict: bool,
    /// The host of the redirect URI: one more name that requests may be addressed to.
    pub host: String,
    /// The path of the redirect URI.
    pub path: String,
    /// The server's address as the pages show it.
    pub server: String,
}

/// What came of binding.
#[derive(Debug)]
pub enum Bound {
    /// We lead the sign-in.
    Listening(Listener),
    /// Another instance does, on this port.
    SiblingAt(u16),
}

/// The listener; dropping it closes the port.
pub struct Listener {
    shared: Arc<Shared>,
    callbacks: Receiver<Callback>,
    closed: Receiver<()>,
    addresses: Vec<SocketAddr>,
}

/// What a browser brought back.
pub struct Callback {
    /// The authorization code.
    pub code: Option<Secret>,
    /// The state.
    pub state: Option<String>,
    /// The issuer (RFC 9207).
    pub iss: Option<String>,
    /// The error code (RFC 6749 4.1.2.1).
    pub error: Option<String>,
    /// What the authorization server says about the error; anybody's text.
    pub error_description: Option<String>,
    /// The browser, waiting for its page.
    pub responder: Responder,
}

/// A browser that waits for its page; dropped without one, it is told that the sign-in was interrupted.
pub struct Responder {
    stream: Option<TcpStream>,
    server: String,
}

impl Listener {
    /// Binds a callback port, or finds the sibling that has.
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
            let sockets = match bind_port(port, place.strict) {
                Ok(sockets) => sockets,
                Err(error) if is_sibling(port, hash) => {
                    drop(error);
                    return Ok(Bound::SiblingAt(port));
                }
                // Its holder may have gone while we asked.
                Err(_) => match bind_port(port, place.strict) {
                    Ok(sockets) => sockets,
                    Err(error) if place.strict => return Err(port_refused(port, &error)),
                    Err(_) => continue,
                },
            };
            if let Some(earlier) = (place.port..port).find(|port| is_sibling(*port, hash)) {
                return Ok(Bound::SiblingAt(earlier));
            }
            return listen(sockets, place, hash).map(Bound::Listening);
        }
        let what = format!(
            "none of the callback ports {} to {last} is free",
            place.port
        );
        Err(Error::new(Kind::SignIn, what).with_hint(
            "close the program that holds them, or name a free port after the server's address",
        ))
    }

    /// The port it has.
    pub fn port(&self) -> u16 {
        self.shared.port
    }

    /// Waits for the next callback. It may be anybody's: compare its state before anything else.
    pub fn next(&self, timeout: Duration) -> Option<Callback> {
        self.callbacks.recv_timeout(timeout).ok()
    }

    /// Tells older siblings, which ask `/wait-for-auth`, how the sign-in ended.
    pub fn finish(&self, signed_in: bool) {
        self.shared.finish(signed_in);
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.close();
        for address in &self.addresses {
            // Wakes the thread that waits in accept.
            TcpStream::connect_timeout(address, CLOSE_TIME).ok();
        }
        // Nothing is ever sent: the channel ends when both threads have closed their sockets.
        self.closed.recv_timeout(CLOSE_TIME).ok();
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({:?})", self.addresses)
    }
}

impl Responder {
    /// Shows a page.
    pub fn page(mut self, page: &Page) {
        self.send(&Answer::page(page));
    }

    /// Sends the browser elsewhere (`--auth-success-url`).
    pub fn redirect(mut self, to: &Url) {
        self.send(&Answer::redirect(to));
    }

    fn send(&mut self, answer: &Answer) {
        if let Some(stream) = self.stream.take() {
            answer.send(&stream, false);
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.send(&Answer::page(&Page::over(&self.server)));
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
/// Callbacks that the flow has not looked at.
const WAITING: usize = 16;
const CLOSE_TIME: Duration = Duration::from_secs(1);
fn bind_port(port: u16, strict: bool) -> io::Result<Vec<TcpListener>> {
    let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let port = v4.local_addr()?.port();
    match TcpListener::bind((Ipv6Addr::LOCALHOST, port)) {
        Ok(v6) => Ok(vec![v4, v6]),
        // A stranger there would be given what is meant for us by a browser that tries ::1 first.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && !strict => Err(error),
        // No IPv6 on this machine, or no choice of port.
        Err(_) => Ok(vec![v4]),
    }
}

fn port_refused(port: u16, error: &io::Error) -> Error {
    let (what, hint) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            format!("callback port {port} is in use by another program"),
            "close that program, or name another port after the server's address",
        ),
        _ => (
            format!("cannot listen on callback port {port}: {}", plain(error)),
            "name another port after the server's address",
        ),
    };
    Error::new(Kind::SignIn, what).with_hint(hint)
}

fn listen(sockets: Vec<TcpListener>, place: &Place, hash: &ServerHash) -> Result<Listener> {
    let failed = |error: io::Error| port_refused(place.port, &error);
    let addresses: Vec<SocketAddr> = sockets
        .iter()
        .map(TcpListener::local_addr)
        .collect::<io::Result<_>>()
        .map_err(failed)?;
    let port = addresses.first().map_or(place.port, SocketAddr::port);
    let (sender, callbacks) = mpsc::sync_channel(WAITING);
    let (open, closed) = mpsc::channel();
    let shared = Arc::new(Shared::new(place, port, hash, sender));
    // Made before the threads: if one cannot be started, dropping this ends the other.
    let listener = Listener {
        shared: Arc::clone(&shared),
        callbacks,
        closed,
        addresses,
    };
    for socket in sockets {
        let (shared, open) = (Arc::clone(&shared), open.clone());
        thread::Builder::new()
            .name("callback".to_owned())
            .spawn(move || {
                server::accept(socket, &shared);
                drop(open);
            })
            .map_err(failed)?;
    }
    Ok(listener)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the listener makes of a request, for the fuzzing of it.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_request(head: &[u8]) -> Option<url::Url> {
    let request = http::parse(head, "localhost", 4000).ok()?;
    server::Parameters::read(&request.url);
    Some(request.url)
}

#[cfg(test)]
mod tests;
