//! Who is alive: gossip, and what is made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chitchat::{ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, NodeState, spawn_chitchat};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::announcement;
use super::company::Company;
use super::gossip::{Bound, Post};
use super::inquiry;
use super::node::{Load, Node, Role, View};
use super::ring::Place;
use crate::clock::HybridClock;
use crate::model::{Epoch, Generation, NodeId};
use crate::net::Shutdown;

/// A round of gossip.
pub(super) const ROUND: Duration = Duration::from_millis(500);
/// How suspicious a silence must be: phi of Hayashibara et al., 2004. With rounds of 500 ms a dead node is found in
/// about two seconds.
const PHI: f64 = 8.0;
/// A node that gossip has lost but that still answers on a peer link lives on for so long.
const REPRIEVE: Duration = Duration::from_secs(10);
/// Nodes found dead are gossiped with now and then for so long, so that a healed partition is noticed.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// The highest epoch is told again when it has risen by so many microseconds: it need not be exact, and each change is
/// told to everyone.
const EPOCH_STEP: u64 = 2_000_000;
const GOSSIP: &str = "monarch";
/// By then every node that a neighbour knows has been heard of twice, which is what makes it alive.
const FIRST_ROUNDS: u32 = 4;
/// A node that should have neighbours and hears of none goes on alone after so many rounds, if the store shows none that lives.
const LONELY_ROUNDS: u32 = 10;

/// Between two questions to a node that has this one's name.
const CONFRONT: Duration = Duration::from_secs(2);

/// What the membership needs of the other parts.
pub(super) trait Witness: Send + Sync + 'static {
    /// Whether that life of a node has answered on a peer link a moment ago.
    fn answers(&self, place: &Place) -> bool;

    /// Whether this node dials those of a tier: the others may never answer it.
    fn dials(&self, role: Role) -> bool;

    /// Whether a link that this node dialed to that life of a node is up.
    fn is_linked(&self, place: &Place) -> bool;

    /// The view has changed, and is about to be shown.
    fn changed(&self, before: &View, after: &Arc<View>);
}

/// The own node as it is to be told.
#[derive(Debug)]
struct Own {
    node: Node,
    /// Set at the end, and never taken back by a later report.
    leaving: bool,
}

/// This node's part in gossip. Clones are the same one.
#[derive(Clone)]
pub(super) struct Membership {
    own: Arc<Mutex<Own>>,
    views: Arc<watch::Sender<Arc<View>>>,
    news: Arc<Notify>,
    joined: Arc<watch::Sender<bool>>,
    serves: Arc<watch::Sender<bool>>,
    company: Arc<Mutex<Company>>,
}

impl Membership {
    pub(super) fn new(node: Node) -> Self {
        let view = Arc::new(View::new([node.clone()]));
        let own = Own { node, leaving: false };
        Self {
            own: Arc::new(Mutex::new(own)),
            views: Arc::new(watch::Sender::new(view)),
            news: Arc::default(),
            joined: Arc::default(),
            serves: Arc::default(),
            company: Arc::default(),
        }
    }

    /// To be woken when something has changed that gossip does not know: the view is then made anew.
    pub(super) fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&self.views.borrow())
    }

    pub(super) fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.views.subscribe()
    }

    /// Whether gossip has had its first rounds: before, the view may lack nodes that have been there for long.
    pub(super) fn joined(&self) -> watch::Receiver<bool> {
        self.joined.subscribe()
    }

    /// Whether clients may sign in here, from now on for good.
    pub(super) fn serves(&self) -> watch::Receiver<bool> {
        self.serves.subscribe()
    }

    /// Clients may sign in from now on.
    pub(super) fn serve(&self) {
        self.serves.send_replace(true);
        self.news.notify_one();
    }

    /// What the store shows of other nodes.
    pub(super) fn company(&self) -> Company {
        self.company.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn see_company(&self, company: Company) {
        *self.company.lock().unwrap_or_else(PoisonError::into_inner) = company;
        self.news.notify_one();
    }

    pub(super) fn publish(&self, load: Load) {
        self.edit(|own| {
            let draining = load.draining || own.leaving;
            own.node.load = Load { capacity: load.capacity.max(1), draining, ..load };
        });
    }

    pub(super) fn publish_ready(&self, ready: bool) {
        self.edit(|own| own.node.ready = ready);
    }

    /// Tells everyone that this node takes nothing new and goes.
    pub(super) fn leave(&self) {
        self.edit(|own| {
            own.leaving = true;
            own.node.load.draining = true;
        });
    }

    fn edit(&self, edit: impl FnOnce(&mut Own)) {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let before = own.node.clone();
        edit(&mut own);
        if own.node != before {
            drop(own);
            self.news.notify_one();
        }
    }

    fn own(&self, highest: Epoch) -> Node {
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        if highest.0 >= own.node.highest_epoch.0.saturating_add(EPOCH_STEP) {
            own.node.highest_epoch = highest;
        }
        Node { ready: own.node.ready && *self.serves.borrow(), ..own.node.clone() }
    }
}

