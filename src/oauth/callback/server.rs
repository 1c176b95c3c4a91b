//! Runs `tiny_http::Server` on a callback port, on a thread that ends with the port.
//!
//! What is weak in tiny_http 0.12, and what is done about it here:
//! - At the descriptor limit its accept thread ends without a word. While a sign-in is pending the port is probed; if that request
//!   does not arrive within a second, another server is opened on a clone of the socket, and takes the connections that wait in
//!   the system's queue.
//! - Its pool of workers may queue a connection although no worker is free: behind connections that send nothing it waits for ever.
//!   Each probe frees one place in that queue, so probes are frequent.
//! - A worker thread outlives its server and goes on to fill that server's queue: a connection that a browser opened ahead of need
//!   would lose the next sign-in's callback. So all servers of a port are read until the port is closed, and this process keeps the
//!   port for [`LINGER`] after a sign-in. Without a pending sign-in it leads nothing, and is closed if another instance asks for it.
//! - Dropping a server connects to it, which can block if it has ended; the socket is closed before.
//! - A worker panics if its peer resets the connection early. This ends the connection only, and the programs do not print the message.
//!
//! What remains: there is no limit for the length of headers nor for the number of connections, and no time limit for reading.
//! 20 MB of headers take 21 MB until the peer closes, each open connection has a thread, and a program on this machine that opens
//! many delays the sign-in until it closes them. A request with a non-ASCII byte in a header gets no response.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::{self, catch_unwind};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tiny_http::{Method, Request, Server};
use url::Url;

use super::http::{self, Hosts, Parameters, Response};
use super::page::Page;
use super::{Callback, Place, Responder, lock, sibling};
use crate::secret::Secret;
use crate::store::ServerHash;

/// A callback port of this process.
pub struct Port {
    /// Its number.
    pub number: u16,
    address: Option<IpAddr>,
    state: Mutex<State>,
}

struct State {
    /// The last sign-in.
    sign_in: Pending,
    is_pending: bool,
    /// When the sign-in began or ended.
    since: Instant,
    /// Another instance wants the port.
    is_claimed: bool,
}

/// What the port has to know of a sign-in.
pub struct Pending {
    address: Option<IpAddr>,
    hosts: Hosts,
    paths: Vec<String>,
    server: String,
    hash: ServerHash,
    callbacks: SyncSender<Callback>,
}

impl Pending {
    /// A sign-in whose callbacks go to this channel.
    pub fn new(place: &Place, hash: &ServerHash, callbacks: SyncSender<Callback>) -> Pending {
        let redirect = place.redirect_uri.as_ref();
        // Spelled by `url`, as the path in the redirect URI and that of a request.
        let path = http::address(&place.path)
            .map_or_else(|| place.path.clone(), |url| url.path().to_owned());
        Pending {
            address: place.address,
            hosts: Hosts {
                own: place.host.clone(),
                redirect: redirect.and_then(|url| Some(url.host_str()?.to_owned())),
                any_address: place.address.is_some(),
            },
            // A proxy may take the callback from one path to the other.
            paths: redirect
                .map(|url| url.path().to_owned())
                .into_iter()
                .chain([path])
                .collect(),
            server: place.server.clone(),
            hash: hash.clone(),
            callbacks,
        }
    }

    fn state(self) -> State {
        State {
            sign_in: self,
            is_pending: true,
            since: Instant::now(),
            is_claimed: false,
        }
    }
}

/// The open ports of this process.
static OPEN: Mutex<Vec<Arc<Port>>> = Mutex::new(Vec::new());
/// How long a port stays open after a sign-in. Browsers close connections that they have not used after a minute.
const LINGER: Duration = Duration::from_secs(120);
/// How often the queues are read while a sign-in is pending, and while none is.
const PENDING_INTERVAL: Duration = Duration::from_millis(20);
const IDLE_INTERVAL: Duration = Duration::from_millis(200);
const PROBE_INTERVAL: Duration = Duration::from_millis(200);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);

