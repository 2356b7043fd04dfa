//! Whose rows are picked up.

use std::time::Duration;

use common::model::{Generation, MessageId, NodeId, ParticipationId};
use common::store::Heartbeat;

use super::*;
use crate::pickup::Life;

#[tokio::test(start_paused = true)]
async fn rows_of_living_switchboards_are_left_alone() {
    let world = World::new();
    for (generation, life) in [(1, Life::Living), (2, Life::Superseded), (3, Life::Absent)] {
        world.peers.lives.lock().unwrap().insert(Generation(generation), life);
        let mut left = row(&world, "bob", generation, false);
        left.id = ParticipationId(made_ago(60_000 - generation));
        note(&world, &left);
        let sender = ["alice", "carol", "dave"][generation as usize - 1];
        said_as(&world, MessageId(made_ago(30_000 - generation)), &left, sender, "one");
    }
    let begun = tokio::time::Instant::now();
    asks(&world, "bob").await;
    let from_carol = answer(&world, 0, "bob", "carol").await;
    hears_time(&from_carol, "carol").await;
    from_carol.skip("MSG carol").await;
    from_carol.close();
    world.store.was_asked(|asked| *asked == Asked::Remove(passport("bob"))).await;
    let from_dave = answer(&world, 1, "bob", "dave").await;
    assert!(begun.elapsed() >= Duration::from_secs(7), "gossip may have lost it for a moment");
    hears_time(&from_dave, "dave").await;
    from_dave.skip("MSG dave").await;
    from_dave.close();
    world.store.was_asked(|asked| matches!(asked, Asked::Offline(..))).await;
    let left: Vec<u64> = world.store.rows.lock().unwrap().iter().map(|row| row.generation.0).collect();
    assert_eq!(left, [1, 3], "it may come back");
    assert_eq!(world.peers.have_picked_up(1).await, [(passport("bob"), EPOCH, true)]);
}

/// A switchboard that gossip has lost may be about to write something older than what history shows of it.
#[tokio::test(start_paused = true)]
async fn what_is_young_waits_while_its_switchboard_may_live() {
    let world = World::new();
    world.peers.lives.lock().unwrap().insert(Generation(1), Life::Absent);
    let mut left = row(&world, "bob", 1, false);
    left.id = ParticipationId(made_ago(60_000));
    note(&world, &left);
    let (_, old) = said_as(&world, MessageId(made_ago(30_000)), &left, "alice", "old");
    said(&world, &left, "alice", "young");
    asks(&world, "bob").await;
    let bob = answer(&world, 0, "bob", "alice").await;
    hears_time(&bob, "alice").await;
    bob.hears_msg("alice", "Alice", &old).await;
    bob.hears("BYE alice@example.com\n").await;
    bob.close();
    assert_eq!(world.peers.have_picked_up(1).await, [(passport("bob"), EPOCH, false)], "there is more");
    assert_eq!(world.peers.invited.lock().unwrap().len(), 1);
}

/// A switchboard that gossip has lost and whose heart beats serves people on the other side: what it has not delivered is
/// its own affair until it dies.
#[tokio::test(start_paused = true)]
async fn what_a_living_switchboard_holds_is_left_alone_though_gossip_has_lost_it() {
    let world = World::new();
    world.peers.lives.lock().unwrap().insert(Generation(1), Life::Absent);
    let mut held = row(&world, "bob", 1, false);
    held.id = ParticipationId(made_ago(60_000));
    note(&world, &held);
    said_as(&world, MessageId(made_ago(30_000)), &held, "alice", "one");
    let node = NodeId::parse("sb-9").unwrap();
    let beats = async |secs: u64, from: u64| {
        for count in (from..).take(secs as usize / 2) {
            let heart = Heartbeat { generation: Generation(1), count };
            world.store.hearts.lock().unwrap().insert(node.clone(), heart);
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    };
    asks(&world, "bob").await;
    beats(60, 1).await;
    // It is told to ask again, again and again, since nobody will tell of the end.
    assert_eq!(world.peers.have_picked_up(1).await, [(passport("bob"), EPOCH, false)]);
    asks(&world, "bob").await;
    beats(60, 100).await;
    assert_eq!(world.peers.have_picked_up(2).await.len(), 2);
    assert!(world.peers.invited.lock().unwrap().is_empty());
    assert_eq!(asked(&world), []);
    // Its heart stands still.
    let begun = tokio::time::Instant::now();
    while world.peers.invited.lock().unwrap().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        asks(&world, "bob").await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let bob = answer(&world, 0, "bob", "alice").await;
    hears_time(&bob, "alice").await;
    bob.hears_msg("alice", "Alice", &payload(TEXT, "one")).await;
}

/// A later life of the node that only the store knows of: nobody waits for the earlier one.
#[tokio::test(start_paused = true)]
async fn a_life_that_the_store_knows_to_be_over_is_over() {
    let world = World::new();
    world.peers.lives.lock().unwrap().insert(Generation(1), Life::Absent);
    let heart = Heartbeat { generation: Generation(2), count: 1 };
    world.store.hearts.lock().unwrap().insert(NodeId::parse("sb-9").unwrap(), heart);
    let left = row(&world, "bob", 1, false);
    note(&world, &left);
    said(&world, &left, "alice", "one");
    let begun = tokio::time::Instant::now();
    asks(&world, "bob").await;
    let bob = answer(&world, 0, "bob", "alice").await;
    assert!(begun.elapsed() < Duration::from_secs(7));
    hears_time(&bob, "alice").await;
    bob.skip("MSG alice").await;
    bob.close();
    world.store.was_asked(|asked| *asked == Asked::Remove(passport("bob"))).await;
}
