//! Which switchboards are dead, so that what they left behind may be picked up.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::model::{Generation, NodeId};
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
    /// Not yet: ask again after that time.
    NotYet(Duration),
    /// Yes, and it never comes back.
    ForGood,
    /// Yes; gossip may have lost it all the same.
    Probably,
}

/// When lives of switchboards were last known to gossip; of one that was never, when that was first asked.
#[derive(Debug, Default)]
pub(super) struct Lives(Mutex<HashMap<(NodeId, Generation), Instant>>);

impl Lives {
    /// So long a life must be absent until it counts as dead.
    const SILENCE: Duration = Duration::from_secs(7);
    /// Lives that are remembered. Beyond that all are forgotten, and those that are absent waited for anew.
    const MOST: usize = 4096;

    /// A life is known to gossip. To be told about once a second of each.
    pub(super) fn see(&self, node: &NodeId, generation: Generation) {
        self.judge(Life::Living, node, generation);
    }

    /// Takes in what gossip says at this moment.
    pub(super) fn judge(&self, life: Life, node: &NodeId, generation: Generation) -> Left {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (key, now) = ((node.clone(), generation), Instant::now());
        if known.len() >= Self::MOST && !known.contains_key(&key) {
            known.clear();
        }
        match life {
            Life::Living => {
                known.insert(key, now);
                Left::No
            }
            Life::Superseded => {
                known.remove(&key);
                Left::ForGood
            }
            Life::Absent => {
                let since = now.duration_since(*known.entry(key).or_insert(now));
                match Self::SILENCE.saturating_sub(since) {
                    Duration::ZERO => Left::Probably,
                    left => Left::NotYet(left),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_life_is_over_when_it_was_absent_for_long_or_another_has_begun() {
        let (lives, node) = (Lives::default(), NodeId::parse("sb-1").unwrap());
        let judge = |life| lives.judge(life, &node, Generation(1));
        assert_eq!(judge(Life::Living), Left::No);
        assert_eq!(judge(Life::Absent), Left::NotYet(Lives::SILENCE));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(judge(Life::Absent), Left::NotYet(Duration::from_secs(1)));
        assert_eq!(judge(Life::Living), Left::No);
        assert_eq!(judge(Life::Absent), Left::NotYet(Lives::SILENCE));
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(judge(Life::Absent), Left::Probably);
        assert_eq!(judge(Life::Superseded), Left::ForGood);
        for generation in 0..2 * Lives::MOST as u64 {
            lives.judge(Life::Absent, &node, Generation(generation));
        }
        assert!(lives.0.lock().unwrap().len() <= Lives::MOST);
    }
}
