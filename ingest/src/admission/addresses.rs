//! What each client address has left of its rate, in bounded memory. Pure.
//!
//! An IPv6 client owns a whole /64, so that is what is counted. When the table is full, addresses that have been idle
//! long enough to have everything back are forgotten, which changes nothing for them; only when there are none, the
//! one that owes least is.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::PoisonError;

use super::pace::Pace;
use super::pace::Wait;

/// Parts of the table with a lock each, so that cores seldom meet.
const SHARDS: usize = 64;
/// Addresses of one part; 65,536 in all, about two megabytes.
const SHARD_CAPACITY: usize = 1024;

/// The table.
#[derive(Debug)]
pub struct Addresses {
    pace: Pace,
    shard_capacity: usize,
    hasher: RandomState,
    shards: Box<[Mutex<HashMap<u64, u64>>]>,
}

impl Addresses {
    /// A table in which every address has everything.
    pub fn new(pace: Pace) -> Self {
        Self::with_shard_capacity(pace, SHARD_CAPACITY)
    }

    fn with_shard_capacity(pace: Pace, shard_capacity: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { pace, shard_capacity, hasher: RandomState::new(), shards }
    }

    /// Whether the address has anything left.
    pub fn check(&self, address: IpAddr, now: u64) -> Result<(), Wait> {
        let block = block(address);
        let full_at = self.with_shard(block, |shard| shard.get(&block).copied().unwrap_or(0));
        self.pace.check(full_at, now)
    }

    /// Takes events from what the address has.
    pub fn charge(&self, address: IpAddr, now: u64, events: usize) {
        let block = block(address);
        self.with_shard(block, |shard| {
            let full_at = shard.get(&block).copied().unwrap_or(0);
            if full_at == 0 && shard.len() >= self.shard_capacity {
                make_room(shard, now);
            }
            shard.insert(block, self.pace.charge(full_at, now, events));
        });
    }

    fn with_shard<T>(&self, block: u64, act: impl FnOnce(&mut HashMap<u64, u64>) -> T) -> T {
        let hash = usize::try_from(self.hasher.hash_one(block) % (SHARDS as u64)).unwrap_or(0);
        // A map of numbers is whole even after a panic.
        act(&mut self.shards[hash].lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Addresses that are remembered.
    pub fn len(&self) -> usize {
        let length =
            |shard: &Mutex<HashMap<u64, u64>>| shard.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.shards.iter().map(length).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What counts as one client: an IPv4 address, or an IPv6 network of 64 bits. No such network begins like the first.
fn block(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => 0xffff << 32 | u64::from(address.to_bits()),
        IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or(u64::MAX),
    }
}

fn make_room(shard: &mut HashMap<u64, u64>, now: u64) {
    let before = shard.len();
    shard.retain(|_, full_at| *full_at > now);
    if shard.len() < before {
        return;
    }
    if let Some(least) = shard.iter().min_by_key(|(_, full_at)| **full_at).map(|(block, _)| *block) {
        shard.remove(&least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::pace::Rate;

    const SECOND: u64 = 1_000_000_000;

    const CAPACITY: usize = 16;

    fn addresses(rate: &str) -> Addresses {
        Addresses::with_shard_capacity(rate.parse::<Rate>().unwrap().into(), CAPACITY)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_address_has_its_own_rate_and_a_v6_network_has_one() {
        let addresses = addresses("1:1");
        addresses.charge(address("192.0.2.1"), 0, 5);
        addresses.charge(address("2001:db8::1"), 0, 5);
        assert!(addresses.check(address("192.0.2.1"), 0).is_err());
        assert!(addresses.check(address("::ffff:192.0.2.1"), 0).is_err());
        assert!(addresses.check(address("192.0.2.2"), 0).is_ok());
        assert!(addresses.check(address("2001:db8::ffff:2"), 0).is_err());
        assert!(addresses.check(address("2001:db8:0:1::1"), 0).is_ok());
        assert!(addresses.check(address("192.0.2.1"), 5 * SECOND).is_ok());
    }

    #[test]
    fn memory_is_bounded_and_who_owes_most_is_not_forgotten() {
        let addresses = addresses("1:1");
        let greedy = address("198.51.100.7");
        addresses.charge(greedy, 0, 1_000_000);
        for number in 0..5000_u32 {
            addresses.charge(IpAddr::V4(number.into()), u64::from(number), 2);
        }
        assert!(addresses.len() <= SHARDS * CAPACITY, "{}", addresses.len());
        assert!(addresses.check(greedy, SECOND).is_err());
    }

    #[test]
    fn addresses_with_everything_back_make_room() {
        let addresses = addresses("1:1");
        for number in 0..5000_u32 {
            addresses.charge(IpAddr::V4(number.into()), u64::from(number) * SECOND, 1);
        }
        assert!(addresses.len() <= SHARDS * CAPACITY, "{}", addresses.len());
        assert!(!addresses.is_empty());
    }
}
