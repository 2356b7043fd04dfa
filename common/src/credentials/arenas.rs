//! Memory that hashes are computed in, kept and used again.
//!
//! One hash fills megabytes. Allocated anew each time, on whichever thread has a turn, that is what makes an allocator
//! keep hundreds of megabytes for good. What a hash leaves in there would let guesses be checked much faster than the hash itself,
//! so it is wiped.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use argon2::Block;
use zeroize::Zeroize;

/// Arenas that are free, and wiped. No more are kept than hashes may be computed at once, each as large as a hash has needed: hashes
/// that are older than the configured cost may need more.
#[derive(Debug, Clone)]
pub(super) struct Arenas {
    free: Arc<Mutex<Vec<Vec<Block>>>>,
    /// Blocks of each at least: what a hash of the configured cost needs.
    blocks: usize,
    /// How many are kept.
    most: usize,
}

/// An arena in use; dropping it gives it back.
pub(super) struct Arena {
    blocks: Vec<Block>,
    /// As many of them are written to.
    used: usize,
    home: Arenas,
}

impl Arenas {
    /// None yet: they are made as they are needed.
    pub(super) fn new(blocks: usize, most: usize) -> Self {
        Self { free: Arc::default(), blocks, most }
    }

    /// One for a hash that uses so many blocks: the smallest with room for them. Where none has it one that is too small goes, so that there are never
    /// more of them.
    pub(super) fn take(&self, used: usize) -> Arena {
        let size = used.max(self.blocks);
        let kept = self.lock(|free| {
            let fitting = free.iter().enumerate().filter(|(_, blocks)| blocks.len() >= size);
            let smallest = fitting.min_by_key(|(_, blocks)| blocks.len()).map(|(at, _)| at);
            match smallest {
                Some(at) => Some(free.swap_remove(at)),
                None => free.pop().filter(|blocks| blocks.len() >= size),
            }
        });
        let blocks = kept.unwrap_or_else(|| vec![Block::default(); size]);
        Arena { blocks, used, home: self.clone() }
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
        let mut blocks = std::mem::take(&mut self.blocks);
        blocks.iter_mut().take(self.used).for_each(Zeroize::zeroize);
        self.home.lock(|free| {
            if free.len() < self.home.most {
                free.push(blocks);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(arenas: &Arenas) -> Vec<usize> {
        arenas.lock(|free| free.iter().map(Vec::len).collect())
    }

    #[test]
    fn they_are_used_again_and_no_more_are_kept_than_may_be_in_use() {
        let arenas = Arenas::new(8, 2);
        let first = arenas.take(8);
        let at = first.as_ptr();
        drop(first);
        assert_eq!(arenas.take(4).as_ptr(), at);
        drop([(); 3].map(|()| arenas.take(8)));
        assert_eq!(sizes(&arenas), [8, 8]);
    }

    /// After the configured cost was lowered most hashes are so.
    #[test]
    fn those_of_hashes_that_need_more_are_used_again_too() {
        let arenas = Arenas::new(8, 2);
        drop([arenas.take(8), arenas.take(8)]);
        let larger = arenas.take(20);
        let at = larger.as_ptr();
        drop(larger);
        assert_eq!(sizes(&arenas), [8, 20]);
        let again = [20, 8].map(|blocks| arenas.take(blocks));
        assert_eq!((again[0].as_ptr(), again[1].len()), (at, 8));
        drop(again);
        drop([20, 20].map(|blocks| arenas.take(blocks)));
        assert_eq!(sizes(&arenas), [20, 20], "no more than two, whatever their sizes");
        assert_eq!(arenas.take(4).len(), 20);
    }

    #[test]
    fn nothing_stays_in_them() {
        let arenas = Arenas::new(8, 1);
        for used in [4, 8, 12] {
            let mut arena = arenas.take(used);
            arena.iter_mut().take(used).for_each(|block| block.as_mut().fill(u64::MAX));
            drop(arena);
            let words: u64 = arenas.lock(|free| free.iter().flatten().flat_map(AsRef::as_ref).sum());
            assert_eq!((words, sizes(&arenas)), (0, vec![used.max(8)]));
        }
    }
}