/// What runs the membership.
pub(super) struct Driver {
    pub(super) membership: Membership,
    pub(super) post: Arc<Post>,
    pub(super) store: Uuid,
    pub(super) clock: Arc<HybridClock>,
    pub(super) witness: Arc<dyn Witness>,
    pub(super) stop: CancellationToken,
    pub(super) shutdown: Shutdown,
}

impl Driver {
    /// Joins gossip through a bound socket; `addr` is what others are told.
    pub(super) async fn join(
        &self,
        socket: &Bound,
        addr: SocketAddr,
        seeds: Vec<String>,
    ) -> anyhow::Result<ChitchatHandle> {
        let node = self.membership.own(self.clock.highest());
        let detector = FailureDetectorConfig {
            phi_threshold: PHI,
            initial_interval: ROUND,
            dead_node_grace_period: REMEMBERED,
            ..FailureDetectorConfig::default()
        };
        let config = ChitchatConfig {
            chitchat_id: ChitchatId::new(node.id.as_str(), node.generation.0, addr),
            cluster_id: GOSSIP.into(),
            gossip_interval: ROUND,
            listen_addr: addr,
            seed_nodes: seeds,
            failure_detector_config: detector,
            marked_for_deletion_grace_period: REMEMBERED,
            catchup_callback: None,
            extra_liveness_predicate: None,
        };
        spawn_chitchat(config, announcement::write(&node, self.store), socket).await
    }

    /// Tells what is new of this node and shows what gossip tells, until the end. `alone`: it was named no neighbour.
    pub(super) async fn run(self, gossip: ChitchatHandle, alone: bool) {
        let began = Instant::now();
        let mut lives = gossip.with_chitchat(|chitchat| chitchat.live_nodes_watcher()).await;
        let mut told: BTreeMap<String, String> = BTreeMap::new();
        let mut known = Known::new(gossip.chitchat_id().clone(), self.store);
        let (mut rounds, mut confronted) = (tokio::time::interval(ROUND), None);
        loop {
            let own = self.membership.own(self.clock.highest());
            self.tell(&gossip, &own, &mut told).await;
            let lives_now = lives.borrow_and_update().clone();
            self.show(known.view(own, &lives_now, &*self.witness, Instant::now()));
            self.join_in_time(began, alone);
            if let Some(rival) = known.rival.take()
                && confronted.is_none_or(|last: Instant| last.elapsed() >= CONFRONT)
            {
                confronted = Some(Instant::now());
                self.confront(rival);
            }
            tokio::select! {
                () = self.stop.cancelled() => break,
                ended = gossip.termination_watcher() => {
                    tracing::error!(?ended, "gossip has ended, and this node can't go on without it: shutting down");
                    self.shutdown.fail("gossip has ended");
                    return;
                }
                changed = lives.changed() => if changed.is_err() { break },
                () = self.membership.news.notified() => {}
                _ = rounds.tick() => {}
            }
        }
        if let Err(error) = gossip.shutdown().await {
            tracing::debug!(%error, "gossip ended with an error");
        }
    }

    /// Gossip shows another node of this one's name. If that one answers, the later of the two stops: the others have kept the
    /// older, and its clients.
    fn confront(&self, rival: SocketAddr) {
        let (post, shutdown, me) = (Arc::clone(&self.post), self.shutdown.clone(), self.membership.view());
        let own = me.all().find(|node| node.gossip_addr == post.me).cloned();
        tokio::spawn(async move {
            let Some(own) = own else { return };
            // An earlier life of this very node, at another address, does not.
            let Some(namesake) = post.answers_as(rival, &own.id).await else { return };
            let what = inquiry::in_use(&namesake, own.role);
            // Both decide alike, also in the rare case that both have begun at once.
            if (namesake.generation, namesake.gossip) < (own.generation, own.gossip_addr) {
                tracing::error!("{what}. This one came later: it stops");
                shutdown.fail(what);
            } else {
                tracing::error!("{what}. This one was there before: it goes on, and the other one is to stop");
            }
        });
    }

