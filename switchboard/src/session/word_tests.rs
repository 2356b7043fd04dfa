//! What the notification session of the same client knows: when it was heard there, and whether what was kept has been brought.

use std::sync::atomic::Ordering;
use std::time::Duration;

use common::model::MessageId;
use tokio::time::{Instant, sleep};

use crate::testing::{Asked, Client, World, passport};

const TEXT: &str = "text/plain; charset=UTF-8";

/// Alice says something to bob, who confirms it; ten seconds later something else, and after twenty he is reset.
async fn listens_and_is_reset(world: &World) -> Vec<MessageId> {
    let clients = world.chat(&["alice", "bob"]).await;
    let mut ids = Vec::new();
    for trid in 1..=2 {
        let said = clients[0].msg(trid, "A", TEXT, "hello");
        clients[0].hears(&format!("ACK {trid}\n")).await;
        clients[1].hears_msg("alice", "Alice", &said).await;
        ids.push(world.written().last().unwrap().message.id);
        sleep(Duration::from_secs(10)).await;
    }
    clients[1].reset();
    ids
}

/// How bob's row ends.
async fn ends(world: &World) -> Asked {
    world.store.was_asked(|asked| !matches!(asked, Asked::Cursor(..))).await
}

#[tokio::test(start_paused = true)]
async fn a_silent_listener_that_was_heard_elsewhere_has_read_what_it_had_five_seconds_before() {
    for (heard, read) in [(None, 0), (Some(4), 0), (Some(7), 1), (Some(14), 1), (Some(17), 2), (Some(20), 2)] {
        let world = World::new();
        *world.peers.heard.lock().unwrap() = heard.map(|secs| Instant::now() + Duration::from_secs(secs));
        let ids = listens_and_is_reset(&world).await;
        let expected = match read {
            0 => Asked::Close(passport("bob"), None),
            1 => Asked::Close(passport("bob"), Some(ids[0])),
            _ => Asked::Remove(passport("bob")),
        };
        assert_eq!(ends(&world).await, expected, "heard after {heard:?} seconds");
        assert_eq!(world.peers.asked.load(Ordering::Relaxed), 1, "at its end");
    }
}

/// Both connections may break at once: by then it is mostly known. Who says something is not asked about, nor who was said nothing to.
#[tokio::test(start_paused = true)]
async fn it_is_asked_from_time_to_time_while_something_is_unsure() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob"]).await;
    let asked = || world.peers.asked.load(Ordering::Relaxed);
    let says = async |trid: u32| {
        let said = clients[0].msg(trid, "A", TEXT, "hello");
        clients[0].hears(&format!("ACK {trid}\n")).await;
        clients[1].hears_msg("alice", "Alice", &said).await;
    };
    sleep(Duration::from_secs(100)).await;
    assert_eq!(asked(), 0);
    says(1).await;
    sleep(Duration::from_secs(100)).await;
    assert_eq!(asked(), 3);
    *world.peers.heard.lock().unwrap() = Some(Instant::now());
    sleep(Duration::from_secs(100)).await;
    assert_eq!(asked(), 4, "that was enough");
    says(2).await;
    sleep(Duration::from_secs(5)).await;
    clients[1].say("CAL 5 nobody\n");
    clients[1].hears("208 5\n").await;
    sleep(Duration::from_secs(100)).await;
    assert_eq!(asked(), 4, "it has said something itself");
    *world.peers.heard.lock().unwrap() = None;
    clients[1].reset();
    assert_eq!(ends(&world).await, Asked::Remove(passport("bob")));
}

/// A listener whose notification server says nothing, or too late, is one that was not heard.
#[tokio::test(start_paused = true)]
async fn no_word_is_no_word() {
    let world = World::new();
    world.peers.is_mute.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    listens_and_is_reset(&world).await;
    assert_eq!(ends(&world).await, Asked::Close(passport("bob"), None));
    assert!(begun.elapsed() < Duration::from_secs(24), "{:?}", begun.elapsed());
}

/// Bob joins while he is being brought what was kept.
async fn joins(world: &World) -> (Client, Client) {
    world.peers.brings.store(true, Ordering::Relaxed);
    let (id, alice) = world.open("alice").await;
    world.doorman.kept_first.store(true, Ordering::Relaxed);
    let bob = world.join("bob", id).await;
    alice.skip("JOI").await;
    (alice, bob)
}

#[tokio::test(start_paused = true)]
async fn what_is_new_comes_behind_what_was_kept() {
    let world = World::new();
    let (alice, bob) = joins(&world).await;
    let begun = Instant::now();
    let said = alice.msg(1, "A", TEXT, "new");
    alice.hears("ACK 1\n").await;
    sleep(Duration::from_secs(1)).await;
    // It waits, what concerns himself does not.
    bob.hears_nothing().await;
    world.peers.brings.store(false, Ordering::Relaxed);
    bob.hears_msg("alice", "Alice", &said).await;
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
    let next = alice.msg(2, "A", TEXT, "and now at once");
    bob.hears_msg("alice", "Alice", &next).await;
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_what_was_kept_is_not_given_up_for_it() {
    let world = World::new();
    world.peers.brings.store(true, Ordering::Relaxed);
    let (id, alice) = world.open("alice").await;
    // Among three nobody may hold up the others for two seconds.
    let carol = world.join("carol", id).await;
    world.doorman.kept_first.store(true, Ordering::Relaxed);
    let bob = world.join("bob", id).await;
    alice.skip("JOI carol@example.com").await;
    alice.skip("JOI bob@example.com").await;
    let text = "x".repeat(1500);
    let burst: Vec<String> = (0..100).map(|trid| alice.msg(trid, "U", TEXT, &text)).collect();
    carol.skip("JOI bob@example.com").await;
    for said in &burst {
        bob.hears_msg("alice", "Alice", said).await;
        carol.hears_msg("alice", "Alice", said).await;
    }
    alice.msg(200, "A", TEXT, "still there");
    alice.skip("ACK 200").await;
}

#[tokio::test(start_paused = true)]
async fn what_is_new_waits_two_seconds_at_most() {
    for mute in [false, true] {
        let world = World::new();
        world.peers.is_mute.store(mute, Ordering::Relaxed);
        let begun = Instant::now();
        let (alice, bob) = joins(&world).await;
        let said = alice.msg(1, "A", TEXT, "new");
        bob.hears_msg("alice", "Alice", &said).await;
        let waited = begun.elapsed();
        assert!((Duration::from_secs(2)..Duration::from_millis(2100)).contains(&waited), "{waited:?}");
        // What it says itself does not wait, nor does its leaving.
        let (alice, bob) = joins(&world).await;
        bob.msg(7, "U", TEXT, "hello");
        alice.skip("MSG bob@example.com").await;
        alice.msg(8, "A", TEXT, "last");
        bob.say("OUT\n");
        bob.skip("MSG alice@example.com").await;
    }
}
