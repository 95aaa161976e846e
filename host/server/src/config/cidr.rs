//! Address ranges in CIDR notation (RFC 4632, RFC 4291 §2.3).

use std::{net::IpAddr, str::FromStr};

use thiserror::Error;

/// A range of addresses; a lone address is a range of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// Not a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not an address range")]
pub struct NotACidr;

impl Cidr {
    /// Is `address` in it? IPv4 addresses mapped into IPv6 count as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let shared = match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        shared >= u32::from(self.prefix)
    }
}

impl From<IpAddr> for Cidr {
    fn from(address: IpAddr) -> Self {
        Self {
            address,
            prefix: bits(address),
        }
    }
}

impl FromStr for Cidr {
    type Err = NotACidr;

    fn from_str(text: &str) -> Result<Self, NotACidr> {
        let (address, prefix) = match text.split_once('/') {
            None => (text, None),
            Some((address, prefix)) => (address, Some(prefix)),
        };
        let address: IpAddr = address.parse().map_err(|_| NotACidr)?;
        let prefix = match prefix {
            None => bits(address),
            Some(digits) => digits.parse().map_err(|_| NotACidr)?,
        };
        if prefix > bits(address) {
            Err(NotACidr)
        } else {
            Ok(Self { address, prefix })
        }
    }
}

fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(range: &str, address: &str, expected: bool) {
        let range: Cidr = range.parse().unwrap();
        assert_eq!(range.contains(address.parse().unwrap()), expected);
    }

    #[test]
    fn ranges_contain_their_addresses() {
        check("192.0.2.0/24", "192.0.2.255", true);
        check("192.0.2.0/24", "192.0.3.0", false);
        check("192.0.2.7", "192.0.2.7", true);
        check("192.0.2.7", "192.0.2.6", false);
        check("0.0.0.0/0", "203.0.113.9", true);
        check("2001:db8::/32", "2001:db8:1::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
        check("192.0.2.0/24", "::ffff:192.0.2.9", true);
        check("::/0", "192.0.2.9", false);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in [
            "",
            "192.0.2.0/33",
            "192.0.2/24",
            "host",
            "192.0.2.0/",
            "::/129",
        ] {
            assert_eq!(text.parse::<Cidr>(), Err(NotACidr), "{text}");
        }
    }
}
