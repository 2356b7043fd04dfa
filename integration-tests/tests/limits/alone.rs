//! A node that hears of no other: it is alone only if the hearts of all others stand still in the store.

use std::net::UdpSocket;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::accounts::PASSWORD;
use integration_tests::client::Client;
use integration_tests::{Process, World};
use rustix::fs::Mode;
use tokio::time::{Instant, sleep, timeout};

use super::{one_of_each, people, play, soon};

/// How often a node is asked.
const ASK: Duration = Duration::from_millis(100);
/// A heart that stands still for so long is that of a dead node.
const SILENCE: Duration = Duration::from_secs(6);
/// Those who are not heard are looked for every ten seconds, and a busy machine adds something.
const THREE_LOOKS: Duration = Duration::from_secs(45);
/// How long it may take until a node goes on alone: 8 s, and what a busy machine adds.
const SOON_AFTER: Duration = Duration::from_secs(14);

/// Waits until a node says all of these on `/readyz` and is not ready.
async fn is_not_ready(process: &Process, why: &[String]) -> Result<()> {
    let mut last = String::new();
    let saying = async {
        loop {
            let (status, body) = process.get("/readyz").await?;
            if status == 503 && why.iter().all(|why| body.contains(why)) {
                return anyhow::Ok(());
            }
            last = format!("{status} {body}");
            sleep(ASK).await;
        }
    };
    let said = timeout(SOON_AFTER, saying).await;
    said.with_context(|| format!("it does not say {why:?}, but {last}\n{}", process.tail()))?
}

/// How long it takes until a node is ready.
async fn ready(process: &Process) -> Result<Duration> {
    let begun = Instant::now();
    soon(async {
        while process.get("/readyz").await?.0 != 200 {
            sleep(ASK).await;
        }
        Ok(begun.elapsed())
    })
    .await
    .with_context(|| process.tail())
}

/// An address where nobody gossips.
fn dead_seed() -> Result<(UdpSocket, String)> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let setting = format!("cluster.seeds={}", socket.local_addr()?);
    Ok((socket, setting))
}

fn write_secret(path: &Path, digit: &str) -> Result<()> {
    std::fs::write(path, digit.repeat(64))?;
    Ok(rustix::fs::chmod(path, Mode::from_raw_mode(0o600))?)
}

async fn kill_all(world: &mut World) -> Result<()> {
    let names: Vec<String> = world.processes().iter().map(|process| process.name().to_owned()).collect();
    for name in names {
        world.kill(&name).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_secrets_nobody_shares_is_not_ready_and_the_others_are() -> Result<()> {
    play(one_of_each(&[]), async |world| {
        let secrets = world.directory().join("other.secrets");
        write_secret(&secrets, "7")?;
        let own = format!("cluster.secrets={}", secrets.display());
        let seed = format!("cluster.seeds={}", world.process("dispatch-1")?.address("gossip")?);
        let shares_nothing = "secrets: waiting: no other node that lives shares a cluster secret with this one, ";
        // One that was named no seed would otherwise take itself for the first.
        for (name, settings) in [
            ("notification-2", vec![own.clone(), seed]),
            ("dispatch-2", vec![own.clone()]),
            ("switchboard-2", vec![own.clone()]),
        ] {
            let stranger = world.beside(name, &settings).await?;
            let all = "dispatch-1, notification-1, switchboard-1: compare the files of cluster secrets";
            is_not_ready(&stranger, &[format!("{shares_nothing}{all}")]).await.context(name)?;
            if settings.len() == 2 {
                is_not_ready(&stranger, &["cluster: waiting: none of the seeds answers (".to_owned()]).await?;
                // Those who were there first go on, and see nobody new.
                world.ready().await?;
                std::fs::copy(&world.config().cluster.secrets, &secrets)?;
                stranger.hang_up()?;
                ready(&stranger).await?;
                write_secret(&secrets, "7")?;
            }
        }
        world.ready().await.context("one that has gone would not be missed")
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_seeds_are_dead_waits_while_the_others_live() -> Result<()> {
    play(one_of_each(&[]), async |world| {
        let [alice] = people(world, ["alice"], &[]).await?;
        let (_silent, seed) = dead_seed()?;
        let lost = world.beside("notification-2", std::slice::from_ref(&seed)).await?;
        let address = seed.trim_start_matches("cluster.seeds=");
        let others = "dispatch-1, notification-1, switchboard-1";
        let why = format!(
            "cluster: waiting: none of the seeds answers ({address}); others live, by their heartbeats in the store: {others}"
        );
        is_not_ready(&lost, &[why.clone(), "secrets: ok".to_owned()]).await?;
        // Longer than a node waits whose store shows nobody, and nobody signs in there.
        let mut client = Client::connect(lost.address("clients")?).await?;
        let refused = soon(client.authenticate(&alice, PASSWORD)).await?;
        ensure!(refused.verb() == "600", "{:?}", refused.tokens);
        is_not_ready(&lost, &[why]).await?;
        kill_all(world).await?;
        let took = ready(&lost).await?;
        // The last beats may be two seconds old when they are seen.
        ensure!(SILENCE - Duration::from_secs(3) < took && took < SOON_AFTER, "after {took:?}\n{}", lost.tail());
        Client::sign_in(lost.address("clients")?, &alice, PASSWORD).await.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_cluster_that_has_died_the_first_node_to_come_back_goes_on_alone() -> Result<()> {
    play(one_of_each(&[]), async |world| {
        kill_all(world).await?;
        // Its seeds are where the others were.
        world.restart("notification-1").await?;
        let process = world.process("notification-1")?;
        is_not_ready(process, &["none of the seeds answers (".to_owned()]).await?;
        let took = ready(process).await?;
        ensure!(took < SOON_AFTER, "after {took:?}\n{}", process.tail());
        for name in ["dispatch-1", "switchboard-1"] {
            world.restart(name).await?;
        }
        world.ready().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clusters_at_one_store_name_each_other() -> Result<()> {
    play(one_of_each(&[]), async |world| {
        let secrets = world.directory().join("other.secrets");
        write_secret(&secrets, "7")?;
        let mut settings = vec![format!("cluster.secrets={}", secrets.display())];
        let first = world.beside("dispatch-2", &settings).await?;
        settings.push(format!("cluster.seeds={}", first.address("gossip")?));
        let second = world.beside("notification-2", &settings).await?;
        let known = world.process("dispatch-1")?;
        for (process, others) in
            [(&second, "dispatch-1, notification-1, switchboard-1"), (known, "dispatch-2, notification-2")]
        {
            let line = format!(
                "others: warning: live by their heartbeats in the store, and are not part of this cluster: {others}. "
            );
            let said = timeout(THREE_LOOKS, async {
                while !process.get("/readyz").await?.1.contains(&line) {
                    sleep(ASK).await;
                }
                anyhow::Ok(())
            });
            said.await.with_context(|| format!("{line}\n{}", process.tail()))??;
        }
        world.ready().await
    })
    .await
}
