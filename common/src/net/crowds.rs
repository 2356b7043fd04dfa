//! Those that wait for something, by where they come from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use super::grains::{Grain, grains_of};

/// What waits, in an order, and how much of it is of each grain.
#[derive(Debug)]
pub(crate) struct Crowds<K, T> {
    all: BTreeMap<K, (IpAddr, T)>,
    /// Of those that have something here.
    of: HashMap<Grain, BTreeSet<K>>,
    /// The same grains, by their shares.
    by_share: BTreeSet<(usize, Grain)>,
}

impl<K, T> Default for Crowds<K, T> {
    fn default() -> Self {
        Self { all: BTreeMap::new(), of: HashMap::new(), by_share: BTreeSet::new() }
    }
}

impl<K: Ord + Copy, T> Crowds<K, T> {
    /// Adds one of that address, at a place of the order that is free.
    pub(crate) fn add(&mut self, at: K, address: IpAddr, one: T) {
        self.remove(at);
        self.all.insert(at, (address, one));
        for grain in grains_of(address) {
            self.change(grain, |own| own.insert(at));
        }
    }

    /// What stands there.
    pub(crate) fn get(&self, at: K) -> Option<&T> {
        self.all.get(&at).map(|(_, one)| one)
    }

    /// Takes out what stands there.
    pub(crate) fn remove(&mut self, at: K) -> Option<T> {
        let (address, one) = self.all.remove(&at)?;
        for grain in grains_of(address) {
            self.change(grain, |own| own.remove(&at));
        }
        Some(one)
    }

    fn change(&mut self, grain: Grain, change: impl FnOnce(&mut BTreeSet<K>) -> bool) {
        let own = self.of.entry(grain).or_default();
        let before = own.len();
        change(own);
        let now = own.len();
        if now == 0 {
            self.of.remove(&grain);
        }
        self.by_share.remove(&(grain.share(before), grain));
        if now > 0 {
            self.by_share.insert((grain.share(now), grain));
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many of a grain there are.
    pub(crate) fn count(&self, grain: Grain) -> usize {
        self.of.get(&grain).map_or(0, BTreeSet::len)
    }

    /// The greatest share that a grain of the address has, if `more` of that address come on top.
    pub(crate) fn share(&self, address: IpAddr, more: usize) -> usize {
        let shares = grains_of(address).map(|grain| grain.share(self.count(grain).saturating_add(more)));
        shares.max().unwrap_or_default()
    }

    /// The grain with the greatest share, and that.
    pub(crate) fn largest(&self) -> Option<(usize, Grain)> {
        self.by_share.last().copied()
    }

    /// Where the first one stands.
    pub(crate) fn first(&self) -> Option<K> {
        self.all.first_key_value().map(|(at, _)| *at)
    }

    /// Where the first one of a grain stands.
    pub(crate) fn first_of(&self, grain: Grain) -> Option<K> {
        self.of.get(&grain)?.first().copied()
    }

    /// Where the last one of a grain stands.
    pub(crate) fn last_of(&self, grain: Grain) -> Option<K> {
        self.of.get(&grain)?.last().copied()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.of.is_empty() && self.by_share.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grain_has_the_share_of_all_that_is_of_it() {
        let mut crowds = Crowds::default();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        for number in 0..40_u16 {
            crowds.add(number, address(&format!("2001:db8:1:{number:x}00::1")), ());
        }
        assert_eq!(
            crowds.largest().map(|(share, grain)| (share, grain.network())),
            Some((40, address("2001:db8:1::")))
        );
        for number in 40..42 {
            crowds.add(number, address("192.0.2.1"), ());
        }
        let (share, single) = crowds.largest().unwrap();
        assert_eq!((share, crowds.first_of(single), crowds.last_of(single)), (40, Some(0), Some(39)));
        crowds.add(42, address("::ffff:192.0.2.1"), ());
        let (share, single) = crowds.largest().unwrap();
        assert_eq!((share, crowds.first_of(single), crowds.last_of(single)), (3 * Grain::ONE, Some(40), Some(42)));
        assert_eq!((crowds.count(single), crowds.len(), crowds.first()), (3, 43, Some(0)));
        assert_eq!(crowds.share(address("2001:db8:1:ffff::"), 1), 41);
        assert_eq!(crowds.share(address("192.0.2.2"), 1), Grain::ONE);
        for number in 0..43 {
            assert_eq!((crowds.remove(number), crowds.remove(number)), (Some(()), None));
        }
        assert!(crowds.is_empty());
    }
}
