//! kill -9 in the middle of a chat: whatever was acknowledged is in the history afterwards, exactly once and in order, and
//! reaches its recipient.
//!
//! The checker reads the database itself, not through the suite.
//!
//! `MONARCH_KILL_MESSAGES=20000` makes the chats longer; `scripts/kill-cql` kills a node of the database meanwhile.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use common::model::Passport;
use integration_tests::accounts::{self, PASSWORD};
use integration_tests::client::{self, Client};
use integration_tests::{Plan, World, stored};
use tokio::time::timeout;

/// Messages that must have been acknowledged over the whole test, unless the environment says otherwise.
const ACKNOWLEDGED: usize = 2_000;
/// After so many more the test says how far it is; scripts wait for it.
const PROGRESS: usize = 500;
/// Messages of which a part is unread when the switchboard dies: more than is brought at a time.
const UNREAD: usize = 600;
/// Messages on their way at once.
const WINDOW: usize = 32;
/// How long anything may take that happens by itself.
const PATIENCE: Duration = Duration::from_secs(30);

fn messages() -> Result<usize> {
    std::env::var("MONARCH_KILL_MESSAGES").map_or(Ok(ACKNOWLEDGED), |messages| Ok(messages.parse()?))
}

/// Its people say more in a minute than any ten would.
fn plan() -> Plan {
    let settings = ["rates.stored_burst=0", "limits.stored_kib_per_day=0"];
    Plan { settings: settings.map(str::to_owned).to_vec(), ..Plan::default() }
}

/// What one sender believes.
#[derive(Default)]
struct Beliefs {
    sent: usize,
    acknowledged: Vec<usize>,
}

