//! The asking side: notices of this node on their way to wherever their recipients are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use super::comparing::asked_in;
use super::delivery::better;
use super::node::Node;
use super::notice::{Notice, Outcome};
use super::posting::{Batches, group_size};
use super::ring::{Place, Ring};
use super::router::{Router, hand, handed, to_millis};
use super::wire::{Answer, Group, Parcel, Reply, Request};
use crate::model::{Epoch, Passport};

/// Posted notices are given up after so long on each step of their way.
const POST_PATIENCE: Duration = Duration::from_secs(5);

/// An owner that can't be asked: another one may know.
struct Unreachable;

/// Groups on their way. When they have arrived, or their task has ended for whatever reason, those behind them leave.
struct OnTheirWay {
    router: Arc<Router>,
    groups: Vec<(Passport, usize)>,
}

impl Drop for OnTheirWay {
    fn drop(&mut self) {
        let next = self.router.chains.leave(std::mem::take(&mut self.groups));
        self.router.send_off(next);
    }
}

impl Router {
    /// So many notices to sessions of one node share a frame: they fit, however long each is.
    const LETTERS: usize = 64;

    /// See [`super::Cluster::route`].
    pub(super) async fn route(&self, to: &Passport, notice: Notice, patience: Duration) -> Outcome {
        let groups = vec![Group { to: to.clone(), notices: vec![notice] }];
        let outcomes = timeout(patience, self.carry(groups, patience)).await.unwrap_or_default();
        outcomes.first().copied().unwrap_or(Outcome::Unknown)
    }

    /// See [`super::Cluster::hand`].
    pub(super) async fn hand_over(
        &self,
        to: &Node,
        who: &Passport,
        notice: Notice,
        patience: Duration,
    ) -> Outcome {
        let place = Place { node: to.id.clone(), generation: to.generation };
        let parcels = vec![Parcel { epoch: None, group: Group { to: who.clone(), notices: vec![notice] } }];
        let Some(wait) = hand(self, &place, parcels, patience) else { return Outcome::Unknown };
        let outcomes = handed(timeout(patience, wait).await.ok());
        outcomes.first().copied().unwrap_or(Outcome::Unknown)
    }

    /// See [`super::Cluster::post`].
    pub(super) fn post(self: &Arc<Self>, notices: Vec<(Passport, Notice)>) {
        let (groups, dropped) = self.chains.enter(notices);
        if dropped > 0 {
            self.dropped(dropped, "too many notices wait for other nodes");
        }
        self.send_off(groups);
    }

    /// See [`super::Cluster::post_to`].
    pub(super) fn post_to(&self, holder: &Place, letters: Vec<(Passport, Epoch, Notice)>) {
        let mut letters = letters.into_iter();
        loop {
            let some = letters.by_ref().take(Self::LETTERS);
            let parcels: Vec<Parcel> = some
                .map(|(to, epoch, notice)| Parcel {
                    epoch: Some(epoch),
                    group: Group { to, notices: vec![notice] },
                })
                .collect();
            if parcels.is_empty() {
                return;
            }
            self.post_parcels(holder, parcels);
        }
    }

    /// See [`super::Cluster::hint`].
    pub(super) fn hint(&self, node: &Place, notices: Vec<(Passport, Notice)>) {
        let Some(link) = self.links.to(node) else { return };
        let mut notices = notices.into_iter();
        loop {
            let some = notices.by_ref().take(Self::LETTERS);
            let parcels: Vec<Parcel> = some
                .map(|(to, notice)| Parcel { epoch: None, group: Group { to, notices: vec![notice] } })
                .collect();
            if parcels.is_empty() {
                return;
            }
            let request = Request::Hand { id: 0, patience_ms: to_millis(POST_PATIENCE), parcels };
            if link.tell(&request).is_err() {
                return;
            }
        }
    }

    fn post_parcels(&self, holder: &Place, parcels: Vec<Parcel>) {
        let (_runtime, count) = (self.runtime.enter(), parcels.len());
        if *holder == self.me {
            let delivery = self.delivery.clone();
            let work = async move {
                delivery.deliver(parcels, POST_PATIENCE).await;
            };
            return self.delivery.run(work, || self.dropped(count, "too many notices wait for sessions"));
        }
        let request = Request::Hand { id: 0, patience_ms: to_millis(POST_PATIENCE), parcels };
        let sent = self.links.to(holder).is_some_and(|link| link.tell(&request).is_ok());
        if !sent {
            self.dropped(count, "the node of a session can't be reached");
        }
    }

