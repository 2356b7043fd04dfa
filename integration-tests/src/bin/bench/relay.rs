//! CPU per message, in rounds that alternate between the switchboard and a bare relay.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::accounts::{self, PASSWORD};
use integration_tests::client::{self, Client};
use integration_tests::{Plan, World};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::load::{Load, run as put};
use super::process::cpu;

/// Messages per second over all conversations.
const RATE: u32 = 2_000;
/// Messages of a round.
const ROUND: u32 = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Relayed and not stored.
    Relayed,
    /// Stored, and acknowledged when durable.
    Stored,
}

impl Kind {
    /// Conversations of two. Nobody says more that is kept than ten people type (`rates.stored_per_minute`), so those are many.
    fn pairs(self) -> usize {
        match self {
            Self::Relayed => 20,
            Self::Stored => 200,
        }
    }
}

type Pairs = Vec<(Client, Client)>;

pub(super) async fn run(kind: Kind, rounds: usize) -> Result<()> {
    let load = match kind {
        Kind::Relayed => Load { ack: "U", payload: typing(), rate: RATE, total: ROUND },
        Kind::Stored => Load { ack: "A", payload: client::text(&"x".repeat(200)), rate: RATE, total: ROUND },
    };
    let settings = [
        "log.filter=warn",
        "accounts.argon2_memory_kib=64",
        // All come from one address.
        "notification.connections_per_address=1000",
        "switchboard.connections_per_address=1000",
    ];
    let settings = settings.map(str::to_owned).to_vec();
    let world = World::start(Plan { notification: 1, settings, ..Plan::default() }).await?;
    let ((people, mut ours), directory) = (meet(&world, kind.pairs()).await?, tempfile::tempdir()?);
    let database = (kind == Kind::Stored).then(|| directory.path().join("bare.db"));
    let (bare, mut theirs) = bare_relay(database.as_deref(), kind.pairs()).await?;
    let switchboard = world.process("switchboard-1")?.id().context("it runs")?;
    let bare_id = bare.id().context("it runs")?;
    let (mut costs, mut bare_costs) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let (cost, pairs) = measure(switchboard, ours, &load, true).await?;
        let (bare_cost, bare_pairs) = measure(bare_id, theirs, &load, kind == Kind::Stored).await?;
        (ours, theirs) = (pairs, bare_pairs);
        eprintln!("round {round}: switchboard {cost:.1} µs, bare {bare_cost:.1} µs a message");
        costs.push(cost);
        bare_costs.push(bare_cost);
    }
    let (cost, bare_cost) = (median(costs), median(bare_costs));
    let (pairs, bytes) = (kind.pairs(), load.payload.len());
    println!("{kind:?}: {RATE} messages/s in {pairs} conversations, {bytes} bytes each");
    println!(
        "{kind:?}: switchboard {cost:.1} µs, bare {bare_cost:.1} µs of CPU a message: {:.2}×",
        cost / bare_cost
    );
    drop((people, ours, theirs, bare));
    world.shut_down().await
}

async fn measure(pid: u32, pairs: Pairs, load: &Load, acknowledges: bool) -> Result<(f64, Pairs)> {
    let before = cpu(pid)?;
    let (outcome, pairs) = put(pairs, load).await?;
    let used = cpu(pid)?.saturating_sub(before);
    ensure!(outcome.delivered == load.total, "{} of {} arrived", outcome.delivered, load.total);
    let expected = if acknowledges && load.ack == "A" { load.total } else { 0 };
    ensure!(outcome.acknowledged == expected, "{} of {expected} acknowledged", outcome.acknowledged);
    Ok((used.as_secs_f64() * 1e6 / f64::from(load.total), pairs))
}

/// Signs in the people, and opens their conversations.
async fn meet(world: &World, count: usize) -> Result<(Vec<Client>, Pairs)> {
    let names: Vec<String> = (0..2 * count).map(|number| format!("user{number}")).collect();
    let passports = accounts::create(world.config(), &names, &[]).await?;
    let addr = world.process("notification-1")?.address("clients")?;
    let (mut people, mut pairs) = (Vec::new(), Vec::new());
    for pair in passports.chunks_exact(2) {
        let mut first = Client::sign_in(addr, pair[0].as_str(), PASSWORD).await?;
        let mut second = Client::sign_in(addr, pair[1].as_str(), PASSWORD).await?;
        pairs.push(client::open_chat((&mut first, pair[0].as_str()), (&mut second, pair[1].as_str())).await?);
        people.extend([first, second]);
    }
    Ok((people, pairs))
}

async fn bare_relay(database: Option<&std::path::Path>, count: usize) -> Result<(Child, Pairs)> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("baseline")
        .args(database)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("piped")?).lines();
    let line = lines.next_line().await?.context("it says where it listens")?;
    let addr: SocketAddr = line.rsplit('=').next().unwrap_or_default().parse()?;
    let mut pairs = Vec::new();
    for _ in 0..count {
        let first = Client::connect(addr).await?;
        // The relay pairs connections as they come.
        tokio::time::sleep(Duration::from_millis(5)).await;
        pairs.push((first, Client::connect(addr).await?));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok((child, pairs))
}

/// What every client sends while somebody types, and what nobody stores.
fn typing() -> Vec<u8> {
    let head =
        "MIME-Version: 1.0\r\nContent-Type: text/x-msmsgscontrol\r\nTypingUser: user@example.com\r\n\r\n\r\n";
    head.as_bytes().to_vec()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
