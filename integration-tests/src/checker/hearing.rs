//! In which order, and how often, messages are read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::ledger::{Account, Fault, MessageId, SessionId, board};

/// So soon after its end it is known that a switchboard is dead: gossip takes 2.5 s, what it has left may be brought 7 s later.
const KNOWN: Duration = Duration::from_secs(10);
/// Sooner of one that was started again: so soon after that.
const ANEW: Duration = Duration::from_secs(4);
/// So long what is new waits for what was kept, at most.
const KEPT_FIRST: Duration = Duration::from_secs(2);
/// What the way to the client may take off that.
const ALLOWANCE: Duration = Duration::from_millis(200);
/// What was read so soon before the end of a switchboard, or of its reader, may not have been noted as read.
const NOT_NOTED: Duration = Duration::from_secs(5);
/// So often a message that was kept is brought in one session, at most.
const MOST_BROUGHT: usize = 3;

/// One time that a message was read.
#[derive(Debug, Clone)]
pub(super) struct Hearing {
    pub(super) at: Duration,
    pub(super) session: SessionId,
    /// The conversation in which it was: its own, or one that brings what was kept.
    pub(super) room: Arc<str>,
}

impl Hearing {
    fn is_kept(&self, message: &MessageId) -> bool {
        self.room != message.room
    }
}

/// When somebody was in a conversation.
#[derive(Debug, Clone, Copy, Default)]
struct Visit {
    /// When it was rung; nothing for who has opened the conversation.
    rang: Option<Duration>,
    entered: Option<Duration>,
    left: Option<Duration>,
}

/// All messages that were read.
#[derive(Debug, Default)]
pub(super) struct Hearings {
    of: BTreeMap<MessageId, Vec<Hearing>>,
    /// By sender and recipient, in the order in which they were read first.
    firsts: BTreeMap<(Account, Account), Vec<MessageId>>,
    visits: BTreeMap<(Account, Arc<str>), Visit>,
    hung: Vec<(Account, Duration)>,
}

impl Hearings {
    pub(super) fn rang(&mut self, who: Account, room: &Arc<str>, at: Duration) {
        self.visit(who, room).rang = Some(at);
    }

    pub(super) fn entered(&mut self, who: Account, room: &Arc<str>, at: Duration) {
        self.visit(who, room).entered = Some(at);
    }

    pub(super) fn left(&mut self, who: Account, room: &Arc<str>, at: Duration) {
        self.visit(who, room).left = Some(at);
    }

    pub(super) fn hung(&mut self, who: Account, at: Duration) {
        self.hung.push((who, at));
    }

    fn visit(&mut self, who: Account, room: &Arc<str>) -> &mut Visit {
        self.visits.entry((who, Arc::clone(room))).or_default()
    }

    pub(super) fn heard(&mut self, message: &MessageId, hearing: Hearing) {
        let hearings = self.of.entry(message.clone()).or_default();
        if hearings.is_empty() {
            self.firsts.entry((message.from, message.to)).or_default().push(message.clone());
        }
        hearings.push(hearing);
    }

    pub(super) fn contains(&self, message: &MessageId) -> bool {
        self.of.contains_key(message)
    }

    /// How many were read, each counted once.
    pub(super) fn count(&self) -> usize {
        self.of.len()
    }

    /// Those that were read more often than once, and whether that must not be.
    pub(super) fn repeated(&self, faults: &[Fault]) -> impl Iterator<Item = (&MessageId, bool)> {
        let repeated = self.of.iter().filter(|(_, hearings)| hearings.len() > 1);
        repeated.map(|(message, hearings)| (message, !self.may_repeat(message, hearings, faults)))
    }

    /// Those that were read for the first time behind a later one of the same sender, although nothing excuses it.
    pub(super) fn out_of_order(&self, faults: &[Fault]) -> BTreeSet<MessageId> {
        let mut found = BTreeSet::new();
        for messages in self.firsts.values() {
            for (at, message) in messages.iter().enumerate() {
                let later = messages[..at].iter().filter(|before| before.number > message.number);
                if later
                    .into_iter()
                    .any(|before| before.room == message.room || self.ought_to_wait(before, message, faults))
                {
                    found.insert(message.clone());
                }
            }
        }
        found
    }

    /// Whether the new message of another conversation had to wait for this one, and did not. Somebody who is called gets first what was
    /// kept, once the end of the earlier conversation is known.
    fn ought_to_wait(&self, new: &MessageId, kept: &MessageId, faults: &[Fault]) -> bool {
        let (Some(new_heard), Some(kept_heard)) = (self.first(new), self.first(kept)) else { return false };
        if new_heard.is_kept(new) || !kept_heard.is_kept(kept) {
            return false;
        }
        let visit = |message: &MessageId| self.visits.get(&(message.to, Arc::clone(&message.room))).copied();
        let (called, before) = (visit(new).unwrap_or_default(), visit(kept).unwrap_or_default());
        let (Some(rang), Some(entered), Some(left)) = (called.rang, called.entered, before.left) else {
            return false;
        };
        rang >= known(kept, left, faults) && new_heard.at + ALLOWANCE < entered + KEPT_FIRST
    }

    /// Whether a message may be read so often. It is brought again where a switchboard has ended, or seemed to, or a client has crashed,
    /// before it was noted what had been read; some times a session, and never twice in its own conversation.
    fn may_repeat(&self, message: &MessageId, hearings: &[Hearing], faults: &[Fault]) -> bool {
        let kept = || hearings.iter().filter(|hearing| hearing.is_kept(message));
        let brought = |session| kept().filter(|hearing| hearing.session == session).count();
        let excused = |hearing: &Hearing| {
            let boards = [message.board(), board(&hearing.room)];
            let crashes = |(who, at): &(Account, Duration)| *who == message.to && is_soon(*at, hearing.at);
            self.hung.iter().any(crashes)
                || faults.iter().any(|fault| boards.contains(&Some(fault.board)) && is_near(fault, hearing.at))
        };
        let all_but_last = &hearings[..hearings.len().saturating_sub(1)];
        all_but_last.iter().all(excused)
            && hearings.len() - kept().count() <= 1
            && kept().all(|hearing| brought(hearing.session) <= MOST_BROUGHT)
    }

    fn first(&self, message: &MessageId) -> Option<&Hearing> {
        self.of.get(message)?.first()
    }
}

/// When everybody knows that the switchboard of a conversation is dead which somebody has left then.
fn known(message: &MessageId, left: Duration, faults: &[Fault]) -> Duration {
    let board = message.board();
    let kills = faults.iter().filter(|fault| fault.killed && Some(fault.board) == board);
    let anew =
        kills.filter_map(|fault| fault.until.filter(|until| *until >= left)).map(|until| until + ANEW).min();
    anew.map_or(left + KNOWN, |anew| anew.min(left + KNOWN))
}

/// Whether the switchboard was away then, or soon after.
fn is_near(fault: &Fault, at: Duration) -> bool {
    fault.from <= at + NOT_NOTED && fault.until.is_none_or(|until| at <= until)
}

/// Whether something happened soon after that.
fn is_soon(at: Duration, after: Duration) -> bool {
    (after..=after + NOT_NOTED).contains(&at)
}
