//! From where principals have signed in.

use std::net::IpAddr;

/// A network from which somebody has shown an account's password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownNetwork {
    /// An IPv4 address, or an IPv6 address whose last eight bytes are 0.
    pub network: IpAddr,
    /// The epoch of the credentials that were shown: it says nothing of those after them, nor of a later account of that name.
    pub epoch: u64,
    /// When that was last noted, in milliseconds since 1970.
    pub seen: u64,
}

impl KnownNetwork {
    /// Networks of one account; the one seen least lately is forgotten.
    pub const MOST: usize = 8;

    /// Those of them that were seen last, the last one first, each once.
    #[must_use]
    pub fn last(mut all: Vec<Self>) -> Vec<Self> {
        all.sort_by_key(|known| (std::cmp::Reverse(known.seen), known.network));
        let mut last: Vec<Self> = Vec::with_capacity(Self::MOST);
        for known in all {
            if last.len() < Self::MOST && !last.iter().any(|newer| newer.network == known.network) {
                last.push(known);
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_the_last_ones_count_and_of_one_its_last() {
        let known = |network: u8, seen| KnownNetwork { network: [192, 0, 2, network].into(), epoch: 1, seen };
        let all: Vec<_> = (0..20).map(|number| known(number % 10, u64::from(number))).collect();
        let expected: Vec<_> = (12..20).rev().map(|number| known(number % 10, u64::from(number))).collect();
        assert_eq!(KnownNetwork::last(all), expected);
        assert_eq!(KnownNetwork::last(Vec::new()), []);
    }
}
