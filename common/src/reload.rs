//! SIGHUP: what can be read again while a process runs is read again. It ends nothing.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{Config, Loaded, differing};

/// What one part does with the configuration of this moment.
type Read = Box<dyn Fn(&Config) -> anyhow::Result<()> + Send>;

/// What a process reads again at SIGHUP. Clones are the same. The default listens for no signal.
#[derive(Clone, Default)]
pub struct Reload {
    parts: Arc<Mutex<Vec<Part>>>,
}

struct Part {
    name: &'static str,
    /// The keys of the configuration that it follows.
    keys: &'static [&'static str],
    read: Read,
}

/// What became of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Report {
    /// The parts that were read again.
    read: Vec<&'static str>,
    /// What could not be used; what was there before stays.
    failed: Vec<String>,
    /// Keys that differ from what the process has started with, and hold from its next start on.
    later: Vec<&'static str>,
}

impl std::fmt::Debug for Reload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reload").finish_non_exhaustive()
    }
}

impl Reload {
    /// Listens for SIGHUP from now on. `started` is the configuration that the process has.
    ///
    /// # Errors
    /// When the signal can't be listened for.
    pub fn on_hangup(started: Loaded) -> std::io::Result<Self> {
        let hangups = signal(SignalKind::hangup())?;
        let reload = Self::default();
        tokio::spawn(reload.clone().serve(started, hangups));
        Ok(reload)
    }

    /// `read` is called at each SIGHUP with the configuration of then, on a thread that may wait for files. What it takes up
    /// holds from then on; when it fails, what was there before must stay. `keys` are those of the configuration that it
    /// follows.
    pub fn add(
        &self,
        name: &'static str,
        keys: &'static [&'static str],
        read: impl Fn(&Config) -> anyhow::Result<()> + Send + 'static,
    ) {
        let part = Part { name, keys, read: Box::new(read) };
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).push(part);
    }

    async fn serve(self, started: Loaded, mut hangups: Signal) {
        let started = Arc::new(started);
        let mut last = Arc::clone(&started);
        while hangups.recv().await.is_some() {
            let (reload, started) = (self.clone(), Arc::clone(&started));
            let before = Arc::clone(&last);
            let read = tokio::task::spawn_blocking(move || reload.read(&started, before)).await;
            match read {
                Ok((now, report)) => {
                    last = now;
                    report.log();
                }
                Err(error) => tracing::error!(%error, "SIGHUP: reading again failed"),
            }
        }
    }

    /// Reads the configuration and all parts. With a configuration that can't be used the parts are read as `before` has it.
    fn read(&self, started: &Loaded, before: Arc<Loaded>) -> (Arc<Loaded>, Report) {
        let mut report = Report::default();
        let now = match started.again() {
            Ok(now) => Arc::new(now),
            Err(error) => {
                report.failed.push(format!("the configuration: {error}"));
                before
            }
        };
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        for part in &*parts {
            match (part.read)(&now.config) {
                Ok(()) => report.read.push(part.name),
                Err(error) => report.failed.push(format!("{}: {error:#}", part.name)),
            }
        }
        let followed = |key: &str| parts.iter().any(|part| part.keys.contains(&key));
        report.later = differing(&started.config, &now.config);
        report.later.retain(|key| !followed(key));
        drop(parts);
        (now, report)
    }
}

impl Report {
    fn log(&self) {
        tracing::info!(read = self.read.join(", "), "SIGHUP: read again");
        for what in &self.failed {
            tracing::error!(what, "SIGHUP: it can't be used, and what was there before stays");
        }
        if !self.later.is_empty() {
            let keys = self.later.join(", ");
            tracing::warn!(keys, "SIGHUP: these keys have changed and hold from the next start on");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::config::{Sources, load};

    #[test]
    fn says_what_was_read_what_failed_and_what_waits_for_the_next_start() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("monarch.toml");
        let write = |filter: &str, capacity: u64| {
            let text = format!("[log]\nfilter = {filter:?}\n[notification]\ncapacity = {capacity}\n");
            std::fs::write(&file, text).unwrap();
        };
        write("info", 1);
        let started = Arc::new(load(&Sources { file: Some(file.clone()), ..Sources::default() }).unwrap());
        let reload = Reload::default();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&taken);
        reload.add("log filter", &["log.filter"], move |config| {
            seen.lock().unwrap().push(config.log.filter.clone());
            Ok(())
        });
        reload.add("secrets", &["cluster.secrets"], |_| anyhow::bail!("no file"));

        write("debug", 2);
        let (now, report) = reload.read(&started, Arc::clone(&started));
        let failed = vec!["secrets: no file".to_owned()];
        let expected = Report { read: vec!["log filter"], failed, later: vec!["notification.capacity"] };
        assert_eq!(report, expected);

        std::fs::write(&file, "[notification]\ncapacity = none\n").unwrap();
        let (still, report) = reload.read(&started, now);
        assert!(report.failed[0].starts_with("the configuration: ") && report.failed.len() == 2, "{report:?}");
        assert_eq!((report.read, still.config.notification.capacity), (vec!["log filter"], 2));
        assert_eq!(*taken.lock().unwrap(), ["debug", "debug"], "what was good stays");

        write("info", 1);
        assert!(reload.read(&started, still).1.later.is_empty(), "as at the start");
    }
}
