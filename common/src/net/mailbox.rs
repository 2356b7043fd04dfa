//! A queue into one task, bounded in bytes, that holds no memory while it is empty.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

struct Shared<T> {
    queue: Mutex<Queue<T>>,
    arrived: Notify,
    budget: usize,
}

struct Queue<T> {
    items: VecDeque<(usize, T)>,
    bytes: usize,
    /// What stands for items that were left out; it comes when the mailbox is empty.
    instead: Option<T>,
    closed: bool,
}

/// The end that puts in. Clones put into the same mailbox.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

/// The end that takes out. Dropping it closes the mailbox.
pub struct Mailbox<T> {
    shared: Arc<Shared<T>>,
}

/// Why an item was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The task has ended.
    #[error("the mailbox is closed")]
    Closed,
    /// The budget is used up; after [`Sender::send`] the mailbox is closed, since order with a hole in it would be worse.
    #[error("the mailbox is full")]
    Overflow,
}

/// A mailbox for up to `budget` bytes.
#[must_use]
pub fn mailbox<T>(budget: usize) -> (Sender<T>, Mailbox<T>) {
    let queue = Mutex::new(Queue { items: VecDeque::new(), bytes: 0, instead: None, closed: false });
    let shared = Arc::new(Shared { queue, arrived: Notify::new(), budget });
    (Sender { shared: Arc::clone(&shared) }, Mailbox { shared })
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Sender<T> {
    /// Puts an item in that counts `bytes` against the budget.
    ///
    /// # Errors
    /// [`Full`]; on [`Full::Overflow`] the task at the other end is told by [`Mailbox::recv`] that nothing more
    /// comes, after what was taken before.
    pub fn send(&self, item: T, bytes: usize) -> Result<(), Full> {
        self.put(item, bytes, self.shared.budget, |queue| {
            queue.closed = true;
            Err(Full::Overflow)
        })
    }

    /// Bytes that wait in the mailbox.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.shared.lock().bytes
    }

    /// Closes the mailbox, as an overflow would.
    pub fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.arrived.notify_one();
    }

    /// Whether the task has ended, or will since its mailbox is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.lock().closed
    }

    /// As [`Sender::send`], for an item that the task can ask for again: where there is no room for it, it is left out,
    /// and `instead` makes an item that stands for all that was left out until the mailbox is empty, of the one that has stood
    /// for what was left out before. An eighth of the budget is not for such items: they leave room for those that can't be
    /// asked for.
    ///
    /// # Errors
    /// [`Full::Closed`].
    pub fn send_or(&self, item: T, bytes: usize, instead: impl FnOnce(Option<T>) -> T) -> Result<(), Full> {
        self.put(item, bytes, self.most_repeatable(), |queue| {
            queue.instead = Some(instead(queue.instead.take()));
            Ok(())
        })
    }

    /// As [`Sender::send_or`], for an item whose sender can be told that there was no room for it.
    ///
    /// # Errors
    /// [`Full`]; on [`Full::Overflow`] the mailbox is as it was.
    pub fn offer(&self, item: T, bytes: usize) -> Result<(), Full> {
        self.put(item, bytes, self.most_repeatable(), |_| Err(Full::Overflow))
    }

    fn most_repeatable(&self) -> usize {
        self.shared.budget - self.shared.budget / 8
    }

    fn put(
        &self,
        item: T,
        bytes: usize,
        budget: usize,
        overflow: impl FnOnce(&mut Queue<T>) -> Result<(), Full>,
    ) -> Result<(), Full> {
        let mut queue = self.shared.lock();
        if queue.closed {
            return Err(Full::Closed);
        }
        let done = if queue.bytes + bytes > budget {
            overflow(&mut queue)
        } else {
            queue.bytes += bytes;
            queue.items.push_back((bytes, item));
            Ok(())
        };
        drop(queue);
        self.shared.arrived.notify_one();
        done
    }
}

