//! Who is to be seen at this node: what it tells other nodes to compare.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use common::cluster::{BUCKETS, Mark, PassportKey, Sighting, Tally};
use common::model::Epoch;

use super::lock;

/// See the module.
#[derive(Debug)]
pub(crate) struct Visible {
    buckets: Box<[Mutex<Bucket>]>,
}

#[derive(Debug, Default)]
struct Bucket {
    sessions: HashMap<PassportKey, (Epoch, Mark)>,
    tally: Tally,
}

impl Default for Visible {
    fn default() -> Self {
        Self { buckets: (0..BUCKETS).map(|_| Mutex::default()).collect() }
    }
}

impl Visible {
    /// A session is to be seen in that version. An earlier one of the same principal is not any more.
    pub(crate) fn show(&self, who: PassportKey, epoch: Epoch, mark: Mark) {
        let mut bucket = self.bucket(who.bucket());
        match bucket.sessions.get(&who).copied() {
            Some((later, _)) if later > epoch => return,
            Some((_, before)) => bucket.tally.remove(Sighting { who, mark: before }),
            None => {}
        }
        bucket.sessions.insert(who, (epoch, mark));
        bucket.tally.add(Sighting { who, mark });
    }

    /// That session is not to be seen any more. A later one stays.
    pub(crate) fn hide(&self, who: PassportKey, epoch: Epoch) {
        let mut bucket = self.bucket(who.bucket());
        let Some((_, mark)) = bucket.sessions.get(&who).copied().filter(|(known, _)| *known == epoch) else {
            return;
        };
        bucket.sessions.remove(&who);
        bucket.tally.remove(Sighting { who, mark });
    }

    /// A tally for each bucket.
    pub(crate) fn tallies(&self) -> Vec<Tally> {
        self.buckets.iter().map(|bucket| lock(bucket).tally).collect()
    }

    /// All of one bucket.
    pub(crate) fn sightings(&self, bucket: u8) -> Vec<Sighting> {
        let bucket = self.bucket(bucket);
        bucket.sessions.iter().map(|(who, (_, mark))| Sighting { who: *who, mark: *mark }).collect()
    }

    fn bucket(&self, bucket: u8) -> MutexGuard<'_, Bucket> {
        lock(&self.buckets[usize::from(bucket)])
    }
}

#[cfg(test)]
mod tests {
    use common::cluster::Stamp;
    use common::model::{NodeId, Passport};

    use super::*;

    #[test]
    fn the_later_session_counts_and_tallies_follow() {
        let (visible, who) = (Visible::default(), PassportKey::of(&Passport::parse("bob@example.com").unwrap()));
        let mark = |version| {
            Mark::of(&Stamp { epoch: Epoch(1), node: NodeId::parse("ns-1").unwrap(), count: 1, version })
        };
        let there = || {
            let sightings = visible.sightings(who.bucket());
            assert_eq!(visible.tallies()[usize::from(who.bucket())], Tally::of(&sightings));
            sightings.into_iter().map(|sighting| sighting.mark).collect::<Vec<_>>()
        };
        let empty = visible.tallies();
        visible.show(who, Epoch(5), mark(1));
        visible.show(who, Epoch(5), mark(2));
        assert_eq!(there(), [mark(2)]);
        visible.show(who, Epoch(6), mark(3));
        visible.show(who, Epoch(5), mark(4));
        visible.hide(who, Epoch(5));
        assert_eq!(there(), [mark(3)]);
        visible.hide(who, Epoch(6));
        assert_eq!((there(), visible.tallies()), (vec![], empty));
    }
}
