//! Two nodes of one name: the second does not start, or stops; one that only comes back starts at once.

use std::time::{Duration, Instant};

use super::world::{World, soon};
use crate::cluster::{ClusterError, Role};

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_of_a_name_does_not_start() {
    let mut world = World::default();
    for (name, role) in [("ds-1", Role::Dispatch), ("ns-1", Role::Notification), ("sb-1", Role::Switchboard)] {
        world.start(name, role).await;
    }
    world.settle().await;
    for (name, role) in [("ds-1", Role::Dispatch), ("ns-1", Role::Notification), ("sb-1", Role::Switchboard)] {
        let there = world.node(name).cluster.gossip_addr();
        // One seed may be down, as long as another answers.
        for seeds in [world.seeds(), vec!["127.0.0.1:1".into(), world.seeds()[1].clone()]] {
            let refused = world.try_start(name, role, &[1], 1, seeds).await.err();
            let Some(ClusterError::NameInUse(why)) = refused else { panic!("{refused:?}") };
            let key = format!("({}.node.id, --node-id)", role.as_str());
            for part in [name, role.as_str(), &format!("gossips at {there}"), &key] {
                assert!(why.contains(part), "{part:?} is not in {why:?}");
            }
        }
    }
    // Nobody has noticed anything.
    for node in world.nodes() {
        assert_eq!(node.cluster.view().all().count(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_died_starts_again_at_once_elsewhere() {
    let mut world = World::default();
    for name in ["ns-1", "ns-2"] {
        world.start(name, Role::Notification).await;
    }
    world.settle().await;
    let earlier = world.node("ns-2").cluster.generation();
    world.kill("ns-2");
    let began = Instant::now();
    // At another port, while gossip still says that the earlier life is alive.
    world.start("ns-2", Role::Notification).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    world.settle().await;
    let (one, other) = (world.node("ns-1"), world.node("ns-2"));
    assert!(other.cluster.generation() > earlier);
    assert!(one.cluster.view().has(other.cluster.id(), other.cluster.generation()));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hears_later_of_an_older_namesake_stops_and_the_others_keep_the_older() {
    let mut world = World::default();
    for name in ["ns-1", "ns-2"] {
        world.start(name, Role::Notification).await;
    }
    world.settle().await;
    let older = world.node("ns-2").cluster.generation();
    // It knows of nobody at first.
    let twin = world.try_start("ns-2", Role::Notification, &[1], 1, Vec::new()).await.unwrap();
    assert!(twin.cluster.generation() > older);
    let bridge = [world.seeds(), vec![twin.cluster.gossip_addr().to_string()]].concat();
    let bridge = world.try_start("ns-3", Role::Notification, &[1], 1, bridge).await.unwrap();
    soon("the newer one stops", || async { twin.shutdown.has_begun() }).await;
    let (one, two) = (world.node("ns-1"), world.node("ns-2"));
    assert!(!two.shutdown.has_begun());
    let why = twin.shutdown.outcome().unwrap_err().to_string();
    assert!(why.contains("has the name ns-2 already"), "{why}");
    assert!(one.cluster.view().has(two.cluster.id(), older));
    // The bridge has met both at once; once one of them has gone it has the other.
    soon("all have the older", || async {
        [one, &bridge].iter().all(|node| {
            let view = node.cluster.view();
            view.node(two.cluster.id()).is_some_and(|node| node.generation == older && node.linked)
        })
    })
    .await;
    let view = one.cluster.view();
    assert!(view.node(two.cluster.id()).is_some_and(|node| node.linked), "{view:?}");
}
