//! What is stored of an address.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

use crate::settings::IpPolicy;

/// First bits that stay of a truncated address, as analytics services commonly keep them.
const V4_BITS: u32 = 24;
const V6_BITS: u32 = 48;

/// The address, a part of it, or none.
pub(super) fn kept(policy: IpPolicy, address: IpAddr) -> Option<IpAddr> {
    match (policy, address.to_canonical()) {
        (IpPolicy::Keep, address) => Some(address),
        (IpPolicy::Drop, _) => None,
        (IpPolicy::Truncate, IpAddr::V4(address)) => {
            Some(Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << (u32::BITS - V4_BITS))).into())
        }
        (IpPolicy::Truncate, IpAddr::V6(address)) => {
            Some(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (u128::BITS - V6_BITS))).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(IpPolicy::Keep, "192.0.2.77", Some("192.0.2.77"))]
    #[case(IpPolicy::Truncate, "192.0.2.77", Some("192.0.2.0"))]
    #[case(IpPolicy::Truncate, "::ffff:192.0.2.77", Some("192.0.2.0"))]
    #[case(IpPolicy::Truncate, "2001:db8:1:2::3", Some("2001:db8:1::"))]
    #[case(IpPolicy::Drop, "192.0.2.77", None)]
    fn the_policy_decides(#[case] policy: IpPolicy, #[case] address: &str, #[case] expected: Option<&str>) {
        let kept = kept(policy, address.parse().unwrap()).map(|kept| kept.to_string());
        assert_eq!(kept.as_deref(), expected);
    }
}
