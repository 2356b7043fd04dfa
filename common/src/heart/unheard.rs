//! Nodes whose hearts beat in the store and whom this one does not hear: a second cluster at one store, made by other secrets or
//! other seeds, whose users don't see those of this one.

use std::collections::BTreeMap;

use super::judging::named;
use crate::model::{Generation, NodeId};
use crate::store::{Beat, Heartbeat};

/// A node is unheard that was so at as many looks in a row, and its heart has moved between them: one that has just come or gone
/// may beat without being in the view.
const LOOKS: u32 = 3;

/// What was seen at the last looks.
#[derive(Debug, Default)]
pub(super) struct Unheard {
    seen: BTreeMap<NodeId, (Heartbeat, u32)>,
}

impl Unheard {
    /// Takes in the last beats of all nodes, this one (`own`) included. Returns what is to be said of those unheard, if there are any.
    pub(super) fn look(
        &mut self,
        beats: &[Beat],
        own: (&NodeId, Generation),
        is_heard: impl Fn(&NodeId) -> bool,
    ) -> Option<String> {
        let mut before = std::mem::take(&mut self.seen);
        for Beat { node, heart, .. } in beats {
            let is_own = (node, heart.generation) == own;
            if is_own || (node != own.0 && is_heard(node)) {
                continue;
            }
            let looks = match before.remove(node) {
                Some((last, looks)) if last != *heart => looks.saturating_add(1),
                _ => 1,
            };
            self.seen.insert(node.clone(), (*heart, looks));
        }
        let unheard: Vec<&NodeId> =
            self.seen.iter().filter(|(_, (_, looks))| *looks >= LOOKS).map(|(node, _)| node).collect();
        let namesake = if unheard.contains(&own.0) { ", one of them of this node's own name" } else { "" };
        (!unheard.is_empty()).then(|| {
            format!(
                "live by their heartbeats in the store, and are not part of this cluster: {}{namesake}. Compare cluster.secrets, \
                 cluster.seeds and node.id of all who share this store",
                named(&unheard)
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beats(all: &[(&str, u64, u64)]) -> Vec<Beat> {
        let beat = |(node, generation, count): &(&str, u64, u64)| Beat {
            node: NodeId::parse(node).unwrap(),
            heart: Heartbeat { generation: Generation(*generation), count: *count },
            secrets: Vec::new(),
        };
        all.iter().map(beat).collect()
    }

    #[test]
    fn those_who_go_on_beating_and_are_not_heard_are_named() {
        let (mut unheard, own) = (Unheard::default(), NodeId::parse("own").unwrap());
        let mut look = |count: u64, heard: &str| {
            let all = beats(&[("own", 7, count), ("a", 1, count), ("b", 1, count), ("dead", 1, 9)]);
            unheard.look(&all, (&own, Generation(7)), |node| node.as_str() == heard)
        };
        assert_eq!((look(1, "b"), look(2, "b")), (None, None));
        assert!(look(3, "b").unwrap().contains(": a. "));
        assert!(look(4, "none").unwrap().contains(": a. "));
        assert_eq!(look(5, "a"), None, "b has begun later");
        assert!(look(6, "a").unwrap().contains(": b. "));
        assert_eq!(look(6, "a"), None, "it stands still");
    }

    #[test]
    fn a_later_life_of_the_own_name_is_another_node() {
        let (mut unheard, own) = (Unheard::default(), NodeId::parse("own").unwrap());
        let said =
            (1..=3).map(|count| unheard.look(&beats(&[("own", 8, count)]), (&own, Generation(7)), |_| true));
        let said: Vec<_> = said.collect();
        assert_eq!(said[..2], [None, None]);
        assert!(said[2].as_ref().unwrap().contains(": own, one of them of this node's own name"), "{said:?}");
    }
}
