//! Pauses of the machine itself: what is measured is to be the suite.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// How often it is looked.
const BEAT: Duration = Duration::from_millis(50);

/// Watches how long this process, which does little, is kept from running.
#[derive(Debug)]
pub(super) struct Stalls {
    longest: Arc<AtomicU64>,
    watching: JoinHandle<()>,
}

impl Stalls {
    pub(super) fn watch() -> Self {
        let longest = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&longest);
        let watching = tokio::spawn(async move {
            loop {
                let before = Instant::now();
                sleep(BEAT).await;
                let over = before.elapsed().saturating_sub(BEAT).as_millis();
                seen.fetch_max(u64::try_from(over).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        Self { longest, watching }
    }

    /// The longest pause so far.
    pub(super) fn longest(&self) -> Duration {
        Duration::from_millis(self.longest.load(Ordering::Relaxed))
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.watching.abort();
    }
}
