//! Addresses and masks, as PostgreSQL on Linux reads and writes them.
use super::dialect::Dialect;
use super::fault::Trouble;
use super::parse;
use super::rule::HbaAddress;
use super::token::{Piece, pieces};
use crate::error::{Error, Result};
use crate::version::ServerVersion;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Reads an address as it stands in pg_hba.conf
/// ([format](https://www.postgresql.org/docs/current/auth-pg-hba-conf.html)): a keyword, an address with its bits or with
/// its mask behind a blank, the name of a host or, behind a dot, the end of such names. In quotes it is a name.
///
/// ```
/// use pgsteward::hba::HbaAddress;
/// let network: HbaAddress = "10.0.0.0/8".parse()?;
/// assert_eq!(network, "10.0.0.0 255.0.0.0".parse()?);
/// assert_eq!("samenet".parse::<HbaAddress>()?, HbaAddress::SameNet);
/// assert_eq!(".example.com".parse::<HbaAddress>()?, HbaAddress::Domain(".example.com".into()));
/// let error = "10.0.0.0/33".parse::<HbaAddress>().unwrap_err();
/// assert!(error.to_string().starts_with("cannot read the address, line 1, column 1: \"10.0.0.0/33\" has no valid"));
/// # Ok::<(), pgsteward::Error>(())
/// ```
///
/// # Errors
/// [`Error::Hba`] for what is no address, or not just one.
impl FromStr for HbaAddress {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let reading = Dialect::new(ServerVersion::newest()).reading();
        let address = match pieces(text.as_bytes(), reading).collect::<Vec<_>>().as_slice() {
            [Piece { record: Some(record), .. }] if !text.contains('\0') => parse::address(record),
            _ => Err(Trouble::new(1, "one address was expected, in one line".into())),
        };
        address.map_err(|trouble| trouble.at("the address", 1).into())
    }
}

/// An address in numbers, also in the old forms of IPv4: `127.1`, `0x7f.0.0.1`, `2130706433`, and with octal numbers,
/// `010.0.0.1` being 8.0.0.1. The zone of an IPv6 address does not count for rules and is dropped.
pub(super) fn numeric(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    if let Some(address) = short_form(text) {
        return Some(IpAddr::V4(address));
    }
    let Some((address, zone)) = text.split_once('%') else {
        return text.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    };
    let address: Ipv6Addr = address.parse().ok()?;
    let by_number = zone.parse::<u32>().is_ok() && !zone.starts_with('+');
    // A zone by name is one of the server's interfaces, which only link-local addresses can have.
    let by_name = address.is_unicast_link_local() && !zone.is_empty();
    (by_number || by_name).then_some(IpAddr::V6(address))
}

/// Up to four numbers, of which the last takes all bytes that are left.
fn short_form(text: &str) -> Option<Ipv4Addr> {
    let numbers = text.split('.').map(number).collect::<Option<Vec<_>>>()?;
    let (last, bytes) = numbers.split_last()?;
    let left = 4_usize.checked_sub(bytes.len()).filter(|left| *left > 0)?;
    if u64::from(*last) >= 1 << (8 * left) {
        return None;
    }
    let mut address = *last;
    for (place, byte) in bytes.iter().enumerate() {
        address |= u32::from(u8::try_from(*byte).ok()?) << (24 - 8 * place);
    }
    Some(address.into())
}

/// A number as in C: `0x` before hexadecimal, `0` before octal.
fn number(text: &str) -> Option<u32> {
    let digits = |digits: &str, radix| {
        // The parser would take a sign.
        digits.starts_with(|c: char| c.is_digit(radix)).then(|| u32::from_str_radix(digits, radix).ok())?
    };
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(rest) => digits(rest, 16),
        None if text.len() > 1 && text.starts_with('0') => digits(text, 8),
        None => digits(text, 10),
    }
}

/// The mask of so many bits for an address of that family; the number as C reads it, with blanks and a sign before.
pub(super) fn mask_of_bits(text: &[u8], address: &IpAddr) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let bits: u32 = digits.parse().ok()?;
    (bits == 0 || !text.starts_with('-')).then(|| mask(bits, address))?
}

fn mask(bits: u32, address: &IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(_) => {
            let rest = 32_u32.checked_sub(bits)?;
            Some(Ipv4Addr::from(u32::MAX.checked_shl(rest).unwrap_or(0)).into())
        }
        IpAddr::V6(_) => {
            let rest = 128_u32.checked_sub(bits)?;
            Some(Ipv6Addr::from(u128::MAX.checked_shl(rest).unwrap_or(0)).into())
        }
    }
}

/// How many bits a mask has, if they are the first ones.
pub(super) fn bits(mask_: &IpAddr) -> Option<u32> {
    let bits = match mask_ {
        IpAddr::V4(four) => u32::from(*four).leading_ones(),
        IpAddr::V6(six) => u128::from(*six).leading_ones(),
    };
    (mask(bits, mask_).as_ref() == Some(mask_)).then_some(bits)
}

