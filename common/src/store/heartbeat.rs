//! Heartbeats: nodes that gossip has lost are told apart by them into those that are dead and those that are merely not heard.

use crate::model::Generation;

/// A beat of a node's heart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heartbeat {
    /// The node's life.
    pub generation: Generation,
    /// Rises with each beat of that life. No time: nobody has to compare clocks.
    pub count: u64,
}
