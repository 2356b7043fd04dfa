//! A notification server in this process: one node, a store that obeys, clients on loopback.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::clock::{self, HybridClock};
use common::cluster::{
    Audience, Cluster, Deliver, Instruction, Keyring, Load, Me, Notice, Outcome, Role, Sighting, SignInTicket,
    Stamp, Tally, Told, Void,
};
use common::config::{Config, StoreConfig};
use common::credentials::{AttemptGuard, RefusalLog, SealingKey};
use common::model::{ClaimId, Endpoint, Epoch, List, NodeId, Passport, Presence, Properties, Status, digest};
use common::msnp::challenge::md5_answer;
use common::net::{AddressLimiter, Listener, Shutdown};
use common::store::{Credentials, Edit, NewAccount};
use common::telemetry::Registry;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use uuid::Uuid;

use super::store::{Mood, Moody};
use crate::allowance::Allowances;
use crate::hub::{Access, Hub, Item};
use crate::last_active::LastActive;
use crate::metrics::Metrics;
use crate::passwords::Passwords;
use crate::services::{KEPT_READS, Services};
use crate::session;

/// How long something may take to come.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn who(name: &str) -> Passport {
    Passport::parse(&format!("{name}@example.com")).unwrap()
}

/// See the module.
pub(super) struct House {
    pub(super) services: Arc<Services>,
    store: Arc<Moody>,
    key: SealingKey,
    door: std::net::SocketAddr,
    registry: Registry,
    lossy: Arc<Lossy>,
    _files: Option<TempDir>,
}

/// What is common to the nodes of one deployment.
struct Common {
    store: Arc<Moody>,
    key: SealingKey,
    directory: PathBuf,
    seeds: Vec<String>,
}

impl House {
    pub(super) async fn open() -> Self {
        Self::open_with(Config::default()).await
    }

    pub(super) async fn open_with(config: Config) -> Self {
        let files = TempDir::new().unwrap();
        let stored = StoreConfig { path: files.path().join("data"), ..StoreConfig::default() };
        let store = Arc::new(Moody::new(common::store::open(&stored).await.unwrap()));
        let key = SealingKey::create(&files.path().join("md5.key")).unwrap();
        let common = Common { store, key, directory: stored.path, seeds: Vec::new() };
        Self { _files: Some(files), ..Self::start(config, common).await }
    }

    /// A node that none of its seeds answers: as long as the store shows that others live it does not know who is signed in there.
    pub(super) async fn open_unheard() -> Self {
        let files = TempDir::new().unwrap();
        let stored = StoreConfig { path: files.path().join("data"), ..StoreConfig::default() };
        let store = Arc::new(Moody::new(common::store::open(&stored).await.unwrap()));
        let key = SealingKey::create(&files.path().join("md5.key")).unwrap();
        let common = Common { store, key, directory: stored.path, seeds: vec!["127.0.0.1:1".into()] };
        Self { _files: Some(files), ..Self::begin(Config::default(), common).await }
    }

    /// Another node of the same deployment.
    pub(super) async fn open_beside(&self, config: Config) -> Self {
        let common = Common {
            store: Arc::clone(&self.store),
            key: self.key.clone(),
            directory: self._files.as_ref().unwrap().path().join("data"),
            seeds: vec![self.services.cluster.gossip_addr().to_string()],
        };
        Self::start(config, common).await
    }

    async fn start(config: Config, common: Common) -> Self {
        let house = Self::begin(config, common).await;
        assert!(house.services.cluster.serves_within(PATIENCE).await, "it has no neighbours");
        house
    }