/// An address and its mask in the shortest form that says both: `10.0.0.0/8`, or two words.
pub(super) struct Written<'a>(pub(super) &'a IpAddr, pub(super) &'a IpAddr);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match bits(self.1) {
            Some(bits) => write!(f, "{}/{bits}", self.0),
            None => write!(f, "{} {}", self.0, self.1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_from_text_as_from_the_file() {
        let network = |address: &str, mask: &str| HbaAddress::Network {
            address: address.parse().unwrap(),
            mask: mask.parse().unwrap(),
        };
        for (text, expected) in [
            ("all", HbaAddress::All),
            (" samehost\n", HbaAddress::SameHost),
            ("samenet", HbaAddress::SameNet),
            ("10.0.0.0/8", network("10.0.0.0", "255.0.0.0")),
            ("10.0.0.0\t255.0.255.0", network("10.0.0.0", "255.0.255.0")),
            ("::1/128", network("::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
            ("app1.example.com", HbaAddress::Host("app1.example.com".into())),
            (".example.com", HbaAddress::Domain(".example.com".into())),
            ("\"all\"", HbaAddress::Host("all".into())),
            ("\"@all\"", HbaAddress::Host("@all".into())),
            ("ALL", HbaAddress::Host("ALL".into())),
        ] {
            assert_eq!(text.parse::<HbaAddress>().unwrap(), expected, "{text:?}");
            let rule = crate::hba::HbaRule::parse(&format!("host all all {text} trust").replace('\n', " ")).unwrap();
            assert_eq!(rule.address, Some(expected), "{text:?}");
        }
        for (text, problem) in [
            ("", "line 1, column 1: one address was expected, in one line"),
            ("# all", "one address was expected"),
            ("all\nall", "one address was expected"),
            ("all\0", "one address was expected"),
            ("10.0.0.0", "column 9: the line ends where the mask of \"10.0.0.0\", which has no /bits, was expected"),
            ("10.0.0.0 ::", "column 10: the mask \"::\" is of another family"),
            ("all trust", "column 5: the end was expected behind an address, but \"trust\" is there"),
            ("a,b", "column 3: one word was expected here"),
            ("host/8", "is no IP address, and a host name has no mask"),
            ("@addresses", "column 1: an address was expected, but \"@addresses\" is a file"),
        ] {
            let error = text.parse::<HbaAddress>().unwrap_err().to_string();
            assert!(
                error.starts_with("cannot read the address, line 1") && error.contains(problem),
                "{text:?}: {error}"
            );
        }
    }

    #[test]
    fn a_file_of_addresses_in_a_rule_as_text_is_no_name_of_a_host() {
        let error = crate::hba::HbaRule::parse("host all all @offices md5").unwrap_err().to_string();
        assert!(error.contains("column 14: an address was expected, but \"@offices\" is a file"), "{error}");
    }

    #[test]
    fn addresses_have_all_the_forms_that_c_reads() {
        for (text, expected) in [
            ("10.1.2.3", "10.1.2.3"),
            ("127.1", "127.0.0.1"),
            ("1.65535", "1.0.255.255"),
            ("1.2.65535", "1.2.255.255"),
            ("2130706433", "127.0.0.1"),
            ("0x7f.0.0.1", "127.0.0.1"),
            ("0X7F000001", "127.0.0.1"),
            ("010.0.0.1", "8.0.0.1"),
            ("00.0", "0.0.0.0"),
            ("4294967295", "255.255.255.255"),
            ("::1", "::1"),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.1"),
            ("::1%7", "::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
        ] {
            assert_eq!(numeric(text.as_bytes()), Some(expected.parse().unwrap()), "{text}");
        }
        for text in [
            "",
            ".",
            "1.",
            "1..2",
            "256.1.1.1",
            "1.2.3.256",
            "1.2.3.4.5",
            "4294967296",
            "1.16777216",
            "08.1",
            "0x",
            "0b1",
            "+1",
            "-1",
            " 1",
            "1 ",
            "a",
            "[::1]",
            "1::2::3",
            "12345::",
            "::1.2.3",
            "::1%lo",
            "::1%",
            "10.0.0.1%1",
            "::ffff:010.0.0.1",
            "0x+1",
            "0_1",
        ] {
            assert_eq!(numeric(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn masks_are_bits_or_addresses() {
        let (four, six) = ("1.2.3.4".parse().unwrap(), "::1".parse().unwrap());
        for (text, expected) in [
            ("8", "255.0.0.0"),
            ("0", "0.0.0.0"),
            ("32", "255.255.255.255"),
            ("+08", "255.0.0.0"),
            (" \t31", "255.255.255.254"),
            ("-0", "0.0.0.0"),
        ] {
            let mask = mask_of_bits(text.as_bytes(), &four).unwrap();
            assert_eq!(mask, expected.parse::<IpAddr>().unwrap(), "{text}");
            assert_eq!(mask_of_bits(bits(&mask).unwrap().to_string().as_bytes(), &four), Some(mask));
        }
        for text in ["", " ", "-1", "33", "8 ", "0x8", "+-1", "99999999999999999999", "8/8"] {
            assert_eq!(mask_of_bits(text.as_bytes(), &four), None, "{text}");
        }
        assert_eq!(mask_of_bits(b"128", &six), Some(Ipv6Addr::from(u128::MAX).into()));
        assert_eq!(mask_of_bits(b"129", &six), None);
        assert_eq!(bits(&"255.0.255.0".parse().unwrap()), None);
        let (address, mask) = ("10.0.0.1".parse().unwrap(), "255.0.255.0".parse().unwrap());
        assert_eq!(Written(&address, &mask).to_string(), "10.0.0.1 255.0.255.0");
    }
}
