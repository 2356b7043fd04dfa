//! Who is where, as one of a passport's two owners knows it. No I/O, no clock: time is an argument.
//!
//! Both owners apply the same rule to what they hear, in whatever order they hear it, and end with the same entry: the
//! greatest (epoch, node) ever registered, unless it has ended. What has ended leaves a tombstone, so that a late
//! registration of it, or of an older one, revives nothing.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::notice::Location;
use super::ring::Place;
use crate::clock::is_later;
use crate::model::{Endpoint, Epoch, NodeId, Passport};

/// The sessions that this node keeps the place of.
#[derive(Debug, Default)]
pub(super) struct Directory {
    entries: HashMap<Passport, Vec<Entry>>,
    len: usize,
    tombstones: HashMap<Key, Tombstone>,
    /// Tombstones in the order of their making, each at most once a making.
    order: VecDeque<(Instant, Key)>,
}

type Key = (Passport, Endpoint);

#[derive(Debug)]
struct Entry {
    location: Location,
    /// The count of the sender's announcements in which it was last heard of.
    announcement: u64,
}

#[derive(Debug)]
struct Tombstone {
    epoch: Epoch,
    node: NodeId,
    made: Instant,
}

/// What became of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It holds.
    Held {
        /// It was not known before.
        fresh: bool,
    },
    /// A later sign-in holds, or held until it ended.
    Beaten {
        /// Its epoch.
        by: Epoch,
        /// Its node.
        node: NodeId,
    },
}

/// What a registration did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registered {
    pub(super) verdict: Verdict,
    /// The earlier sign-in that lost its place: to be told.
    pub(super) displaced: Option<Location>,
}

impl Directory {
    /// For how long what has ended is remembered.
    pub(super) const TOMBSTONE_LIFE: Duration = Duration::from_secs(60);
    /// The most tombstones; the oldest goes first.
    const MAX_TOMBSTONES: usize = 100_000;

    /// How many sessions are registered.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Registers a session, or does so again. `announcement`: see [`Directory::sweep`].
    pub(super) fn register(&mut self, who: &Passport, location: Location, announcement: u64) -> Registered {
        let ended = self
            .tombstones
            .get(&(who.clone(), location.endpoint))
            .filter(|stone| !is_later(location.epoch, &location.node, stone.epoch, &stone.node))
            .map(|stone| Verdict::Beaten { by: stone.epoch, node: stone.node.clone() });
        let known = self
            .entries
            .get_mut(who)
            .and_then(|entries| entries.iter_mut().find(|entry| entry.location.endpoint == location.endpoint));
        let Some(entry) = known else {
            let verdict = ended.unwrap_or_else(|| {
                self.entries.entry(who.clone()).or_default().push(Entry { location, announcement });
                self.len += 1;
                Verdict::Held { fresh: true }
            });
            return Registered { verdict, displaced: None };
        };
        if is_same(&entry.location, location.epoch, &location.node) {
            entry.announcement = entry.announcement.max(announcement);
            return Registered { verdict: Verdict::Held { fresh: false }, displaced: None };
        }
        let old = &entry.location;
        if !is_later(location.epoch, &location.node, old.epoch, &old.node) {
            let verdict = Verdict::Beaten { by: old.epoch, node: old.node.clone() };
            return Registered { verdict, displaced: None };
        }
        // Even one that has ended was later than the session that stands here, which must hear of it.
        let Some(verdict) = ended else {
            let displaced = std::mem::replace(&mut entry.location, location);
            entry.announcement = announcement;
            return Registered { verdict: Verdict::Held { fresh: true }, displaced: Some(displaced) };
        };
        let displaced = old.clone();
        self.remove(who, displaced.endpoint, displaced.epoch, &displaced.node);
        Registered { verdict, displaced: Some(displaced) }
    }

