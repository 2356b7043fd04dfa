//! Opening the store that the configuration names.

use super::{Result, SharedStore};
use crate::config::StoreConfig;

/// Opens the configured store, creating and migrating it where that is safe.
///
/// # Errors
/// When it can't be opened; the error says what to do.
pub async fn open(config: &StoreConfig) -> Result<SharedStore> {
    let _ = config;
    unimplemented!()
}
