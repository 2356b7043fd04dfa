//! Opening the store that the configuration names.

use std::sync::Arc;
use std::time::Duration;

use super::cql::{CqlStore, Tuning};
use super::sqlite::SqliteStore;
use super::{Result, SharedStore, StoreError};
use crate::clock::HybridClock;
use crate::config::{StoreConfig, StoreKind};
use crate::files;
use crate::net::Shutdown;
use crate::reload::Reload;
use crate::telemetry::Condition;

/// Between two attempts to open a store that is not there.
const REOPEN: Duration = Duration::from_secs(2);

/// Whether the configuration names files that are not there.
#[must_use]
pub fn is_missing(config: &StoreConfig) -> bool {
    config.kind == StoreKind::Sqlite && !SqliteStore::is_in(&config.path)
}

/// Why a store that is not there is not made.
#[must_use]
pub fn missing(config: &StoreConfig) -> StoreError {
    StoreError::Refused(format!(
        "there is no store in {} (store.path): `monarch store create` makes one there; otherwise name the directory of the one that \
         is meant",
        config.path.display()
    ))
}

/// Opens the configured store, migrating it where that is safe, and [creating](StoreConfig::create) it where that is wanted.
/// Several processes may do so at once.
///
/// # Errors
/// When it can't be opened; the error says what to do.
pub async fn open(config: &StoreConfig) -> Result<SharedStore> {
    open_by(config, Arc::default(), &Reload::default()).await
}

/// The same with the clock of the process, and what it reads again at SIGHUP.
async fn open_by(config: &StoreConfig, clock: Arc<HybridClock>, reload: &Reload) -> Result<SharedStore> {
    match config.kind {
        StoreKind::Sqlite => {
            let is_new = is_missing(config);
            if is_new && !config.create {
                return Err(missing(config));
            }
            let path = config.path.clone();
            let opening = tokio::task::spawn_blocking(move || SqliteStore::open(&path));
            let store = opening.await.map_err(|error| StoreError::Unavailable(error.to_string()))??;
            if is_new {
                tracing::info!(path = %config.path.display(), "there was no store: made a new one");
            }
            Ok(Arc::new(store))
        }
        StoreKind::Scylla => {
            let store = CqlStore::open_with(&config.scylla, Tuning::default(), clock).await?;
            store.follow(reload);
            Ok(Arc::new(store))
        }
    }
}

/// Opens the configured store, however long it takes until it is there; `answers` and the log say what is waited for.
/// Nothing if the process is to end before. `clock` is that of the process's epochs: what it writes is ordered by it. What the store
/// can read again it does when `reload` says so.
///
/// # Errors
/// When waiting doesn't help: somebody has to do something, and the error says what.
pub async fn open_when_there(
    config: &StoreConfig,
    clock: &Arc<HybridClock>,
    reload: &Reload,
    answers: &Condition,
    shutdown: &Shutdown,
) -> Result<Option<SharedStore>> {
    let place = match config.kind {
        StoreKind::Sqlite => format!("the store in {}", config.path.display()),
        StoreKind::Scylla => format!("the store at {}", config.scylla.contact_points.join(", ")),
    };
    answers.missing(place.clone());
    // Secrets, keys and the nodes' lives are in it whatever the kind.
    if let Some(warning) = files::exposure(&config.path) {
        tracing::warn!("{warning}");
    }
    loop {
        let opened = tokio::select! {
            opened = open_by(config, Arc::clone(clock), reload) => opened,
            () = shutdown.begun() => return Ok(None),
        };
        match opened {
            Ok(store) => {
                answers.met();
                return Ok(Some(store));
            }
            Err(error @ StoreError::Unavailable(_)) => {
                tracing::error!(%error, "waiting for {place}");
                answers.missing(format!("{place}: {error}"));
            }
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = tokio::time::sleep(REOPEN) => {}
            () = shutdown.begun() => return Ok(None),
        }
    }
}

