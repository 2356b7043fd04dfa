//! How far one participant has got: by what the other side has confirmed for messages in history, by what was
//! written for the rest. No I/O in here.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::push::Ticket;

/// The live cursor of one participation: the last message up to which the other side has confirmed every byte. `M` is
/// what messages are known by.
#[derive(Debug)]
pub(crate) struct LiveCursor<M> {
    /// Where kept messages end in the stream to the client, oldest first.
    unconfirmed: VecDeque<(u64, M)>,
    confirmed: Option<M>,
    /// Where it stood before the client sent its last command, here or to its notification server: a kernel may confirm what no
    /// client has read, but who sends has most likely read what came before.
    at_last_command: Option<M>,
    /// What is known of commands that are still to come.
    mark: Option<Mark<M>>,
    /// When what is confirmed, and not certain, was known to be so, the oldest first.
    steps: Vec<(Instant, M)>,
    reported: Option<M>,
}

/// A command that ends behind byte `arrived` was sent after `confirmed` was confirmed.
///
/// A command may have been in a buffer for long when it is handled. What was confirmed by then says nothing about
/// what its sender had read.
#[derive(Debug, Clone, Copy)]
struct Mark<M> {
    arrived: u64,
    confirmed: Option<M>,
}

impl<M> Default for LiveCursor<M> {
    fn default() -> Self {
        let (unconfirmed, steps) = (VecDeque::new(), Vec::new());
        Self { unconfirmed, confirmed: None, at_last_command: None, mark: None, steps, reported: None }
    }
}

impl<M: Copy + Ord> LiveCursor<M> {
    /// More entries than this are thinned out: the cursor then moves in greater steps, never too far.
    const MOST: usize = 1024;
    /// The same for steps.
    const STEPS: usize = 16;
    /// Who is heard so long after it has confirmed something has read it: it is the same client.
    const READ: Duration = Duration::from_secs(5);

    /// A kept message was queued and ends at byte `end` of the stream.
    pub(crate) fn queued(&mut self, message: M, end: u64) {
        if self.unconfirmed.len() == Self::MOST {
            // Of each pair the later one stays: the cursor moves when both are confirmed.
            let mut later = true;
            self.unconfirmed.retain(|_| {
                later = !later;
                later
            });
        }
        self.unconfirmed.push_back((end, message));
    }

    /// The other side has confirmed so many bytes.
    pub(crate) fn confirm(&mut self, bytes: u64) {
        while let Some((_, message)) = self.unconfirmed.pop_front_if(|(end, _)| *end <= bytes) {
            self.confirmed = Some(message);
        }
        if self.unconfirmed.is_empty() {
            self.unconfirmed = VecDeque::new();
        }
    }

    /// Of the client's bytes so many have arrived; asked after [`LiveCursor::confirm`] was told.
    pub(crate) fn mark(&mut self, arrived: u64) {
        // An older mark that a command in a buffer will use stays until then: it would never be used otherwise
        // if there is always one.
        if self.mark.is_none_or(|mark| mark.arrived == arrived) {
            self.mark = Some(Mark { arrived, confirmed: self.confirmed });
        }
    }

    /// Whether a mark would tell something new.
    pub(crate) fn wants_mark(&self) -> bool {
        self.mark.map_or(self.at_last_command, |mark| mark.confirmed) != self.confirmed
    }

    /// The client has sent a command that ends at byte `end` of what it sends.
    pub(crate) fn command(&mut self, end: u64) {
        if let Some(mark) = self.mark.take_if(|mark| mark.arrived < end) {
            self.is_read(mark.confirmed);
        }
    }

    /// Notes what is confirmed at `now`. To be told about once a second while [`LiveCursor::is_unsure`].
    pub(crate) fn step(&mut self, now: Instant) {
        let last = self.steps.last().map(|(_, message)| *message).max(self.at_last_command);
        let Some(confirmed) = self.confirmed.filter(|_| self.confirmed > last) else { return };
        if self.steps.len() == Self::STEPS {
            // Of each pair the later one stays: it says too little, never too much.
            let mut later = true;
            self.steps.retain(|_| {
                later = !later;
                later
            });
        }
        self.steps.push((now, confirmed));
    }

