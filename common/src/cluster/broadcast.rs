//! Bulletins to all sessions of all notification nodes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use super::router::Router;
use super::wire::{Reply, Request};
use crate::model::{Bulletin, NodeId};

/// What became of a broadcast on one notification node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The node.
    pub node: NodeId,
    /// How many sessions have it; nothing if the node did not answer in time.
    pub sessions: Option<u64>,
}

/// The orders that were carried out here, so that one which is repeated, by whomever, is not shown twice.
#[derive(Debug, Default)]
pub(super) struct Orders(Mutex<VecDeque<Uuid>>);

impl Orders {
    /// Only who knows a cluster secret gets one in here, and an order is good for a minute: more than so many in that time are
    /// no operator's.
    const REMEMBERED: usize = 1024;

    /// Notes an order; false if it was there.
    pub(super) fn is_new(&self, order: Uuid) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&order) {
            return false;
        }
        if known.len() == Self::REMEMBERED {
            known.pop_front();
        }
        known.push_back(order);
        true
    }
}

impl Router {
    /// See [`super::Cluster::broadcast`].
    pub(super) async fn broadcast(
        self: &Arc<Self>,
        order: Uuid,
        bulletin: Bulletin,
        patience: Duration,
    ) -> Vec<Reached> {
        let deadline = Instant::now() + patience;
        let (ring, mut here) = (self.ring(), None);
        let mut asked = Vec::new();
        for place in ring.all() {
            let node = place.node.clone();
            if *place == self.me {
                here = Some(node);
                continue;
            }
            let bulletin = bulletin.clone();
            let answer =
                self.links.to(place).map(|link| link.request(|id| Request::Broadcast { id, order, bulletin }));
            asked.push((node, answer.and_then(Result::ok)));
        }
        let mut reached = Vec::new();
        if let Some(node) = here {
            // It goes on to the end, also if that takes longer than anybody waits.
            let router = Arc::clone(self);
            let telling = self.runtime.spawn(async move { router.broadcast_here(order, bulletin).await });
            let sessions = timeout(patience, telling).await.ok().and_then(Result::ok);
            reached.push(Reached { node, sessions });
        }
        for (node, answer) in asked {
            let answer = match answer {
                Some(answer) => timeout_at(deadline, answer).await.ok().and_then(Result::ok),
                None => None,
            };
            let sessions = match answer {
                Some(Reply::Broadcast { sessions, .. }) => Some(sessions),
                _ => None,
            };
            reached.push(Reached { node, sessions });
        }
        reached.sort_by(|a, b| a.node.cmp(&b.node));
        reached
    }

    /// Tells the sessions of this node, unless they were told.
    pub(super) async fn broadcast_here(&self, order: Uuid, bulletin: Bulletin) -> u64 {
        match self.delivery.hub() {
            Some(hub) if self.orders.is_new(order) => {
                let sessions = hub.broadcast(bulletin).await;
                tracing::info!(%order, sessions, "operators' bulletin");
                sessions
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_new_once() {
        let orders = Orders::default();
        assert!(orders.is_new(Uuid::from_u128(1)));
        assert!(!orders.is_new(Uuid::from_u128(1)));
        for number in 2..5000 {
            assert!(orders.is_new(Uuid::from_u128(number)));
        }
        assert!(!orders.is_new(Uuid::from_u128(4999)));
        assert_eq!(orders.0.lock().unwrap().len(), Orders::REMEMBERED);
    }
}
