//! Time, in the one place that may ask the machine for it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::model::{Epoch, MessageId, NodeId};

/// The wall clock, as the time since 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The wall clock in milliseconds since 1970.
#[must_use]
pub fn wall_ms() -> u64 {
    u64::try_from(wall().as_millis()).unwrap_or(u64::MAX)
}

/// Half of a pause to all of it, by chance, so that those who wait for the same do not all go on at once. Without randomness all of it.
#[must_use]
pub fn spread(pause: Duration) -> Duration {
    let share = getrandom::u32().map_or(1.0, |random| f64::from(random) / f64::from(u32::MAX));
    pause.mul_f64(0.5 + share / 2.0)
}

/// A clock that follows the wall clock, never goes back, and is never below what it was shown.
///
/// Epochs come from it, so that a sign-in is later than every sign-in its node has heard of, whatever the
/// machines' clocks say. (Kulkarni et al., "Logical Physical Clocks", 2014, with microseconds as the one counter.)
#[derive(Debug, Default)]
pub struct HybridClock {
    last: AtomicU64,
}

/// An epoch that is further ahead of the own clock than [`HybridClock::MAX_AHEAD`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an epoch {0} µs ahead of this node's clock")]
pub struct TooFarAhead(u64);

impl HybridClock {
    /// How far ahead of the own clock an epoch may be.
    pub const MAX_AHEAD: Duration = Duration::from_secs(10);

    /// A new epoch, greater than every one made or seen before.
    pub fn tick(&self) -> Epoch {
        self.tick_at(wall())
    }

    fn tick_at(&self, wall: Duration) -> Epoch {
        let wall = micros(wall);
        let next = |last: u64| Some(wall.max(last + 1));
        let last = self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).unwrap_or_default();
        Epoch(wall.max(last + 1))
    }

    /// Takes note of an epoch made elsewhere.
    ///
    /// # Errors
    /// [`TooFarAhead`], and nothing is noted: one node with a wrong clock must not drag the others along.
    pub fn observe(&self, epoch: Epoch) -> Result<(), TooFarAhead> {
        self.observe_at(epoch, wall())
    }

    fn observe_at(&self, epoch: Epoch, wall: Duration) -> Result<(), TooFarAhead> {
        let ahead = epoch.0.saturating_sub(micros(wall));
        if ahead > micros(Self::MAX_AHEAD) {
            return Err(TooFarAhead(ahead));
        }
        self.last.fetch_max(epoch.0, Ordering::AcqRel);
        Ok(())
    }

    /// The greatest epoch made or seen.
    pub fn highest(&self) -> Epoch {
        Epoch(self.last.load(Ordering::Acquire))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The time since the machine started, a suspended machine's sleep included: what deadlines are checked against
/// that must hold although the process was paused. (tokio's clock stands still meanwhile.)
#[must_use]
pub fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let secs = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(secs, u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// Makes the ids of messages: version 7 UUIDs (RFC 9562 §5.7) that rise strictly within the process, also when the
/// wall clock steps back or more than 4,096 are made in a millisecond.
///
/// The 62 bits behind time and count are random once for each clock, and tell the processes apart.
#[derive(Debug)]
pub struct MessageClock {
    /// Milliseconds since 1970 in the upper 52 bits, a count in the lower 12.
    last: AtomicU64,
    process: u64,
}

impl MessageClock {
    const COUNT_BITS: u32 = 12;

    /// A clock with random bits of its own.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new() -> Result<Self, getrandom::Error> {
        Ok(Self { last: AtomicU64::default(), process: getrandom::u64()? & (u64::MAX >> 2) })
    }

    /// A new id, greater than every one made before.
    pub fn tick(&self) -> MessageId {
        MessageId(self.uuid())
    }

    /// A new id for something else that is made less often: unique, and in the order of making.
    pub fn uuid(&self) -> Uuid {
        self.uuid_at(wall_ms())
    }

    fn uuid_at(&self, wall_ms: u64) -> Uuid {
        let wall = wall_ms << Self::COUNT_BITS;
        let next = |last: u64| Some(wall.max(last + 1));
        let last = self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).unwrap_or_default();
        let now = wall.max(last + 1);
        let (ms, count) = (now >> Self::COUNT_BITS, now & 0xfff);
        let high = ms << 16 | 0x7000 | count;
        Uuid::from_u64_pair(high, 1 << 63 | self.process)
    }
}

/// When an id of a [`MessageClock`] was made, in milliseconds since 1970.
#[must_use]
pub fn made_ms(id: MessageId) -> u64 {
    id.0.as_u64_pair().0 >> 16
}

/// Whether a sign-in at (`a`, `node_a`) is later than one at (`b`, `node_b`).
#[must_use]
pub fn is_later(a: Epoch, node_a: &NodeId, b: Epoch, node_b: &NodeId) -> bool {
    (a, node_a) > (b, node_b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_when_the_wall_clock_steps_back() {
        let clock = HybridClock::default();
        let first = clock.tick_at(Duration::from_secs(100));
        assert_eq!(first, Epoch(100_000_000));
        assert_eq!(clock.tick_at(Duration::from_secs(40)), Epoch(100_000_001));
    }

    #[test]
    fn message_ids_rise_when_the_wall_clock_steps_back() {
        let clock = MessageClock::new().unwrap();
        let first = clock.uuid_at(1_000_000);
        assert_eq!((first.get_version_num(), made_ms(MessageId(first))), (7, 1_000_000));
        assert_eq!(first.get_variant(), uuid::Variant::RFC4122);
        let mut last = first;
        for _ in 0..5000 {
            let id = clock.uuid_at(400_000);
            assert!(id > last);
            last = id;
        }
        assert_eq!(made_ms(MessageId(last)), 1_000_001);
        assert!(clock.tick().0 > last);
        assert_ne!(MessageClock::new().unwrap().uuid_at(1_000_000), first);
    }

    #[test]
    fn is_never_below_what_it_was_shown_but_refuses_nonsense() {
        let clock = HybridClock::default();
        let now = Duration::from_secs(100);
        clock.observe_at(Epoch(109_000_000), now).unwrap();
        assert_eq!(clock.tick_at(now), Epoch(109_000_001));
        assert!(clock.observe_at(Epoch(110_000_001), now).is_err());
        assert_eq!(clock.highest(), Epoch(109_000_001));
    }
}
