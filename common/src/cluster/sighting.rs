//! What two notification nodes compare to find notices that were lost: whom one of them shows, and what was shown of it at
//! the other.
//!
//! The principals that are to be seen at a node lie in [`BUCKETS`] buckets by a hash of their passports. A [`Tally`] of each
//! bucket tells whether it has changed; only then are its [`Sighting`]s sent.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::notice::Stamp;
use super::ring::{hash, mix};
use crate::model::Passport;

/// How many buckets there are: the first byte of a key says which.
pub const BUCKETS: usize = 256;

/// A hash of a passport, the same on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PassportKey(u64);

impl PassportKey {
    /// That of a passport.
    #[must_use]
    pub fn of(who: &Passport) -> Self {
        Self(hash(who.as_str()))
    }

    /// The bucket in which it lies, below [`BUCKETS`].
    #[must_use]
    pub fn bucket(self) -> u8 {
        let [first, ..] = self.0.to_be_bytes();
        first
    }
}

/// Which version of which session somebody was shown. Marks are compared, never ordered: [`Stamp`]s say what is newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mark(NonZeroU64);

impl Mark {
    /// That of what a session says under this stamp: the count does not matter.
    #[must_use]
    pub fn of(stamp: &Stamp) -> Self {
        let node = stamp.node.as_str().bytes().fold(0, |word, byte| mix(word ^ u64::from(byte)));
        let mark = mix(stamp.epoch.0 ^ node).wrapping_add(u64::from(stamp.version));
        Self(NonZeroU64::new(mark).unwrap_or(NonZeroU64::MIN))
    }
}

/// A principal who is to be seen at a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sighting {
    /// Who.
    pub who: PassportKey,
    /// In which version.
    pub mark: Mark,
}

/// All that is to be seen in one bucket, in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// The same for two buckets only if they hold the same.
    pub sum: u64,
    /// How many principals are in it.
    pub count: u32,
}

impl Tally {
    /// That of these.
    #[must_use]
    pub fn of(sightings: &[Sighting]) -> Self {
        let mut tally = Self::default();
        sightings.iter().for_each(|sighting| tally.add(*sighting));
        tally
    }

    /// One more is to be seen.
    pub fn add(&mut self, sighting: Sighting) {
        self.sum ^= word(sighting);
        self.count += 1;
    }

    /// One that was to be seen is not any more.
    pub fn remove(&mut self, sighting: Sighting) {
        self.sum ^= word(sighting);
        self.count = self.count.saturating_sub(1);
    }
}

/// Differs where any part of a sighting does.
fn word(sighting: Sighting) -> u64 {
    mix(sighting.who.0 ^ mix(sighting.mark.0.get()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Epoch, NodeId};

    fn mark(epoch: u64, node: &str, count: u64, version: u32) -> Mark {
        Mark::of(&Stamp { epoch: Epoch(epoch), node: NodeId::parse(node).unwrap(), count, version })
    }

    #[test]
    fn marks_tell_versions_sign_ins_and_nodes_apart_and_nothing_else() {
        let one = mark(7, "ns-1", 3, 1);
        assert_eq!(one, mark(7, "ns-1", 9, 1), "the count rises with every notice");
        for other in [mark(7, "ns-1", 3, 2), mark(8, "ns-1", 3, 1), mark(7, "ns-2", 3, 1)] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_tally_is_that_of_what_is_there_in_whatever_order_it_came() {
        let sighting = |name: &str, version| Sighting {
            who: PassportKey::of(&Passport::parse(name).unwrap()),
            mark: mark(1, "ns-1", 1, version),
        };
        let (a, b, c) = (sighting("a@x", 1), sighting("b@x", 1), sighting("b@x", 2));
        let mut tally = Tally::of(&[a, b]);
        assert_eq!(tally, Tally::of(&[b, a]));
        tally.remove(b);
        tally.add(c);
        assert_eq!(tally, Tally::of(&[a, c]));
        assert_ne!(tally.sum, Tally::of(&[a, b]).sum);
    }

    #[test]
    fn keys_fill_all_buckets() {
        let keys = (0..8192).map(|n| PassportKey::of(&Passport::parse(&format!("{n}@example.com")).unwrap()));
        let mut counts = [0; BUCKETS];
        keys.for_each(|key| counts[usize::from(key.bucket())] += 1);
        assert!(counts.iter().all(|count| (8..72).contains(count)), "{counts:?}");
    }
}
