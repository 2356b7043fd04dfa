//! Registering this node's own sessions at their owners.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::registrations::Sign;
use super::ring::Ring;
use super::router::{Router, lock};
use super::wire::{Claim, Claimed, Reply, Request};
use crate::clock::is_later;
use crate::model::{Endpoint, Epoch, Passport};

/// An owner that does not answer in time is told again when its link comes back.
const PATIENCE: Duration = Duration::from_secs(2);
/// A registration follows so many changes of the owners; later ones are told by the announcements.
const MOVES: usize = 3;

/// A registration on its way: forgotten if its session gives up meanwhile.
struct Ticket<'a> {
    router: &'a Router,
    who: &'a Passport,
    endpoint: Endpoint,
    number: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        lock(&self.router.registrations).cancel(self.who, self.endpoint, self.number);
    }
}

/// What the owners say, or will.
struct Asked {
    ring: Arc<Ring>,
    verdicts: Vec<Claimed>,
    waits: Vec<oneshot::Receiver<Reply>>,
}

impl Router {
    /// See [`super::Cluster::register`].
    pub(super) async fn register(&self, who: &Passport, endpoint: Endpoint) -> Epoch {
        let number = self.last_ticket.fetch_add(1, Ordering::Relaxed) + 1;
        let ticket = Ticket { router: self, who, endpoint, number };
        // Two sign-ins of one principal here reach each owner in the order of their epochs: both are made and sent
        // under one lock.
        let (mut epoch, mut asked) = {
            let mut registrations = lock(&self.registrations);
            let epoch = self.clock.tick();
            registrations.begin(who, endpoint, epoch, number);
            (epoch, self.ask_owners(who, endpoint, epoch))
        };
        let (mut beaten_once, mut lost, mut moves) = (false, None, 0);
        loop {
            let ring = Arc::clone(&asked.ring);
            if let Some(by) = self.beaten(asked, epoch).await {
                let ours = by.1 == self.me.node;
                let seen = self.clock.observe(by.0);
                if let Err(error) = &seen
                    && self.skew.permits().is_some()
                {
                    tracing::error!(node = %by.1, %error, "compare the clocks of the two nodes");
                }
                if ours || beaten_once || seen.is_err() {
                    lost = (!ours).then_some(by);
                    break;
                }
                beaten_once = true;
                let mut registrations = lock(&self.registrations);
                if registrations.superseded(who, endpoint, epoch) {
                    break;
                }
                epoch = self.clock.tick();
                registrations.retry(who, endpoint, epoch, number);
                asked = self.ask_owners(who, endpoint, epoch);
            } else if self.ring().hash() != ring.hash() && moves < MOVES {
                moves += 1;
                asked = self.ask_owners(who, endpoint, epoch);
            } else {
                break;
            }
        }
        let now = Instant::now().into_std();
        let told = lock(&self.registrations).arrive(who, endpoint, number, &self.me.node, now);
        drop(ticket);
        if let Some((by, _)) = lost.or(told)
            && let Some(hub) = self.delivery.hub()
        {
            hub.displaced(who, endpoint, by);
        }
        epoch
    }

    /// See [`super::Cluster::unregister`].
    pub(super) fn unregister(&self, who: &Passport, endpoint: Endpoint, epoch: Epoch) {
        lock(&self.registrations).end(who, endpoint, epoch);
        let claims = vec![Claim { who: who.clone(), endpoint, epoch }];
        for owner in self.ring().owners(who) {
            if *owner == self.me {
                self.unclaim(&self.me, &claims);
            } else if let Some(link) = self.links.to(owner) {
                // One that can't be told hears on its next link which sessions there are.
                let _ = link.tell(&Request::Unregister { claims: claims.clone() });
            }
        }
    }

    fn ask_owners(&self, who: &Passport, endpoint: Endpoint, epoch: Epoch) -> Asked {
        let ring = self.ring();
        let (mut verdicts, mut waits) = (Vec::new(), Vec::new());
        let announcement = self.announcement.load(Ordering::Acquire);
        for owner in ring.owners(who) {
            let claims = vec![Claim { who: who.clone(), endpoint, epoch }];
            if *owner == self.me {
                verdicts.extend(self.claim(&self.me, announcement, claims));
            } else if let Some(link) = self.links.to(owner) {
                waits.extend(link.request(|id| Request::Register { id, announcement, claims }));
            }
        }
        Asked { ring, verdicts, waits }
    }

    /// Waits for what the owners say: the latest sign-in that is later than this one.
    async fn beaten(&self, asked: Asked, epoch: Epoch) -> Option<Sign> {
        let Asked { mut verdicts, waits, .. } = asked;
        let deadline = Instant::now() + PATIENCE;
        for wait in waits {
            if let Ok(Ok(Reply::Registered { verdicts: said, .. })) = timeout_at(deadline, wait).await {
                verdicts.extend(said);
            }
        }
        let mut latest: Option<Sign> = None;
        for verdict in verdicts {
            match verdict {
                Claimed::Beaten { by, node } if is_later(by, &node, epoch, &self.me.node) => {
                    latest = latest.max(Some((by, node)));
                }
                Claimed::Ahead if self.skew.permits().is_some() => {
                    tracing::error!(
                        "an owner refused a sign-in here: this node's clock is more than 10 s ahead of it"
                    );
                }
                _ => {}
            }
        }
        latest
    }
}
