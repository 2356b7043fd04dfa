//! Gossip that somebody has recorded is played again, after the node that sent it has died: nobody must be sent to the dead.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use integration_tests::accounts::people;
use integration_tests::client::Client;
use integration_tests::{Plan, Process, World};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Addresses of former neighbours, whom nodes try to reach.
const RECORDERS: usize = 8;
/// So long is recorded.
const RECORDED: Duration = Duration::from_secs(15);
/// As many clients ask for a server while the recording is played.
const CLIENTS: usize = 80;
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replayed_gossip_raises_no_dead() -> Result<()> {
    let mut recorders = Vec::new();
    for _ in 0..RECORDERS {
        recorders.push(UdpSocket::bind("127.0.0.1:0").await?);
    }
    let more_seeds = recorders.iter().map(UdpSocket::local_addr).collect::<std::io::Result<_>>()?;
    let plan = Plan { more_seeds, ..Plan::default() };
    let mut world = World::start(plan).await?;
    let played = timeout(Duration::from_secs(120), attack(&mut world, recorders)).await;
    let played = played.context("the story does not end").flatten();
    played.map_err(|error| anyhow!("{error:#}\n{}", world.logs()))
}

async fn attack(world: &mut World, recorders: Vec<UdpSocket>) -> Result<()> {
    let [alice] = people(world, ["alice"], &[]).await?;
    let victim = world.process("notification-2")?.address("gossip")?;
    let recording = record(recorders, victim).await?;
    ensure!(recording.len() >= 10, "only {} datagrams of the victim were recorded", recording.len());
    world.kill("notification-2").await?;
    // A dispatch server that has just started knows of no heartbeat that would be newer than the recorded ones.
    world.kill("dispatch-1").await?;
    world.restart("dispatch-1").await?;
    world.ready().await?;

    let dispatch = world.process("dispatch-1")?;
    let living = world.process("notification-1")?.address("clients")?;
    let attacker = UdpSocket::bind("127.0.0.1:0").await?;
    let (gossip, mut sent_to, mut most_seen) = (dispatch.address("gossip")?, BTreeMap::<String, usize>::new(), 0);
    for turn in 0..CLIENTS {
        if let Some(datagram) = recording.get(turn / 3) {
            attacker.send_to(datagram, gossip).await?;
        }
        sleep(Duration::from_millis(100)).await;
        *sent_to.entry(ask(dispatch, &alice).await?).or_default() += 1;
        most_seen = most_seen.max(dispatch.nodes_seen("notification").await?);
    }
    let mut buffer = [0; 2048];
    let answered = attacker.try_recv(&mut buffer).is_ok();
    println!(
        "{} datagrams replayed; clients were sent to {sent_to:?}; dispatch counted {most_seen} notification nodes; answered: {answered}",
        recording.len().min(CLIENTS / 3)
    );
    ensure!(most_seen == 1, "the dead node was counted as alive");
    ensure!(sent_to.keys().eq([&living.to_string()]), "clients were sent to {sent_to:?}");
    ensure!(!answered, "a datagram from elsewhere was answered");
    let (_, metrics) = dispatch.get("/metrics").await?;
    let dropped = "monarch_cluster_dropped_datagrams_total{why=\"elsewhere\"}";
    ensure!(metrics.contains(dropped), "{metrics}");
    Ok(())
}

/// What a node sends to the recorders, in order.
async fn record(recorders: Vec<UdpSocket>, of: SocketAddr) -> Result<Vec<Vec<u8>>> {
    let (recorded, mut recording) = mpsc::unbounded_channel();
    let until = Instant::now() + RECORDED;
    for recorder in recorders {
        let recorded = recorded.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 65_536];
            while let Ok(Ok((len, from))) = timeout_at(until, recorder.recv_from(&mut buffer)).await {
                if from == of {
                    let _ = recorded.send(buffer[..len].to_vec());
                }
            }
        });
    }
    drop(recorded);
    let mut all = Vec::new();
    while let Some(datagram) = recording.recv().await {
        all.push(datagram);
    }
    Ok(all)
}

/// The address that dispatch names to a client.
async fn ask(dispatch: &Process, passport: &str) -> Result<String> {
    let asking = async {
        let mut client = Client::connect(dispatch.address("clients")?).await?;
        client.request("VER", "MSNP7 CVR0").await?;
        client.request("INF", "").await?;
        Ok(client.request("USR", &format!("MD5 I {passport}")).await?.token(3).to_owned())
    };
    timeout(PATIENCE, asking).await.context("dispatch does not answer")?
}
