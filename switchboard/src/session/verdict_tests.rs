//! Each `A` that was read ends in an ACK, a NAK or the end of its sender's connection, within five seconds, whatever becomes of
//! the message.

use std::time::Duration;

use common::cluster::CookieRole;
use common::model::ConversationId;
use tokio::time::Instant;

use crate::push::Farewell;
use crate::testing::{Client, Mood, World, passport};

const TEXT: &str = "text/plain; charset=UTF-8";
/// Of a type that is not stored.
const TYPING: &str = "text/x-msmsgscontrol";
/// Messages of each kind that are under way when it happens.
const COUNT: u32 = 40;
/// The bound, and what a clock that stands still rounds up.
const BOUND: Duration = Duration::from_millis(5_010);

/// What may become of a conversation while messages are under way.
#[derive(Debug, Clone, Copy)]
enum Fault {
    StoreFails,
    StoreHangs,
    StorePanics,
    StoreIsSlow,
    ConversationEnds,
    ProcessEnds,
    SenderIsReplaced,
    RecipientLeaves,
    RecipientIsReset,
    RecipientReadsNothing,
    RecipientClosesAndReadsNothing,
    RecipientIsReplaced,
}

const FAULTS: [Fault; 12] = [
    Fault::StoreFails,
    Fault::StoreHangs,
    Fault::StorePanics,
    Fault::StoreIsSlow,
    Fault::ConversationEnds,
    Fault::ProcessEnds,
    Fault::SenderIsReplaced,
    Fault::RecipientLeaves,
    Fault::RecipientIsReset,
    Fault::RecipientReadsNothing,
    Fault::RecipientClosesAndReadsNothing,
    Fault::RecipientIsReplaced,
];

/// Before the first messages are sent.
fn before(world: &World, bob: &Client, fault: Fault) {
    match fault {
        Fault::StoreFails => world.store_is(Mood::Failing),
        Fault::StorePanics => world.store_is(Mood::Panicking),
        Fault::StoreIsSlow => world.store_is(Mood::Slow(Duration::from_millis(4_999))),
        Fault::RecipientReadsNothing => bob.reads_at_most(0),
        Fault::RecipientClosesAndReadsNothing => {
            bob.reads_at_most(0);
            world.store_is(Mood::Slow(Duration::from_secs(3600)));
        }
        // The rest meets messages that wait for the store.
        _ => world.store_is(Mood::Slow(Duration::from_secs(3600))),
    }
}

/// Between the first messages and the last ones. What it returns must stay.
async fn meanwhile(world: &World, id: ConversationId, bob: &Client, fault: Fault) -> Option<Client> {
    let conversation = world.board.conversations.find(id).unwrap();
    match fault {
        Fault::ConversationEnds => conversation.end(Farewell::Idle),
        Fault::ProcessEnds => {
            world.board.shutdown.begin();
            world.board.conversations.close();
        }
        Fault::SenderIsReplaced => return Some(join_without_store(world, "alice", id).await),
        Fault::RecipientIsReplaced => return Some(join_without_store(world, "bob", id).await),
        Fault::RecipientLeaves => bob.say("OUT\n"),
        Fault::RecipientIsReset => bob.reset(),
        Fault::RecipientClosesAndReadsNothing => {
            tokio::time::sleep(Duration::from_millis(3_500)).await;
            bob.close();
        }
        _ => {}
    }
    None
}

/// Another connection of somebody who is there; the store would not tell its name in time.
async fn join_without_store(world: &World, who: &str, id: ConversationId) -> Client {
    world.store_is(Mood::Well);
    let client = world.connect();
    let (who, session) = (passport(who), world.board.conversations.find(id).unwrap().session);
    client.say(&format!("ANS 1 {who} {} {session}\n", world.doorman.cookie(&who, CookieRole::Callee, id)));
    while client.line().await != "ANS 1 OK" {}
    client
}

/// Waits until each of these transaction ids has been answered once, or the server has closed. Returns the answers.
async fn verdicts(client: &Client, trids: std::ops::Range<u32>) -> Vec<String> {
    let mut open: Vec<u32> = trids.collect();
    let mut answers = Vec::new();
    while !open.is_empty() {
        let next = tokio::time::timeout(Duration::from_secs(60), client.line_or_end()).await;
        let Ok(Some(line)) = next else { break };
        let Some((verdict @ ("ACK" | "NAK"), trid)) = line.split_once(' ') else { continue };
        let trid: u32 = trid.parse().unwrap();
        let place = open.iter().position(|open| *open == trid).unwrap_or_else(|| panic!("{line} once more"));
        open.swap_remove(place);
        answers.push(verdict.to_owned());
    }
    assert!(open.is_empty() || client.is_over(), "without a verdict: {open:?}");
    answers
}