    /// The same client was heard elsewhere at `at`.
    pub(crate) fn heard(&mut self, at: Instant) {
        let read = self.steps.iter().take_while(|(since, _)| *since + Self::READ <= at).last();
        self.is_read(read.map(|(_, message)| *message));
    }

    fn is_read(&mut self, message: Option<M>) {
        self.at_last_command = self.at_last_command.max(message);
        self.steps.retain(|(_, message)| Some(*message) > self.at_last_command);
        if self.steps.is_empty() {
            self.steps = Vec::new();
        }
    }

    /// Whether something is confirmed of which it is not known that the client has read it.
    pub(crate) fn is_unsure(&self) -> bool {
        self.confirmed != self.at_last_command
    }

    /// The client has ended the connection, in order or by what makes no sense: what was confirmed by then stays
    /// delivered, since a kernel resets a connection that is closed with something unread.
    pub(crate) fn closed(&mut self) {
        self.is_read(self.confirmed);
    }

    /// Whether there is something to confirm.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.unconfirmed.is_empty()
    }

    /// Where the last kept message that was queued ends, if it is not confirmed.
    pub(crate) fn end(&self) -> Option<u64> {
        self.unconfirmed.back().map(|(end, _)| *end)
    }

    /// Whether it has moved since [`LiveCursor::report`].
    pub(crate) fn has_moved(&self) -> bool {
        self.confirmed != self.reported
    }

    /// The place to write behind, if it has moved.
    pub(crate) fn report(&mut self) -> Option<M> {
        let moved = self.has_moved();
        self.reported = self.confirmed;
        self.confirmed.filter(|_| moved)
    }

    /// The final place: all that was confirmed if the connection ended in order, otherwise back to the client's
    /// last command.
    pub(crate) fn finish(&self, in_order: bool) -> Option<M> {
        if in_order { self.confirmed } else { self.at_last_command }
    }
}

/// Messages that are not kept, and whose senders wait until they are written to this participant.
#[derive(Debug, Default)]
pub(crate) struct Awaited {
    waiting: VecDeque<(u64, Ticket)>,
    /// Those among them with a deadline.
    bounded: usize,
}

impl Awaited {
    /// A message was queued and ends at byte `end` of the stream. Bounded by the queue it is in.
    pub(crate) fn queued(&mut self, ticket: Ticket, end: u64) {
        self.bounded += usize::from(ticket.deadline().is_some());
        self.waiting.push_back((end, ticket));
    }

    /// So many bytes have been written.
    pub(crate) fn written(&mut self, bytes: u64) {
        while let Some((_, ticket)) = self.waiting.pop_front_if(|(end, _)| *end <= bytes) {
            self.bounded -= usize::from(ticket.deadline().is_some());
            ticket.written();
        }
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
    }

    /// Whether one of them has a deadline.
    pub(crate) fn is_bounded(&self) -> bool {
        self.bounded > 0
    }

