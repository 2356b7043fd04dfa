//! What of an address is counted.
//!
//! Who has one IPv6 address has more than anybody could count: a household gets a /64 at least, mostly a /56, and the cheapest
//! server a /48. So a /64 counts as one address; and as many as one may have is multiplied by four for all of a /56 together, and by
//! sixteen for a /48. An IPv4 address counts for itself, also where it is written as an IPv6 address.

use std::net::{IpAddr, Ipv6Addr};

/// The lengths of the IPv6 networks that count, and how many times what one address may all of such a network may; finest first.
const IPV6: [(u32, u8); 3] = [(64, 1), (56, 4), (48, WIDEST)];
const WIDEST: u8 = 16;

/// Something that counts as one: an IPv4 address, or an IPv6 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grain {
    network: IpAddr,
    times: u8,
}

impl Grain {
    /// The share of one who is alone in each of his grains, see [`share`](Self::share).
    pub const ONE: usize = WIDEST as usize;

    /// How many it may have, where one address may have `of_one`.
    #[must_use]
    pub fn most(self, of_one: usize) -> usize {
        of_one.saturating_mul(usize::from(self.times))
    }

    /// What `count` of it weigh, so that grains of different sizes can be compared: [`ONE`](Self::ONE) for each of one address.
    #[must_use]
    pub fn share(self, count: usize) -> usize {
        count.saturating_mul(Self::ONE / usize::from(self.times))
    }

    /// Its first address.
    #[must_use]
    pub fn network(self) -> IpAddr {
        self.network
    }

    /// Whether an address is of it.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        grains_of(address).any(|grain| grain == self)
    }
}

/// The grains of an address, finest first.
pub fn grains_of(address: IpAddr) -> impl DoubleEndedIterator<Item = Grain> + Clone {
    let address = address.to_canonical();
    let counts = move |(_, times): &(u32, u8)| address.is_ipv6() || *times == 1;
    IPV6.into_iter().filter(counts).map(move |(bits, times)| {
        let network = match address {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - bits))).into(),
            address => address,
        };
        Grain { network, times }
    })
}

/// The finest grain of an address: itself, or its IPv6 /64.
#[must_use]
pub fn network_of(address: IpAddr) -> IpAddr {
    grains_of(address).next().map_or(address, Grain::network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grains(address: &str) -> Vec<(String, usize, usize)> {
        let all = grains_of(address.parse().unwrap());
        all.map(|grain| (grain.network().to_string(), grain.most(256), grain.share(1))).collect()
    }

    #[test]
    fn an_ipv6_address_counts_by_three_networks_and_an_ipv4_address_by_itself() {
        let own = |network: &str, most, share| (network.to_owned(), most, share);
        let expected = [("2001:db8:7:1234::", 256, 16), ("2001:db8:7:1200::", 1024, 4), ("2001:db8:7::", 4096, 1)];
        assert_eq!(
            grains("2001:db8:7:1234:5678::1"),
            expected.map(|(network, most, share)| own(network, most, share))
        );
        for written in ["192.0.2.1", "::ffff:192.0.2.1"] {
            assert_eq!(grains(written), [own("192.0.2.1", 256, 16)]);
        }
        assert_eq!(network_of("2001:db8:7:1234:5678::1".parse().unwrap()).to_string(), "2001:db8:7:1234::");
        let widest = grains_of("2001:db8:7::".parse().unwrap()).next_back().unwrap();
        for (address, is_of_it) in [("2001:db8:7:ffff::1", true), ("2001:db8:8::", false), ("192.0.2.1", false)] {
            assert_eq!(widest.contains(address.parse().unwrap()), is_of_it);
        }
        assert_eq!((widest.most(usize::MAX), Grain::ONE), (usize::MAX, 16));
    }
}
