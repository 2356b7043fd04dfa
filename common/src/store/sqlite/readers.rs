//! The threads that read a database file.

use std::sync::Arc;
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::queue::{Queue, Task};
use crate::store::{Result, StoreError};

/// Calls that may wait or be under way.
const QUEUE_CALLS: usize = 4096;

/// A few connections, each with a thread of its own: SQLite blocks, and the runtime's threads must not.
pub(super) struct Readers {
    queue: Arc<Queue<Box<dyn Task>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// Starts a thread for each connection. `name` is the file's, for debuggers.
    pub(super) fn start(connections: Vec<Connection>, name: &'static str) -> Result<Self> {
        let mut readers = Self { queue: Arc::new(Queue::new(QUEUE_CALLS)), threads: Vec::new() };
        for connection in connections {
            let queue = Arc::clone(&readers.queue);
            let thread = std::thread::Builder::new().name(format!("read {name}"));
            let thread = thread.spawn(move || work(&connection, &queue));
            readers
                .threads
                .push(thread.map_err(|error| StoreError::Unavailable(format!("cannot start a thread: {error}")))?);
        }
        Ok(readers)
    }

    /// Asks for a reading. False if too many wait already.
    #[must_use]
    pub(super) fn push(&self, task: Box<dyn Task>) -> bool {
        self.queue.push(1, task)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue.close();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn work(connection: &Connection, queue: &Queue<Box<dyn Task>>) {
    let mut calls: Vec<Box<dyn Task>> = Vec::with_capacity(1);
    while queue.wait() {
        let cost = queue.take(1, &mut calls);
        // After a stall most callers have gone, and what they asked for need not keep the others waiting.
        for mut call in calls.drain(..) {
            if call.is_awaited() {
                let outcome = call.run(connection);
                call.settle(outcome);
            }
        }
        queue.release(cost);
    }
}
