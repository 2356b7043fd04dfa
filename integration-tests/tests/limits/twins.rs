//! A second process with the name of one that lives: it does not start, and nobody notices anything of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use common::clock::wall_ms;
use integration_tests::accounts::PASSWORD;
use integration_tests::client::Client;
use integration_tests::{World, admin, program};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::{one_of_each, people, play, soon, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_of_a_name_does_not_start_and_the_first_goes_on() -> Result<()> {
    play(one_of_each(&[]), async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[(0, 1), (1, 0)]).await?;
        let notification = world.process("notification-1")?.address("clients")?;
        let mut at_alice = Client::sign_in(notification, &alice, PASSWORD).await?;
        for tier in ["notification", "dispatch", "switchboard"] {
            let (code, said) = start_twin(world, tier).await?;
            let there = world.process(&format!("{tier}-1"))?.address("gossip")?;
            for part in [
                format!("a living {tier} node has the name {tier}-1"),
                there.to_string(),
                format!("{tier}.node.id"),
            ] {
                ensure!(said.contains(&part), "{part:?} is not in {said}");
            }
            ensure!(code != Some(0), "it ended as if all were well: {said}");
        }
        // Who comes is sent to the first, and sees who is there.
        world.ready().await?;
        let mut dispatch = Client::connect(world.process("dispatch-1")?.address("clients")?).await?;
        dispatch.request("VER", "MSNP7 CVR0").await?;
        dispatch.request("INF", "").await?;
        let xfr = dispatch.request("USR", &format!("MD5 I {bob}")).await?;
        ensure!(xfr.token(3) == notification.to_string(), "{:?}", xfr.tokens);
        let _at_bob = Client::sign_in(notification, &bob, PASSWORD).await?;
        soon(at_alice.expect("NLN")).await?;
        ensure!(at_alice.request("XFR", "SB").await?.verb() == "XFR");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_hears_later_of_an_older_namesake_ends_as_failed() -> Result<()> {
    play(one_of_each(&[]), async |world| {
        // It knows of nobody, until a third one knows of both.
        let mut twin = node(world, "notification", "notification-1", "")?.spawn()?;
        let mut lines = BufReader::new(twin.stdout.take().context("no standard output")?).lines();
        let announced = soon(async { lines.next_line().await?.context("it has ended") }).await?;
        let at = announced.split("gossip=").nth(1).and_then(|rest| rest.split(' ').next());
        let older = world.process("notification-1")?.address("gossip")?;
        let seeds = format!("{older},{}", at.context("no gossip address")?);
        let _bridge = node(world, "notification", "notification-7", &seeds)?.spawn()?;
        // Whom the third one tells next is drawn by lot.
        let ended = timeout(Duration::from_secs(60), twin.wait_with_output()).await.context("it goes on")??;
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.code() == Some(1), "{}: {said}", ended.status);
        ensure!(said.contains("This one came later: it stops"), "{said}");
        ensure!(
            world.process("notification-1")?.get("/healthz").await?.0 == 200,
            "the older one has gone as well"
        );
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_that_start_at_once_one_goes_on() -> Result<()> {
    at_once(false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_of_equal_age_that_start_at_once_one_goes_on() -> Result<()> {
    at_once(true).await
}

/// Two processes of one name that know of each other and start together: neither answers yet when the other one asks.
async fn at_once(of_one_age: bool) -> Result<()> {
    play(one_of_each(&[]), async |world| {
        for tier in ["notification", "dispatch", "switchboard"] {
            one_of_two(world, tier, of_one_age).await.with_context(|| format!("two of {tier}"))?;
        }
        Ok(())
    })
    .await
}

async fn one_of_two(world: &World, tier: &str, of_one_age: bool) -> Result<()> {
    let name = format!("{tier}-9");
    let there = world.process("switchboard-1")?.address("gossip")?;
    let [one, other] = [free_port()?, free_port()?];
    let seeds = format!("{there},{one},{other}");
    // The generation is one more than the file says, and both read the same. Only a life before may have written it.
    let ahead = wall_ms() + 3_600_000;
    let file = world.config().store.path.join(format!("{name}.generation"));
    let held = of_one_age.then(|| hold(file, ahead));
    let start = |gossip: SocketAddr| {
        let mut node = node(world, tier, &name, &seeds)?;
        anyhow::Ok(node.args(["--set", &format!("{tier}.node.gossip={gossip}")]).spawn()?)
    };
    let (mut one, mut other) = (start(one)?, start(other)?);
    let is_one = timeout(Duration::from_secs(60), async {
        tokio::select! {
            _ = one.wait() => true,
            _ = other.wait() => false,
        }
    })
    .await
    .context("both go on")?;
    let (gone, mut stays) = if is_one { (one, other) } else { (other, one) };
    drop(held);
    let gone = gone.wait_with_output().await?;
    let said = String::from_utf8_lossy(&gone.stderr);
    ensure!(gone.status.code() == Some(1), "{}: {said}", gone.status);
    ensure!(said.contains(&format!("has the name {name}")), "{said}");
    let mut lines = BufReader::new(stays.stdout.take().context("no standard output")?).lines();
    let announced = soon(async { lines.next_line().await?.context("both have ended") }).await?;
    let admin = announced.split("admin=").nth(1).and_then(|rest| rest.split(' ').next()).context("no address")?;
    let admin = admin.parse()?;
    until("the one that is left is ready", async || Ok(admin::get(admin, "/readyz").await?.0 == 200)).await?;
    // The others and it know each other, and nobody else of its name.
    for process in world.processes() {
        until(&format!("{} knows it", process.name()), async || Ok(process.nodes_seen(tier).await? == 2)).await?;
    }
    ensure!(admin::nodes_seen(admin, tier).await? == 2);
    stays.kill().await?;
    for process in world.processes() {
        until(&format!("{} misses it", process.name()), async || Ok(process.nodes_seen(tier).await? == 1)).await?;
    }
    Ok(())
}

/// Keeps a number in a file, whoever writes another one, until what is returned is dropped.
fn hold(file: PathBuf, number: u64) -> Sender<()> {
    let text = format!("{number}\n");
    let (held, until) = channel();
    std::thread::spawn(move || {
        while until.recv_timeout(Duration::from_micros(50)) == Err(RecvTimeoutError::Timeout) {
            if std::fs::read_to_string(&file).ok().as_ref() != Some(&text) {
                let _ = std::fs::write(&file, &text);
            }
        }
    });
    held
}

/// An address at which nobody gossips.
fn free_port() -> Result<SocketAddr> {
    Ok(std::net::UdpSocket::bind("127.0.0.1:0")?.local_addr()?)
}

/// A further process on the data of a world, on other ports.
fn node(world: &World, tier: &str, name: &str, seeds: &str) -> Result<Command> {
    let mut node = Command::new(program(tier)?);
    node.arg("--config").arg(world.directory().join("monarch.toml"));
    node.args(["--set", &format!("cluster.seeds={seeds}"), "--set", &format!("{tier}.node.id={name}")]);
    node.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    Ok(node)
}

/// Starts a tier's first node once more, and waits until it has ended; what it said.
async fn start_twin(world: &World, tier: &str) -> Result<(Option<i32>, String)> {
    let seed = world.process("switchboard-1")?.address("gossip")?;
    let mut twin = node(world, tier, &format!("{tier}-1"), &seed.to_string())?;
    let ended = soon(async { Ok(twin.output().await?) }).await.context("it goes on")?;
    Ok((ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned()))
}
