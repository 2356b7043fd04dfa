//! Messages that were kept: what takes a clock of its own, a lost switchboard, or an operator.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::accounts::PASSWORD;
use integration_tests::client::{self, Client};
use integration_tests::{Plan, World, program};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::operators::metric;
use crate::{SILENCE, is_silent, one_of_each, people, play, soon};

/// Who is not rung in that time is not rung: it takes a few looks into the store, and nothing later would tell.
const QUIET: Duration = Duration::from_secs(2);

async fn sign_in(world: &World, who: &str) -> Result<Client> {
    sign_in_at(world, "notification-1", who).await
}

async fn sign_in_at(world: &World, node: &str, who: &str) -> Result<Client> {
    soon(Client::sign_in(world.process(node)?.address("clients")?, who, PASSWORD)).await
}

/// Waits for the ring in a sender's name, and answers it.
async fn answered(at: &mut Client, who: &str, sender: &str) -> Result<Client> {
    let ring = soon(at.expect("RNG")).await?;
    ensure!(ring.token(5) == sender, "{:?}", ring.tokens);
    soon(client::answer(&ring, who)).await
}

async fn is_rung(at: &mut Client, how_long: Duration) -> bool {
    timeout(how_long, at.expect("RNG")).await.is_ok()
}

/// The next messages: a line with the time, and these texts; then the sender leaves.
async fn hears(chat: &mut Client, texts: &[&str]) -> Result<()> {
    let time = soon(chat.expect("MSG")).await?;
    let time = String::from_utf8(time.payload)?;
    ensure!(time.contains("\r\n\r\nSent 20") && time.ends_with(" UTC:"), "{time}");
    for text in texts {
        let message = soon(chat.receive()).await?;
        ensure!(message.verb() == "MSG" && message.payload == client::text(text), "{message:?}");
    }
    ensure!(soon(chat.receive()).await?.verb() == "BYE");
    Ok(())
}

/// Leaves the conversation in order: what was said there is not brought again at the next sign-in.
async fn is_delivered(world: &World, who: &str, at_who: Client, mut chat: Client) -> Result<()> {
    chat.raw(b"OUT\r\n").await?;
    soon(chat.rest()).await?;
    drop(at_who);
    let mut at_who = sign_in(world, who).await?;
    ensure!(!is_rung(&mut at_who, QUIET).await, "rung for what was delivered");
    Ok(())
}

/// `alice` says something to `bob` in a conversation, and gets her `ACK`. Returns their sides; bob's has not read it.
async fn says(
    (at_alice, alice): (&mut Client, &str),
    (at_bob, bob): (&mut Client, &str),
    text: &str,
) -> Result<(Client, Client)> {
    let (mut chat, unread) = soon(client::open_chat((at_alice, alice), (at_bob, bob))).await?;
    acknowledged(&mut chat, text).await?;
    Ok((chat, unread))
}

/// The same in a conversation of which nothing reaches bob's machine: however long it is until the switchboard dies, no
/// confirmation comes that it could take for delivery.
async fn says_unheard(
    (at_alice, alice): (&mut Client, &str),
    (at_bob, bob): (&mut Client, &str),
    text: &str,
) -> Result<(Client, Client)> {
    let (mut chat, unread) = soon(client::open_unread_chat((at_alice, alice), (at_bob, bob))).await?;
    acknowledged(&mut chat, text).await?;
    Ok((chat, unread))
}

