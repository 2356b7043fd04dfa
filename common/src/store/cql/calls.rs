//! The bounds of calls: how many wait, how long one takes, and that a write that was asked for happens.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::errors::unavailable;
use crate::store::Result;

/// How long a call may take: 4 s, less what follows it. A write that is not done by then may still be.
const CALL_BOUND: Duration = Duration::from_millis(3_700);
/// The most that writes may hold in memory, in bytes.
const MOST_BYTES: usize = 64 << 20;
/// Reads at once; more wait for their turn.
const MOST_READS: usize = 1024;

/// The calls under way.
pub(super) struct Calls {
    writes: TaskTracker,
    room: Arc<Semaphore>,
    reads: Semaphore,
}

impl Calls {
    pub(super) fn new() -> Self {
        let (room, reads) = (Semaphore::new(MOST_BYTES), Semaphore::new(MOST_READS));
        Self { writes: TaskTracker::new(), room: Arc::new(room), reads }
    }

    /// Does `work`, whether or not anybody waits for its end. `cost` is about what it takes up in memory.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        cost: usize,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let cost = u32::try_from(cost.min(MOST_BYTES)).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(cost) else {
            return Err(unavailable("too much is waiting for it"));
        };
        let task = self.writes.spawn(async move {
            let done = timeout(CALL_BOUND, work).await;
            drop(room);
            done.unwrap_or_else(|_| Err(unavailable("no answer within 4 s")))
        });
        task.await.unwrap_or_else(|error| Err(unavailable(error)))
    }

    /// Waits for the end of `work`, whatever it does, and not for ever.
    pub(super) async fn bounded<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        timeout(CALL_BOUND, work).await.unwrap_or_else(|_| Err(unavailable("no answer within 4 s")))
    }

    /// Does `work` as long as somebody waits for it, when there is a place.
    pub(super) async fn read<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let placed = async {
            let _place = self.reads.acquire().await.map_err(unavailable)?;
            work.await
        };
        self.bounded(placed).await
    }

    /// Waits until every write asked for so far has ended.
    pub(super) async fn flush(&self) {
        self.writes.close();
        // One that does not end in time has told so.
        let _ = timeout(CALL_BOUND, self.writes.wait()).await;
        self.writes.reopen();
    }
}
