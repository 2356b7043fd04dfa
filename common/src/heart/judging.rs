//! What follows from the counts that hearts have at each look.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::{Company, Keyring};
use crate::model::{Generation, NodeId};
use crate::store::{Beat, Heartbeat};

/// A heart that has not moved for so long is that of a dead node.
const SILENCE: Duration = Duration::from_secs(6);
/// Looks are 2 s apart at most. After a longer pause standing still is timed anew: the store may have been away for everybody.
const GAP: Duration = Duration::from_secs(4);
/// As many nodes are named.
const NAMED: usize = 3;

/// The hearts of the other nodes as they were at the last look.
#[derive(Debug, Default)]
pub(super) struct Hearts {
    seen: BTreeMap<NodeId, Seen>,
    /// When the last look was over.
    looked: Option<Instant>,
    /// Which lives with which secrets were there at the first look.
    first: Option<BTreeMap<NodeId, (Generation, Vec<u8>)>>,
}

#[derive(Debug)]
struct Seen {
    heart: Heartbeat,
    secrets: Vec<u8>,
    still_since: Instant,
    still_for: Duration,
    has_moved: bool,
}

impl Seen {
    fn is_living(&self) -> bool {
        self.has_moved && self.still_for < SILENCE
    }

    /// Whether it may live: it was not watched for long enough.
    fn is_unsure(&self) -> bool {
        !self.has_moved && self.still_for < SILENCE
    }
}

impl Hearts {
    /// The next look counts as the first: the own secrets have changed.
    pub(super) fn begin_anew(&mut self) {
        self.first = None;
    }

    /// Takes in the last beats of all other nodes, which were asked for and came at these times.
    pub(super) fn look(&mut self, beats: Vec<Beat>, asked: Instant, came: Instant) {
        let is_first = self.looked.is_none();
        let gap = self.looked.is_some_and(|looked| asked.duration_since(looked) > GAP);
        let mut before = std::mem::take(&mut self.seen);
        for Beat { node, heart, secrets } in beats {
            let known = before.remove(&node);
            let moved = !is_first && known.as_ref().is_none_or(|known| known.heart != heart);
            let (still_since, has_moved) = match known {
                Some(known) if !moved && !gap => (known.still_since, known.has_moved),
                _ => (came, moved),
            };
            let still_for = asked.saturating_duration_since(still_since);
            self.seen.insert(node, Seen { heart, secrets, still_since, still_for, has_moved });
        }
        self.looked = Some(came);
        let all =
            || self.seen.iter().map(|(node, seen)| (node.clone(), (seen.heart.generation, seen.secrets.clone())));
        self.first.get_or_insert_with(|| all().collect());
    }

    /// Whether other nodes live.
    pub(super) fn company(&self) -> Company {
        if self.looked.is_none() {
            return Company::Unknown;
        }
        let living: Vec<&NodeId> = self.living().map(|(node, _)| node).collect();
        match self.seen.values().any(Seen::is_unsure) {
            _ if !living.is_empty() => Company::Living(named(&living)),
            true => Company::Unsure,
            false => Company::Nobody,
        }
    }

    /// The nodes that live, if none of them shares a secret with this one, in words. Once this node has joined, those that have come
    /// or changed since its first look don't count.
    pub(super) fn strangers(&self, keys: &Keyring, has_joined: bool) -> Option<String> {
        // Who has not said its secrets may share one.
        if self.living().any(|(_, seen)| seen.secrets.is_empty() || keys.shares(&seen.secrets)) {
            return None;
        }
        let was_there = |(node, seen): &(&NodeId, &Seen)| {
            let first = self.first.as_ref().and_then(|first| first.get(*node));
            first.is_some_and(|(life, secrets)| *life == seen.heart.generation && *secrets == seen.secrets)
        };
        let strangers = self.living().filter(|one| !has_joined || was_there(one));
        let strangers: Vec<&NodeId> = strangers.map(|(node, _)| node).collect();
        (!strangers.is_empty()).then(|| named(&strangers))
    }

    fn living(&self) -> impl Iterator<Item = (&NodeId, &Seen)> {
        self.seen.iter().filter(|(_, seen)| seen.is_living())
    }
}

