//! Memory that hashes are computed in, kept and used again.
//!
//! One hash fills megabytes. Allocated anew each time, on whichever thread has a turn, that is what makes an allocator
//! keep hundreds of megabytes for good.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use argon2::Block;

/// Arenas that are free. No more are kept than hashes may be computed at once.
#[derive(Debug, Clone)]
pub(super) struct Arenas {
    free: Arc<Mutex<Vec<Vec<Block>>>>,
    /// Blocks of each: what a hash of the configured cost needs.
    blocks: usize,
    /// How many are kept.
    most: usize,
}

/// An arena in use; dropping it gives it back.
pub(super) struct Arena {
    blocks: Vec<Block>,
    home: Arenas,
}

impl Arenas {
    /// None yet: they are made as they are needed.
    pub(super) fn new(blocks: usize, most: usize) -> Self {
        Self { free: Arc::default(), blocks, most }
    }

    /// One with room for `blocks`. A hash that needs more than the configured ones do, since it is older, gets one for
    /// itself.
    pub(super) fn take(&self, blocks: usize) -> Arena {
        let kept = (blocks <= self.blocks).then(|| self.lock(Vec::pop)).flatten();
        let blocks = kept.unwrap_or_else(|| vec![Block::default(); blocks.max(self.blocks)]);
        Arena { blocks, home: self.clone() }
    }

    fn lock<T>(&self, of: impl FnOnce(&mut Vec<Vec<Block>>) -> T) -> T {
        of(&mut self.free.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Deref for Arena {
    type Target = [Block];

    fn deref(&self) -> &[Block] {
        &self.blocks
    }
}

impl DerefMut for Arena {
    fn deref_mut(&mut self) -> &mut [Block] {
        &mut self.blocks
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let blocks = std::mem::take(&mut self.blocks);
        if blocks.len() == self.home.blocks {
            self.home.lock(|free| {
                if free.len() < self.home.most {
                    free.push(blocks);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_used_again_and_no_more_are_kept_than_may_be_in_use() {
        let arenas = Arenas::new(8, 2);
        let first = arenas.take(8);
        let at = first.as_ptr();
        drop(first);
        assert_eq!(arenas.take(4).as_ptr(), at);
        let (three, larger) = ([(); 3].map(|()| arenas.take(8)), arenas.take(9));
        assert_eq!(larger.len(), 9);
        drop((three, larger));
        assert_eq!(arenas.lock(|free| free.iter().map(Vec::len).collect::<Vec<_>>()), [8, 8]);
    }
}
