//! Repair: notices get lost, and this finds what is wrong without asking everybody.
//!
//! A node compares, now and then with each other one and itself, who is to be seen there with what its own sessions have
//! shown ([`watchings`]), and asks those who may be shown wrong how they look. [`schedule`] says when, [`visible`] is what this
//! node tells the others. What comes of the questions are answers to probes, which sessions take like all others.

mod questions;
mod schedule;
mod under_way;
mod visible;
mod watchings;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::clock;
use common::cluster::{Notice, PassportKey};
use common::model::{Epoch, Passport};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::hub::Hub;
use crate::services::Services;
use questions::Questions;
use schedule::Schedule;
use under_way::{Comparison, Orphans, Progress, Work};

pub(crate) use visible::Visible;
pub(crate) use watchings::{Question, Shown, WatcherId, Watchings};

/// The view is looked at so often, and this process must have run.
const BEAT: Duration = Duration::from_millis(500);
/// If it has not run for so long, notices to it may have been given up.
const PAUSED: Duration = Duration::from_secs(2);
/// What came for it while it did not run is read first.
const COMING_TO: Duration = Duration::from_secs(1);

/// Compares and asks until shutdown.
pub(crate) async fn run(services: Arc<Services>) {
    run_by(services, clock::since_boot).await;
}

/// The same; `since_boot` is the clock that goes on while this process does not run.
pub(crate) async fn run_by(services: Arc<Services>, since_boot: impl Fn() -> Duration + Send + 'static) {
    let (period, grace) = (services.config.repair_secs, services.config.grace_secs);
    let now = clock_now();
    let schedule = Schedule::new(Duration::from_secs(period), Duration::from_secs(grace), now);
    let woken = Arc::new(Notify::new());
    let heart = tokio::spawn(beat(Arc::clone(&services), Arc::clone(&woken), since_boot));
    let (questions, work) = Default::default();
    Repair { services, schedule, questions, asks: now, work }.run(&woken).await;
    heart.abort();
}

/// Tells when this process has not run for a while.
async fn beat(services: Arc<Services>, woken: Arc<Notify>, since_boot: impl Fn() -> Duration) {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = since_boot();
    loop {
        beats.tick().await;
        let now = since_boot();
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
    questions: Questions,
    /// When the next of them may be asked.
    asks: Instant,
    work: Option<Work>,
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
            if self.questions.is_empty() {
                tokio::select! {
                    () = self.look(now) => {}
                    () = services.shutdown.begun() => return,
                }
            }
            self.ask();
            let next = match &self.work {
                _ if !self.questions.is_empty() => self.asks,
                Some(_) => now,
                None => self.schedule.next(),
            };
            let wake = next.clamp(now, now + BEAT);
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

    /// Goes on with what is under way, or begins with what is due.
    async fn look(&mut self, now: Instant) {
        let services = Arc::clone(&self.services);
        let progress = match &mut self.work {
            None => return self.begin(now).await,
            Some(Work::Comparing(comparison)) => comparison.go_on(&services).await,
            Some(Work::Orphans(orphans)) => orphans.go_on(&services.hub.watchings),
        };
        match progress {
            Progress::Ask(questions) => {
                services.metrics.repair_questions.inc_by(questions.len() as u64);
                self.questions.enter(questions);
            }
            Progress::Done => self.end(true),
            Progress::NoAnswer => self.end(false),
        }
    }

    async fn begin(&mut self, now: Instant) {
        if let Some((node, compared)) = self.schedule.due(now, self.random()) {
            let begun = Comparison::begin(&self.services, &node, compared).await;
            if begun.is_none() {
                self.schedule.done(&node, None, false, clock_now());
            }
            self.work = begun.map(|comparison| Work::Comparing(Box::new(comparison)));
        } else if let Some(over) = self.schedule.orphans_due(now, self.random()) {
            self.work = Some(Work::Orphans(Orphans::of(over)));
        }
    }

    /// What was under way is over, and all of it was asked.
    fn end(&mut self, answered: bool) {
        match self.work.take() {
            Some(Work::Comparing(comparison)) => {
                let Comparison { node, compared, asked, .. } = *comparison;
                self.schedule.done(&node, Some(compared), answered, clock_now());
                if answered {
                    self.services.metrics.comparisons.inc();
                }
                if asked > 0 {
                    tracing::info!(%node, asked, "contacts there may be shown wrong: they are asked how they look");
                }
            }
            Some(Work::Orphans(Orphans { over, asked: 0, .. })) => self.schedule.forget(&over),
            Some(Work::Orphans(_)) | None => {}
        }
    }

    /// Asks the next of those who may be shown wrong how they look, if it is time.
    fn ask(&mut self) {
        let now = clock_now();
        if self.questions.is_empty() || now < self.asks {
            return;
        }
        self.asks = now + Questions::BREATH;
        let (node, generation) = (self.services.cluster.id(), self.services.cluster.generation());
        let probe = |Question { of, watchers }| (of, Notice::Probe { watchers, node: node.clone(), generation });
        self.services.cluster.post(self.questions.next().into_iter().map(probe).collect());
    }

    /// From 0 to 1, so that nodes do not all compare at the same time.
    fn random(&self) -> f64 {
        let word = u32::try_from(crate::session::Surroundings::random_u64(&*self.services) >> 32);
        f64::from(word.unwrap_or_default()) / f64::from(u32::MAX)
    }
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
