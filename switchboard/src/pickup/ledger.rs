//! What was kept for one principal, and how far each line of it has been delivered. No I/O in here.

use std::collections::{HashMap, VecDeque};

use common::model::{InboxId, MessageId, ParticipationId};
use uuid::Uuid;

/// Where kept messages stand in order, with one cursor for them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Line {
    /// What history holds for a participation.
    Participation(ParticipationId),
    /// The inbox.
    Inbox,
}

/// What is to be written of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    /// The offline cursor of a participation.
    Cursor(ParticipationId, MessageId),
    /// The participation waits for nothing more.
    Remove(ParticipationId),
    /// The inbox is delivered up to here.
    Watermark(InboxId),
}

/// A line as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) line: Line,
    /// The messages that wait, in order.
    pub(super) waiting: VecDeque<Uuid>,
    /// All up to here was looked at, and more may follow. Nothing: it was read to its end.
    pub(super) seen: Option<Uuid>,
    /// The line goes once nothing waits in it and it was read to its end.
    pub(super) goes: bool,
}

/// What became of a message in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It was handed over; whether it was delivered shows later.
    Handed,
    /// Delivered, or passed over.
    Done,
}

/// The lines of one principal. Messages are known by their ids, which are unique.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    lines: Vec<Reading>,
    fates: HashMap<Uuid, Fate>,
}

impl Ledger {
    /// Takes what was read in place of what it knew. Messages that were handed over keep their fate. If only a `part` of the lines
    /// was read, the others stay as long as anything of them is on its way: its delivery is to be written.
    pub(super) fn take(&mut self, lines: Vec<Reading>, part: bool) {
        let before = std::mem::replace(&mut self.lines, lines);
        for line in before {
            let stays = part && line.waiting.iter().any(|id| self.fates.contains_key(id));
            if stays && self.lines.iter().all(|read| read.line != line.line) {
                self.lines.push(line);
            }
        }
        let lines = &self.lines;
        self.fates.retain(|id, fate| *fate == Fate::Handed || lines.iter().any(|line| line.waiting.contains(id)));
    }

    /// Whether a message was handed over, or is done with.
    pub(super) fn has(&self, id: Uuid) -> bool {
        self.fates.contains_key(&id)
    }

    /// Messages are handed over.
    pub(super) fn hand(&mut self, ids: &[Uuid]) {
        self.fates.extend(ids.iter().map(|id| (*id, Fate::Handed)));
    }

    /// Messages are delivered, or passed over.
    pub(super) fn done(&mut self, ids: &[Uuid]) {
        self.fates.extend(ids.iter().map(|id| (*id, Fate::Done)));
    }

    /// Messages that were handed over were not delivered: they wait again.
    pub(super) fn back(&mut self, ids: &[Uuid]) {
        for id in ids {
            if self.fates.get(id) == Some(&Fate::Handed) {
                self.fates.remove(id);
            }
        }
    }