    /// Gives up those whose deadline passes within `soon`, the time until the next look.
    pub(crate) fn expire(&mut self, now: Instant, soon: Duration) {
        self.waiting.retain(|(_, ticket)| ticket.deadline().is_none_or(|deadline| deadline >= now + soon));
        self.bounded = self.waiting.iter().filter(|(_, ticket)| ticket.deadline().is_some()).count();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::model::MessageId;
    use uuid::Uuid;

    fn id(number: u128) -> MessageId {
        MessageId(Uuid::from_u128(number))
    }

    #[test]
    fn moves_over_what_is_wholly_confirmed() {
        let mut cursor = LiveCursor::default();
        cursor.queued(id(1), 100);
        cursor.queued(id(2), 200);
        assert_eq!((cursor.end(), cursor.report()), (Some(200), None));
        cursor.confirm(99);
        assert!(!cursor.has_moved());
        cursor.confirm(199);
        assert_eq!((cursor.report(), cursor.report()), (Some(id(1)), None));
        cursor.confirm(200);
        assert_eq!((cursor.report(), cursor.is_waiting(), cursor.finish(true)), (Some(id(2)), false, Some(id(2))));
    }

    #[test]
    fn goes_back_to_the_last_command_on_a_reset() {
        let mut cursor = LiveCursor::default();
        cursor.queued(id(1), 100);
        cursor.confirm(100);
        assert!(cursor.wants_mark());
        cursor.mark(0);
        assert!(!cursor.wants_mark());
        assert_eq!(cursor.finish(false), None);
        cursor.command(10);
        cursor.queued(id(2), 200);
        cursor.confirm(200);
        assert_eq!((cursor.finish(true), cursor.finish(false)), (Some(id(2)), Some(id(1))));
    }

    #[test]
    fn a_command_that_had_arrived_says_nothing_of_what_was_confirmed_later() {
        let mut cursor = LiveCursor::default();
        cursor.queued(id(1), 100);
        cursor.confirm(100);
        cursor.mark(30);
        for end in [10, 20, 30] {
            cursor.command(end);
            assert_eq!(cursor.finish(false), None);
        }
        cursor.command(31);
        assert_eq!(cursor.finish(false), Some(id(1)));
    }

    /// It is one client: who speaks to its notification server has read what it had here five seconds before.
    #[test]
    fn what_was_confirmed_before_the_client_was_heard_elsewhere_is_read() {
        let (mut cursor, begun) = (LiveCursor::default(), Instant::now());
        let at = |secs| begun + Duration::from_secs(secs);
        cursor.heard(at(100));
        assert!(!cursor.is_unsure());
        for (number, secs) in [(1, 0), (2, 10), (3, 20)] {
            cursor.queued(id(number), 100 * number as u64);
            cursor.confirm(100 * number as u64);
            cursor.step(at(secs));
            cursor.step(at(secs + 1));
        }
        assert!(cursor.is_unsure());
        for (heard, read) in [(4, None), (5, Some(1)), (14, Some(1)), (3, Some(1)), (16, Some(2)), (24, Some(2))] {
            cursor.heard(at(heard));
            assert_eq!((cursor.finish(false), cursor.finish(true)), (read.map(id), Some(id(3))), "{heard}");
        }
        // A command that says less takes nothing back.
        cursor.mark = Some(Mark { arrived: 0, confirmed: Some(id(1)) });
        cursor.command(10);
        assert_eq!(cursor.finish(false), Some(id(2)));
        cursor.heard(at(25));
        assert!(!cursor.is_unsure() && cursor.steps.is_empty());
    }

    #[test]
    fn steps_are_bounded_and_never_say_too_much() {
        let (mut cursor, begun) = (LiveCursor::default(), Instant::now());
        let at = |secs| begun + Duration::from_secs(secs);
        for second in 1..=1000 {
            cursor.queued(id(second), second as u64);
            cursor.confirm(second as u64);
            cursor.step(at(second as u64));
            assert!(cursor.steps.len() <= LiveCursor::<MessageId>::STEPS);
        }
        for heard in 1..=1005 {
            cursor.heard(at(heard));
            assert!(cursor.finish(false).is_none_or(|id| id.0.as_u128() + 5 <= u128::from(heard)));
        }
        assert_eq!(cursor.finish(false), Some(id(1000)));
    }

    #[test]
    fn the_mark_moves_though_there_is_always_a_command_in_the_buffer() {
        let mut cursor = LiveCursor::default();
        for step in 1..100 {
            cursor.queued(id(step), 100 * step as u64);
            cursor.confirm(100 * step as u64);
            cursor.mark(10 * step as u64);
            cursor.mark(10 * step as u64 + 5);
            cursor.command(10 * step as u64 + 1);
            assert_eq!(cursor.finish(false), Some(id(step)));
        }
    }

    #[test]
    fn is_bounded_and_never_moves_too_far() {
        let mut cursor = LiveCursor::default();
        for number in 1..=100_000 {
            cursor.queued(id(number), 10 * number as u64);
            assert!(cursor.unconfirmed.len() <= LiveCursor::<MessageId>::MOST);
        }
        for bytes in (0..1_000_000).step_by(777) {
            cursor.confirm(bytes);
            assert!(cursor.finish(true).is_none_or(|id| id.0.as_u128() * 10 <= u128::from(bytes)));
        }
        cursor.confirm(1_000_000);
        assert_eq!(cursor.finish(true), Some(id(100_000)));
    }
}
