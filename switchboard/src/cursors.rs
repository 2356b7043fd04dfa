//! Live cursors on their way into the store: collected, and written behind in batches.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::model::{MessageId, ParticipationId, Passport};
use common::net::Shutdown;
use common::store::SharedStore;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How often they are written.
const INTERVAL: Duration = Duration::from_secs(1);

/// The live cursors that have moved since they were last written; at most one for each participation.
pub(crate) struct Cursors {
    state: Mutex<State>,
    written: Notify,
    store: SharedStore,
}

#[derive(Default)]
struct State {
    moved: Batch,
    /// Since when the oldest of them waits, whether or not it was tried to write it.
    since: Option<Instant>,
    /// A batch is with the store.
    writing: bool,
}

impl Cursors {
    pub(crate) fn new(store: SharedStore) -> Self {
        Self { state: Mutex::default(), written: Notify::new(), store }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A cursor has moved.
    pub(crate) fn moved(&self, who: &Passport, participation: ParticipationId, to: MessageId) {
        let mut state = self.lock();
        state.moved.insert(participation, (who.clone(), to));
        state.since.get_or_insert_with(Instant::now);
    }

    /// How long the oldest that is not written has waited.
    pub(crate) fn age(&self) -> Duration {
        self.lock().since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Forgets a participation, and waits until no batch with it is with the store: whoever closes or removes its
    /// row next must have the last word.
    pub(crate) async fn forget(&self, participation: ParticipationId) {
        loop {
            let mut written = std::pin::pin!(self.written.notified());
            // Registered before the look, so that an end in between is not missed.
            written.as_mut().enable();
            if !self.remove(participation) {
                return;
            }
            written.await;
        }
    }

    /// Removes what waits for the next batch; returns whether a batch is with the store.
    fn remove(&self, participation: ParticipationId) -> bool {
        let mut state = self.lock();
        state.moved.remove(&participation);
        state.writing
    }

    /// Writes what has moved, once a second, until the process ends.
    pub(crate) async fn run(&self, shutdown: &Shutdown) {
        while !shutdown.has_begun() {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = shutdown.begun() => {}
            }
            self.write().await;
        }
    }

    async fn write(&self) {
        let Some((batch, since)) = self.take() else { return };
        let cursors = batch.iter().map(|(id, (who, to))| (who.clone(), *id, Some(*to))).collect();
        let outcome = self.store.set_live_cursors(cursors).await;
        if let Err(error) = &outcome {
            tracing::warn!(%error, "delivery cursors wait for the store");
        }
        self.done(if outcome.is_ok() { Batch::new() } else { batch }, since);
        self.written.notify_waiters();
    }

    fn take(&self) -> Option<(Batch, Instant)> {
        let mut state = self.lock();
        if state.moved.is_empty() {
            // What was there was forgotten.
            state.since = None;
            return None;
        }
        state.writing = true;
        let since = state.since.unwrap_or_else(Instant::now);
        Some((std::mem::take(&mut state.moved), since))
    }

    /// What was not written waits for the next time, unless it has moved on meanwhile.
    fn done(&self, unwritten: Batch, since: Instant) {
        let mut state = self.lock();
        // What has moved meanwhile is younger than the batch: at most as old as its writing took.
        state.since =
            if unwritten.is_empty() { (!state.moved.is_empty()).then(Instant::now) } else { Some(since) };
        for (id, cursor) in unwritten {
            state.moved.entry(id).or_insert(cursor);
        }
        state.writing = false;
    }
}

type Batch = HashMap<ParticipationId, (Passport, MessageId)>;
