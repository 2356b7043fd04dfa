//! The store goes away and comes back, on a CQL server of the test's own. Senders and newcomers hear of it in time, those
//! who are there go on, and afterwards all is as before: on one node that falls silent and is killed, on three of which
//! one is.

mod chat;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat::{Chat, sign_in, within};
use common::model::Passport;
use integration_tests::accounts::{self, PASSWORD};
use integration_tests::client::{self, Client};
use integration_tests::nodes::Nodes;
use integration_tests::{Plan, World, stored};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

/// Who waits for the store hears so soon that it is away: 5 s, and what this machine needs.
const TOLD: Duration = Duration::from_millis(5_500);
/// What needs no store.
const AT_ONCE: Duration = Duration::from_secs(1);
/// After a failure of the store `/readyz` says so.
const NOTICED: Duration = Duration::from_secs(12);
/// After its return all is as before.
const RECOVERED: Duration = Duration::from_secs(20);
/// Sent while the store is away, and how large.
const MESSAGES: usize = 2_000;
const MESSAGE: usize = 1_400;
/// So many of them before the recipient has read them: its queue is bounded.
const BURST: usize = 50;
/// What a process may take up more by then, in bytes.
const GROWTH: u64 = 64 << 20;
/// With one node of three away: any single thing that somebody waits for.
const ONE_AWAY: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a node of its own and minutes: scripts/kill-cql runs it"]
async fn a_store_that_goes_away_and_comes_back() -> Result<()> {
    let Some(nodes) = Nodes::if_wanted(1)? else { return Ok(()) };
    let mut world = World::start(Plan { cql: Some(nodes.contact_points()), ..Plan::default() }).await?;
    let outcome = away_and_back(&mut world, &nodes).await;
    outcome.with_context(|| world.logs())?;
    world.shut_down().await
}

async fn away_and_back(world: &mut World, nodes: &Nodes) -> Result<()> {
    let names = ["alice", "bob", "carol"].map(str::to_owned);
    let people = accounts::create(world.config(), &names, &[(0, 1), (1, 0)]).await?;
    let (alice, bob, carol) = (&people[0], &people[1], &people[2]);
    let mut chat = Chat::open(world, alice, bob).await?;
    let mut acknowledged = vec![chat.acknowledged("at first").await?];

    nodes.pause(1)?;
    goes_on(world, &mut chat, carol).await.context("while the store is silent")?;
    nodes.resume(1)?;
    recovered(world).await.context("after it was silent")?;
    acknowledged.push(chat.acknowledged("after it was silent").await?);
    sign_in(world, 1, carol).await?;

    nodes.kill(1)?;
    goes_on(world, &mut chat, carol).await.context("while the store is dead")?;
    // One that starts now waits, and is there when the store is.
    world.kill("dispatch-1").await?;
    world.begin("dispatch-1")?;
    waits(world, &["dispatch-1"]).await.context("started while the store is dead")?;
    nodes.up()?;
    let back = Instant::now();
    world.listening("dispatch-1").await?;
    within(RECOVERED.saturating_sub(back.elapsed()), recovered(world)).await.context("after it was dead")?;
    acknowledged.push(chat.acknowledged("after it was dead").await?);
    sign_in(world, 1, carol).await?;

    let all = ["dispatch-1", "notification-1", "notification-2", "switchboard-1"];
    for name in all {
        world.kill(name).await?;
    }
    nodes.pause(1)?;
    for name in all {
        world.begin(name)?;
    }
    waits(world, &all).await.context("started while the store is silent")?;
    nodes.resume(1)?;
    let back = Instant::now();
    for name in all {
        world.listening(name).await?;
    }
    within(RECOVERED.saturating_sub(back.elapsed()), recovered(world)).await.context("after all were started")?;
    acknowledged.push(Chat::open(world, alice, bob).await?.acknowledged("after all were started").await?);

    let kept = stored::payloads(&world.config().store).await?;
    for text in &acknowledged {
        let count = kept.iter().filter(|payload| **payload == client::text(text)).count();
        ensure!(count == 1, "{text:?} was acknowledged, and is {count} times in the history");
    }
    Ok(())
}