/// The first of some nodes by their names, and how many more there are.
pub(super) fn named(nodes: &[&NodeId]) -> String {
    let names: Vec<&str> = nodes.iter().take(NAMED).map(|node| node.as_str()).collect();
    let names = names.join(", ");
    match nodes.len().saturating_sub(NAMED) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Looks a second apart.
    struct Watch {
        hearts: Hearts,
        now: Instant,
    }

    impl Watch {
        fn new() -> Self {
            Self { hearts: Hearts::default(), now: Instant::now() }
        }

        fn look(&mut self, beats: &[(&str, u64, u64, u8)]) -> Company {
            let beat = |(node, generation, count, secret): &(&str, u64, u64, u8)| Beat {
                node: NodeId::parse(node).unwrap(),
                heart: Heartbeat { generation: Generation(*generation), count: *count },
                secrets: keys(*secret).fingerprints(),
            };
            self.now += SECOND;
            self.hearts.look(beats.iter().map(beat).collect(), self.now, self.now);
            self.hearts.company()
        }
    }

    fn keys(secret: u8) -> Keyring {
        Keyring::from_secrets([[secret; 32]]).unwrap()
    }

    fn living(names: &str) -> Company {
        Company::Living(names.into())
    }

    #[test]
    fn hearts_that_stand_still_for_six_seconds_are_those_of_the_dead() {
        let mut watch = Watch::new();
        assert_eq!(watch.hearts.company(), Company::Unknown);
        assert_eq!(watch.look(&[]), Company::Nobody);
        let mut watch = Watch::new();
        let rows = [("a", 1, 7, 1), ("b", 1, 9, 1)];
        for _ in 0..6 {
            assert_eq!(watch.look(&rows), Company::Unsure);
        }
        assert_eq!(watch.look(&rows), Company::Nobody);
        assert_eq!(watch.look(&[("a", 2, 1, 1), rows[1]]), living("a"), "a later life");
        assert_eq!(watch.look(&[("a", 2, 1, 1), rows[1], ("c", 1, 1, 1)]), living("a, c"), "a new node");
        for _ in 0..4 {
            assert_eq!(watch.look(&[("a", 2, 1, 1), rows[1], ("c", 1, 1, 1)]), living("a, c"));
        }
        assert_eq!(watch.look(&[("a", 2, 1, 1), rows[1], ("c", 1, 1, 1)]), living("c"));
        assert_eq!(watch.look(&[("a", 2, 1, 1), rows[1], ("c", 1, 1, 1)]), Company::Nobody);
    }

    #[test]
    fn after_a_pause_they_are_timed_anew() {
        let mut watch = Watch::new();
        watch.look(&[("a", 1, 1, 1)]);
        assert_eq!(watch.look(&[("a", 1, 2, 1)]), living("a"));
        watch.now += 60 * SECOND;
        for _ in 0..6 {
            assert_eq!(watch.look(&[("a", 1, 2, 1)]), Company::Unsure, "the store may have been away for it too");
        }
        assert_eq!(watch.look(&[("a", 1, 2, 1)]), Company::Nobody);
        watch.now += 60 * SECOND;
        assert_eq!(watch.look(&[("a", 1, 3, 1)]), living("a"));
    }

    #[test]
    fn who_has_come_later_with_other_secrets_is_to_mend_it() {
        let (mut older, mut newer) = (Watch::new(), Watch::new());
        older.look(&[]);
        newer.look(&[("a", 1, 7, 1)]);
        let strangers = |watch: &Watch, secret, has_joined| watch.hearts.strangers(&keys(secret), has_joined);
        assert_eq!(strangers(&newer, 2, true), None, "it may be dead");
        older.look(&[("b", 2, 1, 2)]);
        newer.look(&[("a", 1, 8, 1)]);
        assert_eq!(strangers(&older, 1, true), None);
        assert_eq!(strangers(&older, 1, false), Some("b".into()));
        assert_eq!(strangers(&newer, 2, true), Some("a".into()));
        // One that shares a secret is enough, or may.
        newer.look(&[("a", 1, 9, 1), ("c", 1, 1, 2)]);
        assert_eq!(strangers(&newer, 2, true), None);
        assert_eq!(strangers(&newer, 3, true), Some("a".into()));
        // A life that was there, and has other secrets since.
        newer.look(&[("a", 1, 10, 4)]);
        assert_eq!(strangers(&newer, 2, true), None);
        newer.hearts.begin_anew();
        newer.look(&[("a", 1, 11, 4)]);
        assert_eq!(strangers(&newer, 2, true), Some("a".into()), "it is this one whose secrets have changed last");
        assert_eq!(strangers(&newer, 4, true), None);
        (0..6).for_each(|_| drop(newer.look(&[("a", 1, 11, 4)])));
        assert_eq!(strangers(&newer, 2, true), None, "the dead share nothing with anybody");
    }

    #[test]
    fn a_node_that_has_not_said_its_secrets_may_share_one() {
        let (mut hearts, now) = (Hearts::default(), Instant::now());
        for count in 1..3 {
            let heart = Heartbeat { generation: Generation(1), count };
            hearts.look(vec![Beat { node: NodeId::parse("a").unwrap(), heart, secrets: Vec::new() }], now, now);
        }
        assert_eq!((hearts.company(), hearts.strangers(&keys(1), false)), (living("a"), None));
        let nodes: Vec<NodeId> =
            ["a", "b", "c", "d", "e"].iter().map(|name| NodeId::parse(name).unwrap()).collect();
        assert_eq!(named(&nodes.iter().collect::<Vec<_>>()), "a, b, c and 2 more");
    }
}
