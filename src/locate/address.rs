//! Which address a lookup is about: IPv4 out of its IPv6 wrappings, and addresses that have no
//! place. Pure.
//!
//! Never asks a database. Invariant: an address that is inside a wrapping is judged as itself, so
//! that a wrapped private address is private and a wrapped public one has its own place, not the
//! relay's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address behind IPv4-mapped, 6to4 (RFC 3056), NAT64 (RFC 6052) and Teredo (RFC 4380) forms.
pub(super) fn inner(client: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = client.to_canonical() else { return client.to_canonical() };
    let bits = v6.to_bits();
    let bits = match v6.segments() {
        [0x2002, ..] => (bits >> 80) as u32,
        [0x0064, 0xff9b, 0, 0, 0, 0, ..] => bits as u32,
        // Teredo writes the client's address with every bit turned over.
        [0x2001, 0, ..] => !(bits as u32),
        _ => return IpAddr::V6(v6),
    };
    IpAddr::V4(Ipv4Addr::from_bits(bits))
}

/// Whether an unwrapped address is of no country: private, shared, loopback, link-local or
/// nobody's. Documentation and benchmark ranges are ordinary here: no traffic comes from them, and
/// tests need them.
pub(super) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_private_v4(v4),
        IpAddr::V6(v6) => is_private_v6(v6),
    }
}

fn is_private_v4(v4: Ipv4Addr) -> bool {
    let [first, second, ..] = v4.octets();
    first == 0
        || v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_broadcast()
        || (first == 100 && second & 0xc0 == 64)
}

fn is_private_v6(v6: Ipv6Addr) -> bool {
    // MaxMind files keep IPv4 below ::/96, so `::203.0.113.7` would otherwise borrow an IPv4
    // address's place.
    v6.to_bits() >> 32 == 0
        || v6.is_unique_local()
        || v6.is_unicast_link_local()
        || v6.is_multicast()
        || matches!(v6.segments(), [0x0064, 0xff9b, 1, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_inner(written: &str, meant: &str) {
        let (written, meant): (IpAddr, IpAddr) = (written.parse().unwrap(), meant.parse().unwrap());
        assert_eq!(inner(written), meant, "{written}");
    }

    #[test]
    fn wrapped_ipv4_is_ipv4() {
        check_inner("::ffff:203.0.113.7", "203.0.113.7");
        check_inner("2002:cb00:7107::1", "203.0.113.7");
        check_inner("64:ff9b::203.0.113.7", "203.0.113.7");
        check_inner("2001:0:4136:e378:8000:63bf:34ff:8ef8", "203.0.113.7");
        check_inner("203.0.113.7", "203.0.113.7");
    }

    #[test]
    fn other_ipv6_stays_as_it_is() {
        check_inner("2001:db8:1::1", "2001:db8:1::1");
        check_inner("64:ff9b:1::203.0.113.7", "64:ff9b:1::203.0.113.7");
    }

    #[test]
    fn addresses_of_no_country_are_private() {
        let private = [
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "0.0.0.0",
            "224.0.0.1",
            "::1",
            "::",
            "::203.0.113.7",
            "fd00::1",
            "fe80::1",
            "ff02::1",
            "2002:0a00:0001::1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
        ];
        for text in private {
            assert!(is_private(inner(text.parse().unwrap())), "{text}");
        }
    }

    #[test]
    fn public_and_documentation_addresses_are_not_private() {
        let public = [
            "8.8.8.8",
            "203.0.113.7",
            "198.51.100.1",
            "192.0.2.1",
            "198.18.0.1",
            "100.63.255.255",
            "100.128.0.0",
            "2001:db8::1",
            "2a00:1450::1",
        ];
        for text in public {
            assert!(!is_private(inner(text.parse().unwrap())), "{text}");
        }
    }
}