/// What is promised while the store is away.
async fn goes_on(world: &World, chat: &mut Chat, newcomer: &Passport) -> Result<()> {
    let before = memory(world)?;
    let (away, said) = (Instant::now(), "nobody keeps this");
    chat.alice_says("A", said).await?;
    within(AT_ONCE, chat.bob_hears(said)).await.context("a message, delivered")?;
    within(AT_ONCE, chat.alice_is("BSY")).await.context("a contact's presence")?;
    let (by_md5, by_http, told) = tokio::join!(
        within(TOLD, refused(world, newcomer)),
        within(TOLD, over_http(world, newcomer)),
        within(TOLD.saturating_sub(away.elapsed()), chat.at_alice.expect("NAK")),
    );
    ensure!(by_md5.context("sign-in by MD5")? == "601", "a sign-in by MD5 was not refused with 601");
    let by_http = by_http.context("sign-in over HTTP")?;
    ensure!(by_http.split(' ').nth(1) == Some("503"), "{by_http}");
    told.context("the NAK")?;
    println!("a NAK and refusals after {:?} at most", away.elapsed());

    chat.alice_says("D", "only delivered").await?;
    within(AT_ONCE, chat.bob_hears("only delivered")).await?;
    within(AT_ONCE, chat.at_alice.expect("ACK")).await.context("the ACK of what is only delivered")?;
    within(AT_ONCE, chat.alice_is("NLN")).await.context("a contact's presence")?;
    let slowest = flood(chat).await?;
    for (process, before) in world.processes().iter().zip(before) {
        let now = process.memory()?;
        println!("{}: {} KiB, {} KiB before", process.name(), now >> 10, before >> 10);
        ensure!(now < before + GROWTH, "{} has grown from {before} to {now} bytes", process.name());
    }
    println!("{MESSAGES} messages of {MESSAGE} bytes, the slowest NAK after {slowest:?}");
    for process in world.processes() {
        let deadline = away + NOTICED;
        let (mut status, mut report) = unready(world, process.name(), deadline).await?;
        // It may have lacked the others before it missed the store itself.
        while !report.contains("store: waiting: ") && Instant::now() < deadline {
            sleep(Duration::from_millis(50)).await;
            (status, report) = unready(world, process.name(), deadline).await?;
        }
        ensure!(status == 503 && report.contains("store: waiting: "), "{}: {status} {report}", process.name());
    }
    Ok(())
}

/// Many messages, each delivered at once and refused in time. Returns how long the slowest refusal took.
async fn flood(chat: &mut Chat) -> Result<Duration> {
    let body = "x".repeat(MESSAGE);
    let (mut sent, mut waiting, mut slowest) = (0, HashMap::new(), Duration::ZERO);
    while sent < MESSAGES || !waiting.is_empty() {
        if sent < MESSAGES {
            for _ in 0..BURST {
                waiting.insert(chat.alice_says("A", &body).await?.to_string(), Instant::now());
            }
            for _ in 0..BURST {
                within(AT_ONCE, chat.bob_hears(&body)).await.context("delivery")?;
            }
            sent += BURST;
        }
        // What is there is read; only at the end it is waited for.
        let patience = if sent < MESSAGES { Duration::ZERO } else { TOLD };
        while !waiting.is_empty()
            && let Ok(answer) = timeout(patience, chat.at_alice.receive()).await
        {
            let answer = answer?;
            let took = waiting.remove(answer.token(1)).context("an answer to nothing")?.elapsed();
            ensure!(answer.verb() == "NAK" && took <= TOLD, "{:?} after {took:?}", answer.tokens);
            slowest = slowest.max(took);
        }
        ensure!(sent < MESSAGES || waiting.is_empty(), "{} messages got no answer", waiting.len());
    }
    Ok(slowest)
}

/// The memory of each process.
fn memory(world: &World) -> Result<Vec<u64>> {
    world.processes().iter().map(integration_tests::Process::memory).collect()
}

/// What a new sign-in at a notification server is answered.
async fn refused(world: &World, who: &Passport) -> Result<String> {
    let address = world.process("notification-1")?.address("clients")?;
    let answer = Client::connect(address).await?.authenticate(who.as_str(), PASSWORD).await?;
    Ok(answer.verb().to_owned())
}

