//! Which addresses the documents of the network may lead us to.
//!
//! A server can name any address for its metadata and its authorization server, and would have us ask it from inside the
//! person's network. So each address is classed after its name was resolved, and must not be more private than the MCP
//! server itself, which the person has named:
//! - link-local and other special addresses (cloud metadata services!) only if the server is at one;
//! - this machine only if the server is on it;
//! - private networks only if the server is in one or on this machine.
//!
//! Whoever keeps the server's name can add any address to it, and move it between our looks: the server is where the least
//! private address is that its name has had in this process.
//!
//! Spec: RFC 9728 7.7, MCP 2026-07-28 basic/authorization/security-considerations (SSRF); RFC 6890, RFC 6598, RFC 4193, RFC 6052.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// How private an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Zone {
    /// Anybody's.
    Public,
    /// A private network.
    Private,
    /// This machine.
    Loopback,
    /// Link-local, multicast, reserved.
    Special,
}

impl Zone {
    /// The zone of an address.
    pub(crate) fn of(address: IpAddr) -> Zone {
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }

    /// The zone of a name with addresses in these; public if there is none.
    pub(crate) fn least_private(zones: impl Iterator<Item = Zone>) -> Zone {
        let all: Vec<Zone> = zones.collect();
        [Zone::Public, Zone::Private, Zone::Loopback, Zone::Special]
            .into_iter()
            .find(|zone| all.contains(zone))
            .unwrap_or(Zone::Public)
    }

    /// Whether a server in this zone may lead us to an address in the other.
    pub(crate) fn may_lead_to(self, other: Zone) -> bool {
        match other {
            Zone::Public => true,
            Zone::Private => matches!(self, Zone::Private | Zone::Loopback),
            Zone::Loopback => self == Zone::Loopback,
            Zone::Special => self == Zone::Special,
        }
    }
}

/// The least private zone somebody was found in so far.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Option<Zone>>);

impl Seen {
    /// The least private of these and of all before.
    pub(crate) fn with(&self, zones: impl Iterator<Item = Zone>) -> Zone {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let zone = Zone::least_private(zones.chain(*seen));
        *seen = Some(zone);
        zone
    }
}

fn of_v4(address: Ipv4Addr) -> Zone {
    let [a, b, c, _] = address.octets();
    match (a, b) {
        (127, _) => Zone::Loopback,
        (10, _) | (172, 16..=31) | (192, 168) | (100, 64..=127) | (198, 18..=19) => Zone::Private,
        (0, _) | (169, 254) | (224.., _) => Zone::Special,
        (192, 0) if matches!(c, 0 | 2) => Zone::Special,
        _ => Zone::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> Zone {
    if let Some(inner) = address.to_ipv4_mapped() {
        return of_v4(inner);
    }
    let [a, b, c, d, e, f, g, h] = address.segments();
    match a {
        0 if address.is_loopback() => Zone::Loopback,
        // NAT64 leads to the address in its end.
        0x64 if b == 0xff9b && [c, d, e, f] == [0; 4] => {
            let ([a, b], [c, d]) = (g.to_be_bytes(), h.to_be_bytes());
            of_v4(Ipv4Addr::new(a, b, c, d))
        }
        0xfc00..=0xfdff => Zone::Private,
        0 | 0xfe80..=0xffff => Zone::Special,
        _ => Zone::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(text: &str) -> Zone {
        Zone::of(text.parse().unwrap())
    }

    #[test]
    fn addresses_are_classed_also_inside_other_notations() {
        for (text, expected) in [
            ("8.8.8.8", Zone::Public),
            ("2606:4700::1", Zone::Public),
            ("10.1.2.3", Zone::Private),
            ("172.31.0.1", Zone::Private),
            ("172.32.0.1", Zone::Public),
            ("100.64.0.1", Zone::Private),
            ("fd00::1", Zone::Private),
            ("127.8.8.8", Zone::Loopback),
            ("::1", Zone::Loopback),
            ("::ffff:127.0.0.1", Zone::Loopback),
            ("::ffff:10.0.0.1", Zone::Private),
            ("64:ff9b::a9fe:a9fe", Zone::Special),
            ("169.254.169.254", Zone::Special),
            ("0.0.0.0", Zone::Special),
            ("192.0.0.8", Zone::Special),
            ("192.0.78.23", Zone::Public),
            ("::", Zone::Special),
            ("fe80::1", Zone::Special),
            ("ff02::1", Zone::Special),
            ("255.255.255.255", Zone::Special),
        ] {
            assert_eq!(zone(text), expected, "{text}");
        }
    }

    #[test]
    fn a_name_with_a_public_address_is_public_whatever_else_it_has() {
        let of = |zones: &[Zone]| Zone::least_private(zones.iter().copied());
        assert_eq!(of(&[Zone::Loopback, Zone::Public]), Zone::Public);
        assert_eq!(of(&[Zone::Loopback, Zone::Private]), Zone::Private);
        assert_eq!(of(&[Zone::Loopback]), Zone::Loopback);
        assert_eq!(of(&[]), Zone::Public);
    }

    #[test]
    fn nobody_leads_us_to_a_more_private_place_than_their_own() {
        for (from, to) in [
            (Zone::Public, Zone::Private),
            (Zone::Public, Zone::Loopback),
            (Zone::Private, Zone::Loopback),
            (Zone::Loopback, Zone::Special),
        ] {
            assert!(!from.may_lead_to(to), "{from:?} {to:?}");
            assert!(to.may_lead_to(Zone::Public) && to.may_lead_to(to));
        }
        assert!(Zone::Loopback.may_lead_to(Zone::Private));
    }
}
