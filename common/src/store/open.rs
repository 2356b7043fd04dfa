//! Opening the store that the configuration names.

use std::sync::Arc;

use super::cql::CqlStore;
use super::sqlite::SqliteStore;
use super::{Result, SharedStore, StoreError};
use crate::config::{StoreConfig, StoreKind};

/// Opens the configured store, creating and migrating it where that is safe. Several processes may do so at once.
///
/// # Errors
/// When it can't be opened; the error says what to do.
pub async fn open(config: &StoreConfig) -> Result<SharedStore> {
    match config.kind {
        StoreKind::Sqlite => {
            let path = config.path.clone();
            let opening = tokio::task::spawn_blocking(move || SqliteStore::open(&path));
            let store = opening.await.map_err(|error| StoreError::Unavailable(error.to_string()))??;
            Ok(Arc::new(store))
        }
        StoreKind::Scylla => Ok(Arc::new(CqlStore::open(&config.scylla).await?)),
    }
}