async fn acknowledged(chat: &mut Client, text: &str) -> Result<()> {
    let trid = chat.message("A", &client::text(text)).await?.to_string();
    loop {
        let answer = soon(chat.receive()).await?;
        if answer.token(1) == trid {
            ensure!(answer.verb() == "ACK", "{:?}", answer.tokens);
            return Ok(());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ring_that_nobody_answers_comes_again_at_the_next_sign_in() -> Result<()> {
    play(one_of_each(&["switchboard.kept_secs=3"]), async |world| {
        let [alice, bob, carol] = people(world, ["alice", "bob", "carol"], &[]).await?;
        let (mut at_alice, mut at_bob) = (sign_in(world, &alice).await?, sign_in(world, &bob).await?);
        let (_chat, unread) = says((&mut at_alice, &alice), (&mut at_bob, &bob), "are you there?").await?;
        // Lost while bob is signed in: he is rung at once.
        unread.reset()?;
        let ring = soon(at_bob.expect("RNG")).await?;
        sleep(Duration::from_secs(5)).await;
        let mut late = Client::connect(ring.token(2).parse()?).await?;
        let refused = late.request("ANS", &format!("{bob} {} {}", ring.token(4), ring.token(1))).await?;
        ensure!(refused.verb() == "911", "{:?}", refused.tokens);
        ensure!(!is_rung(&mut at_bob, QUIET).await, "rung once more");
        // What is heard of now is brought, but for alice's.
        let mut at_carol = sign_in(world, &carol).await?;
        let (_, of_alice) = says((&mut at_alice, &alice), (&mut at_bob, &bob), "and now?").await?;
        let (_, of_carol) = says((&mut at_carol, &carol), (&mut at_bob, &bob), "I am here").await?;
        of_alice.reset()?;
        of_carol.reset()?;
        let mut chat = answered(&mut at_bob, &bob, &carol).await?;
        hears(&mut chat, &["I am here"]).await?;
        ensure!(!is_rung(&mut at_bob, QUIET).await, "rung for who was not answered");
        chat.raw(b"OUT\r\n").await?;
        soon(chat.rest()).await?;
        drop(at_bob);
        let mut at_bob = sign_in(world, &bob).await?;
        let mut chat = answered(&mut at_bob, &bob, &alice).await?;
        hears(&mut chat, &["are you there?", "and now?"]).await?;
        is_delivered(world, &bob, at_bob, chat).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_switchboard_brings_what_a_dead_one_has_left() -> Result<()> {
    play(Plan { switchboard: 2, ..one_of_each(&[]) }, async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[]).await?;
        let (mut at_alice, mut at_bob) = (sign_in(world, &alice).await?, sign_in(world, &bob).await?);
        let _sides = says_unheard((&mut at_alice, &alice), (&mut at_bob, &bob), "before it died").await?;
        let mut dead = None;
        for name in ["switchboard-1", "switchboard-2"] {
            if metric(world.process(name)?, "monarch_switchboard_participants").await? == 2 {
                dead = Some(name);
            }
        }
        let dead = dead.context("nobody has the conversation")?;
        world.kill(dead).await?;
        let mut chat = answered(&mut at_bob, &bob, &alice).await?;
        hears(&mut chat, &["before it died"]).await?;
        is_delivered(world, &bob, at_bob, chat).await
    })
    .await
}

/// It reaches those who are signed in; and where the chat goes on meanwhile, what is said there comes behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_switchboard_has_left_comes_before_what_is_new() -> Result<()> {
    play(one_of_each(&[]), async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[]).await?;
        let (mut at_alice, mut at_bob) = (sign_in(world, &alice).await?, sign_in(world, &bob).await?);
        let _sides = says_unheard((&mut at_alice, &alice), (&mut at_bob, &bob), "before it died").await?;
        world.kill("switchboard-1").await?;
        world.restart("switchboard-1").await?;
        world.ready().await?;
        let kept = soon(at_bob.expect("RNG")).await?;
        ensure!(kept.token(5) == alice, "{:?}", kept.tokens);
        let (mut chat, mut listener) =
            soon(client::open_chat((&mut at_alice, &alice), (&mut at_bob, &bob))).await?;
        acknowledged(&mut chat, "and now").await?;
        ensure!(is_silent(&mut listener, SILENCE).await, "it does not wait for what was kept");
        let mut before = soon(client::answer(&kept, &bob)).await?;
        hears(&mut before, &["before it died"]).await?;
        let new = soon(listener.expect("MSG")).await?;
        ensure!(new.payload == client::text("and now"), "{new:?}");
        Ok(())
    })
    .await
}

/// And not for ever: who does not answer the ring for what was kept gets what is new after two seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_new_waits_two_seconds_for_what_a_dead_switchboard_has_left() -> Result<()> {
    play(one_of_each(&[]), async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[]).await?;
        let (mut at_alice, mut at_bob) = (sign_in(world, &alice).await?, sign_in(world, &bob).await?);
        let _sides = says_unheard((&mut at_alice, &alice), (&mut at_bob, &bob), "before it died").await?;
        world.kill("switchboard-1").await?;
        world.restart("switchboard-1").await?;
        world.ready().await?;
        soon(at_bob.expect("RNG")).await?;
        let (mut chat, mut listener) =
            soon(client::open_chat((&mut at_alice, &alice), (&mut at_bob, &bob))).await?;
        let begun = Instant::now();
        acknowledged(&mut chat, "and now").await?;
        let new = soon(listener.expect("MSG")).await?;
        ensure!(new.payload == client::text("and now"), "{new:?}");
        let waited = begun.elapsed();
        // The two seconds began when bob came.
        ensure!((Duration::from_secs(1)..Duration::from_secs(4)).contains(&waited), "{waited:?}");
        Ok(())
    })
    .await
}

