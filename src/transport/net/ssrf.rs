//! SSRF guard: which addresses server-supplied URLs may resolve to.
//!
//! A server can name any address for its metadata and its authorization server, also one in the user's own network. So each
//! address is classified after name resolution, and must not be more private than the MCP server itself:
//! - link-local and other special addresses (cloud metadata services!) only if the server is at one;
//! - this machine only if the server is on it;
//! - private networks only if the server is in one or on this machine.
//!
//! An IPv6 address that leads to an IPv4 address is judged by that one.
//!
//! The owner of the server's name can change its addresses at any time. So the server counts as being in the least private
//! network that its name had in this process.
//!
//! Spec: RFC 9728 7.7, MCP 2026-07-28 basic/authorization/security-considerations (SSRF); RFC 6890, RFC 6598, RFC 4193; addresses inside others:
//! RFC 4291 2.5.5, RFC 2765 2.1, RFC 6052 2.2, RFC 8215, RFC 3056, RFC 4380 4, RFC 5214 6.1.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// The kind of network of an address, least private first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
        networks.min().unwrap_or(Network::Public)
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
    let own = match address.segments() {
        _ if address.is_loopback() => return Network::Loopback,
        // IPv4-compatible, IPv4-mapped, IPv4-translated and NAT64: only the address inside counts.
        [0, 0, 0, 0, 0, 0, ..]
        | [0, 0, 0, 0, 0, 0xffff, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, ..] => Network::Public,
        [0xfc00..=0xfdff, ..] => Network::Private,
        [0 | 0xfe80..=0xffff, ..] => Network::Special,
        _ => Network::Public,
    };
    inner_v4(address).into_iter().map(of_v4).fold(own, Ord::max)
}

/// The IPv4 addresses that this address may lead to; empty for one of IPv6 only.
fn inner_v4(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let bytes = address.octets();
    let at = |places: [usize; 4]| {
        Ipv4Addr::from(places.map(|place| bytes.get(place).copied().unwrap_or_default()))
    };
    let last = at([12, 13, 14, 15]);
    match address.segments() {
        // The last two groups of `::` itself are zero, which is a special address.
        [0, 0, 0, 0, 0, 0 | 0xffff, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0 | 1, 0, 0, 0, ..] => vec![last],
        // NAT64 of a local network: the length of its prefix is not known, so each place counts that is not empty.
        [0x64, 0xff9b, ..] => {
            let places = [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12]];
            let mut inner: Vec<_> = places.map(at).into_iter().chain([last]).collect();
            inner.retain(|address| address.octets().first() != Some(&0));
            if inner.is_empty() { vec![last] } else { inner }
        }
        // 6to4.
        [0x2002, ..] => vec![at([2, 3, 4, 5])],
        // Teredo: the server, and the client with its bits inverted.
        [0x2001, 0, ..] => vec![at([4, 5, 6, 7]), Ipv4Addr::from(!u32::from(last))],
        // ISATAP.
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => vec![last],
        _ => Vec::new(),
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
            ("::ffff:0:10.0.0.1", Network::Private),
            ("::127.0.0.1", Network::Loopback),
            ("::a9fe:a9fe", Network::Special),
            ("64:ff9b::808:808", Network::Public),
            ("64:ff9b:1::a9fe:a9fe", Network::Special),
            ("64:ff9b:1:a9fe:a9:fe00::", Network::Special),
            ("64:ff9b:1:c0:a8:0001::", Network::Private),
            ("64:ff9b:1:1:a:0:100::", Network::Private),
            ("64:ff9b:1:2::a00:1", Network::Private),
            ("64:ff9b:1::808:808", Network::Public),
            ("64:ff9b:1:808:8:800::", Network::Public),
            ("2002:a9fe:a9fe::1", Network::Special),
            ("2002:a00:1::1", Network::Private),
            ("2002:808:808::1", Network::Public),
            ("2001:0:7f00:1::f7f7:f7f7", Network::Loopback),
            ("2001:0:808:808::f5ff:fffe", Network::Private),
            ("2001:0:808:808::f7f7:f7f7", Network::Public),
            ("2606:4700::5efe:10.0.0.1", Network::Private),
            ("2606:4700::200:5efe:8.8.8.8", Network::Public),
            ("169.254.169.254", Network::Special),
            ("0.0.0.0", Network::Special),
            ("192.0.0.8", Network::Special),
            ("192.0.78.23", Network::Public),
            ("::", Network::Special),
            ("fe80::1", Network::Special),
            ("fe80::5efe:8.8.8.8", Network::Special),
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