    /// Notes that a session has ended: its entry goes, a later one stays.
    pub(super) fn unregister(
        &mut self,
        who: &Passport,
        endpoint: Endpoint,
        epoch: Epoch,
        node: &NodeId,
        now: Instant,
    ) {
        self.remove(who, endpoint, epoch, node);
        let key = (who.clone(), endpoint);
        match self.tombstones.get_mut(&key) {
            Some(stone) if !is_later(epoch, node, stone.epoch, &stone.node) => return,
            Some(stone) => *stone = Tombstone { epoch, node: node.clone(), made: now },
            None => {
                let stone = Tombstone { epoch, node: node.clone(), made: now };
                self.tombstones.insert(key.clone(), stone);
            }
        }
        self.order.push_back((now, key));
        while self.order.len() > Self::MAX_TOMBSTONES {
            self.forget_oldest();
        }
    }

    /// Forgets an entry, if it still is that of this sign-in: a route was answered "not here".
    pub(super) fn remove(&mut self, who: &Passport, endpoint: Endpoint, epoch: Epoch, node: &NodeId) {
        let Some(entries) = self.entries.get_mut(who) else { return };
        let before = entries.len();
        entries.retain(|Entry { location, .. }| location.endpoint != endpoint || !is_same(location, epoch, node));
        self.len -= before - entries.len();
        if entries.is_empty() {
            self.entries.remove(who);
        }
    }

    /// Where a principal is signed in.
    pub(super) fn lookup(&self, who: &Passport) -> Vec<Location> {
        let entries = self.entries.get(who).map(Vec::as_slice).unwrap_or_default();
        entries.iter().map(|entry| entry.location.clone()).collect()
    }

    /// Forgets the sessions of a life of a node that is over.
    pub(super) fn drop_place(&mut self, place: &Place) {
        self.retain(|_, entry| !is_at(&entry.location, place));
    }

    /// Forgets the sessions of a node that it has not named since its announcement of that count began: they ended
    /// while it could not say so.
    pub(super) fn sweep(&mut self, place: &Place, announcement: u64) {
        self.retain(|_, entry| !is_at(&entry.location, place) || entry.announcement >= announcement);
    }

    /// Forgets passports that have moved to other owners.
    pub(super) fn keep_owned(&mut self, owned: impl Fn(&Passport) -> bool) {
        self.retain(|who, _| owned(who));
    }

    /// Forgets tombstones that are old enough.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(made, _)| now.duration_since(*made) >= Self::TOMBSTONE_LIFE) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((made, key)) = self.order.pop_front()
            && self.tombstones.get(&key).is_some_and(|stone| stone.made <= made)
        {
            self.tombstones.remove(&key);
        }
    }

    fn retain(&mut self, keep: impl Fn(&Passport, &Entry) -> bool) {
        let mut gone = 0;
        self.entries.retain(|who, entries| {
            let before = entries.len();
            entries.retain(|entry| keep(who, entry));
            gone += before - entries.len();
            !entries.is_empty()
        });
        self.len -= gone;
    }
}

fn is_same(location: &Location, epoch: Epoch, node: &NodeId) -> bool {
    location.epoch == epoch && location.node == *node
}

