//! `monarch broadcast` and `monarch sign-out`: everybody on every node, and what is said if that can't be.

use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use integration_tests::accounts::PASSWORD;
use integration_tests::client::Client;
use integration_tests::{Plan, World, program};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::{closes, people, play, soon, until};

/// Exit code, standard output, standard error.
type Said = (i32, String, String);

async fn broadcast(world: &World, admin: SocketAddr, arguments: &[&str], input: &str) -> Result<Said> {
    monarch(world, admin, "broadcast", arguments, input).await
}

async fn sign_out(world: &World, admin: SocketAddr, arguments: &[&str]) -> Result<Said> {
    monarch(world, admin, "sign-out", arguments, "").await
}

async fn monarch(
    world: &World,
    admin: SocketAddr,
    command: &str,
    arguments: &[&str],
    input: &str,
) -> Result<Said> {
    let what = command;
    let mut command = Command::new(program("monarch")?);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MONARCH_")) {
        command.env_remove(name);
    }
    command.arg(what).args(arguments).arg("--config").arg(world.directory().join("monarch.toml"));
    command.arg("--node").arg(admin.to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    // It may refuse before it reads.
    let _ = child.stdin.take().context("no standard input")?.write_all(input.as_bytes()).await;
    let output = child.wait_with_output().await?;
    Ok((output.status.code().unwrap_or(-1), String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broadcast_reaches_everybody_on_every_node() -> Result<()> {
    play(Plan::default(), async |world| {
        let [alice, bob, carol, dave] = people(world, ["alice", "bob", "carol", "dave"], &[]).await?;
        let node = |number: u8| world.process(&format!("notification-{number}"))?.address("clients");
        let mut online = Vec::new();
        for (who, number) in [(&alice, 1), (&bob, 2), (&carol, 2)] {
            online.push(Client::sign_in(node(number)?, who, PASSWORD).await?);
        }
        let reached = "notification-1: 1 session\nnotification-2: 2 sessions\n\
                       handed to 3 sessions on 2 of 2 notification nodes\n";
        // Any node of any tier passes it on.
        for name in ["notification-2", "dispatch-1", "switchboard-1"] {
            let admin = world.process(name)?.address("admin")?;
            let said = broadcast(world, admin, &["-"], "Back at 5\n").await?;
            ensure!(said == (0, reached.into(), String::new()), "{name}: {said:?}");
            for client in &mut online {
                let got = soon(client.expect("NOT")).await?;
                ensure!(String::from_utf8(got.payload)?.contains("<TEXT>Back at 5</TEXT>"), "what was said");
            }
        }
        let admin = world.process("notification-1")?.address("admin")?;
        let said = broadcast(world, admin, &["--shutdown", "7"], "").await?;
        ensure!(said == (0, reached.into(), String::new()), "{said:?}");
        for client in &mut online {
            let got = loop {
                let got = soon(client.expect("MSG")).await?;
                let got = String::from_utf8(got.payload)?;
                if got.contains("systemmessage") {
                    break got;
                }
            };
            ensure!(got.ends_with("\r\n\r\nType: 1\r\nArg1: 7\r\n"), "{got}");
        }
        // One alone, and one who is not there.
        let said = broadcast(world, admin, &["--to", &bob, "You there"], "").await?;
        ensure!(said == (0, format!("{bob} has it\n"), String::new()), "{said:?}");
        ensure!(soon(online[1].expect("NOT")).await?.payload.windows(9).any(|part| part == b"You there"), "bob");
        let said = broadcast(world, admin, &["--to", &dave, "You there"], "").await?;
        ensure!(said.0 == 1 && said.2.contains("is not signed in"), "{said:?}");
        for other in [0, 2] {
            online[other].raw(b"PNG\r\n").await?;
            let next = soon(online[other].receive()).await?;
            ensure!(next.verb() == "QNG", "another one hears {:?}", next.tokens);
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_know_the_secret_orders_nothing() -> Result<()> {
    play(Plan { notification: 1, ..Plan::default() }, async |world| {
        let admin = world.process("notification-1")?.address("admin")?;
        for wrong in [
            &["x", "--shutdown", "5"][..],
            &[],
            &["--shutdown", "1441"],
            &[""],
            &["--to", "nobody", "x"],
            &[&"\"".repeat(67)],
        ] {
            let said = broadcast(world, admin, wrong, "").await?;
            ensure!(said.0 == 2 && !said.2.is_empty(), "{wrong:?}: {said:?}");
        }
        let other = world.directory().join("other.secrets");
        common::cluster::Keyring::create(&other)?;
        let setting = format!("cluster.secrets={}", other.display());
        let said = broadcast(world, admin, &["x", "--set", &setting], "").await?;
        ensure!(said.0 == 1 && said.2.contains("not sealed with a cluster secret"), "{said:?}");
        let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let said = broadcast(world, nobody, &["x"], "").await?;
        ensure!(said.0 == 3 && said.2.contains(&nobody.to_string()), "{said:?}");
        // What listens there but is no node: a client's port.
        let clients = world.process("switchboard-1")?.address("clients")?;
        let said = broadcast(world, clients, &["x"], "").await?;
        ensure!(said.0 == 3, "{said:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_signed_out_with_a_reason() -> Result<()> {
    play(Plan::default(), async |world| {
        let [alice, bob, carol] = people(world, ["alice", "bob", "carol"], &[]).await?;
        let node = |number: u8| world.process(&format!("notification-{number}"))?.address("clients");
        let admin = world.process("dispatch-1")?.address("admin")?;
        let mut online = Vec::new();
        for (who, number) in [(&alice, 1), (&bob, 2), (&carol, 2)] {
            online.push(Client::sign_in(node(number)?, who, PASSWORD).await?);
        }
        for wrong in [&[][..], &["--reconnect", "5"], &["--all", "--to", &alice], &["--all", "--reconnect", "0"]] {
            let said = sign_out(world, admin, wrong).await?;
            ensure!(said.0 == 2 && !said.2.is_empty(), "{wrong:?}: {said:?}");
        }
        let said = sign_out(world, admin, &["--to", &carol, "--migrated"]).await?;
        ensure!(said == (0, format!("{carol} is signed out\n"), String::new()), "{said:?}");
        let heard = closes(&mut online.pop().context("carol")?).await?;
        ensure!(heard.last().is_some_and(|last| last == "OUT SSD"), "{heard:?}");
        let said = sign_out(world, admin, &["--to", &carol]).await?;
        ensure!(said.0 == 1 && said.2.contains("is not signed in"), "{said:?}");
        let said = sign_out(world, admin, &["--all", "--reconnect", "7"]).await?;
        let reached = "notification-1: 1 session\nnotification-2: 1 session\n\
                       signed out 2 sessions on 2 of 2 notification nodes\n";
        ensure!(said == (0, reached.into(), String::new()), "{said:?}");
        for client in &mut online {
            let heard = closes(client).await?;
            ensure!(heard.last().is_some_and(|last| last == "OUT SSD"), "{heard:?}");
        }
        // Counted apart, and free to come back.
        let (_, metrics) = world.process("notification-1")?.get("/metrics").await?;
        let counted = "monarch_notification_closes_total{reason=\"sign_out_reconnect\"} 1";
        ensure!(metrics.lines().any(|line| line == counted), "{metrics}");
        Client::sign_in(node(1)?, &alice, PASSWORD).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_drained_by_hand() -> Result<()> {
    play(Plan::default(), async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[]).await?;
        let (first, second) = (world.process("notification-1")?, world.process("notification-2")?);
        let admin = world.process("switchboard-1")?.address("admin")?;
        let mut here = Client::sign_in(first.address("clients")?, &alice, PASSWORD).await?;
        let mut there = Client::sign_in(second.address("clients")?, &bob, PASSWORD).await?;
        let said = sign_out(world, admin, &["--from", "nobody"]).await?;
        ensure!(said.0 == 1 && said.2.contains("there are: notification-1, notification-2"), "{said:?}");
        let said = sign_out(world, admin, &["--from", "notification-1"]).await?;
        let reached = "notification-1: 1 session\nsigned out 1 session on 1 of 1 notification nodes\n";
        ensure!(said == (0, reached.into(), String::new()), "{said:?}");
        let heard = closes(&mut here).await?;
        ensure!(heard.last().is_some_and(|last| last == "OUT SSD"), "{heard:?}");
        // Dispatch passes it over, and says so to nobody else's harm.
        let (status, ready) = first.get("/readyz").await?;
        ensure!(
            status == 503 && ready.contains("open: waiting: operators have sent its sessions away"),
            "{ready}"
        );
        ensure!(second.get("/readyz").await?.0 == 200, "the other one is open");
        until("the other one knows", async || {
            let (_, metrics) = second.get("/metrics").await?;
            Ok(metrics.lines().any(|line| line == "monarch_cluster_open_nodes{role=\"notification\"} 1"))
        })
        .await?;
        // The last one that takes clients goes on to.
        let said = sign_out(world, admin, &["--from", "notification-2", "--reconnect", "1"]).await?;
        ensure!(said.0 == 0 && said.1.contains("1 session"), "{said:?}");
        let heard = closes(&mut there).await?;
        ensure!(heard.last().is_some_and(|last| last == "OUT SSD"), "{heard:?}");
        ensure!(second.get("/readyz").await?.0 == 200, "the only one is open");
        ensure!(first.get("/readyz").await?.0 == 503, "the first one is still closed");
        // Without it the first one is the last.
        world.kill("notification-2").await?;
        let first = world.process("notification-1")?;
        until("the first one opens", async || Ok(first.get("/readyz").await?.0 == 200)).await?;
        Client::sign_in(first.address("clients")?, &alice, PASSWORD).await?;
        Ok(())
    })
    .await
}
