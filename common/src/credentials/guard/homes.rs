//! Networks from which somebody has signed in lately.

use std::net::IpAddr;
use std::num::NonZeroUsize;

use lru::LruCache;

use crate::net::{Grain, grains_of};

/// Networks from which somebody has signed in lately, to whichever account. Of an IPv6 /56 four are remembered, of a /48 sixteen:
/// whoever has so many networks for himself makes those of nobody else be forgotten.
#[derive(Debug)]
pub(super) struct Homes {
    /// By the widest grain, those used last at the end.
    of: LruCache<Grain, Vec<IpAddr>>,
}

impl Homes {
    /// Remembers those of so many, or more where some are of the same.
    pub(super) fn new(room: NonZeroUsize) -> Self {
        // It grows with use.
        let mut of = LruCache::unbounded();
        of.resize(room);
        Self { of }
    }

    /// Somebody has signed in from there.
    pub(super) fn add(&mut self, network: IpAddr) {
        let Some(widest) = grains_of(network).next_back() else { return };
        let own = self.of.get_or_insert_mut(widest, Vec::new);
        own.retain(|other| *other != network);
        own.push(network);
        for grain in grains_of(network) {
            let mut of_grain =
                own.iter().enumerate().filter(|(_, other)| grain.contains(**other)).map(|(at, _)| at);
            let oldest = of_grain.next();
            // One too many: it is only ever one.
            if let Some(oldest) = oldest.filter(|_| of_grain.count() >= grain.most(1)) {
                own.remove(oldest);
            }
        }
    }

    /// Whether somebody has.
    pub(super) fn contains(&self, network: IpAddr) -> bool {
        let widest = grains_of(network).next_back();
        widest.and_then(|widest| self.of.peek(&widest)).is_some_and(|own| own.contains(&network))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_ipv6_network_makes_only_its_own_be_forgotten() {
        let mut homes = Homes::new(NonZeroUsize::new(3).unwrap());
        let single: IpAddr = "192.0.2.1".parse().unwrap();
        let subnet = |number: u16| format!("2001:db8:1:{number:x}::").parse::<IpAddr>().unwrap();
        homes.add(single);
        for number in 0..=0xffff {
            homes.add(subnet(number));
        }
        let known: Vec<_> = (0..=0xffff).filter(|number| homes.contains(subnet(*number))).collect();
        let expected = [0xfc, 0xfd, 0xfe, 0xff].map(|wide| [0xfc, 0xfd, 0xfe, 0xff].map(|last| wide << 8 | last));
        assert_eq!(known, expected.concat());
        assert!(homes.contains(single));
        // Used again, it is not the oldest any more.
        homes.add(subnet(0xfcfc));
        for number in 0..15 {
            homes.add(subnet(number << 8));
        }
        assert!(homes.contains(subnet(0xfcfc)) && !homes.contains(subnet(0xfffe)) && homes.contains(single));
        for last in 2..=3 {
            homes.add([192, 0, 2, last].into());
        }
        assert!(!homes.contains(single) || !homes.contains(subnet(0)), "there is no room for more");
    }
}
