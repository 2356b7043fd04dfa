//! Counting what came lately.

use std::time::Duration;

use tokio::time::Instant;

/// Slots of a count: the window has ten, and the one under way comes on top.
pub(super) const SLOTS: usize = 11;

/// Tells the number of the slot that is under way.
#[derive(Debug)]
pub(super) struct Slots {
    start: Instant,
    each: Duration,
}

impl Slots {
    /// Slots of a tenth of `window`.
    pub(super) fn of(window: Duration) -> Self {
        Self { start: Instant::now(), each: (window / 10).max(Duration::from_millis(1)) }
    }

    pub(super) fn now(&self) -> u64 {
        let past = self.start.elapsed().as_nanos() / self.each.as_nanos();
        u64::try_from(past).unwrap_or(u64::MAX)
    }
}

/// How often something came within the last window. Never counts too little; what came counts for eleven tenths of a
/// window at most.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    newest: u64,
    counts: [u16; SLOTS],
}

impl Window {
    /// How often it came, at this slot.
    pub(super) fn count(&self, now: u64) -> u32 {
        let is_fresh = |slot: u64| slot + SLOTS as u64 > now;
        let slots = (0..SLOTS as u64).filter_map(|back| self.newest.checked_sub(back));
        let fresh = slots.filter(|slot| is_fresh(*slot));
        fresh.map(|slot| self.counts.get(at(slot)).copied().map_or(0, u32::from)).sum()
    }

    /// It came so many times more.
    pub(super) fn add(&mut self, times: u16, now: u64) {
        for slot in skipped(self.newest, now) {
            if let Some(count) = self.counts.get_mut(at(slot)) {
                *count = 0;
            }
        }
        self.newest = self.newest.max(now);
        if let Some(count) = self.counts.get_mut(at(self.newest)) {
            *count = count.saturating_add(times);
        }
    }
}

/// The place of a slot's count.
pub(super) fn at(slot: u64) -> usize {
    (slot % SLOTS as u64) as usize
}

/// The slots behind `newest` up to `now` whose places hold old counts: each place once at most.
pub(super) fn skipped(newest: u64, now: u64) -> impl Iterator<Item = u64> {
    let first = newest.saturating_add(1).max(now.saturating_sub(SLOTS as u64 - 1));
    first..=now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_for_ten_slots_and_the_one_under_way() {
        let mut window = Window::default();
        for slot in [0, 0, 3, 9] {
            window.add(1, slot);
        }
        let counts = [0, 3, 9, 10, 11, 13, 14, 19, 20, 1000].map(|now| window.count(now));
        assert_eq!(counts, [4, 4, 4, 4, 2, 2, 1, 1, 0, 0]);
        window.add(1, 14);
        assert_eq!([14, 19, 20, 25].map(|now| window.count(now)), [2, 2, 1, 0]);
        window.add(1, 500);
        assert_eq!(window.count(500), 1);
        for _ in 0..700 {
            window.add(100, 500);
        }
        assert_eq!(window.count(500), u32::from(u16::MAX));
    }
}
