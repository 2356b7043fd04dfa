//! A deployment of the three tiers on this machine.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use anyhow::Context;
use cli::OrderDesk;
use cli::scenario::{AccountSource, Deployment};

use crate::process::Process;
use crate::stored::OwnStore;
use crate::suite::Suite;

/// How long the processes may take to find each other.
const READY: Duration = Duration::from_secs(30);
/// What a [`World`] consists of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Dispatch nodes.
    pub dispatch: usize,
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
            dispatch: 1,
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
    suite: Suite,
}

impl Deref for World {
    type Target = Suite;

    fn deref(&self) -> &Suite {
        &self.suite
    }
}

impl DerefMut for World {
    fn deref_mut(&mut self) -> &mut Suite {
        &mut self.suite
    }
}

impl World {
    /// Makes the data, starts dispatch and then the others, and waits until all see each other. Await it in the
    /// test itself, not in a spawned task (see [`Process`]).
    ///
    /// # Errors
    /// When the store can't be made, or a process does not come up; the error shows the logs.
    pub async fn start(plan: Plan) -> anyhow::Result<Self> {
        let mut suite = Suite::lay_out(async |data| OwnStore::create(data, plan.cql.as_deref()).await).await?;
        (1..=plan.dispatch).for_each(|number| suite.add("dispatch", number, None));
        (1..=plan.notification).for_each(|number| suite.add("notification", number, None));
        (1..=plan.switchboard).for_each(|number| suite.add("switchboard", number, None));
        let mut world = Self { plan, suite };
        for name in world.names() {
            world.restart(&name).await?;
        }
        world.ready().await?;
        Ok(world)
    }

    /// Stops a process as an operator does (SIGTERM).
    ///
    /// # Errors
    /// When it does not run, does not stop in time, or ends with an error.
    pub async fn stop(&mut self, name: &str) -> anyhow::Result<()> {
        let process = self.process_mut(name)?;
        let status = process.stop().await?;
        anyhow::ensure!(status.success(), "{name} ended with {status}\n{}", process.tail());
        Ok(())
    }

    /// Starts a process again that was killed or stopped: the same data, the same ports. Wait with [`World::ready`].
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self, name: &str) -> anyhow::Result<()> {
        let settings = self.settings_of(name)?;
        self.process_mut(name)?.start(&settings).await
    }

    /// The same without waiting until it listens: its store may be away. [`World::listening`] waits.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn begin(&mut self, name: &str) -> anyhow::Result<()> {
        let settings = self.settings_of(name)?;
        self.process_mut(name)?.begin(&settings)
    }

    /// Waits until a process listens that was [begun](World::begin).
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn listening(&mut self, name: &str) -> anyhow::Result<()> {
        self.process_mut(name)?.listening().await
    }

    /// Starts a further node, `notification-2` for example, with these settings over the configuration file. It is none of the
    /// processes of this world: nobody waits for it, and it is killed when dropped.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn beside(&self, name: &str, settings: &[String]) -> anyhow::Result<Process> {
        let file = self.directory().join("monarch.toml");
        let tiers = ["dispatch", "notification", "switchboard"];
        let tier = tiers.into_iter().find(|tier| name.starts_with(tier)).context("no tier has such nodes")?;
        let mut process = Process::new(tier, name.to_owned(), file, self.directory());
        let settings: Vec<_> = settings.iter().cloned().chain([format!("{tier}.node.id={name}")]).collect();
        process.start(&settings).await?;
        Ok(process)
    }

    /// Stops all processes, dispatch last.
    ///
    /// # Errors
    /// When one does not stop in time or ends with an error.
    pub async fn shut_down(mut self) -> anyhow::Result<()> {
        let running = self.processes().iter().filter(|process| process.is_running());
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
        let of = |tier: &'static str| self.processes().iter().filter(move |process| process.tier() == tier);
        let clients =
            |tier| of(tier).map(|process| process.address("clients")).collect::<anyhow::Result<Vec<_>>>();
        let dispatch = self.process("dispatch-1")?;
        Ok(Deployment {
            dispatch: dispatch.address("clients")?,
            http: dispatch.address("http")?,
            notification: clients("notification")?,
            switchboard: clients("switchboard")?,
            accounts: Some(AccountSource::open(self.config()).await?),
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
        Ok(OrderDesk { admin, secrets: self.config().cluster.secrets.clone() })
    }

    /// Waits until every running process has all that it waits for, and sees every other one on its side.
    ///
    /// # Errors
    /// When that takes too long; the error shows what is missing, and the logs.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let get = async |process: &Process, path: &str| process.get(path).await;
        self.until_ready(READY, get, |one, other| self.side(one) == self.side(other)).await
    }

    /// Whether it is on the other side of the partition, if there is one.
    fn side(&self, process: &Process) -> bool {
        self.plan.partitioned && process.name().ends_with("-2")
    }

    fn settings_of(&self, name: &str) -> anyhow::Result<Vec<String>> {
        // All that are known: dispatch may be the one that comes back.
        let process = self.process(name)?;
        let known = self.processes().iter().filter(|other| self.side(other) == self.side(process));
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
        Ok(settings)
    }
}
