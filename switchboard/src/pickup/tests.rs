//! What was kept, brought through transports in memory.

mod bounds;
mod lives;
mod unanswered;

use std::collections::BTreeSet;
use std::time::Duration;

use common::cluster::{Deliver, Invitation, Notice, Outcome};
use common::model::{
    ChannelId, ConversationId, Epoch, Generation, InboxId, MessageId, NodeId, ParticipationId, Passport,
};
use common::store::{HistoryWrite, InboxMessage, MessageKind, Participation, StoredMessage};
use uuid::Uuid;

use crate::testing::{Asked, Client, World, passport, payload};

const TEXT: &str = "text/plain; charset=UTF-8";
const EPOCH: Epoch = Epoch(7);

/// A participation of bob's that is over, in a conversation of its own.
fn row(world: &World, who: &str, generation: u64, closed: bool) -> Participation {
    Participation {
        passport: passport(who),
        id: ParticipationId(world.board.clock.uuid()),
        conversation: ConversationId(world.board.clock.uuid()),
        switchboard: NodeId::parse("sb-9").unwrap(),
        generation: Generation(generation),
        channels: BTreeSet::from([channel(world)]),
        live_cursor: None,
        offline_cursor: None,
        closed,
    }
}

fn channel(world: &World) -> ChannelId {
    ChannelId(world.board.clock.uuid())
}

/// Notes a row in the store.
fn note(world: &World, row: &Participation) {
    world.store.rows.lock().unwrap().push(row.clone());
}

/// An id made so long ago.
fn made_ago(ms: u64) -> Uuid {
    let made = common::clock::wall_ms() - ms;
    Uuid::from_u128((u128::from(made) << 80) | (7 << 76) | (2 << 62) | u128::from(ms))
}

/// Something that was said in a participation; returns its id and payload.
fn said(world: &World, row: &Participation, sender: &str, body: &str) -> (MessageId, String) {
    said_as(world, world.board.clock.tick(), row, sender, body)
}

/// The same, under that id.
fn said_as(world: &World, id: MessageId, row: &Participation, sender: &str, body: &str) -> (MessageId, String) {
    let payload = payload(TEXT, body);
    let message = StoredMessage {
        channel: *row.channels.first().unwrap(),
        id,
        conversation: row.conversation,
        sender: passport(sender),
        kind: MessageKind::Text,
        payload: payload.clone().into(),
        meant_for: vec![row.id],
    };
    let write = HistoryWrite { message, participations: Vec::new(), members: Vec::new() };
    world.store.written.lock().unwrap().push(write);
    (id, payload)
}

/// A message of alice's in the inbox, put there so long ago.
fn letter(ms_ago: u64, body: &str) -> InboxMessage {
    let (id, payload) = (made_ago(ms_ago), payload(TEXT, body).into());
    InboxMessage { id: InboxId(id), message: MessageId(id), sender: passport("alice"), payload }
}

/// A session asks for what was kept.
async fn asks(world: &World, who: &str) {
    asks_but(world, who, &[]).await;
}

/// The same, but for what is of those in whose names it was rung in vain.
async fn asks_but(world: &World, who: &str, unanswered: &[&str]) {
    let unanswered = unanswered.iter().map(|sender| passport(sender)).collect();
    let pick_up = Notice::PickUp { epoch: EPOCH, unanswered, reminder: false };
    assert_eq!(world.desk.deliver(&passport(who), None, pick_up).await, Outcome::Accepted);
}

