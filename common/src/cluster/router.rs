//! What joins membership, links and directory: the answering side of everything that nodes ask of each other.
//!
//! The way of a notice: whoever has it asks an *owner* of the recipient's passport, who knows the *holder* of the
//! session, who delivers it; the outcome comes back the same way. The asking side is in `asking`, the registration of
//! sessions in `registering`, their announcement to owners in `announcing`.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::carrying_out::Orders;
use super::delivery::{Delivery, better};
use super::directory::{Directory, Verdict};
use super::gaps::Gaps;
use super::guesses::Hearer;
use super::link::{Handler, Links, Origin, Replies, once_a_minute};
use super::lost::Lost;
use super::membership::Witness;
use super::metrics::Metrics;
use super::node::{Role, View};
use super::notice::{Deliver, Location, Outcome};
use super::outgoing::Outgoing;
use super::posting::Chains;
use super::registrations::{Displacement, Registrations, Sign};
use super::ring::{Place, Ring};
use super::settling::Settling;
use super::voids::Voids;
use super::wire::{Answer, Claim, Claimed, Group, Parcel, Reply, Request};
use crate::clock::{self, HybridClock};
use crate::model::{Endpoint, Passport};
use crate::telemetry::Seldom;

/// See the module.
pub(super) struct Router {
    pub(super) me: Place,
    pub(super) role: Role,
    pub(super) clock: Arc<HybridClock>,
    pub(super) links: Arc<Links>,
    pub(super) metrics: Metrics,
    pub(super) delivery: Delivery,
    pub(super) ring: watch::Sender<Arc<Ring>>,
    pub(super) directory: Mutex<Directory>,
    pub(super) settling: Mutex<Settling>,
    pub(super) registrations: Mutex<Registrations>,
    pub(super) chains: Chains,
    /// The views in which each life of another node was last told everything: what it should know.
    pub(super) announced: Mutex<HashMap<Place, Arc<Ring>>>,
    /// Counts the announcements to anyone; see [`Directory::sweep`].
    pub(super) announcement: AtomicU64,
    pub(super) last_ticket: AtomicU64,
    pub(super) skew: Seldom,
    pub(super) drops: Seldom,
    /// When notices may have been lost.
    pub(super) gaps: Gaps,
    /// What operators have ordered.
    pub(super) orders: Orders,
    /// What is void since accounts have other passwords.
    pub(super) voids: Mutex<Voids>,
    /// Who may not know of it.
    pub(super) lost: Mutex<Lost>,
    /// Whoever counts the wrong passwords that other nodes tell of.
    pub(super) hearer: OnceLock<Hearer>,
    joined: watch::Receiver<bool>,
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) stop: CancellationToken,
}

/// The directory and the registrations are tidied so often.
const TIDY: Duration = Duration::from_secs(1);
/// After a change of the ring, what this node no longer owns is kept for so long: others may not have seen it yet.
const KEEP_FOREIGN: Duration = Duration::from_secs(30);

impl Router {
    pub(super) fn new(
        links: Arc<Links>,
        role: Role,
        hub: Option<Arc<dyn Deliver>>,
        clock: Arc<HybridClock>,
        joined: watch::Receiver<bool>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let (directory, settling, registrations, chains, announced) = Default::default();
        let (announcement, last_ticket, gaps) = Default::default();
        let router = Arc::new(Self {
            me: links.identity.me.clone(),
            role,
            clock,
            metrics: links.metrics.clone(),
            delivery: Delivery::new(hub),
            ring: watch::Sender::default(),
            directory,
            settling,
            registrations,
            chains,
            announced,
            announcement,
            last_ticket,
            skew: once_a_minute(),
            drops: once_a_minute(),
            gaps,
            orders: Orders::new(clock::wall_ms()),
            voids: Mutex::default(),
            lost: Mutex::default(),
            hearer: OnceLock::new(),
            joined,
            runtime: tokio::runtime::Handle::current(),
            stop,
            links,
        });
        let handler: Arc<dyn Handler> = Arc::clone(&router) as Arc<dyn Handler>;
        router.links.handle_by(Arc::downgrade(&handler));
        router
    }

