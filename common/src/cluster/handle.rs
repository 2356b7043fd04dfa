//! A process's part in the cluster.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::generation;
use super::gossip::{Bound, Post};
use super::handshake::Identity;
use super::inquiry;
use super::link::Links;
use super::membership::{Driver, Membership, ROUND, Witness};
use super::metrics::Metrics;
use super::ring::Place;
use super::router::Router;
use super::{
    Deliver, Gap, Guesses, Keyring, Load, Node, Notice, Order, OrderError, Outcome, Reached, Role, Sighting,
    Tally, View,
};
use crate::clock::{self, HybridClock};
use crate::config::{ClusterConfig, NodeConfig};
use crate::model::{ClaimId, Edition, Endpoint, Epoch, Generation, NodeId, Passport};
use crate::net::{self, Shutdown};
use crate::telemetry::Registry;

/// Who this process is.
#[derive(Debug, Clone)]
pub struct Me {
    /// Its tier.
    pub role: Role,
    /// Its addresses.
    pub node: NodeConfig,
    /// Where clients reach it.
    pub client_addr: SocketAddr,
    /// The store it uses.
    pub store: Uuid,
    /// Its burden at the start.
    pub load: Load,
    /// Where it keeps the number of its life, if it can.
    pub directory: PathBuf,
}

/// Why a process can't take part.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// An address can't be bound.
    #[error("can't listen on {0}: {1}")]
    Bind(SocketAddr, std::io::Error),
    /// The node's name breaks the rules.
    #[error("{0:?} is no name for a node: letters, digits and '-', at most {max} bytes", max = NodeId::MAX_LEN)]
    BadName(String),
    /// A bound address is of no use to others.
    #[error("{0} is no address that others can reach: set {1}_advertise")]
    Unspecified(SocketAddr, &'static str),
    /// A living node elsewhere has the name that this one is to have.
    #[error("{0}")]
    NameInUse(String),
    /// Gossip can't begin.
    #[error("gossip can't begin: {0}")]
    Gossip(String),
}

/// A process's part in the cluster. Clones are the same one.
#[derive(Clone)]
pub struct Cluster {
    pub(super) membership: Membership,
    router: Arc<Router>,
    pub(super) post: Arc<Post>,
    pub(super) seeds: Arc<[String]>,
    gossip: SocketAddr,
    peer: SocketAddr,
}

/// Before it leaves, a node tells that it does for so many rounds of gossip: there is no other good-bye.
const FAREWELL: u32 = 3;
impl Cluster {
    /// Binds the gossip and peer addresses and takes part until shutdown. `deliver` is whoever takes in
    /// notices here: the hub of a notification node.
    ///
    /// Shutdown waits about 1.5 s for the other nodes to hear of it, if there are any; until then notices still go out.
    ///
    /// # Errors
    /// [`ClusterError`]
    pub async fn start(
        config: &ClusterConfig,
        me: Me,
        keys: Keyring,
        clock: Arc<HybridClock>,
        deliver: Option<Arc<dyn Deliver>>,
        registry: &mut Registry,
        shutdown: &Shutdown,
    ) -> Result<Self, ClusterError> {
        let id = NodeId::parse(&me.node.id).ok_or_else(|| ClusterError::BadName(me.node.id.clone()))?;
        let bind_error = |addr| move |error| ClusterError::Bind(addr, error);
        let socket = UdpSocket::bind(me.node.gossip).await.map_err(bind_error(me.node.gossip))?;
        let gossip = socket.local_addr().map_err(bind_error(me.node.gossip))?;
        let listener = net::listen(me.node.peer).map_err(bind_error(me.node.peer))?;
        let peer = listener.local_addr().map_err(bind_error(me.node.peer))?;
        let gossip_told = advertised(gossip, me.node.gossip_advertise, "gossip")?;
        let peer_told = advertised(peer, me.node.peer_advertise, "peer")?;
        let metrics = Metrics::register(registry);
        let post = Post::new(socket, gossip_told, keys.clone(), metrics.clone());
        if let Some(namesake) = post.receiving(post.namesake(&id, &config.seeds)).await {
            return Err(ClusterError::NameInUse(inquiry::in_use(&namesake, me.role)));
        }
        let place = Place { generation: generation::begin(&me.directory, &id, clock::wall_ms()), node: id };
        let own = own_node(&me, &place, peer_told, gossip_told);
        let stop = CancellationToken::new();
        let identity = Identity { me: place, store: me.store, keys: keys.clone() };
        let membership = Membership::new(own);
        let links = Links::new(identity, metrics.clone(), membership.news(), stop.clone());
        let (linked, joined) = (Arc::clone(&links), membership.joined());
        let router = Router::new(linked, me.role, deliver, Arc::clone(&clock), joined, stop.clone());
        // The ring of the first view, the own node alone, must stand before anybody asks.
        router.changed(&View::default(), &membership.view());
        let asked = membership.clone();
        post.inquiries.answer_from(move |who| inquiry::from_view(&asked.view(), who));
        let driver = Driver {
            membership: membership.clone(),
            post: Arc::clone(&post),
            store: me.store,
            clock,
            witness: Arc::clone(&router) as Arc<dyn Witness>,
            stop: stop.clone(),
            shutdown: shutdown.clone(),
        };
        let socket = Bound::new(Arc::clone(&post));
        if config.seeds.is_empty() && !gossip_told.ip().to_canonical().is_loopback() {
            tracing::warn!(
                "cluster.seeds is empty: this node finds no other one, and is alone unless others are told of it"
            );
        }
        let alone = config.seeds.iter().all(|seed| *seed == gossip_told.to_string());
        let begun = driver.join(&socket, gossip_told, config.seeds.clone()).await;
        let chitchat = begun.map_err(|error| ClusterError::Gossip(error.to_string()))?;
        tokio::spawn(links.listen(listener));
        tokio::spawn(Arc::clone(&router).tidy());
        if me.role == Role::Notification {
            tokio::spawn(Arc::clone(&router).keep_own());
        }
        tokio::spawn(Arc::clone(&router).serve_in_time(membership.clone()));
        let driving = tokio::spawn(driver.run(chitchat, alone));
        let cluster = Self { membership, router, post, seeds: config.seeds.as_slice().into(), gossip, peer };
        let (leaving, signal) = (cluster.clone(), shutdown.clone());
        shutdown.spawn(async move {
            signal.begun().await;
            leaving.leave(&driving).await;
            stop.cancel();
        });
        Ok(cluster)
    }

