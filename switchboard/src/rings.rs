//! Who is rung in a conversation. No I/O, no locks: part of what a conversation keeps behind its own.
//!
//! Each ring has a number, which rises: whatever is heard of one late says nothing of those that came after it.

use std::time::Duration;

use common::model::Passport;
use tokio::time::Instant;

/// Who is rung and may still come.
#[derive(Debug, Default)]
pub(crate) struct Rings {
    outstanding: Vec<Rung>,
    last: u64,
}

/// Somebody who is rung.
#[derive(Debug)]
struct Rung {
    who: Passport,
    /// The latest ring that a session may have taken.
    number: u64,
    since: Instant,
    /// A session has taken the ring. It ends with that session: who calls again asks.
    taken: bool,
}

/// One ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ringing {
    /// Greater than those of all rings before it in the conversation.
    pub(crate) number: u64,
    /// A session has taken an earlier one; it may be gone.
    pub(crate) again: bool,
}

/// It is being rung at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BeingRung;

impl Rings {
    /// Forgets those who have not come within `life`.
    pub(crate) fn tidy(&mut self, life: Duration, now: Instant) {
        self.outstanding.retain(|rung| now.duration_since(rung.since) < life);
    }

    /// The number of the latest ring; 0 before the first.
    pub(crate) fn latest(&self) -> u64 {
        self.last
    }

    /// How many are rung.
    pub(crate) fn len(&self) -> usize {
        self.outstanding.len()
    }

    /// Whether somebody is rung, so that another ring takes no more room.
    pub(crate) fn has(&self, who: &Passport) -> bool {
        self.outstanding.iter().any(|rung| rung.who == *who)
    }

    /// Somebody is to be rung.
    pub(crate) fn ring(&mut self, who: &Passport, now: Instant) -> Result<Ringing, BeingRung> {
        let number = self.last + 1;
        let again = match self.outstanding.iter().find(|rung| rung.who == *who) {
            Some(rung) if !rung.taken => return Err(BeingRung),
            rung => rung.is_some(),
        };
        if !again {
            self.outstanding.push(Rung { who: who.clone(), number, since: now, taken: false });
        }
        self.last = number;
        Ok(Ringing { number, again })
    }

    /// A session has taken a ring: from now on it may come.
    pub(crate) fn taken(&mut self, who: &Passport, number: u64, now: Instant) {
        let rung = self.outstanding.iter_mut().find(|rung| rung.who == *who && rung.number <= number);
        if let Some(rung) = rung {
            (rung.number, rung.since, rung.taken) = (number, now, true);
        }
    }

    /// That ring is over, and what was before it. One that came later is not.
    pub(crate) fn over(&mut self, who: &Passport, number: u64) {
        self.outstanding.retain(|rung| rung.who != *who || rung.number > number);
    }

    /// It has come.
    pub(crate) fn answered(&mut self, who: &Passport) {
        self.outstanding.retain(|rung| rung.who != *who);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::passport;

    #[test]
    fn what_is_heard_late_of_a_ring_says_nothing_of_a_later_one() {
        let (mut rings, now, bob) = (Rings::default(), Instant::now(), passport("bob"));
        let first = rings.ring(&bob, now).unwrap();
        assert_eq!((first, rings.ring(&bob, now)), (Ringing { number: 1, again: false }, Err(BeingRung)));
        // It comes, goes, and is called once more before the end of the first ring is noticed.
        rings.answered(&bob);
        let second = rings.ring(&bob, now).unwrap();
        assert!(!second.again);
        rings.taken(&bob, first.number, now);
        assert_eq!(rings.ring(&bob, now), Err(BeingRung), "not taken yet");
        rings.over(&bob, first.number);
        assert!(rings.has(&bob) && rings.len() == 1);
        rings.taken(&bob, second.number, now);
        // Two ask again; what one is told last is older than what the other has brought about.
        let (third, fourth) = (rings.ring(&bob, now).unwrap(), rings.ring(&bob, now).unwrap());
        assert!(third.again && fourth.again);
        rings.taken(&bob, fourth.number, now);
        rings.over(&bob, third.number);
        assert!(rings.has(&bob));
        rings.over(&bob, fourth.number);
        assert_eq!(rings.len(), 0);
        rings.taken(&bob, fourth.number, now);
        assert_eq!(rings.len(), 0);
    }

    #[test]
    fn who_has_not_come_in_time_is_forgotten() {
        let (mut rings, now, life) = (Rings::default(), Instant::now(), Duration::from_secs(120));
        let bob = rings.ring(&passport("bob"), now).unwrap();
        rings.ring(&passport("carol"), now).unwrap();
        let later = now + Duration::from_secs(2);
        rings.taken(&passport("bob"), bob.number, later);
        rings.tidy(life, now + life);
        assert!(rings.has(&passport("bob")) && rings.len() == 1, "counted from when it was taken");
        rings.tidy(life, later + life);
        assert_eq!(rings.len(), 0);
    }
}
