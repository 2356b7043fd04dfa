//! Which switchboards are dead, so that what they left behind may be picked up.
//!
//! Gossip says who is alive. Whom it has lost may be cut off and serve others all the same: its heart, which beats in the
//! store (`heart`), tells the one from the other.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::model::{Generation, NodeId};
use common::store::Heartbeat;
use tokio::time::Instant;

/// What gossip says of one life of a switchboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It is alive.
    Living,
    /// Its node is in a later life.
    Superseded,
    /// Gossip does not know it.
    Absent,
}

/// Whether what a switchboard has left may be picked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// No: it lives.
    No,
    /// No: gossip has lost it, but its heart beats.
    CutOff,
    /// Not yet: ask again after that time.
    NotYet(Duration),
    /// Yes, and it never comes back.
    ForGood,
    /// Yes; it may have lost gossip and store, and live all the same.
    Probably,
}

/// Lives of switchboards that gossip knows, or that somebody asks about.
#[derive(Debug, Default)]
pub(crate) struct Lives(Mutex<HashMap<(NodeId, Generation), Known>>);

#[derive(Debug)]
struct Known {
    /// When gossip last knew it; nothing: never, or it is known to have lost it.
    heard: Option<Instant>,
    /// When that was, or it was last asked about.
    asked: Instant,
    /// What was seen of its heart since gossip has lost it.
    heart: Option<Heart>,
    /// The store knows a later life.
    is_superseded: bool,
}

#[derive(Debug, Clone, Copy)]
struct Heart {
    count: u64,
    /// How often it was seen to have beaten.
    rises: u32,
    moved: Instant,
    looked_at: Instant,
}

impl Lives {
    /// So long a heart must stand still until its switchboard counts as dead.
    const SILENCE: Duration = Duration::from_secs(7);
    /// A heart that was seen to beat so often since gossip has lost it is that of a switchboard which is cut off.
    const RISES: u32 = 2;
    /// A look at a heart that is older says nothing about this moment.
    const FRESH: Duration = Duration::from_secs(10);
    /// Looks are a second apart. After a longer pause its standing still is timed anew.
    const GAP: Duration = Duration::from_secs(3);
    /// How soon there will be a look again.
    const LOOK: Duration = Duration::from_secs(2);
    /// So long after the last question nobody cares any more whether it lives.
    const CARE: Duration = Duration::from_secs(150);
    /// Lives that are remembered. Beyond that all are forgotten, and those that are absent waited for anew.
    const MOST: usize = 4096;

    fn lock(&self) -> MutexGuard<'_, HashMap<(NodeId, Generation), Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A life is known to gossip. To be told about once a second of each.
    pub(super) fn see(&self, node: &NodeId, generation: Generation) {
        self.judge(Life::Living, node, generation);
    }

    /// Takes in what gossip says at this moment, and judges by what was seen of the heart.
    pub(super) fn judge(&self, life: Life, node: &NodeId, generation: Generation) -> Left {
        let (mut lives, key, now) = (self.lock(), (node.clone(), generation), Instant::now());
        if lives.len() >= Self::MOST && !lives.contains_key(&key) {
            lives.clear();
        }
        if life == Life::Superseded {
            lives.remove(&key);
            return Left::ForGood;
        }
        let new = Known { heard: None, asked: now, heart: None, is_superseded: false };
        let known = lives.entry(key).or_insert(new);
        known.asked = now;
        if life == Life::Living {
            (known.heard, known.heart) = (Some(now), None);
            return Left::No;
        }
        known.heard = None;
        if known.is_superseded {
            return Left::ForGood;
        }
        let fresh = known.heart.filter(|heart| now.duration_since(heart.looked_at) <= Self::FRESH);
        let Some(heart) = fresh else { return Left::NotYet(Self::LOOK) };
        match Self::SILENCE.saturating_sub(heart.looked_at.duration_since(heart.moved)) {
            Duration::ZERO => Left::Probably,
            _ if heart.rises >= Self::RISES => Left::CutOff,
            left => Left::NotYet(left.max(Self::LOOK)),
        }
    }

    /// The nodes whose hearts are to be looked at: those with a life that gossip has lost and somebody cares about.
    pub(crate) fn lost(&self) -> Vec<NodeId> {
        /// Gossip is looked at once a second.
        const SEEN: Duration = Duration::from_millis(2500);
        let (mut lives, now) = (self.lock(), Instant::now());
        lives.retain(|_, known| now.duration_since(known.asked) <= Self::CARE);
        let is_lost = |known: &Known| known.heard.is_none_or(|heard| now.duration_since(heard) >= SEEN);
        let lost = lives.iter().filter(|(_, known)| is_lost(known));
        let lost: BTreeSet<NodeId> = lost.map(|((node, _), _)| node.clone()).collect();
        lost.into_iter().collect()
    }