/// Gossip alone would take the switchboard on the other side for dead: it serves people there, and what they have not read
/// is theirs to read. When it dies nothing that was acknowledged is lost, and nothing comes twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switchboard_behind_a_partition_keeps_what_it_has_until_it_dies() -> Result<()> {
    let plan = Plan { notification: 2, switchboard: 2, partitioned: true, ..one_of_each(&[]) };
    play(plan, async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[]).await?;
        let there = "notification-2";
        let (mut at_alice, mut at_bob) =
            (sign_in_at(world, there, &alice).await?, sign_in_at(world, there, &bob).await?);
        let (mut chat, _unread) = says_unheard((&mut at_alice, &alice), (&mut at_bob, &bob), "one").await?;
        let mut here = sign_in(world, &bob).await?;
        // Longer than gossip's word would take.
        ensure!(!is_rung(&mut here, Duration::from_secs(11)).await, "rung for what a living switchboard has");
        acknowledged(&mut chat, "two").await?;
        world.kill("switchboard-2").await?;
        // Nobody tells of the death: a session asks again after half a minute at the latest here.
        let ring = timeout(Duration::from_secs(60), here.expect("RNG")).await.context("no ring")??;
        let mut chat = soon(client::answer(&ring, &bob)).await?;
        hears(&mut chat, &["one", "two"]).await?;
        is_delivered(world, &bob, here, chat).await
    })
    .await
}

/// Leaves a text, as operators do.
async fn leave(world: &World, from: &str, to: &str, text: &str) -> Result<()> {
    let mut monarch = Command::new(program("monarch")?);
    // What tests are told is no setting.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MONARCH_")) {
        monarch.env_remove(name);
    }
    monarch.arg("--config").arg(world.directory().join("monarch.toml"));
    let done = monarch.args(["message", "send", from, to, text]).output().await?;
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    ensure!(said == format!("sent; {to} gets it at the next sign-in\n"), "{said}");
    Ok(())
}

/// The next session may be at another node: what its client was brought before, over a connection that is still open, is not
/// brought again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_does_not_come_again_while_its_connection_is_open() -> Result<()> {
    play(Plan { notification: 2, switchboard: 3, ..one_of_each(&[]) }, async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[]).await?;
        leave(world, &alice, &bob, "read at once").await?;
        let mut at_bob = sign_in(world, &bob).await?;
        let mut chat = answered(&mut at_bob, &bob, &alice).await?;
        hears(&mut chat, &["read at once"]).await?;
        for turn in 1..=6 {
            at_bob.raw(b"OUT\r\n").await?;
            soon(at_bob.rest()).await?;
            at_bob = sign_in_at(world, ["notification-1", "notification-2"][turn % 2], &bob).await?;
            ensure!(!is_rung(&mut at_bob, QUIET).await, "rung again at sign-in {turn}");
        }
        is_delivered(world, &bob, at_bob, chat).await
    })
    .await
}

/// The same though the switchboard that would be asked first has gone and come back meanwhile: each session asks who has
/// something of its principal's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_switchboard_that_has_it_is_found() -> Result<()> {
    play(Plan { switchboard: 2, ..one_of_each(&[]) }, async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[]).await?;
        leave(world, &alice, &bob, "one").await?;
        let mut at_bob = sign_in(world, &bob).await?;
        let ring = soon(at_bob.expect("RNG")).await?;
        let mut first = None;
        for name in ["switchboard-1", "switchboard-2"] {
            if world.process(name)?.address("clients")?.to_string() == ring.token(2) {
                first = Some(name);
            }
        }
        let first = first.context("rung by nobody")?;
        world.kill(first).await?;
        drop(at_bob);
        let mut at_bob = sign_in(world, &bob).await?;
        let ring = timeout(Duration::from_secs(40), at_bob.expect("RNG")).await.context("no ring")??;
        let mut chat = soon(client::answer(&ring, &bob)).await?;
        hears(&mut chat, &["one"]).await?;
        world.restart(first).await?;
        world.ready().await?;
        drop(at_bob);
        let mut at_bob = sign_in(world, &bob).await?;
        ensure!(!is_rung(&mut at_bob, QUIET).await, "rung again");
        is_delivered(world, &bob, at_bob, chat).await
    })
    .await
}

