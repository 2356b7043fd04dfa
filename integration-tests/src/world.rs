//! A deployment of the three tiers on this machine.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use cli::OrderDesk;
use cli::scenario::{AccountSource, Deployment};
use common::config::Config;
use common::credentials::SealingKey;
use common::telemetry::parse_waiting;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::admin;
use crate::process::Process;
use crate::stored::OwnStore;

/// How long the processes may take to find each other.
const READY: Duration = Duration::from_secs(30);
/// How often they are asked.
const ASK: Duration = Duration::from_millis(50);

/// What a [`World`] consists of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Notification nodes.
    pub notification: usize,
    /// Switchboards.
    pub switchboard: usize,
    /// Settings for every process, `section.key=value`.
    pub settings: Vec<String>,
    /// The second node of each tier is on the other side of a partition: neither side hears of the other, and both work on the
    /// same store.
    pub partitioned: bool,
    /// Named to every process as seeds, beside the processes themselves.
    pub more_seeds: Vec<std::net::SocketAddr>,
    /// The CQL servers whose store it has, whatever the environment says: `host:port`.
    pub cql: Option<Vec<String>>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            notification: 2,
            switchboard: 1,
            settings: Vec::new(),
            partitioned: false,
            more_seeds: Vec::new(),
            cql: None,
        }
    }
}

/// A running deployment with a directory and a store of its own; all of it is gone when dropped. `MONARCH_TEST_STORE` says
/// which kind of store: `sqlite` (also without it), or `cql` at the server that `MONARCH_CQL` names.
#[derive(Debug)]
pub struct World {
    plan: Plan,
    config: Config,
    // Dropped in this order: the processes before what they work on.
    processes: Vec<Process>,
    _store: OwnStore,
    directory: TempDir,
}

impl World {
    /// Makes the data, starts dispatch and then the others, and waits until all see each other. Await it in the
    /// test itself, not in a spawned task (see [`Process`]).
    ///
    /// # Errors
    /// When the store can't be made, or a process does not come up; the error shows the logs.
    pub async fn start(plan: Plan) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("monarch-test-").tempdir()?;
        let data = directory.path().join("data");
        common::files::create_directory(&data)?;
        let store = OwnStore::create(&data, plan.cql.as_deref()).await?;
        let (config, file) = lay_out(directory.path(), &store)?;
        let names = std::iter::once(("dispatch", 1))
            .chain((1..=plan.notification).map(|number| ("notification", number)))
            .chain((1..=plan.switchboard).map(|number| ("switchboard", number)));
        let processes = names
            .map(|(tier, number)| Process::new(tier, format!("{tier}-{number}"), file.clone(), directory.path()))
            .collect();
        let mut world = Self { plan, config, processes, _store: store, directory };
        for at in 0..world.processes.len() {
            world.start_at(at).await?;
        }
        world.ready().await?;
        Ok(world)
    }

    /// The directory with configuration, secrets, databases and logs.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The configuration by which another program finds the same store and keys.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The processes, dispatch first.
    #[must_use]
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// The process of that name: `notification-2`.
    ///
    /// # Errors
    /// When there is none.
    pub fn process(&self, name: &str) -> anyhow::Result<&Process> {
        self.processes.iter().find(|process| process.name() == name).with_context(|| format!("no process {name}"))
    }

    fn find(&self, name: &str) -> anyhow::Result<usize> {
        let at = self.processes.iter().position(|process| process.name() == name);
        at.with_context(|| format!("no process {name}"))
    }

    /// Kills a process at once (SIGKILL).
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        let at = self.find(name)?;
        self.processes[at].kill().await
    }

    /// Stops a process as an operator does (SIGTERM).
    ///
    /// # Errors
    /// When it does not run, does not stop in time, or ends with an error.
    pub async fn stop(&mut self, name: &str) -> anyhow::Result<()> {
        let at = self.find(name)?;
        let status = self.processes[at].stop().await?;
        anyhow::ensure!(status.success(), "{name} ended with {status}\n{}", self.processes[at].tail());
        Ok(())
    }

    /// Starts a process again that was killed or stopped: the same data, the same ports. Wait with [`World::ready`].
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self, name: &str) -> anyhow::Result<()> {
        let at = self.find(name)?;
        self.start_at(at).await
    }

    /// The same without waiting until it listens: its store may be away. [`World::listening`] waits.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn begin(&mut self, name: &str) -> anyhow::Result<()> {
        let at = self.find(name)?;
        let settings = self.settings_of(at);
        self.processes[at].begin(&settings)
    }

    /// Waits until a process listens that was [begun](World::begin).
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn listening(&mut self, name: &str) -> anyhow::Result<()> {
        let at = self.find(name)?;
        self.processes[at].listening().await
    }

    /// Stops all processes, dispatch last.
    ///
    /// # Errors
    /// When one does not stop in time or ends with an error.
    pub async fn shut_down(mut self) -> anyhow::Result<()> {
        let running = self.processes.iter().filter(|process| process.is_running());
        let names: Vec<String> = running.map(|process| process.name().to_owned()).collect();
        for name in names.iter().rev() {
            self.stop(name).await?;
        }
        Ok(())
    }

    /// Where scenarios find the deployment, with its store open.
    ///
    /// # Errors
    /// When the store can't be opened.
    pub async fn deployment(&self) -> anyhow::Result<Deployment> {
        let of = |tier: &'static str| self.processes.iter().filter(move |process| process.tier() == tier);
        let clients =
            |tier| of(tier).map(|process| process.address("clients")).collect::<anyhow::Result<Vec<_>>>();
        let dispatch = self.process("dispatch-1")?;
        Ok(Deployment {
            dispatch: dispatch.address("clients")?,
            http: dispatch.address("http")?,
            notification: clients("notification")?,
            switchboard: clients("switchboard")?,
            accounts: Some(AccountSource::open(&self.config).await?),
            orders: Some(self.orders()?),
            timeout: Deployment::TIMEOUT,
        })
    }

    /// Where operators give orders: at the first notification node.
    ///
    /// # Errors
    /// When it does not run.
    pub fn orders(&self) -> anyhow::Result<OrderDesk> {
        let admin = self.process("notification-1")?.address("admin")?;
        Ok(OrderDesk { admin, secrets: self.config.cluster.secrets.clone() })
    }

    /// The ends of all logs, for a test that has failed.
    #[must_use]
    pub fn logs(&self) -> String {
        self.processes.iter().fold(String::new(), |mut logs, process| {
            logs.push_str(&process.tail());
            logs
        })
    }

    /// Waits until every running process has all that it waits for, and sees every other one on its side.
    ///
    /// # Errors
    /// When that takes too long; the error shows what is missing, and the logs.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY;
        loop {
            let missing = self.missing().await;
            if missing.is_empty() {
                return Ok(());
            }
            anyhow::ensure!(Instant::now() < deadline, "not ready in time: {missing}\n{}", self.logs());
            sleep(ASK).await;
        }
    }

    /// What is not yet as it should be; empty when all is.
    async fn missing(&self) -> String {
        let mut missing = String::new();
        let running = || self.processes.iter().filter(|process| process.is_running());
        for process in running() {
            let name = process.name();
            let Ok(address) = process.address("admin") else { return format!("{name} has no admin address") };
            match admin::get(address, "/readyz").await {
                Ok((200, body)) if parse_waiting(&body).is_empty() => {}
                Ok((status, body)) => _ = write!(missing, "{name}: {status} {}; ", body.trim()),
                Err(error) => _ = write!(missing, "{name}: {error:#}; "),
            }
            for tier in ["dispatch", "notification", "switchboard"] {
                let is_there = |other: &&Process| other.tier() == tier && self.side(other) == self.side(process);
                let there = running().filter(is_there).count();
                let seen = admin::nodes_seen(address, tier).await.unwrap_or(0);
                if seen != there {
                    _ = write!(missing, "{name} sees {seen} of {there} {tier} nodes; ");
                }
            }
        }
        missing
    }

    /// Whether it is on the other side of the partition, if there is one.
    fn side(&self, process: &Process) -> bool {
        self.plan.partitioned && process.name().ends_with("-2")
    }

    async fn start_at(&mut self, at: usize) -> anyhow::Result<()> {
        let settings = self.settings_of(at);
        self.processes[at].start(&settings).await
    }

    fn settings_of(&self, at: usize) -> Vec<String> {
        // All that are known: dispatch may be the one that comes back.
        let process = &self.processes[at];
        let known = self.processes.iter().filter(|other| self.side(other) == self.side(process));
        let seeds = known.filter_map(|process| process.address("gossip").ok());
        let seeds = seeds.chain(self.plan.more_seeds.iter().copied());
        let seeds: Vec<String> = seeds.map(|address| address.to_string()).collect();
        let tier = process.tier();
        let mut settings = self.plan.settings.clone();
        if !seeds.is_empty() {
            settings.push(format!("cluster.seeds={}", seeds.join(",")));
        }
        settings.push(format!("{tier}.node.id={}", process.name()));
        for (name, key) in [
            ("clients", "listen"),
            ("gossip", "node.gossip"),
            ("peer", "node.peer"),
            ("admin", "node.admin"),
            ("http", "http.listen"),
            ("https", "https.listen"),
            ("dns", "dns.listen"),
        ] {
            if let Ok(address) = process.address(name) {
                settings.push(format!("{tier}.{key}={address}"));
            }
        }
        settings
    }
}