impl Beliefs {
    fn acknowledge(&mut self, number: usize) {
        self.acknowledged.push(number);
        if self.acknowledged.len().is_multiple_of(PROGRESS) {
            println!("{} acknowledged so far", self.acknowledged.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9_of_a_switchboard() -> Result<()> {
    let mut world = World::start(plan()).await?;
    let (alice, bob) = two_people(&world).await?;
    let (mut beliefs, enough) = (Beliefs::default(), messages()?);
    // Three lives of the switchboard; the first two end in the middle of the chat.
    for share in [enough / 3, 2 * enough / 3] {
        let (_people, chat) = meet(&world, &alice, &bob).await?;
        chat_until(&mut beliefs, chat, share, async || world_kill(&mut world).await).await?;
        world.restart("switchboard-1").await?;
        world.ready().await?;
    }
    let (_people, chat) = meet(&world, &alice, &bob).await?;
    chat_until(&mut beliefs, chat, enough, async || Ok(())).await?;
    check(&world, &beliefs, enough).await?;
    world.shut_down().await
}

/// Of what was acknowledged bob misses nothing: he hears it live, or as an offline message after the death.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_reaches_its_recipient_after_kill_9_of_a_switchboard() -> Result<()> {
    let mut world = World::start(plan()).await?;
    let (alice, bob) = two_people(&world).await?;
    let ((_at_alice, mut at_bob), (mut alice_says, mut bob_hears)) = meet(&world, &alice, &bob).await?;
    let (mut trids, mut acknowledged, mut heard) = (HashMap::new(), HashSet::new(), HashSet::new());
    for number in 0..UNREAD {
        let trid = alice_says.message("A", &client::text(&format!("message {number}"))).await?;
        trids.insert(trid.to_string(), number);
    }
    // Bob reads a part of it and then no more, though all of it is on its way to him.
    while heard.len() < UNREAD / 4 {
        let received = timeout(PATIENCE, bob_hears.receive()).await??;
        heard.extend(number_in(&received.payload));
    }
    while acknowledged.len() < UNREAD / 2 {
        let received = timeout(PATIENCE, alice_says.receive()).await??;
        if received.verb() == "ACK" {
            acknowledged.extend(trids.get(received.token(1)).copied());
        }
    }
    world.kill("switchboard-1").await?;
    while let Ok(Ok(received)) = timeout(PATIENCE, alice_says.receive()).await {
        if received.verb() == "ACK" {
            acknowledged.extend(trids.get(received.token(1)).copied());
        }
    }
    // What had reached his machine he reads after all.
    while let Ok(Ok(received)) = timeout(PATIENCE, bob_hears.receive()).await {
        heard.extend(number_in(&received.payload));
    }
    world.restart("switchboard-1").await?;
    world.ready().await?;
    let mut rings = 0;
    while !acknowledged.is_subset(&heard) {
        let ring = timeout(PATIENCE, at_bob.expect("RNG")).await.context("no ring")??;
        ensure!(ring.token(5) == alice.as_str(), "{:?}", ring.tokens);
        let mut chat = client::answer(&ring, bob.as_str()).await?;
        rings += 1;
        loop {
            let received = timeout(PATIENCE, chat.receive()).await.context("the rest does not come")??;
            if received.verb() == "BYE" {
                break;
            }
            heard.extend(number_in(&received.payload));
        }
    }
    println!("{} acknowledged, {} heard, {rings} rings", acknowledged.len(), heard.len());
    world.shut_down().await
}

fn number_in(payload: &[u8]) -> Option<usize> {
    std::str::from_utf8(payload).ok()?.rsplit_once("message ")?.1.parse().ok()
}

async fn world_kill(world: &mut World) -> Result<()> {
    world.kill("switchboard-1").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chat_goes_on_when_its_notification_server_is_killed() -> Result<()> {
    let mut world = World::start(Plan { notification: 1, ..plan() }).await?;
    let (alice, bob) = two_people(&world).await?;
    let (mut beliefs, enough) = (Beliefs::default(), messages()?);
    let (people, chat) = meet(&world, &alice, &bob).await?;
    let chat = chat_until(&mut beliefs, chat, enough / 2, async || world.kill("notification-1").await).await?;
    drop(people);
    // The switchboard needs nobody: the same conversation goes on.
    chat_until(&mut beliefs, chat.context("the conversation has ended")?, enough, async || Ok(())).await?;
    // And the suite starts again on the same data.
    world.restart("notification-1").await?;
    world.ready().await?;
    let (_people, _chat) = meet(&world, &alice, &bob).await?;
    check(&world, &beliefs, enough).await?;
    world.shut_down().await
}

async fn two_people(world: &World) -> Result<(Passport, Passport)> {
    let names = ["alice".to_owned(), "bob".to_owned()];
    let mut made = accounts::create(world.config(), &names, &[(0, 1), (1, 0)]).await?.into_iter();
    Ok((made.next().context("alice")?, made.next().context("bob")?))
}

type Pair = (Client, Client);

/// Both sign in, on different notification servers where there are two, and open a conversation: at the first attempt,
/// also while a node of the database is dead.
async fn meet(world: &World, alice: &Passport, bob: &Passport) -> Result<(Pair, Pair)> {
    let nodes: Vec<_> = world.processes().iter().filter(|process| process.tier() == "notification").collect();
    let (first, last) = (nodes.first().context("a node")?, nodes.last().context("a node")?);
    let meeting = async {
        let mut at_alice = Client::sign_in(first.address("clients")?, alice.as_str(), PASSWORD).await?;
        let mut at_bob = Client::sign_in(last.address("clients")?, bob.as_str(), PASSWORD).await?;
        let chat = client::open_chat((&mut at_alice, alice.as_str()), (&mut at_bob, bob.as_str())).await?;
        anyhow::Ok(((at_alice, at_bob), chat))
    };
    timeout(Duration::from_secs(10), meeting).await.context("they have not met within 10 s")?
}

/// Sends numbered texts, a window at a time, until so many are acknowledged in all; then does `blow` and, if it was none, goes
/// on to read what is still acknowledged. Returns the conversation unless it has ended.
async fn chat_until(
    beliefs: &mut Beliefs,
    (mut at_alice, mut at_bob): Pair,
    enough: usize,
    blow: impl AsyncFnOnce() -> Result<()>,
) -> Result<Option<Pair>> {
    let reader = tokio::spawn(async move {
        // Bob reads all the time; what he gets is not what this test is about.
        let ended = loop {
            match timeout(Duration::from_millis(500), at_bob.receive()).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => break true,
                Err(_) => break false,
            }
        };
        (at_bob, ended)
    });
    let mut waiting = HashMap::new();
    let mut blow = Some(blow);
    loop {
        while waiting.len() < WINDOW && beliefs.acknowledged.len() + waiting.len() < enough + WINDOW {
            let number = beliefs.sent;
            let Ok(trid) = at_alice.message("A", &client::text(&format!("message {number}"))).await else { break };
            beliefs.sent += 1;
            waiting.insert(trid.to_string(), number);
        }
        if beliefs.acknowledged.len() >= enough
            && let Some(blow) = blow.take()
        {
            blow().await?;
        }
        if blow.is_none() && waiting.is_empty() {
            break;
        }
        let Ok(Ok(received)) = timeout(PATIENCE, at_alice.receive()).await else { break };
        match (received.verb(), waiting.remove(received.token(1))) {
            ("ACK", Some(number)) => beliefs.acknowledge(number),
            ("NAK", Some(_)) | (_, None) => {}
            (verb, Some(_)) => anyhow::bail!("{verb} for a message"),
        }
    }
    ensure!(blow.is_none(), "only {} of {enough} were acknowledged", beliefs.acknowledged.len());
    let (at_bob, ended) = reader.await?;
    Ok((!ended && waiting.is_empty()).then_some((at_alice, at_bob)))
}

/// Compares what was believed with what is in the database.
async fn check(world: &World, beliefs: &Beliefs, enough: usize) -> Result<()> {
    let payloads = stored::payloads(&world.config().store).await?;
    let numbers = payloads.iter().filter_map(|payload| {
        let text = std::str::from_utf8(payload).ok()?;
        text.rsplit("message ").next()?.parse().ok()
    });
    let stored: Vec<usize> = numbers.collect();
    let unique: HashSet<usize> = stored.iter().copied().collect();
    ensure!(unique.len() == stored.len(), "a message is there twice");
    ensure!(stored.is_sorted(), "the order of the history is not the order of sending");
    let lost: Vec<_> = beliefs.acknowledged.iter().filter(|number| !unique.contains(number)).collect();
    ensure!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    ensure!(beliefs.acknowledged.len() >= enough, "only {} acknowledged", beliefs.acknowledged.len());
    println!(
        "{} sent, {} acknowledged, {} in the history",
        beliefs.sent,
        beliefs.acknowledged.len(),
        stored.len()
    );
    Ok(())
}
