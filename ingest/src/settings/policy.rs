//! Settings of what is let in and of what is kept of it.

use super::reader;
use super::reader::Reader;
use crate::admission::pace::Rate;
use crate::args::SettingsArgs;
use crate::args::env;

/// What is let in.
#[derive(Debug, Clone, Copy)]
pub struct AdmissionSettings {
    /// Rate of one client address.
    pub address_rate: Option<Rate>,
    /// Bytes of a body, inflated, that are taken before a valid key is found in it.
    pub unauthenticated_bytes: usize,
}

/// What is kept of what was let in.
#[derive(Debug, Clone)]
pub struct PolicySettings {
    /// What is stored of client addresses.
    pub ip: IpPolicy,
    /// Names of properties that are not stored.
    pub denied_properties: Vec<String>,
    /// Bytes of properties of one event, in PostHog's dialect.
    pub max_event_bytes: usize,
}

/// What is stored of client addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpPolicy {
    /// All of it.
    Keep,
    /// The first 24 bits of IPv4, the first 48 of IPv6.
    Truncate,
    /// Nothing.
    Drop,
}

pub(super) fn admission(reader: &mut Reader, args: &SettingsArgs) -> AdmissionSettings {
    AdmissionSettings {
        address_rate: reader.rate(env::WEIR_ADDRESS_RATE_LIMIT, args.address_rate_limit.as_ref()),
        unauthenticated_bytes: reader.size(
            env::WEIR_UNAUTHENTICATED_BYTES,
            args.unauthenticated_bytes.as_ref(),
            262_144,
        ),
    }
}

pub(super) fn policy(reader: &mut Reader, args: &SettingsArgs) -> PolicySettings {
    PolicySettings {
        ip: ip_policy(reader, args.ip_policy.as_ref()),
        denied_properties: reader::list(args.property_denylist.as_ref()).map(str::to_owned).collect(),
        max_event_bytes: reader.size(env::WEIR_MAX_EVENT_BYTES, args.max_event_bytes.as_ref(), 1_048_576),
    }
}

fn ip_policy(reader: &mut Reader, text: Option<&String>) -> IpPolicy {
    match reader::given(text) {
        None | Some("keep") => IpPolicy::Keep,
        Some("truncate") => IpPolicy::Truncate,
        Some("drop") => IpPolicy::Drop,
        Some(other) => {
            reader.problem(format!("{} must be keep, truncate or drop, not {other:?}", env::WEIR_IP_POLICY));
            IpPolicy::Keep
        }
    }
}
