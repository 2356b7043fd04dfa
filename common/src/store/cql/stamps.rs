//! The timestamps of cells, in microseconds since 1970. Of two writes of a cell the one with the greater timestamp
//! holds, in whatever order they reach the servers; so each write says its own, and says the same when it is repeated.

use crate::clock::{HybridClock, made_ms};
use crate::model::{Epoch, MessageId};

/// One process's clock for writes: it rises with each, and above whatever was read.
#[derive(Debug, Default)]
pub(super) struct Stamps(HybridClock);

impl Stamps {
    /// A timestamp above all that this process gave or saw. Take it when the write is asked for: it is the write's
    /// place in the order.
    pub(super) fn next(&self) -> i64 {
        signed(self.0.tick().0)
    }

    /// Takes note of the timestamp of a cell that was read, so that what this process writes next holds against it,
    /// also where the other process's clock is ahead.
    pub(super) fn seen(&self, stamp: Option<i64>) {
        let Some(stamp) = stamp.and_then(|stamp| u64::try_from(stamp).ok()) else { return };
        if let Err(error) = self.0.observe(Epoch(stamp)) {
            tracing::debug!(%error, "a row was written by a node whose clock is far ahead of this one's");
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
        let stamps = Stamps::default();
        let first = stamps.next();
        stamps.seen(Some(first + 2_000_000));
        assert!(stamps.next() > first + 2_000_000);
        let far = first + 1_000_000_000;
        stamps.seen(Some(far));
        stamps.seen(None);
        stamps.seen(Some(-1));
        assert!(stamps.next() < far);
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
