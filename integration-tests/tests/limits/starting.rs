//! A node that has just started: nobody is signed in, or sent there, before it knows who is signed in elsewhere.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::accounts::PASSWORD;
use integration_tests::client::Client;
use integration_tests::{Plan, World};
use tokio::time::{Instant, sleep};

use crate::{people, play, soon};

/// How long whoever is told to come back waits.
const PAUSE: Duration = Duration::from_millis(50);
/// How long the end of a peer link may take to be noticed.
const NOTICED: Duration = Duration::from_millis(100);
/// A node that says that it is ready is named within so long: three rounds of gossip, and what a busy machine adds.
const IGNORED: Duration = Duration::from_secs(3);
/// How often a node is killed and started again.
const ROUNDS: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_signed_in_by_a_node_that_has_not_settled() -> Result<()> {
    play(Plan { notification: 3, ..Plan::default() }, async |world| {
        let [watcher, early, twice, wanderer] =
            people(world, ["watcher", "early", "twice", "wanderer"], &[(0, 1), (1, 0)]).await?;
        let address = |world: &World, name: &str| world.process(name)?.address("clients");
        let (staying, killed) = (address(world, "notification-1")?, address(world, "notification-2")?);
        let mut at_watcher = Client::sign_in(staying, &watcher, PASSWORD).await?;
        for _ in 0..ROUNDS {
            world.kill("notification-2").await?;
            let dead_since = Instant::now();
            // Its gossip would say for about two seconds more that it is alive.
            while dead_since.elapsed() < Duration::from_secs(1) {
                // The end of its link has to reach dispatch before that knows it.
                let is_noticed = dead_since.elapsed() > NOTICED;
                let named = ask_dispatch(world, &wanderer).await?;
                ensure!(!is_noticed || named.is_some_and(|named| named != killed), "dispatch has named {named:?}");
                sleep(PAUSE).await;
            }
            world.begin("notification-2")?;
            let (at_early, twins, wandering) = tokio::join!(
                sign_in_as_soon_as_possible(killed, &early),
                both(staying, killed, &twice),
                wander(world, killed, &wanderer)
            );
            let mut at_early = at_early?;
            twins?;
            wandering?;
            world.listening("notification-2").await?;
            // They see each other, whichever came first.
            for (client, other) in [(&mut at_watcher, &early), (&mut at_early, &watcher)] {
                sees(client, other).await.with_context(|| format!("nobody sees {other}"))?;
            }
            signed_in_in_order(world)?;
            at_early.raw(b"OUT\r\n").await?;
            soon(at_watcher.expect("FLN")).await?;
            world.ready().await?;
        }
        Ok(())
    })
    .await
}

/// The address that dispatch names; nothing if it knows of no server.
async fn ask_dispatch(world: &World, passport: &str) -> Result<Option<SocketAddr>> {
    let mut client = Client::connect(world.process("dispatch-1")?.address("clients")?).await?;
    client.request("VER", "MSNP7 CVR0").await?;
    client.request("INF", "").await?;
    let answer = client.request("USR", &format!("MD5 I {passport}")).await?;
    Ok(if answer.verb() == "XFR" { Some(answer.token(3).parse()?) } else { None })
}

/// Signs in at a node that may not be there yet, and is told to come back as often as it may be.
async fn sign_in_as_soon_as_possible(at: SocketAddr, passport: &str) -> Result<Client> {
    soon(async {
        loop {
            if let Ok(mut client) = Client::connect(at).await
                && let Ok(answer) = client.authenticate(passport, PASSWORD).await
            {
                ensure!(["USR", "600"].contains(&answer.verb()), "{:?}", answer.tokens);
                if answer.token(2) == "OK" {
                    client.request("SYN", "0").await?;
                    client.request("CHG", "NLN").await?;
                    return Ok(client);
                }
            }
            sleep(PAUSE).await;
        }
    })
    .await
}

/// One principal signs in here, there as soon as that node is, and here again: the last session stays alone.
async fn both(here: SocketAddr, there: SocketAddr, passport: &str) -> Result<()> {
    let mut first = Client::sign_in(here, passport, PASSWORD).await?;
    let mut second = sign_in_as_soon_as_possible(there, passport).await?;
    let mut third = Client::sign_in(here, passport, PASSWORD).await?;
    for earlier in [&mut first, &mut second] {
        let out = soon(earlier.expect("OUT")).await.context("two sessions stayed")?;
        ensure!(out.token(1) == "OTH", "{:?}", out.tokens);
    }
    // Whatever the end of the others has brought comes before the answer.
    third.raw(b"PNG\r\n").await?;
    soon(third.expect("QNG")).await.context("the last session was not left alone")?;
    third.raw(b"OUT\r\n").await
}

/// Follows dispatch until it names the node that was started again: whoever is sent there must be signed in at once. That is soon after
/// the node is ready: nobody else is on it, so that it has the least to do.
async fn wander(world: &World, killed: SocketAddr, passport: &str) -> Result<()> {
    let mut ready: Option<Instant> = None;
    soon(async {
        loop {
            if ready.is_none() && is_ready(world).await {
                ready = Some(Instant::now());
            }
            if let Some(ready) = ready {
                ensure!(ready.elapsed() < IGNORED, "ready for {:?}, and not named", ready.elapsed());
            }
            let named = ask_dispatch(world, passport).await?.context("two nodes have lived all the time")?;
            let mut client = Client::connect(named).await?;
            let answer = client.authenticate(passport, PASSWORD).await?;
            ensure!(answer.token(2) == "OK", "{named} says {:?}", answer.tokens);
            if named == killed {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
    })
    .await
}

/// Whether the node that was started again says that clients may come.
async fn is_ready(world: &World) -> bool {
    let Ok(node) = world.process("notification-2") else { return false };
    node.get("/readyz").await.is_ok_and(|(status, _)| status == 200)
}

/// Waits until a client is shown somebody as online.
async fn sees(client: &mut Client, other: &str) -> Result<()> {
    soon(async {
        loop {
            let shown = client.receive().await?;
            let at = match shown.verb() {
                "NLN" => 2,
                "ILN" => 3,
                _ => continue,
            };
            if shown.token(at) == other {
                return Ok(());
            }
        }
    })
    .await
}

/// In its last life the node has let nobody in before it knew of all the others.
fn signed_in_in_order(world: &World) -> Result<()> {
    let log = std::fs::read_to_string(world.directory().join("notification-2.log"))?;
    let life = log.rsplit_once("health and metrics").context("it has started")?.1;
    let at = |what: &str| life.find(what).with_context(|| format!("no {what:?} in {life}"));
    ensure!(at("clients are let in")? < at("signed in")?, "{life}");
    ensure!(at("gossip has had its first rounds")? < at("clients are let in")?, "{life}");
    Ok(())
}
