//! A deployment on several hosts, each in a network namespace of its own on this machine: what hosts hear of each other can be
//! cut, and their processes be stopped, killed and started again. They share one SQLite store, since it is one machine. Clients
//! connect from a namespace of their own, each from its own address.
//!
//! It needs root, `ip` and `nft`; [`Hosts::missing`] says what is not there.

mod network;
mod space;
mod tools;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::admin;
use crate::process::Process;
use crate::stored::OwnStore;
use crate::suite::Suite;
use network::Network;
pub(crate) use space::Gate;

/// How long the processes may take to find each other.
const READY: Duration = Duration::from_secs(60);
/// The tiers, with the last digit of their ports.
const TIERS: [(&str, u16); 3] = [("dispatch", 3), ("notification", 4), ("switchboard", 5)];

/// What runs where.
#[derive(Debug, Clone)]
pub struct HostsPlan {
    /// Hosts; nodes are dealt out to them in turn, so that the first node of each tier is on the first.
    pub hosts: u8,
    /// Dispatch nodes; as many as hosts at most, like those of the other tiers.
    pub dispatch: u8,
    /// Notification nodes.
    pub notification: u8,
    /// Switchboards.
    pub switchboard: u8,
    /// Settings for every process, `section.key=value`.
    pub settings: Vec<String>,
}

impl Default for HostsPlan {
    fn default() -> Self {
        // Tests answer no challenges.
        let settings = vec!["notification.challenge_interval_secs=0".to_owned()];
        Self { hosts: 3, dispatch: 2, notification: 3, switchboard: 3, settings }
    }
}

/// A running deployment on several hosts; all of it is gone when dropped.
#[derive(Debug)]
pub struct Hosts {
    plan: HostsPlan,
    // Dropped before the network in which it lives.
    suite: Suite,
    network: Network,
}

impl Deref for Hosts {
    type Target = Suite;

    fn deref(&self) -> &Suite {
        &self.suite
    }
}

impl DerefMut for Hosts {
    fn deref_mut(&mut self) -> &mut Suite {
        &mut self.suite
    }
}

impl Hosts {
    /// Why there can be none here: no rights, or no tools. Nothing if there can.
    #[must_use]
    pub fn missing() -> Option<String> {
        Network::missing()
    }

    /// Lays the network, makes the data, starts all processes and waits until all see each other. Await it in the test itself,
    /// not in a spawned task (see [`Process`]).
    ///
    /// # Errors
    /// When a part can't be made, or a process does not come up; the error shows the logs.
    pub async fn start(plan: HostsPlan) -> Result<Self> {
        let network = Network::create(plan.hosts).await?;
        let mut suite = Suite::lay_out(OwnStore::in_files).await?;
        for ((tier, _), nodes) in TIERS.iter().zip([plan.dispatch, plan.notification, plan.switchboard]) {
            ensure!(nodes <= plan.hosts, "more nodes of one tier than hosts");
            for number in 1..=nodes {
                suite.add(tier, number.into(), Some(network.namespace(number)?));
            }
        }
        let mut hosts = Self { plan, suite, network };
        for name in hosts.names() {
            hosts.restart(&name).await?;
        }
        hosts.ready().await?;
        Ok(hosts)
    }

    /// The names of a tier's nodes.
    #[must_use]
    pub fn nodes(&self, tier: &str) -> Vec<String> {
        let nodes = self.processes().iter().filter(|process| process.tier() == tier);
        nodes.map(|process| process.name().to_owned()).collect()
    }

    /// Where clients find a node.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn clients(&self, node: &str) -> Result<SocketAddr> {
        let (tier, host) = split(node)?;
        Ok((network::address(host), 1860 + digit(tier)?).into())
    }

    /// Where clients get their tickets from a dispatch node.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn http(&self, node: &str) -> Result<SocketAddr> {
        Ok((network::address(split(node)?.1), 8080).into())
    }

    /// The node that clients reach there.
    #[must_use]
    pub fn node_at(&self, address: SocketAddr) -> Option<String> {
        let mut names = self.processes().iter().map(Process::name);
        names.find(|name| self.clients(name).is_ok_and(|there| there == address)).map(str::to_owned)
    }

    /// Makes the sockets of clients.
    pub(crate) fn outside(&self) -> Gate {
        self.network.outside()
    }

    /// Starts a process that does not run: the same data, the same addresses. Waits until it listens.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(&mut self, name: &str) -> Result<()> {
        let settings = self.settings_of(name)?;
        self.process_mut(name)?.start(&settings).await
    }

    /// The hosts of that side hear nothing of the others any more, and the other way round. Clients still reach all.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn cut(&self, side: &[u8]) -> Result<()> {
        let others: Vec<u8> = (1..=self.plan.hosts).filter(|host| !side.contains(host)).collect();
        self.network.deafen(side, &others).await?;
        self.network.deafen(&others, side).await
    }

    /// All hosts hear each other again.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn heal(&self) -> Result<()> {
        self.network.heal().await
    }

    /// Waits until every process has all that it waits for, and sees every other one.
    ///
    /// # Errors
    /// When that takes too long; the error shows what is missing, and the ends of the logs.
    pub async fn ready(&self) -> Result<()> {
        let get = async |process: &Process, path: &str| self.get(process.name(), path).await;
        self.until_ready(READY, get, |_, _| true).await
    }

    /// Status and body of a `GET` at a node's admin address, which only its host reaches.
    ///
    /// # Errors
    /// When it does not answer with HTTP within seconds.
    pub async fn get(&self, node: &str, path: &str) -> Result<(u16, String)> {
        let (tier, host) = split(node)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1890 + digit(tier)?));
        let connecting = async { Ok(self.network.socket(host).await?.connect(address).await?) };
        admin::get_over(connecting, address, path).await
    }

    fn settings_of(&self, name: &str) -> Result<Vec<String>> {
        let (tier, host) = split(name)?;
        let (ip, digit) = (network::address(host), digit(tier)?);
        let seeds: Vec<String> = (1..=self.plan.notification).map(|host| gossip(host, 4).to_string()).collect();
        let mut settings = self.plan.settings.clone();
        settings.extend([
            format!("cluster.seeds={}", seeds.join(",")),
            format!("{tier}.node.id={name}"),
            format!("{tier}.listen={ip}:{}", 1860 + digit),
            format!("{tier}.node.gossip={}", gossip(host, digit)),
            format!("{tier}.node.peer={ip}:{}", 1880 + digit),
            format!("{tier}.node.admin=127.0.0.1:{}", 1890 + digit),
        ]);
        if tier == "dispatch" {
            settings.push(format!("dispatch.http.listen={ip}:8080"));
            settings.push("dispatch.http.allow_plain_beyond_loopback=true".into());
        }
        Ok(settings)
    }
}

/// An address for a client: each has its own.
#[must_use]
pub fn guest(number: u16) -> IpAddr {
    network::guest(number)
}

/// Tier and host of a node, by its name.
fn split(node: &str) -> Result<(&str, u8)> {
    let (tier, number) = node.rsplit_once('-').with_context(|| format!("{node} is no node"))?;
    Ok((tier, number.parse()?))
}

fn digit(tier: &str) -> Result<u16> {
    let found = TIERS.iter().find(|(name, _)| *name == tier);
    Ok(found.with_context(|| format!("{tier} is no tier"))?.1)
}

fn gossip(host: u8, digit: u16) -> SocketAddr {
    (network::address(host), 1870 + digit).into()
}
