//! An abrupt disconnect, and what contacts see of it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::accounts::PASSWORD;
use integration_tests::client::Client;
use integration_tests::{Plan, World};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{people, play, soon};

const GRACE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_is_seen_after_the_grace_only() -> Result<()> {
    let plan = Plan { settings: vec!["notification.grace_secs=2".to_owned()], ..Plan::default() };
    play(plan, async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[(0, 1), (1, 0)]).await?;
        let mut at_bob =
            Client::sign_in(world.process("notification-2")?.address("clients")?, &bob, PASSWORD).await?;

        // Lost and not back.
        let at_alice = alice_comes(world, &alice, &mut at_bob).await?;
        at_alice.reset()?;
        let lost = Instant::now();
        ensure!(soon(at_bob.expect("FLN")).await?.token(1) == alice);
        let unseen = lost.elapsed();
        ensure!(unseen >= Duration::from_secs(1), "seen after {unseen:?}");
        ensure!(unseen <= Duration::from_secs(5), "seen after {unseen:?} only");

        // Lost, and back on another node before the grace is over: she never seemed gone.
        let at_alice = alice_comes(world, &alice, &mut at_bob).await?;
        at_alice.reset()?;
        let lost = Instant::now();
        sleep(GRACE / 4).await;
        let elsewhere = world.process("notification-2")?.address("clients")?;
        let mut at_alice = Client::sign_in(elsewhere, &alice, PASSWORD).await?;
        let back = lost.elapsed();
        ensure!(back < GRACE, "this machine is too slow for this test: {back:?}");
        while let Ok(received) = timeout_at(lost + 2 * GRACE, at_bob.receive()).await {
            ensure!(received?.verb() != "FLN", "she seemed gone");
        }
        at_alice.request("CHG", "BSY").await?;
        let seen = soon(at_bob.receive()).await?;
        ensure!(seen.verb() == "NLN" && seen.token(1) == "BSY", "{:?}", seen.tokens);

        // A clean goodbye is seen at once.
        let left = Instant::now();
        at_alice.raw(b"OUT\r\n").await?;
        let gone = timeout_at(left + GRACE / 2, at_bob.receive()).await.context("OUT is held back")??;
        ensure!(gone.verb() == "FLN" && gone.token(1) == alice, "{:?}", gone.tokens);
        Ok(())
    })
    .await
}

/// `CLIENTS` 31
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_closes_has_a_grace_of_its_own() -> Result<()> {
    let settings = ["notification.grace_secs=60", "notification.close_grace_secs=2"].map(str::to_owned).to_vec();
    play(Plan { settings, ..Plan::default() }, async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[(0, 1), (1, 0)]).await?;
        let mut at_bob =
            Client::sign_in(world.process("notification-2")?.address("clients")?, &bob, PASSWORD).await?;

        let at_alice = alice_comes(world, &alice, &mut at_bob).await?;
        at_alice.close().await?;
        let closed = Instant::now();
        ensure!(soon(at_bob.expect("FLN")).await?.token(1) == alice);
        let unseen = closed.elapsed();
        ensure!(unseen >= Duration::from_secs(1), "seen after {unseen:?}");

        // Back before it is over: the next that is seen of her is what she does then.
        let at_alice = alice_comes(world, &alice, &mut at_bob).await?;
        at_alice.close().await?;
        let elsewhere = world.process("notification-2")?.address("clients")?;
        let mut at_alice = Client::sign_in(elsewhere, &alice, PASSWORD).await?;
        sleep(2 * GRACE).await;
        at_alice.request("CHG", "BSY").await?;
        let seen = soon(at_bob.receive()).await?;
        ensure!(seen.verb() == "NLN" && seen.token(1) == "BSY", "{:?}", seen.tokens);
        Ok(())
    })
    .await
}

/// Alice signs in on the first node, and Bob sees it.
async fn alice_comes(world: &World, alice: &str, at_bob: &mut Client) -> Result<Client> {
    let at_alice = Client::sign_in(world.process("notification-1")?.address("clients")?, alice, PASSWORD).await?;
    ensure!(soon(at_bob.expect("NLN")).await?.token(2) == alice);
    Ok(at_alice)
}
