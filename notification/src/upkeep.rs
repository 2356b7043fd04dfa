//! What is done every second or so: the own burden is published, the store asked whether it answers, last
//! appearances written.

use std::sync::Arc;
use std::time::Duration;

use common::cluster::Load;
use common::telemetry::Condition;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::services::Services;

const ROUND: Duration = Duration::from_secs(1);
/// Rounds between two writes of last appearances.
const WRITE_EVERY: u64 = 5;
/// Rounds between two questions to the store, each of which costs a durable write.
const CHECK_EVERY: u64 = 5;
/// How long the store may take to say that it is there.
const CHECK_PATIENCE: Duration = Duration::from_secs(4);

/// Runs until shutdown, and writes once more then. `load` is what was published at the start.
pub(crate) async fn run(services: Arc<Services>, load: Load, store_answers: Condition) {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 0_u64.. {
        tokio::select! {
            _ = rounds.tick() => {}
            () = services.shutdown.begun() => break,
        }
        services.cluster.publish(Load { load: services.hub.len(), ..load });
        if round % CHECK_EVERY == 0 {
            check(&services, &store_answers).await;
        }
        if round % WRITE_EVERY == 0 {
            services.last_active.flush(&*services.store).await;
        }
    }
    services.cluster.publish(Load { load: services.hub.len(), draining: true, ..load });
    services.last_active.flush(&*services.store).await;
}

async fn check(services: &Services, store_answers: &Condition) {
    let answer = timeout(CHECK_PATIENCE, services.store.check()).await;
    let answers = match answer {
        Ok(Ok(())) => {
            store_answers.met();
            true
        }
        Ok(Err(error)) => {
            store_answers.missing(error.to_string());
            false
        }
        Err(_) => {
            store_answers.missing("the store does not answer");
            false
        }
    };
    services.cluster.publish_ready(answers);
}
