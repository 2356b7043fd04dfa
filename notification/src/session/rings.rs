//! Who has rung the client: to which conversations it may still come, and how often each caller may ring.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use common::cluster::{Invitation, PassportKey};
use common::model::{Bucket, ConversationId, Generation, NodeId, Passport, Rate};

/// The rings of one session. A ring is of the session that was rung: switchboards are told of its end.
#[derive(Debug, Default)]
pub(super) struct Rings {
    /// To which conversations the client may come, the oldest first.
    outstanding: VecDeque<Rung>,
    /// Only buckets that are not full.
    callers: Vec<(Passport, Bucket)>,
    /// The same of those on the forward list, whom no stranger keeps from ringing.
    contacts: Vec<(Passport, Bucket)>,
    /// Those of all other callers, when so many ring that there is no room for one each.
    crowds: [Bucket; Self::CROWDS],
}

/// A ring that the client may still answer.
#[derive(Debug)]
pub(super) struct Rung {
    /// Where to.
    pub(super) conversation: ConversationId,
    /// Its number there.
    pub(super) ring: u64,
    /// The life of the switchboard that has rung.
    pub(super) switchboard: (NodeId, Generation),
    until: Instant,
}

impl Rings {
    /// More rings are not remembered; one that was forgotten may be repeated.
    const OUTSTANDING: usize = 64;
    /// Of more callers at once the later ones share some buckets: to forget one would give it a full one. Looked through at each
    /// ring.
    const CALLERS: usize = 64;
    /// See [`Rings::CALLERS`]. By a caller's name.
    const CROWDS: usize = 16;

    /// Somebody calls to where the client may be rung already: whether it is. If so, that ring goes on under the new number.
    pub(super) fn is_rung_again(&mut self, call: &Invitation, now: Instant) -> bool {
        let rung =
            self.outstanding.iter_mut().find(|rung| rung.conversation == call.conversation && rung.until > now);
        rung.map(|rung| rung.ring = rung.ring.max(call.ring)).is_some()
    }

    /// Whether the client is rung, and may still come.
    pub(super) fn has(&self, conversation: ConversationId, now: Instant) -> bool {
        self.outstanding.iter().any(|rung| rung.conversation == conversation && rung.until > now)
    }

    /// Whether `caller` may ring once more at `now`. In the session of the one who is called, since a caller has as many rooms and
    /// switchboards as it likes.
    pub(super) fn may_ring(&mut self, caller: &Passport, is_contact: bool, rate: Rate, now: Instant) -> bool {
        let callers = if is_contact { &mut self.contacts } else { &mut self.callers };
        callers.retain(|(_, bucket)| bucket.full_in(now) > Duration::ZERO);
        if let Some((_, bucket)) = callers.iter_mut().find(|(known, _)| known == caller) {
            return bucket.take(rate, now);
        }
        if callers.len() >= Self::CALLERS {
            let crowd = usize::from(PassportKey::of(caller).bucket()) % Self::CROWDS;
            return self.crowds.get_mut(crowd).is_some_and(|bucket| bucket.take(rate, now));
        }
        let mut bucket = Bucket::default();
        let may = bucket.take(rate, now);
        if bucket.full_in(now) > Duration::ZERO {
            callers.push((caller.clone(), bucket));
        }
        may
    }

