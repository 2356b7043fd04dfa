//! What clients did and read.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::model::Status;
use tokio::time::Instant;

/// Who: the place in the list of accounts.
pub type Account = usize;

/// One session of one client. A client that signs in again begins another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u32);

/// A message, as it says itself in its text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId {
    /// The conversation in which it was said.
    pub room: Arc<str>,
    /// Who said it.
    pub from: Account,
    /// To whom.
    pub to: Account,
    /// Its number among those of that sender: they rise.
    pub number: u32,
}

impl MessageId {
    /// As it stands in a message.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} {} {} {}", self.room, self.from, self.to, self.number)
    }

    /// Reads the text of a message.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let room = words.next()?.into();
        let mut number = || words.next()?.parse::<u32>().ok();
        let (from, to, number) = (number()? as Account, number()? as Account, number()?);
        words.next().is_none().then_some(Self { room, from, to, number })
    }
}

/// What a client did or read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A session was granted (`USR OK`), by the node of that name: nobody is shown yet.
    Began {
        /// The node.
        node: Arc<str>,
    },
    /// It was confirmed that the principal looks so.
    Looks(Status),
    /// The session is over, for that reason.
    Ended(&'static str),
    /// A contact was shown so; nothing: as offline.
    Shown {
        /// Which contact.
        contact: Account,
        /// How.
        how: Option<Status>,
    },
    /// A message was given to a switchboard.
    Sent {
        /// Which.
        message: MessageId,
        /// An answer to it must come, whatever becomes of it (ack type `A`). Otherwise (`N`) silence is success.
        answered: bool,
    },
    /// It was acknowledged.
    Acknowledged(MessageId),
    /// It was refused (`NAK`): it may have arrived all the same.
    Refused(MessageId),
    /// The connection ended before anything was known of it.
    Unsure(MessageId),
    /// Something failed, and why. The checker passes it over: what must not be shows elsewhere.
    Failed(String),
    /// A message was read.
    Received(MessageId),
}

/// What one client did or read, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Since the start of the ledger.
    pub at: Duration,
    /// Who.
    pub account: Account,
    /// In which session.
    pub session: SessionId,
    /// What.
    pub event: Event,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, account, session, event } = self;
        write!(f, "{:9.3} user {account} session {}: {event:?}", at.as_secs_f64(), session.0)
    }
}

/// All that clients did and read, in the order in which it was written down. Shared by all.
#[derive(Debug, Clone)]
pub struct Ledger {
    start: Instant,
    entries: Arc<Mutex<Vec<Entry>>>,
    next: Arc<AtomicU32>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { start: Instant::now(), entries: Arc::default(), next: Arc::default() }
    }
}

impl Ledger {
    /// A session that nobody had before.
    #[must_use]
    pub fn session(&self) -> SessionId {
        SessionId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Writes something down.
    pub fn note(&self, account: Account, session: SessionId, event: Event) {
        let at = self.start.elapsed();
        self.lock().push(Entry { at, account, session, event });
    }

    /// All that stands in it.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
