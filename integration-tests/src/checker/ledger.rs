//! What clients did and read.

use std::fmt;
use std::net::SocketAddr;
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
    /// Its number among those of that sender, in all conversations: they rise.
    pub number: u32,
}

impl MessageId {
    /// As it stands in a message.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} {} {} {}", self.room, self.from, self.to, self.number)
    }

    /// The address of the switchboard of its conversation, as it stands in the name of that.
    #[must_use]
    pub fn board(&self) -> Option<SocketAddr> {
        board(&self.room)
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

/// The switchboard of a conversation: `100001@10.77.0.1:1865`.
pub(super) fn board(room: &str) -> Option<SocketAddr> {
    room.rsplit_once('@')?.1.parse().ok()
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
    /// The client reads nothing and says nothing more, until it crashes.
    Hung,
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
        /// An answer to it must come, or its connection end, whatever becomes of it (ack type `A`). Otherwise (`N`) silence is success.
        answered: bool,
    },
    /// It was acknowledged.
    Acknowledged(MessageId),
    /// It was refused (`NAK`): it may have arrived all the same.
    Refused(MessageId),
    /// The connection ended, and until then nothing was known of it.
    Unsure(MessageId),
    /// Something failed, and why. The checker passes it over: what must not be shows elsewhere.
    Failed(String),
    /// A message was read.
    Received {
        /// Which.
        message: MessageId,
        /// The conversation in which: its own, or one that brings what was kept.
        room: Arc<str>,
    },
    /// The client was called into a conversation.
    Rang(Arc<str>),
    /// It has come in there.
    Entered(Arc<str>),
    /// It is out of a conversation, or could not get in.
    Left(Arc<str>),
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

/// A switchboard was killed, or stood still. Whoever does that writes it down; all else is from clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Where clients find it.
    pub board: SocketAddr,
    /// Whether it was killed: then it began a new life, once that was over.
    pub killed: bool,
    /// When it began, since the start of the ledger.
    pub from: Duration,
    /// When it was over.
    pub until: Option<Duration>,
}

/// All that clients did and read, in the order in which it was written down. Shared by all.
#[derive(Debug, Clone)]
pub struct Ledger {
    start: Instant,
    entries: Arc<Mutex<Vec<Entry>>>,
    faults: Arc<Mutex<Vec<Fault>>>,
    next: Arc<AtomicU32>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { start: Instant::now(), entries: Arc::default(), faults: Arc::default(), next: Arc::default() }
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
        let mut entries = lock(&self.entries);
        // Under the lock, so that times rise.
        let at = self.start.elapsed();
        entries.push(Entry { at, account, session, event });
    }

    /// All that stands in it.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        lock(&self.entries).clone()
    }

    /// From now on that switchboard answers nobody, since it was killed or stands still.
    pub fn begins(&self, board: SocketAddr, killed: bool) {
        let from = self.start.elapsed();
        lock(&self.faults).push(Fault { board, killed, from, until: None });
    }

    /// It answers again, or will as soon as it can.
    pub fn is_over(&self, board: SocketAddr) {
        let until = Some(self.start.elapsed());
        let mut faults = lock(&self.faults);
        faults
            .iter_mut()
            .filter(|fault| fault.board == board)
            .for_each(|fault| fault.until = fault.until.or(until));
    }

    /// What was done to switchboards.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        lock(&self.faults).clone()
    }
}

fn lock<T>(these: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    these.lock().unwrap_or_else(PoisonError::into_inner)
}
