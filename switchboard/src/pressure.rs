//! Back pressure: a sender waits while somebody has not read what was said before, and nobody makes others wait for long.
//! No I/O, no locks: part of what a conversation keeps behind its own.
//!
//! A participant is *behind* while more than [`UNREAD`] waits for it: in its mailbox, in its queue, and in the kernel without
//! the other side's confirmation. A sender *waits* while somebody else is behind. Whoever is behind while another waits
//! *holds up*. That may last [`PATIENCE`] unless [`UNREAD`] is taken within it, and among three or more [`SHARE`] in ten
//! seconds; then the conversation goes on without it.
//!
//! Two who both only send, and read nothing before they are done, would stand until one is given up. Whoever is behind, has
//! something to say and has taken nothing for [`STUCK`] is *stuck*, and those who are do not wait for each other: the bounds
//! of mailbox and queue hold for them. To be behind is no excuse by itself: somebody who does not read could otherwise say so
//! much at once that all others are thrown out.

use std::time::Duration;

use tokio::time::Instant;

/// More unread bytes than this make the others wait; so many must be taken within [`PATIENCE`].
pub(crate) const UNREAD: usize = 64 * 1024;
/// More bytes than this waiting for a participant's kernel: what is put behind them may not be written within the five seconds in
/// which the sender of an `A` is told. Whoever takes [`UNREAD`] within [`PATIENCE`], as it must, takes so many in two and a half.
const CALM: usize = 16 * 1024;
/// So long a participant may hold up without taking [`UNREAD`].
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// So long it may hold up in [`SLOTS`] seconds where three or more are.
const SHARE: Duration = Duration::from_secs(2);
/// Seconds over which [`SHARE`] is counted.
const SLOTS: usize = 10;
/// So long somebody who is behind and has something to say takes nothing before it counts as one who only sends.
const STUCK: Duration = Duration::from_secs(2);
/// So many make a crowd: one of them holds up the rest.
const CROWD: usize = 3;

/// Where one participant stands.
#[derive(Debug, Default)]
pub(crate) struct Pressure {
    /// Bytes in its queue and in the kernel, as its session has last said.
    queued: usize,
    /// Those in its queue alone.
    to_write: usize,
    /// More than [`CALM`] of those since then, when so many bytes had been written; less than [`UNREAD`] have been since.
    writing_since: Option<(Instant, u64)>,
    /// Bytes that the other side has confirmed, as its session has last said.
    taken: u64,
    state: State,
    /// Its session has a message at hand that waits for others.
    waits: bool,
    /// Its session takes nothing out of its mailbox yet: others wait for it, and it is not to blame.
    excused: bool,
    /// Since then it is behind, has had something to say and has taken nothing.
    stuck_since: Option<Instant>,
    held_up: Option<Box<HeldUp>>,
}

/// For how long somebody who has left has made others wait lately: it counts when it comes back.
#[derive(Debug)]
pub(crate) struct Debt(Box<HeldUp>);

impl Debt {
    /// Whether it still counts.
    pub(crate) fn is_recent(&mut self, now: Instant) -> bool {
        self.0.is_recent(now)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    UpToDate,
    Behind,
    /// Nobody waits for it: it is being thrown out, or nobody but the switchboard reads what it gets.
    Exempt,
}

impl Pressure {
    /// Of a place from which everything is read at once.
    pub(crate) fn exempt() -> Self {
        Self { state: State::Exempt, ..Self::default() }
    }

    /// Of somebody who is brought kept messages first: it holds nobody up before it [takes up](Self::take_up) what is new.
    pub(crate) fn excused() -> Self {
        Self { excused: true, ..Self::default() }
    }

    /// From now on it is judged by how it reads. Returns whether it was not before.
    pub(crate) fn take_up(&mut self) -> bool {
        std::mem::take(&mut self.excused)
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.state == State::Behind
    }

    /// Its session says what is in its queue, and how much has been written in all.
    pub(crate) fn set_to_write(&mut self, to_write: usize, written: u64, now: Instant) {
        self.to_write = to_write;
        let since = self.writing_since.filter(|(_, before)| written.saturating_sub(*before) < UNREAD as u64);
        self.writing_since = (to_write > CALM).then(|| since.unwrap_or((now, written)));
    }

    /// Whether what is said next, with so much in its mailbox, need not wait for it: it is written to it soon, or nobody knows when,
    /// since it takes less than it must. Without making anybody else wait it may do so for ever.
    pub(crate) fn is_calm(&self, mailbox: usize, now: Instant) -> bool {
        let is_slow = self.writing_since.is_some_and(|(since, _)| now >= since + PATIENCE);
        self.state == State::Exempt || is_slow || self.to_write + mailbox <= CALM
    }