    fn join_in_time(&self, began: Instant, alone: bool) {
        let heard = self.membership.view().all().count() > 1;
        let rounds = if heard || alone { FIRST_ROUNDS } else { LONELY_ROUNDS };
        if !heard && !alone && self.membership.company().is_awaited() {
            return;
        }
        let joined = |joined: &mut bool| {
            let now = !*joined && began.elapsed() >= ROUND * rounds;
            *joined |= now;
            now
        };
        if self.membership.joined.send_if_modified(joined) {
            tracing::info!(nodes = self.membership.view().all().count(), "gossip has had its first rounds");
            self.membership.news.notify_one();
        }
    }

    async fn tell(&self, gossip: &ChitchatHandle, own: &Node, told: &mut BTreeMap<String, String>) {
        let mut news = announcement::write(own, self.store);
        news.retain(|(key, value)| told.get(key) != Some(value));
        if news.is_empty() {
            return;
        }
        let mut chitchat = gossip.chitchat().lock_owned().await;
        let state = chitchat.self_node_state();
        for (key, value) in news {
            state.set(&key, &value);
            told.insert(key, value);
        }
    }

    fn show(&self, view: View) {
        let before = self.membership.view();
        if *before != view {
            let view = Arc::new(view);
            self.witness.changed(&before, &view);
            self.membership.views.send_replace(view);
        }
    }
}

/// What was heard of the others so far.
struct Known {
    me: ChitchatId,
    store: Uuid,
    /// Those shown last, with since when gossip has lost them.
    shown: BTreeMap<NodeId, (Node, Option<Instant>)>,
    /// The latest life of each name: an earlier one is over.
    latest: BTreeMap<NodeId, Generation>,
    /// Whom was complained about.
    complaints: BTreeSet<ChitchatId>,
    /// Where a node that gossips has this one's name.
    rival: Option<SocketAddr>,
}

impl Known {
    /// As many names and complaints are remembered, and no more.
    const MAX: usize = 10_000;

    fn new(me: ChitchatId, store: Uuid) -> Self {
        let (shown, latest, complaints, rival) = Default::default();
        Self { me, store, shown, latest, complaints, rival }
    }

    fn view(
        &mut self,
        own: Node,
        lives: &BTreeMap<ChitchatId, NodeState>,
        witness: &dyn Witness,
        now: Instant,
    ) -> View {
        let mut shown = BTreeMap::new();
        for (id, state) in lives {
            if let Some(node) = self.admit(id, state, lives, witness) {
                // Of two that have begun at once the one stays that goes on, see `Driver::confront`.
                let stays = |there: &(Node, _)| {
                    there.0.generation == node.generation && there.0.gossip_addr < node.gossip_addr
                };
                if !shown.get(&node.id).is_some_and(stays) {
                    shown.insert(node.id.clone(), (node, None));
                }
            }
        }
        for (id, (node, lost)) in std::mem::take(&mut self.shown) {
            let lost = lost.unwrap_or(now);
            let place = Place { node: id.clone(), generation: node.generation };
            let superseded = self.latest.get(&id).is_some_and(|latest| *latest > node.generation);
            if !shown.contains_key(&id)
                && !superseded
                && now.duration_since(lost) < REPRIEVE
                && witness.answers(&place)
            {
                shown.insert(id, (node, Some(lost)));
            } else if !shown.contains_key(&id) {
                tracing::warn!(node = %id, generation = node.generation.0, "node lost");
            }
        }
        self.shown = shown;
        let linked = |node: &Node| Place { node: node.id.clone(), generation: node.generation };
        let others =
            self.shown.values().map(|(node, _)| Node { linked: witness.is_linked(&linked(node)), ..node.clone() });
        View::new(others.chain([own]))
    }

    /// A node that gossip shows alive, if it is one of ours and its latest life.
    fn admit(
        &mut self,
        id: &ChitchatId,
        state: &NodeState,
        lives: &BTreeMap<ChitchatId, NodeState>,
        witness: &dyn Witness,
    ) -> Option<Node> {
        if *id == self.me {
            return None;
        }
        if id.node_id == self.me.node_id {
            if id.gossip_advertise_addr != self.me.gossip_advertise_addr {
                self.rival = Some(id.gossip_advertise_addr);
            } else if id.generation_id > self.me.generation_id {
                self.complain(id, "another live node has this node's name and address: both must be unique");
            }
            return None;
        }
        let (node, store) = announcement::read(id, state)?;
        if store != self.store {
            self.complain(
                id,
                "a node of this cluster uses another store; it is ignored: compare the store's settings",
            );
            return None;
        }
        let latest = self.latest.get(&node.id).copied().unwrap_or_default();
        let place = |node: &Node| Place { node: node.id.clone(), generation: node.generation };
        if node.generation < latest {
            // A life that is over, unless one of another node of that name came between and has gone again.
            let is_latest = |other: &ChitchatId| other.node_id == id.node_id && other.generation_id == latest.0;
            let is_silent = witness.dials(node.role) && !witness.answers(&place(&node));
            if lives.keys().any(is_latest) || is_silent {
                return None;
            }
        }
        if let Some((older, _)) = self.shown.get(&node.id)
            && older.generation < node.generation
            && older.gossip_addr != node.gossip_addr
            && witness.answers(&place(older))
        {
            self.complain(id, "it has the name of another node that lives, and is ignored: names must be unique");
            return None;
        }
        if latest != node.generation && (self.latest.len() < Self::MAX || self.latest.contains_key(&node.id)) {
            self.latest.insert(node.id.clone(), node.generation);
        }
        if !self.shown.contains_key(&node.id) {
            tracing::info!(node = %node.id, role = node.role.as_str(), peer = %node.peer_addr, "node found");
        }
        Some(node)
    }

