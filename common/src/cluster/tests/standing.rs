//! What a node says of itself that is off, or hears of nobody.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;

use super::world::{World, soon};
use crate::clock;
use crate::cluster::datagram::{self, Head, Kind};
use crate::cluster::{Company, Keyring, Role};
use crate::telemetry::Readiness;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_seeds_are_silent_says_so_and_goes_on_alone() {
    let world = World::default();
    let seeds = vec!["127.0.0.1:1".to_owned()];
    let node = world.try_start("ns-1", Role::Notification, &[1], 1, seeds).await.unwrap();
    let readiness = Readiness::default();
    node.cluster.tell_joined(readiness.require_told("cluster", "not yet"));
    let said = "cluster: waiting: none of the seeds answers (127.0.0.1:1)\n";
    soon("it says so", || async { readiness.report() == said }).await;
    soon("it goes on", || async { readiness.is_ready() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_seeds_are_silent_waits_while_others_live() {
    let world = World::default();
    let seeds = vec!["127.0.0.1:1".to_owned()];
    let node = world.try_start("ns-1", Role::Notification, &[1], 1, seeds).await.unwrap();
    let readiness = Readiness::default();
    node.cluster.tell_joined(readiness.require_told("cluster", "not yet"));
    node.cluster.see_company(Company::Living("ns-2".into()));
    let said = "none of the seeds answers (127.0.0.1:1); others live, by their heartbeats in the store: ns-2\n";
    soon("it says so", || async { readiness.report().ends_with(said) }).await;
    // As long as it would take to go on alone.
    assert!(!node.cluster.serves_within(Duration::from_secs(6)).await);
    node.cluster.see_company(Company::Nobody);
    assert!(node.cluster.serves_within(Duration::from_secs(1)).await);
    soon("it goes on", || async { readiness.is_ready() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_clock_is_off_is_not_ready() {
    for (off, words) in
        [(3_000_000, " s behind those of most"), (60_000_000, " s behind"), (-60_000_000, "s ahead of")]
    {
        let mut world = World::default();
        world.start("ns-1", Role::Notification).await;
        let (node, readiness) = (world.node("ns-1"), Readiness::default());
        let (condition, doubt) = (readiness.require("clock", "not compared yet"), readiness.note("clocks"));
        node.cluster.watch_clock(condition, doubt, &node.shutdown);
        soon("alone it is right", || async { readiness.is_ready() }).await;
        let to = node.cluster.gossip_addr();
        let others: Vec<_> = (0..2).map(|_| tokio::spawn(gossip_by_another_clock(to, off))).collect();
        soon("it is not ready", || async { !readiness.is_ready() }).await;
        let report = readiness.report();
        assert!(report.starts_with("clock: waiting: this node's clock is ") && report.contains(words), "{report}");
        others.iter().for_each(tokio::task::JoinHandle::abort);
        soon("nobody says so any more", || async { readiness.is_ready() }).await;
    }
}

/// A node that can say nothing but what time it is: the own clock, and `off` µs.
async fn gossip_by_another_clock(to: SocketAddr, off: i64) {
    let keys = Keyring::from_secrets([[1; 32]]).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let from = socket.local_addr().unwrap();
    loop {
        let sent = u64::try_from(clock::wall().as_micros()).unwrap().saturating_add_signed(off);
        let head = Head { sent, from, kind: Kind::Tell };
        socket.send_to(&datagram::seal(&keys, &head, b""), to).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