    async fn begin(config: Config, common: Common) -> Self {
        let Common { store, key, directory, seeds } = common;
        let keys = Keyring::from_secrets([[1; 32]]).unwrap();
        let (hub, shutdown, mut registry) = (Arc::new(Hub::new()), Shutdown::default(), Registry::default());
        let any = ([127, 0, 0, 1], 0).into();
        let mut node = config.notification.node.clone();
        (node.gossip, node.peer, node.admin) = (any, any, any);
        let load = Load { capacity: 1, ..Load::default() };
        let store_id = Uuid::nil();
        let me = Me { role: Role::Notification, node, client_addr: any, store: store_id, load, directory };
        let cluster = common::config::ClusterConfig { seeds, ..config.cluster.clone() };
        let lossy = Arc::new(Lossy { hub: Arc::clone(&hub), every: AtomicU64::new(0), count: AtomicU64::new(0) });
        let deliver: Arc<dyn Deliver> = lossy.clone();
        let (clock, metrics) = (Arc::new(HybridClock::default()), Metrics::new(&mut registry));
        let cluster = Cluster::start(&cluster, me, keys.clone(), clock, Some(deliver), &mut registry, &shutdown)
            .await
            .unwrap();
        let services = Arc::new(Services {
            guard: Arc::new(AttemptGuard::new(&config.accounts)),
            refusals: RefusalLog::default(),
            allowances: Allowances::default(),
            clear_text: config.accounts.clear_text,
            limits: config.limits,
            rates: config.rates,
            config: config.notification,
            store: store.clone(),
            cluster,
            keys,
            md5: Arc::new(Passwords::new(key.clone()).unwrap()),
            hub,
            buffers: Arc::default(),
            kept_reads: Semaphore::new(KEPT_READS),
            last_active: LastActive::default(),
            metrics,
            shutdown,
        });
        let mut listener = Listener::bind(any, AddressLimiter::new(1000)).await.unwrap();
        let door = listener.addr().unwrap();
        let inside = Arc::clone(&services);
        tokio::spawn(async move {
            for id in 0.. {
                tokio::spawn(session::serve(listener.accept().await, id, Arc::clone(&inside)));
            }
        });
        Self { services, store, key, door, registry, lossy, _files: None }
    }

    /// From now on each notice of that number is lost on its way to a session here; 0: none is.
    pub(super) fn lose_every(&self, number: u64) {
        self.lossy.every.store(number, Ordering::Relaxed);
    }

    /// How many notices have come to sessions here.
    pub(super) fn notices(&self) -> u64 {
        self.lossy.count.load(Ordering::Relaxed)
    }

    /// How the store behaves from now on.
    pub(super) fn store_is(&self, mood: Mood) {
        self.store.set(mood);
    }

    /// How many edits the store was asked for.
    pub(super) fn edits(&self) -> u64 {
        self.store.edits()
    }

