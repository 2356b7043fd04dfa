//! Calls whose callee comes before the answer of its session does; and the places of those who are rung.

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::cluster::{Deliver, Notice, Outcome};
use common::model::ConversationId;

use crate::testing::{Client, World, passport};

/// The session's answer and the callee come by different ways.
#[tokio::test(start_paused = true)]
async fn the_reply_comes_before_who_was_called() {
    let world = World::new();
    let (id, alice) = world.open("alice").await;
    let session = world.board.conversations.find(id).unwrap().session;
    // What is said behind a call that waits goes on with its reply.
    alice.say("CAL 2 slow-bob@example.com\nCAL 3 offline@example.com\n");
    rung(&world, 1).await;
    let begun = tokio::time::Instant::now();
    let bob = world.join("slow-bob", id).await;
    alice.hears(&format!("CAL 2 RINGING {session}\nJOI slow-bob@example.com Slow-bob\n217 3\n")).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    // Nothing comes of the answer that is late: it would be 217.
    tokio::time::sleep(Duration::from_secs(3)).await;
    alice.say("CAL 4 slow-bob@example.com\n");
    alice.hears("215 4\n").await;
    bob.say("OUT\n");
    alice.hears("BYE slow-bob@example.com\n").await;
}

#[tokio::test(start_paused = true)]
async fn who_comes_answers_all_who_have_called_it() {
    let world = World::new();
    let (id, alice) = world.open("alice").await;
    let carol = world.join("carol", id).await;
    let dave = world.join("dave", id).await;
    alice.hears("JOI carol@example.com Carol\nJOI dave@example.com Dave\n").await;
    carol.skip("JOI").await;
    let session = world.board.conversations.find(id).unwrap().session;
    alice.say("CAL 2 bob@example.com\n");
    alice.hears(&format!("CAL 2 RINGING {session}\n")).await;
    // Two ask whether it may be rung again, and nobody says.
    world.peers.is_mute.store(true, Ordering::Relaxed);
    carol.say("CAL 2 bob@example.com\n");
    dave.say("CAL 3 bob@example.com\n");
    rung(&world, 3).await;
    let bob = world.join("bob", id).await;
    alice.hears("JOI bob@example.com Bob\n").await;
    carol.hears(&format!("CAL 2 RINGING {session}\nJOI bob@example.com Bob\n")).await;
    dave.hears(&format!("CAL 3 RINGING {session}\nJOI bob@example.com Bob\n")).await;
    // It goes, and is rung anew.
    bob.say("OUT\n");
    for client in [&alice, &carol, &dave] {
        client.hears("BYE bob@example.com\n").await;
    }
    world.peers.is_mute.store(false, Ordering::Relaxed);
    alice.say("CAL 4 bob@example.com\n");
    alice.hears(&format!("CAL 4 RINGING {session}\n")).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let again = |at: usize| world.peers.invited.lock().unwrap()[at].1.again;
    carol.say("CAL 5 bob@example.com\n");
    carol.hears("215 5\n").await;
    assert!(!again(3) && again(4), "it was still known as rung");
}

/// Whoever was there before the call is not its answer, however late that is seen.
#[tokio::test(start_paused = true)]
async fn who_came_before_the_call_does_not_answer_it() {
    let world = World::new();
    let (id, alice) = world.open("alice").await;
    let session = world.board.conversations.find(id).unwrap().session;
    // Carol is brought what was kept for her, and takes up nothing else meanwhile.
    world.doorman.kept_first.store(true, Ordering::Relaxed);
    world.peers.brings.store(true, Ordering::Relaxed);
    let carol = world.join("carol", id).await;
    world.doorman.kept_first.store(false, Ordering::Relaxed);
    alice.skip("JOI").await;
    let bob = world.join("slow-bob", id).await;
    bob.say("OUT\n");
    alice.hears("JOI slow-bob@example.com Slow-bob\nBYE slow-bob@example.com\n").await;
    carol.say("CAL 2 slow-bob@example.com\n");
    rung(&world, 1).await;
    world.peers.brings.store(false, Ordering::Relaxed);
    carol.hears("JOI slow-bob@example.com Slow-bob\nBYE slow-bob@example.com\n").await;
    let _bob = world.join("slow-bob", id).await;
    carol.hears(&format!("CAL 2 RINGING {session}\nJOI slow-bob@example.com Slow-bob\n")).await;
}

/// A call that is answered by who comes is no failing one.
#[tokio::test(start_paused = true)]
async fn who_comes_ends_the_row_of_failing_calls() {
    let world = World::new();
    let (id, alice) = world.open("alice").await;
    for round in 0..3 {
        for _ in 0..4 {
            alice.say("CAL 2 offline@example.com\n");
            alice.hears("217 2\n").await;
        }
        alice.say("CAL 3 slow-bob@example.com\n");
        rung(&world, 5 * (round + 1)).await;
        let bob = world.join("slow-bob", id).await;
        alice.skip("CAL 3 RINGING").await;
        bob.say("OUT\n");
        alice.hears("JOI slow-bob@example.com Slow-bob\nBYE slow-bob@example.com\n").await;
    }
}

