//! Carrying out what operators order, on every notification node that it concerns.
//!
//! An order is done once, wherever and however often it is given: each node remembers the orders of this minute, also those for
//! one principal, whose session may have been elsewhere at the time. So a session that has moved since is not met again.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::order::{Audience, Order};
use super::router::Router;
use super::wire::{Reply, Request};
use crate::model::NodeId;

/// How many sessions of a node an order was handed to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// They have it in their mailboxes.
    pub sessions: u64,
    /// They had no room for it, don't keep up at all, and end without it.
    pub overrun: u64,
}

/// Which other nodes a node has told of what is void, and whether they have said that they know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmations {
    /// They have.
    pub given: Vec<NodeId>,
    /// They have not, or could not be told.
    pub missing: Vec<NodeId>,
}

/// What became of an order on one notification node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The node.
    pub node: NodeId,
    /// Its sessions; nothing if the node did not answer in time, or did not carry the order out.
    pub told: Option<Told>,
    /// Of an order that makes something void: who else knows, as far as this node knows.
    pub confirmations: Confirmations,
}

/// The same as the node itself says it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CarriedOut {
    pub(super) told: Told,
    pub(super) confirmations: Confirmations,
}

impl From<Told> for CarriedOut {
    fn from(told: Told) -> Self {
        Self { told, ..Self::default() }
    }
}

/// The orders that were carried out here, each with what became of it.
#[derive(Debug)]
pub(super) struct Orders {
    /// Milliseconds since 1970. What was sealed before is not for the sessions here, since they came later.
    since: u64,
    known: Mutex<VecDeque<(Uuid, Done)>>,
}

/// What became of an order, once that is known.
type Done = Arc<OnceCell<Told>>;
/// What a node says.
type Answer = Pin<Box<dyn Future<Output = Option<CarriedOut>> + Send>>;

impl Orders {
    /// Only who knows a cluster secret gets one in here, and an order is good for a minute: more than so many in that time are
    /// no operator's.
    const REMEMBERED: usize = 1024;

    /// For a node that begins now, in milliseconds since 1970.
    pub(super) fn new(now: u64) -> Self {
        Self { since: now, known: Mutex::default() }
    }

    /// Whether an order that was sealed then may be for the sessions of this node.
    pub(super) fn is_of_this_life(&self, sealed: u64) -> bool {
        sealed >= self.since
    }

    /// Where the outcome of an order stands, once it has one.
    fn outcome(&self, order: Uuid) -> Done {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, outcome)) = known.iter().find(|(id, _)| *id == order) {
            return Arc::clone(outcome);
        }
        if known.len() == Self::REMEMBERED {
            known.pop_front();
        }
        let outcome = Done::default();
        known.push_back((order, Arc::clone(&outcome)));
        outcome
    }
}

impl Router {
    /// See [`super::Cluster::carry_out`].
    pub(super) async fn carry_out(
        self: &Arc<Self>,
        order: &Order,
        sealed: u64,
        patience: Duration,
    ) -> Vec<Reached> {
        let deadline = Instant::now() + patience;
        let ring = self.ring();
        let concerned = ring.all().iter().filter(|place| match &order.to {
            Audience::Node(node) => place.node == *node,
            Audience::Everybody | Audience::Principal(_) => true,
        });
        let mut asked: Vec<(NodeId, Answer)> = Vec::new();
        for place in concerned {
            let order = order.clone();
            if *place == self.me {
                let done = Arc::clone(self).carry_out_here(order, sealed);
                asked.push((place.node.clone(), Box::pin(done)));
                continue;
            }
            let request = |id| Request::Order { id, sealed, order };
            let answer = self.links.to(place).and_then(|link| link.request(request).ok());
            let done = async move {
                match answer?.await {
                    Ok(Reply::CarriedOut { done, .. }) => done,
                    _ => None,
                }
            };
            asked.push((place.node.clone(), Box::pin(done)));
        }
        let mut reached = Vec::with_capacity(asked.len());
        for (node, done) in asked {
            let done = timeout_at(deadline, done).await.ok().flatten();
            let (told, confirmations) = done.map(|done| (done.told, done.confirmations)).unzip();
            reached.push(Reached { node, told, confirmations: confirmations.unwrap_or_default() });
        }
        reached.sort_by(|a, b| a.node.cmp(&b.node));
        reached
    }

    /// Hands an order to the sessions of this node that it is for, or says what became of it before. Nothing, if it is not carried out:
    /// it was sealed before this node began, or the attempt failed. It begins at once and goes on to the end, whether or not
    /// anybody waits so long.
    pub(super) fn carry_out_here(
        self: Arc<Self>,
        order: Order,
        sealed: u64,
    ) -> impl Future<Output = Option<CarriedOut>> + Send + 'static {
        let runtime = self.runtime.clone();
        let done = runtime.spawn(async move {
            // Nobody is met twice by this one, nor by one that is older than this node.
            if let Some(void) = order.void() {
                return Some(self.void_by_order(void).await);
            }
            if !self.orders.is_of_this_life(sealed) {
                tracing::warn!(order = %order.id, sealed, "an operators' order from before this node began: not carried out");
                return None;
            }
            let hub = self.delivery.hub()?;
            let outcome = self.orders.outcome(order.id);
            let carried_out = outcome.get_or_init(async || {
                let told = hub.carry_out(&order.to, &order.what).await;
                let (what, Told { sessions, overrun }) = (order.what.label(), told);
                tracing::info!(order = %order.id, what, sessions, overrun, "an operators' order");
                told
            });
            Some((*carried_out.await).into())
        });
        async { done.await.ok().flatten() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_order_has_one_outcome() {
        let orders = Orders::new(7);
        assert!(orders.is_of_this_life(7) && !orders.is_of_this_life(6));
        let told = Told { sessions: 3, overrun: 1 };
        let carry_out =
            async |number, told| *orders.outcome(Uuid::from_u128(number)).get_or_init(async || told).await;
        assert_eq!(carry_out(1, told).await, told);
        assert_eq!(carry_out(1, Told::default()).await, told);
        for number in 2..5000 {
            assert_eq!(carry_out(number, Told::default()).await, Told::default());
        }
        assert_eq!(orders.known.lock().unwrap().len(), Orders::REMEMBERED);
    }
}