    /// The notification nodes at this moment.
    pub(super) fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.borrow())
    }

    /// Whether this node knows of all others, as far as anyone does: before, nobody it can't find is offline.
    pub(super) fn has_joined(&self) -> bool {
        *self.joined.borrow()
    }

    /// Whether this node, as an owner, has heard of every session that these nodes have, and knows of no others.
    pub(super) fn is_settled(&self, ring: &Ring) -> bool {
        self.has_joined() && lock(&self.settling).is_settled(ring, &self.me.node)
    }

    /// Whether this node sends notices, clients or word of wrong passwords to nodes of that tier: it keeps a link to each of them.
    fn sends_to(&self, role: Role) -> bool {
        match role {
            Role::Notification => true,
            Role::Switchboard => self.role == Role::Notification,
            Role::Dispatch => self.role != Role::Switchboard,
        }
    }

    /// Brings each group to wherever its principal is, as far as this node, an owner, knows.
    pub(super) async fn resolve(&self, view: u64, groups: Vec<Group>, patience: Duration) -> Vec<Answer> {
        // Looked at first: what is missing after everyone was done is missing for good.
        let ring = self.ring();
        let sure = view == ring.hash() && self.is_settled(&ring);
        let mut plan = Plan::default();
        {
            let directory = lock(&self.directory);
            for group in groups {
                let places = directory.lookup(&group.to);
                plan.add(&group, places, &self.me);
            }
        }
        let outcomes = plan.carry_out(self, patience).await;
        outcomes
            .into_iter()
            .map(|outcome| match outcome {
                None | Some(Outcome::NotHere) => Answer::Missing { sure },
                Some(outcome) => Answer::Found(outcome),
            })
            .collect()
    }

    /// Registers claims of a node in this node's part of the directory.
    pub(super) fn claim(&self, place: &Place, announcement: u64, claims: Vec<Claim>) -> Vec<Claimed> {
        let verdicts = claims.into_iter().map(|claim| self.claim_one(place, announcement, claim)).collect();
        self.count_entries();
        verdicts
    }

    fn claim_one(&self, place: &Place, announcement: u64, claim: Claim) -> Claimed {
        let Claim { who, endpoint, epoch } = claim;
        if let Err(error) = self.clock.observe(epoch) {
            if self.skew.permits().is_some() {
                tracing::error!(node = %place.node, %error, "refused a sign-in: compare the clocks of the two nodes");
            }
            return Claimed::Ahead;
        }
        let location = Location { node: place.node.clone(), generation: place.generation, epoch, endpoint };
        let registered = lock(&self.directory).register(&who, location, announcement);
        if let Some(displaced) = registered.displaced {
            self.tell_displaced(&displaced, who, (epoch, place.node.clone()));
        }
        match registered.verdict {
            Verdict::Held { fresh } => Claimed::Held { fresh },
            Verdict::Beaten { by, node } => Claimed::Beaten { by, node },
        }
    }

    /// Notes that sessions of a node have ended.
    pub(super) fn unclaim(&self, place: &Place, claims: &[Claim]) {
        let (mut directory, now) = (lock(&self.directory), Instant::now().into_std());
        for claim in claims {
            directory.unregister(&claim.who, claim.endpoint, claim.epoch, &place.node, now);
        }
        drop(directory);
        self.count_entries();
    }

    /// A hub replaces its own older sessions itself; the others must be told.
    fn tell_displaced(&self, displaced: &Location, who: Passport, by: Sign) {
        if displaced.node == by.1 {
            return;
        }
        if displaced.node == self.me.node {
            return self.displaced(&who, displaced.endpoint, &by);
        }
        let holder = Place { node: displaced.node.clone(), generation: displaced.generation };
        let request = Request::Displaced { who, endpoint: displaced.endpoint, by: by.0, node: by.1 };
        // If it can't be told now it hears of it when it registers again, on its next link.
        let _ = self.links.to(&holder).map(|link| link.tell(&request));
    }

    /// Passes on that a session here was displaced.
    pub(super) fn displaced(&self, who: &Passport, endpoint: Endpoint, by: &Sign) {
        let displacement = lock(&self.registrations).displace(who, endpoint, by, &self.me.node);
        if displacement == Displacement::Tell
            && let Some(hub) = self.delivery.hub()
        {
            hub.displaced(who, endpoint, by.0);
        }
    }

    pub(super) fn count_entries(&self) {
        let len = lock(&self.directory).len();
        self.metrics.directory_entries.set(i64::try_from(len).unwrap_or(i64::MAX));
    }

    /// Forgets in time what is old, until the end.
    pub(super) async fn tidy(self: Arc<Self>) {
        let mut rounds = tokio::time::interval(TIDY);
        let mut changes = self.ring.subscribe();
        let mut kept_since = Some(Instant::now());
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = rounds.tick() => {}
            }
            if changes.has_changed().unwrap_or(false) {
                changes.mark_unchanged();
                kept_since = Some(Instant::now());
            }
            let now = Instant::now();
            {
                let mut directory = lock(&self.directory);
                directory.expire(now.into_std());
                if kept_since.is_some_and(|since| now.duration_since(since) >= KEEP_FOREIGN) {
                    let ring = self.ring();
                    directory.keep_owned(|who| ring.owns(&self.me.node, who));
                    kept_since = None;
                }
            }
            lock(&self.registrations).expire(now.into_std());
            self.count_entries();
        }
    }
}

