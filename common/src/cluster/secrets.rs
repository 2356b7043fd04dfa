//! The cluster secrets: the first signs, all verify.

use std::path::Path;

/// The secrets of a deployment. Never printed.
#[derive(Clone)]
pub struct Keyring {}

/// Why the secrets can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The file can't be read; the process refuses to start.
    #[error("the cluster secrets can't be read from {0}: {1}")]
    Unreadable(std::path::PathBuf, std::io::Error),
}

impl Keyring {
    /// Reads the file of secrets.
    ///
    /// # Errors
    /// [`SecretsError`]; it says what to do.
    pub fn load(path: &Path) -> Result<Self, SecretsError> {
        let _ = path;
        unimplemented!()
    }
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keyring")
    }
}
