//! The way out: stop accepting, tell every task, wait for them, and not for ever.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A process's shutdown. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tasks: TaskTracker,
    failure: Arc<OnceLock<String>>,
}

impl Shutdown {
    /// Runs a task that shutdown waits for. The task itself must watch [`Shutdown::begun`].
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Begins the shutdown.
    pub fn begin(&self) {
        self.token.cancel();
    }

    /// Begins it since the process can't go on: [`Shutdown::outcome`] says so, and whoever watches the process sees that it was not
    /// asked to stop.
    pub fn fail(&self, why: impl Into<String>) {
        if !self.has_begun() {
            // Of two reasons the first counts.
            let _ = self.failure.set(why.into());
        }
        self.begin();
    }

    /// How the process ends: well, unless it has [failed](Self::fail).
    ///
    /// # Errors
    /// Why it could not go on.
    pub fn outcome(&self) -> anyhow::Result<()> {
        self.failure.get().map_or(Ok(()), |why| Err(anyhow::anyhow!("{why}")))
    }

    /// Whether it has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until it begins. Safe to cancel.
    pub async fn begun(&self) {
        self.token.cancelled().await;
    }

    /// Waits until all tasks have ended, at most `patience`. Returns how many had not.
    pub async fn finish(&self, patience: Duration) -> usize {
        self.tasks.close();
        let _ = tokio::time::timeout(patience, self.tasks.wait()).await;
        self.tasks.len()
    }

    /// Begins the shutdown at SIGINT or SIGTERM.
    ///
    /// # Errors
    /// When the signals can't be listened for.
    pub fn on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let shutdown = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            // First: whoever killed our parent may have taken the reader of our log with it.
            shutdown.begin();
            tracing::info!("shutting down");
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_asked_to_stop_has_not_failed() {
        let [asked, failed] = [Shutdown::default(), Shutdown::default()];
        asked.begin();
        asked.fail("too late to fail");
        failed.clone().fail("its name is another's");
        failed.fail("and more");
        assert!(asked.outcome().is_ok() && failed.has_begun());
        assert_eq!(failed.outcome().unwrap_err().to_string(), "its name is another's");
    }
}
