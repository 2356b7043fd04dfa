//! What is done every second or so: the own burden is published, last appearances are written, and from where
//! users have signed in.

use std::sync::Arc;
use std::time::Duration;

use common::cluster::Load;
use tokio::time::{MissedTickBehavior, interval};

use crate::services::Services;

const ROUND: Duration = Duration::from_secs(1);
/// Rounds between two writes.
const WRITE_EVERY: u64 = 5;

/// Runs until shutdown. What is noted when the last sessions end is written by whoever waits for them. `load` is what was published at the start.
pub(crate) async fn run(services: Arc<Services>, load: Load) {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 0_u64.. {
        tokio::select! {
            _ = rounds.tick() => {}
            () = services.shutdown.begun() => break,
        }
        services.cluster.publish(burden(&services, load));
        services.metrics.last_active_age.set(services.last_active.age().as_secs_f64());
        if round % WRITE_EVERY == 0 {
            services.last_active.flush(&*services.store).await;
            services.guard.flush(&*services.store).await;
        }
    }
    services.cluster.publish(Load { draining: true, ..burden(&services, load) });
}

/// In this order: who enters in between counts as arrived in the next report, and twice till then.
fn burden(services: &Services, load: Load) -> Load {
    let arrived = services.hub.entered();
    Load { arrived, load: services.hub.len(), ..load }
}
