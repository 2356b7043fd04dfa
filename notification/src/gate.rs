//! A node whose sessions operators have sent to the others takes no new ones for a while.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::cluster::{Cluster, Role, View};
use common::model::{NodeId, SignOut};
use common::telemetry::Condition;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// So long it is closed at least, while another node takes clients: time enough to stop it.
const CLOSED: Duration = Duration::from_secs(10 * 60);
/// Clients that come back after so many minutes come within one minute more.
const LATE: Duration = Duration::from_secs(60);
/// By then dispatch has heard of it: clients that come back at once are not sent here again.
const TOLD: Duration = Duration::from_millis(1500);

/// Whether dispatch may send clients here.
pub(crate) struct Gate {
    open: Condition,
    /// This node.
    me: NodeId,
    /// The live nodes.
    views: watch::Receiver<Arc<View>>,
    /// Counts how often it was closed.
    closed: AtomicU64,
}

impl Gate {
    /// An open gate of a node of the cluster.
    pub(crate) fn of(cluster: &Cluster, open: Condition) -> Arc<Self> {
        Self::new(open, cluster.id().clone(), cluster.watch())
    }

    fn new(open: Condition, me: NodeId, views: watch::Receiver<Arc<View>>) -> Arc<Self> {
        open.met();
        Arc::new(Self { open, me, views, closed: AtomicU64::new(0) })
    }

    /// Whether no other node takes clients.
    fn is_alone_in(&self, view: &View) -> bool {
        view.open(Role::Notification).all(|node| node.id == self.me)
    }

    /// Closes it for a while, and returns when the others know. Where no other node takes clients it stays open; it opens when
    /// the last of them no longer does, and stays open when they come back.
    pub(crate) async fn close(self: &Arc<Self>, why: SignOut) {
        if self.is_alone_in(&self.views.borrow()) {
            return tracing::warn!("no other node takes clients: this one goes on to");
        }
        let time = match why {
            SignOut::Reconnect { minutes } => CLOSED.max(Duration::from_secs(60) * minutes.into() + LATE),
            SignOut::ShutDown | SignOut::Migrated | SignOut::TermsOfUse | SignOut::NewPassword => CLOSED,
        };
        let turn = self.closed.fetch_add(1, Ordering::Relaxed) + 1;
        let minutes = time.as_secs() / 60;
        self.open.missing(format!(
            "operators have sent its sessions away; it takes clients again after {minutes} minutes"
        ));
        tokio::spawn(Arc::clone(self).open_in_time(turn, time));
        sleep(TOLD).await;
    }

    async fn open_in_time(self: Arc<Self>, turn: u64, time: Duration) {
        let mut views = self.views.clone();
        // Nodes that were drained at once, before they heard of each other, all open again.
        let alone = timeout(time, views.wait_for(|view| self.is_alone_in(view))).await.is_ok();
        // Unless it was closed again meanwhile.
        if self.closed.load(Ordering::Relaxed) == turn {
            if alone {
                tracing::warn!("no other node takes clients any more: this one does again");
            }
            self.open.met();
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("open", &self.open).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use common::cluster::Node;
    use common::telemetry::Readiness;

    use super::*;
    use crate::session::transcript::switchboard;

    struct World {
        readiness: Readiness,
        views: watch::Sender<Arc<View>>,
        gate: Arc<Gate>,
    }

    impl World {
        /// `ns-1`, and whether `ns-2` takes clients.
        fn new(other: bool) -> Self {
            let (readiness, views) = (Readiness::default(), watch::Sender::new(view(other)));
            let me = NodeId::parse("ns-1").unwrap();
            let gate = Gate::new(readiness.require("open", "not yet"), me, views.subscribe());
            Self { readiness, views, gate }
        }

        /// After all tasks have done what they can.
        async fn is_open(&self) -> bool {
            sleep(Duration::from_millis(1)).await;
            self.readiness.is_ready()
        }
    }

    /// A switchboard is no other node that clients may go to.
    fn view(other: bool) -> Arc<View> {
        let node = |id| Node { role: Role::Notification, ..switchboard(id, 0, 100) };
        let other = Node { ready: other, ..node("ns-2") };
        Arc::new(View::new([node("ns-1"), other, switchboard("sb-1", 0, 100)]))
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_again_by_itself() {
        let world = World::new(true);
        let (readiness, gate) = (&world.readiness, &world.gate);
        assert!(readiness.is_ready());
        gate.close(SignOut::ShutDown).await;
        assert!(!readiness.is_ready(), "{}", readiness.report());
        // Closed again in the middle, and for longer.
        sleep(CLOSED / 2).await;
        gate.close(SignOut::Reconnect { minutes: 30 }).await;
        sleep(CLOSED).await;
        assert!(!readiness.is_ready());
        assert_eq!(
            readiness.report(),
            "open: waiting: operators have sent its sessions away; it takes clients again after 31 minutes\n"
        );
        sleep(CLOSED * 2 + LATE).await;
        assert!(readiness.is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn the_only_node_stays_open() {
        let world = World::new(false);
        world.gate.close(SignOut::ShutDown).await;
        assert!(world.is_open().await);
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_when_the_other_node_goes() {
        let world = World::new(true);
        world.gate.close(SignOut::Reconnect { minutes: 1440 }).await;
        // What is no end of the other node does not matter.
        world.views.send_replace(view(true));
        assert!(!world.is_open().await);
        world.views.send_replace(view(false));
        assert!(world.is_open().await);
        // Nor does it close by itself when the other comes back: two would follow each other for ever.
        world.views.send_replace(view(true));
        assert!(world.is_open().await);
        // What is left of the first time does not end the second.
        world.gate.close(SignOut::ShutDown).await;
        world.gate.close(SignOut::Reconnect { minutes: 30 }).await;
        sleep(CLOSED).await;
        assert!(!world.is_open().await);
        world.views.send_replace(view(false));
        assert!(world.is_open().await);
    }

    #[tokio::test(start_paused = true)]
    async fn two_that_are_closed_at_once_both_open() {
        let (one, other) = (World::new(true), World::new(true));
        tokio::join!(one.gate.close(SignOut::ShutDown), other.gate.close(SignOut::ShutDown));
        assert!(!one.is_open().await && !other.is_open().await);
        for world in [&one, &other] {
            world.views.send_replace(view(false));
        }
        assert!(one.is_open().await && other.is_open().await);
    }
}