impl Witness for Router {
    fn answers(&self, place: &Place) -> bool {
        self.links.answers(place)
    }

    fn dials(&self, role: Role) -> bool {
        self.sends_to(role)
    }

    fn is_linked(&self, place: &Place) -> bool {
        self.links.is_up(place)
    }

    fn changed(&self, before: &View, after: &Arc<View>) {
        for node in after.all() {
            if let Err(error) = self.clock.observe(node.highest_epoch)
                && self.skew.permits().is_some()
            {
                tracing::error!(node = %node.id, %error, "compare the clocks of the two nodes");
            }
        }
        self.links.follow(after);
        lock(&self.lost).follow(before, after, Instant::now());
        {
            let mut directory = lock(&self.directory);
            for node in before.of(Role::Notification).filter(|node| !after.has(&node.id, node.generation)) {
                directory.drop_place(&Place { node: node.id.clone(), generation: node.generation });
            }
        }
        lock(&self.announced)
            .retain(|place, _| after.node(&place.node).is_none_or(|node| node.generation <= place.generation));
        for node in after.of(Role::Notification).filter(|node| !before.has(&node.id, node.generation)) {
            self.gaps.with(&node.id);
        }
        let ring = Arc::new(Ring::of(after));
        if ring.hash() != self.ring.borrow().hash() {
            tracing::info!(nodes = ring.all().len(), "the notification nodes have changed");
            self.ring.send_replace(Arc::clone(&ring));
        }
        // Kept up: the first invitation need not wait for a handshake, a node that gossip has lost for a moment can show
        // that it lives, and nobody is sent to a node without a link.
        for node in after.all().filter(|node| node.id != self.me.node && self.sends_to(node.role)) {
            self.links.to(&Place { node: node.id.clone(), generation: node.generation });
        }
        self.metrics.view(after);
        self.count_entries();
    }
}

impl Handler for Router {
    fn linked(self: Arc<Self>, link: Arc<Outgoing>, up: CancellationToken) {
        self.tell_voids(&link);
        if self.role == Role::Notification && self.ring().all().contains(&link.place) {
            let runtime = self.runtime.clone();
            // What was on its way on a link before this one is lost, and nobody knows what that was.
            self.gaps.with(&link.place.node);
            let _ = link.tell(&Request::Gap);
            runtime.spawn(self.keep_told(link, up));
        }
    }

    fn asked(self: Arc<Self>, origin: &Origin, request: Request, replies: &Replies) {
        match request {
            Request::Register { id, announcement, claims } => {
                let verdicts = self.claim(&origin.place, announcement, claims);
                replies.send(&Reply::Registered { id, verdicts });
            }
            Request::Unregister { claims } => self.unclaim(&origin.place, &claims),
            Request::Done { view, sweep } => {
                if let Some(announcement) = sweep {
                    lock(&self.directory).sweep(&origin.place, announcement);
                    self.count_entries();
                }
                lock(&self.settling).done(origin, view);
            }
            Request::Ask { id, view, patience_ms, groups } => {
                let unknown = vec![Answer::Found(Outcome::Unknown); groups.len()];
                let (patience, back, router) = (millis(patience_ms), replies.clone(), Arc::clone(&self));
                let work = async move {
                    let answers = router.resolve(view, groups, patience).await;
                    back.send(&Reply::Asked { id, answers });
                };
                self.delivery.run(work, || replies.send(&Reply::Asked { id, answers: unknown }));
            }
            Request::Hand { id, patience_ms, parcels } => {
                let unknown = vec![Outcome::Unknown; parcels.len()];
                let (patience, back, delivery) = (millis(patience_ms), replies.clone(), self.delivery.clone());
                let work = async move {
                    let outcomes = delivery.deliver(parcels, patience).await;
                    if id != 0 {
                        back.send(&Reply::Handed { id, outcomes });
                    }
                };
                self.delivery.run(work, || {
                    if id != 0 {
                        replies.send(&Reply::Handed { id, outcomes: unknown });
                    }
                });
            }
            Request::Displaced { who, endpoint, by, node } => self.displaced(&who, endpoint, &(by, node)),
            Request::Order { id, sealed, order } => {
                let (back, done) = (replies.clone(), Arc::clone(&self).carry_out_here(order, sealed));
                // Without an answer the node counts as one that was not reached.
                let answer = async move { back.send(&Reply::CarriedOut { id, done: done.await }) };
                self.delivery.run(answer, || tracing::warn!("too much to do to say what became of an order"));
            }
            Request::Tallies { id } => {
                let tallies = self.delivery.hub().map(|hub| hub.tallies()).unwrap_or_default();
                replies.send(&Reply::Tallies { id, tallies });
            }
            Request::Sightings { id, buckets } => {
                replies.send(&Reply::Sightings { id, buckets: self.own_sightings(&buckets) });
            }
            Request::Gap => self.gaps.with(&origin.place.node),
            Request::Void { id, voids } => {
                // Nobody waits for those it is passed on to.
                self.void(&voids);
                replies.send(&Reply::Voided { id });
            }
            Request::Guesses(guesses) => self.hear_guesses(guesses),
            Request::Ping => {}
        }
    }

