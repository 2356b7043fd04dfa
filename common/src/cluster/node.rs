//! Nodes as gossip shows them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::ring;
use crate::model::{Epoch, Generation, NodeId, Passport};

/// Which tier a node belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// DNS, login redirect, HTTP sign-in.
    Dispatch,
    /// Long-lived sessions.
    Notification,
    /// Conversations.
    Switchboard,
}

impl Role {
    /// The word in gossip, logs and configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dispatch => "dispatch",
            Self::Notification => "notification",
            Self::Switchboard => "switchboard",
        }
    }
}

/// What a node says of its own burden, at most once a gossip round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Sessions (notification), participants (switchboard) or connections (dispatch) at this moment.
    pub load: u64,
    /// As many it is meant to carry; never 0.
    pub capacity: u64,
    /// Sign-ins (notification) or new conversations (switchboard) per second that it admits; 0: no bound.
    pub admits_per_second: u64,
    /// It takes nothing new and ends when it is empty.
    pub draining: bool,
    /// Sessions that have come since its start, those that have gone included: by this a dispatcher knows which of its assignments
    /// stand in `load` already. Notification nodes only.
    pub arrived: u64,
}

/// A live node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// Which start of it.
    pub generation: Generation,
    /// Its tier.
    pub role: Role,
    /// Where clients reach it. Never IPv6 for notification and switchboard: old clients can't read it.
    pub client_addr: SocketAddr,
    /// Where the other nodes' peer links reach it.
    pub peer_addr: SocketAddr,
    /// Where the others' gossip reaches it.
    pub gossip_addr: SocketAddr,
    /// Its burden at its last report.
    pub load: Load,
    /// The highest epoch it has seen.
    pub highest_epoch: Epoch,
    /// All that its readiness requires holds: clients may come.
    pub ready: bool,
    /// This very life of it answers on a peer link of the own node: nobody's word for it, and nothing that can be
    /// replayed. Holds for the own node itself.
    pub linked: bool,
}

/// All live nodes, the own one included, at one moment. Immutable; a change makes a new one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    nodes: BTreeMap<NodeId, Node>,
}

impl View {
    /// A view of these nodes. Of two lives of one node the later counts.
    #[must_use]
    pub fn new(all: impl IntoIterator<Item = Node>) -> Self {
        let mut nodes: BTreeMap<NodeId, Node> = BTreeMap::new();
        for node in all {
            if nodes.get(&node.id).is_none_or(|known| known.generation < node.generation) {
                nodes.insert(node.id.clone(), node);
            }
        }
        Self { nodes }
    }

    /// Whether one of them has that address.
    #[must_use]
    pub fn has_address(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.nodes
            .values()
            .any(|node| [node.peer_addr, node.gossip_addr].iter().any(|addr| addr.ip().to_canonical() == ip))
    }

    /// The nodes of a tier, in the order of their names.
    pub fn of(&self, role: Role) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(move |node| node.role == role)
    }

    /// The nodes of a tier that take clients: those ready and not draining, as far as they are known to live. Gossip
    /// notices a death after seconds; a link ends with the process behind it.
    pub fn open(&self, role: Role) -> impl Iterator<Item = &Node> {
        self.of(role).filter(|node| node.ready && node.linked && !node.load.draining)
    }

    /// Of the nodes of a tier that take clients the one that ranks first for a passport: the same wherever and whenever it is asked,
    /// as long as that node takes clients.
    #[must_use]
    pub fn first_for(&self, role: Role, who: &Passport) -> Option<&Node> {
        let who = ring::hash(who.as_str());
        self.open(role).max_by_key(|node| ring::mix(who ^ ring::hash(node.id.as_str())))
    }

    /// All nodes, in the order of their names.
    pub fn all(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// The node of that name.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// Whether that very life of a node is alive.
    #[must_use]
    pub fn has(&self, id: &NodeId, generation: Generation) -> bool {
        self.nodes.get(id).is_some_and(|node| node.generation == generation)
    }
}
