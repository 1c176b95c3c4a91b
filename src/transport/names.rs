//! Name resolution, as ureq wants it.
//!
//! - `localhost` and its subdomains are this machine, without asking anyone: a static binary in an empty container has no
//!   /etc/hosts (RFC 6761 6.3).
//! - The address families take turns, so that a broken one costs one pause (RFC 8305).
//! - Addresses are checked after resolution (`reach.rs`), so that a name cannot change in between.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::connect::NotConnected;
use super::reach::Zone;

/// Names to addresses.
#[derive(Debug)]
pub(super) struct Names {
    resolver: Box<dyn Resolver>,
    /// Addresses that a server in this zone may not lead us to are left out.
    from: Option<Zone>,
}

/// What ureq asks before each request, one on an open connection included: a look-up and a thread each time. The
/// connector asks [`Names`] when it is time.
#[derive(Debug)]
pub(super) struct AtConnect;

impl Resolver for AtConnect {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

/// All addresses of a name are where the server that named it may not lead us.
#[derive(Debug)]
pub(super) struct OutOfReach;

impl fmt::Display for OutOfReach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the address is out of reach")
    }
}

impl std::error::Error for OutOfReach {}

impl Resolver for Names {
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
                return self.within_reach(self.in_turns(&found));
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
        self.within_reach(addresses)
    }
}

impl Names {
    /// Names as a server in this zone may use them; `None`: all of them.
    pub(super) fn reaching(from: Option<Zone>) -> Names {
        Names {
            resolver: Box::new(DefaultResolver::default()),
            from,
        }
    }

    #[cfg(test)]
    pub(super) fn by(resolver: impl Resolver) -> Names {
        Names {
            resolver: Box::new(resolver),
            from: None,
        }
    }

    fn within_reach(&self, found: ResolvedSocketAddrs) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let Some(from) = self.from else {
            return Ok(found);
        };
        let mut addresses = self.empty();
        found
            .iter()
            .filter(|address| from.may_lead_to(Zone::of(address.ip())))
            .for_each(|address| addresses.push(*address));
        if addresses.is_empty() {
            Err(ureq::Error::Other(Box::new(OutOfReach)))
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
    use super::*;

    #[test]
    fn the_families_take_turns() {
        let found: Vec<SocketAddr> = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"]
            .iter()
            .map(|a| a.parse().unwrap())
            .collect();
        let order: Vec<String> = Names::reaching(None)
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
