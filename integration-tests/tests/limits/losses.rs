//! Nodes that are gone, or are asked to go.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use common::msnp::Dialect;
use integration_tests::accounts::PASSWORD;
use integration_tests::client::Client;
use integration_tests::{Plan, World, program};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::{closes, one_of_each, people, play, soon, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_of_which_no_node_is_alive() -> Result<()> {
    play(one_of_each(&[]), async |world| {
        let [alice] = people(world, ["alice"], &[]).await?;
        let notification = world.process("notification-1")?.address("clients")?;
        let mut at_alice = Client::sign_in(notification, &alice, PASSWORD).await?;
        ensure!(at_alice.request("XFR", "SB").await?.verb() == "XFR");
        world.kill("switchboard-1").await?;
        until_seen(world, "notification-1", "switchboard", 0).await?;
        let refused = at_alice.request("XFR", "SB").await?;
        ensure!(refused.verb() == "280" && refused.tokens.len() == 2, "{:?}", refused.tokens);
        // The session goes on, and the next chat opens as soon as there is somebody to open it.
        world.restart("switchboard-1").await?;
        world.ready().await?;
        ensure!(at_alice.request("XFR", "SB").await?.verb() == "XFR");

        ensure!(ask_dispatch(world, &alice).await? == [format!("XFR 3 NS {notification} 0 {}", here(world)?)]);
        world.kill("notification-1").await?;
        until_seen(world, "dispatch-1", "notification", 0).await?;
        ensure!(ask_dispatch(world, &alice).await? == ["601 3"]);
        world.restart("notification-1").await?;
        world.ready().await?;
        ensure!(ask_dispatch(world, &alice).await? == [format!("XFR 3 NS {notification} 0 {}", here(world)?)]);
        Ok(())
    })
    .await
}

/// What dispatch says to `USR` before it closes.
async fn ask_dispatch(world: &World, passport: &str) -> Result<Vec<String>> {
    let mut client = Client::connect(here(world)?).await?;
    client.request("VER", "MSNP7 CVR0").await?;
    client.request("INF", "").await?;
    client.send("USR", &format!("MD5 I {passport}")).await?;
    closes(&mut client).await
}

fn here(world: &World) -> Result<std::net::SocketAddr> {
    world.process("dispatch-1")?.address("clients")
}

async fn until_seen(world: &World, by: &str, tier: &str, count: usize) -> Result<()> {
    let process = world.process(by)?;
    until(&format!("{by} sees {count} {tier} nodes"), async || Ok(process.nodes_seen(tier).await? == count)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_whose_log_nobody_reads_stops_when_asked() -> Result<()> {
    play(one_of_each(&[]), async |world| {
        let mut process = Command::new(program("switchboard")?);
        process.arg("--config").arg(world.directory().join("monarch.toml"));
        process.args(["--set", "switchboard.node.id=unheard"]).stdin(Stdio::null());
        let mut process = process.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut stdout = BufReader::new(process.stdout.take().context("no standard output")?).lines();
        soon(async { Ok(stdout.next_line().await?) }).await?.context("it has ended")?;
        drop(process.stderr.take());
        let id = process.id().context("it has ended")?.try_into()?;
        kill_process(Pid::from_raw(id).context("no process id")?, Signal::TERM)?;
        let status = soon(async { Ok(process.wait().await?) }).await?;
        ensure!(status.success(), "{status}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_server_that_is_asked_to_stop() -> Result<()> {
    play(Plan::default(), async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[(0, 1), (1, 0)]).await?;
        let leaving = world.process("notification-1")?.address("clients")?;
        let staying = world.process("notification-2")?.address("clients")?;
        let mut at_bob = Client::sign_in(staying, &bob, PASSWORD).await?;
        let at_alice = Client::sign_in(leaving, &alice, PASSWORD).await?;
        soon(at_bob.expect("NLN")).await?;
        let mut newcomers = Vec::new();
        for dialect in Dialect::ALL {
            let mut newcomer = Client::connect(leaving).await?;
            newcomer.request("VER", &format!("{} CVR0", dialect.number)).await?;
            newcomers.push(newcomer);
        }

        // Each leaves as soon as the server has closed its side, as clients do.
        let told = |mut client: Client| tokio::spawn(async move { closes(&mut client).await });
        let alice_told = told(at_alice);
        let newcomers_told: Vec<_> = newcomers.into_iter().map(told).collect();
        world.stop("notification-1").await?;
        let heard = alice_told.await??;
        ensure!(heard.last().is_some_and(|last| last == "OUT SSD"), "{heard:?}");
        for told in newcomers_told {
            ensure!(told.await?? == ["OUT SSD"]);
        }

        // Who was at another node has noticed nothing, and alice comes back to that one before she seems gone.
        let mut at_alice = Client::sign_in(staying, &alice, PASSWORD).await?;
        at_alice.request("CHG", "BSY").await?;
        loop {
            let seen = soon(at_bob.receive()).await?;
            ensure!(seen.verb() == "NLN" && seen.token(2) == alice, "{:?}", seen.tokens);
            if seen.token(1) == "BSY" {
                break;
            }
        }
        Ok(())
    })
    .await
}