/// Waits until so many invitations have been sent.
async fn rung(world: &World, count: usize) {
    while world.peers.invited.lock().unwrap().len() < count {
        tokio::task::yield_now().await;
    }
}

/// A conversation of alice and four who are rung: it is full. Whom those who are rung have as ring numbers.
async fn full(world: &World) -> (ConversationId, Client, Vec<u64>) {
    let (id, alice) = world.open("alice").await;
    for (trid, name) in ["bob", "carol", "dave", "erin"].into_iter().enumerate() {
        alice.say(&format!("CAL {trid} {name}@example.com\n"));
        alice.skip(&format!("CAL {trid} RINGING")).await;
    }
    let numbers = world.peers.invited.lock().unwrap().iter().map(|(_, ring)| ring.ring).collect();
    (id, alice, numbers)
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_frees_its_place() {
    let world = World::new();
    let (conversation, alice, numbers) = full(&world).await;
    let over = async |who: &str, ring| {
        world.desk.deliver(&passport(who), None, Notice::RingOver { conversation, ring }).await
    };
    alice.say("CAL 5 frank@example.com\n");
    alice.hears("712 5\n").await;
    assert_eq!(over("nobody", numbers[0]).await, Outcome::Accepted);
    alice.say("CAL 6 frank@example.com\n");
    alice.hears("712 6\n").await;
    over("bob", numbers[0]).await;
    alice.say("CAL 7 frank@example.com\n");
    alice.skip("CAL 7 RINGING").await;
    // It is back, and another one goes. Word of its first session that is late takes nothing from it.
    over("carol", numbers[1]).await;
    alice.say("CAL 8 bob@example.com\n");
    alice.skip("CAL 8 RINGING").await;
    over("bob", numbers[0]).await;
    alice.say("CAL 9 grace@example.com\n");
    alice.hears("712 9\n").await;
    // The same for one that goes while it is called again.
    world.peers.are_new.store(true, Ordering::Relaxed);
    alice.say("CAL 10 dave@example.com\n");
    alice.skip("CAL 10 RINGING").await;
    over("dave", numbers[2]).await;
    alice.say("CAL 11 grace@example.com\n");
    alice.hears("712 11\n").await;
    drop(alice);
    let gone = ConversationId(uuid::Uuid::nil());
    let lost = world.desk.deliver(&passport("bob"), None, Notice::RingOver { conversation: gone, ring: 1 }).await;
    assert_eq!(lost, Outcome::Refused);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_finds_no_room_asks_whether_those_who_are_rung_still_are() {
    let world = World::new();
    let (_, alice, _) = full(&world).await;
    let asked = || world.peers.asked_rung.lock().unwrap().len();
    alice.say("CAL 5 frank@example.com\n");
    alice.hears("712 5\n").await;
    assert_eq!(asked(), 4);
    // The word of a session's end was lost. They are not asked at each call.
    world.peers.not_rung.lock().unwrap().push(passport("dave"));
    alice.say("CAL 6 frank@example.com\n");
    alice.hears("712 6\n").await;
    assert_eq!(asked(), 4);
    tokio::time::sleep(Duration::from_secs(5)).await;
    alice.say("CAL 7 frank@example.com\nCAL 8 dave@example.com\n");
    alice.skip("CAL 7 RINGING").await;
    alice.hears("712 8\n").await;
    assert_eq!(asked(), 8);
    // Where nobody says anything it takes a second, and all keep their places.
    world.peers.is_mute.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let begun = tokio::time::Instant::now();
    alice.say("CAL 9 grace@example.com\n");
    alice.hears("712 9\n").await;
    assert_eq!(begun.elapsed().as_millis() / 10, 100);
}

/// Whoever comes answers the call that waits for room as well.
#[tokio::test(start_paused = true)]
async fn who_comes_answers_a_call_that_waits_for_room() {
    let world = World::new();
    let (id, alice, _) = full(&world).await;
    world.peers.is_mute.store(true, Ordering::Relaxed);
    alice.say("CAL 5 frank@example.com\n");
    while world.peers.asked_rung.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let _frank = world.join("frank", id).await;
    alice.skip("CAL 5 RINGING").await;
    alice.hears("JOI frank@example.com Frank\n").await;
}

/// Calls that are refused cost something too: who sends them at the speed of its line waits.
#[tokio::test(start_paused = true)]
async fn refusals_are_not_given_at_the_speed_of_the_line() {
    let world = World::new();
    let (_, alice) = world.open("alice").await;
    alice.reads_at_most(1 << 20);
    let begun = tokio::time::Instant::now();
    for trid in 0..1100 {
        // Each second one can't be read.
        alice.say(&if trid % 2 == 0 { format!("CAL {trid} nobody\n") } else { format!("MSG {trid}  1\nx") });
    }
    for trid in 0..1100 {
        if trid == 1000 {
            assert!(begun.elapsed().as_millis() < 100, "{:?}", begun.elapsed());
        }
        let line = alice.line().await;
        assert!(["NAK", "208", "713"].iter().any(|code| line == format!("{code} {trid}")), "{line}");
    }
    assert_eq!(begun.elapsed().as_secs(), 10);
}
