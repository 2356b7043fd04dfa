//! What is void since an account has another password: the sessions that were signed in by those before, and their switchboard
//! cookies.
//!
//! The order of `monarch user password` comes to every notification node. Each ends the sessions that are meant, tells all other
//! notification nodes and switchboards, and remembers it: whoever it gets a link to later is told then, so that a gap in
//! a link, a pause or a restart of either side loses nothing. A link that can't take it begins anew. It means the same however
//! late and often it comes: an edition tells which credentials came before, and no clock is asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::carrying_out::{CarriedOut, Confirmations, Told};
use super::node::Role;
use super::outgoing::Outgoing;
use super::router::{Router, lock};
use super::wire::{Reply, Request};
use crate::model::{ClaimId, Edition, Passport};

/// Longer than a cookie lives, since a node that was paused or cut off may have sessions of before, which get cookies from it.
const LIFE: Duration = Duration::from_secs(60 * 60);
/// More passwords than operators change in that time; of more the oldest is forgotten.
const MOST: usize = 10_000;
/// Whoever gives the order waits so long for all to know: those that can't be reached are told later.
const MOMENT: Duration = Duration::from_secs(2);
/// A frame has room for so many.
const AT_ONCE: usize = 1000;

/// Sessions and cookies of an account's credentials before these are void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Void {
    /// Whose account.
    pub who: Passport,
    /// Which one: a later one of that name is not meant.
    pub claim: ClaimId,
    /// The first credentials that are not void.
    pub before: Edition,
}

impl Void {
    /// Whether what was got with these credentials is void.
    #[must_use]
    pub fn holds(&self, claim: ClaimId, edition: Edition) -> bool {
        self.claim == claim && edition.precedes(self.before)
    }
}

/// Those that this node knows of.
#[derive(Debug, Default)]
pub(super) struct Voids(HashMap<ClaimId, Known>);

#[derive(Debug)]
struct Known {
    void: Void,
    since: Instant,
    /// How many sessions or participations have ended here by it.
    ended: u64,
}

impl Voids {
    /// Notes one, and what `end` says has ended by it, unless it says nothing new.
    fn add(&mut self, void: &Void, now: Instant, end: impl FnOnce() -> u64) -> Option<u64> {
        self.0.retain(|_, known| now.duration_since(known.since) < LIFE);
        if self.0.get(&void.claim).is_some_and(|known| !known.void.before.precedes(void.before)) {
            return None;
        }
        if self.0.len() >= MOST
            && let Some(oldest) = self.0.values().min_by_key(|known| known.since).map(|known| known.void.claim)
        {
            self.0.remove(&oldest);
        }
        let known = Known { void: void.clone(), since: now, ended: 0 };
        self.0.insert(void.claim, known);
        let ended = end();
        if let Some(known) = self.0.get_mut(&void.claim) {
            known.ended = ended;
        }
        Some(ended)
    }

    fn ended(&self, void: &Void) -> u64 {
        self.0.get(&void.claim).filter(|known| known.void == *void).map_or(0, |known| known.ended)
    }

    fn holds(&self, claim: ClaimId, edition: Edition) -> bool {
        self.0.get(&claim).is_some_and(|known| known.void.holds(claim, edition))
    }

    fn all(&self, now: Instant) -> Vec<Void> {
        let live = self.0.values().filter(|known| now.duration_since(known.since) < LIFE);
        live.map(|known| known.void.clone()).collect()
    }
}

/// Tells a node what is void. It answers when it is; a link that can't be told now tells all when it is up.
fn tell(link: &Outgoing, voids: &[Void]) -> Vec<oneshot::Receiver<Reply>> {
    let told = voids.chunks(AT_ONCE).map(|some| link.request(|id| Request::Void { id, voids: some.to_vec() }));
    told.flatten().collect()
}

impl Router {
    /// Takes in what an order makes void, and waits a moment until the other nodes know. Returns how many sessions have ended here, and
    /// who knows. All are told, also of what is not new: whoever repeats an order wants to hear who has confirmed it.
    pub(super) async fn void_by_order(&self, void: Void) -> CarriedOut {
        let void = [void];
        let (sessions, _) = self.take_in(&void);
        let deadline = Instant::now() + MOMENT;
        let asked: Vec<_> =
            self.concerned().iter().map(|link| (link.place.node.clone(), tell(link, &void))).collect();
        let mut confirmations = Confirmations::default();
        for (node, answers) in asked {
            let given = match timeout_at(deadline, try_join_all(answers)).await {
                // Without an answer to wait for it could not be told.
                Ok(Ok(answers)) => !answers.is_empty(),
                _ => false,
            };
            if given { confirmations.given.push(node) } else { confirmations.missing.push(node) }
        }
        // They may have been found meanwhile: then they are told by the link to them, and nobody waits for that.
        let lost = lock(&self.lost).within(LIFE, Instant::now());
        confirmations.missing.extend(lost.into_iter().filter(|node| !confirmations.given.contains(node)));
        CarriedOut { told: Told { sessions, overrun: 0 }, confirmations }
    }

