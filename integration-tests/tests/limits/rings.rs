//! The places that those who are rung keep in a conversation.

use anyhow::{Result, ensure};
use integration_tests::Plan;
use integration_tests::accounts::PASSWORD;
use integration_tests::client::Client;
use std::time::Duration;
use tokio::time::sleep;

use crate::{people, play, soon, until};

/// Two have room, and one is rung whose session ends: by a word, and with its node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_was_rung_and_ends_keeps_no_place() -> Result<()> {
    let plan = Plan { notification: 2, settings: vec!["limits.participants=2".to_owned()], ..Plan::default() };
    play(plan, async |world| {
        let [alice, bob, carol] = people(world, ["alice", "bob", "carol"], &[]).await?;
        let staying = world.process("notification-1")?.address("clients")?;
        let dying = world.process("notification-2")?.address("clients")?;
        let mut at_alice = Client::sign_in(staying, &alice, PASSWORD).await?;
        let mut at_bob = Client::sign_in(dying, &bob, PASSWORD).await?;
        let mut at_carol = Client::sign_in(dying, &carol, PASSWORD).await?;
        let transfer = at_alice.request("XFR", "SB").await?;
        let mut room = Client::connect(transfer.token(3).parse()?).await?;
        let opened = room.request("USR", &format!("{alice} {}", transfer.token(5))).await?;
        ensure!(opened.token(2) == "OK", "{:?}", opened.tokens);

        ensure!(room.request("CAL", &bob).await?.verb() == "CAL");
        soon(at_bob.expect("RNG")).await?;
        // Both that are there are asked whether they still are: from now on the switchboard asks nobody for five seconds.
        ensure!(room.request("CAL", &carol).await?.verb() == "712");
        at_bob.send("OUT", "").await?;
        ensure!(soon(at_bob.rest()).await?.is_empty());
        // Three are far from 713, and from the next time that it may ask.
        for attempt in 1.. {
            sleep(Duration::from_millis(300)).await;
            let reply = room.request("CAL", &carol).await?;
            if reply.verb() == "CAL" {
                break;
            }
            ensure!(reply.verb() == "712" && attempt < 3, "{:?}", reply.tokens);
        }
        soon(at_carol.expect("RNG")).await?;

        // Nobody tells of a session whose node has died.
        let mut at_bob = Client::sign_in(staying, &bob, PASSWORD).await?;
        ensure!(room.request("CAL", &bob).await?.verb() == "712");
        world.kill("notification-2").await?;
        until("the place is free", async || {
            sleep(Duration::from_millis(1500)).await;
            let reply = room.request("CAL", &bob).await?;
            ensure!(["CAL", "712"].contains(&reply.verb()), "{:?}", reply.tokens);
            Ok(reply.verb() == "CAL")
        })
        .await?;
        soon(at_bob.expect("RNG")).await?;
        Ok(())
    })
    .await
}
