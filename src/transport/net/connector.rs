//! Makes connections for ureq: name resolution, proxy, TCP, TLS.
//!
//! - A name is resolved when a connection is made, never for a request on one that is open.
//! - Both address families are raced: the next address is tried when one has not answered within 250 ms (RFC 8305).
//! - All workers share one TLS configuration, and so the sessions it can resume.
//! - A failure before a request can be sent is a [`NotConnected`]: trying again is safe.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, Either, NextTimeout,
    ShutdownHandle, SocksConnector, Transport,
};

use crate::transport::net::buffers::GrowingBuffers;
use crate::transport::net::resolver::HostResolver;
use crate::transport::net::tls_transport::TlsConnector;

/// Resolves the name and connects through a SOCKS or CONNECT proxy, TCP and TLS.
#[derive(Debug)]
pub(crate) struct NetConnector {
    tls: TlsConnector,
    names: HostResolver,
}

/// Name resolution has a limit of its own, shorter than that of connecting.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

impl NetConnector {
    pub(crate) fn new(tls: TlsConnector, names: HostResolver) -> NetConnector {
        NetConnector { tls, names }
    }

    /// The addresses to connect to; none if the proxy resolves the name.
    fn addresses(&self, details: &ConnectionDetails) -> Result<ResolvedSocketAddrs, ureq::Error> {
        // The connection to a proxy is made by this connector, too; its name is resolved by then.
        let is_known = !details.addrs.is_empty();
        let is_the_proxys = details
            .config
            .proxy()
            .is_some_and(|proxy| !proxy.resolve_target() && !proxy.is_no_proxy(details.uri));
        if is_known || is_the_proxys {
            return Ok(details.addrs.clone());
        }
        let mut limit = details.timeout;
        if *limit.after > RESOLVE_TIMEOUT {
            limit = NextTimeout {
                after: RESOLVE_TIMEOUT.into(),
                reason: ureq::Timeout::Resolve,
                ..limit
            };
        }
        self.names.resolve(details.uri, details.config, limit)
    }
}

impl Connector<()> for NetConnector {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<()>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let chain =
            ().chain(SocksConnector::default())
                .chain(ConnectProxyConnector::default())
                .chain(Racing)
                .chain(self.tls.clone());
        let details = ConnectionDetails {
            addrs: self.addresses(details)?,
            resolver: &self.names,
            uri: details.uri,
            config: details.config,
            request_level: details.request_level,
            now: details.now,
            timeout: details.timeout,
            current_time: Arc::clone(&details.current_time),
            run_connector: Arc::clone(&details.run_connector),
            register_shutdown: Arc::clone(&details.register_shutdown),
        };
        match chain.connect(&details, chained) {
            Ok(transport) => {
                Ok(transport.map(|transport| Box::new(transport) as Box<dyn Transport>))
            }
            Err(error) => Err(ureq::Error::Other(Box::new(NotConnected::Connection(
                error,
            )))),
        }
    }
}

/// The connection could not be made, so nothing of the request was sent.
#[derive(Debug)]
pub(crate) enum NotConnected {
    /// The name has no address.
    Name(ureq::Error),
    /// TCP, a proxy or TLS failed.
    Connection(ureq::Error),
}

impl fmt::Display for NotConnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (NotConnected::Name(error) | NotConnected::Connection(error)) = self;
        error.fmt(f)
    }
}

impl std::error::Error for NotConnected {}

/// Makes TCP connections; all addresses are raced.
#[derive(Debug)]
struct Racing;

/// The next address is tried after this pause (RFC 8305 section 5).
const HEAD_START: Duration = Duration::from_millis(250);

impl<In: Transport> Connector<In> for Racing {
    type Out = Either<In, Tcp>;

    fn connect(
        &self,
        details: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        if let Some(transport) = chained {
            return Ok(Some(Either::A(transport)));
        }
        let limit = details.timeout.not_zero().map(|limit| *limit);
        let stream = race(&details.addrs, limit).map_err(timed_out)?;
        stream.set_nodelay(true)?;
        keep_alive(&stream);
        let stream = Arc::new(stream);
        let handle: std::sync::Weak<dyn ShutdownHandle> = Arc::downgrade(&stream) as _;
        (details.register_shutdown)(handle)?;
        Ok(Some(Either::B(Tcp {
            stream,
            buffers: GrowingBuffers::default(),
            unsent: Vec::new(),
            was_read: false,
            read_limit: None,
            write_limit: None,
        })))
    }
}

