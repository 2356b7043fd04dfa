//! Work on its way to a database thread.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::store::{Result, StoreError};

/// One call, as a database thread sees it.
pub(super) trait Task: Send {
    /// Whether somebody still waits for the answer.
    fn is_awaited(&self) -> bool;
    /// Does the work, once. A panic in it is an error.
    fn run(&mut self, connection: &Connection) -> Result<()>;
    /// Answers: with what [`run`](Self::run) found, or with an error.
    fn settle(self: Box<Self>, outcome: Result<()>);
}

struct Call<T, F> {
    work: Option<F>,
    answer: Option<T>,
    reply: oneshot::Sender<Result<T>>,
}

/// Makes a task of `work`, and the place where its answer appears.
pub(super) fn task<T, F>(work: F) -> (Box<dyn Task>, oneshot::Receiver<Result<T>>)
where
    T: Send + 'static,
    F: FnOnce(&Connection) -> Result<T> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    (Box::new(Call { work: Some(work), answer: None, reply }), answer)
}

impl<T, F> Task for Call<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T> + Send,
{
    fn is_awaited(&self) -> bool {
        !self.reply.is_closed()
    }

    fn run(&mut self, connection: &Connection) -> Result<()> {
        let Some(work) = self.work.take() else { return Ok(()) };
        // Statements reset themselves as they are dropped, so that the connection is as good as before.
        let done = catch_unwind(AssertUnwindSafe(|| work(connection)));
        self.answer = Some(done.unwrap_or_else(|_| Err(unanswered("a call of the store panicked")))?);
        Ok(())
    }

    fn settle(self: Box<Self>, outcome: Result<()>) {
        let Self { answer, reply, .. } = *self;
        let answer = outcome.and_then(|()| answer.ok_or_else(|| unanswered("a call of the store was not made")));
        // Nobody may be waiting any more; a write has happened all the same.
        let _ = reply.send(answer);
    }
}

fn unanswered(why: &str) -> StoreError {
    StoreError::Unavailable(why.into())
}

/// A line in front of one or several threads. Never longer than its bound; who comes when it is full is told at once.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    arrival: Condvar,
    bound: usize,
}

struct State<T> {
    waiting: VecDeque<(usize, T)>,
    /// The cost of all that waits or is being worked on.
    load: usize,
    closed: bool,
}

impl<T> Queue<T> {
    /// A line whose costs add up to `bound` at most.
    pub(super) fn new(bound: usize) -> Self {
        let state = State { waiting: VecDeque::new(), load: 0, closed: false };
        Self { state: Mutex::new(state), arrival: Condvar::new(), bound }
    }

    /// Puts `item` at the end. False if it is full, or closed.
    #[must_use]
    pub(super) fn push(&self, cost: usize, item: T) -> bool {
        let mut state = self.lock();
        // An item above the bound may pass alone: otherwise it never could.
        let fits = state.load == 0 || state.load.saturating_add(cost) <= self.bound;
        if state.closed || !fits {
            return false;
        }
        state.load = state.load.saturating_add(cost);
        state.waiting.push_back((cost, item));
        drop(state);
        self.arrival.notify_one();
        true
    }

    /// Waits until something is there. False once the line is closed and empty.
    pub(super) fn wait(&self) -> bool {
        let state = self.lock();
        let waited = self.arrival.wait_while(state, |state| state.waiting.is_empty() && !state.closed);
        !waited.unwrap_or_else(PoisonError::into_inner).waiting.is_empty()
    }

    /// Takes up to `most` items, without waiting, and their cost, which weighs until it is [released](Self::release).
    pub(super) fn take(&self, most: usize, items: &mut Vec<T>) -> usize {
        let mut state = self.lock();
        let count = most.min(state.waiting.len());
        let taken = state.waiting.drain(..count);
        taken.fold(0, |sum, (cost, item)| {
            items.push(item);
            sum.saturating_add(cost)
        })
    }

    /// Work of that cost is done.
    pub(super) fn release(&self, cost: usize) {
        let mut state = self.lock();
        state.load = state.load.saturating_sub(cost);
    }

    /// Lets nobody in any more; what waits is still worked on.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrival.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_bounded_by_all_that_is_not_done() {
        let queue = Queue::new(10);
        assert!(queue.push(6, 'a') && queue.push(4, 'b') && !queue.push(1, 'c'));
        let mut items = Vec::new();
        assert_eq!(queue.take(1, &mut items), 6);
        assert!(!queue.push(1, 'c'), "what is worked on weighs");
        queue.release(6);
        assert!(queue.push(6, 'c'));
        assert_eq!(queue.take(9, &mut items), 10);
        queue.release(10);
        assert!(queue.push(99, 'd'), "alone it may be as large as it is");
        assert_eq!(items, ['a', 'b', 'c']);
    }

    #[test]
    fn ends_when_closed_and_empty() {
        let queue = Queue::new(10);
        assert!(queue.push(1, 'a'));
        queue.close();
        assert!(!queue.push(1, 'b') && queue.wait());
        assert_eq!(queue.take(9, &mut Vec::new()), 1);
        assert!(!queue.wait());
    }
}
