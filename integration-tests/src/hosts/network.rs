//! Hosts on one bridge, each in a network namespace of its own, and one more for those who connect from outside. Nothing of it is
//! in the namespace of the test, so that many networks stand beside each other with the same addresses.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use tokio::net::TcpSocket;

use super::space::{self, Gate, NAMES, Space};
use super::tools;

/// How the names of namespaces begin; then come the process that made them, when that began, and which of its networks it is.
const PREFIX: &str = "monarch";
/// The address of those outside on the bridge.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 77, 255, 1);
/// And those that they have besides, one for each: limits by address are not what is tried.
const GUESTS: &str = "10.78.0.0/16";
/// What stands in each namespace: nothing comes in from those who are cut off. What goes out is not stopped, since that would be an
/// error at the sender, which no cut cable makes.
const WALL: &str = "table inet wall {\n\
                    set cut { type ipv4_addr; flags interval; }\n\
                    chain input { type filter hook input priority 0; policy accept; ip saddr @cut drop; }\n\
                    }\n";

/// A network of hosts; gone when dropped, and at the next start of a test when this one is killed.
#[derive(Debug)]
pub(super) struct Network {
    hosts: Vec<Space>,
    outside: Space,
    // Dropped last: the bridge is in it.
    hub: Space,
}

impl Network {
    /// Why there can be none here; nothing if there can.
    pub(super) fn missing() -> Option<String> {
        let tool = ["ip", "nft"].into_iter().find(|tool| !tools::is_there(tool));
        if !rustix::process::geteuid().is_root() {
            return Some("network namespaces need root".into());
        }
        tool.map(|tool| format!("there is no {tool} here (Debian: iproute2, nftables)"))
    }

    pub(super) async fn create(hosts: u8) -> Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        sweep();
        let (me, number) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let began = began(me).context("when did this process begin?")?;
        let name = |what: &str| format!("{PREFIX}-{me}-{began}-{number}-{what}");
        let hub = Space::create(name("hub")).await?;
        batch(&hub, "link set lo up\nlink add bridge type bridge\nlink set bridge up\n").await?;
        let outside = Space::create(name("outside")).await?;
        plug(&hub, &outside, "outside", OUTSIDE).await?;
        batch(&outside, &format!("route add local {GUESTS} dev lo\n")).await?;
        let mut network = Self { hosts: Vec::new(), outside, hub };
        for number in 1..=hosts {
            let host = Space::create(name(&format!("host-{number}"))).await?;
            plug(&network.hub, &host, &format!("host-{number}"), address(number)).await?;
            batch(&host, &format!("route add {GUESTS} via {OUTSIDE}\n")).await?;
            tools::nft(host.name(), WALL).await?;
            network.hosts.push(host);
        }
        Ok(network)
    }

    fn host(&self, number: u8) -> Result<&Space> {
        let at = usize::from(number).checked_sub(1);
        at.and_then(|at| self.hosts.get(at)).with_context(|| format!("there is no host {number}"))
    }

    /// The name of a host's namespace.
    pub(super) fn namespace(&self, host: u8) -> Result<&str> {
        Ok(self.host(host)?.name())
    }

    /// Makes sockets of those outside.
    pub(super) fn outside(&self) -> Gate {
        self.outside.gate()
    }

    /// A socket on a host.
    pub(super) async fn socket(&self, host: u8) -> Result<TcpSocket> {
        self.host(host)?.socket().await
    }

    /// Nothing that one of these hosts sends comes in at one of those any more. Without an answer a connection is silent, not
    /// closed.
    pub(super) async fn deafen(&self, those: &[u8], to: &[u8]) -> Result<()> {
        let elements: Vec<String> = to.iter().map(|host| address(*host).to_string()).collect();
        for host in those {
            let command = format!("add element inet wall cut {{ {} }}\n", elements.join(", "));
            tools::nft(self.namespace(*host)?, &command).await?;
        }
        Ok(())
    }

    /// Everybody hears everybody again.
    pub(super) async fn heal(&self) -> Result<()> {
        for host in &self.hosts {
            tools::nft(host.name(), "flush set inet wall cut\n").await?;
        }
        Ok(())
    }
}

