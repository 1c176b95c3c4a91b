//! Resolves host names for ureq.
//!
//! - `localhost` and its subdomains are this machine, without asking anyone: a static binary in an empty container has no
//!   /etc/hosts (RFC 6761 6.3).
//! - The address families take turns, so that a broken one costs one pause (RFC 8305).
//! - The SSRF guard (`ssrf`) checks addresses after resolution, so that a name cannot change in between.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::transport::net::connector::NotConnected;
use crate::transport::net::ssrf::{LeastPrivate, Network};

/// HostResolver to addresses.
#[derive(Debug)]
pub(crate) struct HostResolver {
    resolver: Box<dyn Resolver>,
    use_of: Use,
}

/// What the addresses are used for.
#[derive(Debug)]
pub(crate) enum Use {
    /// Requests to an address that the user configured.
    Ours,
    /// Requests to the MCP server: its network is remembered.
    Server(Arc<LeastPrivate>),
    /// Requests to an address that a document named: addresses are left out if a server in this network may not refer to them.
    FromServer(Network),
}

/// Resolves nothing. ureq resolves the name before each request, even on an open connection, with a look-up and a thread each
/// time; the connector calls [`HostResolver`] only when it connects.
#[derive(Debug)]
pub(crate) struct NoResolver;

impl Resolver for NoResolver {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

/// The SSRF guard refuses all addresses of a name.
#[derive(Debug)]
pub(crate) struct Blocked;

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the address is on a network that is not allowed")
    }
}

impl std::error::Error for Blocked {}

impl Resolver for HostResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let port = uri.port_u16().or(match uri.scheme_str() {
            Some("https") => Some(443),
            Some("http") => Some(80),
            _ => None,
        });
        let host = uri
            .host()
            .unwrap_or_default()
            .trim_start_matches('[')
            .trim_end_matches(']');
        let known = match (host.parse::<IpAddr>(), port) {
            (Ok(address), Some(port)) => vec![SocketAddr::new(address, port)],
            (Err(_), Some(port)) if is_localhost(host) => {
                vec![
                    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
                    SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port),
                ]
            }
            _ => {
                let found = self.resolver.resolve(uri, config, timeout);
                let found = found.map_err(unresolved)?;
                return self.judged(self.in_turns(&found));
            }
        };
        let mut addresses = self.empty();
        config
            .ip_family()
            .keep_wanted(known.into_iter())
            .for_each(|address| addresses.push(address));
        if addresses.is_empty() {
            return Err(unresolved(ureq::Error::HostNotFound));
        }
        self.judged(addresses)
    }
}

impl HostResolver {
    /// HostResolver for this use.
    pub(crate) fn new(use_of: Use) -> HostResolver {
        HostResolver {
            resolver: Box::new(DefaultResolver::default()),
            use_of,
        }
    }

    #[cfg(test)]
    pub(crate) fn by(resolver: impl Resolver, use_of: Use) -> HostResolver {
        HostResolver {
            resolver: Box::new(resolver),
            use_of,
        }
    }

    fn judged(&self, found: ResolvedSocketAddrs) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let from = match &self.use_of {
            Use::Ours => return Ok(found),
            Use::Server(seen) => {
                seen.with(found.iter().map(|address| Network::of(address.ip())));
                return Ok(found);
            }
            Use::FromServer(network) => network,
        };
        let mut addresses = self.empty();
        found
            .iter()
            .filter(|address| from.may_refer_to(Network::of(address.ip())))
            .for_each(|address| addresses.push(*address));
        if addresses.is_empty() {
            Err(ureq::Error::Other(Box::new(Blocked)))
        } else {
            Ok(addresses)
        }
    }

    /// The families take turns, so that a broken one costs one pause, not one for each of its addresses.
    fn in_turns(&self, found: &[SocketAddr]) -> ResolvedSocketAddrs {
        let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for address in found {
            if address.is_ipv6() == first_is_v6 {
                first.push(*address)
            } else {
                second.push(*address)
            }
        }
        let mut addresses = self.empty();
        let (mut first, mut second) = (first.into_iter(), second.into_iter());
        loop {
            match (first.next(), second.next()) {
                (None, None) => return addresses,
                (a, b) => a
                    .into_iter()
                    .chain(b)
                    .for_each(|address| addresses.push(address)),
            }
        }
    }
}

fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost")
}

fn unresolved(error: ureq::Error) -> ureq::Error {
    ureq::Error::Other(Box::new(NotConnected::Name(error)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Mutex;

    use super::*;
    use crate::transport::http::error;
    use crate::transport::net::connector::NetConnector;

    /// A name that has another address each time it is asked for.
    #[derive(Debug)]
    struct Moving(Mutex<Vec<SocketAddr>>);

    impl Resolver for Moving {
        fn resolve(
            &self,
            _: &Uri,
            _: &Config,
            _: NextTimeout,
        ) -> Result<ResolvedSocketAddrs, ureq::Error> {
            let mut addresses = self.empty();
            addresses.push(self.0.lock().unwrap().remove(0));
            Ok(addresses)
        }
    }

    /// What `http://moving.test/` answers, whose name has these addresses one after the other.
    fn ask(use_of: Use, addresses: &[SocketAddr]) -> Result<(), ureq::Error> {
        let names = HostResolver::by(Moving(Mutex::new(addresses.to_vec())), use_of);
        let chain = NetConnector::new(crate::transport::net::tls::built_in(None).unwrap(), names);
        let agent = ureq::Agent::with_parts(Config::default(), chain, NoResolver);
        agent.get("http://moving.test/").call().map(drop)
    }

    #[test]
    fn the_address_that_was_checked_is_the_one_that_is_used() {
        let inside = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = inside.local_addr().unwrap();
        let public = SocketAddr::from(([8, 8, 8, 8], 80));
        // Had anybody asked again after the check, it would have been for the second one.
        let refused = ask(Use::FromServer(Network::Public), &[address, public]).unwrap_err();
        assert!(error::is_blocked(&refused), "{refused}");
        inside.set_nonblocking(true).unwrap();
        assert!(inside.accept().is_err(), "it was called");
        inside.set_nonblocking(false).unwrap();
        let answering = std::thread::spawn(move || {
            let mut stream = inside.accept().unwrap().0;
            stream.read_exact(&mut [0; 4]).unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .unwrap();
            stream.read_to_end(&mut Vec::new()).ok();
        });
        ask(Use::FromServer(Network::Loopback), &[address, public]).unwrap();
        answering.join().unwrap();
    }

    #[test]
    fn where_the_server_was_found_counts_although_its_name_has_moved_since() {
        let bound = TcpListener::bind("127.0.0.1:0").unwrap();
        let gone = bound.local_addr().unwrap();
        drop(bound);
        let seen = Arc::new(LeastPrivate::default());
        // Nobody is there; the address was used nevertheless.
        assert!(ask(Use::Server(Arc::clone(&seen)), &[gone]).is_err());
        assert_eq!(seen.with([Network::Special].into_iter()), Network::Loopback);
        assert_eq!(seen.with([Network::Public].into_iter()), Network::Public);
        assert_eq!(seen.with([Network::Private].into_iter()), Network::Public);
    }

    #[test]
    fn the_families_take_turns() {
        let found: Vec<SocketAddr> = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"]
            .iter()
            .map(|a| a.parse().unwrap())
            .collect();
        let order: Vec<String> = HostResolver::new(Use::Ours)
            .in_turns(&found)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            order,
            ["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"]
        );
    }
}
