//! A notification server in this process: one node, a store that obeys, clients on loopback.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::clock::{self, HybridClock};
use common::cluster::{Cluster, Deliver, Keyring, Load, Me, Notice, Role, SignInTicket, Stamp};
use common::config::{Config, StoreConfig};
use common::credentials::{AttemptGuard, SealingKey};
use common::model::{ClaimId, Endpoint, Epoch, List, NodeId, Passport, Presence, Status};
use common::msnp::challenge::md5_answer;
use common::net::{AddressLimiter, Listener, Shutdown};
use common::store::{Credentials, Edit, NewAccount};
use common::telemetry::Registry;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use uuid::Uuid;

use super::store::{Mood, Moody};
use crate::hub::{Hub, Item};
use crate::last_active::LastActive;
use crate::metrics::Metrics;
use crate::passwords::Passwords;
use crate::services::{KEPT_READS, Services};
use crate::session;

/// How long something may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

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
    _files: TempDir,
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
        let keys = Keyring::from_secrets([[1; 32]]).unwrap();
        let (hub, shutdown, mut registry) = (Arc::new(Hub::new()), Shutdown::default(), Registry::default());
        let any = ([127, 0, 0, 1], 0).into();
        let mut node = config.notification.node.clone();
        (node.gossip, node.peer, node.admin) = (any, any, any);
        let load = Load { capacity: 1, ..Load::default() };
        let (store_id, directory) = (Uuid::nil(), stored.path);
        let me = Me { role: Role::Notification, node, client_addr: any, store: store_id, load, directory };
        let cluster = common::config::ClusterConfig { seeds: Vec::new(), ..config.cluster.clone() };
        let deliver: Arc<dyn Deliver> = hub.clone();
        let (clock, metrics) = (Arc::new(HybridClock::default()), Metrics::new(&mut registry));
        let cluster = Cluster::start(&cluster, me, keys.clone(), clock, Some(deliver), &mut registry, &shutdown)
            .await
            .unwrap();
        assert!(cluster.serves_within(PATIENCE).await, "it has no neighbours");
        let services = Arc::new(Services {
            guard: AttemptGuard::new(&config.accounts),
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
        let listener = Listener::bind(any, AddressLimiter::new(1000)).await.unwrap();
        let door = listener.addr().unwrap();
        let inside = Arc::clone(&services);
        tokio::spawn(async move {
            for id in 0.. {
                tokio::spawn(session::serve(listener.accept().await, id, Arc::clone(&inside)));
            }
        });
        Self { services, store, key, door, registry, _files: files }
    }

    /// How the store behaves from now on.
    pub(super) fn store_is(&self, mood: Mood) {
        self.store.set(mood);
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
        let (place, mut mailbox) = self.services.hub.enter(&passport, Endpoint::SOLE);
        let epoch = cluster.register(&passport, Endpoint::SOLE).await;
        place.settle(epoch);
        let asked = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            let _place = place;
            while let Some(item) = mailbox.recv().await {
                let Item::Notice(Notice::Probe { from, reply_to }) = item else { continue };
                counted.fetch_add(1, Ordering::Relaxed);
                let presence = looks.lock().unwrap().clone();
                let answer = Notice::ProbeAnswer { from: passport.clone(), stamp: newest_stamp(), presence };
                cluster.post_to(&reply_to, from, answer);
            }
        });
        asked
    }

    pub(super) async fn connect(&self) -> Client {
        Client { stream: BufReader::new(TcpStream::connect(self.door).await.unwrap()) }
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
    Stamp { epoch: Epoch(u64::MAX), node, count }
}

/// How somebody looks, with texts of that many bytes in all.
pub(super) fn looks(bytes: usize) -> Presence {
    let personal_message = (bytes > 0).then(|| "x".repeat(bytes).into());
    Presence { status: Status::Online, name: "N".into(), capabilities: 0, object: None, personal_message }
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

/// A client.
pub(super) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(super) async fn says(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
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