fn is_at(location: &Location, place: &Place) -> bool {
    location.node == place.node && location.generation == place.generation
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Generation;
    use proptest::prelude::*;

    fn alice() -> Passport {
        "alice@example.com".parse().unwrap()
    }

    fn at(node: &str, epoch: u64) -> Location {
        Location {
            node: NodeId::parse(node).unwrap(),
            generation: Generation(1),
            epoch: Epoch(epoch),
            endpoint: Endpoint::SOLE,
        }
    }

    fn held(fresh: bool) -> Registered {
        Registered { verdict: Verdict::Held { fresh }, displaced: None }
    }

    fn beaten(by: &Location) -> Registered {
        Registered { verdict: Verdict::Beaten { by: by.epoch, node: by.node.clone() }, displaced: None }
    }

    fn end(directory: &mut Directory, what: &Location, now: Instant) {
        directory.unregister(&alice(), what.endpoint, what.epoch, &what.node, now);
    }

    #[test]
    fn the_later_sign_in_wins_and_the_earlier_is_told() {
        let mut directory = Directory::default();
        let (first, second) = (at("ns-1", 5), at("ns-2", 6));
        assert_eq!(directory.register(&alice(), first.clone(), 0), held(true));
        assert_eq!(directory.register(&alice(), first.clone(), 0), held(false));
        let displacing = directory.register(&alice(), second.clone(), 0);
        assert_eq!(displacing, Registered { displaced: Some(first.clone()), ..held(true) });
        assert_eq!(directory.register(&alice(), first, 0), beaten(&second));
        assert_eq!(directory.lookup(&alice()), [second]);
        assert_eq!(directory.len(), 1);
    }

    #[test]
    fn ties_go_by_node() {
        let mut directory = Directory::default();
        directory.register(&alice(), at("ns-1", 5), 0);
        assert_eq!(directory.register(&alice(), at("ns-2", 5), 0).displaced, Some(at("ns-1", 5)));
        assert_eq!(directory.register(&alice(), at("ns-1", 5), 0), beaten(&at("ns-2", 5)));
    }

    #[test]
    fn a_late_end_erases_no_newer_sign_in() {
        let (mut directory, now) = (Directory::default(), Instant::now());
        directory.register(&alice(), at("ns-1", 6), 0);
        end(&mut directory, &at("ns-1", 5), now);
        assert_eq!(directory.lookup(&alice()), [at("ns-1", 6)]);
        end(&mut directory, &at("ns-1", 6), now);
        assert_eq!((directory.lookup(&alice()), directory.len()), (vec![], 0));
    }

    #[test]
    fn what_ended_is_not_revived_until_its_tombstone_is_gone() {
        let (mut directory, now) = (Directory::default(), Instant::now());
        let session = at("ns-1", 6);
        end(&mut directory, &session, now);
        assert_eq!(directory.register(&alice(), session.clone(), 0), beaten(&session));
        assert_eq!(directory.register(&alice(), at("ns-1", 5), 0), beaten(&session));
        directory.expire(now + Directory::TOMBSTONE_LIFE - Duration::from_millis(1));
        assert_eq!(directory.register(&alice(), session.clone(), 0), beaten(&session));
        directory.expire(now + Directory::TOMBSTONE_LIFE);
        assert_eq!(directory.register(&alice(), session, 0), held(true));
        assert!(directory.tombstones.is_empty() && directory.order.is_empty());
    }

    #[test]
    fn one_that_ended_before_it_was_heard_of_still_displaces() {
        let (mut directory, now) = (Directory::default(), Instant::now());
        directory.register(&alice(), at("ns-1", 5), 0);
        end(&mut directory, &at("ns-2", 6), now);
        assert_eq!(directory.lookup(&alice()), [at("ns-1", 5)], "deletes only on equal epoch");
        let late = directory.register(&alice(), at("ns-2", 6), 0);
        assert_eq!(late, Registered { displaced: Some(at("ns-1", 5)), ..beaten(&at("ns-2", 6)) });
        assert_eq!(directory.len(), 0);
    }

    #[test]
    fn tombstones_are_bounded() {
        let (mut directory, now) = (Directory::default(), Instant::now());
        for number in 0..=Directory::MAX_TOMBSTONES {
            let who = Passport::parse(&format!("{number}@example.com")).unwrap();
            directory.unregister(&who, Endpoint::SOLE, Epoch(1), &at("ns-1", 1).node, now);
        }
        assert_eq!(directory.tombstones.len(), Directory::MAX_TOMBSTONES);
        for epoch in 0..10 {
            end(&mut directory, &at("ns-1", epoch), now);
        }
        assert_eq!(directory.order.len(), Directory::MAX_TOMBSTONES);
    }

    #[test]
    fn places_of_one_principal_stand_side_by_side() {
        let mut directory = Directory::default();
        let second = Location { endpoint: Endpoint(uuid::Uuid::from_u128(1)), ..at("ns-2", 9) };
        directory.register(&alice(), at("ns-1", 5), 0);
        assert_eq!(directory.register(&alice(), second.clone(), 0), held(true));
        assert_eq!(directory.lookup(&alice()).len(), 2);
        directory.remove(&alice(), Endpoint::SOLE, Epoch(5), &at("ns-1", 5).node);
        assert_eq!(directory.lookup(&alice()), [second]);
    }

    #[test]
    fn forgets_dead_nodes_what_they_no_longer_name_and_what_moved() {
        let mut directory = Directory::default();
        let names = ["a@x", "b@x", "c@x", "d@x"].map(|name| Passport::parse(name).unwrap());
        for (who, node) in names.iter().zip(["ns-1", "ns-2", "ns-1", "ns-2"]) {
            directory.register(who, at(node, 5), 1);
        }
        let place = |node: &str| Place { node: NodeId::parse(node).unwrap(), generation: Generation(1) };
        directory.register(&names[0], at("ns-1", 5), 2);
        directory.sweep(&place("ns-1"), 2);
        assert_eq!(directory.lookup(&names[2]), []);
        assert_eq!(directory.len(), 3);
        directory.drop_place(&Place { generation: Generation(9), ..place("ns-2") });
        assert_eq!(directory.len(), 3, "another life");
        directory.keep_owned(|who| *who != names[1]);
        assert_eq!(directory.len(), 2);
        directory.drop_place(&place("ns-2"));
        assert_eq!((directory.len(), directory.lookup(&names[0]).len()), (1, 1));
    }

    #[derive(Debug, Clone, Copy)]
    enum Event {
        Register(usize),
        End(usize),
    }

    fn play(sessions: &[Location], events: &[Event]) -> (Vec<Location>, Vec<Location>) {
        let (mut directory, now) = (Directory::default(), Instant::now());
        let mut told = Vec::new();
        for event in events {
            match *event {
                Event::Register(n) => told.extend(directory.register(&alice(), sessions[n].clone(), 0).displaced),
                Event::End(n) => end(&mut directory, &sessions[n], now),
            }
        }
        assert_eq!(directory.len(), directory.lookup(&alice()).len());
        (directory.lookup(&alice()), told)
    }

    prop_compose! {
        /// Sessions, which of them end, and two orders in which two owners hear of it all.
        fn histories()(
            signs in prop::collection::btree_set((1u64..6, 0usize..3), 1..6),
            ends in prop::collection::vec(any::<bool>(), 6),
        )(
            orders in {
                let events: Vec<Event> = (0..signs.len())
                    .flat_map(|n| [Some(Event::Register(n)), ends[n].then_some(Event::End(n))])
                    .flatten()
                    .collect();
                (Just(events.clone()).prop_shuffle(), Just(events).prop_shuffle())
            },
            signs in Just(signs),
            ends in Just(ends),
        ) -> (Vec<Location>, Vec<bool>, Vec<Event>, Vec<Event>) {
            let sessions = signs.iter().map(|(epoch, node)| at(["ns-1", "ns-2", "ns-3"][*node], *epoch)).collect();
            (sessions, ends, orders.0, orders.1)
        }
    }

    proptest! {
        #[test]
        fn two_owners_end_with_the_same_entry((sessions, ends, one, other) in histories()) {
            let (entry, _) = play(&sessions, &one);
            prop_assert_eq!(&entry, &play(&sessions, &other).0);
            // The model: the greatest of all, unless it has ended. `sessions` is sorted by (epoch, node).
            let greatest = sessions.len() - 1;
            let expected: Vec<Location> = (!ends[greatest]).then(|| sessions[greatest].clone()).into_iter().collect();
            prop_assert_eq!(entry, expected);
        }

        #[test]
        fn whoever_loses_a_place_is_told((sessions, _, one, _) in histories()) {
            let registers: Vec<Event> = one.into_iter().filter(|e| matches!(e, Event::Register(_))).collect();
            let (entry, told) = play(&sessions, &registers);
            // Each session holds, was told, or was beaten when it came: the last is seen by its own node at once.
            let mut directory = Directory::default();
            for event in &registers {
                let Event::Register(n) = *event else { continue };
                let registered = directory.register(&alice(), sessions[n].clone(), 0);
                if matches!(registered.verdict, Verdict::Held { .. }) {
                    prop_assert!(entry.contains(&sessions[n]) || told.contains(&sessions[n]));
                }
            }
        }
    }
}
