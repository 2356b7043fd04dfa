//! A new password ends what the old one has opened.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use integration_tests::accounts::PASSWORD;
use integration_tests::client::Client;
use integration_tests::{Plan, World, program};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::{closes, people, play, soon, until};

/// Changes a password as an operator does, and returns what was said.
async fn change(world: &World, who: &str, password: &str, further: &[&str]) -> Result<String> {
    let (code, said) = try_to_change(world, who, password, further).await?;
    ensure!(code == Some(0), "{code:?} {said}");
    Ok(said)
}

/// The exit code as well.
async fn try_to_change(
    world: &World,
    who: &str,
    password: &str,
    further: &[&str],
) -> Result<(Option<i32>, String)> {
    let mut command = Command::new(program("monarch")?);
    command.arg("--config").arg(world.directory().join("monarch.toml"));
    command.args(["user", "password", who, "--password-stdin"]).args(further);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    child.stdin.take().context("no input")?.write_all(format!("{password}\n").as_bytes()).await?;
    let output = soon(async { Ok(child.wait_with_output().await?) }).await?;
    let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    Ok((output.status.code(), said))
}

/// The address and the cookie for a new conversation.
async fn cookie(client: &mut Client) -> Result<(std::net::SocketAddr, String)> {
    let answer = client.request("XFR", "SB").await?;
    ensure!(answer.verb() == "XFR", "{:?}", answer.tokens);
    Ok((answer.token(3).parse()?, answer.token(5).to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_ends_sessions_conversations_and_cookies() -> Result<()> {
    play(Plan { switchboard: 2, ..Plan::default() }, async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[(0, 1), (1, 0)]).await?;
        let at = |number: u8| world.process(&format!("notification-{number}"))?.address("clients");
        let admin = world.process("notification-1")?.address("admin")?.to_string();
        // Alice is at another node than the one that is asked.
        let mut at_alice = Client::sign_in(at(2)?, &alice, PASSWORD).await?;
        let mut at_bob = Client::sign_in(at(1)?, &bob, PASSWORD).await?;
        at_alice.request("CHG", "NLN").await?;

        // One conversation, and cookies for others, some at each switchboard.
        let (switchboard, opens) = cookie(&mut at_alice).await?;
        let mut talks = Client::connect(switchboard).await?;
        ensure!(talks.request("USR", &format!("{alice} {opens}")).await?.verb() == "USR");
        let mut unused = Vec::new();
        for _ in 0..6 {
            unused.push(cookie(&mut at_alice).await?);
        }
        let (of_bob, opens_for_bob) = cookie(&mut at_bob).await?;

        let said = change(world, &alice, "another", &["--node", &admin]).await?;
        ensure!(said.contains(&format!("{alice} is signed out")), "{said}");
        ensure!(
            closes(&mut at_alice).await.context("the session ends")?.last().is_some_and(|line| line == "OUT SSD")
        );
        closes(&mut talks).await.context("the conversation ends")?;
        for (switchboard, cookie) in unused {
            let mut knocks = Client::connect(switchboard).await?;
            let answer =
                knocks.request("USR", &format!("{alice} {cookie}")).await.context("a void cookie is refused")?;
            ensure!(answer.verb() == "911", "{:?}", answer.tokens);
        }
        let mut talks = Client::connect(of_bob).await?;
        ensure!(
            talks.request("USR", &format!("{bob} {opens_for_bob}")).await?.verb() == "USR",
            "bob is not meant"
        );
        ensure!(Client::sign_in(at(1)?, &alice, PASSWORD).await.is_err());

        // What the new password opens is good at once.
        let mut at_alice = Client::sign_in(at(1)?, &alice, "another").await.context("the new password")?;
        let (switchboard, opens) = cookie(&mut at_alice).await.context("another cookie")?;
        let mut talks = Client::connect(switchboard).await?;
        let answer = talks.request("USR", &format!("{alice} {opens}")).await.context("a new cookie")?;
        ensure!(answer.verb() == "USR", "{:?}", answer.tokens);

        // Nobody is signed out who is not to be; and both passwords open what comes.
        let before = cookie(&mut at_alice).await?;
        let said = change(world, &alice, "a third", &["--keep-sessions"]).await?;
        ensure!(!said.contains("signed"), "{said}");
        let answer = at_alice.request("CHG", "BSY").await.context("the session goes on")?;
        ensure!(answer.verb() == "CHG", "{:?}", answer.tokens);
        let after = cookie(&mut at_alice).await?;
        let mut again = Client::sign_in(at(2)?, &alice, "a third").await.context("the third password")?;
        let of_third = cookie(&mut again).await?;
        for (switchboard, opens) in [before, after, of_third] {
            let mut talks = Client::connect(switchboard).await?;
            let answer = talks.request("USR", &format!("{alice} {opens}")).await?;
            ensure!(answer.verb() == "USR", "{:?}", answer.tokens);
        }

        // The next change ends those of both, also where nobody reads what is said of it.
        let said = change(world, &alice, "a fourth", &["--node", &admin]).await?;
        ensure!(said.contains(&format!("{alice} is signed out")), "{said}");
        closes(&mut again).await.context("the session of the third password ends")?;
        let said = change(world, &alice, "a fifth", &["--node", &admin]).await?;
        ensure!(said.contains(&format!("{alice} was not signed in")), "{said}");
        Ok(())
    })
    .await
}

/// Nodes that do not run at that moment are told when they do again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_is_told_to_nodes_that_were_paused() -> Result<()> {
    play(Plan::default(), async |world| {
        let [alice, _] = people(world, ["alice", "bob"], &[]).await?;
        let at_alice = world.process("notification-2")?.address("clients")?;
        let admin = world.process("notification-1")?.address("admin")?.to_string();
        let mut at_alice = Client::sign_in(at_alice, &alice, PASSWORD).await?;
        at_alice.request("CHG", "NLN").await?;
        let (switchboard, opens) = cookie(&mut at_alice).await?;
        let mut talks = Client::connect(switchboard).await?;
        ensure!(talks.request("USR", &format!("{alice} {opens}")).await?.verb() == "USR");
        let (_, unused) = cookie(&mut at_alice).await?;

        let paused = ["notification-2", "switchboard-1"];
        for node in paused {
            world.process(node)?.pause()?;
        }
        let (code, said) = try_to_change(world, &alice, "another", &["--node", &admin]).await?;
        let unconfirmed = "not confirmed by: notification-2, switchboard-1, which is told as soon as";
        ensure!(code == Some(1) && said.contains(unconfirmed), "{code:?} {said}");
        // They are given up, and with them what was on its way.
        for node in paused {
            let lost = |line: &str| line.contains("node lost") && line.contains(&format!("node={node} "));
            until(node, async || Ok(world.process("notification-1")?.log().lines().any(lost))).await?;
        }
        // Nobody who is paused has gone, though gossip no longer knows of it.
        let (code, said) = try_to_change(world, &alice, "a third", &["--node", &admin]).await?;
        ensure!(code == Some(1) && said.contains(unconfirmed), "{code:?} {said}");
        for node in paused {
            world.process(node)?.resume()?;
        }
        let last = closes(&mut at_alice).await.context("the session ends")?;
        ensure!(last.last().is_some_and(|line| line == "OUT SSD"), "{last:?}");
        closes(&mut talks).await.context("the conversation ends")?;
        let mut knocks = Client::connect(switchboard).await?;
        let answer = knocks.request("USR", &format!("{alice} {unused}")).await?;
        ensure!(answer.verb() == "911", "{:?}", answer.tokens);
        // When they are back they confirm; a switchboard alone that says nothing is named as well.
        world.ready().await?;
        let said = change(world, &alice, "a fourth", &["--node", &admin]).await?;
        ensure!(said.contains(&format!("{alice} was not signed in")), "{said}");
        world.process("switchboard-1")?.pause()?;
        let (code, said) = try_to_change(world, &alice, "a fifth", &["--node", &admin]).await?;
        world.process("switchboard-1")?.resume()?;
        ensure!(code == Some(1) && said.contains("not confirmed by: switchboard-1, which"), "{code:?} {said}");
        Ok(())
    })
    .await
}

