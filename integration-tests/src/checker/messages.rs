//! What became of each message.

use std::collections::BTreeMap;
use std::time::Duration;

use super::hearing::{Hearing, Hearings};
use super::ledger::{Account, Entry, Event, Fault, MessageId};

/// What is not acknowledged must be refused, or its connection end, so soon after it was read.
const ANSWERED: Duration = Duration::from_secs(5);
/// What the way of message and answer, and this machine, may add.
const ALLOWANCE: Duration = Duration::from_millis(500);

/// What the sender knows of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Nothing,
    Acknowledged,
    Refused,
    Unsure,
}

/// A message on its way.
#[derive(Debug, Clone, Copy)]
struct Sent {
    at: Duration,
    /// Whether something must come.
    answered: bool,
    /// What is known, and since when.
    known: (Known, Duration),
}

/// What became of all messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Messages {
    /// Messages sent.
    pub sent: usize,
    /// Messages that were acknowledged.
    pub acknowledged: usize,
    /// Messages that arrived, each counted once.
    pub received: usize,
    /// Messages of which the sender may believe that they arrive, and that have not.
    pub lost: Vec<MessageId>,
    /// Messages that arrived again, as they may: their switchboard had ended, or their reader crashed, before it was noted that they were read.
    pub again: usize,
    /// Messages that arrived more often than they may.
    pub repeated: Vec<MessageId>,
    /// Messages that arrived for the first time behind a later one of the same sender to the same recipient: in the same conversation,
    /// or in another one whose messages had to wait for what was kept.
    pub out_of_order: Vec<MessageId>,
    /// Messages that were neither acknowledged nor refused, although their connection stayed.
    pub unanswered: Vec<MessageId>,
    /// Messages that were answered, or whose connection ended, later than 5 s after they were sent. While its switchboard is killed
    /// or stands still nothing is read there: then it is 5 s from the end of that.
    pub late: Vec<MessageId>,
    /// Messages that reached somebody for whom they were not, or that nobody has sent.
    pub astray: Vec<MessageId>,
}

impl Messages {
    /// Judges all entries, with what befell switchboards meanwhile: every message must have had its time.
    #[must_use]
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>, faults: &[Fault]) -> Self {
        let mut fold = Fold::default();
        entries.into_iter().for_each(|entry| fold.take(entry));
        fold.judge(faults)
    }
}

#[derive(Default)]
struct Fold {
    outcome: Messages,
    sent: BTreeMap<MessageId, Sent>,
    hearings: Hearings,
}

impl Fold {
    fn take(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Sent { message, answered } => {
                let sent = Sent { at: entry.at, answered: *answered, known: (Known::Nothing, entry.at) };
                self.sent.insert(message.clone(), sent);
            }
            Event::Acknowledged(message) => self.learn(message, Known::Acknowledged, entry.at),
            Event::Refused(message) => self.learn(message, Known::Refused, entry.at),
            Event::Unsure(message) => self.learn(message, Known::Unsure, entry.at),
            Event::Received { message, room } => {
                let room = room.clone();
                self.receive(entry.account, message, Hearing { at: entry.at, session: entry.session, room });
            }
            Event::Hung => self.hearings.hung(entry.account, entry.at),
            Event::Rang(room) => self.hearings.rang(entry.account, room, entry.at),
            Event::Entered(room) => self.hearings.entered(entry.account, room, entry.at),
            Event::Left(room) => self.hearings.left(entry.account, room, entry.at),
            _ => {}
        }
    }

    fn learn(&mut self, message: &MessageId, known: Known, at: Duration) {
        if let Some(sent) = self.sent.get_mut(message) {
            sent.known = (known, at);
        }
    }

    fn receive(&mut self, by: Account, message: &MessageId, hearing: Hearing) {
        if message.to == by && self.sent.contains_key(message) {
            self.hearings.heard(message, hearing);
        } else {
            self.outcome.astray.push(message.clone());
        }
    }

    fn judge(self, faults: &[Fault]) -> Messages {
        let Self { mut outcome, sent, hearings } = self;
        outcome.sent = sent.len();
        outcome.received = hearings.count();
        for (message, sent) in sent {
            let arrived = hearings.contains(&message);
            let (known, since) = sent.known;
            let late = since > due(&message, sent.at, faults);
            // What succeeds in silence has succeeded, if it was in time that nothing came.
            let believed = match known {
                Known::Acknowledged => true,
                Known::Nothing => !sent.answered,
                Known::Unsure => !sent.answered && late,
                Known::Refused => false,
            };
            outcome.acknowledged += usize::from(known == Known::Acknowledged);
            if sent.answered && known == Known::Nothing {
                outcome.unanswered.push(message.clone());
            } else if late && (sent.answered || known == Known::Refused) {
                outcome.late.push(message.clone());
            }
            if believed && !arrived {
                outcome.lost.push(message);
            }
        }
        for (message, too_often) in hearings.repeated(faults) {
            if too_often {
                outcome.repeated.push(message.clone());
            } else {
                outcome.again += 1;
            }
        }
        outcome.out_of_order = hearings.out_of_order(faults).into_iter().collect();
        outcome
    }
}

/// Until when a message must be answered, or its connection end. The time counts from when the switchboard can have read it.
fn due(message: &MessageId, sent: Duration, faults: &[Fault]) -> Duration {
    let board = message.board();
    let mut due = sent + ANSWERED;
    // They stand in the order in which they began.
    for fault in faults.iter().filter(|fault| Some(fault.board) == board) {
        if fault.from < due {
            due = due.max(fault.until.unwrap_or(Duration::MAX).saturating_add(ANSWERED));
        }
    }
    due.saturating_add(ALLOWANCE)
}