/// Has the operating system send a probe after 60 s without traffic: firewalls, NAT and load balancers drop silent
/// connections, and without probes an open stream would never end (RFC 9293 3.8.4). Failures are ignored.
#[cfg(unix)]
fn keep_alive(stream: &TcpStream) {
    #[cfg(target_vendor = "apple")]
    use nix::sys::socket::sockopt::TcpKeepAlive as IdleSeconds;
    #[cfg(not(target_vendor = "apple"))]
    use nix::sys::socket::sockopt::TcpKeepIdle as IdleSeconds;
    use nix::sys::socket::{setsockopt, sockopt::KeepAlive};
    setsockopt(stream, IdleSeconds, &60)
        .and_then(|()| setsockopt(stream, KeepAlive, &true))
        .ok();
}

/// Not done on Windows: the standard library has no setter, and no crate in the tree has one without `unsafe`.
#[cfg(not(unix))]
fn keep_alive(_: &TcpStream) {}

/// Connects to the first address that answers.
fn race(addresses: &[SocketAddr], limit: Option<Duration>) -> io::Result<TcpStream> {
    let connect = |address: &SocketAddr, limit| match limit {
        Some(limit) => TcpStream::connect_timeout(address, limit),
        None => TcpStream::connect(address),
    };
    if let [only] = addresses {
        return connect(only, limit);
    }
    let end = limit.map(|limit| Instant::now() + limit);
    let (sender, results) = channel();
    let mut failure = None;
    let mut pending = 0;
    let mut addresses = addresses.iter();
    loop {
        let next = addresses.next();
        if let Some(address) = next.copied() {
            let sender = sender.clone();
            // If the race is over by then, the connection is dropped and so closed.
            std::thread::Builder::new()
                .name("connect".to_owned())
                .stack_size(128 * 1024)
                .spawn(move || sender.send(connect(&address, limit)).ok())?;
            pending += 1;
        }
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let pause = match (next, left) {
            (Some(_), left) => HEAD_START.min(left.unwrap_or(HEAD_START)),
            (None, left) => left.unwrap_or(Duration::from_secs(3600)),
        };
        match results.recv_timeout(pause) {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                pending -= 1;
                failure = Some(error);
            }
            Err(RecvTimeoutError::Disconnected) => {}
            Err(RecvTimeoutError::Timeout) => {
                if left.is_some_and(|left| left.is_zero()) {
                    return Err(io::ErrorKind::TimedOut.into());
                }
            }
        }
        if pending == 0 && addresses.len() == 0 {
            return Err(failure.unwrap_or_else(|| io::ErrorKind::ConnectionRefused.into()));
        }
    }
}

pub(crate) fn timed_out(error: io::Error) -> ureq::Error {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            ureq::Error::Timeout(ureq::Timeout::Connect)
        }
        _ => ureq::Error::Io(error),
    }
}

/// A TCP connection. ureq's own sends the head and the body of a request in two packets, looks at the connection by four system
/// calls more a request, and has larger buffers (`buffers`).
#[derive(Debug)]
struct Tcp {
    stream: Arc<TcpStream>,
    buffers: GrowingBuffers,
    /// The head of a request waits here for its body: both leave in one packet.
    unsent: Vec<u8>,
    /// Bytes came since the last call of `is_open`.
    was_read: bool,
    read_limit: Option<Duration>,
    write_limit: Option<Duration>,
}

/// Action is sent at once when this much would wait.
const MAX_UNSENT: usize = 8 * 1024;

impl Tcp {
    fn send_unsent(&mut self, timeout: &NextTimeout) -> Result<(), ureq::Error> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let sent = (&*self.stream).write_all(&self.unsent);
        self.unsent.clear();
        sent.map_err(|error| over(error, timeout))
    }
}