    /// Its session says what is in its queue and in the kernel, and how much was confirmed.
    pub(crate) fn report(&mut self, queued: usize, taken: u64) {
        if taken > self.taken {
            self.stuck_since = None;
        }
        (self.queued, self.taken) = (queued, taken);
    }

    /// Looks whether it is behind, with so much in its mailbox. Returns whether that has changed.
    pub(crate) fn weigh(&mut self, mailbox: usize) -> bool {
        if self.state == State::Exempt {
            return false;
        }
        let is = if self.queued + mailbox > UNREAD { State::Behind } else { State::UpToDate };
        if is == State::UpToDate {
            self.stuck_since = None;
        }
        std::mem::replace(&mut self.state, is) != is
    }

    /// Its session has a message at hand that waits for others, or has none any more. Returns what was said before.
    pub(crate) fn set_waiting(&mut self, waits: bool) -> bool {
        std::mem::replace(&mut self.waits, waits)
    }

    /// Whether others make it wait.
    pub(crate) fn is_held_up(&self) -> bool {
        self.waits
    }

    /// It has something to say while another is behind.
    pub(crate) fn speaks(&mut self, now: Instant) {
        if self.is_behind() && !self.excused {
            self.stuck_since.get_or_insert(now);
        }
    }

    /// Whether it only sends.
    pub(crate) fn is_stuck(&self, now: Instant) -> bool {
        self.is_behind() && self.stuck_since.is_some_and(|since| now >= since + STUCK)
    }

    /// When it will count as one who only sends, if it takes nothing until then.
    pub(crate) fn stuck_at(&self) -> Option<Instant> {
        self.stuck_since.map(|since| since + STUCK)
    }

    /// It leaves: what stays of the time for which it has made others wait.
    pub(crate) fn leave(&mut self, now: Instant) -> Option<Debt> {
        let mut held_up = self.held_up.take()?;
        held_up.end(now);
        held_up.is_recent(now).then_some(Debt(held_up))
    }

    /// It has come back, by another connection.
    pub(crate) fn owes(&mut self, debt: Debt) {
        let Debt(mut held_up) = debt;
        (held_up.without_taking, held_up.taken_before) = (Duration::ZERO, 0);
        self.held_up = Some(held_up);
    }

    /// Takes note of whether somebody else waits: for this one too, if it is behind.
    pub(crate) fn settle(&mut self, another_waits: bool, now: Instant) {
        if self.is_behind() && another_waits && !self.excused {
            self.held_up.get_or_insert_with(|| Box::new(HeldUp::new(now))).begin(self.taken, now);
        } else if let Some(held_up) = &mut self.held_up {
            held_up.end(now);
            if !held_up.is_recent(now) {
                self.held_up = None;
            }
        }
    }

    /// Until when it may go on like that; nothing if it holds nobody up.
    pub(crate) fn deadline(&mut self, present: usize, now: Instant) -> Option<Instant> {
        let taken = self.taken;
        self.held_up.as_mut().and_then(|held_up| held_up.deadline(taken, present >= CROWD, now))
    }

    /// Nobody waits for it any more. What it has made others wait still counts.
    pub(crate) fn give_up(&mut self, now: Instant) {
        self.state = State::Exempt;
        if let Some(held_up) = &mut self.held_up {
            held_up.end(now);
        }
    }
}

/// For how long somebody has held others up.
#[derive(Debug)]
struct HeldUp {
    /// It does so since then.
    since: Option<Instant>,
    /// Time since `taken_before` was confirmed, of that which lies before `since`.
    without_taking: Duration,
    taken_before: u64,
    /// Time within each of the last seconds, counted from `epoch`; of that which lies before `since`.
    slots: [Duration; SLOTS],
    epoch: Instant,
    newest: u64,
}

impl HeldUp {
    fn new(now: Instant) -> Self {
        Self {
            since: None,
            without_taking: Duration::ZERO,
            taken_before: 0,
            slots: [Duration::ZERO; SLOTS],
            epoch: now,
            newest: 0,
        }
    }

    fn begin(&mut self, taken: u64, now: Instant) {
        if self.since.is_some() {
            return;
        }
        self.since = Some(now);
        if self.without_taking.is_zero() {
            self.taken_before = taken;
        }
    }

    fn end(&mut self, now: Instant) {
        self.fold(now);
        self.since = None;
    }

