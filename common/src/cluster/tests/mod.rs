//! Several nodes on loopback, each in a runtime of its own, so that it can die without a word.

mod guesses;
mod orders;
mod standing;
mod twins;
mod world;

use std::sync::Arc;
use std::time::{Duration, Instant};

use world::{Node, World, notice, passport, soon};

use super::{Cluster, Gap, Invitation, Mark, Notice, Outcome, Role, Stamp, Watcher};
use crate::model::{ConversationId, Epoch, Generation, NodeId};

const PATIENCE: Duration = Duration::from_secs(2);

fn invitation() -> Notice {
    Notice::Invite(Invitation {
        conversation: ConversationId(uuid::Uuid::from_u128(1)),
        session: 100_000,
        switchboard: NodeId::parse("sb-1").unwrap(),
        generation: Generation(1),
        addr: ([127, 0, 0, 1], 1865).into(),
        caller: passport("caller"),
        caller_name: "Caller".into(),
        again: false,
        ring: 1,
        kept: None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_find_their_way_from_every_tier() {
    let mut world = World::default();
    for (name, role) in [
        ("ns-1", Role::Notification),
        ("ns-2", Role::Notification),
        ("ns-3", Role::Notification),
        ("sb-1", Role::Switchboard),
        ("ds-1", Role::Dispatch),
    ] {
        world.start(name, role).await;
    }
    world.settle().await;
    // With three nodes some sessions are at an owner and some at neither.
    for number in 0..12 {
        let holder = ["ns-1", "ns-2", "ns-3"][number % 3];
        world.node(holder).sign_in(&number.to_string()).await;
    }
    for node in world.nodes() {
        for number in 0..12 {
            let holder = world.node(["ns-1", "ns-2", "ns-3"][number % 3]);
            let outcome = node.cluster.route(&passport(&number.to_string()), notice(node.id(), 1), PATIENCE).await;
            assert_eq!(outcome, Outcome::Accepted, "{} to {number}", node.id());
            assert_eq!(holder.hub.heard(&number.to_string(), node.id()), [1]);
        }
        let nobody = node.cluster.route(&passport("nobody"), notice(node.id(), 1), PATIENCE).await;
        assert_eq!(nobody, Outcome::NotHere, "from {}", node.id());
    }
    // To a node itself, of any tier; it says what it makes of it.
    let (sb, there) = (world.node("sb-1"), world.node("ns-2"));
    let there = sb.cluster.view().node(there.cluster.id()).unwrap().clone();
    for (name, expected) in [("1", Outcome::Accepted), ("0", Outcome::NotHere)] {
        let outcome = sb.cluster.hand(&there, &passport(name), notice("hand", 9), PATIENCE).await;
        assert_eq!(outcome, expected, "{name}");
    }
    assert_eq!(world.node("ns-2").hub.heard("1", "hand"), [9]);
    let gone = super::Node { generation: Generation(there.generation.0 + 1), ..there };
    let outcome = sb.cluster.hand(&gone, &passport("1"), notice("hand", 9), PATIENCE).await;
    assert_eq!(outcome, Outcome::Unknown, "that life is not known");
    // An invitation is answered by the session itself, and a slow one delays nobody.
    let (sb, slow) = (world.node("sb-1"), world.node("ns-2"));
    slow.hub.answer("1", Outcome::Refused, Duration::from_millis(700));
    let asked = Instant::now();
    let (one, four) = (passport("1"), passport("4"));
    let (slow_one, quick_one) = tokio::join!(sb.cluster.route(&one, invitation(), PATIENCE), async {
        let outcome = sb.cluster.route(&four, invitation(), PATIENCE).await;
        (outcome, asked.elapsed())
    });
    assert_eq!((slow_one, quick_one.0), (Outcome::Refused, Outcome::Accepted));
    assert!(quick_one.1 < Duration::from_millis(500), "{quick_one:?}");
    slow.hub.answer("1", Outcome::Accepted, Duration::from_secs(60));
    let outcome = sb.cluster.route(&passport("1"), invitation(), Duration::from_millis(300)).await;
    assert_eq!(outcome, Outcome::Unknown, "patience has an end");
    // A session that ends is nowhere, at once.
    world.node("ns-1").sign_out("0").await;
    soon("sign-out", || async {
        sb.cluster.route(&passport("0"), notice("sb-1", 2), PATIENCE).await == Outcome::NotHere
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posted_notices_arrive_in_order() {
    let mut world = World::default();
    world.start("ns-1", Role::Notification).await;
    world.start("ns-2", Role::Notification).await;
    world.start("sb-1", Role::Switchboard).await;
    world.settle().await;
    let place = world.node("ns-2").sign_in("bob").await;
    world.node("ns-1").sign_in("carol").await;
    const COUNT: usize = 400;
    for node in world.nodes() {
        for number in 0..COUNT {
            let both = ["bob", "carol", "nobody"].map(|name| (passport(name), notice(node.id(), number)));
            node.cluster.post(both.into());
        }
    }
    let expected: Vec<usize> = (0..COUNT).collect();
    for node in world.nodes() {
        for (holder, name) in [("ns-2", "bob"), ("ns-1", "carol")] {
            let hub = &world.node(holder).hub;
            soon("all have come", || async { hub.heard(name, node.id()).len() >= COUNT }).await;
            assert_eq!(hub.heard(name, node.id()), expected, "{name} from {}", node.id());
        }
    }
    // Straight to a known place, and to one that is over.
    for number in COUNT..COUNT + 50 {
        for node in ["ns-1", "ns-2"] {
            let letters = vec![(passport("bob"), place.epoch, notice(node, number))];
            world.node(node).cluster.post_to(&place.node, place.generation, letters);
        }
    }
    let hub = &world.node("ns-2").hub;
    soon("all have come", || async { hub.heard("bob", "ns-1").len() == COUNT + 50 }).await;
    assert_eq!(hub.heard("bob", "ns-1"), (0..COUNT + 50).collect::<Vec<_>>());
    assert_eq!(hub.heard("bob", "ns-2"), (0..COUNT + 50).collect::<Vec<_>>());
    let earlier = vec![(passport("bob"), Epoch(1), notice("ns-1", 999))];
    world.node("ns-1").cluster.post_to(&place.node, place.generation, earlier);
    world.node("ns-1").cluster.post(vec![(passport("bob"), notice("ns-1", 1000))]);
    soon("the marker", || async { hub.heard("bob", "ns-1").last() == Some(&1000) }).await;
    assert!(!hub.heard("bob", "ns-1").contains(&999), "for another session");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_sign_ins_at_once_exactly_one_remains() {
    let mut world = World::default();
    for name in ["ns-1", "ns-2", "ns-3"] {
        world.start(name, Role::Notification).await;
    }
    world.settle().await;
    let first = world.node("ns-1").sign_in("alice").await;
    world.node("ns-2").sign_in("alice").await;
    soon("the first is told", || async { !world.node("ns-1").hub.has("alice") }).await;
    assert!(world.node("ns-2").hub.has("alice"));
    // A late good-bye of the first harms nobody.
    world.node("ns-1").cluster.unregister(&passport("alice"), first.endpoint, first.epoch);
    for node in world.nodes() {
        assert_eq!(
            node.cluster.route(&passport("alice"), notice(node.id(), 1), PATIENCE).await,
            Outcome::Accepted
        );
    }
    for round in 0..20 {
        let name = format!("racer{round}");
        let sign_ins = world.nodes().map(|node| {
            let (node, name) = (Arc::clone(node), name.clone());
            tokio::spawn(async move { node.sign_in(&name).await })
        });
        for sign_in in sign_ins.collect::<Vec<_>>() {
            sign_in.await.unwrap();
        }
        soon("one remains", || async { world.nodes().filter(|node| node.hub.has(&name)).count() == 1 }).await;
        let outcome = world.node("ns-1").cluster.route(&passport(&name), notice("ns-1", 1), PATIENCE).await;
        assert_eq!(outcome, Outcome::Accepted, "and is found");
        let heard = world.nodes().filter(|node| node.hub.heard(&name, "ns-1") == [1]).count();
        assert_eq!(heard, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_is_lost_in_time_and_its_share_is_known_elsewhere() {
    let mut world = World::default();
    for name in ["ns-1", "ns-2", "ns-3"] {
        world.start(name, Role::Notification).await;
    }
    world.start("sb-1", Role::Switchboard).await;
    world.settle().await;
    for number in 0..30 {
        world.node(["ns-1", "ns-3"][number % 2]).sign_in(&number.to_string()).await;
    }
    world.node("ns-2").sign_in("lost").await;
    // As long as rounds are few, phi is cautious.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let died = Instant::now();
    world.kill("ns-2");
    let sb = world.node("sb-1");
    let id = NodeId::parse("ns-2").unwrap();
    soon("it is lost", || async { sb.cluster.view().node(&id).is_none() }).await;
    assert!(died.elapsed() <= Duration::from_secs(3), "{:?}", died.elapsed());
    for number in 0..30 {
        let outcome = sb.cluster.route(&passport(&number.to_string()), notice("sb-1", 1), PATIENCE).await;
        assert_eq!(outcome, Outcome::Accepted, "{number}");
    }
    world.settle().await;
    assert_eq!(sb.cluster.route(&passport("lost"), notice("sb-1", 1), PATIENCE).await, Outcome::NotHere);
    let entries: usize = world.nodes().map(|node| node.entries()).sum();
    assert_eq!(entries, 60, "each of 30 sessions at both remaining nodes");
    assert_eq!(world.node("ns-1").hub.reannounced(), 0, "nothing was missing that should have been there");
    // It comes back in another life: what it owns moves to it, and it is somebody else than before.
    world.start("ns-2", Role::Notification).await;
    world.settle().await;
    let outcome = world.node("ns-2").cluster.route(&passport("0"), notice("ns-2", 2), PATIENCE).await;
    assert_eq!(outcome, Outcome::Accepted);
    assert_eq!(
        world.node("ns-2").cluster.route(&passport("lost"), notice("x", 1), PATIENCE).await,
        Outcome::NotHere
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_stay_outside() {
    let mut world = World::default();
    world.start("ns-1", Role::Notification).await;
    let other_secret = world.start_with("ns-2", Role::Notification, &[9], 1).await;
    let other_store = world.start_with("ns-3", Role::Notification, &[1], 2).await;
    let rotating = world.start_with("ns-4", Role::Notification, &[1, 2], 1).await;
    let ours = world.node("ns-1");
    let seen = |node: &Node| node.cluster.view().all().map(|node| node.id.to_string()).collect::<Vec<_>>();
    soon("they meet", || async { seen(ours).len() == 2 && seen(&rotating).len() == 2 }).await;
    soon("it is dropped", || async { ours.metric("dropped_datagrams_total{why=\"foreign\"}") > 0 }).await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(seen(ours), ["ns-1", "ns-4"]);
    assert_eq!(seen(&other_secret), ["ns-2"]);
    assert_eq!(seen(&other_store), ["ns-3"]);
    // The secret that ns-1 shares with ns-4 is enough for links, too.
    ours.sign_in("alice").await;
    soon("the link is up", || async {
        rotating.cluster.route(&passport("alice"), notice("ns-4", 1), PATIENCE).await == Outcome::Accepted
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_from_one_address_leaves_places_to_others() {
    let mut world = World::default();
    world.start("ns-1", Role::Notification).await;
    let ours = &Arc::clone(world.node("ns-1"));
    let dial = |last: u8| async move {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, last], 0).into()).unwrap();
        socket.connect(ours.cluster.peer_addr()).await.unwrap()
    };
    let refused = || ours.metric("refused_links_total");
    let mut crowd = Vec::new();
    for _ in 0..64 {
        crowd.push(dial(2).await);
    }
    soon("most give way to the next ones", || async { refused() == 56 }).await;
    let _quiet = dial(3).await;
    crowd.push(dial(2).await);
    // They are looked at one after the other: if the one from elsewhere had given way, it would be counted by now.
    soon("one more gives way", || async { refused() > 56 }).await;
    assert_eq!(refused(), 57);
    // However many come, from however many addresses, the oldest goes, and none keeps a node out.
    for last in 10..110 {
        crowd.push(dial(last).await);
    }
    soon("the oldest give way", || async { refused() >= 57 + 9 + 100 - 64 }).await;
    world.start("ns-2", Role::Notification).await;
    world.settle().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clock_has_gone_back_is_heard() {
    let mut world = World::default();
    world.start("ns-1", Role::Notification).await;
    // It began its last life an hour from now.
    let ahead = crate::clock::wall_ms() + 3_600_000;
    world.note_generation("ns-2", ahead);
    world.start("ns-2", Role::Notification).await;
    world.settle().await;
    assert_eq!(world.node("ns-2").cluster.generation(), Generation(ahead + 1));
    world.kill("ns-2");
    world.start("ns-2", Role::Notification).await;
    assert_eq!(world.node("ns-2").cluster.generation(), Generation(ahead + 2));
    soon("the new life is seen", || async {
        let view = world.node("ns-1").cluster.view();
        view.has(&NodeId::parse("ns-2").unwrap(), Generation(ahead + 2))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_says_so_and_takes_little_time() {
    let mut world = World::default();
    world.start("ns-1", Role::Notification).await;
    world.start("ns-2", Role::Notification).await;
    world.settle().await;
    for number in 0..20 {
        world.node("ns-1").sign_in(&number.to_string()).await;
    }
    let (leaver, rest) = (world.node("ns-2"), world.node("ns-1"));
    let began = Instant::now();
    leaver.shutdown.begin();
    let draining = || rest.cluster.view().node(leaver.cluster.id()).is_none_or(|node| node.load.draining);
    soon("it is seen", || async { draining() }).await;
    // Its share has moved before it is gone, and notices still find their way.
    for number in 0..20 {
        let to = passport(&number.to_string());
        assert_eq!(leaver.cluster.route(&to, notice("ns-2", 1), PATIENCE).await, Outcome::Accepted);
        assert_eq!(rest.cluster.route(&to, notice("ns-1", 1), PATIENCE).await, Outcome::Accepted);
    }
    assert_eq!(leaver.shutdown.finish(Duration::from_secs(5)).await, 0);
    assert!(began.elapsed() < Duration::from_millis(2600), "{:?}", began.elapsed());
    soon("it is lost", || async { rest.cluster.view().all().count() == 1 }).await;
    let began = Instant::now();
    rest.shutdown.begin();
    assert_eq!(rest.shutdown.finish(Duration::from_secs(5)).await, 0);
    assert!(began.elapsed() < Duration::from_millis(500), "alone it waits for nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_owner_has_lost_is_told_again_and_announced_anew() {
    let mut world = World::default();
    world.start("ns-1", Role::Notification).await;
    world.start("ns-2", Role::Notification).await;
    world.settle().await;
    let (holder, owner) = (world.node("ns-1"), world.node("ns-2"));
    for number in 0..3 {
        holder.sign_in(&number.to_string()).await;
    }
    // One session ends while nobody can be told; the owner gives up the rest, as if the holder had been paused.
    owner.lose_everything_of(holder);
    holder.lose_silently("2");
    owner.cut_incoming();
    soon("announced anew", || async { holder.hub.reannounced() == 2 }).await;
    assert_eq!(owner.cluster.route(&passport("0"), notice("ns-2", 1), PATIENCE).await, Outcome::Accepted);
    assert_eq!(owner.cluster.route(&passport("2"), notice("ns-2", 1), PATIENCE).await, Outcome::NotHere);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_just_started_calls_nobody_offline() {
    let mut world = World::default();
    for name in ["ns-1", "ns-2"] {
        world.start(name, Role::Notification).await;
    }
    let alone = world.node("ns-1").cluster.route(&passport("nobody"), notice("ns-1", 1), PATIENCE).await;
    assert_eq!(alone, Outcome::Unknown, "others may be there, and not have been heard of");
    world.settle().await;
    for number in 0..20 {
        world.node(["ns-1", "ns-2"][number % 2]).sign_in(&number.to_string()).await;
    }
    for (name, role) in [("ns-3", Role::Notification), ("sb-1", Role::Switchboard)] {
        world.start(name, role).await;
    }
    // Asked without a pause: from when they know nobody until they know all.
    let joined = |name: &str| world.node(name).cluster.router().has_joined();
    let mut found = 0;
    while !(joined("ns-3") && joined("sb-1")) {
        for (node, number) in ["ns-3", "sb-1"].into_iter().zip([found % 20, (found + 7) % 20]) {
            let to = passport(&number.to_string());
            let outcome = world.node(node).cluster.route(&to, notice(node, 1), PATIENCE).await;
            assert_ne!(outcome, Outcome::NotHere, "{number} from {node}, after {found}");
            found += usize::from(outcome == Outcome::Accepted);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(found > 0, "they have found somebody before they had joined");
    world.settle().await;
    for node in ["ns-3", "sb-1"] {
        let outcome = world.node(node).cluster.route(&passport("nobody"), notice(node, 1), PATIENCE).await;
        assert_eq!(outcome, Outcome::NotHere, "{node}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_lost_is_told_to_both_sides() {
    let mut world = World::default();
    world.start("ns-1", Role::Notification).await;
    world.start("ns-2", Role::Notification).await;
    world.settle().await;
    let (one, two) = (&world.node("ns-1").cluster, &world.node("ns-2").cluster);
    let quiet = async || {
        for cluster in [one, two] {
            while tokio::time::timeout(Duration::from_millis(300), cluster.gap()).await.is_ok() {}
        }
    };
    let tells = async |cluster: &Cluster, expected: &dyn Fn(&Gap) -> bool| {
        let told = async { while !expected(&cluster.gap().await) {} };
        tokio::time::timeout(Duration::from_secs(20), told).await.expect("a gap, in time");
    };
    quiet().await;
    // The link of ns-1 to ns-2 begins anew: what was on its way either way is lost.
    world.node("ns-2").cut_incoming();
    tells(one, &|gap| gap.with.contains(two.id())).await;
    tells(two, &|gap| gap.with.contains(one.id())).await;
    quiet().await;
    // A notice that can't arrive: the others are to be told, and are.
    let later = Generation(two.generation().0 + 1);
    one.post_to(two.id(), later, vec![(passport("bob"), Epoch(1), notice("ns-1", 1))]);
    tells(one, &|gap| gap.own_lost).await;
    one.tell_gap();
    tells(two, &|gap| gap.with.contains(one.id()) && !gap.own_lost).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_surely_nowhere_is_said_to_be_to_those_who_were_shown_something() {
    let mut world = World::default();
    for name in ["ns-1", "ns-2", "ns-3"] {
        world.start(name, Role::Notification).await;
    }
    world.settle().await;
    let asker = world.node("ns-1");
    world.node("ns-2").sign_in("bob").await;
    let shown = Some(Mark::of(&Stamp { epoch: Epoch(1), node: asker.cluster.id().clone(), count: 1, version: 1 }));
    let mut watchers = Vec::new();
    for (name, shown) in [("alice", shown), ("carol", None)] {
        let epoch = asker.sign_in(name).await.epoch;
        watchers.push(Watcher { who: passport(name), epoch, shown, properties: false });
    }
    let (node, generation) = (asker.cluster.id().clone(), asker.cluster.generation());
    let probe = |of: &str| {
        let (watchers, node) = (watchers.clone(), node.clone());
        asker.cluster.post(vec![(passport(of), Notice::Probe { watchers, node, generation })]);
    };
    probe("bob");
    probe("nobody");
    soon("alice is told", || async { asker.hub.absent("alice") == [passport("nobody")] }).await;
    assert_eq!(asker.hub.absent("carol"), [], "she was shown nobody");
}
