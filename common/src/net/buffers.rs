//! Read buffers that connections borrow while they have something to read.

use std::sync::{Mutex, PoisonError};

use bytes::BytesMut;

/// A pool of read buffers: an idle connection holds none.
#[derive(Debug)]
pub struct BufferPool {
    free: Mutex<Vec<BytesMut>>,
    size: usize,
    keep: usize,
}

impl BufferPool {
    /// A pool of buffers of `size` bytes that keeps up to `keep` of them.
    #[must_use]
    pub fn new(size: usize, keep: usize) -> Self {
        Self { free: Mutex::default(), size, keep }
    }

    /// An empty buffer with room for the pool's size.
    #[must_use]
    pub fn take(&self) -> BytesMut {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| BytesMut::with_capacity(self.size))
    }

    /// Gives back a buffer. One that lines still point into is dropped instead: the next reader must not wait
    /// for whoever holds them.
    pub fn give_back(&self, mut buffer: BytesMut) {
        buffer.clear();
        if !buffer.try_reclaim(self.size) || buffer.capacity() > 4 * self.size {
            return;
        }
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < self.keep {
            free.push(buffer);
        }
    }
}

impl Default for BufferPool {
    /// 4 KiB, the size of two full switchboard messages; at most 4 MiB kept.
    fn default() -> Self {
        Self::new(4096, 1024)
    }
}