/// The ring of that number, from 0.
async fn ring(world: &World, number: usize) -> (Passport, Invitation) {
    let begun = tokio::time::Instant::now();
    loop {
        let rung = world.peers.invited.lock().unwrap().get(number).cloned();
        assert!(begun.elapsed() < Duration::from_secs(100), "no ring");
        if let Some(rung) = rung {
            return rung;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// `who` answers the ring of that number, and sees the sender.
async fn answer(world: &World, number: usize, who: &str, sender: &str) -> Client {
    let (callee, invitation) = ring(world, number).await;
    assert_eq!((&callee, &invitation.caller), (&passport(who), &passport(sender)));
    assert_eq!(invitation.kept.map(|kept| kept.session), Some(EPOCH));
    let client = world.connect();
    client.say(&world.answer(who, invitation.conversation));
    client.skip(&format!("IRO 1 1 1 {} {}", passport(sender), invitation.caller_name)).await;
    client.hears("ANS 1 OK\n").await;
    client
}

/// The next message is the line with the time.
async fn hears_time(client: &Client, sender: &str) {
    client.skip(&format!("MSG {}", passport(sender))).await;
    while !client.line().await.is_empty() {}
    let minute = "Sent 2026-11-22 15:04 UTC:".len();
    let line = client.bytes(minute).await;
    assert!(line.starts_with("Sent 20") && line.ends_with(" UTC:"), "{line}");
}

fn asked(world: &World) -> Vec<Asked> {
    world.store.asked.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn kept_messages_come_behind_their_time_and_go_when_they_are_delivered() {
    let world = World::new();
    let mut kept = row(&world, "bob", 1, true);
    let (seen, _) = said(&world, &kept, "alice", "seen");
    kept.live_cursor = Some(seen);
    note(&world, &kept);
    let (first, one) = said(&world, &kept, "alice", "one");
    let mut elsewhere = kept.clone();
    elsewhere.id = ParticipationId(world.board.clock.uuid());
    said(&world, &elsewhere, "alice", "to somebody else");
    let (second, two) = said(&world, &kept, "alice", &"x".repeat(1500));
    asks(&world, "bob").await;
    let bob = answer(&world, 0, "bob", "alice").await;
    hears_time(&bob, "alice").await;
    bob.hears_msg("alice", "Alice", &one).await;
    bob.hears_msg("alice", "Alice", &two).await;
    bob.hears("BYE alice@example.com\n").await;
    assert_eq!(world.peers.have_picked_up(1).await, [(passport("bob"), EPOCH, true)]);
    assert_eq!(asked(&world), [], "confirmed, and perhaps not read");
    let holds = async |who: &str| world.desk.deliver(&passport(who), None, Notice::Holds).await;
    assert_eq!((holds("bob").await, holds("alice").await), (Outcome::Accepted, Outcome::Refused));
    // Asked again meanwhile, nothing is brought twice.
    asks(&world, "bob").await;
    world.peers.have_picked_up(2).await;
    assert_eq!(world.peers.invited.lock().unwrap().len(), 1);
    // Nobody else is there.
    bob.msg(5, "A", TEXT, "are you there?");
    bob.hears("NAK 5\n").await;
    world.store.was_asked(|asked| *asked == Asked::Remove(passport("bob"))).await;
    bob.say("OUT\n");
    bob.is_closed().await;
    let delivered = world.peers.delivered.lock().unwrap().clone();
    assert_eq!(
        delivered,
        [first, second].map(|id| id.0),
        "the session counts no more how often they were brought"
    );
    assert_eq!(world.written().len(), 4, "delivering writes no history");
    assert_eq!(world.board.metrics.kept_delivered.get(), 2);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.board.conversations.participants(), 0);
    assert_eq!(holds("bob").await, Outcome::Refused);
    assert!(world.board.pickups.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_reset_connection_had_not_read_is_kept_and_the_session_is_told() {
    let world = World::new();
    let kept = row(&world, "bob", 1, true);
    note(&world, &kept);
    said(&world, &kept, "alice", "one");
    asks(&world, "bob").await;
    let bob = answer(&world, 0, "bob", "alice").await;
    bob.skip("MSG alice").await;
    let told = |complete| (passport("bob"), EPOCH, complete);
    assert_eq!(world.peers.have_picked_up(1).await, [told(true)], "confirmed");
    bob.reset();
    assert_eq!(world.peers.have_picked_up(2).await, [told(true), told(false)]);
    assert_eq!(asked(&world), []);
    assert!(world.board.pickups.lock().is_empty());
    // So it asks again.
    asks(&world, "bob").await;
    let bob = answer(&world, 1, "bob", "alice").await;
    hears_time(&bob, "alice").await;
    bob.skip("MSG alice").await;
    bob.close();
    world.store.was_asked(|asked| *asked == Asked::Remove(passport("bob"))).await;
}

/// When it was looked for the last time it was on its way, and was passed over.
#[tokio::test(start_paused = true)]
async fn what_comes_back_while_nobody_answers_for_another_sender_is_brought_again() {
    let world = World::new();
    let kept = row(&world, "bob", 1, true);
    note(&world, &kept);
    let (first, one) = said(&world, &kept, "alice", "one");
    asks(&world, "bob").await;
    ring(&world, 0).await;
    said(&world, &kept, "carol", "two");
    let from_alice = answer(&world, 0, "bob", "alice").await;
    hears_time(&from_alice, "alice").await;
    from_alice.hears_msg("alice", "Alice", &one).await;
    from_alice.hears("BYE alice@example.com\n").await;
    // Carol's ring is not answered.
    ring(&world, 1).await;
    from_alice.reset();
    let from_alice = answer(&world, 2, "bob", "alice").await;
    hears_time(&from_alice, "alice").await;
    from_alice.hears_msg("alice", "Alice", &one).await;
    from_alice.hears("BYE alice@example.com\n").await;
    from_alice.close();
    world.store.was_asked(|asked| *asked == Asked::Offline(passport("bob"), first)).await;
}

#[tokio::test(start_paused = true)]
async fn senders_come_one_after_the_other_and_one_line_of_history_has_one_cursor() {
    let world = World::new();
    let kept = row(&world, "bob", 1, true);
    note(&world, &kept);
    let (first, _) = said(&world, &kept, "alice", "one");
    said(&world, &kept, "carol", "two");
    said(&world, &kept, "alice", "three");
    asks(&world, "bob").await;
    let from_alice = answer(&world, 0, "bob", "alice").await;
    hears_time(&from_alice, "alice").await;
    from_alice.hears_msg("alice", "Alice", &payload(TEXT, "one")).await;
    assert_eq!(world.peers.invited.lock().unwrap().len(), 1);
    from_alice.hears_msg("alice", "Alice", &payload(TEXT, "three")).await;
    from_alice.hears("BYE alice@example.com\n").await;
    from_alice.close();
    world.store.was_asked(|asked| *asked == Asked::Offline(passport("bob"), first)).await;
    let from_carol = answer(&world, 1, "bob", "carol").await;
    hears_time(&from_carol, "carol").await;
    from_carol.hears_msg("carol", "Carol", &payload(TEXT, "two")).await;
    from_carol.hears("BYE carol@example.com\n").await;
    from_carol.close();
    world.store.was_asked(|asked| *asked == Asked::Remove(passport("bob"))).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_takes_no_invitations_asks_again() {
    let world = World::new();
    let kept = row(&world, "hidden", 1, true);
    note(&world, &kept);
    said(&world, &kept, "alice", "one");
    asks(&world, "hidden").await;
    assert_eq!(world.peers.have_picked_up(1).await, [(passport("hidden"), EPOCH, false)]);
    assert_eq!(world.board.conversations.participants(), 0);
    world.store_is(crate::testing::Mood::Failing);
    asks(&world, "hidden").await;
    assert_eq!(world.peers.have_picked_up(2).await[1], (passport("hidden"), EPOCH, false));
}

/// A session that only wonders whether it is served is not brought more for that: a mute client would keep its place for as long as it
/// has senders.
#[tokio::test(start_paused = true)]
async fn who_wonders_changes_nothing_of_what_is_under_way() {
    for reminder in [true, false] {
        let world = World::new();
        let kept = row(&world, "bob", 1, true);
        note(&world, &kept);
        for sender in ["alice", "carol", "dave", "erin"] {
            said(&world, &kept, sender, "one");
        }
        asks(&world, "bob").await;
        ring(&world, 0).await;
        let wonders = Notice::PickUp { epoch: EPOCH, unanswered: Vec::new(), reminder };
        assert_eq!(world.desk.deliver(&passport("bob"), None, wonders.clone()).await, Outcome::Accepted);
        world.peers.have_picked_up(1).await;
        assert_eq!(world.peers.invited.lock().unwrap().len(), if reminder { 3 } else { 4 }, "{reminder}");
        // Nobody serves it any more, so that it is served again.
        assert_eq!(world.desk.deliver(&passport("bob"), None, wonders).await, Outcome::Accepted);
        world.peers.have_picked_up(2).await;
    }
}

/// The word that all was brought is lost, and the session asks once more: whom it has not answered it is not rung for again.
#[tokio::test(start_paused = true)]
async fn who_has_not_heard_the_end_is_not_rung_again_for_who_was_not_answered() {
    let world = World::new();
    let kept = row(&world, "bob", 1, true);
    note(&world, &kept);
    said(&world, &kept, "alice", "one");
    world.peers.lost.store(usize::MAX, std::sync::atomic::Ordering::Relaxed);
    asks(&world, "bob").await;
    ring(&world, 0).await;
    tokio::time::sleep(Duration::from_secs(70)).await;
    asks(&world, "bob").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.peers.lost.store(0, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(world.peers.have_picked_up(1).await, [(passport("bob"), EPOCH, true)]);
    assert_eq!(*world.peers.unanswered.lock().unwrap(), [passport("alice")]);
    assert_eq!(world.peers.invited.lock().unwrap().len(), 1, "and once is enough");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.peers.picked_up.lock().unwrap().len(), 1, "it is said once");
}

#[tokio::test(start_paused = true)]
async fn another_session_need_not_wait_for_the_ring_of_the_first() {
    let world = World::new();
    let kept = row(&world, "bob", 1, true);
    note(&world, &kept);
    said(&world, &kept, "alice", "one");
    asks(&world, "bob").await;
    ring(&world, 0).await;
    let begun = tokio::time::Instant::now();
    let pick_up = Notice::PickUp { epoch: Epoch(8), unanswered: Vec::new(), reminder: false };
    world.desk.deliver(&passport("bob"), None, pick_up).await;
    let (_, invitation) = ring(&world, 1).await;
    assert_eq!(invitation.kept.map(|kept| kept.session), Some(Epoch(8)));
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn blocked_senders_are_passed_over() {
    let world = World::new();
    let kept = row(&world, "bob", 1, true);
    note(&world, &kept);
    said(&world, &kept, "blocked", "one");
    asks(&world, "bob").await;
    world.store.was_asked(|asked| *asked == Asked::Remove(passport("bob"))).await;
    assert_eq!(world.peers.have_picked_up(1).await, [(passport("bob"), EPOCH, true)]);
    assert!(world.peers.invited.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reply_is_kept_for_the_sender_while_it_seems_to_be_there() {
    let world = World::new();
    let kept = row(&world, "bob", 1, true);
    note(&world, &kept);
    said(&world, &kept, "alice", "one");
    asks(&world, "bob").await;
    let bob = answer(&world, 0, "bob", "alice").await;
    let reply = bob.msg(2, "A", TEXT, "a quick reply");
    bob.msg(3, "D", "application/x-msnmsgrp2p", "p2p");
    let mut heard = Vec::new();
    while heard.last().is_none_or(|line: &String| line != "BYE alice@example.com") {
        heard.push(bob.line().await);
    }
    assert!(["ACK 2", "NAK 3"].iter().all(|end| heard.iter().any(|line| line.ends_with(end))), "{heard:?}");
    let written = world.written().pop().unwrap();
    assert_eq!(written.message.payload, reply);
    assert_eq!(written.participations.iter().map(|used| &used.passport).collect::<Vec<_>>(), [&passport("alice")]);
    world.store.was_asked(|asked| *asked == Asked::Close(passport("alice"), None)).await;
    world.peers.has_told(&passport("alice")).await;
}

#[tokio::test(start_paused = true)]
async fn the_inbox_is_brought_as_well() {
    let world = World::new();
    let (day, hour) = (24 * 60 * 60 * 1000, 60 * 60 * 1000);
    let letters = [letter(31 * day, "too old"), letter(day, "one"), letter(hour, "two")];
    *world.store.letters.lock().unwrap() = letters.to_vec();
    asks(&world, "bob").await;
    world.store.was_asked(|asked| *asked == Asked::Watermark(passport("bob"), letters[0].id)).await;
    let bob = answer(&world, 0, "bob", "alice").await;
    hears_time(&bob, "alice").await;
    bob.hears_msg("alice", "Alice", &payload(TEXT, "one")).await;
    hears_time(&bob, "alice").await;
    bob.hears_msg("alice", "Alice", &payload(TEXT, "two")).await;
    bob.close();
    world.store.was_asked(|asked| *asked == Asked::Watermark(passport("bob"), letters[2].id)).await;
}