impl Transport for Tcp {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        let limit = timeout.not_zero().map(|limit| *limit);
        if limit != self.write_limit {
            self.stream.set_write_timeout(limit)?;
            self.write_limit = limit;
        }
        if self.unsent.len() + amount < MAX_UNSENT {
            let output = self.buffers.output();
            let output = output.get(..amount).unwrap_or(output);
            self.unsent.extend_from_slice(output);
            return Ok(());
        }
        self.send_unsent(&timeout)?;
        let output = self.buffers.output();
        let output = output.get(..amount).unwrap_or(output);
        (&*self.stream)
            .write_all(output)
            .map_err(|error| over(error, &timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.send_unsent(&timeout)?;
        self.buffers.give_back_output();
        let limit = timeout.not_zero().map(|limit| *limit);
        if limit != self.read_limit {
            self.stream.set_read_timeout(limit)?;
            self.read_limit = limit;
        }
        let input = self.buffers.input_append_buf();
        let amount = loop {
            match (&*self.stream).read(input) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(|error| over(error, &timeout))?,
            }
        };
        self.buffers.input_appended(amount);
        self.was_read = amount > 0;
        Ok(amount > 0)
    }

    /// Bytes or an end on an idle connection mean that it cannot be used again. ureq asks after a response and before the next
    /// request; the system calls are made only before a request.
    fn is_open(&mut self) -> bool {
        if std::mem::take(&mut self.was_read) {
            return true;
        }
        is_quiet(&self.stream)
    }
}

/// Whether a connection is open and nothing has come on it; one system call.
#[cfg(unix)]
fn is_quiet(stream: &TcpStream) -> bool {
    use nix::sys::socket::{MsgFlags, recv};
    use std::os::fd::AsRawFd;
    let read = recv(stream.as_raw_fd(), &mut [0], MsgFlags::MSG_DONTWAIT);
    read == Err(nix::errno::Errno::EAGAIN)
}

/// Whether a connection is open and nothing has come on it.
#[cfg(not(unix))]
fn is_quiet(stream: &TcpStream) -> bool {
    let quiet = |mut stream: &TcpStream| -> io::Result<bool> {
        stream.set_nonblocking(true)?;
        let read = stream.read(&mut [0]);
        stream.set_nonblocking(false)?;
        Ok(matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock))
    };
    quiet(stream).unwrap_or(false)
}

fn over(error: io::Error, timeout: &NextTimeout) -> ureq::Error {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => ureq::Error::Timeout(timeout.reason),
        _ => ureq::Error::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead;
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ureq::config::Config;
    use ureq::http::Uri;

    use crate::transport::net::resolver::{NoResolver, Use};

    /// A resolver that knows one address, and counts how often it was asked.
    #[derive(Debug)]
    struct Counting(SocketAddr, Arc<AtomicUsize>);

    impl Resolver for Counting {
        fn resolve(
            &self,
            _: &Uri,
            _: &Config,
            _: NextTimeout,
        ) -> Result<ResolvedSocketAddrs, ureq::Error> {
            self.1.fetch_add(1, Ordering::Relaxed);
            let mut found = self.empty();
            found.push(self.0);
            Ok(found)
        }
    }

    #[test]
    fn a_name_is_resolved_for_a_connection_not_for_each_request_on_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let mut stream = io::BufReader::new(listener.accept().unwrap().0);
            for _ in 0..3 {
                let mut line = String::new();
                while line != "\r\n" {
                    line.clear();
                    stream.read_line(&mut line).unwrap();
                }
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                stream.get_mut().write_all(answer).unwrap();
            }
        });
        let asked = Arc::new(AtomicUsize::new(0));
        let tls = crate::transport::net::tls::built_in(None).unwrap();
        let names = HostResolver::by(Counting(address, Arc::clone(&asked)), Use::Ours);
        let chain = NetConnector::new(tls, names);
        let config = ureq::Agent::config_builder().proxy(None).build();
        let agent = ureq::Agent::with_parts(config, chain, NoResolver);
        for _ in 0..3 {
            let mut answer = agent.get("http://mcp.example/").call().unwrap();
            assert_eq!(answer.body_mut().read_to_string().unwrap(), "ok");
        }
        server.join().unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn an_address_that_refuses_does_not_keep_the_next_one_from_answering() {
        let gone = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        let stream = race(&[gone, there], Some(Duration::from_secs(5))).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), there);
    }

    #[test]
    fn if_no_address_accepts_the_reason_is_returned() {
        let gone = || {
            TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
        };
        let error = race(&[gone(), gone()], Some(Duration::from_secs(5))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
