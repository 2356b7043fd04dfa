//! Who has rung the client: to which conversations it may still come, and how often each caller may ring.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use common::model::{Bucket, ConversationId, Passport, Rate};

/// The rings of one session. What it knows ends with it: a ring is of the session that was rung.
#[derive(Debug, Default)]
pub(super) struct Rings {
    /// Until when the client may come, the oldest first.
    outstanding: VecDeque<(ConversationId, Instant)>,
    /// Only buckets that are not full.
    callers: Vec<(Passport, Bucket)>,
}

impl Rings {
    /// More rings are not remembered; one that was forgotten may be repeated.
    const OUTSTANDING: usize = 64;
    /// Of more callers at once the one who has rung least is forgotten. Looked through at each ring.
    const CALLERS: usize = 64;

    /// Whether the client is rung, and may still come.
    pub(super) fn has(&self, conversation: ConversationId, now: Instant) -> bool {
        self.outstanding.iter().any(|(rung, until)| *rung == conversation && *until > now)
    }

    /// Whether `caller` may ring once more at `now`. In the session of the one who is called, since a caller has as many rooms and
    /// switchboards as it likes.
    pub(super) fn may_ring(&mut self, caller: &Passport, rate: Rate, now: Instant) -> bool {
        let known = self.callers.iter().position(|(known, _)| known == caller);
        let mut bucket = known.map_or_else(Bucket::default, |at| self.callers.swap_remove(at).1);
        let may = bucket.take(rate, now);
        self.callers.retain(|(_, bucket)| bucket.full_in(now) > Duration::ZERO);
        if self.callers.len() >= Self::CALLERS {
            let least = self.callers.iter().enumerate().min_by_key(|(_, (_, bucket))| bucket.full_in(now));
            if let Some(at) = least.map(|(at, _)| at) {
                self.callers.swap_remove(at);
            }
        }
        if bucket.full_in(now) > Duration::ZERO {
            self.callers.push((caller.clone(), bucket));
        }
        may
    }

    /// The client is rung and may come for so long.
    pub(super) fn rung(&mut self, conversation: ConversationId, now: Instant, life: Duration) {
        self.outstanding.retain(|(rung, until)| *rung != conversation && *until > now);
        if self.outstanding.len() == Self::OUTSTANDING {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back((conversation, now + life));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::model::Rates;
    use uuid::Uuid;

    const LIFE: Duration = Duration::from_secs(120);

    fn rate(ring_burst: u32, ring_per_minute: u32) -> Rate {
        Rates { ring_burst, ring_per_minute, ..Rates::default() }.ring()
    }

    fn who(number: usize) -> Passport {
        Passport::parse(&format!("{number}@example.com")).unwrap()
    }

    #[test]
    fn each_caller_has_a_bucket_and_nobody_takes_from_anothers() {
        let (mut rings, now) = (Rings::default(), Instant::now());
        let mut rung = |caller, now| (0..1500).filter(|_| rings.may_ring(&who(caller), rate(5, 60), now)).count();
        assert_eq!((rung(1, now), rung(1, now), rung(2, now)), (5, 0, 5));
        assert_eq!(rung(1, now + Duration::from_secs(2)), 2);
        let later = now + Duration::from_secs(3600);
        assert_eq!(rung(1, later), 5);
        assert_eq!(rings.callers.len(), 1, "nobody else's is missing anything");
    }

    #[test]
    fn many_callers_take_no_more_memory_and_do_not_free_who_rings_most() {
        let (mut rings, now) = (Rings::default(), Instant::now());
        while rings.may_ring(&who(0), rate(5, 1), now) {}
        for caller in 1..10_000 {
            assert!(rings.may_ring(&who(caller), rate(5, 1), now));
            assert!(rings.callers.len() <= Rings::CALLERS);
        }
        assert!(!rings.may_ring(&who(0), rate(5, 1), now));
        assert!(rings.may_ring(&who(0), rate(0, 1), now), "no bound");
    }

    #[test]
    fn a_ring_is_known_for_its_life() {
        let (mut rings, now) = (Rings::default(), Instant::now());
        let conversation = |number| ConversationId(Uuid::from_u128(number));
        assert!(!rings.has(conversation(1), now));
        rings.rung(conversation(1), now, LIFE);
        assert!(rings.has(conversation(1), now) && !rings.has(conversation(2), now));
        assert!(!rings.has(conversation(1), now + LIFE));
        for number in 0..1000 {
            rings.rung(conversation(number), now, LIFE);
            assert!(rings.outstanding.len() <= Rings::OUTSTANDING);
        }
        assert!(rings.has(conversation(999), now) && !rings.has(conversation(1), now));
        rings.rung(conversation(1), now + LIFE, LIFE);
        assert_eq!(rings.outstanding.len(), 1, "the others are over");
    }
}
