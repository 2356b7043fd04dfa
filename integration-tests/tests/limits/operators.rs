//! What each process says on its admin address.

use anyhow::{Context, Result, ensure};
use integration_tests::accounts::PASSWORD;
use integration_tests::client::Client;
use integration_tests::{Process, World};

use crate::{one_of_each, people, play, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_readiness_and_metrics() -> Result<()> {
    play(one_of_each(&[]), async |world| {
        for process in world.processes() {
            answers(process).await.with_context(|| process.name().to_owned())?;
        }
        let [alice] = people(world, ["alice"], &[]).await?;
        let notification = world.process("notification-1")?;
        for (count, signed_in) in [(0, false), (1, true), (0, false)] {
            let addr = notification.address("clients")?;
            let client = if signed_in { Some(Client::sign_in(addr, &alice, PASSWORD).await?) } else { None };
            until(&format!("{count} sessions are counted"), async || {
                Ok(metric(notification, "monarch_notification_sessions").await? == count)
            })
            .await?;
            drop(client);
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tier_that_is_lost_shows_in_the_readiness_of_the_others() -> Result<()> {
    play(one_of_each(&[]), async |world| {
        world.kill("switchboard-1").await?;
        let without =
            "clock: ok\nclocks: ok\ncluster: ok\nopen: ok\nothers: ok\nsecrets: ok\nstore: ok\nswitchboard: waiting: no switchboard is ready; who opens a chat gets 280\n";
        says(world, "notification-1", 200, without).await?;
        // Dispatch is not led astray by it: lists and presence need no switchboard.
        says(world, "dispatch-1", 200, "certificate: ok\nclock: ok\nclocks: ok\ncluster: ok\nnotification: ok\nothers: ok\nsecrets: ok\nstore: ok\n").await?;
        world.kill("notification-1").await?;
        let without =
            "certificate: ok\nclock: ok\nclocks: ok\ncluster: ok\nnotification: waiting: no notification server is ready; clients get 601\nothers: ok\nsecrets: ok\nstore: ok\n";
        says(world, "dispatch-1", 503, without).await?;
        world.restart("notification-1").await?;
        says(world, "dispatch-1", 200, "certificate: ok\nclock: ok\nclocks: ok\ncluster: ok\nnotification: ok\nothers: ok\nsecrets: ok\nstore: ok\n").await
    })
    .await
}

/// Waits until a process's `/readyz` answers so.
async fn says(world: &World, name: &str, status: u16, conditions: &str) -> Result<()> {
    let (process, expected) = (world.process(name)?, (status, conditions.to_owned()));
    until(&format!("{name} says {expected:?}"), async || Ok(process.get("/readyz").await? == expected)).await
}

async fn answers(process: &Process) -> Result<()> {
    let id = process.id().context("it runs")?;
    let about = |name: &str| std::fs::read_to_string(format!("/proc/{id}/{name}"));
    ensure!(about("status")?.contains("\nUmask:\t0077\n"), "{}", about("status")?);
    let limits = about("limits")?;
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).context("no limit of cores")?;
    ensure!(core.split_whitespace().filter(|word| *word == "0").count() == 2, "{core}");
    ensure!(process.get("/healthz").await? == (200, "ok\n".to_owned()));
    let conditions = match process.tier() {
        "notification" => {
            "clock: ok\nclocks: ok\ncluster: ok\nopen: ok\nothers: ok\nsecrets: ok\nstore: ok\nswitchboard: ok\n"
        }
        "dispatch" => {
            "certificate: ok\nclock: ok\nclocks: ok\ncluster: ok\nnotification: ok\nothers: ok\nsecrets: ok\nstore: ok\n"
        }
        _ => {
            "clock: ok\nclocks: ok\ncluster: ok\ndisk: ok\nnotification: ok\nothers: ok\nsecrets: ok\nstore: ok\n"
        }
    };
    ensure!(process.get("/readyz").await? == (200, conditions.to_owned()));
    ensure!(process.get("/").await?.0 == 404);
    let (status, metrics) = process.get("/metrics").await?;
    ensure!(status == 200 && metrics.ends_with("\n# EOF\n"), "{status}: {metrics}");
    for tier in ["dispatch", "notification", "switchboard"] {
        ensure!(process.nodes_seen(tier).await? == 1, "{tier}: {metrics}");
    }
    let of_the_tier = format!("\nmonarch_{}_", process.tier());
    ensure!(metrics.contains(&of_the_tier) && metrics.contains("\nprocess_open_fds "), "{metrics}");
    Ok(())
}

/// A metric without labels.
pub(crate) async fn metric(process: &Process, name: &str) -> Result<u64> {
    let (_, metrics) = process.get("/metrics").await?;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.with_context(|| format!("no {name} in {metrics}"))?.parse()?)
}
