//! Repair: notices get lost, and this finds what is wrong without asking everybody.
//!
//! A node compares, now and then with each other one and itself, who is to be seen there with what its own sessions have
//! shown ([`watchings`]), and asks those who may be shown wrong how they look. [`schedule`] says when, [`visible`] is what this
//! node tells the others. What comes of the questions are answers to probes, which sessions take like all others.

mod questions;
mod schedule;
mod visible;
mod watchings;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::clock;
use common::cluster::{BUCKETS, Notice, PassportKey, Sighting, Tally};
use common::model::{Epoch, NodeId, Passport};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};

use crate::hub::Hub;
use crate::services::Services;
use questions::Questions;
use schedule::{Compared, Schedule};

pub(crate) use visible::Visible;
pub(crate) use watchings::{Question, Shown, WatcherId, Watchings};

/// The view is looked at so often, and this process must have run.
const BEAT: Duration = Duration::from_millis(500);
/// If it has not run for so long, notices to it may have been given up.
const PAUSED: Duration = Duration::from_secs(2);
/// What came for it while it did not run is read first.
const COMING_TO: Duration = Duration::from_secs(1);
/// Another node has so long to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// So many sightings are asked for at a time.
const AT_A_TIME: u32 = 20_000;

/// Compares and asks until shutdown.
pub(crate) async fn run(services: Arc<Services>) {
    let (period, grace) = (services.config.repair_secs, services.config.grace_secs);
    let now = clock_now();
    let schedule = Schedule::new(Duration::from_secs(period), Duration::from_secs(grace), now);
    let woken = Arc::new(Notify::new());
    let heart = tokio::spawn(beat(Arc::clone(&services), Arc::clone(&woken)));
    Repair { services, schedule }.run(&woken).await;
    heart.abort();
}

/// Tells when this process has not run for a while.
async fn beat(services: Arc<Services>, woken: Arc<Notify>) {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = clock::since_boot();
    loop {
        beats.tick().await;
        let now = clock::since_boot();
        let paused = now.saturating_sub(last);
        last = now;
        if paused >= PAUSED && !services.shutdown.has_begun() {
            tracing::warn!(?paused, "this process did not run: what its sessions show is looked at");
            woken.notify_one();
        }
    }
}

struct Repair {
    services: Arc<Services>,
    schedule: Schedule,
}

impl Repair {
    async fn run(mut self, woken: &Notify) {
        let services = Arc::clone(&self.services);
        loop {
            let now = clock_now();
            let view = services.cluster.view();
            self.schedule.follow(&view, &services.hub.watchings, now, self.random());
            if self.schedule.tells(now) {
                services.cluster.tell_gap();
            }
            if let Some((node, compared)) = self.schedule.due(now, self.random()) {
                let compared = self.compare(&node, compared).await;
                self.schedule.done(&node, compared, clock_now());
            } else if let Some(over) = self.schedule.orphans_due(now, self.random()) {
                let mut found = 0;
                for bucket in 0..=u8::MAX {
                    found += self.ask(services.hub.watchings.orphans(bucket, &over)).await;
                }
                if found == 0 {
                    self.schedule.forget(&over);
                }
            }
            let wake = self.schedule.next().clamp(now, now + BEAT);
            tokio::select! {
                gap = services.cluster.gap() => {
                    let now = clock_now();
                    if gap.own_lost {
                        self.schedule.lost(now);
                    }
                    gap.with.iter().for_each(|node| self.schedule.hurry(node, now));
                }
                () = woken.notified() => self.schedule.hurry_all(clock_now() + COMING_TO),
                () = sleep_until(wake.into()) => {}
                () = services.shutdown.begun() => return,
            }
        }
    }

