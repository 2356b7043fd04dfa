//! Gaps: moments at which notices may have been lost, and with whom.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::model::NodeId;

/// What is known of lost notices since it was last asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gap {
    /// Notices of this node have not arrived, it is not known where: the others should compare what they show with it.
    pub own_lost: bool,
    /// Nodes whose notices to this one may be lost: a link to them is new, they were found again, or they say so.
    pub with: BTreeSet<NodeId>,
}

/// Collects gaps until somebody asks for them.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    gap: Mutex<Gap>,
    wake: Notify,
}

impl Gaps {
    /// Notices of this node were lost.
    pub(super) fn lost_own(&self) {
        self.lock().own_lost = true;
        self.wake.notify_one();
    }

    /// Notices of that node may be lost.
    pub(super) fn with(&self, node: &NodeId) {
        self.lock().with.insert(node.clone());
        self.wake.notify_one();
    }

    /// Waits for gaps and takes them all. One task asks. Safe to cancel.
    pub(super) async fn next(&self) -> Gap {
        loop {
            let gap = std::mem::take(&mut *self.lock());
            if gap != Gap::default() {
                return gap;
            }
            self.wake.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Gap> {
        self.gap.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gaps_are_collected_and_told_once() {
        let (gaps, node) = (Gaps::default(), NodeId::parse("ns-2").unwrap());
        gaps.with(&node);
        gaps.lost_own();
        gaps.with(&node);
        assert_eq!(gaps.next().await, Gap { own_lost: true, with: [node].into() });
        let waits = tokio::time::timeout(std::time::Duration::from_millis(1), gaps.next());
        assert!(waits.await.is_err(), "nothing is told twice");
    }
}
