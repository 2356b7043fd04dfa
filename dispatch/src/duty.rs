//! What is done by itself: every second the own burden is told to the cluster, and every few what sign-ins have taught is written.

use std::sync::Arc;
use std::time::Duration;

use common::cluster::{Cluster, Load};
use common::net::Shutdown;
use common::store::SharedStore;
use tokio::time::{MissedTickBehavior, interval};

use crate::clients::Clients;
use crate::http::Routes;

/// How often the burden is published.
const ROUND: Duration = Duration::from_secs(1);
/// How often is written what sign-ins have taught.
const WRITE: Duration = Duration::from_secs(5);

/// Reports until shutdown.
pub(crate) async fn report(cluster: Cluster, clients: Arc<Clients>, mut load: Load, shutdown: Shutdown) {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            () = shutdown.begun() => break,
        }
        load.load = clients.count();
        cluster.publish(load);
    }
    load.draining = true;
    cluster.publish(load);
}

/// Writes until shutdown what sign-ins have taught.
pub(crate) async fn write(routes: Arc<Routes>, store: SharedStore, shutdown: Shutdown) {
    let mut rounds = interval(WRITE);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = rounds.tick() => routes.flush(&*store).await,
            () = shutdown.begun() => return,
        }
    }
}
