//! What several tests need.

use common::cluster::{Load, Node, Role};
use common::model::{Epoch, Generation, NodeId};

fn node(role: Role, id: &str, client_addr: &str, load: u64, capacity: u64) -> Node {
    Node {
        id: NodeId::parse(id).unwrap(),
        generation: Generation(1),
        role,
        client_addr: client_addr.parse().unwrap(),
        peer_addr: "192.0.2.100:1884".parse().unwrap(),
        gossip_addr: "192.0.2.100:1874".parse().unwrap(),
        load: Load { load, capacity, ..Load::default() },
        highest_epoch: Epoch(0),
        ready: true,
        linked: true,
    }
}

/// A live notification node.
pub(crate) fn notifier(id: &str, load: u64, capacity: u64) -> Node {
    node(Role::Notification, id, "192.0.2.10:1863", load, capacity)
}

/// A live dispatch node.
pub(crate) fn dispatcher(id: &str, client_addr: &str) -> Node {
    node(Role::Dispatch, id, client_addr, 0, 100)
}
