//! Operators' orders: once for whom they are for, from wherever they come.

use super::world::{World, passport};
use super::*;
use crate::clock::wall_ms;
use crate::cluster::{Audience, Cluster, Instruction, Order, OrderError, Told, Void};
use crate::model::{Bulletin, ClaimId, Edition, NodeId, SignOut};

fn order(number: u128, to: Audience) -> Order {
    Order { id: uuid::Uuid::from_u128(number), to, what: Instruction::Show(Bulletin::ShutDown { minutes: 5 }) }
}

fn to(who: &str) -> Audience {
    Audience::Principal(passport(who))
}

/// How many sessions have it on each node.
async fn reached(cluster: &Cluster, order: &Order) -> Vec<(String, Option<u64>)> {
    let reached = cluster.carry_out(order, wall_ms(), PATIENCE).await.unwrap();
    reached.into_iter().map(|node| (node.node.to_string(), node.told.map(|told| told.sessions))).collect()
}

fn sessions(on_1: Option<u64>, on_2: Option<u64>) -> Vec<(String, Option<u64>)> {
    vec![("ns-1".to_owned(), on_1), ("ns-2".to_owned(), on_2)]
}

async fn world() -> World {
    let mut world = World::default();
    for (name, role) in [
        ("ds-1", Role::Dispatch),
        ("ns-1", Role::Notification),
        ("ns-2", Role::Notification),
        ("sb-1", Role::Switchboard),
    ] {
        world.start(name, role).await;
    }
    world.settle().await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_reaches_every_session_once_from_every_tier() {
    let mut world = world().await;
    let holders = [("0", "ns-1"), ("1", "ns-2"), ("2", "ns-2")];
    for (who, holder) in holders {
        world.node(holder).sign_in(who).await;
    }
    for (count, name) in (1..).zip(["ds-1", "ns-1", "ns-2", "sb-1"]) {
        let order = order(count as u128, Audience::Everybody);
        for _ in 0..2 {
            // Given again it is not carried out again; what became of it is.
            assert_eq!(
                reached(&world.node(name).cluster, &order).await,
                sessions(Some(1), Some(2)),
                "from {name}"
            );
        }
        for (who, holder) in holders {
            assert_eq!(world.node(holder).hub.told(who), count);
        }
    }
    let of_one = order(100, Audience::Node(NodeId::parse("ns-2").unwrap()));
    let got = reached(&world.node("ds-1").cluster, &of_one).await;
    assert_eq!(got, [("ns-2".to_owned(), Some(2))]);
    assert_eq!((world.node("ns-1").hub.told("0"), world.node("ns-2").hub.told("1")), (4, 5));
    let of_none = order(101, Audience::Node(NodeId::parse("sb-1").unwrap()));
    assert_eq!(reached(&world.node("ds-1").cluster, &of_none).await, []);
    // A node that does not answer is named.
    world.kill("ns-2");
    let got = reached(&world.node("sb-1").cluster, &order(102, Audience::Everybody)).await;
    assert!(got.contains(&("ns-1".to_owned(), Some(1))), "{got:?}");
    assert!(got.iter().all(|(node, told)| node == "ns-1" || told.is_none()), "{got:?}");
}

/// Given at two nodes, and again after the session has moved: it is met once.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_for_one_principal_meets_it_once_though_it_moves() {
    let world = world().await;
    world.node("ns-1").sign_in("alice").await;
    world.node("ns-2").sign_in("bob").await;
    let (order, told) = (order(1, to("alice")), sessions(Some(1), Some(0)));
    let (ds_1, ns_2, sb_1) = (world.node("ds-1"), world.node("ns-2"), world.node("sb-1"));
    let (one, other) = tokio::join!(reached(&ds_1.cluster, &order), reached(&ns_2.cluster, &order));
    assert_eq!((&one, &other), (&told, &told));
    assert_eq!(world.node("ns-1").hub.told("alice"), 1);
    // It was signed out by it, say, and is back at another node.
    world.node("ns-1").sign_out("alice").await;
    ns_2.sign_in("alice").await;
    for node in [&ds_1, &ns_2, &sb_1] {
        assert_eq!(reached(&node.cluster, &order).await, told);
    }
    assert_eq!((ns_2.hub.told("alice"), ns_2.hub.told("bob")), (0, 0));
    assert_eq!(reached(&sb_1.cluster, &self::order(2, to("alice"))).await, sessions(Some(0), Some(1)));
    assert_eq!(reached(&sb_1.cluster, &self::order(3, to("nobody"))).await, sessions(Some(0), Some(0)));
}

