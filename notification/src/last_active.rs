//! When principals were last signed in: collected, and written behind in batches.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use common::model::Passport;
use common::store::Store;

/// What is to be written. One entry per principal, however often it comes and goes.
#[derive(Debug, Default)]
pub(crate) struct LastActive {
    seen: Mutex<HashMap<Passport, u64>>,
}

impl LastActive {
    /// Notes that a principal is here, at that many milliseconds since 1970.
    pub(crate) fn note(&self, who: &Passport, now: u64) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(who.clone(), now);
    }

    /// Writes what was noted. What the store does not take is forgotten: it need not be exact.
    pub(crate) async fn flush(&self, store: &dyn Store) {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        if seen.is_empty() {
            return;
        }
        if let Err(error) = store.touch(seen.into_iter().collect()).await {
            tracing::warn!(%error, "can't write when users were last active");
        }
    }
}
