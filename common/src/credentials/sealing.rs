//! Passwords that must be had in the clear, for MD5 sign-in: sealed with a key kept outside the store.

use std::path::Path;

use crate::model::{ClaimId, Passport};

/// The key that seals them. Never printed.
#[derive(Clone)]
pub struct SealingKey {}

/// Why the key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SealingKeyError {
    /// The file can't be read or written.
    #[error("the key for MD5 passwords, {0}: {1}")]
    File(std::path::PathBuf, std::io::Error),
    /// The file does not hold keys.
    #[error("the key for MD5 passwords, {0}, line {1}: not a key")]
    Malformed(std::path::PathBuf, usize),
}

impl SealingKey {
    /// Reads the key file; nothing if there is none: MD5 sign-in is off then.
    ///
    /// # Errors
    /// [`SealingKeyError`]
    pub fn load(path: &Path) -> Result<Option<Self>, SealingKeyError> {
        let _ = path;
        unimplemented!()
    }

    /// Writes a new key file, readable by its owner only; fails if there is one.
    ///
    /// # Errors
    /// [`SealingKeyError`]
    pub fn create(path: &Path) -> Result<Self, SealingKeyError> {
        let _ = path;
        unimplemented!()
    }

    /// Seals a password to one account, and to the one claim of it.
    #[must_use]
    pub fn seal(&self, who: &Passport, claim: ClaimId, password: &str) -> Vec<u8> {
        let _ = (who, claim, password);
        unimplemented!()
    }

    /// The password; nothing if it was sealed by another key or for another account.
    #[must_use]
    pub fn open(&self, who: &Passport, claim: ClaimId, sealed: &[u8]) -> Option<String> {
        let _ = (who, claim, sealed);
        unimplemented!()
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey")
    }
}