    /// Takes in what is void, and passes on what is new. Nobody waits for those it is passed on to.
    pub(super) fn void(&self, voids: &[Void]) {
        let (_, news) = self.take_in(voids);
        for link in self.concerned() {
            drop(tell(&link, &news));
        }
    }

    /// The links to those who hear from this node what is void.
    fn concerned(&self) -> Vec<Arc<Outgoing>> {
        let mut links = self.links.dialed();
        links.retain(|link| self.tells_voids(link));
        links
    }

    /// Takes in what is void. Returns how many sessions or participations here have ended by it, now or before, and what was new.
    fn take_in(&self, voids: &[Void]) -> (u64, Vec<Void>) {
        let (mut news, mut ended) = (Vec::new(), 0);
        for void in voids {
            let end = || self.delivery.hub().map_or(0, |hub| hub.void(void));
            // Whoever comes in meanwhile is found by the hub, or asks behind this lock.
            let mut known = lock(&self.voids);
            match known.add(void, Instant::now(), end) {
                Some(now) => {
                    tracing::info!(who = %void.who, ended = now, "what an old password has opened is void");
                    news.push(void.clone());
                    ended += now;
                }
                None => ended += known.ended(void),
            }
        }
        (ended, news)
    }

    /// Whether what was got with these credentials is void.
    pub(super) fn is_void(&self, claim: ClaimId, edition: Edition) -> bool {
        lock(&self.voids).holds(claim, edition)
    }

    /// Whether that node hears from this one what is void: it has sessions or conversations.
    fn tells_voids(&self, link: &Outgoing) -> bool {
        self.role == Role::Notification && link.role != Role::Dispatch
    }

    /// Tells a node that may have missed some of it all that is void.
    pub(super) fn tell_voids(&self, link: &Outgoing) {
        if !self.tells_voids(link) {
            return;
        }
        let all = lock(&self.voids).all(Instant::now());
        // It knows when it answers; nobody waits for that.
        drop(tell(link, &all));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn void(number: u128, before: u16) -> Void {
        let who = Passport::parse(&format!("{number}@example.com")).unwrap();
        Void { who, claim: ClaimId(uuid::Uuid::from_u128(number)), before: Edition(before) }
    }

    #[tokio::test(start_paused = true)]
    async fn the_latest_change_counts_in_whichever_order_they_come() {
        let mut voids = Voids::default();
        let claim = void(1, 0).claim;
        let mut add = |before, ended| voids.add(&void(1, before), Instant::now(), || ended);
        assert_eq!(add(8, 2), Some(2));
        assert_eq!(add(7, 5), None, "an earlier change that comes late");
        assert_eq!(add(8, 5), None, "the same once more");
        assert_eq!((voids.ended(&void(1, 8)), voids.ended(&void(1, 7))), (2, 0));
        let is_void = |edition| voids.holds(claim, Edition(edition));
        assert_eq!([6, 7, 8, 9, 65535].map(is_void), [true, true, false, false, true]);
        assert!(!voids.holds(void(2, 0).claim, Edition(6)), "a later account of that name");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_void_is_known_for_a_time_and_boundedly_much_of_it() {
        let mut voids = Voids::default();
        voids.add(&void(1, 1), Instant::now(), || 0);
        tokio::time::advance(LIFE / 2).await;
        voids.add(&void(2, 1), Instant::now(), || 0);
        assert_eq!(voids.all(Instant::now()).len(), 2);
        tokio::time::advance(LIFE / 2).await;
        assert_eq!(voids.all(Instant::now()), [void(2, 1)]);
        tokio::time::advance(Duration::from_secs(1)).await;
        for number in 3..3 + MOST as u128 {
            voids.add(&void(number, 1), Instant::now(), || 0);
        }
        assert_eq!(voids.0.len(), MOST);
        assert!(!voids.0.contains_key(&void(2, 1).claim), "the oldest");
    }

    #[test]
    fn as_many_as_are_sent_at_once_fit_into_a_frame() {
        let name = format!("{}@example.com", "a".repeat(Passport::MAX_LEN - "@example.com".len()));
        let longest = Void { who: Passport::parse(&name).unwrap(), ..void(u128::MAX, u16::MAX) };
        let request = Request::Void { id: u64::MAX, voids: vec![longest; AT_ONCE] };
        assert!(super::super::wire::encode(&request).is_some());
    }
}
