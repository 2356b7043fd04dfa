//! The timestamps of cells, in microseconds since 1970. Of two writes of a cell the one with the greater timestamp
//! holds, in whatever order they reach the servers; so each write says its own, and says the same when it is repeated.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

use crate::clock::{HybridClock, made_ms, wall};
use crate::model::{Epoch, MessageId, Passport};

/// How far ahead a cell may be for a write to be put above it: two days. ScyllaDB refuses timestamps more than three
/// days ahead.
const MOST_AHEAD: i64 = 2 * 24 * 60 * 60 * 1_000_000;
/// About how many passports it is remembered that a cell is ahead.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// One process's clock for writes: it rises with each, and above whatever was read.
///
/// It is the clock of the process's epochs too. So it follows what the other nodes gossip, and they follow it: a node
/// whose clock is behind writes above what it has heard of, though it has read nothing.
#[derive(Debug)]
pub(super) struct Stamps {
    clock: Arc<HybridClock>,
    /// Whose cells were written by a clock that the own one must not follow, and the greatest timestamp among them.
    ahead: Mutex<LruCache<Passport, i64>>,
    /// How many such cells were read.
    count: AtomicU64,
}

impl Stamps {
    pub(super) fn new(clock: Arc<HybridClock>) -> Self {
        Self { clock, ahead: Mutex::new(LruCache::new(REMEMBERED)), count: AtomicU64::new(0) }
    }

    /// A timestamp above all that this process gave or saw. Take it when the write is asked for: it is the write's
    /// place in the order.
    pub(super) fn next(&self) -> i64 {
        signed(self.clock.tick().0)
    }

    /// The same for what is `who`'s: above the cells that were read there also where their writer's clock is far ahead.
    pub(super) fn next_of(&self, who: &Passport) -> i64 {
        let next = self.next();
        let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
        match ahead.get_mut(who) {
            Some(last) if *last >= next => {
                *last += 1;
                *last
            }
            Some(_) => {
                ahead.pop(who);
                next
            }
            None => next,
        }
    }

    /// Takes note of the timestamp of a cell of `who`'s that was read, so that what this process writes next holds
    /// against it, also where the other process's clock is ahead.
    pub(super) fn seen(&self, who: &Passport, stamp: Option<i64>) {
        let Some(stamp) = stamp.filter(|stamp| *stamp > 0) else { return };
        let Err(error) = self.clock.observe(Epoch(stamp.cast_unsigned())) else { return };
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            tracing::warn!(%who, %error, count, "rows were written by a clock far ahead; compare those of all machines");
        }
        let most = i64::try_from(wall().as_micros()).unwrap_or(i64::MAX).saturating_add(MOST_AHEAD);
        if stamp <= most {
            let mut ahead = self.ahead.lock().unwrap_or_else(PoisonError::into_inner);
            let last = ahead.get_or_insert_mut(who.clone(), || stamp);
            *last = stamp.max(*last);
        }
    }
}

fn signed(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}

/// For cells in which the greatest message holds: rises with the id. Of two ids with the same one the servers keep the
/// greater value, which is the later id.
pub(super) fn rising(id: MessageId) -> i64 {
    // Ids of one process count up within a millisecond in the 12 bits behind it (`clock::MessageClock`).
    let count = u64::from(id.0.as_fields().2 & 0xfff).min(999);
    signed(made_ms(id).saturating_mul(1000).saturating_add(count))
}

/// For cells in which the earliest message holds: falls with the id.
///
/// Mirrored at a day in the past, so that no timestamp lies in the future, which ScyllaDB refuses.
pub(super) fn falling(id: MessageId) -> i64 {
    /// 2025-01-01
    const MIRROR: i64 = 1_735_689_600_000_000;
    MIRROR.saturating_sub(rising(id).saturating_sub(MIRROR)).max(1)
}

/// For cells in which the latest time holds.
pub(super) fn of_ms(ms: u64) -> i64 {
    signed(ms.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{MessageClock, wall};

    #[test]
    fn stamps_rise_above_what_was_seen() {
        let who = Passport::parse("who@example.com").unwrap();
        let clock = Arc::new(HybridClock::default());
        let stamps = Stamps::new(Arc::clone(&clock));
        let first = stamps.next();
        stamps.seen(&who, Some(first + 2_000_000));
        assert!(stamps.next() > first + 2_000_000);
        assert!(clock.tick().0 > signed_back(first + 2_000_000), "epochs follow");
        clock.observe(Epoch(signed_back(first + 5_000_000))).unwrap();
        assert!(stamps.next() > first + 5_000_000, "and are followed");
        stamps.seen(&who, None);
        stamps.seen(&who, Some(-1));
    }

    #[test]
    fn what_is_far_ahead_counts_where_it_was_seen() {
        let [who, other] = ["who", "other"].map(|name| Passport::parse(&format!("{name}@example.com")).unwrap());
        let stamps = Stamps::new(Arc::default());
        let first = stamps.next();
        let far = first + 100_000_000;
        for stamp in [far, far - 50_000_000] {
            stamps.seen(&who, Some(stamp));
        }
        assert_eq!([stamps.next_of(&who), stamps.next_of(&who)], [far + 1, far + 2]);
        assert!(stamps.next_of(&other) < far && stamps.next() < far);
        // Nobody can write above that, and the servers might refuse it.
        stamps.seen(&other, Some(first + 2 * MOST_AHEAD));
        stamps.seen(&other, Some(i64::MAX));
        assert!(stamps.next_of(&other) < far);
        assert_eq!(stamps.count.load(Ordering::Relaxed), 4);
    }

    fn signed_back(stamp: i64) -> u64 {
        u64::try_from(stamp).unwrap()
    }

    #[test]
    fn ids_rise_and_fall() {
        let clock = MessageClock::new().unwrap();
        let ids: Vec<_> = (0..900).map(|_| clock.tick()).collect();
        assert!(ids.is_sorted_by(|a, b| rising(*a) < rising(*b) && falling(*a) > falling(*b)));
        let now = i64::try_from(wall().as_micros()).unwrap();
        assert!(rising(ids[0]) > now - 1_000_000 && rising(ids[899]) < now + 2_000_000);
        assert!(falling(ids[0]) > 0 && falling(ids[0]) < now);
    }
}
