//! What is told to the cluster every second: the own burden.

use std::sync::Arc;
use std::time::Duration;

use common::cluster::{Cluster, Load};
use common::net::Shutdown;
use tokio::time::{MissedTickBehavior, interval};

use crate::clients::Clients;

/// How often the burden is published.
const ROUND: Duration = Duration::from_secs(1);

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
