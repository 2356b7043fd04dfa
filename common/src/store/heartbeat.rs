//! Heartbeats: nodes that gossip has lost are told apart by them into those that are dead and those that are merely not heard.

use crate::model::{Generation, NodeId};

/// A beat of a node's heart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heartbeat {
    /// The node's life.
    pub generation: Generation,
    /// Rises with each beat of that life. No time: nobody has to compare clocks.
    pub count: u64,
}

/// A beat with what the node says beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Whose heart it is.
    pub node: NodeId,
    /// The beat.
    pub heart: Heartbeat,
    /// The fingerprints of the cluster secrets that it knows, one after the other; nothing: it has not said them.
    pub secrets: Vec<u8>,
}