    /// How many sessions the directory holds.
    pub(super) fn registered(&self) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let line = |line: &str| line.strip_prefix("cluster_directory_entries ")?.parse().ok();
        text.lines().find_map(line).unwrap_or_else(|| panic!("{text}"))
    }

    /// An account whose password is `secret`.
    pub(super) async fn account(&self, name: &str) -> Passport {
        let (passport, claim) = (who(name), ClaimId(Uuid::new_v4()));
        let sealed_password = Some(self.key.seal(&passport, claim, "secret"));
        let credentials = Credentials { epoch: 1, password_hash: String::new(), sealed_password };
        let (friendly_name, created) = (name.to_owned(), clock::wall_ms());
        let new = NewAccount { passport: passport.clone(), claim, credentials, friendly_name, created };
        self.services.store.create_account(new).await.unwrap();
        passport
    }

    /// Puts somebody on lists of another, as if its session had.
    pub(super) async fn list(&self, owner: &Passport, lists: &[List], contact: &Passport) {
        let edit = |list: &List| Edit::List { contact: contact.clone(), list: *list, on: true };
        self.services.store.edit(owner, lists.iter().map(edit).collect()).await.unwrap();
    }

    /// On which lists of `owner` somebody is, in the store.
    pub(super) async fn is_on(&self, owner: &Passport, list: List, contact: &Passport) -> bool {
        self.services.store.roster(owner).await.unwrap().unwrap().is_on(list, contact)
    }

    /// Somebody signed in without a client, who answers every probe with how it looks then. Returns how often it was
    /// asked.
    pub(super) async fn puppet(&self, name: &str, looks: Arc<Mutex<Presence>>) -> Arc<AtomicU64> {
        let (passport, cluster) = (who(name), self.services.cluster.clone());
        let (place, mut mailbox) = self.services.hub.enter(&passport, Endpoint::SOLE, Access::SOME);
        let epoch = cluster.register(&passport, Endpoint::SOLE).await;
        place.settle(epoch);
        let asked = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            let _place = place;
            while let Some(item) = mailbox.recv().await {
                let Item::Notice(Notice::Probe { watchers, node, generation }) = item else { continue };
                counted.fetch_add(1, Ordering::Relaxed);
                let (presence, properties) = (Some(looks.lock().unwrap().clone()), no_properties());
                let (from, stamp) = (passport.clone(), newest_stamp());
                let answer = Notice::ProbeAnswer { from, stamp, presence, properties };
                let letters = watchers.into_iter().map(|watcher| (watcher.who, watcher.epoch, answer.clone()));
                cluster.post_to(&node, generation, letters.collect());
            }
        });
        asked
    }

    pub(super) async fn connect(&self) -> Client {
        let (reads, writes) = TcpStream::connect(self.door).await.unwrap().into_split();
        Client { stream: BufReader::new(reads), writes }
    }

    /// A client of MSNP7 that has been asked for its password.
    pub(super) async fn challenged(&self, name: &str) -> Challenged {
        let mut client = self.connect().await;
        client.says(&format!("VER 1 MSNP7\r\nINF 2\r\nUSR 3 MD5 I {name}@example.com")).await;
        let salt = client.hears_of("USR 3 MD5 S ").await.rsplit(' ').next().unwrap().to_owned();
        Challenged { client, salt }
    }

    /// A client that has sent its ticket.
    pub(super) async fn knock(&self, name: &str, dialect: &str) -> Client {
        let mut client = self.connect().await;
        let expires = clock::wall_ms() + 60_000;
        let ticket = SignInTicket { passport: who(name), credential_epoch: 1, expires };
        let ticket = self.services.keys.seal_ticket(&ticket);
        client.says(&format!("VER 1 {dialect}")).await;
        client.hears_of("VER").await;
        client.says(&format!("USR 2 TWN I {name}@example.com")).await;
        client.hears_of("USR").await;
        client.says(&format!("USR 3 TWN S {ticket}")).await;
        client
    }

    /// A client that has signed in.
    pub(super) async fn sign_in(&self, name: &str, dialect: &str) -> Client {
        let mut client = self.knock(name, dialect).await;
        assert!(client.hears_of("USR").await.starts_with("USR 3 OK "));
        client
    }

    /// Waits until something holds.
    #[track_caller]
    pub(super) fn soon(what: &str, holds: impl AsyncFn() -> bool) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let waits = async {
                while !holds().await {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            assert!(timeout(PATIENCE, waits).await.is_ok(), "{caller}: not in time: {what}");
        }
    }
}

/// Of whoever it is, nothing newer has been said.
pub(super) fn newest_stamp() -> Stamp {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let (node, count) = (NodeId::parse("elsewhere").unwrap(), COUNT.fetch_add(1, Ordering::Relaxed));
    Stamp { epoch: Epoch(u64::MAX), node, count, version: 1 }
}

/// The digest of one who has set none.
pub(super) fn no_properties() -> u32 {
    digest(&Properties::new())
}

/// How somebody looks, with texts of that many bytes in all.
pub(super) fn looks(bytes: usize) -> Presence {
    let personal_message = (bytes > 0).then(|| "x".repeat(bytes).into());
    Presence { status: Status::Online, name: "N".into(), capabilities: 0, object: None, personal_message }
}

/// What a client shows of contacts.
#[derive(Default)]
pub(super) struct Screen {
    /// The status of those who are there.
    pub(super) there: BTreeMap<String, String>,
    /// Who was ever seen to go.
    pub(super) seen_to_go: BTreeSet<String>,
}

/// See [`House::challenged`].
pub(super) struct Challenged {
    client: Client,
    salt: String,
}

