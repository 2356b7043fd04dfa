//! When principals were last signed in: collected, and written behind in batches.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::model::Passport;
use common::store::Store;
use tokio::time::Instant;

/// What is to be written. One entry per principal, however often it comes and goes.
#[derive(Debug, Default)]
pub(crate) struct LastActive {
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    at: HashMap<Passport, u64>,
    /// Since when the oldest waits.
    since: Option<Instant>,
}

impl LastActive {
    /// Notes that a principal is here, at that many milliseconds since 1970.
    pub(crate) fn note(&self, who: &Passport, now: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.at.insert(who.clone(), now);
        seen.since.get_or_insert_with(Instant::now);
    }

    /// How long the oldest note waits to be written.
    pub(crate) fn age(&self) -> Duration {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Writes what was noted. What the store does not take is forgotten: it need not be exact.
    pub(crate) async fn flush(&self, store: &dyn Store) {
        let Seen { at: seen, .. } = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        if seen.is_empty() {
            return;
        }
        if let Err(error) = store.touch(seen.into_iter().collect()).await {
            tracing::warn!(%error, "can't write when users were last active");
        }
    }
}
