//! Telling owners which sessions this node has: all that they own on a new link, and what has moved when the ring
//! changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::outgoing::Outgoing;
use super::ring::{Place, Ring};
use super::router::{Router, lock};
use super::wire::{Claim, Claimed, Reply, Request};

/// Claims in one request; the next is sent when it is answered, so that the owner sets the pace.
const BATCH: usize = 500;
/// An owner takes no longer to answer, or is told everything again on its next link.
const PATIENCE: Duration = Duration::from_secs(5);

impl Router {
    /// Tells another node about this node's sessions for as long as a link to it is up.
    pub(super) async fn keep_told(self: Arc<Self>, link: Arc<Outgoing>, up: CancellationToken) {
        let mut changes = self.ring.subscribe();
        let mut told: Option<Arc<Ring>> = None;
        loop {
            let ring = Arc::clone(&changes.borrow_and_update());
            let telling = self.tell_all(&link, told.as_deref(), &ring);
            let complete = tokio::select! {
                () = up.cancelled() => return,
                complete = telling => complete,
            };
            if complete {
                told = Some(ring);
            } else if up.is_cancelled() {
                return;
            } else {
                // The link works, so the other side is slow: it is told everything again.
                tracing::warn!(node = %link.place.node, "an owner is slow to take registrations");
                told = None;
                tokio::time::sleep(PATIENCE).await;
                continue;
            }
            tokio::select! {
                () = up.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Names the sessions that `link`'s node owns in `ring` and did not in `told`; all of them, if nothing was told.
    async fn tell_all(&self, link: &Outgoing, told: Option<&Ring>, ring: &Arc<Ring>) -> bool {
        let node = &link.place.node;
        let expected = lock(&self.announced).get(&link.place).cloned();
        let sweep = told.is_none().then(|| self.announcement.fetch_add(1, Ordering::AcqRel) + 1);
        let announcement = self.announcement.load(Ordering::Acquire);
        for claims in self.claims(&link.place, told, ring).chunks(BATCH) {
            let claims = claims.to_vec();
            let sent = link.request(|id| Request::Register { id, announcement, claims: claims.clone() });
            let Ok(wait) = sent else { return false };
            let Ok(Ok(Reply::Registered { verdicts, .. })) = timeout(PATIENCE, wait).await else { return false };
            for (claim, verdict) in claims.iter().zip(verdicts) {
                let missing = expected.as_ref().is_some_and(|ring| ring.owns(node, &claim.who));
                self.heard(claim, verdict, missing);
            }
        }
        let done = link.tell(&Request::Done { view: ring.hash(), sweep }).is_ok();
        if done {
            lock(&self.announced).insert(link.place.clone(), Arc::clone(ring));
        }
        done
    }

    /// Registers this node's sessions with itself, as far as it owns them, until the end.
    pub(super) async fn keep_own(self: Arc<Self>) {
        let mut changes: watch::Receiver<Arc<Ring>> = self.ring.subscribe();
        let mut told: Option<Arc<Ring>> = None;
        loop {
            let ring = Arc::clone(&changes.borrow_and_update());
            for claim in self.claims(&self.me, told.as_deref(), &ring) {
                let announcement = self.announcement.load(Ordering::Acquire);
                for verdict in self.claim(&self.me, announcement, vec![claim.clone()]) {
                    self.heard(&claim, verdict, false);
                }
            }
            lock(&self.settling).own_done(ring.hash());
            told = Some(ring);
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
            }
        }
    }

    /// The sessions here that a node owns in `ring` and did not in `told`.
    fn claims(&self, owner: &Place, told: Option<&Ring>, ring: &Ring) -> Vec<Claim> {
        let Some(hub) = self.delivery.hub() else { return Vec::new() };
        let mut claims = lock(&self.registrations).claims();
        let listed = hub.sessions().into_iter();
        claims.extend(listed.map(|(who, endpoint, epoch)| Claim { who, endpoint, epoch }));
        claims.retain(|claim| {
            let moved = told.is_none_or(|told| !told.owns(&owner.node, &claim.who));
            moved && ring.owns(&owner.node, &claim.who)
        });
        claims
    }

    /// What an owner says to a session that was registered again. `missing`: it should have known it.
    fn heard(&self, claim: &Claim, verdict: Claimed, missing: bool) {
        let Some(hub) = self.delivery.hub() else { return };
        match verdict {
            Claimed::Held { fresh: true } if missing => hub.reannounce(&claim.who, claim.epoch),
            Claimed::Held { .. } => {}
            // A later one of this very node has its place, or it is itself what has ended.
            Claimed::Beaten { node, .. } if node == self.me.node => {}
            Claimed::Beaten { by, node } => self.displaced(&claim.who, claim.endpoint, &(by, node)),
            Claimed::Ahead if self.skew.permits().is_some() => {
                tracing::error!(
                    "an owner refused a session here: this node's clock is more than 10 s ahead of it"
                );
            }
            Claimed::Ahead => {}
        }
    }
}