/// A silent listener whose chat is reset has read what it had five seconds before it was last heard by its notification server: only
/// what came since comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_pings_its_notification_server_has_read_what_it_had() -> Result<()> {
    play(one_of_each(&[]), async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[]).await?;
        let (mut at_alice, mut at_bob) = (sign_in(world, &alice).await?, sign_in(world, &bob).await?);
        let (mut chat, mut listener) = says((&mut at_alice, &alice), (&mut at_bob, &bob), "long ago").await?;
        soon(listener.expect("MSG")).await?;
        // A second until it is seen that this is confirmed, and five.
        sleep(Duration::from_secs(7)).await;
        at_bob.raw(b"PNG\r\n").await?;
        soon(at_bob.expect("QNG")).await?;
        acknowledged(&mut chat, "just now").await?;
        soon(listener.expect("MSG")).await?;
        listener.reset()?;
        let mut chat = answered(&mut at_bob, &bob, &alice).await?;
        hears(&mut chat, &["just now"]).await?;
        is_delivered(world, &bob, at_bob, chat).await
    })
    .await
}

/// The switchboard's word that something is left comes while nobody hears it: it is said again, and nobody has to sign in anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn word_of_what_is_left_reaches_a_session_whose_node_stood_still() -> Result<()> {
    play(one_of_each(&[]), async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[]).await?;
        let (mut at_alice, mut at_bob) = (sign_in(world, &alice).await?, sign_in(world, &bob).await?);
        for (secs, text) in [(6, "after six seconds"), (12, "after twelve")] {
            let (_chat, listener) = says((&mut at_alice, &alice), (&mut at_bob, &bob), text).await?;
            world.process("notification-1")?.pause()?;
            listener.reset()?;
            sleep(Duration::from_secs(secs)).await;
            world.process("notification-1")?.resume()?;
            let ring = timeout(Duration::from_secs(30), at_bob.expect("RNG")).await.context(text)??;
            let mut chat = soon(client::answer(&ring, &bob)).await?;
            hears(&mut chat, &[text]).await?;
            chat.raw(b"OUT\r\n").await?;
            soon(chat.rest()).await?;
            ensure!(!is_rung(&mut at_bob, QUIET).await, "rung again, {text}");
        }
        Ok(())
    })
    .await
}

/// A client that never shows that it has read what it was brought is rung three times; the next session begins anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_brought_three_times_in_a_session() -> Result<()> {
    play(one_of_each(&[]), async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[]).await?;
        leave(world, &alice, &bob, "again and again").await?;
        for session in 1..=2 {
            let mut at_bob = sign_in(world, &bob).await?;
            for time in 1..=3 {
                let when = || format!("session {session}, time {time}");
                let mut chat = answered(&mut at_bob, &bob, &alice).await.with_context(when)?;
                if session == 1 {
                    // All is confirmed, and nothing more seems to wait, when the connection breaks.
                    hears(&mut chat, &["again and again"]).await.with_context(when)?;
                    sleep(Duration::from_millis(500)).await;
                } else {
                    soon(chat.expect("MSG")).await?;
                }
                chat.reset()?;
            }
            ensure!(!is_rung(&mut at_bob, 4 * QUIET).await, "rung once more in session {session}");
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_leave_messages_to_those_who_are_away() -> Result<()> {
    play(one_of_each(&[]), async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[]).await?;
        for text in ["one", "two"] {
            leave(world, &alice, &bob, text).await?;
        }
        let mut at_bob = sign_in(world, &bob).await?;
        let mut chat = answered(&mut at_bob, &bob, &alice).await.context("the first time")?;
        hears(&mut chat, &["one", "two"]).await?;
        // His machine is lost before he has read them.
        chat.reset()?;
        drop(at_bob);
        let mut at_bob = sign_in(world, &bob).await?;
        let mut chat = answered(&mut at_bob, &bob, &alice).await.context("the second time")?;
        hears(&mut chat, &["one", "two"]).await?;
        is_delivered(world, &bob, at_bob, chat).await
    })
    .await
}
