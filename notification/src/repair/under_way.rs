//! What is under way: a comparison with one node, or the search for those who were in lives that are over. It goes on bucket by
//! bucket, and only when all was asked that has come of it so far, so that questions do not pile up.

use std::collections::{BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use common::cluster::{BUCKETS, Node, Sighting, Tally};
use common::model::NodeId;

use super::clock_now;
use super::schedule::Compared;
use super::watchings::{Life, Question, Watchings};
use crate::services::Services;

/// Another node has so long to answer. A list is not compared that is older.
const PATIENCE: Duration = Duration::from_secs(3);
/// So many sightings are asked for at a time.
const AT_A_TIME: u32 = 20_000;

/// See the module.
pub(super) enum Work {
    /// A comparison.
    Comparing(Box<Comparison>),
    /// A search.
    Orphans(Orphans),
}

/// How far it has come.
pub(super) enum Progress {
    /// These are to be asked, perhaps nobody; then it goes on.
    Ask(Vec<Question>),
    /// To the end.
    Done,
    /// The node has not answered.
    NoAnswer,
}

/// Whom a node shows is compared with what was shown here.
pub(super) struct Comparison {
    /// With which node.
    pub(super) node: NodeId,
    /// What was compared and found right, now and before.
    pub(super) compared: Compared,
    /// So many were asked.
    pub(super) asked: usize,
    peer: Node,
    life: Life,
    /// The buckets whose lists are still to be asked for, together as they stand.
    batches: VecDeque<Vec<u8>>,
    /// What the node has answered last.
    lists: VecDeque<(u8, Vec<Sighting>)>,
    answered: Instant,
}

impl Comparison {
    /// Finds out where something has changed. Nothing: the node has not answered.
    pub(super) async fn begin(services: &Services, node: &NodeId, mut compared: Compared) -> Option<Self> {
        let (watchings, view) = (&services.hub.watchings, services.cluster.view());
        let peer = view.node(node)?.clone();
        let tallies = if is_own(services, &peer) {
            services.hub.visible.tallies()
        } else {
            services.cluster.tallies(&peer, PATIENCE).await?
        };
        compared.resize(BUCKETS, None);
        let batches = batches(&differing(&tallies, &compared, watchings)).into();
        let (life, lists, answered) = (watchings.life_of(node), VecDeque::new(), clock_now());
        Some(Self { node: node.clone(), compared, asked: 0, peer, life, batches, lists, answered })
    }

    /// Goes on until somebody is to be asked, or for as many buckets as were asked for at a time.
    pub(super) async fn go_on(&mut self, services: &Services) -> Progress {
        if !self.lists.is_empty() && clock_now().duration_since(self.answered) > PATIENCE {
            // Much was asked meanwhile, and they may be others by now.
            self.batches.push_front(self.lists.drain(..).map(|(bucket, _)| bucket).collect());
        }
        if self.lists.is_empty() {
            let Some(buckets) = self.batches.pop_front() else { return Progress::Done };
            let Some(lists) = self.lists_of(services, &buckets).await else { return Progress::NoAnswer };
            self.answered = clock_now();
            let left_out = buckets.get(lists.len()..).unwrap_or_default();
            if !lists.is_empty() && !left_out.is_empty() {
                self.batches.push_front(left_out.to_vec());
            }
            self.lists = buckets.into_iter().zip(lists).collect();
        }
        let watchings = &services.hub.watchings;
        while let Some((bucket, list)) = self.lists.pop_front() {
            let touched = watchings.touched(bucket).unwrap_or_default();
            let questions = watchings.compare(bucket, self.life, &list);
            let right = questions.is_empty().then(|| (Tally::of(&list).sum, touched));
            if let Some(known) = self.compared.get_mut(usize::from(bucket)) {
                *known = right;
            }
            if !questions.is_empty() {
                self.asked += questions.len();
                return Progress::Ask(questions);
            }
        }
        Progress::Ask(Vec::new())
    }

    /// Of the first of these buckets at least.
    async fn lists_of(&self, services: &Services, buckets: &[u8]) -> Option<Vec<Vec<Sighting>>> {
        if is_own(services, &self.peer) {
            return Some(buckets.iter().map(|bucket| services.hub.visible.sightings(*bucket)).collect());
        }
        services.cluster.sightings(&self.peer, buckets.to_vec(), PATIENCE).await
    }
}

fn is_own(services: &Services, node: &Node) -> bool {
    node.id == *services.cluster.id()
}

/// Those who were shown as being in lives that are over.
pub(super) struct Orphans {
    /// The lives.
    pub(super) over: BTreeSet<Life>,
    /// So many were asked.
    pub(super) asked: usize,
    buckets: RangeInclusive<u8>,
}

impl Orphans {
    /// None was looked for yet.
    pub(super) fn of(over: BTreeSet<Life>) -> Self {
        Self { over, asked: 0, buckets: 0..=u8::MAX }
    }

    /// Goes on until somebody is to be asked.
    pub(super) fn go_on(&mut self, watchings: &Watchings) -> Progress {
        for bucket in self.buckets.by_ref() {
            let questions = watchings.orphans(bucket, &self.over);
            if !questions.is_empty() {
                self.asked += questions.len();
                return Progress::Ask(questions);
            }
        }
        Progress::Done
    }
}

/// The buckets in which somebody is watched and something has changed since they were compared, with how many are there.
fn differing(tallies: &[Tally], compared: &Compared, watchings: &Watchings) -> Vec<(u8, u32)> {
    let mut differing = Vec::new();
    for (bucket, (tally, known)) in (0..=u8::MAX).zip(tallies.iter().zip(compared)) {
        let Some(touched) = watchings.touched(bucket) else { continue };
        if *known != Some((tally.sum, touched)) {
            differing.push((bucket, tally.count));
        }
    }
    differing
}

/// Buckets in batches of at most [`AT_A_TIME`] sightings; one that is larger comes by itself.
fn batches(buckets: &[(u8, u32)]) -> Vec<Vec<u8>> {
    let (mut batches, mut room): (Vec<Vec<u8>>, u32) = (Vec::new(), 0);
    for (bucket, count) in buckets {
        match batches.last_mut() {
            Some(batch) if *count <= room => {
                batch.push(*bucket);
                room -= count;
            }
            _ => {
                batches.push(vec![*bucket]);
                room = AT_A_TIME.saturating_sub(*count);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_asked_for_in_batches_that_fit() {
        let half = AT_A_TIME / 2;
        let buckets = [(0, half), (3, half), (4, 1), (9, AT_A_TIME * 2), (10, 0), (11, 5)];
        assert_eq!(batches(&buckets), [vec![0, 3], vec![4], vec![9, 10], vec![11]]);
        assert!(batches(&[]).is_empty());
    }
}