/// Writes configuration, cluster secret and MD5 key. Returns what other programs need to know, and the file.
pub(crate) fn lay_out(directory: &Path, store: &OwnStore) -> anyhow::Result<(Config, std::path::PathBuf)> {
    let secrets = directory.join("cluster.secrets");
    // 64 characters of base64, 48 bytes.
    let secret = format!("{}{}\n", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&secrets)?;
    file.write_all(secret.as_bytes())?;
    let (md5_key, data) = (directory.join("md5.key"), directory.join("data"));
    SealingKey::create(&md5_key)?;

    let mut config = Config::default();
    config.store = store.config().clone();
    config.cluster.secrets = secrets.clone();
    config.accounts.md5_key = md5_key.clone();
    // A hash that costs little: scenarios sign in hundreds of times.
    config.accounts.argon2_memory_kib = 1024;
    config.accounts.argon2_passes = 1;

    let node = |tier: &str| {
        format!(
            "[{tier}]\nlisten = \"127.0.0.1:0\"\n[{tier}.node]\nid = \"{tier}-1\"\ngossip = \"127.0.0.1:0\"\n\
             peer = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n"
        )
    };
    let text = format!(
        "[log]\nfilter = \"info\"\n\
         [cluster]\nsecrets = {secrets:?}\nseeds = []\n\
         {}[accounts]\nmd5_key = {md5_key:?}\nargon2_memory_kib = 1024\nargon2_passes = 1\n\
         {}[dispatch.http]\nlisten = \"127.0.0.1:0\"\n\
         [dispatch.https]\nlisten = \"127.0.0.1:0\"\ndevelopment = {data:?}\n\
         [dispatch.dns]\nlisten = \"127.0.0.1:0\"\n\
         {}{}",
        store.section(),
        node("dispatch"),
        node("notification"),
        node("switchboard"),
    );
    let path = directory.join("monarch.toml");
    std::fs::write(&path, text)?;
    Ok((config, path))
}
