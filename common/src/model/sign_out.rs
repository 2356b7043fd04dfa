//! How operators end sessions.

use serde::{Deserialize, Serialize};

/// Why operators end a session. Which word its client hears depends on the dialect (§6.24).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignOut {
    /// The server goes. The client may come back at once, and finds another one.
    ShutDown,
    /// The client is to come back by itself.
    Reconnect {
        /// After so many minutes.
        minutes: u16,
    },
    /// The account has moved: the client is to sign in anew.
    Migrated,
    /// The user has to accept the terms of use first.
    TermsOfUse,
    /// The account has another password: the client comes back in vain until it knows it.
    NewPassword,
}

impl SignOut {
    /// The word in metrics and logs.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::ShutDown => "sign_out_shutdown",
            Self::Reconnect { .. } => "sign_out_reconnect",
            Self::Migrated => "sign_out_migrated",
            Self::TermsOfUse => "sign_out_terms",
            Self::NewPassword => "sign_out_password",
        }
    }
}
