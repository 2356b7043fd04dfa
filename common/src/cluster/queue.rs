//! What waits to be written to one peer link: bounded in bytes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A queue of encoded messages.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
}

/// The peer can't keep up, and the message was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Queue {
    /// The most bytes that may wait: all notices that one node lets be on their way fit in here.
    const MAX: usize = 32 * 1024 * 1024;
    /// As many more may be taken by what must not be left out while the link lasts: who is where.
    const RESERVE: usize = 8 * 1024 * 1024;
    /// About as many bytes are written at once.
    const BATCH: usize = 64 * 1024;
    /// What a queued message takes beside its bytes.
    const OVERHEAD: usize = 32;

    pub(super) fn push(&self, message: Vec<u8>) -> Result<(), Full> {
        self.push_below(Self::MAX, message)
    }

    /// As [`Queue::push`], with the reserve.
    pub(super) fn push_urgent(&self, message: Vec<u8>) -> Result<(), Full> {
        self.push_below(Self::MAX + Self::RESERVE, message)
    }

    fn push_below(&self, limit: usize, message: Vec<u8>) -> Result<(), Full> {
        let mut waiting = self.lock();
        let bytes = waiting.bytes + message.len() + Self::OVERHEAD;
        if bytes > limit {
            return Err(Full);
        }
        waiting.bytes = bytes;
        waiting.messages.push_back(message);
        drop(waiting);
        self.wake.notify_one();
        Ok(())
    }

    /// Waits for messages and takes as many as are written at once, at least one. Safe to cancel. One task takes.
    pub(super) async fn take(&self) -> Vec<Vec<u8>> {
        loop {
            let batch = self.take_ready();
            if !batch.is_empty() {
                return batch;
            }
            self.wake.notified().await;
        }
    }

    fn take_ready(&self) -> Vec<Vec<u8>> {
        let mut waiting = self.lock();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < Self::BATCH
            && let Some(message) = waiting.messages.pop_front()
        {
            bytes += message.len();
            waiting.bytes -= message.len() + Self::OVERHEAD;
            batch.push(message);
        }
        if waiting.messages.is_empty() {
            waiting.messages = VecDeque::new();
        }
        batch
    }

    /// Drops what waits: the link is gone.
    pub(super) fn clear(&self) {
        *self.lock() = Waiting::default();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_the_order_and_its_bound() {
        let queue = Queue::default();
        queue.push(vec![1]).unwrap();
        queue.push(vec![2]).unwrap();
        assert_eq!(queue.take().await, [vec![1], vec![2]]);
        let mut pushed = 0;
        while queue.push(vec![0; 1024 * 1024]).is_ok() {
            pushed += 1;
        }
        assert_eq!(pushed, 31, "overhead counts");
        assert_eq!(queue.push_urgent(vec![3]), Ok(()));
        assert_eq!(queue.take().await.len(), 1, "a batch is no more than one of these");
        queue.clear();
        assert_eq!(queue.lock().bytes, 0);
    }
}