/// Makes the configured store where there is none: files, or keyspaces and tables; `told` hears of each step. Safe at any time,
/// also for several at once.
///
/// # Errors
/// When that fails; it may be repeated.
pub async fn create(config: &StoreConfig, told: &mut (dyn FnMut(String) + Send + Sync)) -> Result<()> {
    if config.kind == StoreKind::Scylla {
        return migrate(config, told).await;
    }
    let is_new = is_missing(config);
    open(&StoreConfig { create: true, ..config.clone() }).await?;
    let place = config.path.display();
    told(if is_new {
        format!("made a new store in {place}")
    } else {
        format!("there is a store in {place} already")
    });
    Ok(())
}

/// Brings the configured store up to date, and creates what is missing of one on CQL servers; `told` hears of each step. Safe at any
/// time, also for several at once.
///
/// # Errors
/// When that fails; it may be repeated.
pub async fn migrate(config: &StoreConfig, told: &mut (dyn FnMut(String) + Send + Sync)) -> Result<()> {
    match config.kind {
        StoreKind::Sqlite => {
            open(&StoreConfig { create: false, ..config.clone() }).await?;
            told(format!("the files in {} are up to date: opening them is all they need", config.path.display()));
        }
        StoreKind::Scylla => {
            let (before, after) = CqlStore::migrate(&config.scylla, told).await?;
            let how = if before == after { "are up to date" } else { "are now up to date" };
            told(format!("the tables in {} {how}: version {after}", config.scylla.keyspace));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ScyllaConfig;
    use crate::telemetry::Readiness;

    #[tokio::test]
    async fn a_store_that_is_not_there_is_waited_for_and_named() {
        // Nobody listens there: the port was given back.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let scylla = ScyllaConfig { contact_points: vec![port.to_string()], ..ScyllaConfig::default() };
        let config = StoreConfig { kind: StoreKind::Scylla, scylla, ..StoreConfig::default() };
        let (readiness, shutdown) = (Readiness::default(), Shutdown::default());
        let answers = readiness.require("store", "");
        let opening = tokio::spawn({
            let (answers, shutdown) = (answers.clone(), shutdown.clone());
            async move {
                open_when_there(&config, &Arc::default(), &Reload::default(), &answers, &shutdown)
                    .await
                    .map(|store| store.is_some())
            }
        });
        let error = "no CQL server";
        while !readiness.report().contains(error) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let report = readiness.report();
        assert!(report.starts_with(&format!("store: waiting: the store at {port}: ")), "{report}");
        assert!(!opening.is_finished());
        shutdown.begin();
        assert!(!opening.await.unwrap().unwrap(), "it gives up when the process ends");
    }

    #[tokio::test]
    async fn a_store_is_made_only_where_that_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dta");
        let config = StoreConfig { path: path.clone(), create: false, ..StoreConfig::default() };
        for _ in 0..2 {
            let refused = open(&config).await.err().unwrap().to_string();
            assert!(refused.contains("dta (store.path)") && refused.contains("store create"), "{refused}");
            assert!(migrate(&config, &mut |_| ()).await.is_err() && !path.exists());
            // A directory alone is none.
            let _ = std::fs::create_dir(dir.path().join("empty"));
        }
        let empty = StoreConfig { path: dir.path().join("empty"), ..config.clone() };
        assert!(open(&empty).await.is_err());
        let mut said = Vec::new();
        for _ in 0..2 {
            create(&config, &mut |step| said.push(step)).await.unwrap();
        }
        assert!(said[0].starts_with("made a new store in ") && said[1].ends_with(" already"), "{said:?}");
        assert!(open(&config).await.is_ok());
    }

    #[tokio::test]
    async fn what_waiting_does_not_mend_ends_it() {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig { path: dir.path().join("data"), ..StoreConfig::default() };
        let (readiness, shutdown) = (Readiness::default(), Shutdown::default());
        let answers = readiness.require("store", "");
        assert!(
            open_when_there(&config, &Arc::default(), &Reload::default(), &answers, &shutdown)
                .await
                .unwrap()
                .is_some()
                && readiness.is_ready()
        );
        std::fs::write(dir.path().join("a-file"), "").unwrap();
        let config = StoreConfig { path: dir.path().join("a-file/data"), ..config };
        let refused = open_when_there(&config, &Arc::default(), &Reload::default(), &answers, &shutdown)
            .await
            .err()
            .unwrap();
        assert!(matches!(&refused, StoreError::Refused(text) if text.contains("store.path")), "{refused}");
    }
}