/// What one with Passport 1.4 is answered.
async fn over_http(world: &World, who: &Passport) -> Result<String> {
    let mut stream = TcpStream::connect(world.process("dispatch-1")?.address("http")?).await?;
    let authorization = format!("Authorization: Passport1.4 sign-in={who},pwd={PASSWORD},lc=1033,id=507");
    let request = format!("GET /login2.srf?lc=1033 HTTP/1.0\r\n{authorization}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// `/readyz` of a process, as soon as it is not ready.
async fn unready(world: &World, name: &str, deadline: Instant) -> Result<(u16, String)> {
    loop {
        match world.process(name)?.get("/readyz").await {
            Ok((200, report)) if Instant::now() > deadline => return Ok((200, report)),
            Ok((200, _)) => {}
            Ok(said) => return Ok(said),
            // It has just been started.
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => {}
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Processes that were started without the store say so, where operators look, and let nobody in.
async fn waits(world: &World, names: &[&str]) -> Result<()> {
    let point = world.config().store.scylla.contact_points[0].clone();
    for name in names {
        let process = world.process(name)?;
        let named = format!("store: waiting: the store at {point}: ");
        let deadline = Instant::now() + NOTICED;
        let mut said = unready(world, name, deadline).await?;
        // The first attempt has to fail before there is a reason.
        while !said.1.contains(&named) && Instant::now() < deadline {
            sleep(Duration::from_millis(50)).await;
            said = unready(world, name, deadline).await?;
        }
        ensure!(said.0 == 503 && said.1.contains(&named), "{name}: {said:?}");
        ensure!(process.tail().contains(&format!("waiting for the store at {point}")), "{}", process.tail());
        let address = process.address("clients")?;
        ensure!(Client::connect(address).await.is_err(), "{name} listens at {address} without its store");
    }
    Ok(())
}

/// All processes are ready again, in time.
async fn recovered(world: &World) -> Result<()> {
    let back = Instant::now();
    within(RECOVERED, world.ready()).await?;
    println!("all are ready {:?} after the store is back", back.elapsed());
    Ok(())
}

/// Three nodes, three copies, and the time-outs that the servers come with: while one is silent, or dead, nobody waits
/// long. Only edits that touch two people's rows may be refused until the others have noticed (`docs/store-cql.md`).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes three nodes, 3 GB and minutes: scripts/kill-cql runs it"]
async fn one_of_three_nodes_goes_away() -> Result<()> {
    let Some(nodes) = Nodes::if_wanted(3)? else { return Ok(()) };
    let world = World::start(Plan { cql: Some(nodes.contact_points()), ..Plan::default() }).await?;
    let outcome = one_away(&world, &nodes).await;
    outcome.with_context(|| world.logs())?;
    world.shut_down().await
}

async fn one_away(world: &World, nodes: &Nodes) -> Result<()> {
    // Many accounts: the first copies of some are on the node that goes away.
    let names: Vec<String> = (0..60).map(|number| format!("user{number}")).collect();
    let people = accounts::create(world.config(), &names, &[(0, 1), (1, 0)]).await?;
    let mut chat = Chat::open(world, &people[0], &people[1]).await?;
    let mut visitors = people[2..].iter().cycle();
    let mut listed = HashSet::new();
    let mut come_and_go = async |what: &str, time: Duration| -> Result<()> {
        let (end, mut count, mut slowest) = (Instant::now() + time, 0, [Duration::ZERO; 3]);
        let (mut refused, mut last_refused) = (0, false);
        while Instant::now() < end {
            let visitor = visitors.next().context("people")?;
            let start = Instant::now();
            let mut at_visitor = sign_in(world, count % 2 + 1, visitor).await.with_context(|| what.to_owned())?;
            slowest[0] = slowest[0].max(start.elapsed());
            let start = Instant::now();
            chat.acknowledged(&format!("{what} {count}")).await.with_context(|| what.to_owned())?;
            slowest[1] = slowest[1].max(start.elapsed());
            // An edit of two people's rows, one way and at the next visit back.
            let (edit, about) = if listed.contains(visitor) {
                ("REM", format!("FL {}", people[0]))
            } else {
                ("ADD", format!("FL {0} {0}", people[0]))
            };
            let start = Instant::now();
            let answer = within(TOLD, at_visitor.request(edit, &about)).await.with_context(|| what.to_owned())?;
            slowest[2] = slowest[2].max(start.elapsed());
            // What was refused may have happened after all: then it is 215, or 216.
            last_refused = ![edit, "215", "216"].contains(&answer.verb());
            if last_refused {
                ensure!(["501", "715"].contains(&answer.verb()), "{what}: {:?}", answer.tokens);
                refused += 1;
            } else if edit == "ADD" {
                listed.insert(visitor.clone());
            } else {
                listed.remove(visitor);
            }
            count += 1;
        }
        let [signing_in, saying, editing] = slowest;
        println!(
            "{what}: {count} sign-ins, {signing_in:?} at most; as many messages, {saying:?} at most; as many list edits, \
             {editing:?} at most, {refused} refused"
        );
        ensure!(signing_in.max(saying) <= ONE_AWAY, "{what}: {slowest:?}");
        ensure!(!last_refused, "{what}: list edits are still refused after {time:?}");
        Ok(())
    };
    come_and_go("all three", Duration::from_secs(3)).await?;
    nodes.pause(2)?;
    // Longer than the others need to notice.
    come_and_go("one is silent", Duration::from_secs(40)).await?;
    nodes.resume(2)?;
    come_and_go("it goes on", Duration::from_secs(15)).await?;
    nodes.kill(2)?;
    come_and_go("one is dead", Duration::from_secs(30)).await
}
