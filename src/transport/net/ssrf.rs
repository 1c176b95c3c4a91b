//! SSRF guard: which addresses server-supplied URLs may resolve to.
//!
//! A server can name any address for its metadata and its authorization server, also one in the user's own network. So each
//! address is classified after name resolution, and must not be more private than the MCP server itself:
//! - link-local and other special addresses (cloud metadata services!) only if the server is at one;
//! - this machine only if the server is on it;
//! - private networks only if the server is in one or on this machine.
//!
//! The owner of the server's name can change its addresses at any time. So the server counts as being in the least private
//! network that its name had in this process.
//!
//! Spec: RFC 9728 7.7, MCP 2026-07-28 basic/authorization/security-considerations (SSRF); RFC 6890, RFC 6598, RFC 4193, RFC 6052.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// The kind of network of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Network {
    /// The Internet.
    Public,
    /// A private network.
    Private,
    /// This machine.
    Loopback,
    /// Link-local, multicast, reserved.
    Special,
}

impl Network {
    /// The network of an address.
    pub(crate) fn of(address: IpAddr) -> Network {
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }

    /// The network of a name with addresses in these; public if there is none.
    pub(crate) fn least_private(networks: impl Iterator<Item = Network>) -> Network {
        let all: Vec<Network> = networks.collect();
        [
            Network::Public,
            Network::Private,
            Network::Loopback,
            Network::Special,
        ]
        .into_iter()
        .find(|network| all.contains(network))
        .unwrap_or(Network::Public)
    }

    /// Whether a server in this network may refer to an address in the other.
    pub(crate) fn may_refer_to(self, other: Network) -> bool {
        match other {
            Network::Public => true,
            Network::Private => matches!(self, Network::Private | Network::Loopback),
            Network::Loopback => self == Network::Loopback,
            Network::Special => self == Network::Special,
        }
    }
}

/// The least private network somebody was found in so far.
#[derive(Debug, Default)]
pub(crate) struct LeastPrivate(Mutex<Option<Network>>);

impl LeastPrivate {
    /// The least private of these and of all before.
    pub(crate) fn with(&self, networks: impl Iterator<Item = Network>) -> Network {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let network = Network::least_private(networks.chain(*seen));
        *seen = Some(network);
        network
    }
}

fn of_v4(address: Ipv4Addr) -> Network {
    let [a, b, c, _] = address.octets();
    match (a, b) {
        (127, _) => Network::Loopback,
        (10, _) | (172, 16..=31) | (192, 168) | (100, 64..=127) | (198, 18..=19) => {
            Network::Private
        }
        (0, _) | (169, 254) | (224.., _) => Network::Special,
        (192, 0) if matches!(c, 0 | 2) => Network::Special,
        _ => Network::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> Network {
    if let Some(inner) = address.to_ipv4_mapped() {
        return of_v4(inner);
    }
    let [a, b, c, d, e, f, g, h] = address.segments();
    match a {
        0 if address.is_loopback() => Network::Loopback,
        // NAT64 leads to the address in its end.
        0x64 if b == 0xff9b && [c, d, e, f] == [0; 4] => {
            let ([a, b], [c, d]) = (g.to_be_bytes(), h.to_be_bytes());
            of_v4(Ipv4Addr::new(a, b, c, d))
        }
        0xfc00..=0xfdff => Network::Private,
        0 | 0xfe80..=0xffff => Network::Special,
        _ => Network::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        Network::of(text.parse().unwrap())
    }

    #[test]
    fn addresses_are_classed_also_inside_other_notations() {
        for (text, expected) in [
            ("8.8.8.8", Network::Public),
            ("2606:4700::1", Network::Public),
            ("10.1.2.3", Network::Private),
            ("172.31.0.1", Network::Private),
            ("172.32.0.1", Network::Public),
            ("100.64.0.1", Network::Private),
            ("fd00::1", Network::Private),
            ("127.8.8.8", Network::Loopback),
            ("::1", Network::Loopback),
            ("::ffff:127.0.0.1", Network::Loopback),
            ("::ffff:10.0.0.1", Network::Private),
            ("64:ff9b::a9fe:a9fe", Network::Special),
            ("169.254.169.254", Network::Special),
            ("0.0.0.0", Network::Special),
            ("192.0.0.8", Network::Special),
            ("192.0.78.23", Network::Public),
            ("::", Network::Special),
            ("fe80::1", Network::Special),
            ("ff02::1", Network::Special),
            ("255.255.255.255", Network::Special),
        ] {
            assert_eq!(network(text), expected, "{text}");
        }
    }

    #[test]
    fn a_name_with_a_public_address_is_public_whatever_else_it_has() {
        let of = |networks: &[Network]| Network::least_private(networks.iter().copied());
        assert_eq!(of(&[Network::Loopback, Network::Public]), Network::Public);
        assert_eq!(of(&[Network::Loopback, Network::Private]), Network::Private);
        assert_eq!(of(&[Network::Loopback]), Network::Loopback);
        assert_eq!(of(&[]), Network::Public);
    }

    #[test]
    fn no_server_may_refer_to_a_more_private_network_than_its_own() {
        for (from, to) in [
            (Network::Public, Network::Private),
            (Network::Public, Network::Loopback),
            (Network::Private, Network::Loopback),
            (Network::Loopback, Network::Special),
        ] {
            assert!(!from.may_refer_to(to), "{from:?} {to:?}");
            assert!(to.may_refer_to(Network::Public) && to.may_refer_to(to));
        }
        assert!(Network::Loopback.may_refer_to(Network::Private));
    }
}