    fn unlinked(&self, origin: &Origin, replaced: bool) {
        lock(&self.settling).forget(origin);
        // A node that gossip never showed can't leave the view, and its sessions go with its link.
        if !replaced && !self.ring().all().contains(&origin.place) {
            lock(&self.directory).drop_place(&origin.place);
            self.count_entries();
        }
    }
}

/// Where the groups of a batch go: to sessions here, and to other holders.
#[derive(Default)]
struct Plan {
    outcomes: Vec<Option<Outcome>>,
    here: Share,
    elsewhere: BTreeMap<Place, Share>,
}

/// What one holder gets, with the group and the session that each parcel belongs to.
#[derive(Default)]
struct Share {
    parcels: Vec<Parcel>,
    meant: Vec<(usize, Passport, Location)>,
}

impl Plan {
    fn add(&mut self, group: &Group, places: Vec<Location>, me: &Place) {
        let index = self.outcomes.len();
        self.outcomes.push(None);
        for location in places {
            let place = Place { node: location.node.clone(), generation: location.generation };
            let share = if place == *me { &mut self.here } else { self.elsewhere.entry(place).or_default() };
            share.parcels.push(Parcel { epoch: Some(location.epoch), group: group.clone() });
            share.meant.push((index, group.to.clone(), location));
        }
    }

    /// The outcome for each group; none if no place of its principal is known.
    async fn carry_out(mut self, router: &Router, patience: Duration) -> Vec<Option<Outcome>> {
        let sent: Vec<_> = std::mem::take(&mut self.elsewhere)
            .into_iter()
            .map(|(place, share)| (hand(router, &place, share.parcels, patience), share.meant))
            .collect();
        let here = std::mem::take(&mut self.here);
        let outcomes = router.delivery.deliver(here.parcels, patience).await;
        self.note(router, here.meant, &outcomes);
        let deadline = Instant::now() + patience;
        for (wait, meant) in sent {
            let outcomes = match wait {
                Some(wait) => handed(tokio::time::timeout_at(deadline, wait).await.ok()),
                None => Vec::new(),
            };
            self.note(router, meant, &outcomes);
        }
        self.outcomes
    }

    fn note(&mut self, router: &Router, meant: Vec<(usize, Passport, Location)>, outcomes: &[Outcome]) {
        for (place, (index, who, location)) in meant.into_iter().enumerate() {
            let outcome = outcomes.get(place).copied().unwrap_or(Outcome::Unknown);
            if outcome == Outcome::NotHere {
                lock(&router.directory).remove(&who, location.endpoint, location.epoch, &location.node);
            }
            if let Some(known) = self.outcomes.get_mut(index) {
                *known = Some(known.map_or(outcome, |known| better(known, outcome)));
            }
        }
    }
}

/// Sends parcels to a holder; nothing if it can't be reached.
pub(super) fn hand(
    router: &Router,
    holder: &Place,
    parcels: Vec<Parcel>,
    patience: Duration,
) -> Option<oneshot::Receiver<Reply>> {
    let patience_ms = to_millis(patience);
    router.links.to(holder)?.request(|id| Request::Hand { id, patience_ms, parcels }).ok()
}

/// What a holder said, if it said something.
pub(super) fn handed(reply: Option<Result<Reply, oneshot::error::RecvError>>) -> Vec<Outcome> {
    match reply {
        Some(Ok(Reply::Handed { outcomes, .. })) => outcomes,
        _ => Vec::new(),
    }
}

pub(super) fn to_millis(patience: Duration) -> u32 {
    u32::try_from(patience.as_millis()).unwrap_or(u32::MAX)
}

/// What another node may ask for is bounded.
fn millis(patience_ms: u32) -> Duration {
    Duration::from_millis(patience_ms.into()).min(Duration::from_secs(60))
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