/// The address of a host.
pub(super) fn address(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, host)
}

/// An address of somebody outside.
pub(super) fn guest(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 78, high, low).into()
}

/// A cable from the bridge to a namespace, which gets an address at its end.
async fn plug(hub: &Space, space: &Space, cable: &str, address: Ipv4Addr) -> Result<()> {
    let mut at_hub = String::new();
    _ = writeln!(at_hub, "link add {cable} type veth peer name eth0 netns {}", space.name());
    _ = writeln!(at_hub, "link set {cable} master bridge\nlink set {cable} up");
    batch(hub, &at_hub).await?;
    batch(space, &format!("link set lo up\naddress add {address}/16 dev eth0\nlink set eth0 up\n")).await
}

async fn batch(space: &Space, commands: &str) -> Result<()> {
    tools::ip(&["-n", space.name(), "-batch", "-"], commands).await
}

/// Removes what tests have left that were killed.
fn sweep() {
    let Ok(names) = std::fs::read_dir(NAMES) else { return };
    let names = names.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| is_left_over(name, began)).for_each(|name| space::remove(&name));
}

/// Whether a namespace is one of ours, and the process that made it has ended. Process ids come again: hence the time.
fn is_left_over(name: &str, began: impl Fn(u32) -> Option<u64>) -> bool {
    let mut parts = name.split('-');
    let (prefix, process, time) = (parts.next(), parts.next(), parts.next());
    let process = process.and_then(|process| process.parse().ok());
    let time = time.and_then(|time| time.parse().ok());
    match (prefix, process, time) {
        (Some(PREFIX), Some(process), Some(time)) => began(process) != Some(time),
        _ => false,
    }
}

/// When a process began, in ticks since the start of the machine; nothing if there is none.
fn began(process: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name of the program, in brackets, may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::Path;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[test]
    fn only_what_dead_tests_have_left_is_removed() {
        let began = |process| (process == 7).then_some(99);
        for (name, left) in [
            ("monarch-7-99-0-hub", false),
            ("monarch-7-98-0-hub", true),
            ("monarch-8-99-0-host-1", true),
            ("monarch-x-99-0-hub", false),
            ("monarch", false),
            ("other-8-99-0-hub", false),
        ] {
            assert_eq!(is_left_over(name, began), left, "{name}");
        }
        assert!(super::began(std::process::id()).is_some());
    }

    /// Whether somebody hears a connection that this socket asks for.
    async fn connects(socket: Result<TcpSocket>, to: SocketAddr) -> Result<bool> {
        let connected = timeout(Duration::from_millis(500), socket?.connect(to)).await;
        Ok(connected.is_ok_and(|connected| connected.is_ok()))
    }

    #[tokio::test]
    async fn what_is_cut_is_silent_until_it_is_healed() -> Result<()> {
        if let Some(missing) = Network::missing() {
            return crate::left_out(&missing);
        }
        // What a test has left whose process number somebody else has by now.
        let left = Space::create(format!("{PREFIX}-1-0-0-host-1")).await?;
        let name = left.name().to_owned();
        std::mem::forget(left);
        let network = Network::create(2).await?;
        assert!(!Path::new(NAMES).join(name).exists());

        let here = SocketAddr::from((address(1), 1863));
        let listening = network.socket(1).await?;
        listening.bind(here)?;
        let _listener = listening.listen(8)?;
        assert!(connects(network.socket(2).await, here).await?);
        network.deafen(&[1], &[2]).await?;
        assert!(!connects(network.socket(2).await, here).await?);
        // Those outside are no host.
        let outside = network.outside().socket().await?;
        outside.bind((guest(7), 0).into())?;
        assert!(connects(Ok(outside), here).await?);
        network.heal().await?;
        assert!(connects(network.socket(2).await, here).await?);
        Ok(())
    }
}
