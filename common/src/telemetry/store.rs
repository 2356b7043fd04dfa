//! Whether the store answers: a condition that every tier has.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Condition;
use crate::net::Shutdown;
use crate::store::{self, SharedStore};

/// Between two questions. Each costs a durable write in every process, so they are rare: a store that fails shows
/// after this and [`PATIENCE`] at the latest. What clients ask of it meanwhile fails by itself, within the bounds that
/// [`Store`](crate::store::Store) gives.
const ROUND: Duration = Duration::from_secs(5);
/// A store that has not answered within so long does not answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// Between a failure and the next question: a store that is back should not wait for its clients.
const AGAIN: Duration = Duration::from_secs(1);

/// Asks the store at once and then every 5 s whether it answers, or a second after a failure, until shutdown; the
/// condition says what it said.
pub async fn watch_store(store: SharedStore, condition: Condition, shutdown: Shutdown) {
    tokio::select! {
        () = keep_asking(&condition, || store.check()) => {}
        () = shutdown.begun() => {}
    }
}

async fn keep_asking<A: Future<Output = store::Result<()>>>(condition: &Condition, ask: impl Fn() -> A) {
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        match timeout(PATIENCE, ask()).await {
            Ok(Ok(())) => {
                condition.met();
                continue;
            }
            Ok(Err(error)) => condition.missing(error.to_string()),
            Err(_) => condition.missing("the store does not answer"),
        }
        rounds.reset_after(AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::store::StoreError;
    use crate::telemetry::Readiness;

    #[tokio::test(start_paused = true)]
    async fn it_is_asked_every_five_seconds_and_after_a_failure_sooner() {
        let (readiness, start, asked) = (Readiness::default(), Instant::now(), Cell::new(0));
        let condition = readiness.require("store", "not asked yet");
        let answer = || async {
            asked.set(asked.get() + 1);
            match asked.get() {
                1 => Ok(()),
                2 => Err(StoreError::Unavailable("disk full".into())),
                3 => std::future::pending().await,
                _ => Ok(()),
            }
        };
        let look = async {
            for (at, report) in [
                (1_000, "store: ok\n"),
                (5_500, "store: waiting: the store is unavailable: disk full\n"),
                (9_500, "store: waiting: the store is unavailable: disk full\n"),
                (10_500, "store: waiting: the store does not answer\n"),
                (11_500, "store: ok\n"),
                (16_500, "store: ok\n"),
            ] {
                sleep(start + Duration::from_millis(at) - Instant::now()).await;
                assert_eq!(readiness.report(), report, "after {at} ms");
            }
        };
        tokio::select! {
            () = keep_asking(&condition, answer) => unreachable!("it never ends by itself"),
            () = look => {}
        }
        assert_eq!(asked.get(), 5, "at 0, 5, 6, 11 and 16 s");
    }
}
