//! How long, and how many, with the error of each (§11).

use anyhow::{Context, Result, ensure};
use integration_tests::accounts::PASSWORD;
use integration_tests::client::{Client, open_chat, text};

use crate::{closes, one_of_each, people, play};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_limit_has_its_error() -> Result<()> {
    let plan = one_of_each(&[
        "limits.allow_list=1",
        "limits.block_list=1",
        "limits.reverse_list=1",
        "limits.group_name=6",
        "limits.friendly_name_chars=5",
        "limits.friendly_name=12",
        "limits.phone=5",
        "limits.message=200",
        "limits.participants=2",
        "limits.failed_calls=2",
    ]);
    play(plan, async |world| {
        let [alice, bob, carol, dave] =
            people(world, ["alice", "bob", "carol", "dave"], &[(0, 1), (1, 0)]).await?;
        let notification = world.process("notification-1")?.address("clients")?;
        let mut at_alice = Client::sign_in(notification, &alice, PASSWORD).await?;
        let mut at_bob = Client::sign_in(notification, &bob, PASSWORD).await?;
        for (verb, arguments, answer) in [
            // bob is on it.
            ("ADD", format!("AL {carol} Carol"), "210"),
            ("ADD", format!("BL {carol} Carol"), "ADD"),
            ("ADD", format!("BL {dave} Dave"), "210"),
            ("ADG", "Friend 0".to_owned(), "ADG"),
            ("ADG", "Friends 0".to_owned(), "229"),
            // Two bytes, and three each when encoded.
            ("ADG", "%C3%A4 0".to_owned(), "ADG"),
            ("ADG", "%C3%A4x 0".to_owned(), "229"),
            ("REA", format!("{alice} Alice"), "REA"),
            ("REA", format!("{alice} Alicia"), "201"),
            ("REA", format!("{alice} %C3%A4%C3%A4"), "REA"),
            ("REA", format!("{alice} %C3%A4%C3%A4x"), "201"),
            ("PRP", "PHH 12345".to_owned(), "PRP"),
            ("PRP", "PHH 123456".to_owned(), "201"),
        ] {
            let answered = at_alice.request(verb, &arguments).await?;
            ensure!(answered.verb() == answer, "{verb} {arguments}: {:?}", answered.tokens);
        }
        let mut at_dave = Client::sign_in(notification, &dave, PASSWORD).await?;
        // alice's contact already: bob's reverse list is full.
        let full = at_dave.request("ADD", &format!("FL {bob} Bob")).await?;
        ensure!(full.verb() == "210", "{:?}", full.tokens);

        let (mut from, mut to) = open_chat((&mut at_alice, &alice), (&mut at_bob, &bob)).await?;
        for (callee, answer) in [(&dave, "712"), (&bob, "215"), (&dave, "712"), (&dave, "713"), (&bob, "713")] {
            let answered = from.request("CAL", callee).await?;
            ensure!(answered.verb() == answer, "{callee}: {:?}", answered.tokens);
        }
        let longest = text(&"x".repeat(200 - text("").len()));
        from.message("A", &longest).await?;
        ensure!(to.expect("MSG").await?.payload == longest, "as long as may be");
        from.expect("ACK").await?;
        from.message("A", &[&longest[..], b"x"].concat()).await?;
        ensure!(closes(&mut from).await.context("one byte more")?.is_empty(), "it is told nothing");
        Ok(())
    })
    .await
}