    fn complain(&mut self, about: &ChitchatId, what: &str) {
        if self.complaints.len() < Self::MAX && self.complaints.insert(about.clone()) {
            tracing::error!(node = %about.node_id, gossip = %about.gossip_advertise_addr, "{what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Role;
    use crate::cluster::ring::tests::node;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[derive(Default)]
    struct Answers(AtomicBool, AtomicBool);

    impl Witness for Answers {
        fn answers(&self, _: &Place) -> bool {
            self.0.load(Ordering::Relaxed)
        }

        fn dials(&self, _: Role) -> bool {
            true
        }

        fn is_linked(&self, _: &Place) -> bool {
            self.1.load(Ordering::Relaxed)
        }

        fn changed(&self, _: &View, _: &Arc<View>) {}
    }

    fn names(view: &View) -> Vec<String> {
        view.all().map(|node| format!("{} {}", node.id, node.generation.0)).collect()
    }

    #[test]
    fn a_node_that_answers_lives_on_for_ten_seconds_and_no_longer() {
        let me = ChitchatId::new("a", 1, ([127, 0, 0, 1], 1).into());
        let (mut known, witness, lost) = (Known::new(me, Uuid::nil()), Answers::default(), Instant::now());
        let shown =
            |names: &[&str]| names.iter().map(|n| (NodeId::parse(n).unwrap(), (node(n, 1), None))).collect();
        witness.0.store(true, Ordering::Relaxed);
        known.shown = shown(&["b", "c"]);
        known.latest.insert(NodeId::parse("c").unwrap(), Generation(2));
        let mut view =
            |after: Duration| names(&known.view(node("a", 1), &BTreeMap::new(), &witness, lost + after));
        assert_eq!(view(Duration::ZERO), ["a 1", "b 1"], "of c a later life is known");
        assert_eq!(view(REPRIEVE - Duration::from_millis(1)), ["a 1", "b 1"]);
        assert_eq!(view(REPRIEVE), ["a 1"]);
        known.shown = shown(&["b"]);
        witness.0.store(false, Ordering::Relaxed);
        assert_eq!(names(&known.view(node("a", 1), &BTreeMap::new(), &witness, lost)), ["a 1"]);
    }

    #[test]
    fn no_client_is_sent_to_a_node_without_a_link() {
        let me = ChitchatId::new("a", 1, ([127, 0, 0, 1], 1).into());
        let (mut known, witness) = (Known::new(me, Uuid::nil()), Answers::default());
        known.shown = [(NodeId::parse("b").unwrap(), (node("b", 1), None))].into();
        // It still answers, so that gossip's word that it is gone does not count yet.
        witness.0.store(true, Ordering::Relaxed);
        for linked in [true, false, true] {
            witness.1.store(linked, Ordering::Relaxed);
            let view = known.view(node("a", 1), &BTreeMap::new(), &witness, Instant::now());
            let open: Vec<_> = view.open(Role::Notification).map(|node| node.id.as_str()).collect();
            assert_eq!(open, if linked { vec!["a", "b"] } else { vec!["a"] }, "the own node needs no link");
            assert_eq!(view.all().count(), 2, "it stays in the view, and in the ring");
        }
    }

    #[test]
    fn leaving_is_never_taken_back() {
        let membership = Membership::new(node("a", 1));
        membership.leave();
        membership.publish(Load { load: 3, capacity: 0, ..Load::default() });
        let own = membership.own(Epoch(EPOCH_STEP - 1));
        assert_eq!((own.load.load, own.load.capacity, own.load.draining), (3, 1, true));
        assert_eq!(own.highest_epoch, Epoch(0), "told in steps");
        assert_eq!(membership.own(Epoch(EPOCH_STEP)).highest_epoch, Epoch(EPOCH_STEP));
    }
}