    /// Sends groups off, in a batch for each first owner.
    fn send_off(self: &Arc<Self>, groups: Vec<Group>) {
        if groups.is_empty() {
            return;
        }
        let ring = self.ring();
        let mut by_owner: BTreeMap<Option<Place>, Batches> = BTreeMap::new();
        for group in groups {
            by_owner.entry(self.owner(&ring, &group.to, 0)).or_default().push(group);
        }
        for batch in by_owner.into_values().flat_map(Batches::finish) {
            let sizes = batch.iter().map(|group| (group.to.clone(), group_size(group))).collect();
            let way = OnTheirWay { router: Arc::clone(self), groups: sizes };
            let asked = asked_in(&batch);
            let stop = self.stop.clone();
            self.runtime.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    outcomes = way.router.carry(batch, POST_PATIENCE) => {
                        let lost = outcomes.iter().filter(|outcome| **outcome == Outcome::Unknown).count();
                        if lost > 0 {
                            way.router.dropped(lost, "no word of notices that were sent");
                        }
                        way.router.tell_absent(asked, &outcomes, POST_PATIENCE).await;
                    }
                }
            });
        }
    }

    fn dropped(&self, count: usize, why: &str) {
        self.gaps.lost_own();
        self.metrics.dropped_notices.inc_by(count as u64);
        if self.drops.permits().is_some() {
            tracing::warn!(count, why, "notices dropped (others in this minute are only counted)");
        }
    }

    /// The owner of a passport to be asked first or second; this node first, if it is one.
    fn owner(&self, ring: &Ring, who: &Passport, turn: usize) -> Option<Place> {
        let mut owners: Vec<&Place> = ring.owners(who).collect();
        owners.sort_by_key(|place| **place != self.me);
        owners.get(turn).map(|place| (*place).clone())
    }

    /// Asks an owner of each group, then the other if the first can't be reached; and where nobody can be sure, all
    /// notification nodes once.
    async fn carry(&self, groups: Vec<Group>, patience: Duration) -> Vec<Outcome> {
        let ring = self.ring();
        let mut outcomes = vec![Outcome::Unknown; groups.len()];
        let mut open: Vec<usize> = (0..groups.len()).collect();
        let mut unsure = Vec::new();
        for turn in 0..2 {
            let mut by_owner: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
            for index in std::mem::take(&mut open) {
                match self.owner(&ring, &groups[index].to, turn) {
                    Some(owner) => by_owner.entry(owner).or_default().push(index),
                    None => unsure.push(index),
                }
            }
            for (owner, indices) in by_owner {
                let batch = indices.iter().map(|index| groups[*index].clone()).collect();
                let Ok(answers) = self.ask(&ring, &owner, batch, patience).await else {
                    open.extend(indices);
                    continue;
                };
                for (index, answer) in indices.into_iter().zip(answers) {
                    match answer {
                        Answer::Found(outcome) => outcomes[index] = outcome,
                        Answer::Missing { sure: true } => outcomes[index] = Outcome::NotHere,
                        Answer::Missing { sure: false } => unsure.push(index),
                    }
                }
            }
        }
        unsure.extend(open);
        if !unsure.is_empty() {
            let batch = unsure.iter().map(|index| groups[*index].clone()).collect();
            for (index, outcome) in unsure.into_iter().zip(self.ask_all(&ring, batch, patience).await) {
                outcomes[index] = outcome;
            }
        }
        outcomes
    }

    async fn ask(
        &self,
        ring: &Ring,
        owner: &Place,
        groups: Vec<Group>,
        patience: Duration,
    ) -> Result<Vec<Answer>, Unreachable> {
        if *owner == self.me {
            return Ok(self.resolve(ring.hash(), groups, patience).await);
        }
        let (count, view, patience_ms) = (groups.len(), ring.hash(), to_millis(patience));
        let link = self.links.to(owner).ok_or(Unreachable)?;
        let mut wait =
            link.request(|id| Request::Ask { id, view, patience_ms, groups }).map_err(|_| Unreachable)?;
        let started = Instant::now();
        // An owner may be silent because the session thinks; if its link is silent too, the other one is asked.
        for share in [2, 1] {
            match timeout_at(started + patience / share, &mut wait).await {
                Ok(Ok(Reply::Asked { answers, .. })) if answers.len() == count => return Ok(answers),
                Ok(_) => return Err(Unreachable),
                Err(_) if !link.answers() => return Err(Unreachable),
                Err(_) => {}
            }
        }
        Ok(vec![Answer::Found(Outcome::Unknown); count])
    }

    /// Tries every notification node, without the directory.
    async fn ask_all(&self, ring: &Ring, groups: Vec<Group>, patience: Duration) -> Vec<Outcome> {
        if ring.all().is_empty() {
            return vec![Outcome::Unknown; groups.len()];
        }
        let count = groups.len();
        let parcels: Vec<Parcel> = groups.into_iter().map(|group| Parcel { epoch: None, group }).collect();
        let waits: Vec<Option<oneshot::Receiver<Reply>>> = ring
            .all()
            .iter()
            .filter(|place| **place != self.me)
            .map(|place| hand(self, place, parcels.clone(), patience))
            .collect();
        // A node that has not joined does not know whom else to ask.
        let nowhere = if self.has_joined() { Outcome::NotHere } else { Outcome::Unknown };
        let mut outcomes = vec![nowhere; count];
        let note = |outcomes: &mut Vec<Outcome>, said: &[Outcome]| {
            for (index, outcome) in outcomes.iter_mut().enumerate() {
                *outcome = better(*outcome, said.get(index).copied().unwrap_or(Outcome::Unknown));
            }
        };
        if ring.all().contains(&self.me) {
            note(&mut outcomes, &self.delivery.deliver(parcels, patience).await);
        }
        let deadline = Instant::now() + patience;
        for wait in waits {
            let said = match wait {
                Some(wait) => handed(timeout_at(deadline, wait).await.ok()),
                None => Vec::new(),
            };
            note(&mut outcomes, &said);
        }
        outcomes
    }
}
