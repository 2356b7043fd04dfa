//! How often (§6.8, §6.11, §6.15, §9): the buckets are small here, so that a person would meet them.

use anyhow::{Result, ensure};
use integration_tests::accounts::PASSWORD;
use integration_tests::client::Client;

use crate::{one_of_each, people, play};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_rate_has_its_error() -> Result<()> {
    let plan = one_of_each(&[
        "rates.status_burst=3",
        "rates.status_per_minute=1",
        "rates.name_burst=1",
        "rates.name_per_minute=1",
        "rates.contact_name_burst=2",
        "rates.contact_name_per_minute=1",
        "rates.chat_burst=1",
        "rates.chat_per_minute=1",
        "rates.call_burst=1",
        "rates.call_per_minute=1",
    ]);
    play(plan, async |world| {
        let [alice, bob, carol] = people(world, ["alice", "bob", "carol"], &[(0, 1), (0, 2)]).await?;
        let notification = world.process("notification-1")?.address("clients")?;
        let mut at_bob = Client::sign_in(notification, &bob, PASSWORD).await?;
        let mut at_carol = Client::sign_in(notification, &carol, PASSWORD).await?;
        // With the CHG that shows her.
        let mut at_alice = Client::sign_in(notification, &alice, PASSWORD).await?;
        for (verb, arguments, answer) in [
            ("CHG", "AWY".to_owned(), "CHG"),
            ("CHG", "BSY".to_owned(), "CHG"),
            ("CHG", "NLN".to_owned(), "800"),
            ("REA", format!("{alice} Alice"), "REA"),
            ("REA", format!("{alice} Alicia"), "800"),
            ("REA", format!("{bob} Robert"), "REA"),
            ("REA", format!("{carol} Caroline"), "REA"),
            ("REA", format!("{bob} Rob"), "800"),
            // Nothing else is bounded by it.
            ("PRP", "PHH 12345".to_owned(), "PRP"),
            ("BLP", "BL".to_owned(), "BLP"),
        ] {
            let answered = at_alice.request(verb, &arguments).await?;
            ensure!(answered.verb() == answer, "{verb} {arguments}: {:?}", answered.tokens);
        }
        let xfr = at_alice.request("XFR", "SB").await?;
        ensure!(xfr.verb() == "XFR", "{:?}", xfr.tokens);
        let again = at_alice.request("XFR", "SB").await?;
        ensure!(again.verb() == "713", "{:?}", again.tokens);
        let mut room = Client::connect(xfr.token(3).parse()?).await?;
        room.request("USR", &format!("{alice} {}", xfr.token(5))).await?;
        ensure!(room.request("CAL", &bob).await?.token(2) == "RINGING", "the first call");
        let more = room.request("CAL", &carol).await?;
        ensure!(more.verb() == "713", "{:?}", more.tokens);
        at_bob.expect("RNG").await?;
        // Nobody rings carol: what comes before the answer to her ping says so.
        at_carol.raw(b"PNG\r\n").await?;
        loop {
            let received = at_carol.receive().await?;
            ensure!(received.verb() != "RNG", "{:?}", received.tokens);
            if received.verb() == "QNG" {
                break;
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_name_that_is_tried_costs_an_edit() -> Result<()> {
    let settings = ["rates.list_burst=4", "rates.list_per_minute=1"];
    play(one_of_each(&settings), async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[]).await?;
        let notification = world.process("notification-1")?.address("clients")?;
        let mut at_alice = Client::sign_in(notification, &alice, PASSWORD).await?;
        for (verb, arguments, answer) in [
            ("ADD", "FL nobody@example.com Nobody".to_owned(), "205"),
            ("ADD", "FL noone@example.com Noone".to_owned(), "205"),
            ("ADD", format!("FL {bob} Bob"), "ADD"),
            ("REM", format!("FL {bob}"), "REM"),
            ("ADD", format!("FL {bob} Bob"), "800"),
            ("ADD", "FL nothing@example.com Nothing".to_owned(), "800"),
            ("ADG", "Friends 0".to_owned(), "800"),
            ("PRP", "PHH 12345".to_owned(), "800"),
            ("BLP", "BL".to_owned(), "800"),
            // Names have buckets of their own, and lists may always be asked for.
            ("REA", format!("{alice} Alicia"), "REA"),
            ("LST", "RL".to_owned(), "LST"),
            ("CHG", "BSY".to_owned(), "CHG"),
        ] {
            let answered = at_alice.request(verb, &arguments).await?;
            ensure!(answered.verb() == answer, "{verb} {arguments}: {:?}", answered.tokens);
        }
        Ok(())
    })
    .await
}
