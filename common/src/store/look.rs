//! Looking at the store that the configuration names without changing it.

use super::cql::CqlStore;
use super::sqlite::SqliteStore;
use super::{Result, StoreError, is_missing, missing};
use crate::config::{StoreConfig, StoreKind};
use crate::files;

/// Whether the configured store could be opened, or [made](StoreConfig::create): in words what was found, a line each. No file is
/// made, and no table is changed.
///
/// # Errors
/// As those of [`open`](super::open).
pub async fn look(config: &StoreConfig) -> Result<Vec<String>> {
    let place = config.path.display();
    match config.kind {
        StoreKind::Scylla => {
            let version = CqlStore::look(&config.scylla).await?;
            Ok(vec![format!("the tables in the keyspace {} have version {version}", config.scylla.keyspace)])
        }
        StoreKind::Sqlite if !is_missing(config) => {
            let path = config.path.clone();
            let looking = tokio::task::spawn_blocking(move || SqliteStore::look(&path));
            looking.await.map_err(|error| StoreError::Unavailable(error.to_string()))?
        }
        StoreKind::Sqlite if config.create => match files::could_be_made(&config.path) {
            Ok(()) => Ok(vec![format!("there is no store in {place} yet: the first start makes one")]),
            Err(error) => Err(StoreError::Refused(format!("none can be made in {place}: {error}"))),
        },
        StoreKind::Sqlite => Err(missing(config)),
    }
}