/// Whoever had the old password may have signed in with it, from a network that has been known since: that of the new one begins with
/// no network, unless the old one was no secret of others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_password_is_known_from_no_network_of_the_old_one() -> Result<()> {
    let settings = vec!["accounts.wrong_passwords=3".to_owned()];
    play(Plan { notification: 1, settings, ..Plan::default() }, async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[]).await?;
        let clients = world.process("notification-1")?.address("clients")?;
        let opens = async |last: u8, who: &str, password: &str| {
            let mut client = Client::connect_from([127, 0, 0, last].into(), clients).await?;
            anyhow::Ok(soon(client.authenticate(who, password)).await?.token(2) == "OK")
        };
        let (intruder, guesser) = (66, 67);
        let store = common::store::open(&world.config().store).await?;
        for who in [&alice, &bob] {
            ensure!(opens(intruder, who, PASSWORD).await?, "with the password");
            for number in 0..5 {
                ensure!(!opens(guesser, who, &format!("guess{number}")).await?);
            }
            let passport = who.parse()?;
            until("it is written from where somebody was let in", async || {
                Ok(!store.known_networks(&passport).await?.is_empty())
            })
            .await?;
            ensure!(
                opens(intruder, who, PASSWORD).await?,
                "where somebody has signed in, others' guesses don't count"
            );
        }
        change(world, &alice, "another", &[]).await?;
        change(world, &bob, "another", &["--keep-sessions"]).await?;
        ensure!(!opens(intruder, &alice, "another").await?, "the intruder's network is still one of alice's");
        ensure!(opens(intruder, &bob, "another").await?, "what bob keeps is not known");
        Ok(())
    })
    .await
}
