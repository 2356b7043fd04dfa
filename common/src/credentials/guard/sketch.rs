//! Counting what there is no end of: a count-min sketch.

use std::hash::{BuildHasher, Hash, RandomState};

use super::window::{SLOTS, at, skipped};

/// Cells that something has, one in each row.
const ROWS: usize = 4;
/// Cells of a row.
const CELLS: usize = 1 << 15;
const SLOT: usize = ROWS * CELLS;

/// How often each of any number of things came within the last window, in 2.8 MiB, which are taken when the first comes. Nothing is
/// ever forgotten for another one's sake. One may be counted for others, never for less than it came: to count up to ten for others
/// alone takes some hundred thousand in the window.
#[derive(Debug)]
pub(super) struct Sketch {
    /// Nobody outside can choose what shares its cells.
    hasher: RandomState,
    /// A slot's rows, one behind the other.
    counts: Vec<u16>,
    newest: u64,
}

impl Sketch {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), counts: Vec::new(), newest: 0 }
    }

    /// How often it came at most, at this slot.
    pub(super) fn count(&mut self, what: &impl Hash, now: u64) -> u32 {
        self.turn_to(now);
        let cells = self.cells(what);
        cells.map(|cell| self.sum(cell)).into_iter().min().unwrap_or_default()
    }

    /// It came so many times more.
    pub(super) fn add(&mut self, what: &impl Hash, times: u16, now: u64) {
        self.turn_to(now);
        if self.counts.is_empty() {
            self.counts = vec![0; SLOTS * SLOT];
        }
        // All of them: one that is ahead, for another one, is so only until that one's slot is over.
        for cell in self.cells(what) {
            if let Some(count) = self.counts.get_mut(at(self.newest) * SLOT + cell) {
                *count = count.saturating_add(times);
            }
        }
    }

    fn turn_to(&mut self, now: u64) {
        for slot in skipped(self.newest, now) {
            let from = at(slot) * SLOT;
            if let Some(old) = self.counts.get_mut(from..from + SLOT) {
                old.fill(0);
            }
        }
        self.newest = self.newest.max(now);
    }

    fn sum(&self, cell: usize) -> u32 {
        self.counts.iter().skip(cell).step_by(SLOT).map(|count| u32::from(*count)).sum()
    }

    fn cells(&self, what: &impl Hash) -> [usize; ROWS] {
        let hash = self.hasher.hash_one(what);
        let (first, step) = (hash as usize, (hash >> 32) as usize | 1);
        std::array::from_fn(|row| row * CELLS + first.wrapping_add(row.wrapping_mul(step)) % CELLS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_too_little_seldom_too_much_and_not_for_ever() {
        let mut sketch = Sketch::new();
        assert_eq!(sketch.count(&"nobody", 5), 0);
        for name in 0..30_000 {
            sketch.add(&name, 1, 5);
        }
        sketch.add(&"nobody", 3, 6);
        sketch.add(&"nobody", 7, 6);
        assert!(sketch.count(&"nobody", 6) >= 10);
        let strange = (100_000..110_000).filter(|name| sketch.count(name, 6) > 0).count();
        let ten = (100_000..110_000).filter(|name| sketch.count(name, 6) >= 10).count();
        assert!(strange < 2000 && ten == 0, "{strange}, {ten}");
        assert!(sketch.count(&"nobody", 16) >= 10);
        assert_eq!(sketch.count(&"nobody", 17), 0);
        assert_eq!(sketch.counts.len(), SLOTS * SLOT);
    }
}