fn send(client: &Client, first: u32) {
    for trid in first..first + COUNT {
        client.msg(trid, "A", TEXT, "kept");
        client.msg(trid + COUNT, "A", TYPING, "\r\n");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_each_message_has_its_verdict() {
    for fault in FAULTS {
        let world = World::new();
        let (id, alice) = world.open("alice").await;
        let bob = world.join("bob", id).await;
        alice.skip("JOI").await;
        before(&world, &bob, fault);
        let begun = Instant::now();
        send(&alice, 0);
        tokio::time::sleep(Duration::from_millis(1)).await;
        let _other = meanwhile(&world, id, &bob, fault).await;
        let early = begun.elapsed() < Duration::from_secs(1);
        let last = if early { 4 * COUNT } else { 2 * COUNT };
        if early {
            send(&alice, 2 * COUNT);
        }
        let answers = verdicts(&alice, 0..last).await;
        assert!(begun.elapsed() <= BOUND, "{fault:?}: {:?}", begun.elapsed());
        let acks = answers.iter().filter(|answer| *answer == "ACK").count();
        let (naks, closed) = (answers.len() - acks, alice.is_over());
        eprintln!("{fault:?}: {acks} ACK, {naks} NAK, closed: {closed}, {:?}", begun.elapsed());
    }
}

/// Its connection ends slowly: what it has not been sent is written for two seconds, and then its session is asked when it was last
/// heard. Nobody who has said something to it waits for that.
#[tokio::test(start_paused = true)]
async fn a_recipient_that_takes_long_to_go() {
    let world = World::new();
    let (id, alice) = world.open("alice").await;
    let bob = world.join("bob", id).await;
    alice.skip("JOI").await;
    // Unsure of what it has read, the session asks.
    let said = alice.msg(1, "A", TEXT, "hello");
    bob.hears_msg("alice", "Alice", &said).await;
    alice.hears("ACK 1\n").await;
    world.peers.is_mute.store(true, std::sync::atomic::Ordering::Relaxed);
    bob.reads_at_most(0);
    let begun = Instant::now();
    alice.msg(2, "A", TYPING, "\r\n");
    tokio::time::sleep(Duration::from_millis(2_900)).await;
    let _other = world.join("bob", id).await;
    assert_eq!(verdicts(&alice, 2..3).await, ["NAK"]);
    assert!(begun.elapsed() <= BOUND, "{:?}", begun.elapsed());
}

/// The way into the store is full: what does not fit is told at once.
#[tokio::test(start_paused = true)]
async fn more_than_the_store_has_room_for() {
    let world = World::new();
    world.store_is(Mood::Slow(Duration::from_secs(4)));
    let body = "x".repeat(1500);
    let mut senders = Vec::new();
    for _ in 0..8 {
        let mut clients = world.chat(&["alice", "bob"]).await.into_iter();
        senders.extend(clients.next());
        let bob = clients.next().unwrap();
        tokio::spawn(async move { while bob.line_or_end().await.is_some() {} });
    }
    let begun = Instant::now();
    for sender in &senders {
        for trid in 0..1500 {
            sender.msg(trid, "A", TEXT, &body);
        }
    }
    let mut naks = 0;
    for sender in &senders {
        let answers = verdicts(sender, 0..1500).await;
        assert_eq!(answers.len(), 1500);
        naks += answers.iter().filter(|answer| *answer == "NAK").count();
    }
    assert!(naks > 0 && begun.elapsed() <= BOUND, "{naks} NAKs, {:?}", begun.elapsed());
}

/// A sender that does not read its ACKs is closed, and not left without a word.
#[tokio::test(start_paused = true)]
async fn a_sender_that_reads_no_acks() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob"]).await;
    let (alice, bob) = (&clients[0], &clients[1]);
    alice.reads_at_most(0);
    let drinks = async { while bob.line_or_end().await.is_some() {} };
    let sends = async {
        for trid in 0..40_000 {
            alice.msg(trid, "A", TEXT, "x");
            if trid % 100 == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    };
    tokio::join!(drinks, sends, async {
        while !alice.is_over() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bob.close();
    });
}
