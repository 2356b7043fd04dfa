//! A session whose next command has to wait: nothing more is read meanwhile, all else goes on.

use std::time::Duration;

use common::msnp::Command;
use common::net::{Connection, Event, Transport, Unread};
use tokio::time::{Instant, sleep_until};

use super::End;
use crate::pressure::{PATIENCE, UNREAD};

/// How often it is looked what the other side has confirmed while others wait for that and nothing else would tell: the kernel
/// has taken all, and does not announce confirmations.
pub(super) const WATCH: Duration = Duration::from_millis(20);
/// A client that has closed its side while it had to wait is served so long, so that what it said before is still said.
const LAST_WORDS: Duration = Duration::from_secs(30);

/// How often it is looked whether a message can be written in time.
const CALM: Duration = Duration::from_millis(50);

/// The pace of one connection: whether its next command waits, and whether others wait for its client to read.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// A command that waits: commands are handled strictly in order. Boxed, since mostly there is none.
    held: Option<Box<Held>>,
    /// The client has closed its side behind what is not read yet, and is served until then.
    until: Option<Instant>,
    /// Others wait for this client.
    behind: bool,
    /// Bytes that the client was last known to have confirmed.
    confirmed: u64,
}

/// A command that was read and kept back.
#[derive(Debug)]
struct Held {
    /// Nothing while it is looked at once more.
    command: Option<Command>,
    waits: Wait,
    /// It waits for that since then.
    since: Instant,
    read: Instant,
    /// For so long it has waited since its own sender has said too much.
    own: Duration,
    /// Until then at most it waits until it can be written to everybody in time.
    calm_by: Option<Instant>,
}

/// What a command waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// The answer to the call before it.
    Call,
    /// Until the others have read, until then at most.
    Others(Option<Instant>),
    /// Until it is looked once more whether it can be written to everybody in time.
    Calm(Instant),
    /// Until its sender may say more.
    Rate(Instant),
}

/// What has happened on a connection.
pub(super) enum Next {
    /// What happens on one that is read.
    Event(Event),
    /// Bytes have been written.
    Written,
    /// It is over, whatever may be unread.
    Ended(End),
}

impl Pace {
    /// Keeps a command back: one that was just read, or the one that was [taken](Self::take) last.
    pub(super) fn hold(&mut self, command: Command, waits: Wait) {
        let now = Instant::now();
        let new =
            || Box::new(Held { command: None, waits, since: now, read: now, own: Duration::ZERO, calm_by: None });
        let held = self.held.get_or_insert_with(new);
        (held.command, held.waits, held.since) = (Some(command), waits, now);
    }

    /// Keeps back a message that can't be written to everybody in time, for a moment.
    pub(super) fn hold_for_calm(&mut self, command: Command) {
        let now = Instant::now();
        self.hold(command, Wait::Calm(now + CALM));
        if let Some(held) = &mut self.held {
            held.calm_by.get_or_insert(now + PATIENCE);
        }
    }

    /// Whether the command at hand has waited for that as long as it may.
    pub(super) fn has_waited_for_calm(&self) -> bool {
        let calm_by = self.held.as_ref().and_then(|held| held.calm_by);
        calm_by.is_some_and(|by| by <= Instant::now())
    }

    /// For how long the command at hand has waited since it was read, whatever for, but for its own sender's pace.
    pub(super) fn held(&self) -> Duration {
        let Some(held) = &self.held else { return Duration::ZERO };
        held.read.elapsed().saturating_sub(held.own + held.own_now())
    }

    /// The command that was kept back, to be looked at once more; [`settle`](Self::settle) comes after that.
    pub(super) fn take(&mut self) -> Option<Command> {
        let held = self.held.as_mut()?;
        held.own += held.own_now();
        held.command.take()
    }

    /// What was taken has been taken up, unless it is kept back again: no more is known of its wait.
    pub(super) fn settle(&mut self) {
        self.held.take_if(|held| held.command.is_none());
    }

    /// What the command that is kept back waits for, if there is one.
    pub(super) fn waits(&self) -> Option<Wait> {
        self.held.as_ref().map(|held| held.waits)
    }

    /// The command that is kept back.
    pub(super) fn command(&self) -> Option<&Command> {
        self.held.as_ref().and_then(|held| held.command.as_ref())
    }

    /// Waits for the next thing to happen on the connection. Nothing is read while a command is kept back; the end of the
    /// client is noticed all the same. Safe to cancel.
    pub(super) async fn next<T: Transport>(&mut self, connection: &mut Connection<T>) -> Next {
        if self.held.is_none() {
            return Next::Event(connection.event().await);
        }
        loop {
            let unread = match self.until {
                None => connection.event_unread().await,
                Some(until) => tokio::select! {
                    unread = connection.event_unread() => unread,
                    // Boxed, as a session has room for it all its life.
                    () = Box::pin(sleep_until(until)) => return Next::Ended(End::Closed),
                },
            };
            match unread {
                Unread::Written => return Next::Written,
                Unread::HungUp => self.until = Some(Instant::now() + LAST_WORDS),
                Unread::Broken => return Next::Ended(End::Broken),
            }
        }
    }

    /// What waits in the queue and in the kernel, and what was confirmed. The kernel is asked only if that may matter.
    pub(super) fn unread<T: Transport>(&mut self, connection: &mut Connection<T>) -> (usize, u64) {
        let (queued, written) = (connection.outbox().queued(), connection.written());
        let in_kernel = |confirmed| usize::try_from(written.saturating_sub(confirmed)).unwrap_or(usize::MAX);
        if self.behind || queued.saturating_add(in_kernel(self.confirmed)) > UNREAD {
            self.confirmed = connection.confirmed();
        }
        (queued.saturating_add(in_kernel(self.confirmed)), self.confirmed)
    }

    pub(super) fn set_behind(&mut self, behind: bool) {
        self.behind = behind;
    }

    /// Whether others wait for this client.
    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    /// Whether they wait for what only the kernel knows.
    pub(super) fn is_watched<T: Transport>(&self, connection: &Connection<T>) -> bool {
        self.behind && connection.is_written()
    }
}

impl Held {
    /// How long it waits now since its own sender has said too much.
    fn own_now(&self) -> Duration {
        let is_own = self.command.is_some() && matches!(self.waits, Wait::Rate(_));
        if is_own { self.since.elapsed() } else { Duration::ZERO }
    }
}
