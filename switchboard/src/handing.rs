//! How far one listener has got in what was kept for it and is handed over now: by the same rule as in what is said live
//! (`delivery`), told to whoever hands it over.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::delivery::LiveCursor;

/// How far a listener has got, in messages counted from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The other side has confirmed every byte up to here. A kernel may do so, and its client never read them.
    pub(crate) confirmed: u64,
    /// Delivered up to here: this is not taken back, however the connection ends.
    pub(crate) delivered: u64,
}

/// A message that is handed over, and where to tell how far its listener has got. Once all of these are gone, nothing
/// more will be told.
#[derive(Debug, Clone)]
pub(crate) struct Handed {
    pub(crate) number: u64,
    pub(crate) told: Arc<watch::Sender<Progress>>,
}

/// The listener's side: nothing until something is handed to it.
#[derive(Debug, Default)]
pub(crate) struct Handing(Option<Box<State>>);

#[derive(Debug)]
struct State {
    cursor: LiveCursor<u64>,
    told: Arc<watch::Sender<Progress>>,
}

impl Handing {
    /// A message was queued and ends at byte `end` of the stream.
    pub(crate) fn queued(&mut self, handed: Handed, end: u64) {
        let Handed { number, told } = handed;
        let state = self.0.get_or_insert_with(|| Box::new(State { cursor: LiveCursor::default(), told }));
        state.cursor.queued(number, end);
    }

    fn with(&mut self, change: impl FnOnce(&mut LiveCursor<u64>)) {
        if let Some(state) = &mut self.0 {
            change(&mut state.cursor);
            let (confirmed, delivered) = (state.cursor.finish(true), state.cursor.finish(false));
            tell(&state.told, confirmed.unwrap_or_default(), delivered.unwrap_or_default());
        }
    }

    /// See [`LiveCursor::confirm`].
    pub(crate) fn confirm(&mut self, bytes: u64) {
        self.with(|cursor| cursor.confirm(bytes));
    }

    /// See [`LiveCursor::mark`].
    pub(crate) fn mark(&mut self, arrived: u64) {
        self.with(|cursor| cursor.mark(arrived));
    }

    /// See [`LiveCursor::command`].
    pub(crate) fn command(&mut self, end: u64) {
        self.with(|cursor| cursor.command(end));
    }

    /// See [`LiveCursor::step`].
    pub(crate) fn step(&mut self, now: Instant) {
        if let Some(state) = &mut self.0 {
            state.cursor.step(now);
        }
    }

    /// See [`LiveCursor::heard`].
    pub(crate) fn heard(&mut self, at: Instant) {
        self.with(|cursor| cursor.heard(at));
    }

    /// See [`LiveCursor::is_unsure`].
    pub(crate) fn is_unsure(&self) -> bool {
        self.0.as_ref().is_some_and(|state| state.cursor.is_unsure())
    }

    /// See [`LiveCursor::closed`].
    pub(crate) fn closed(&mut self) {
        self.with(LiveCursor::closed);
    }

    /// Whether something is to be confirmed, or would be marked.
    pub(crate) fn is_watching(&self) -> bool {
        self.0.as_ref().is_some_and(|state| state.cursor.is_waiting() || state.cursor.wants_mark())
    }

    /// See [`LiveCursor::end`].
    pub(crate) fn end(&self) -> Option<u64> {
        self.0.as_ref().and_then(|state| state.cursor.end())
    }

    /// The connection has ended: what was confirmed is delivered, if that was in order.
    pub(crate) fn finish(&mut self, in_order: bool) {
        if let Some(state) = self.0.take() {
            let delivered = state.cursor.finish(in_order).unwrap_or_default();
            tell(&state.told, delivered, delivered);
        }
    }
}

/// Neither goes back.
fn tell(told: &watch::Sender<Progress>, confirmed: u64, delivered: u64) {
    told.send_if_modified(|progress| {
        let before = *progress;
        progress.confirmed = progress.confirmed.max(confirmed);
        progress.delivered = progress.delivered.max(delivered);
        *progress != before
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_delivered_stays_and_the_end_is_seen() {
        let (told, progress) = watch::channel(Progress::default());
        let told = Arc::new(told);
        let mut handing = Handing::default();
        assert!(!handing.is_watching() && handing.end().is_none());
        for number in 1..=3 {
            handing.queued(Handed { number, told: Arc::clone(&told) }, number * 100);
        }
        drop(told);
        handing.confirm(200);
        assert_eq!(*progress.borrow(), Progress { confirmed: 2, delivered: 0 });
        handing.mark(0);
        handing.command(10);
        handing.confirm(300);
        assert_eq!(*progress.borrow(), Progress { confirmed: 3, delivered: 2 });
        assert!(progress.has_changed().is_ok());
        handing.finish(false);
        assert_eq!(*progress.borrow(), Progress { confirmed: 3, delivered: 2 });
        assert!(progress.has_changed().is_err(), "nothing more will be told");
    }

    #[test]
    fn an_end_in_order_delivers_what_is_confirmed() {
        let (told, progress) = watch::channel(Progress::default());
        let mut handing = Handing::default();
        handing.queued(Handed { number: 1, told: Arc::new(told) }, 100);
        handing.confirm(100);
        handing.finish(true);
        assert_eq!(*progress.borrow(), Progress { confirmed: 1, delivered: 1 });
    }
}
