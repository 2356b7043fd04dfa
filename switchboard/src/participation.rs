//! One admission of a principal to a conversation, as far as history is concerned.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use common::model::{MessageId, ParticipationId, Passport};
use tokio::sync::Notify;

/// An admission. A rejoin is another one.
#[derive(Debug)]
pub(crate) struct Participation {
    pub(crate) passport: Passport,
    pub(crate) id: ParticipationId,
    /// Writes under way of messages that were meant for it.
    writes: AtomicUsize,
    written: Notify,
    /// A write that makes its row was begun; whether it succeeded may be unknown.
    attempted: AtomicBool,
    /// Its row is there.
    durable: AtomicBool,
    /// The last message to be kept that was meant for it.
    last_meant: Mutex<Option<MessageId>>,
}

impl Participation {
    pub(crate) fn new(passport: Passport, id: ParticipationId) -> Arc<Self> {
        Arc::new(Self {
            passport,
            id,
            writes: AtomicUsize::new(0),
            written: Notify::new(),
            attempted: AtomicBool::new(false),
            durable: AtomicBool::new(false),
            last_meant: Mutex::default(),
        })
    }

    /// A message was meant for it. The write is under way until what is returned is dropped.
    pub(crate) fn meant(self: &Arc<Self>, message: MessageId) -> Write {
        *self.last_meant.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
        self.writes.fetch_add(1, Ordering::AcqRel);
        Write(Arc::clone(self))
    }

    /// The last message to be kept that was meant for it.
    pub(crate) fn last_meant(&self) -> Option<MessageId> {
        *self.last_meant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a row may be there.
    pub(crate) fn may_have_row(&self) -> bool {
        self.attempted.load(Ordering::Acquire)
    }

    /// Whether a row is there.
    pub(crate) fn has_row(&self) -> bool {
        self.durable.load(Ordering::Acquire)
    }

    /// Whether writes are under way.
    pub(crate) fn is_being_written(&self) -> bool {
        self.writes.load(Ordering::Acquire) > 0
    }

    /// Waits until no write is under way. Safe to cancel.
    pub(crate) async fn settled(&self) {
        loop {
            let mut ended = std::pin::pin!(self.written.notified());
            // Registered before the look, so that an end in between is not missed.
            ended.as_mut().enable();
            if !self.is_being_written() {
                return;
            }
            ended.await;
        }
    }
}

/// A write under way of a message that was meant for a participation.
#[derive(Debug)]
pub(crate) struct Write(Arc<Participation>);

impl Write {
    /// The write has been given to the store.
    pub(crate) fn begun(&self) {
        self.0.attempted.store(true, Ordering::Release);
    }

    /// The store has made it durable, row included.
    pub(crate) fn durable(&self) {
        self.0.durable.store(true, Ordering::Release);
    }
}

impl Drop for Write {
    fn drop(&mut self) {
        if self.0.writes.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.written.notify_waiters();
        }
    }
}
