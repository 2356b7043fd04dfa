//! Readiness and the cluster: what the others are told of this node's, and what this node needs of the others.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Cluster, Role, View};
use crate::net::Shutdown;
use crate::telemetry::{Condition, Readiness};

impl Cluster {
    /// Tells the other nodes whether clients may come here, whenever that changes: before `/readyz` says so, since by then
    /// they are to know. After shutdown has begun they may not.
    pub fn tell_readiness(&self, readiness: &Readiness, shutdown: &Shutdown) {
        let (cluster, readiness, until) = (self.clone(), readiness.clone(), shutdown.clone());
        let mut changes = readiness.changes();
        shutdown.spawn(async move {
            let (mut said, mut ready_before) = (None, None);
            loop {
                let may_come = readiness.is_all_but_told();
                if said != Some(may_come) {
                    cluster.publish_ready(may_come);
                    said = Some(may_come);
                }
                let ready = readiness.is_ready();
                if ready_before != Some(ready) {
                    if ready {
                        tracing::info!("ready");
                    } else {
                        tracing::warn!(
                            conditions = readiness.report().trim_end().replace('\n', "; "),
                            "not ready"
                        );
                    }
                    ready_before = Some(ready);
                }
                tokio::select! {
                    () = changes.next() => {}
                    () = until.begun() => break,
                }
            }
            cluster.publish_ready(false);
        });
    }

    /// Keeps a condition until shutdown: it holds while a node of that tier takes clients. `without` says what is
    /// missing otherwise.
    pub fn look_for(&self, role: Role, condition: Condition, without: &'static str, shutdown: &Shutdown) {
        let (views, until) = (self.watch(), shutdown.clone());
        shutdown.spawn(async move {
            tokio::select! {
                () = follow(views, role, &condition, without) => {}
                () = until.begun() => {}
            }
        });
    }
}

/// Until there are no more views.
async fn follow(mut views: watch::Receiver<Arc<View>>, role: Role, condition: &Condition, without: &str) {
    loop {
        if views.borrow_and_update().open(role).next().is_some() {
            condition.met();
        } else {
            condition.missing(without);
        }
        if views.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ring::tests::node;

    #[tokio::test]
    async fn only_a_node_that_takes_clients_counts() {
        let (views, watched) = watch::channel(Arc::new(View::default()));
        let readiness = Readiness::default();
        let condition = readiness.require("notification", "not looked yet");
        tokio::spawn(async move { follow(watched, Role::Notification, &condition, "none").await });
        let mut one = node("ns-1", 1);
        one.ready = false;
        let mut changes = readiness.changes();
        changes.next().await;
        assert_eq!(readiness.report(), "notification: waiting: none\n");
        views.send_replace(Arc::new(View::new([one.clone()])));
        one.ready = true;
        views.send_replace(Arc::new(View::new([one.clone()])));
        changes.next().await;
        assert_eq!(readiness.report(), "notification: ok\n");
        one.load.draining = true;
        views.send_replace(Arc::new(View::new([one])));
        changes.next().await;
        assert_eq!(readiness.report(), "notification: waiting: none\n");
    }
}
