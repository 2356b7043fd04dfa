//! Nodes, their hubs, and waiting for what must come.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use uuid::Uuid;

use crate::clock::HybridClock;
use crate::cluster::router::lock;
use crate::cluster::{
    Audience, Cluster, ClusterError, Deliver, Instruction, Keyring, Load, Location, Me, Notice, Outcome, Role,
    Told, Void,
};
use crate::config::{ClusterConfig, NodeConfig};
use crate::model::{Endpoint, Epoch, Passport};
use crate::net::Shutdown;
use crate::telemetry::Registry;

pub(super) fn passport(name: &str) -> Passport {
    Passport::parse(&format!("{name}@example.com")).unwrap()
}

pub(super) fn notice(from: &str, number: usize) -> Notice {
    Notice::Added { by: passport(from), name: number.to_string().into() }
}

/// Waits until something holds, and fails if it does not for too long.
#[track_caller]
pub(super) fn soon<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let began = Instant::now();
        while !holds().await {
            assert!(began.elapsed() < Duration::from_secs(20), "{caller}: not in time: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A hub of sessions that only listen.
#[derive(Default)]
pub(super) struct Hub {
    /// Epoch 0: it registers at the moment.
    sessions: Mutex<HashMap<Passport, Epoch>>,
    heard: Mutex<Vec<(Passport, Notice)>>,
    /// Who was told something by operators, in that order.
    told: Mutex<Vec<Passport>>,
    answers: Mutex<HashMap<Passport, (Outcome, Duration)>>,
    reannounced: AtomicUsize,
    fails_orders: AtomicBool,
    /// What was said to be void, in that order, and each once.
    voids: Mutex<Vec<Void>>,
}

impl Hub {
    pub(super) fn has(&self, name: &str) -> bool {
        self.sessions.lock().unwrap().contains_key(&passport(name))
    }

    pub(super) fn reannounced(&self) -> usize {
        self.reannounced.load(Ordering::SeqCst)
    }

    /// How and after what time a session answers an invitation.
    pub(super) fn answer(&self, name: &str, outcome: Outcome, after: Duration) {
        self.answers.lock().unwrap().insert(passport(name), (outcome, after));
    }

    /// How many of operators' orders have come to `to`.
    pub(super) fn told(&self, to: &str) -> usize {
        let to = passport(to);
        self.told.lock().unwrap().iter().filter(|who| **who == to).count()
    }

    /// From now on operators' orders end in a panic here.
    pub(super) fn fail_orders(&self) {
        self.fails_orders.store(true, Ordering::SeqCst);
    }

    /// What was said to be void.
    pub(super) fn voids(&self) -> Vec<Void> {
        self.voids.lock().unwrap().clone()
    }

    /// Who was said to be nowhere, to `to`.
    pub(super) fn absent(&self, to: &str) -> Vec<Passport> {
        let to = passport(to);
        let heard = self.heard.lock().unwrap();
        let absent = heard.iter().filter(|(who, _)| *who == to).filter_map(|(_, notice)| match notice {
            Notice::Absent { of, .. } => Some(of.clone()),
            _ => None,
        });
        absent.collect()
    }

    /// The numbers of the notices that `from` has sent to `to`.
    pub(super) fn heard(&self, to: &str, from: &str) -> Vec<usize> {
        let (to, from) = (passport(to), passport(from));
        let number = |(who, notice): &(Passport, Notice)| match notice {
            Notice::Added { by, name } if *who == to && *by == from => name.parse().ok(),
            _ => None,
        };
        self.heard.lock().unwrap().iter().filter_map(number).collect()
    }
}

#[async_trait::async_trait]
impl Deliver for Hub {
    async fn deliver(&self, to: &Passport, epoch: Option<Epoch>, notice: Notice) -> Outcome {
        let known = self.sessions.lock().unwrap().get(to).copied();
        if known.is_none() || epoch.is_some_and(|epoch| known != Some(epoch) && known != Some(Epoch(0))) {
            return Outcome::NotHere;
        }
        let is_invitation = matches!(notice, Notice::Invite(_));
        self.heard.lock().unwrap().push((to.clone(), notice));
        let answer = self.answers.lock().unwrap().get(to).copied();
        if let (true, Some((outcome, after))) = (is_invitation, answer) {
            tokio::time::sleep(after).await;
            return outcome;
        }
        Outcome::Accepted
    }

    fn displaced(&self, who: &Passport, _: Endpoint, by: Epoch) {
        let mut sessions = self.sessions.lock().unwrap();
        if sessions.get(who).is_some_and(|epoch| *epoch <= by) {
            sessions.remove(who);
        }
    }

    fn sessions(&self) -> Vec<(Passport, Endpoint, Epoch)> {
        let sessions = self.sessions.lock().unwrap();
        let known = sessions.iter().filter(|(_, epoch)| epoch.0 > 0);
        known.map(|(who, epoch)| (who.clone(), Endpoint::SOLE, *epoch)).collect()
    }

    fn reannounce(&self, _: &Passport, _: Epoch) {
        self.reannounced.fetch_add(1, Ordering::SeqCst);
    }

    async fn carry_out(&self, to: &Audience, _: &Instruction) -> Told {
        assert!(!self.fails_orders.load(Ordering::SeqCst), "orders fail here");
        let mut meant: Vec<Passport> = self.sessions.lock().unwrap().keys().cloned().collect();
        meant.retain(|who| !matches!(to, Audience::Principal(one) if one != who));
        self.told.lock().unwrap().extend(meant.iter().cloned());
        Told { sessions: meant.len() as u64, overrun: 0 }
    }

    fn void(&self, void: &Void) -> u64 {
        self.voids.lock().unwrap().push(void.clone());
        self.sessions.lock().unwrap().contains_key(&void.who).into()
    }
}

pub(super) struct Node {
    pub(super) cluster: Cluster,
    pub(super) hub: Arc<Hub>,
    pub(super) shutdown: Shutdown,
    registry: Registry,
    role: Role,
    runtime: Mutex<Option<Runtime>>,
}

impl Node {
    pub(super) fn id(&self) -> &str {
        self.cluster.id().as_str()
    }

    /// Signs in; if the session is displaced meanwhile, it is gone afterwards.
    pub(super) async fn sign_in(&self, name: &str) -> Location {
        let who = passport(name);
        self.hub.sessions.lock().unwrap().insert(who.clone(), Epoch(0));
        let epoch = self.cluster.register(&who, Endpoint::SOLE).await;
        if let Some(known) = self.hub.sessions.lock().unwrap().get_mut(&who) {
            *known = epoch;
        }
        let (node, generation) = (self.cluster.id().clone(), self.cluster.generation());
        Location { node, generation, epoch, endpoint: Endpoint::SOLE }
    }

    pub(super) async fn sign_out(&self, name: &str) {
        let ended = self.hub.sessions.lock().unwrap().remove(&passport(name));
        self.cluster.unregister(&passport(name), Endpoint::SOLE, ended.unwrap());
    }

    /// A session ends, and its owners are not told.
    pub(super) fn lose_silently(&self, name: &str) {
        let epoch = self.hub.sessions.lock().unwrap().remove(&passport(name)).unwrap();
        lock(&self.cluster.router().registrations).end(&passport(name), Endpoint::SOLE, epoch);
    }

    pub(super) fn entries(&self) -> usize {
        lock(&self.cluster.router().directory).len()
    }

    pub(super) fn metric(&self, name: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let name = format!("monarch_cluster_{name} ");
        text.lines()
            .find_map(|line| line.strip_prefix(&name)?.parse().ok())
            .unwrap_or_else(|| panic!("{name}: {text}"))
    }

    pub(super) fn lose_everything_of(&self, other: &Self) {
        lock(&self.cluster.router().directory).drop_place(&other.cluster.router().me);
    }

    pub(super) fn cut_incoming(&self) {
        self.cluster.router().links.cut_incoming();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.lock().unwrap().take() {
            runtime.shutdown_background();
        }
    }
}

pub(super) struct World {
    nodes: BTreeMap<String, Arc<Node>>,
    seeds: Vec<String>,
    directory: tempfile::TempDir,
}

impl Default for World {
    fn default() -> Self {
        Self { nodes: BTreeMap::new(), seeds: Vec::new(), directory: tempfile::tempdir().unwrap() }
    }
}

impl World {
    pub(super) async fn start(&mut self, name: &str, role: Role) {
        self.start_with(name, role, &[1], 1).await;
    }

    pub(super) async fn start_with(&mut self, name: &str, role: Role, secrets: &[u8], store: u128) -> Arc<Node> {
        let node = self.try_start(name, role, secrets, store, self.seeds.clone()).await.unwrap();
        self.seeds.push(node.cluster.gossip_addr().to_string());
        self.nodes.insert(name.into(), Arc::clone(&node));
        node
    }

    /// Starts a node that these seeds were named, and that nobody else is told of.
    pub(super) async fn try_start(
        &self,
        name: &str,
        role: Role,
        secrets: &[u8],
        store: u128,
        seeds: Vec<String>,
    ) -> Result<Arc<Node>, ClusterError> {
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let node = NodeConfig {
            id: name.into(),
            gossip: any,
            gossip_advertise: None,
            peer: any,
            peer_advertise: None,
            admin: any,
            admin_names: Vec::new(),
        };
        let load = Load { capacity: 100, ..Load::default() };
        let me = Me {
            role,
            node,
            client_addr: any,
            store: Uuid::from_u128(store),
            load,
            directory: self.directory.path().into(),
        };
        let config = ClusterConfig { seeds, ..ClusterConfig::default() };
        let keys = Keyring::from_secrets(secrets.iter().map(|byte| [*byte; 32])).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (hub, shutdown, mut registry) =
            (Arc::new(Hub::default()), Shutdown::default(), Registry::with_prefix("monarch"));
        let deliver = (role != Role::Dispatch).then(|| Arc::clone(&hub) as Arc<dyn Deliver>);
        let (signal, clock) = (shutdown.clone(), Arc::new(HybridClock::default()));
        let started = runtime.spawn(async move {
            let cluster = Cluster::start(&config, me, keys, clock, deliver, &mut registry, &signal).await;
            (cluster, registry)
        });
        let (cluster, registry) = started.await.unwrap();
        let cluster = match cluster {
            Ok(cluster) => cluster,
            Err(error) => {
                runtime.shutdown_background();
                return Err(error);
            }
        };
        Ok(Arc::new(Node { cluster, hub, shutdown, registry, role, runtime: Mutex::new(Some(runtime)) }))
    }

    /// Where the nodes that were started gossip.
    pub(super) fn seeds(&self) -> Vec<String> {
        self.seeds.clone()
    }

    /// The number of its last life that a node finds at its next start.
    pub(super) fn note_generation(&self, name: &str, generation: u64) {
        std::fs::write(self.directory.path().join(format!("{name}.generation")), generation.to_string()).unwrap();
    }

    pub(super) fn node(&self, name: &str) -> &Arc<Node> {
        &self.nodes[name]
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    /// Ends a node without a word.
    pub(super) fn kill(&mut self, name: &str) {
        let node = self.nodes.remove(name).unwrap();
        let runtime = node.runtime.lock().unwrap().take().unwrap();
        runtime.shutdown_background();
    }

    /// Waits until all nodes see each other and every owner has heard of every session.
    pub(super) async fn settle(&self) {
        let settled = |node: &Arc<Node>| {
            let router = node.cluster.router();
            let sees_all = node.cluster.view().all().count() == self.nodes.len();
            let is_owner = node.role == Role::Notification;
            sees_all && router.has_joined() && (!is_owner || router.is_settled(&router.ring()))
        };
        let began = Instant::now();
        while !self.nodes().all(settled) {
            if began.elapsed() > Duration::from_secs(20) {
                for node in self.nodes() {
                    let view: Vec<String> = node.cluster.view().all().map(|n| format!("{}", n.id)).collect();
                    eprintln!("{} sees {view:?}, settling {:?}", node.id(), lock(&node.cluster.router().settling));
                }
                panic!("not settled in time");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
