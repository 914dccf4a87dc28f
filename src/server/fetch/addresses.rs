//! Which addresses belong to hosts on the public internet: none of those that IANA keeps for a
//! special purpose, whether routers would pass them on or not. No photo lies at any of them, and
//! some lead into networks that only this machine can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Refused IPv4 networks: the registry of special-purpose addresses (RFC 6890 and its successors),
/// and multicast.
const SPECIAL_V4: [(Ipv4Addr, u32, &str); 18] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private use"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared address space"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link local"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private use"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "IETF protocol assignments"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation (TEST-NET-1)"),
    (Ipv4Addr::new(192, 31, 196, 0), 24, "AS112-v4"),
    (Ipv4Addr::new(192, 52, 193, 0), 24, "AMT"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "6to4 relay anycast, deprecated"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private use"),
    (Ipv4Addr::new(192, 175, 48, 0), 24, "direct delegation AS112 service"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarking"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation (TEST-NET-2)"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation (TEST-NET-3)"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    // Limited broadcast, 255.255.255.255, is the last of them.
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved"),
];

/// What IPv6 gives out for public use; everything beside it is refused, and with it loopback,
/// unspecified, unique local, link local, multicast, discard-only, dummy and SRv6 addresses, and
/// IPv4-compatible and IPv4-translated ones.
const GLOBAL_UNICAST: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Refused networks within [`GLOBAL_UNICAST`], from the same registry for IPv6.
const SPECIAL_V6: [(Ipv6Addr, u32, &str); 5] = [
    // Teredo, benchmarking, AMT, AS112-v6, ORCHID, drone identifiers and anycast among them.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "IETF protocol assignments"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "documentation"),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4"),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48, "direct delegation AS112 service"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "documentation"),
];

/// Networks whose last 32 bits are the IPv4 address that is meant: mapped by this machine, and
/// translated by a router that speaks for the whole IPv4 internet (NAT64, RFC 6052).
const IPV4_INSIDE: [(Ipv6Addr, u32); 2] = [
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96),
];

/// Whether an address belongs to a host on the public internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let among = |network: Ipv4Addr, length: u32| {
                (v4.to_bits() ^ network.to_bits()).leading_zeros() >= length
            };
            !SPECIAL_V4.iter().any(|(network, length, _)| among(*network, *length))
        }
        IpAddr::V6(v6) => {
            let among = |network: Ipv6Addr, length: u32| {
                (v6.to_bits() ^ network.to_bits()).leading_zeros() >= length
            };
            if IPV4_INSIDE.iter().any(|(network, length)| among(*network, *length)) {
                let [.., a, b, c, d] = v6.octets();
                return is_public(Ipv4Addr::new(a, b, c, d).into());
            }
            let (global, length) = GLOBAL_UNICAST;
            among(global, length)
                && !SPECIAL_V6.iter().any(|(network, length, _)| among(*network, *length))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every row of IANA's registries of special-purpose addresses, IPv4 and IPv6, as of 2025, but
    /// the two that are judged by the address inside.
    const REGISTRY: &str = "
        0.0.0.0/8 0.0.0.0/32 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12
        192.0.0.0/24 192.0.0.0/29 192.0.0.8/32 192.0.0.9/32 192.0.0.10/32 192.0.0.170/32
        192.0.0.171/32 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.88.99.2/32
        192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 240.0.0.0/4
        255.255.255.255/32
        ::1/128 ::/128 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001::/32 2001:1::1/128
        2001:1::2/128 2001:1::3/128 2001:2::/48 2001:3::/32 2001:4:112::/48 2001:10::/28
        2001:20::/28 2001:30::/28 2001:db8::/32 2002::/16 2620:4f:8000::/48 3fff::/20 5f00::/16
        fc00::/7 fe80::/10";

    /// Other kinds of addresses that are no host's: multicast, and forms that were given up.
    const OTHERS: &str = "224.0.0.0/4 ff00::/8 fec0::/10 ::/96 ::ffff:0:0:0/96";

    /// The first and the last address of a network.
    fn ends(network: &str) -> [IpAddr; 2] {
        let (first, length) = network.split_once('/').expect("ADDRESS/LENGTH");
        let length: u32 = length.parse().expect("a number");
        match first.parse().expect(network) {
            IpAddr::V4(v4) => {
                let host = u32::MAX.checked_shr(length).unwrap_or(0);
                [v4.into(), Ipv4Addr::from_bits(v4.to_bits() | host).into()]
            }
            IpAddr::V6(v6) => {
                let host = u128::MAX.checked_shr(length).unwrap_or(0);
                [v6.into(), Ipv6Addr::from_bits(v6.to_bits() | host).into()]
            }
        }
    }

    #[test]
    fn no_special_purpose_address_is_public_in_any_form() {
        for network in REGISTRY.split_whitespace().chain(OTHERS.split_whitespace()) {
            for address in ends(network) {
                assert!(!is_public(address), "{network}: {address}");
                let IpAddr::V4(v4) = address else { continue };
                let inside = u128::from(v4.to_bits());
                for (form, _) in IPV4_INSIDE {
                    let address = Ipv6Addr::from_bits(form.to_bits() | inside);
                    assert!(!is_public(address.into()), "{network}: {address}");
                }
                // 6to4 carries it in the front, and is refused whatever it carries.
                let address = Ipv6Addr::from_bits(0x2002_u128 << 112 | inside << 80);
                assert!(!is_public(address.into()), "{network}: {address}");
            }
        }
    }

    #[test]
    fn the_neighbours_of_refused_networks_are_public() {
        for public in [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.3.0",
            "192.31.195.255",
            "192.31.197.0",
            "192.52.192.255",
            "192.52.194.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "192.175.47.255",
            "192.175.49.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "2000::",
            "2001:200::",
            "2001:db7:ffff::1",
            "2001:db9::",
            "2003::",
            "2606:4700::1",
            "2620:4f:7fff:ffff::",
            "2620:4f:8001::",
            "3ffe:ffff::",
            "3fff:1000::",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(is_public(public.parse().expect(public)), "{public}");
        }
        assert!(!is_public("1fff:ffff::".parse().expect("v6")));
        assert!(!is_public("4000::".parse().expect("v6")));
    }
}
