//! What became of each message.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ledger::{Account, Entry, Event, MessageId};

/// What the sender knows of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nothing yet; whether something must come.
    Waiting {
        answered: bool,
    },
    Acknowledged,
    Refused,
    Unsure,
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
    /// Messages that arrived more often than once.
    pub repeated: Vec<MessageId>,
    /// Messages that arrived for the first time behind a later one of the same sender in the same conversation.
    pub out_of_order: Vec<MessageId>,
    /// Messages that were neither acknowledged nor refused, although their connection stayed.
    pub unanswered: Vec<MessageId>,
    /// Messages that reached somebody for whom they were not, or that nobody has sent.
    pub astray: Vec<MessageId>,
}

impl Messages {
    /// Judges all entries: every message must have had its time.
    #[must_use]
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut fold = Fold::default();
        entries.into_iter().for_each(|entry| fold.take(entry));
        fold.judge()
    }
}

#[derive(Default)]
struct Fold {
    outcome: Messages,
    known: BTreeMap<MessageId, Known>,
    received: BTreeSet<MessageId>,
    repeated: BTreeSet<MessageId>,
    out_of_order: BTreeSet<MessageId>,
    /// The last number by conversation, sender and recipient, of what came for the first time.
    last: BTreeMap<(Arc<str>, Account, Account), u32>,
}

impl Fold {
    fn take(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Sent { message, answered } => {
                self.known.insert(message.clone(), Known::Waiting { answered: *answered });
            }
            Event::Acknowledged(message) => _ = self.known.insert(message.clone(), Known::Acknowledged),
            Event::Refused(message) => _ = self.known.insert(message.clone(), Known::Refused),
            Event::Unsure(message) => _ = self.known.insert(message.clone(), Known::Unsure),
            Event::Received(message) => self.receive(entry.account, message),
            _ => {}
        }
    }

    fn receive(&mut self, by: Account, message: &MessageId) {
        let MessageId { room, from, to, number } = message;
        if *to != by || !self.known.contains_key(message) {
            self.outcome.astray.push(message.clone());
            return;
        }
        // What comes again is behind something later as well: that is a repetition, and told as one.
        if !self.received.insert(message.clone()) {
            self.repeated.insert(message.clone());
            return;
        }
        let last = self.last.entry((room.clone(), *from, *to)).or_default();
        if *last > *number {
            self.out_of_order.insert(message.clone());
        }
        *last = (*last).max(*number);
    }

    fn judge(self) -> Messages {
        let Self { mut outcome, known, received, repeated, out_of_order, .. } = self;
        outcome.sent = known.len();
        outcome.received = received.len();
        for (message, known) in known {
            let arrived = received.contains(&message);
            match known {
                Known::Acknowledged => {
                    outcome.acknowledged += 1;
                    if !arrived {
                        outcome.lost.push(message);
                    }
                }
                Known::Waiting { answered: true } => outcome.unanswered.push(message),
                Known::Waiting { answered: false } if !arrived => outcome.lost.push(message),
                Known::Waiting { answered: false } | Known::Refused | Known::Unsure => {}
            }
        }
        outcome.repeated = repeated.into_iter().collect();
        outcome.out_of_order = out_of_order.into_iter().collect();
        outcome
    }
}
