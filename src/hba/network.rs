//! Addresses and masks, as bits.
use super::name::HbaName;
use std::net::IpAddr;

/// The bits of an address; those of an IPv4 address are the lowest 32.
pub(super) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// Whether an address is in a network. One family never matches the other, nor do mapped addresses.
pub(super) fn is_within(client: IpAddr, network: IpAddr, mask: IpAddr) -> bool {
    client.is_ipv4() == network.is_ipv4() && (bits(client) ^ bits(network)) & bits(mask) == 0
}

/// How many leading bits count; none for a mask with gaps.
pub(super) fn prefix_length(mask: IpAddr) -> Option<u32> {
    let bits = match mask {
        IpAddr::V4(_) => bits(mask) << 96,
        IpAddr::V6(_) => bits(mask),
    };
    (bits.leading_ones() == bits.count_ones()).then(|| bits.leading_ones())
}

/// The mask of so many leading bits, for an address of that family.
pub(super) fn mask(family: IpAddr, length: u8) -> IpAddr {
    match family {
        IpAddr::V4(_) => IpAddr::V4(u32::MAX.checked_shl(32 - u32::from(length.min(32))).unwrap_or(0).into()),
        IpAddr::V6(_) => IpAddr::V6(u128::MAX.checked_shl(128 - u32::from(length.min(128))).unwrap_or(0).into()),
    }
}

/// Whether all addresses of a network are the server's own: those of the loopback interface.
pub(super) fn is_loopback(network: IpAddr, mask: IpAddr) -> bool {
    match network {
        IpAddr::V4(address) => address.is_loopback() && bits(mask) >> 24 == 0xFF,
        IpAddr::V6(address) => address.is_loopback() && bits(mask) == u128::MAX,
    }
}

/// Whether the name of a client's address is the one in a rule, or ends with it where that begins with a dot.
pub(super) fn is_named(name: &HbaName, rule: &HbaName) -> bool {
    let (name, rule) = (name.as_bytes(), rule.as_bytes());
    match rule {
        [b'.', ..] => {
            let end = name.len().checked_sub(rule.len()).and_then(|start| name.get(start..));
            end.is_some_and(|end| end.eq_ignore_ascii_case(rule))
        }
        _ => name.eq_ignore_ascii_case(rule),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_match_by_the_bits_of_their_masks() {
        assert!(is_within(ip("10.0.7.1"), ip("10.9.7.0"), ip("255.0.255.0")));
        assert!(!is_within(ip("10.0.8.1"), ip("10.9.7.0"), ip("255.0.255.0")));
        assert!(!is_within(ip("::ffff:10.0.0.1"), ip("0.0.0.0"), ip("0.0.0.0")));
        assert!(is_within(ip("2001:db8::1"), ip("::"), ip("::")));
    }

    #[test]
    fn masks_and_lengths_are_the_same_thing() {
        for (family, lengths) in [("0.0.0.0", 0..=32), ("::", 0..=128)] {
            for length in lengths {
                assert_eq!(prefix_length(mask(ip(family), length)), Some(length.into()));
            }
        }
        assert_eq!(prefix_length(ip("255.0.255.0")), None);
        assert_eq!(mask(ip("0.0.0.0"), 24), ip("255.255.255.0"));
    }

    #[test]
    fn loopback_is_a_network_as_a_whole() {
        assert!(is_loopback(ip("127.0.0.1"), ip("255.255.255.255")) && is_loopback(ip("127.0.0.0"), ip("255.0.0.0")));
        assert!(!is_loopback(ip("127.0.0.1"), ip("254.0.0.0")) && !is_loopback(ip("::1"), mask(ip("::"), 127)));
        assert!(is_loopback(ip("::1"), mask(ip("::"), 128)) && !is_loopback(ip("10.0.0.1"), mask(ip("10.0.0.1"), 32)));
    }

    #[test]
    fn names_of_hosts_are_compared_whole_or_by_their_end() {
        for (name, rule, same) in [
            ("app1.example.com", "APP1.example.com", true),
            ("app1.example.com", ".example.com", true),
            ("example.com", ".example.com", false),
            ("app1.example.com", "example.com", false),
            ("app1.example.com", "app1.example.com.", false),
        ] {
            assert_eq!(is_named(&name.into(), &rule.into()), same, "{name} {rule}");
        }
    }
}