    /// What is to be written by now. Each is given once.
    pub(super) fn writes(&mut self) -> Vec<Write> {
        let Self { lines, fates } = self;
        let mut writes = Vec::new();
        lines.retain_mut(|line| {
            let mut reached = None;
            while let Some(id) = line.waiting.pop_front_if(|id| fates.get(id) == Some(&Fate::Done)) {
                fates.remove(&id);
                reached = Some(id);
            }
            if line.waiting.is_empty() {
                if line.goes && line.seen.is_none() {
                    if let Line::Participation(id) = line.line {
                        writes.push(Write::Remove(id));
                    }
                    return false;
                }
                reached = line.seen.take().max(reached);
                // What follows is read next time.
                line.goes = false;
            }
            writes.extend(reached.map(|id| match line.line {
                Line::Participation(participation) => Write::Cursor(participation, MessageId(id)),
                Line::Inbox => Write::Watermark(InboxId(id)),
            }));
            true
        });
        writes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn row() -> ParticipationId {
        ParticipationId(id(100))
    }

    fn line(line: Line, waiting: &[u128], seen: Option<u128>) -> Reading {
        let waiting = waiting.iter().map(|number| id(*number)).collect();
        Reading { line, waiting, seen: seen.map(id), goes: line != Line::Inbox }
    }

    #[test]
    fn the_cursor_stays_before_what_another_sender_is_still_to_deliver() {
        let mut ledger = Ledger::default();
        // 1 and 3 are alice's, 2 and 4 bob's.
        ledger.take(vec![line(Line::Participation(row()), &[1, 2, 3, 4], None)], false);
        ledger.hand(&[id(1), id(3)]);
        assert_eq!(ledger.writes(), []);
        ledger.done(&[id(1), id(3)]);
        assert_eq!(ledger.writes(), [Write::Cursor(row(), MessageId(id(1)))]);
        assert_eq!(ledger.writes(), []);
        ledger.hand(&[id(2), id(4)]);
        ledger.done(&[id(2)]);
        assert_eq!(ledger.writes(), [Write::Cursor(row(), MessageId(id(3)))]);
        ledger.done(&[id(4)]);
        assert_eq!(ledger.writes(), [Write::Remove(row())]);
        assert_eq!((ledger.writes(), ledger.fates.len()), (vec![], 0));
    }

    #[test]
    fn what_comes_back_waits_again_and_what_is_done_stays_done() {
        let mut ledger = Ledger::default();
        ledger.take(vec![line(Line::Inbox, &[1, 2], None)], false);
        ledger.hand(&[id(1), id(2)]);
        ledger.done(&[id(1)]);
        ledger.back(&[id(1), id(2)]);
        assert!(ledger.has(id(1)) && !ledger.has(id(2)));
        assert_eq!(ledger.writes(), [Write::Watermark(InboxId(id(1)))]);
    }

    #[test]
    fn a_line_without_anything_goes_and_one_that_was_cut_moves_on() {
        let mut ledger = Ledger::default();
        let other = ParticipationId(id(200));
        let cut = line(Line::Participation(other), &[], Some(7));
        ledger.take(vec![line(Line::Participation(row()), &[], None), cut, line(Line::Inbox, &[], None)], false);
        assert_eq!(ledger.writes(), [Write::Remove(row()), Write::Cursor(other, MessageId(id(7)))]);
        assert_eq!(ledger.writes(), []);
    }

    #[test]
    fn a_new_reading_knows_what_was_handed_over() {
        let mut ledger = Ledger::default();
        ledger.take(vec![line(Line::Inbox, &[1, 2], None)], false);
        ledger.hand(&[id(1)]);
        ledger.take(vec![line(Line::Inbox, &[1, 2, 3], None)], false);
        assert!(ledger.has(id(1)) && !ledger.has(id(2)));
        ledger.done(&[id(1), id(2)]);
        assert_eq!(ledger.writes(), [Write::Watermark(InboxId(id(2)))]);
    }

    /// What comes behind a full plan is read without what is before it.
    #[test]
    fn a_reading_of_a_part_forgets_nothing_that_is_on_its_way() {
        let mut ledger = Ledger::default();
        let other = || vec![line(Line::Participation(ParticipationId(id(200))), &[11], None)];
        ledger
            .take(vec![line(Line::Participation(row()), &[1, 2], Some(2)), line(Line::Inbox, &[7], None)], false);
        ledger.hand(&[id(1)]);
        ledger.take(other(), true);
        ledger.done(&[id(1)]);
        ledger.take(other(), true);
        assert!(ledger.has(id(1)), "it would come once more");
        assert_eq!(ledger.writes(), [Write::Cursor(row(), MessageId(id(1)))]);
        ledger.take(other(), true);
        assert_eq!(ledger.lines.len(), 1, "nothing of the others is on its way");
    }

    #[test]
    fn a_line_that_stays_only_moves_its_cursor() {
        let mut ledger = Ledger::default();
        ledger.take(vec![Reading { goes: false, ..line(Line::Participation(row()), &[1], None) }], false);
        ledger.done(&[id(1)]);
        assert_eq!(ledger.writes(), [Write::Cursor(row(), MessageId(id(1)))]);
    }
}