    /// Counts what lies between `since` and now.
    fn fold(&mut self, now: Instant) {
        self.turn(now);
        let Some(since) = self.since.replace(now) else { return };
        self.without_taking += now - since;
        let mut from = since;
        while from < now {
            let second = (from - self.epoch).as_secs();
            let to = (self.epoch + Duration::from_secs(second + 1)).min(now);
            if second + SLOTS as u64 > self.newest {
                self.slots[second as usize % SLOTS] += to - from;
            }
            from = to;
        }
    }

    /// Empties the slots of seconds that are over and whose place is needed.
    fn turn(&mut self, now: Instant) {
        let second = (now - self.epoch).as_secs();
        for over in (self.newest + 1..=second).take(SLOTS) {
            self.slots[over as usize % SLOTS] = Duration::ZERO;
        }
        self.newest = second;
    }

    fn is_recent(&mut self, now: Instant) -> bool {
        self.turn(now);
        self.slots.iter().any(|slot| !slot.is_zero())
    }

    fn deadline(&mut self, taken: u64, is_crowd: bool, now: Instant) -> Option<Instant> {
        self.since?;
        self.fold(now);
        if taken.saturating_sub(self.taken_before) >= UNREAD as u64 {
            (self.taken_before, self.without_taking) = (taken, Duration::ZERO);
        }
        let mut left = PATIENCE.saturating_sub(self.without_taking);
        if is_crowd {
            left = left.min(SHARE.saturating_sub(self.slots.iter().sum()));
        }
        Some(now + left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// One who is behind while somebody waits; confirms `rate` bytes a second, and lets the others go on for a moment at
    /// each confirmation. Returns after how many seconds it is given up.
    fn given_up(rate: u64, present: usize) -> Option<u64> {
        let begun = Instant::now();
        let mut pressure = Pressure::default();
        for step in 0..1000 {
            let now = begun + SECOND * step / 10;
            pressure.report(UNREAD + 1, rate * u64::from(step) / 10);
            pressure.weigh(0);
            pressure.settle(true, now);
            if pressure.deadline(present, now).is_some_and(|deadline| deadline <= now) {
                return Some(u64::from(step / 10));
            }
            if rate > 0 {
                pressure.report(0, rate * u64::from(step) / 10);
                assert!(pressure.weigh(0));
                pressure.settle(true, now);
            }
        }
        None
    }

    #[test]
    fn two_wait_for_whoever_takes_enough() {
        assert_eq!((given_up(0, 2), given_up(1000, 2)), (Some(10), None));
        let begun = Instant::now();
        // The same without ever being up to date: it is what counts that is taken.
        for (rate, expected) in [(0, Some(10)), (6_000, Some(10)), (7_000, None)] {
            let mut pressure = Pressure::default();
            let given_up = (0..1000u32).find(|step| {
                let now = begun + SECOND * *step / 10;
                pressure.report(UNREAD + 1, rate * u64::from(*step) / 10);
                pressure.weigh(0);
                pressure.settle(true, now);
                pressure.deadline(2, now).is_some_and(|deadline| deadline <= now)
            });
            assert_eq!(given_up.map(|step| step / 10), expected, "{rate} bytes a second");
        }
    }

    #[test]
    fn among_three_a_fifth_of_the_time_is_for_waiting() {
        assert_eq!(given_up(0, 3), Some(2));
        let begun = Instant::now();
        for (held_ms, expected) in [(150, None), (500, Some(3))] {
            let mut pressure = Pressure::default();
            let given_up = (0..60).find(|second| {
                let from = begun + SECOND * *second;
                pressure.report(UNREAD + 1, 1_000_000 * u64::from(*second));
                pressure.weigh(0);
                pressure.settle(true, from);
                let to = from + Duration::from_millis(held_ms);
                if pressure.deadline(3, to).is_some_and(|deadline| deadline <= to) {
                    return true;
                }
                pressure.report(0, 0);
                pressure.weigh(0);
                pressure.settle(true, to);
                false
            });
            assert_eq!(given_up, expected, "{held_ms} ms a second");
        }
    }

    #[test]
    fn only_who_makes_others_wait_is_given_up() {
        let (mut pressure, begun) = (Pressure::default(), Instant::now());
        pressure.report(UNREAD, 0);
        assert!(!pressure.weigh(0) && pressure.weigh(1) && pressure.is_behind());
        pressure.settle(false, begun);
        assert_eq!(pressure.deadline(5, begun + 100 * SECOND), None);
        pressure.settle(true, begun + 100 * SECOND);
        assert_eq!(pressure.deadline(5, begun + 100 * SECOND), Some(begun + 102 * SECOND));
        pressure.give_up(begun + 102 * SECOND);
        assert_eq!(pressure.deadline(5, begun + 102 * SECOND), None);
        assert!(!pressure.weigh(UNREAD) && !pressure.is_behind());
    }

    #[test]
    fn who_is_brought_what_was_kept_is_not_to_blame_meanwhile() {
        let (mut pressure, begun) = (Pressure::excused(), Instant::now());
        assert!(pressure.weigh(UNREAD + 1) && pressure.is_behind());
        pressure.settle(true, begun);
        assert_eq!(pressure.deadline(3, begun + 5 * SECOND), None);
        assert!(pressure.take_up() && !pressure.take_up());
        pressure.settle(true, begun + 5 * SECOND);
        assert_eq!(pressure.deadline(3, begun + 5 * SECOND), Some(begun + 7 * SECOND));
    }

    /// So many bytes as it must take, and never less than makes a message wait.
    #[test]
    fn a_message_waits_for_whoever_takes_enough() {
        let begun = Instant::now();
        for (rate, expected) in [(0, Some(10)), (6_000, Some(10)), (7_000, None)] {
            let mut pressure = Pressure::default();
            let calm = (0..1000u32).find(|step| {
                let now = begun + SECOND * *step / 10;
                pressure.set_to_write(CALM + 1, rate * u64::from(*step) / 10, now);
                pressure.is_calm(0, now)
            });
            assert_eq!(calm.map(|step| step / 10), expected, "{rate} bytes a second");
            let now = begun + 200 * SECOND;
            pressure.set_to_write(CALM, 0, now);
            assert!(pressure.is_calm(0, now));
            pressure.set_to_write(CALM + 1, 0, now);
            assert!(!pressure.is_calm(0, now), "it has been up to date");
        }
    }

    #[test]
    fn who_only_sends_is_stuck_and_who_reads_is_not() {
        let (mut pressure, begun) = (Pressure::default(), Instant::now());
        pressure.speaks(begun);
        assert_eq!(pressure.stuck_at(), None, "it is not behind");
        pressure.report(UNREAD + 1, 0);
        pressure.weigh(0);
        pressure.speaks(begun);
        pressure.speaks(begun + SECOND);
        assert!(!pressure.is_stuck(begun + STUCK - SECOND / 10) && pressure.is_stuck(begun + STUCK));
        pressure.report(UNREAD + 1, 1);
        assert!(!pressure.is_stuck(begun + STUCK), "it has read something");
        pressure.speaks(begun + STUCK);
        assert!(pressure.is_stuck(begun + 2 * STUCK));
        pressure.report(0, 1);
        pressure.weigh(0);
        pressure.report(UNREAD + 1, 1);
        pressure.weigh(0);
        assert!(!pressure.is_stuck(begun + 2 * STUCK), "it was up to date in between");
        let mut pressure = Pressure::excused();
        pressure.weigh(UNREAD + 1);
        pressure.speaks(begun);
        assert_eq!(pressure.stuck_at(), None, "it can take nothing yet");
    }

    #[test]
    fn what_somebody_has_made_others_wait_outlives_its_leave() {
        let begun = Instant::now();
        let mut pressure = Pressure::default();
        pressure.report(UNREAD + 1, 0);
        pressure.weigh(0);
        pressure.settle(true, begun);
        let cut = begun + SHARE;
        assert_eq!(pressure.deadline(3, cut), Some(cut));
        pressure.give_up(cut);
        let mut debt = pressure.leave(cut + SECOND).unwrap();
        assert!(debt.is_recent(cut + 5 * SECOND));
        let mut pressure = Pressure::default();
        pressure.owes(debt);
        pressure.report(UNREAD + 1, 0);
        pressure.weigh(0);
        let back = cut + 5 * SECOND;
        pressure.settle(true, back);
        assert_eq!(pressure.deadline(3, back), Some(back), "nothing is left of its two seconds");
        assert_eq!(pressure.deadline(2, back), Some(back + PATIENCE));
        pressure.settle(false, back);
        assert!(pressure.leave(back + 20 * SECOND).is_none());
    }

    #[test]
    fn old_waiting_is_forgotten() {
        let (mut pressure, begun) = (Pressure::default(), Instant::now());
        pressure.report(UNREAD + 1, 0);
        pressure.weigh(0);
        pressure.settle(true, begun);
        pressure.settle(false, begun + SECOND * 19 / 10);
        pressure.settle(false, begun + SECOND * 13);
        assert!(pressure.held_up.is_none());
        pressure.settle(true, begun + SECOND * 14);
        assert_eq!(pressure.deadline(3, begun + SECOND * 14), Some(begun + SECOND * 16));
    }
}
