//! What a node says of itself in gossip, key by key.

use chitchat::{ChitchatId, NodeState};
use uuid::Uuid;

use super::node::{Load, Node, Role};
use crate::model::{Epoch, Generation, NodeId};

const ROLE: &str = "role";
const CLIENT: &str = "client";
const PEER: &str = "peer";
const STORE: &str = "store";
/// `load capacity admits-per-second draining arrived`, in one so that they change together.
const LOAD: &str = "load";
const EPOCH: &str = "epoch";
const READY: &str = "ready";

/// Everything that a node says.
pub(super) fn write(node: &Node, store: Uuid) -> Vec<(String, String)> {
    let Load { load, capacity, admits_per_second, draining, arrived } = node.load;
    [
        (ROLE, node.role.as_str().to_owned()),
        (CLIENT, node.client_addr.to_string()),
        (PEER, node.peer_addr.to_string()),
        (STORE, store.to_string()),
        (LOAD, format!("{load} {capacity} {admits_per_second} {} {arrived}", u8::from(draining))),
        (EPOCH, node.highest_epoch.0.to_string()),
        (READY, u8::from(node.ready).to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// What a node has said; nothing until all of it has come, or if it makes no sense.
pub(super) fn read(id: &ChitchatId, state: &NodeState) -> Option<(Node, Uuid)> {
    let role = state.get(ROLE)?;
    let role = [Role::Dispatch, Role::Notification, Role::Switchboard].into_iter().find(|r| r.as_str() == role)?;
    let mut numbers = state.get(LOAD)?.split(' ').map(str::parse::<u64>);
    let mut number = || numbers.next()?.ok();
    let (load, capacity, admits_per_second, draining, arrived) =
        (number()?, number()?, number()?, number()? != 0, number()?);
    let node = Node {
        id: NodeId::parse(&id.node_id)?,
        generation: Generation(id.generation_id),
        role,
        client_addr: state.get(CLIENT)?.parse().ok()?,
        peer_addr: state.get(PEER)?.parse().ok()?,
        gossip_addr: id.gossip_advertise_addr,
        load: Load { load, capacity: capacity.max(1), admits_per_second, draining, arrived },
        highest_epoch: Epoch(state.get(EPOCH)?.parse().ok()?),
        ready: state.get(READY)? == "1",
        linked: false,
    };
    Some((node, state.get(STORE)?.parse().ok()?))
}
