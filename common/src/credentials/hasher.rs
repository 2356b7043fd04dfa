//! argon2id, off the async threads, a few at a time.

use crate::config::AccountsConfig;

/// Computes and checks password hashes. Clones share the same places and the same waiting line.
#[derive(Debug, Clone)]
pub struct PasswordHasher {}

/// Too many wait for a hash already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many sign-ins at once")]
pub struct Busy;

impl PasswordHasher {
    /// A hasher with the configured cost and bounds.
    #[must_use]
    pub fn new(config: &AccountsConfig) -> Self {
        let _ = config;
        unimplemented!()
    }

    /// The hash of a new password, in the PHC string form.
    ///
    /// # Errors
    /// [`Busy`]
    pub async fn hash(&self, password: String) -> Result<String, Busy> {
        let _ = password;
        unimplemented!()
    }

    /// Whether `password` is the one of `hash`. Without a hash (no such account) it takes as long, and is false.
    ///
    /// # Errors
    /// [`Busy`]
    pub async fn verify(&self, hash: Option<String>, password: String) -> Result<bool, Busy> {
        let _ = (hash, password);
        unimplemented!()
    }
}
