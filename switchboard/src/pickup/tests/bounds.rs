//! How much is held at a time, and that the rest follows.

use std::collections::HashSet;
use std::sync::atomic::Ordering;

use tokio::sync::Semaphore;

use super::*;
use crate::pickup::lives::Left;
use crate::pickup::plan::{self, Letter, Plan};
use crate::pickup::shelf::{Budget, Shelf};
use crate::pickup::{Life, PAGES};
use crate::testing::Mood;

/// Bob answers the ring of that number and reads until alice's messages end: the next of the `expected`, in order. Says how many.
async fn reads(world: &World, number: usize, expected: &[String]) -> (Client, usize) {
    let bob = answer(world, number, "bob", "alice").await;
    hears_time(&bob, "alice").await;
    let mut got = 0;
    while bob.line().await != "BYE alice@example.com" {
        assert!(bob.bytes(expected[got].len()).await == expected[got], "{got} of ring {number}");
        got += 1;
    }
    (bob, got)
}

/// All of it comes, in however many rings. Returns how many it took.
async fn reads_all(world: &World, expected: &[String]) -> usize {
    let (mut got, mut rings) = (0, 0);
    while got < expected.len() {
        let (bob, count) = reads(world, rings, &expected[got..]).await;
        (got, rings) = (got + count, rings + 1);
        bob.close();
        bob.is_closed().await;
    }
    rings
}

/// More than fits into a mailbox, a window or a plan comes whole and in order, and each once.
#[tokio::test(start_paused = true)]
async fn much_comes_in_parts() {
    let world = World::new();
    let kept = row(&world, "bob", 1, true);
    note(&world, &kept);
    let body = "x".repeat(1000);
    let expected: Vec<_> = (0..700).map(|n| said(&world, &kept, "alice", &format!("{n} {body}")).1).collect();
    asks(&world, "bob").await;
    let rings = reads_all(&world, &expected).await;
    world.store.was_asked(|asked| *asked == Asked::Remove(passport("bob"))).await;
    assert!(rings > 1, "{rings}");
    assert_eq!(world.board.metrics.overflows.get(), 0);
}

/// A row is read a little further each time, whatever fills its first channel, and rows of which nothing can be brought
/// don't keep the others from being looked at.
#[tokio::test(start_paused = true)]
async fn a_full_channel_keeps_nothing_else_waiting() {
    let world = World::new();
    // Rows of switchboards that gossip has lost stay, and have nothing more.
    for _ in 0..70 {
        note(&world, &row(&world, "bob", 1, false));
    }
    let mut kept = row(&world, "bob", 1, true);
    let (full, small) = (*kept.channels.first().unwrap(), ChannelId(Uuid::max()));
    kept.channels.insert(small);
    note(&world, &kept);
    let body = "x".repeat(1000);
    let mut expected: Vec<_> = (0..600).map(|n| said(&world, &kept, "alice", &format!("{n} {body}")).1).collect();
    let pair = Participation { channels: BTreeSet::from([small]), ..kept.clone() };
    expected.push(said(&world, &pair, "alice", "the last").1);
    assert_eq!(kept.channels.first(), Some(&full));
    world.peers.lives.lock().unwrap().insert(Generation(1), Life::Absent);
    asks(&world, "bob").await;
    reads_all(&world, &expected).await;
    world.store.was_asked(|asked| *asked == Asked::Remove(passport("bob"))).await;
}

/// The greatest `limits.message`.
const LARGEST: usize = 64 * 1024;
const LARGE: usize = LARGEST - 100;

/// What a reading finds behind what is known.
async fn read(world: &World, known: &HashSet<Uuid>) -> Plan {
    let places = Semaphore::new(1);
    let shelf = Shelf { store: &*world.store, places: &places };
    plan::read(&shelf, &passport("bob"), None, |_| Left::ForGood, |id| known.contains(&id)).await.unwrap()
}

