//! A node whose sessions operators have sent to the others takes no new ones for a while.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::cluster::{Cluster, Role};
use common::model::SignOut;
use common::telemetry::Condition;
use tokio::time::sleep;

/// So long it is closed at least: time enough to stop it.
const CLOSED: Duration = Duration::from_secs(10 * 60);
/// Clients that come back after so many minutes come within one minute more.
const LATE: Duration = Duration::from_secs(60);
/// By then dispatch has heard of it: clients that come back at once are not sent here again.
const TOLD: Duration = Duration::from_millis(1500);

/// Whether dispatch may send clients here.
pub(crate) struct Gate {
    open: Condition,
    /// Whether another node takes clients.
    others: Box<dyn Fn() -> bool + Send + Sync>,
    /// Counts how often it was closed.
    closed: AtomicU64,
}

impl Gate {
    /// An open gate.
    pub(crate) fn new(open: Condition, others: impl Fn() -> bool + Send + Sync + 'static) -> Arc<Self> {
        open.met();
        Arc::new(Self { open, others: Box::new(others), closed: AtomicU64::new(0) })
    }

    /// An open gate of a node of the cluster.
    pub(crate) fn of(cluster: &Cluster, open: Condition) -> Arc<Self> {
        let cluster = cluster.clone();
        Self::new(open, move || cluster.view().open(Role::Notification).any(|node| node.id != *cluster.id()))
    }

    /// Closes it for a while, and returns when the others know. Where no other node takes clients it stays open.
    pub(crate) async fn close(self: &Arc<Self>, why: SignOut) {
        if !(self.others)() {
            return tracing::warn!("no other node takes clients: this one goes on to");
        }
        let time = match why {
            SignOut::Reconnect { minutes } => CLOSED.max(Duration::from_secs(60) * minutes.into() + LATE),
            SignOut::ShutDown | SignOut::Migrated | SignOut::TermsOfUse => CLOSED,
        };
        let turn = self.closed.fetch_add(1, Ordering::Relaxed) + 1;
        let minutes = time.as_secs() / 60;
        self.open.missing(format!(
            "operators have sent its sessions away; it takes clients again after {minutes} minutes"
        ));
        let gate = Arc::clone(self);
        tokio::spawn(async move {
            sleep(time).await;
            // Unless it was closed again meanwhile.
            if gate.closed.load(Ordering::Relaxed) == turn {
                gate.open.met();
            }
        });
        sleep(TOLD).await;
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("open", &self.open).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use common::telemetry::Readiness;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_opens_again_by_itself() {
        let readiness = Readiness::default();
        let gate = Gate::new(readiness.require("open", "not yet"), || true);
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
        let readiness = Readiness::default();
        let gate = Gate::new(readiness.require("open", "not yet"), || false);
        gate.close(SignOut::ShutDown).await;
        assert!(readiness.is_ready());
    }
}
