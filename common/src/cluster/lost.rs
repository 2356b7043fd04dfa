//! Nodes that gossip has lost without their having said that they go: they may be dead, or paused or cut off and go on.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::node::{Role, View};
use crate::model::NodeId;

/// Notification nodes and switchboards that were lost, with since when.
#[derive(Debug, Default)]
pub(super) struct Lost(BTreeMap<NodeId, Instant>);

impl Lost {
    /// Of more the one that was lost first is forgotten.
    const MOST: usize = 1000;

    /// Notes whom a change has lost, and forgets whoever is there again, in whichever life.
    pub(super) fn follow(&mut self, before: &View, after: &View, now: Instant) {
        self.0.retain(|id, _| after.node(id).is_none());
        let gone = before.all().filter(|node| node.role != Role::Dispatch && after.node(&node.id).is_none());
        for node in gone.filter(|node| !node.load.draining) {
            if self.0.len() >= Self::MOST
                && let Some(first) = self.0.iter().min_by_key(|(_, since)| **since).map(|(id, _)| id.clone())
            {
                self.0.remove(&first);
            }
            self.0.insert(node.id.clone(), now);
        }
    }

    /// Those that were lost within `time`.
    pub(super) fn within(&self, time: Duration, now: Instant) -> Vec<NodeId> {
        self.0.iter().filter(|(_, since)| now.duration_since(**since) < time).map(|(id, _)| id.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ring::tests::node;

    #[tokio::test(start_paused = true)]
    async fn whoever_went_without_a_word_is_lost_until_it_is_back() {
        let (mut lost, hour) = (Lost::default(), Duration::from_secs(3600));
        let mut drains = node("b", 1);
        drains.load.draining = true;
        let all = View::new([node("a", 1), drains, node("c", 1)]);
        let names = |lost: &Lost, now| lost.within(hour, now).iter().map(NodeId::to_string).collect::<Vec<_>>();
        let now = Instant::now();
        lost.follow(&all, &View::new([]), now);
        assert_eq!(names(&lost, now), ["a", "c"], "b has said that it goes");
        lost.follow(&View::new([]), &View::new([node("a", 2)]), now);
        assert_eq!(names(&lost, now), ["c"]);
        assert_eq!(names(&lost, now + hour), [""; 0]);
        for number in 0..2 * Lost::MOST {
            lost.follow(&View::new([node(&format!("n{number}"), 1)]), &View::new([]), now + hour);
        }
        assert_eq!(lost.0.len(), Lost::MOST);
        assert!(!lost.0.contains_key(&NodeId::parse("c").unwrap()), "the first");
    }
}
