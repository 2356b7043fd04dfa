//! Delivery as a cursor over history: what is confirmed, what is outstanding, and what becomes of rows.

use std::time::Duration;

use common::model::MessageId;

use crate::testing::{Asked, Client, Mood, World, passport, payload};

const TEXT: &str = "text/plain; charset=UTF-8";

#[tokio::test(start_paused = true)]
async fn who_holds_up_two_others_is_disconnected_and_gets_it_later() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob", "carol"]).await;
    let (alice, bob, carol) = (&clients[0], &clients[1], &clients[2]);
    bob.reads_at_most(1000);
    let body = "x".repeat(1400);
    let mut said = 0;
    loop {
        said += 1;
        let payload = alice.msg(said, "A", TEXT, &body);
        let mut line = alice.line().await;
        if line == "BYE bob@example.com" {
            carol.hears_msg("alice", "Alice", &payload).await;
            carol.hears("BYE bob@example.com\n").await;
            line = alice.line().await;
            assert_eq!(line, format!("ACK {said}"));
            break;
        }
        assert_eq!(line, format!("ACK {said}"));
        carol.line().await;
        carol.hears(&payload.replace("\r\n", "\n")).await;
        assert!(said < 1000);
    }
    assert!(said > 64 * 1024 / 1500);
    world.peers.has_told(&passport("bob")).await;
    let closed = world.store.was_asked(|asked| matches!(asked, Asked::Close(..))).await;
    assert_eq!(closed, Asked::Close(passport("bob"), None));
    // What was said when it was pushed out is meant for it too.
    assert_eq!(world.written().last().unwrap().message.meant_for.len(), 2);
}

async fn chat_of_two(world: &World, bodies: &[&str]) -> (Vec<Client>, Vec<MessageId>) {
    let clients = world.chat(&["alice", "bob"]).await;
    let mut ids = Vec::new();
    for (trid, body) in bodies.iter().enumerate() {
        let said = clients[0].msg(trid as u32, "A", TEXT, body);
        clients[0].hears(&format!("ACK {trid}\n")).await;
        clients[1].hears_msg("alice", "Alice", &said).await;
        ids.push(world.written().last().unwrap().message.id);
    }
    (clients, ids)
}