    /// The client is rung and may come for so long.
    pub(super) fn rung(&mut self, call: &Invitation, now: Instant, life: Duration) {
        self.outstanding.retain(|rung| rung.conversation != call.conversation && rung.until > now);
        if self.outstanding.len() == Self::OUTSTANDING {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back(Rung {
            conversation: call.conversation,
            ring: call.ring,
            switchboard: (call.switchboard.clone(), call.generation),
            until: now + life,
        });
    }

    /// The session has ended: those that its client may still have answered. Whether it has is not known here.
    pub(super) fn end(&mut self, now: Instant) -> impl Iterator<Item = Rung> {
        std::mem::take(&mut self.outstanding).into_iter().filter(move |rung| rung.until > now)
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
        let mut rung =
            |caller, now| (0..1500).filter(|_| rings.may_ring(&who(caller), false, rate(5, 60), now)).count();
        assert_eq!((rung(1, now), rung(1, now), rung(2, now)), (5, 0, 5));
        assert_eq!(rung(1, now + Duration::from_secs(2)), 2);
        let later = now + Duration::from_secs(3600);
        assert_eq!(rung(1, later), 5);
        assert_eq!(rings.callers.len(), 1, "nobody else's is missing anything");
    }

    #[test]
    fn many_callers_take_no_more_memory_and_take_turns_in_vain() {
        let (mut rings, now) = (Rings::default(), Instant::now());
        let round = |rings: &mut Rings, now| {
            (0..100).filter(|caller| rings.may_ring(&who(*caller), false, rate(1, 1), now)).count()
        };
        let rang = round(&mut rings, now);
        assert!((Rings::CALLERS..=Rings::CALLERS + Rings::CROWDS).contains(&rang), "{rang}");
        assert_eq!(
            (1..100).map(|_| round(&mut rings, now)).sum::<usize>(),
            0,
            "whoever comes again finds its bucket"
        );
        assert_eq!(rings.callers.len(), Rings::CALLERS);
        assert!(rings.may_ring(&who(0), false, rate(0, 1), now), "no bound");
        assert!(rings.may_ring(&who(200), true, rate(1, 1), now), "a contact rings whoever else does");
        let later = now + Duration::from_secs(60);
        assert_eq!(round(&mut rings, later), rang, "a minute later each has one more");
    }

    /// Somebody calls to the conversation of that number.
    fn call(conversation: u128, ring: u64) -> Invitation {
        Invitation {
            conversation: ConversationId(Uuid::from_u128(conversation)),
            session: 100_000,
            switchboard: NodeId::parse("sb-1").unwrap(),
            generation: Generation(7),
            addr: ([127, 0, 0, 1], 1865).into(),
            caller: who(0),
            caller_name: "0".into(),
            again: false,
            ring,
            kept: None,
        }
    }

    #[test]
    fn a_ring_is_known_for_its_life() {
        let (mut rings, now) = (Rings::default(), Instant::now());
        let conversation = |number| ConversationId(Uuid::from_u128(number));
        assert!(!rings.has(conversation(1), now));
        rings.rung(&call(1, 1), now, LIFE);
        assert!(rings.has(conversation(1), now) && !rings.has(conversation(2), now));
        assert!(!rings.has(conversation(1), now + LIFE));
        for number in 0..1000 {
            rings.rung(&call(number, 1), now, LIFE);
            assert!(rings.outstanding.len() <= Rings::OUTSTANDING);
        }
        assert!(rings.has(conversation(999), now) && !rings.has(conversation(1), now));
        rings.rung(&call(1, 2), now + LIFE, LIFE);
        assert_eq!(rings.outstanding.len(), 1, "the others are over");
    }

    /// By the newest number that the switchboard has for each.
    #[test]
    fn the_end_of_a_session_names_its_rings() {
        let (mut rings, now) = (Rings::default(), Instant::now());
        rings.rung(&call(1, 4), now, LIFE);
        let later = now + LIFE / 2;
        rings.rung(&call(2, 1), later, LIFE);
        rings.rung(&call(3, 1), later, LIFE);
        assert!(rings.is_rung_again(&call(2, 9), later) && rings.is_rung_again(&call(2, 8), later));
        assert!(!rings.is_rung_again(&call(4, 1), later));
        let now = now + LIFE;
        assert!(!rings.is_rung_again(&call(1, 5), now), "it was over before");
        let ended: Vec<_> = rings.end(now).map(|rung| (rung.conversation.0.as_u128(), rung.ring)).collect();
        assert_eq!(ended, [(2, 9), (3, 1)]);
    }
}
