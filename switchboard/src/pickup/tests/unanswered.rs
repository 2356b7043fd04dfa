//! Rings in vain, and clients that come twice.

use std::sync::Arc;

use common::msnp::switchboard::Speaker;
use tokio::sync::watch;

use super::*;
use crate::handing::{Handed, Progress};

#[tokio::test(start_paused = true)]
async fn unanswered_it_stays_and_others_have_their_turn() {
    let world = World::new();
    let kept = row(&world, "bob", 1, true);
    note(&world, &kept);
    said(&world, &kept, "alice", "one");
    said(&world, &kept, "carol", "two");
    asks(&world, "bob").await;
    let begun = tokio::time::Instant::now();
    let (_, invitation) = ring(&world, 0).await;
    let late = world.answer("bob", invitation.conversation);
    let bob = answer(&world, 1, "bob", "carol").await;
    assert!(begun.elapsed() >= Duration::from_secs(60));
    hears_time(&bob, "carol").await;
    bob.skip("MSG carol").await;
    let too_late = world.connect();
    too_late.say(&late);
    too_late.hears("911 1\n").await;
    bob.close();
    assert_eq!(world.peers.have_picked_up(1).await, [(passport("bob"), EPOCH, true)]);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(asked(&world), [], "alice's is the first");
}

/// Something new is heard of in the same session: others are brought, who was not answered waits for the next one.
#[tokio::test(start_paused = true)]
async fn who_was_not_answered_waits_for_the_next_session() {
    let world = World::new();
    let kept = row(&world, "bob", 1, true);
    note(&world, &kept);
    said(&world, &kept, "alice", "one");
    asks(&world, "bob").await;
    assert_eq!(world.peers.have_picked_up(1).await, [(passport("bob"), EPOCH, true)]);
    assert_eq!(*world.peers.unanswered.lock().unwrap(), [passport("alice")]);
    for (sender, body) in [("alice", "two"), ("carol", "three")] {
        let kept = row(&world, "bob", 1, true);
        note(&world, &kept);
        said(&world, &kept, sender, body);
    }
    asks_but(&world, "bob", &["alice"]).await;
    let bob = answer(&world, 1, "bob", "carol").await;
    hears_time(&bob, "carol").await;
    bob.skip("MSG carol").await;
    assert_eq!(world.peers.have_picked_up(2).await[1], (passport("bob"), EPOCH, true));
    assert_eq!(world.peers.invited.lock().unwrap().len(), 2);
    assert_eq!(*world.peers.unanswered.lock().unwrap(), [passport("alice")]);
    // The next session is rung for all.
    let pick_up = Notice::PickUp { epoch: Epoch(8), unanswered: Vec::new(), reminder: false };
    world.desk.deliver(&passport("bob"), None, pick_up).await;
    let (_, invitation) = ring(&world, 2).await;
    assert_eq!((invitation.caller, invitation.kept.unwrap().session), (passport("alice"), Epoch(8)));
}

/// What is heard of while it is being rung changes nothing for those who were not answered before.
#[tokio::test(start_paused = true)]
async fn who_was_not_answered_is_not_rung_when_it_is_asked_for_again_meanwhile() {
    let world = World::new();
    let kept = row(&world, "bob", 1, true);
    note(&world, &kept);
    said(&world, &kept, "alice", "one");
    said(&world, &kept, "carol", "two");
    asks(&world, "bob").await;
    ring(&world, 1).await;
    asks(&world, "bob").await;
    world.peers.have_picked_up(1).await;
    let rung: Vec<_> = world.peers.invited.lock().unwrap().iter().map(|(_, ring)| ring.caller.clone()).collect();
    assert_eq!(rung, [passport("alice"), passport("carol")]);
}

/// A principal has joined by another connection meanwhile: what that one confirms says nothing of what the first one got.
#[tokio::test(start_paused = true)]
async fn a_message_is_handed_to_a_participation_not_to_its_principal() {
    let world = World::new();
    let (id, _alice) = world.open("alice").await;
    let first = world.join("bob", id).await;
    let conversation = world.board.conversations.find(id).unwrap();
    let before = conversation.participation_of(&passport("bob")).unwrap();
    let second = world.join("bob", id).await;
    first.is_closed().await;
    let now = conversation.participation_of(&passport("bob")).unwrap();
    assert_ne!(before, now);
    let said = payload(TEXT, "one");
    let spoken = Speaker::new(&passport("alice"), "Alice").says(&said.clone().into());
    let (told, mut progress) = watch::channel(Progress::default());
    let handed = |number, told: &Arc<_>| Handed { number, told: Arc::clone(told) };
    let told = Arc::new(told);
    conversation.hand(before, &spoken, handed(1, &told));
    second.hears_nothing().await;
    conversation.hand(now, &spoken, handed(1, &told));
    drop(told);
    second.hears_msg("alice", "Alice", &said).await;
    second.close();
    while progress.changed().await.is_ok() {}
    assert_eq!(*progress.borrow(), Progress { confirmed: 1, delivered: 1 });
}