    async fn leave(&self, driving: &tokio::task::JoinHandle<()>) {
        self.membership.leave();
        if !self.is_alone() && !driving.is_finished() {
            tokio::time::sleep(ROUND * FAREWELL).await;
        }
    }

    /// The own node's name.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.router.me.node
    }

    /// In which of its lives the own node is.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.router.me.generation
    }

    /// Where gossip is bound; the port that was chosen, where 0 was asked for.
    #[must_use]
    pub fn gossip_addr(&self) -> SocketAddr {
        self.gossip
    }

    /// Where peer links are bound; the port that was chosen, where 0 was asked for.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// The live nodes at this moment.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        self.membership.view()
    }

    /// Changes of the view. Reports of burden are changes too: expect one a second for each node, and one task that
    /// watches, not one a session.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.membership.watch()
    }

    /// Publishes the own burden. Cheap; call it about once a second.
    pub fn publish(&self, load: Load) {
        self.membership.publish(load);
    }

    /// Publishes whether clients may come. Not ready until told so, and until the node serves; see
    /// [`Cluster::tell_readiness`].
    pub(super) fn publish_ready(&self, ready: bool) {
        self.membership.publish_ready(ready);
    }

    /// Waits until this node serves, and says whether it does after `patience`. Whoever signs in before sees nobody and is
    /// seen by nobody. Once it serves it always does.
    pub async fn serves_within(&self, patience: Duration) -> bool {
        let mut serves = self.membership.serves();
        matches!(tokio::time::timeout(patience, serves.wait_for(|serves| *serves)).await, Ok(Ok(_)))
    }

    /// Makes an epoch for a new sign-in and registers the session at its owners; if it is beaten, once more with
    /// the next. The session must be deliverable in the hub before this is called. Takes 2 s at most for each try, when
    /// an owner does not answer.
    ///
    /// If a still later sign-in elsewhere has won meanwhile, the hub hears so by [`Deliver::displaced`], before this
    /// returns.
    pub async fn register(&self, who: &Passport, endpoint: Endpoint) -> Epoch {
        self.router.register(who, endpoint).await
    }

    /// Forgets a session, if it is still the one registered. Does not wait for other nodes.
    pub fn unregister(&self, who: &Passport, endpoint: Endpoint, epoch: Epoch) {
        self.router.unregister(who, endpoint, epoch);
    }

    /// Sends a notice to the sessions of a principal and says what became of it, after `patience` at the latest.
    pub async fn route(&self, to: &Passport, notice: Notice, patience: Duration) -> Outcome {
        self.router.route(to, notice, patience).await
    }

    /// Carries out what operators have ordered, on each notification node that it concerns, and says how many sessions have it
    /// there. Each node does so once, whoever asks and how often: who asks again hears what became of it. `sealed` is in
    /// milliseconds since 1970. Takes `patience` at most.
    ///
    /// # Errors
    /// [`OrderError::OlderThanNode`]
    pub async fn carry_out(
        &self,
        order: &Order,
        sealed: u64,
        patience: Duration,
    ) -> Result<Vec<Reached>, OrderError> {
        if order.void().is_none() && !self.router.orders.is_of_this_life(sealed) {
            return Err(OrderError::OlderThanNode);
        }
        Ok(self.router.carry_out(order, sealed, patience).await)
    }

    /// Whether what was got with these credentials, a session or a cookie, is void since the account has others. Ask once whoever
    /// has it can be found by [`Deliver::void`]: then one of the two finds it.
    #[must_use]
    pub fn is_void(&self, claim: ClaimId, edition: Edition) -> bool {
        self.router.is_void(claim, edition)
    }

    /// Hands a notice about a principal to another live node itself, of any tier, and says what became of it, after
    /// `patience` at the latest.
    pub async fn hand(&self, to: &Node, who: &Passport, notice: Notice, patience: Duration) -> Outcome {
        self.router.hand_over(to, who, notice, patience).await
    }

    /// Sends notices to many without waiting: grouped by owner node, one batch each. Notices from one task to one
    /// principal arrive in order.
    pub fn post(&self, notices: Vec<(Passport, Notice)>) {
        self.router.post(notices);
    }

    /// Sends notices straight to sessions of that life of a node, without waiting. In order with others sent this
    /// way, but not with those that were posted.
    pub fn post_to(&self, node: &NodeId, generation: Generation, letters: Vec<(Passport, Epoch, Notice)>) {
        self.router.post_to(&Place { node: node.clone(), generation }, letters);
    }

    /// Tells another live node, of any tier, what it finds out in another way if this is lost. Does not wait.
    pub fn hint(&self, node: &NodeId, generation: Generation, notices: Vec<(Passport, Notice)>) {
        self.router.hint(&Place { node: node.clone(), generation }, notices);
    }

    /// Tells all other nodes at which passwords are tried of wrong ones. What can't be told now is lost. `left_out` have not found room
    /// among these. Does not wait.
    pub fn tell_guesses(&self, guesses: Guesses, left_out: u64) {
        self.router.tell_guesses(guesses, left_out);
    }

    /// Whoever counts the wrong passwords of which other nodes tell, from now on; said once. It must not block.
    pub fn hear_guesses(&self, hearer: impl Fn(Guesses) + Send + Sync + 'static) {
        self.router.hear_by(Box::new(hearer));
    }

    /// Waits until notices may have been lost, and says with whom. One task asks.
    pub async fn gap(&self) -> Gap {
        self.router.gaps.next().await
    }

    /// Tells all other notification nodes that notices of this one to them may be lost.
    pub fn tell_gap(&self) {
        self.router.tell_gap();
    }

    /// Asks another notification node who is to be seen there, in short: one tally for each of
    /// [`BUCKETS`](super::BUCKETS). Nothing without an answer in time.
    pub async fn tallies(&self, of: &Node, patience: Duration) -> Option<Vec<Tally>> {
        self.router.tallies(of, patience).await
    }

    /// Asks another notification node who is to be seen there, of these buckets: at most 20,000 by their tallies. Nothing
    /// without an answer in time; it may have fewer buckets than were asked for, the first ones.
    pub async fn sightings(&self, of: &Node, buckets: Vec<u8>, patience: Duration) -> Option<Vec<Vec<Sighting>>> {
        self.router.sightings(of, buckets, patience).await
    }
}

#[cfg(test)]
impl Cluster {
    pub(super) fn router(&self) -> &Arc<Router> {
        &self.router
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("id", self.id())
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

fn own_node(me: &Me, place: &Place, peer_addr: SocketAddr, gossip_addr: SocketAddr) -> Node {
    Node {
        id: place.node.clone(),
        generation: place.generation,
        role: me.role,
        client_addr: me.client_addr,
        peer_addr,
        gossip_addr,
        load: Load { capacity: me.load.capacity.max(1), ..me.load },
        highest_epoch: Epoch::default(),
        ready: false,
        linked: true,
    }
}

/// What others are told: the configured address, its port the bound one where it is 0, or the bound one.
fn advertised(bound: SocketAddr, told: Option<SocketAddr>, key: &'static str) -> Result<SocketAddr, ClusterError> {
    let mut addr = told.unwrap_or(bound);
    if addr.port() == 0 {
        addr.set_port(bound.port());
    }
    if addr.ip().is_unspecified() { Err(ClusterError::Unspecified(addr, key)) } else { Ok(addr) }
}