/// A node that has just begun does not know what was ordered before: what is older than it is not for its sessions.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_from_before_a_node_began_is_not_for_its_sessions() {
    let mut world = World::default();
    world.start("ns-1", Role::Notification).await;
    let sealed = wall_ms();
    tokio::time::sleep(Duration::from_millis(20)).await;
    world.start("ns-2", Role::Notification).await;
    world.settle().await;
    world.node("ns-1").sign_in("alice").await;
    world.node("ns-2").sign_in("bob").await;
    let order = Order { what: Instruction::SignOut(SignOut::ShutDown), ..order(1, Audience::Everybody) };
    let refused = world.node("ns-2").cluster.carry_out(&order, sealed, PATIENCE).await;
    assert_eq!(refused, Err(OrderError::OlderThanNode));
    let reached = world.node("ns-1").cluster.carry_out(&order, sealed, PATIENCE).await.unwrap();
    let told: Vec<_> = reached.into_iter().map(|node| node.told).collect();
    assert_eq!(told, [Some(Told { sessions: 1, overrun: 0 }), None], "what was not done is not said to be");
    assert_eq!((world.node("ns-1").hub.told("alice"), world.node("ns-2").hub.told("bob")), (1, 0));
}

/// What fails at a node is said to be not done, by the node itself and over a link.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_fails_at_a_node_is_not_said_to_be_done() {
    let world = world().await;
    for (who, holder) in [("alice", "ns-1"), ("bob", "ns-2")] {
        world.node(holder).sign_in(who).await;
    }
    world.node("ns-2").hub.fail_orders();
    for (count, name) in (1..).zip(["ns-1", "ns-2", "sb-1"]) {
        let order = order(count, Audience::Everybody);
        let got = reached(&world.node(name).cluster, &order).await;
        assert_eq!(got, sessions(Some(1), None), "from {name}");
    }
}

/// The order that says that alice's account has these credentials, and what it makes void.
fn new_password(number: u128, edition: u16) -> (Order, Void) {
    let (claim, edition) = (ClaimId(uuid::Uuid::from_u128(77)), Edition(edition));
    let order = Order { what: Instruction::NewPassword { claim, edition }, ..order(number, to("alice")) };
    (order, Void { who: passport("alice"), claim, before: edition })
}

fn knows(node: &super::world::Node, void: &Void) -> bool {
    let Edition(now) = void.before;
    node.cluster.is_void(void.claim, Edition(now - 1)) && !node.cluster.is_void(void.claim, void.before)
}

/// Every switchboard and notification node is told what is void after a change of the password, also one to which links come
/// up later, and each acts on it once.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_is_told_to_every_switchboard() {
    let mut world = world().await;
    world.node("ns-2").sign_in("alice").await;
    let (order, void) = new_password(1, 7);
    for name in ["ns-1", "ns-2", "sb-1", "ds-1"] {
        // It says the same however often it is asked; it was not signed in before these nodes began.
        let reached = world.node(name).cluster.carry_out(&order, 1, PATIENCE).await.unwrap();
        let told: Vec<_> = reached.iter().map(|node| node.told.map(|told| told.sessions)).collect();
        assert_eq!(told, [Some(0), Some(1)], "from {name}");
    }
    assert!(knows(world.node("sb-1"), &void), "it knows before the order is said to be carried out");
    assert!(!knows(world.node("ds-1"), &void), "dispatch has neither sessions nor cookies");

    // A change that came before, and says so late: nobody is told.
    let (late, _) = new_password(2, 6);
    assert_eq!(reached(&world.node("ns-1").cluster, &late).await, sessions(Some(0), Some(0)));
    // The same change, given anew.
    let (again, _) = new_password(3, 7);
    assert_eq!(reached(&world.node("ns-1").cluster, &again).await, sessions(Some(0), Some(1)));
    // The word of both has been worked on by now, if there was any: a later change comes behind it.
    let (order, later) = new_password(4, 8);
    assert_eq!(reached(&world.node("ns-1").cluster, &order).await, sessions(Some(0), Some(1)));
    for name in ["ns-1", "ns-2", "sb-1"] {
        assert_eq!(world.node(name).hub.voids(), [void.clone(), later.clone()], "{name}");
    }

    // Its home dies; one switchboard begins anew, and another one and a notification node come.
    world.kill("ns-2");
    world.kill("sb-1");
    for (name, role) in [("sb-1", Role::Switchboard), ("sb-2", Role::Switchboard), ("ns-3", Role::Notification)] {
        world.start(name, role).await;
        soon(name, || async { knows(world.node(name), &later) }).await;
    }
    // From the one that was told, not from the one to which the order came.
    world.kill("ns-1");
    world.start("sb-3", Role::Switchboard).await;
    soon("sb-3", || async { knows(world.node("sb-3"), &later) }).await;
}