    /// The last beat of a node's heart, as the store has it at this moment.
    pub(crate) fn look(&self, node: &NodeId, beat: Option<Heartbeat>) {
        let (mut lives, now) = (self.lock(), Instant::now());
        for ((_, generation), known) in lives.iter_mut().filter(|((id, _), _)| id == node) {
            known.is_superseded |= beat.is_some_and(|beat| beat.generation > *generation);
            let count = beat.filter(|beat| beat.generation == *generation).map_or(0, |beat| beat.count);
            let before = known.heart.unwrap_or(Heart { count, rises: 0, moved: now, looked_at: now });
            // Between looks that were so far apart it may have stood still because the store was away for everybody.
            let gap = now.duration_since(before.looked_at) > Self::GAP;
            let moved = count != before.count;
            known.heart = Some(Heart {
                count,
                rises: before.rises + u32::from(moved),
                moved: if moved || gap { now } else { before.moved },
                looked_at: now,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        lives: Lives,
        node: NodeId,
        beats: u64,
    }

    impl World {
        fn new() -> Self {
            Self { lives: Lives::default(), node: NodeId::parse("sb-1").unwrap(), beats: 0 }
        }

        fn judge(&self, life: Life) -> Left {
            self.lives.judge(life, &self.node, Generation(1))
        }

        /// Looks at the heart for so many seconds, every second; it beats every other second if it `beats`.
        async fn pass(&mut self, secs: u64, beats: bool) {
            for second in 0..secs {
                tokio::time::advance(Duration::from_secs(1)).await;
                self.beats += u64::from(beats && second % 2 == 0);
                self.lives.look(&self.node, Some(Heartbeat { generation: Generation(1), count: self.beats }));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_life_is_over_when_its_heart_stands_still_or_another_has_begun() {
        let mut world = World::new();
        assert_eq!(world.judge(Life::Living), Left::No);
        assert_eq!(world.lives.lost(), []);
        assert_eq!(world.judge(Life::Absent), Left::NotYet(Lives::LOOK));
        assert_eq!(world.lives.lost(), std::slice::from_ref(&world.node));
        world.pass(7, false).await;
        assert_eq!(world.judge(Life::Absent), Left::NotYet(Lives::LOOK));
        world.pass(1, false).await;
        assert_eq!(world.judge(Life::Absent), Left::Probably);
        assert_eq!(world.judge(Life::Living), Left::No);
        assert_eq!(world.judge(Life::Absent), Left::NotYet(Lives::LOOK), "from the beginning");
        assert_eq!(world.judge(Life::Superseded), Left::ForGood);
        assert_eq!(world.judge(Life::Absent), Left::NotYet(Lives::LOOK));
        world.lives.look(&world.node, Some(Heartbeat { generation: Generation(2), count: 1 }));
        assert_eq!(world.judge(Life::Absent), Left::ForGood);
    }

    #[tokio::test(start_paused = true)]
    async fn whose_heart_beats_is_cut_off_until_it_stands_still() {
        let mut world = World::new();
        assert_eq!(world.judge(Life::Absent), Left::NotYet(Lives::LOOK));
        world.pass(60, true).await;
        assert_eq!(world.judge(Life::Absent), Left::CutOff);
        world.pass(5, false).await;
        assert_eq!(world.judge(Life::Absent), Left::CutOff);
        world.pass(1, false).await;
        assert_eq!(world.judge(Life::Absent), Left::Probably);
    }

    /// While the store does not tell, nobody dies.
    #[tokio::test(start_paused = true)]
    async fn an_old_look_says_nothing() {
        let mut world = World::new();
        world.judge(Life::Absent);
        world.pass(8, false).await;
        assert_eq!(world.judge(Life::Absent), Left::Probably);
        tokio::time::advance(Lives::FRESH + Duration::from_secs(1)).await;
        assert_eq!(world.judge(Life::Absent), Left::NotYet(Lives::LOOK));
    }

    /// The store was away, and no heart could beat.
    #[tokio::test(start_paused = true)]
    async fn a_pause_between_looks_is_no_silence() {
        let mut world = World::new();
        world.judge(Life::Absent);
        world.pass(2, false).await;
        tokio::time::advance(Duration::from_secs(8)).await;
        world.pass(1, false).await;
        assert_eq!(world.judge(Life::Absent), Left::NotYet(Lives::SILENCE));
        world.pass(7, false).await;
        assert_eq!(world.judge(Life::Absent), Left::Probably);
    }

    #[tokio::test(start_paused = true)]
    async fn only_lives_that_matter_are_remembered() {
        let world = World::new();
        for generation in 0..2 * Lives::MOST as u64 {
            world.lives.judge(Life::Absent, &world.node, Generation(generation));
        }
        assert!(world.lives.lock().len() <= Lives::MOST);
        tokio::time::advance(Lives::CARE + Duration::from_secs(1)).await;
        assert_eq!(world.lives.lost(), []);
        assert!(world.lives.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_vanishes_from_gossip_is_looked_at_before_anybody_asks() {
        let world = World::new();
        world.lives.see(&world.node, Generation(1));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(world.lives.lost(), []);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(world.lives.lost(), std::slice::from_ref(&world.node));
    }
}
