//! Whether this node, as an owner, has heard of every session there is; and that no client is signed in before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::link::Origin;
use super::membership::Membership;
use super::node::Role;
use super::ring::{Place, Ring};
use super::router::Router;
use crate::model::NodeId;

/// A node that has not settled so long after its start serves all the same: one of the others may be ill.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether it has, until then.
const LOOK: Duration = Duration::from_millis(50);

impl Router {
    /// Begins to serve once the node has joined and, where it keeps sessions, settled: everybody who is signed in elsewhere can
    /// be found from here, and hears of who signs in here.
    pub(super) async fn serve_in_time(self: Arc<Self>, membership: Membership) {
        let (began, mut joined) = (Instant::now(), membership.joined());
        tokio::select! {
            () = self.stop.cancelled() => return,
            is_joined = joined.wait_for(|joined| *joined) => if is_joined.is_err() { return },
        }
        while self.role == Role::Notification && !self.is_part() {
            if began.elapsed() >= PATIENCE {
                tracing::warn!(
                    "another notification node does not tell which sessions it has: clients are let in all the same"
                );
                break;
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sleep(LOOK) => {}
            }
        }
        tracing::info!("clients are let in");
        membership.serve();
    }

    /// Whether every other notification node has told of its sessions, and is told of those here.
    fn is_part(&self) -> bool {
        let ring = self.ring();
        let mut others = ring.all().iter().filter(|place| **place != self.me);
        self.is_settled(&ring) && others.all(|place| self.links.is_up(place))
    }
}

/// Who has said "done", and for which view.
#[derive(Debug, Default)]
pub(super) struct Settling {
    done: HashMap<NodeId, (Origin, u64)>,
    own: Option<u64>,
}

impl Settling {
    /// This node has registered its own sessions with itself, in the view of that hash.
    pub(super) fn own_done(&mut self, view: u64) {
        self.own = Some(view);
    }

    /// Another node has registered all of its sessions here. An older link than one already heard does not count.
    pub(super) fn done(&mut self, origin: &Origin, view: u64) {
        let newer = self.done.get(&origin.place.node).is_some_and(|(known, _)| known.link > origin.link);
        if !newer {
            self.done.insert(origin.place.node.clone(), (origin.clone(), view));
        }
    }

    /// What was said on that link is not kept up to date any more.
    pub(super) fn forget(&mut self, origin: &Origin) {
        if self.done.get(&origin.place.node).is_some_and(|(known, _)| known == origin) {
            self.done.remove(&origin.place.node);
        }
    }

    /// Whether every node of the ring has said "done" for it: then who is missing is signed in nowhere.
    pub(super) fn is_settled(&self, ring: &Ring, me: &NodeId) -> bool {
        let done = |place: &Place| {
            self.done.get(&place.node).is_some_and(|(origin, view)| origin.place == *place && *view == ring.hash())
        };
        self.own == Some(ring.hash()) && ring.all().iter().all(|place| place.node == *me || done(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::node::View;
    use crate::cluster::ring::tests::node;

    #[test]
    fn every_live_node_must_have_said_so_on_a_link_that_lasts() {
        let ring = Ring::of(&View::new([node("a", 1), node("b", 1)]));
        let (me, other) = (NodeId::parse("a").unwrap(), ring.all()[1].clone());
        let origin = |link| Origin { place: other.clone(), link };
        let mut settling = Settling::default();
        assert!(!settling.is_settled(&ring, &me));
        settling.own_done(ring.hash());
        settling.done(&origin(1), 99);
        assert!(!settling.is_settled(&ring, &me), "for another view");
        settling.done(&origin(1), ring.hash());
        assert!(settling.is_settled(&ring, &me));
        settling.done(&origin(2), ring.hash());
        settling.forget(&origin(1));
        assert!(settling.is_settled(&ring, &me), "an older link ended");
        settling.forget(&origin(2));
        assert!(!settling.is_settled(&ring, &me));
        settling.done(
            &Origin { place: Place { generation: crate::model::Generation(0), ..other }, link: 3 },
            ring.hash(),
        );
        assert!(!settling.is_settled(&ring, &me), "an earlier life");
        assert!(!settling.is_settled(&Ring::of(&View::new([node("a", 1), node("b", 2)])), &me));
    }
}
