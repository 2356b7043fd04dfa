//! What is told to the cluster every second: the own burden, and whether clients may come.

use std::sync::Arc;
use std::time::Duration;

use common::cluster::{Cluster, Load};
use common::net::Shutdown;
use common::store::SharedStore;
use common::telemetry::Condition;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::clients::Clients;

/// How often the burden is published, and the store asked.
const ROUND: Duration = Duration::from_secs(1);
/// A store that does not answer within so long does not answer.
const STORE_PATIENCE: Duration = Duration::from_secs(4);

/// Reports until shutdown. Without the store nobody can sign in over HTTP, so other nodes should get the clients.
pub(crate) async fn report(
    cluster: Cluster,
    clients: Arc<Clients>,
    mut load: Load,
    store: SharedStore,
    condition: Condition,
    shutdown: Shutdown,
) {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ready = false;
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            () = shutdown.begun() => break,
        }
        load.load = clients.count();
        cluster.publish(load);
        let answer = match timeout(STORE_PATIENCE, store.check()).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err("the store does not answer".into()),
        };
        match &answer {
            Ok(()) => condition.met(),
            Err(why) => condition.missing(why),
        }
        if ready != answer.is_ok() {
            ready = answer.is_ok();
            cluster.publish_ready(ready);
            match answer {
                Ok(()) => tracing::info!("ready"),
                Err(why) => tracing::error!(%why, "not ready"),
            }
        }
    }
    load.draining = true;
    cluster.publish(load);
    cluster.publish_ready(false);
}
