//! What is to be kept, on its way into the store; and what its sender hears of it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::clock;
use common::model::{ChannelId, MessageId, ParticipationId, Passport};
use common::net::Shutdown;
use common::store::{HistoryWrite, SharedStore, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::conversation::Conversation;
use crate::metrics::{Fate, Metrics};
use crate::participation::Write;
use crate::purse::Paid;
use crate::push::{PATIENCE, Verdict};

/// The way into the store: bounded in bytes. What does not fit is delivered all the same, and NAKed.
pub(crate) struct History {
    store: SharedStore,
    budget: Arc<Semaphore>,
    /// What is under way, oldest first.
    pending: Mutex<BTreeSet<MessageId>>,
    /// The last write failed: said once in the log, not for each message.
    failing: AtomicBool,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
}

/// A message that was put into mailboxes, and what the store is to write for it.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) write: HistoryWrite,
    /// Those it was meant for: they wait for the end of the write when they leave.
    pub(crate) writes: Vec<Write>,
    /// What its sender has paid for it out of its quota.
    pub(crate) paid: Paid,
    pub(crate) made: Made,
    pub(crate) conversation: Arc<Conversation>,
}

/// How many bytes a write takes up in a store, roughly: each row with its keys and its index, and each recipient's id in the
/// message.
pub(crate) fn bytes_of(write: &HistoryWrite) -> u64 {
    const MESSAGE: usize = 256;
    const RECIPIENT: usize = 16;
    /// Who may read a channel, by channel and by passport.
    const MEMBER: usize = 256;
    /// Of whom a message waits for its cursor, and in which channels.
    const PARTICIPATION: usize = 384;
    let message = MESSAGE + write.message.payload.len() + RECIPIENT * write.message.meant_for.len();
    (message + MEMBER * write.members.len() + PARTICIPATION * write.participations.len()) as u64
}

/// When a message's id was made, by two clocks: tokio's, on which timers run, and the one that goes on while the
/// machine sleeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made {
    at: Instant,
    since_boot: Duration,
}

impl Made {
    pub(crate) fn now() -> Self {
        Self { at: Instant::now(), since_boot: clock::since_boot() }
    }

    fn is_in_time(self) -> bool {
        self.at.elapsed() <= PATIENCE && clock::since_boot().saturating_sub(self.since_boot) <= PATIENCE
    }
}

impl History {
    /// The most that may be on its way, in bytes.
    const BUDGET: usize = 16 * 1024 * 1024;
    /// What a message counts besides its payload, and besides each of its recipients.
    const OVERHEAD: usize = 512;
    const OVERHEAD_EACH: usize = 128;
    /// A write that has not ended so long after its sender was told so is given up: who waits for it goes on.
    const LATE: Duration = Duration::from_secs(5);

    pub(crate) fn new(store: SharedStore, metrics: Arc<Metrics>, shutdown: Shutdown) -> Arc<Self> {
        let budget = Arc::new(Semaphore::new(Self::BUDGET));
        Arc::new(Self {
            store,
            budget,
            pending: Mutex::default(),
            failing: AtomicBool::new(false),
            metrics,
            shutdown,
        })
    }

    /// Gives a message to the store, without waiting. `verdict` is given within [`PATIENCE`].
    pub(crate) fn keep(self: &Arc<Self>, kept: Kept, verdict: Verdict) {
        let cost = Self::OVERHEAD + Self::OVERHEAD_EACH * kept.writes.len() + kept.write.message.payload.len();
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.budget).try_acquire_many_owned(cost) else {
            verdict.give(Fate::Failed);
            return;
        };
        for write in &kept.writes {
            write.begun();
        }
        let pending = Pending::new(self, kept.write.message.id, room);
        self.shutdown.spawn(append(Arc::clone(self), kept, verdict, pending));
    }

    /// Publishes how much is on its way and how old the oldest of it is. Call it about once a second.
    pub(crate) fn observe(&self) {
        let oldest = self.pending.lock().unwrap_or_else(PoisonError::into_inner).first().copied();
        let age = oldest.map_or(0, |id| clock::wall_ms().saturating_sub(clock::made_ms(id)));
        self.metrics.pending_age.set(age as f64 / 1000.0);
    }

    fn note(&self, outcome: &Result<(), StoreError>) {
        match outcome {
            Ok(()) if self.failing.swap(false, Ordering::Relaxed) => tracing::info!("history is written again"),
            Err(error) if !self.failing.swap(true, Ordering::Relaxed) => {
                tracing::error!(%error, "history can't be written; senders are told");
            }
            _ => {}
        }
    }
}

/// Room and place of a message under way.
struct Pending {
    history: Arc<History>,
    id: MessageId,
    room: OwnedSemaphorePermit,
}

impl Pending {
    fn new(history: &Arc<History>, id: MessageId, room: OwnedSemaphorePermit) -> Self {
        history.pending.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        history.metrics.pending_messages.inc();
        history.metrics.pending_bytes.inc_by(permits_of(&room));
        Self { history: Arc::clone(history), id, room }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.history.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
        self.history.metrics.pending_messages.dec();
        self.history.metrics.pending_bytes.dec_by(permits_of(&self.room));
    }
}

fn permits_of(room: &OwnedSemaphorePermit) -> i64 {
    i64::try_from(room.num_permits()).unwrap_or_default()
}

/// What a write makes durable, and who is to know it.
struct Rows {
    channel: ChannelId,
    members: Vec<Passport>,
    participations: Vec<ParticipationId>,
    conversation: Arc<Conversation>,
    writes: Vec<Write>,
}

impl Rows {
    fn durable(&self) {
        for write in &self.writes {
            write.durable();
        }
        if !self.members.is_empty() || !self.participations.is_empty() {
            self.conversation.recorded(self.channel, &self.members, &self.participations);
        }
    }
}

async fn append(history: Arc<History>, kept: Kept, verdict: Verdict, pending: Pending) {
    let Kept { write, writes, paid, made, conversation } = kept;
    let rows = Rows {
        channel: write.message.channel,
        members: write.members.iter().map(|member| member.passport.clone()).collect(),
        participations: write.participations.iter().map(|used| used.participation).collect(),
        conversation,
        writes,
    };
    let mut append = history.store.append(write);
    let answer = tokio::time::timeout_at(made.at + PATIENCE, &mut append).await;
    history.metrics.append_seconds.observe(made.at.elapsed().as_secs_f64());
    let durable = matches!(answer, Ok(Ok(())));
    let in_time = made.is_in_time();
    if durable {
        rows.durable();
    }
    verdict.give(if durable && in_time { Fate::Succeeded } else { Fate::Failed });
    let outcome = match answer {
        Ok(outcome) => outcome,
        // How it ends still matters: a row must not be removed before a late write has made it.
        Err(_) => {
            let late = tokio::time::timeout(History::LATE, &mut append).await;
            late.unwrap_or_else(|_| Err(StoreError::Unavailable("no answer".into()))).inspect(|()| rows.durable())
        }
    };
    history.note(&outcome);
    if outcome.is_ok() {
        paid.keep_for_good();
    }
    drop(pending);
}