    /// Compares whom a node shows with what was shown here, bucket by bucket, and asks for what differs. Nothing: the node
    /// has not answered.
    async fn compare(&self, node: &NodeId, mut compared: Compared) -> Option<Compared> {
        let (services, own) = (&self.services, node == self.services.cluster.id());
        let (watchings, visible) = (&services.hub.watchings, &services.hub.visible);
        let view = services.cluster.view();
        let peer = view.node(node)?;
        let tallies = if own { visible.tallies() } else { services.cluster.tallies(peer, PATIENCE).await? };
        compared.resize(BUCKETS, None);
        let (mut asked, life) = (0, watchings.life_of(node));
        for buckets in batches(&differing(&tallies, &compared, watchings)) {
            let lists: Vec<Vec<Sighting>> = if own {
                buckets.iter().map(|bucket| visible.sightings(*bucket)).collect()
            } else {
                services.cluster.sightings(peer, buckets.clone(), PATIENCE).await?
            };
            for (bucket, list) in buckets.into_iter().zip(lists) {
                let touched = watchings.touched(bucket).unwrap_or_default();
                let questions = watchings.compare(bucket, life, &list);
                let right = questions.is_empty().then(|| (Tally::of(&list).sum, touched));
                if let Some(known) = compared.get_mut(usize::from(bucket)) {
                    *known = right;
                }
                asked += self.ask(questions).await;
            }
        }
        services.metrics.comparisons.inc();
        if asked > 0 {
            tracing::info!(%node, asked, "contacts there may be shown wrong: they are asked how they look");
        }
        Some(compared)
    }

    /// Asks those who may be shown wrong how they look, a few at a time. Returns how many they were.
    async fn ask(&self, questions: Vec<Question>) -> usize {
        let (node, generation) = (self.services.cluster.id(), self.services.cluster.generation());
        let count = questions.len();
        self.services.metrics.repair_questions.inc_by(count as u64);
        let mut waiting = Questions::default();
        waiting.enter(questions);
        while !waiting.is_empty() {
            let probe =
                |Question { of, watchers }| (of, Notice::Probe { watchers, node: node.clone(), generation });
            self.services.cluster.post(waiting.next().into_iter().map(probe).collect());
            sleep(Questions::BREATH).await;
        }
        count
    }

    /// From 0 to 1, so that nodes do not all compare at the same time.
    fn random(&self) -> f64 {
        let word = u32::try_from(crate::session::Surroundings::random_u64(&*self.services) >> 32);
        f64::from(word.unwrap_or_default()) / f64::from(u32::MAX)
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

fn clock_now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A session's part in all this: what it has shown, and whether it is to be seen. Nobody watches it and it watches nobody any
/// more when this is dropped.
pub(crate) struct Watch {
    services: Arc<Services>,
    who: PassportKey,
    epoch: Epoch,
    id: WatcherId,
}

impl Watch {
    /// A session that watches nobody yet, and is not to be seen.
    pub(crate) fn begin(services: &Arc<Services>, who: &Passport, epoch: Epoch) -> Self {
        let id = services.hub.watchings.enter(who, epoch);
        Self { services: Arc::clone(services), who: PassportKey::of(who), epoch, id }
    }

    /// Takes note of what has changed.
    pub(crate) fn note(&self, changes: Vec<Change>) {
        let Hub { watchings, visible, .. } = &*self.services.hub;
        for change in changes {
            match change {
                Change::Watched(who) => watchings.watch(self.id, &who),
                Change::Unwatched(who) => watchings.unwatch(self.id, &who),
                Change::Shown(who, shown) => watchings.shown(self.id, &who, &shown),
                Change::Visible(Some(mark)) => visible.show(self.who, self.epoch, mark),
                Change::Visible(None) => visible.hide(self.who, self.epoch),
            }
        }
    }

    /// The session watches these no more.
    pub(crate) fn end<'a>(&self, contacts: impl Iterator<Item = &'a Passport>) {
        contacts.for_each(|contact| self.services.hub.watchings.unwatch(self.id, contact));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.services.hub.watchings.leave(self.id);
        // The contacts of a node that shuts down look for its users when the grace is over, and not before.
        if !self.services.shutdown.has_begun() {
            self.services.hub.visible.hide(self.who, self.epoch);
        }
    }
}

/// What has changed in a session that others may have to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// It has that contact, and has heard nothing of it.
    Watched(Passport),
    /// It has that contact no more.
    Unwatched(Passport),
    /// It shows a contact so.
    Shown(Passport, Shown),
    /// Its principal is to be seen in that version, or not at all.
    Visible(Option<common::cluster::Mark>),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