/// Plan after plan is within the bound, and together they have it all, each once.
async fn has_all_within_bounds(world: &World, count: usize) {
    let mut known = HashSet::new();
    while known.len() < count {
        let plan = read(world, &known).await;
        let held: usize = plan.letters.iter().map(Letter::cost).sum();
        assert!((1..=Budget::BYTES + LARGEST).contains(&held), "{held} after {}", known.len());
        assert_eq!(plan.more, known.len() + plan.letters.len() < count, "{}", known.len());
        for letter in plan.letters {
            assert!(known.insert(letter.id));
        }
    }
    assert_eq!(known.len(), count);
}

#[tokio::test(start_paused = true)]
async fn a_plan_is_bounded_in_bytes_whatever_a_page_holds() {
    let (world, body) = (World::new(), "x".repeat(LARGE));
    let kept = row(&world, "bob", 1, true);
    note(&world, &kept);
    for _ in 0..40 {
        said(&world, &kept, "alice", &body);
    }
    has_all_within_bounds(&world, 40).await;
}

/// Of several channels the oldest are taken, whichever they are in.
#[tokio::test(start_paused = true)]
async fn a_plan_is_bounded_in_bytes_however_many_channels_there_are() {
    let (world, body) = (World::new(), "x".repeat(LARGE));
    let mut kept = row(&world, "bob", 1, true);
    let channels: Vec<_> = (0..10).map(|_| channel(&world)).collect();
    let mut order = Vec::new();
    for turn in 0..30 {
        let part = Participation { channels: BTreeSet::from([channels[turn * 7 % 10]]), ..kept.clone() };
        order.push(said(&world, &part, "alice", &body).0.0);
    }
    kept.channels = channels.into_iter().collect();
    note(&world, &kept);
    let plan = read(&world, &HashSet::new()).await;
    let taken: Vec<_> = plan.letters.iter().map(|letter| letter.id).collect();
    assert!(taken.len() >= 3 && taken == order[..taken.len()], "{}", taken.len());
    has_all_within_bounds(&world, 30).await;
}

#[tokio::test(start_paused = true)]
async fn a_plan_is_bounded_in_bytes_whatever_the_inbox_holds() {
    let (world, body) = (World::new(), "x".repeat(LARGE));
    let kept = row(&world, "bob", 1, true);
    note(&world, &kept);
    for _ in 0..3 {
        said(&world, &kept, "alice", &body);
    }
    *world.store.letters.lock().unwrap() = (0..30).map(|n| letter(60_000 - n, &body)).collect();
    has_all_within_bounds(&world, 33).await;
}

/// However many sign in at once, only so many pages are in memory.
#[tokio::test(start_paused = true)]
async fn pages_are_bounded_for_the_whole_process() {
    let world = World::new();
    for number in 0..100 {
        let kept = row(&world, &format!("bob{number}"), 1, true);
        note(&world, &kept);
        said(&world, &kept, "blocked", "one");
    }
    world.store_is(Mood::Slow(Duration::from_millis(100)));
    for number in 0..100 {
        asks(&world, &format!("bob{number}")).await;
    }
    world.peers.have_picked_up(100).await;
    let most = world.store.most_pages.load(Ordering::Relaxed);
    assert!((2..=PAGES).contains(&most), "{most}");
}

/// The bytes end a page of the inbox, not the count: the rest is read all the same, though nothing is certain to be
/// delivered meanwhile.
#[tokio::test(start_paused = true)]
async fn an_inbox_is_read_to_its_end_whatever_ends_a_page() {
    let (world, body) = (World::new(), "x".repeat(10_000));
    let letters: Vec<_> = (0..80).map(|n| letter(60_000 - n, &format!("{n} {body}"))).collect();
    *world.store.letters.lock().unwrap() = letters.clone();
    asks(&world, "bob").await;
    let expected: Vec<_> =
        letters.iter().map(|letter| String::from_utf8(letter.payload.to_vec()).unwrap()).collect();
    let (mut got, mut clients) = (0, Vec::new());
    while got < expected.len() {
        let (bob, count) = reads(&world, clients.len(), &expected[got..]).await;
        got += count;
        clients.push(bob);
    }
    assert_eq!(world.peers.have_picked_up(1).await, [(passport("bob"), EPOCH, true)]);
    assert_eq!(asked(&world), [], "nothing is certain");
}
