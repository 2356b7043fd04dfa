//! Both sides of comparing whom nodes show: see `sighting`.

use std::time::Duration;

use tokio::time::timeout;

use super::node::Node;
use super::notice::{Notice, Outcome, Watcher};
use super::ring::Place;
use super::router::Router;
use super::sighting::{BUCKETS, Sighting, Tally};
use super::wire::{Group, Parcel, Reply, Request};
use crate::model::Passport;

/// As many sightings fit into a frame, with room to spare. A node asks for half as many at a time.
const MOST_SIGHTINGS: usize = 40_000;

/// Those who are asked how they look, and the watchers who are to hear it if they are signed in nowhere.
pub(super) type Asked = Vec<(usize, Passport, Vec<Watcher>)>;

/// Whom these groups ask for watchers that were shown something.
pub(super) fn asked_in(groups: &[Group]) -> Asked {
    let mut asked = Asked::new();
    for (index, group) in groups.iter().enumerate() {
        for notice in &group.notices {
            let Notice::Probe { watchers, .. } = notice else { continue };
            let shown: Vec<_> = watchers.iter().filter(|watcher| watcher.shown.is_some()).cloned().collect();
            if !shown.is_empty() {
                asked.push((index, group.to.clone(), shown));
            }
        }
    }
    asked
}

impl Router {
    /// Tells watchers here that those whom they have asked for are signed in nowhere, where that is sure.
    pub(super) async fn tell_absent(&self, asked: Asked, outcomes: &[Outcome], patience: Duration) {
        let missing = asked.into_iter().filter(|(index, ..)| outcomes.get(*index) == Some(&Outcome::NotHere));
        let parcels = missing.flat_map(|(_, of, watchers)| {
            watchers.into_iter().filter_map(move |watcher| {
                let notice = Notice::Absent { of: of.clone(), shown: watcher.shown? };
                Some(Parcel {
                    epoch: Some(watcher.epoch),
                    group: Group { to: watcher.who, notices: vec![notice] },
                })
            })
        });
        let parcels: Vec<Parcel> = parcels.collect();
        if !parcels.is_empty() {
            self.delivery.deliver(parcels, patience).await;
        }
    }

    /// See [`super::Cluster::tallies`].
    pub(super) async fn tallies(&self, of: &Node, patience: Duration) -> Option<Vec<Tally>> {
        match self.ask_node(of, patience, |id| Request::Tallies { id }).await? {
            Reply::Tallies { tallies, .. } if tallies.len() == BUCKETS => Some(tallies),
            _ => None,
        }
    }

    /// See [`super::Cluster::sightings`].
    pub(super) async fn sightings(
        &self,
        of: &Node,
        buckets: Vec<u8>,
        patience: Duration,
    ) -> Option<Vec<Vec<Sighting>>> {
        match self.ask_node(of, patience, |id| Request::Sightings { id, buckets }).await? {
            Reply::Sightings { buckets, .. } => Some(buckets),
            _ => None,
        }
    }

    async fn ask_node(
        &self,
        node: &Node,
        patience: Duration,
        request: impl FnOnce(u64) -> Request,
    ) -> Option<Reply> {
        let place = Place { node: node.id.clone(), generation: node.generation };
        let wait = self.links.to(&place)?.request(request).ok()?;
        timeout(patience, wait).await.ok()?.ok()
    }

    /// What this node answers: as many of the buckets, in their order, as fit into a frame.
    pub(super) fn own_sightings(&self, buckets: &[u8]) -> Vec<Vec<Sighting>> {
        let Some(hub) = self.delivery.hub() else { return Vec::new() };
        let (mut answer, mut count) = (Vec::new(), 0);
        for sightings in buckets.iter().map(|bucket| hub.sightings(*bucket)) {
            count += sightings.len();
            if count > MOST_SIGHTINGS {
                break;
            }
            answer.push(sightings);
        }
        answer
    }

    /// Tells all other notification nodes that notices of this one to them may be lost.
    pub(super) fn tell_gap(&self) {
        for place in self.ring().all().iter().filter(|place| **place != self.me) {
            // One that can't be told now compares when its link is up again.
            let _ = self.links.to(place).map(|link| link.tell(&Request::Gap));
        }
    }
}