impl<T> Mailbox<T> {
    /// The next item; nothing once the mailbox has overflowed and what was taken before is out. Safe to cancel.
    pub async fn recv(&mut self) -> Option<T> {
        loop {
            match self.try_recv() {
                Ok(item) => return Some(item),
                Err(Empty::Closed) => return None,
                Err(Empty::Yet) => self.shared.arrived.notified().await,
            }
        }
    }

    /// The next item that is there already.
    pub fn now(&mut self) -> Option<T> {
        self.try_recv().ok()
    }

    fn try_recv(&mut self) -> Result<T, Empty> {
        let mut queue = self.shared.lock();
        let Some((bytes, item)) = queue.items.pop_front() else {
            return match queue.instead.take() {
                Some(instead) => Ok(instead),
                None if queue.closed => Err(Empty::Closed),
                None => Err(Empty::Yet),
            };
        };
        queue.bytes -= bytes;
        if queue.items.is_empty() {
            queue.items = VecDeque::new();
        }
        Ok(item)
    }
}

enum Empty {
    Yet,
    Closed,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.closed = true;
        // What is left is dropped outside the lock: an item may hold senders of its own.
        let left = (std::mem::take(&mut queue.items), queue.instead.take());
        drop(queue);
        drop(left);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl<T> fmt::Debug for Mailbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailbox")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_order_and_counts_bytes() {
        let (sender, mut mailbox) = mailbox(10);
        sender.send('a', 6).unwrap();
        sender.send('b', 4).unwrap();
        assert_eq!(mailbox.recv().await, Some('a'));
        sender.send('c', 6).unwrap();
        assert_eq!((mailbox.recv().await, mailbox.now(), mailbox.now()), (Some('b'), Some('c'), None));
    }

    #[tokio::test]
    async fn an_overflow_closes_it_behind_what_was_taken() {
        let (sender, mut mailbox) = mailbox(10);
        sender.send('a', 10).unwrap();
        assert_eq!(sender.send('b', 1), Err(Full::Overflow));
        assert_eq!(sender.send('c', 0), Err(Full::Closed));
        assert_eq!(mailbox.recv().await, Some('a'));
        assert_eq!(mailbox.recv().await, None);
    }

    #[tokio::test]
    async fn one_item_stands_for_all_that_were_left_out() {
        let (sender, mut mailbox) = mailbox(10);
        let offer = |item| sender.send_or(item, 4, |before| before.unwrap_or('?')).unwrap();
        "abc".chars().for_each(offer);
        sender.send('!', 2).unwrap();
        assert_eq!(
            (mailbox.now(), mailbox.now(), mailbox.now(), mailbox.now()),
            (Some('a'), Some('b'), Some('!'), Some('?'))
        );
        "abcd".chars().for_each(offer);
        assert_eq!(
            (mailbox.now(), mailbox.now(), mailbox.now(), mailbox.now()),
            (Some('a'), Some('b'), Some('?'), None)
        );
        "ef".chars().for_each(offer);
        assert_eq!((mailbox.now(), mailbox.now(), mailbox.now()), (Some('e'), Some('f'), None));
        assert_eq!(sender.offer('f', 10), Err(Full::Overflow));
        assert_eq!((sender.offer('g', 9), mailbox.now(), mailbox.now()), (Ok(()), Some('g'), None));
        assert_eq!(sender.send('g', 11), Err(Full::Overflow));
        assert_eq!(sender.send_or('h', 1, |_| '?'), Err(Full::Closed));
    }

    #[tokio::test]
    async fn wakes_the_one_that_waits() {
        let (sender, mut mailbox) = mailbox(10);
        let waits = tokio::spawn(async move { mailbox.recv().await });
        tokio::task::yield_now().await;
        sender.send(7, 1).unwrap();
        assert_eq!(waits.await.unwrap(), Some(7));
        assert_eq!(sender.send(8, 1), Err(Full::Closed));
    }
}