impl Challenged {
    /// With that password, sent and not yet judged.
    pub(super) async fn answered(mut self, password: &str) -> Client {
        self.client.says(&format!("USR 4 MD5 S {}", md5_answer(&self.salt, password))).await;
        self.client
    }
}

/// Hands notices to a hub, and loses some: for whoever sent them they have arrived.
struct Lossy {
    hub: Arc<Hub>,
    every: AtomicU64,
    count: AtomicU64,
}

#[async_trait::async_trait]
impl Deliver for Lossy {
    async fn deliver(&self, to: &Passport, epoch: Option<Epoch>, notice: Notice) -> Outcome {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        match self.every.load(Ordering::Relaxed) {
            every if every > 0 && number.is_multiple_of(every) => Outcome::Accepted,
            _ => self.hub.deliver(to, epoch, notice).await,
        }
    }

    fn displaced(&self, who: &Passport, endpoint: Endpoint, by: Epoch) {
        self.hub.displaced(who, endpoint, by);
    }

    fn sessions(&self) -> Vec<(Passport, Endpoint, Epoch)> {
        self.hub.sessions()
    }

    fn reannounce(&self, who: &Passport, epoch: Epoch) {
        self.hub.reannounce(who, epoch);
    }

    async fn carry_out(&self, to: &Audience, what: &Instruction) -> Told {
        self.hub.carry_out(to, what).await
    }

    fn void(&self, void: &Void) -> u64 {
        self.hub.void(void)
    }

    fn tallies(&self) -> Vec<Tally> {
        self.hub.tallies()
    }

    fn sightings(&self, bucket: u8) -> Vec<Sighting> {
        self.hub.sightings(bucket)
    }
}

/// A client.
pub(super) struct Client {
    stream: BufReader<OwnedReadHalf>,
    writes: OwnedWriteHalf,
}

impl Client {
    pub(super) async fn says(&mut self, line: &str) {
        self.writes.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
    }

    /// What it shows from now on, and what it sends.
    pub(super) fn watches(self) -> (Arc<Mutex<Screen>>, OwnedWriteHalf) {
        let Self { mut stream, writes } = self;
        let screen = Arc::new(Mutex::new(Screen::default()));
        let shows = Arc::clone(&screen);
        tokio::spawn(async move {
            let mut line = String::new();
            while stream.read_line(&mut line).await.unwrap_or(0) > 0 {
                let words: Vec<&str> = line.split_whitespace().collect();
                let mut shows = shows.lock().unwrap();
                match words[..] {
                    ["NLN", status, who, ..] | ["ILN", _, status, who, ..] => {
                        shows.there.insert(who.to_owned(), status.to_owned());
                    }
                    ["FLN", who] => {
                        shows.there.remove(who);
                        shows.seen_to_go.insert(who.to_owned());
                    }
                    _ => {}
                }
                line.clear();
            }
        });
        (screen, writes)
    }

    /// The next line, its payload passed over; nothing once the connection is closed.
    pub(super) async fn hears(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.stream.read_line(&mut line)).await.expect("a line, in time");
        // A reset closes it too.
        if read.unwrap_or(0) == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if ["MSG", "UBX"].iter().any(|verb| line.starts_with(verb)) {
            let bytes = line.rsplit(' ').next().unwrap().parse().unwrap();
            self.stream.read_exact(&mut vec![0; bytes]).await.unwrap();
        }
        Some(line)
    }

    /// The next line that begins so; others are passed over.
    #[track_caller]
    pub(super) fn hears_of(&mut self, start: &str) -> impl Future<Output = String> {
        let caller = std::panic::Location::caller();
        async move {
            let mut passed = Vec::new();
            loop {
                match self.hears().await {
                    Some(line) if line.starts_with(start) => return line,
                    Some(line) => passed.push(line),
                    None => panic!("{caller}: closed before {start}; heard {passed:?}"),
                }
            }
        }
    }

    /// All lines until the connection is closed.
    pub(super) async fn hears_out(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.hears().await {
            lines.push(line);
        }
        lines
    }
}