#[tokio::test(start_paused = true)]
async fn the_live_cursor_follows_what_is_confirmed() {
    let world = World::new();
    let (clients, ids) = chat_of_two(&world, &["one"]).await;
    let moved = world.store.was_asked(|asked| matches!(asked, Asked::Cursor(..))).await;
    assert_eq!(moved, Asked::Cursor(passport("bob"), Some(ids[0])));
    clients[1].close();
    clients[0].hears("BYE bob@example.com\n").await;
    world.store.was_asked(|asked| *asked == Asked::Remove(passport("bob"))).await;
    clients[0].say("OUT\n");
    clients[0].is_closed().await;
    // Nothing was meant for the caller: it has no row.
    assert!(!world.store.asked.lock().unwrap().contains(&Asked::Remove(passport("alice"))));
    assert!(world.peers.told.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reset_goes_back_to_the_last_command() {
    let world = World::new();
    let (clients, ids) = chat_of_two(&world, &["one", "two"]).await;
    world.store.was_asked(|asked| *asked == Asked::Cursor(passport("bob"), Some(ids[1]))).await;
    clients[1].hears_nothing().await;
    let said = clients[0].msg(7, "A", TEXT, "three");
    clients[0].hears("ACK 7\n").await;
    clients[1].hears_msg("alice", "Alice", &said).await;
    // All three are confirmed, and the store knows; but nothing was heard of the client since the second.
    let third = world.written().last().unwrap().message.id;
    world.store.was_asked(|asked| *asked == Asked::Cursor(passport("bob"), Some(third))).await;
    clients[1].reset();
    world.store.was_asked(|asked| *asked == Asked::Close(passport("bob"), Some(ids[1]))).await;
    world.peers.has_told(&passport("bob")).await;
}

/// A proxy confirms what the client has perhaps never got, and closes in order whatever has become of the client.
#[tokio::test(start_paused = true)]
async fn behind_a_proxy_an_orderly_end_goes_back_to_the_last_command() {
    let world = World::new();
    let (clients, ids) = chat_of_two(&world, &["one", "two"]).await;
    clients[1].is_behind_a_proxy();
    world.store.was_asked(|asked| *asked == Asked::Cursor(passport("bob"), Some(ids[1]))).await;
    clients[1].hears_nothing().await;
    let said = clients[0].msg(7, "A", TEXT, "three");
    clients[0].hears("ACK 7\n").await;
    clients[1].hears_msg("alice", "Alice", &said).await;
    let third = world.written().last().unwrap().message.id;
    world.store.was_asked(|asked| *asked == Asked::Cursor(passport("bob"), Some(third))).await;
    clients[1].close();
    world.store.was_asked(|asked| *asked == Asked::Close(passport("bob"), Some(ids[1]))).await;
    world.peers.has_told(&passport("bob")).await;
}

/// The client's own word counts, whoever passes it on.
#[tokio::test(start_paused = true)]
async fn behind_a_proxy_a_goodbye_is_one() {
    let world = World::new();
    let (clients, ids) = chat_of_two(&world, &["one"]).await;
    clients[1].is_behind_a_proxy();
    world.store.was_asked(|asked| *asked == Asked::Cursor(passport("bob"), Some(ids[0]))).await;
    clients[1].say("OUT\n");
    clients[1].close();
    world.store.was_asked(|asked| *asked == Asked::Remove(passport("bob"))).await;
}

/// What a client sent early and is handled late does not show that it has read what came in between.
#[tokio::test(start_paused = true)]
async fn a_reset_goes_back_behind_a_command_that_waited() {
    let world = World::new();
    let (alice, bob) = {
        let mut clients = world.chat(&["alice", "bob"]).await.into_iter();
        (clients.next().unwrap(), clients.next().unwrap())
    };
    bob.say("CAL 2 slow@example.com\nCAL 3 nobody\n");
    let said = alice.msg(1, "A", TEXT, "one");
    alice.hears("ACK 1\n").await;
    bob.hears_msg("alice", "Alice", &said).await;
    let first = world.written().last().unwrap().message.id;
    world.store.was_asked(|asked| *asked == Asked::Cursor(passport("bob"), Some(first))).await;
    bob.hears("217 2\n208 3\n").await;
    bob.reset();
    world.store.was_asked(|asked| *asked == Asked::Close(passport("bob"), None)).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_confirmed_is_outstanding() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob"]).await;
    let first = clients[0].msg(1, "A", TEXT, "one");
    clients[0].hears("ACK 1\n").await;
    clients[1].hears_msg("alice", "Alice", &first).await;
    clients[1].confirms(10);
    let second = clients[0].msg(2, "A", TEXT, "two");
    clients[0].hears("ACK 2\n").await;
    clients[1].hears_msg("alice", "Alice", &second).await;
    clients[1].close();
    clients[0].hears("BYE bob@example.com\n").await;
    let first = world.written()[0].message.id;
    world.store.was_asked(|asked| *asked == Asked::Close(passport("bob"), Some(first))).await;
    world.peers.has_told(&passport("bob")).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_confirmed_before_the_client_closed_stays_delivered() {
    let world = World::new();
    let (clients, ids) = chat_of_two(&world, &["one"]).await;
    clients[1].reads_at_most(0);
    clients[0].msg(7, "A", TEXT, "two");
    clients[0].hears("ACK 7\n").await;
    clients[1].close();
    clients[0].hears("BYE bob@example.com\n").await;
    clients[1].reset();
    world.store.was_asked(|asked| *asked == Asked::Close(passport("bob"), Some(ids[0]))).await;
    world.peers.has_told(&passport("bob")).await;
}

/// Whatever its client takes leave with: it was there to say it. A message that it has read would come again and again.
#[tokio::test(start_paused = true)]
async fn what_was_confirmed_before_the_last_word_stays_delivered() {
    let words = ["OUT\n", "BYE\n", "BYE 9 bob@example.com\n", "XYZ\n", "MSG 3 X 0\n", "\u{1}\n"];
    for word in words {
        let world = World::new();
        let (clients, _) = chat_of_two(&world, &["one"]).await;
        clients[1].say(word);
        clients[0].hears("BYE bob@example.com\n").await;
        clients[1].reset();
        let asked = world.store.was_asked(|asked| !matches!(asked, Asked::Cursor(..))).await;
        assert_eq!(asked, Asked::Remove(passport("bob")), "{word:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_is_settled_when_the_write_has_ended_and_the_store_is_back() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob"]).await;
    world.store_is(Mood::Slow(Duration::from_secs(3)));
    let said = clients[0].msg(1, "A", TEXT, "one");
    clients[1].hears_msg("alice", "Alice", &said).await;
    clients[1].close();
    clients[0].hears("BYE bob@example.com\nACK 1\n").await;
    assert!(world.store.asked.lock().unwrap().is_empty());
    world.store_is(Mood::Failing);
    tokio::time::sleep(Duration::from_secs(100)).await;
    world.store_is(Mood::Well);
    world.store.was_asked(|asked| *asked == Asked::Remove(passport("bob"))).await;
}

#[tokio::test(start_paused = true)]
async fn rows_of_a_failed_write_are_written_with_the_next() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob"]).await;
    world.store_is(Mood::Failing);
    clients[0].msg(1, "A", TEXT, "one");
    clients[0].hears("NAK 1\n").await;
    world.store_is(Mood::Well);
    for trid in 2..4 {
        clients[0].msg(trid, "A", TEXT, "again");
        clients[0].hears(&format!("ACK {trid}\n")).await;
    }
    let rows: Vec<_> = world.written().iter().map(|w| (w.members.len(), w.participations.len())).collect();
    assert_eq!(rows, [(2, 1), (0, 0)]);
}

/// The way into the store is bounded: what does not fit is delivered all the same, and NAKed at once.
#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_costs_bounded_memory() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob"]).await;
    let (alice, bob) = (&clients[0], &clients[1]);
    bob.reads_at_most(usize::MAX);
    world.store_is(Mood::Slow(Duration::from_secs(3600)));
    let begun = tokio::time::Instant::now();
    let body = "x".repeat(1500);
    for trid in 0..8000 {
        alice.msg(trid, "N", TEXT, &body);
        if trid % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let refused = alice.line().await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let first: usize = refused.strip_prefix("NAK ").unwrap().parse().unwrap();
    assert!((7000..8000).contains(&first), "{refused}");
    assert!(world.board.metrics.pending_bytes.get() <= 16 * 1024 * 1024);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(world.board.metrics.pending_bytes.get(), 0);
    assert_eq!(world.board.metrics.pending_messages.get(), 0);
    for _ in 0..8000 {
        bob.skip("MSG alice@example.com Alice").await;
        bob.hears(&payload(TEXT, &body).replace("\r\n", "\n")).await;
    }
}
