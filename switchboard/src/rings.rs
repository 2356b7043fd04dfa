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
    /// When those who have taken a ring were last asked whether it still is theirs.
    asked: Option<Instant>,
}

/// Somebody who is rung.
#[derive(Debug)]
struct Rung {
    who: Passport,
    /// The ring by which it came to be here.
    first: u64,
    /// The latest that a session may have taken, or has heard of since it has taken one.
    latest: u64,
    since: Instant,
    /// A session has taken the ring. It ends with that session, which says so; whoever calls again, or finds no room, asks.
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
    /// Those who have taken a ring are asked so often at most.
    const ASKED: Duration = Duration::from_secs(5);

    /// Forgets those who have not come within `life`.
    pub(crate) fn tidy(&mut self, life: Duration, now: Instant) {
        self.outstanding.retain(|rung| now.duration_since(rung.since) < life);
    }

    /// The number of the latest ring; 0 before the first.
    pub(crate) fn latest(&self) -> u64 {
        self.last
    }

    /// A number of its own, for what comes between two rings.
    pub(crate) fn next(&mut self) -> u64 {
        self.last += 1;
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

    /// Somebody is to be rung. Who has taken a ring may be rung again: its session decides.
    pub(crate) fn ring(&mut self, who: &Passport, now: Instant) -> Result<Ringing, BeingRung> {
        let number = self.last + 1;
        let again = match self.outstanding.iter_mut().find(|rung| rung.who == *who) {
            Some(rung) if !rung.taken => return Err(BeingRung),
            Some(rung) => {
                rung.latest = number;
                true
            }
            None => {
                self.outstanding.push(Rung {
                    who: who.clone(),
                    first: number,
                    latest: number,
                    since: now,
                    taken: false,
                });
                false
            }
        };
        self.last = number;
        Ok(Ringing { number, again })
    }

    /// A session has taken that ring: from now on it may come.
    pub(crate) fn taken(&mut self, who: &Passport, number: u64, now: Instant) {
        let rung = self.outstanding.iter_mut().find(|rung| rung.who == *who && rung.first <= number);
        if let Some(rung) = rung {
            (rung.since, rung.taken) = (now, true);
        }
    }

    /// That ring is over, and what was before it. Of one that came later it says nothing.
    pub(crate) fn over(&mut self, who: &Passport, number: u64) {
        self.outstanding.retain(|rung| rung.who != *who || rung.latest > number);
    }

    /// There is no room: who has taken a ring, each with its number, is to be asked whether it still may come; nobody, if that was
    /// done a moment ago.
    pub(crate) fn whom_to_ask(&mut self, now: Instant) -> Vec<(Passport, u64)> {
        if self.asked.is_some_and(|asked| now.duration_since(asked) < Self::ASKED) {
            return Vec::new();
        }
        let taken = self.outstanding.iter().filter(|rung| rung.taken);
        let taken: Vec<_> = taken.map(|rung| (rung.who.clone(), rung.latest)).collect();
        if !taken.is_empty() {
            self.asked = Some(now);
        }
        taken
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
        // Its session goes while two call again: what becomes of the later call decides.
        let (third, fourth) = (rings.ring(&bob, now).unwrap(), rings.ring(&bob, now).unwrap());
        assert!(third.again && fourth.again);
        for earlier in [second, third] {
            rings.over(&bob, earlier.number);
            assert!(rings.has(&bob));
        }
        rings.taken(&bob, fourth.number, now);
        assert!(rings.has(&bob));
        rings.over(&bob, fourth.number);
        assert_eq!(rings.len(), 0);
        rings.taken(&bob, fourth.number, now);
        assert_eq!(rings.len(), 0, "its session has ended before that was heard");
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

    #[test]
    fn who_has_taken_a_ring_is_asked_now_and_then() {
        let (mut rings, now) = (Rings::default(), Instant::now());
        let bob = rings.ring(&passport("bob"), now).unwrap();
        rings.ring(&passport("carol"), now).unwrap();
        assert_eq!(rings.whom_to_ask(now), [], "of those who are being rung it will be heard");
        rings.taken(&passport("bob"), bob.number, now);
        assert_eq!(rings.whom_to_ask(now), [(passport("bob"), bob.number)]);
        assert_eq!(rings.whom_to_ask(now + Rings::ASKED / 2), []);
        assert_eq!(rings.whom_to_ask(now + Rings::ASKED), [(passport("bob"), bob.number)]);
    }
}