impl Port {
    /// Opens a port for a sign-in, or takes the one that this process has kept since an earlier one.
    pub fn open(number: u16, is_strict: bool, sign_in: Pending) -> io::Result<Arc<Port>> {
        let mut open = lock(&OPEN);
        if let Some(kept) = open.iter().find(|port| port.number == number) {
            let mut state = lock(&kept.state);
            if state.is_pending || kept.address != sign_in.address {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            *state = sign_in.state();
            return Ok(Arc::clone(kept));
        }
        let sockets = bind(number, is_strict, sign_in.address)?;
        let port = Arc::new(Port {
            number: sockets.first().map_or(number, |(_, at)| at.port()),
            address: sign_in.address,
            state: Mutex::new(sign_in.state()),
        });
        let served = Arc::clone(&port);
        let thread = thread::Builder::new().name("callback".to_owned());
        thread.spawn(move || served.serve(sockets))?;
        open.push(Arc::clone(&port));
        Ok(port)
    }

    /// No sign-in is pending any more.
    pub fn end_sign_in(&self) {
        let mut state = lock(&self.state);
        state.is_pending = false;
        state.since = Instant::now();
    }

    /// Closes the port as soon as its sign-in has ended.
    pub fn give_up(&self) {
        lock(&self.state).is_claimed = true;
    }

    fn serve(&self, sockets: Vec<(TcpListener, SocketAddr)>) {
        let mut sockets: Vec<Socket> = sockets.into_iter().map(Socket::new).collect();
        while !self.is_over() {
            for socket in &mut sockets {
                while let Some(request) = socket.receive() {
                    self.respond(request);
                }
            }
            if lock(&self.state).is_pending {
                sockets.iter_mut().for_each(Socket::probe);
                thread::sleep(PENDING_INTERVAL);
            } else {
                thread::sleep(IDLE_INTERVAL);
            }
        }
        sockets.into_iter().for_each(Socket::close);
    }

    /// Whether the port is to be closed; then it is not offered to the next sign-in either.
    fn is_over(&self) -> bool {
        let mut open = lock(&OPEN);
        let state = lock(&self.state);
        let is_over = !state.is_pending && (state.is_claimed || state.since.elapsed() > LINGER);
        if is_over {
            open.retain(|port| port.number != self.number);
        }
        is_over
    }

    fn respond(&self, request: Request) {
        let mut state = lock(&self.state);
        let response = match http::check(&request, &state.sign_in.hosts, self.number) {
            Err(refusal) => refusal,
            Ok(url) if url.path() == sibling::ID_PATH => {
                let mut headers = request.headers().iter();
                let is_claim = headers.any(|h| h.field.equiv(sibling::CLAIM));
                state.is_claimed |= is_claim && !state.is_pending;
                let hash = state.is_pending.then_some(&state.sign_in.hash);
                Response::json(sibling::id_document(hash))
            }
            Ok(url) if state.sign_in.paths.iter().any(|path| path == url.path()) => {
                return state.take_callback(request, &url);
            }
            Ok(_) => Response::text(404, "there is nothing here\n"),
        };
        drop(response.send(request));
    }
}

impl State {
    fn take_callback(&self, request: Request, url: &Url) {
        let server = &self.sign_in.server;
        if *request.method() == Method::Head {
            // A program that checks the link must not spend its code.
            drop(Response::text(200, "").send(request));
            return;
        }
        let parameters = Parameters::read(url).filter(|_| self.is_pending);
        let Some(parameters) = parameters else {
            drop(Response::page(&Page::unknown(server)).send(request));
            return;
        };
        let callback = Callback {
            code: parameters.code.map(Secret::new),
            state: parameters.state,
            iss: parameters.iss,
            error: parameters.error,
            error_description: parameters.error_description,
            responder: Responder {
                request: Some(request),
                server: server.clone(),
            },
        };
        // If the sign-in does not look, or has ended, the responder is dropped and shows a page.
        self.sign_in.callbacks.try_send(callback).ok();
    }
}

/// A socket of a port, and the servers that accept from it: one, and more if it seemed to have ended.
struct Socket {
    socket: TcpListener,
    address: SocketAddr,
    servers: Vec<Server>,
    /// The connection of the request that is to arrive.
    probe: Option<TcpStream>,
    probed: Instant,
}

impl Socket {
    fn new((socket, address): (TcpListener, SocketAddr)) -> Socket {
        let mut socket = Socket {
            socket,
            address,
            servers: Vec::new(),
            probe: None,
            probed: Instant::now(),
        };
        socket.open();
        socket
    }

