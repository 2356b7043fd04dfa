//! One count for all processes: each tells the others of the wrong passwords that it counts.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::{Attempt, AttemptGuard};
use crate::cluster::{Cluster, Guesses};
use crate::net::Shutdown;

/// The first wrong password is told at once, and what comes within so long afterwards is told together.
const INTERVAL: Duration = Duration::from_millis(100);
/// By then what others have counted at the same time is told of here.
const WORD: Duration = Duration::from_millis(200);

impl AttemptGuard {
    /// From now on until shutdown this one and those of the other nodes count together.
    pub fn share(self: &Arc<Self>, cluster: &Cluster, shutdown: &Shutdown) {
        let guard = Arc::clone(self);
        cluster.hear_guesses(move |guesses| guard.heard(guesses));
        self.untold.begin();
        let (guard, cluster, until) = (Arc::clone(self), cluster.clone(), shutdown.clone());
        shutdown.spawn(async move {
            loop {
                tokio::select! {
                    () = guard.untold.next() => {}
                    () = until.begun() => return,
                }
                let (guesses, left_out) = guard.untold.take();
                cluster.tell_guesses(guesses, left_out);
                sleep(INTERVAL).await;
            }
        });
    }

    /// Waits for the word of other processes, if wrong passwords have come lately: who guesses at all of them at once has told each one only
    /// of its own. To be awaited before a password is honoured that was right, and before a wrong one is refused, since the time
    /// would tell the two apart; behind [`failed`](Self::failed).
    pub async fn hear_others(&self, attempt: &Attempt<'_>) {
        if self.untold.has_begun() && self.is_tried(attempt) {
            sleep(WORD).await;
        }
    }

    /// Counts what another process has told. Nobody hears of it from here, and it teaches nothing of anybody's networks.
    pub(super) fn heard(&self, guesses: Guesses) {
        let now = self.slots.now();
        let mut tables = self.lock();
        for (network, times) in guesses.networks {
            tables.add_network(network, times, now);
        }
        for (who, home, times) in guesses.accounts {
            tables.add_account(who, home, times, now);
        }
        for (who, times) in guesses.nobodys {
            tables.nobodys.add(&who, times, now);
        }
    }
}