    /// Opens a server; if that fails, the next probe is not answered either, and it is tried again.
    fn open(&mut self) {
        let Ok(socket) = self.socket.try_clone() else {
            return;
        };
        // It panics if no thread can be started.
        if let Ok(Ok(server)) = catch_unwind(|| Server::from_listener(socket, None)) {
            self.servers.push(server);
        }
    }

    /// The next request that is not our own.
    fn receive(&mut self) -> Option<Request> {
        for server in &self.servers {
            while let Ok(Some(request)) = server.try_recv() {
                let probe = self.probe.as_ref().and_then(|p| p.local_addr().ok());
                if probe.is_none() || request.remote_addr() != probe.as_ref() {
                    return Some(request);
                }
                self.probe = None;
            }
        }
        None
    }

    /// Asks the own port whether it is alive, and opens another server if it is not.
    fn probe(&mut self) {
        let elapsed = self.probed.elapsed();
        if self.probe.is_some() {
            if elapsed > PROBE_TIMEOUT {
                self.probe = None;
                self.open();
            }
        } else if elapsed > PROBE_INTERVAL {
            self.probed = Instant::now();
            match TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT) {
                Ok(mut stream) => {
                    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok();
                    self.probe = Some(stream);
                }
                // The system's queue is full.
                Err(error) if error.kind() == io::ErrorKind::TimedOut => self.open(),
                // No descriptor is left, say: this tells nothing about the server.
                Err(_) => {}
            }
        }
    }

    fn close(self) {
        let count = self.servers.len();
        // In this order, see the head of this file.
        drop(self.socket);
        drop(self.servers);
        // One connection wakes one accept thread, and not always that of the server that was dropped.
        for _ in 0..count {
            TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT).ok();
        }
    }
}

/// Binds 127.0.0.1 and, if there is IPv6, `::1`, and the wanted address; one that means all addresses takes the place of the
/// loopback. The addresses returned are those at which the sockets can be reached from here.
pub fn bind(
    port: u16,
    is_strict: bool,
    wanted: Option<IpAddr>,
) -> io::Result<Vec<(TcpListener, SocketAddr)>> {
    let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    let (first, second) = match wanted {
        Some(all @ IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => (all, v6),
        Some(all @ IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => (all, v4),
        _ => (v4, v6),
    };
    let mut sockets = vec![bind_one(first, port)?];
    let port = sockets.first().map_or(port, |(_, at)| at.port());
    // The socket for all IPv6 addresses has IPv4, too, where the system allows it.
    let may_be_ours = first == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    match bind_one(second, port) {
        Ok(socket) => sockets.push(socket),
        // A browser that tries ::1 first would give the program there what is meant for us.
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && !is_strict && !may_be_ours => {
            return Err(error);
        }
        // There is no IPv6 on this machine, or no choice of port.
        Err(_) => {}
    }
    if let Some(other) = wanted.filter(|at| ![first, second].contains(at)) {
        sockets.push(bind_one(other, port)?);
    }
    Ok(sockets)
}

fn bind_one(address: IpAddr, port: u16) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = TcpListener::bind((address, port))?;
    let mut at = socket.local_addr()?;
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => at.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => at.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Ok((socket, at))
}

/// Keeps the panics of tiny_http's threads off stderr: each concerns one connection or one server, and is dealt with here.
/// Only the programs call this, at their start: the panic hook belongs to the whole process.
pub fn silence_tiny_http() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let file = info.location().map(|at| at.file());
        if !file.is_some_and(|file| file.contains("tiny_http")) {
            usual(info);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_has_ended_is_replaced_and_takes_what_waits() {
        let (listener, address) = bind(0, true, None).unwrap().remove(0);
        let mut socket = Socket::new((listener, address));
        socket.servers.clear();
        // Wakes the accept thread, if the drop was too early for it.
        TcpStream::connect(address).unwrap();
        thread::sleep(Duration::from_millis(100));
        let mut browser = TcpStream::connect(address).unwrap();
        browser.write_all(b"GET /waits HTTP/1.0\r\n\r\n").unwrap();
        let begun = Instant::now();
        let request = loop {
            // A probe that waited for the new server has no sender any more.
            if let Some(request) = socket.receive().filter(|r| r.url() != "/") {
                break request;
            }
            socket.probe();
            assert!(begun.elapsed() < Duration::from_secs(10));
            thread::sleep(PENDING_INTERVAL);
        };
        assert_eq!(request.url(), "/waits");
        socket.close();
    }
}
