//! Why a command did not succeed, and the exit code that says so.

use std::process::ExitCode;

use common::config::ConfigError;
use common::store::StoreError;

use crate::terminal::say;

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It was tried, and failed: exit code 1.
    #[error("{0:#}")]
    Failed(anyhow::Error),
    /// The command line or what it names makes no sense: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// The configuration can't be used: exit code 2.
    #[error("the configuration can't be used:\n{0}")]
    Config(#[from] ConfigError),
    /// The store or a server could not be reached: exit code 3.
    #[error("{0}")]
    Unreachable(String),
}

impl Failure {
    /// A failure of that text.
    #[must_use]
    pub fn failed(message: impl std::fmt::Display) -> Self {
        Self::Failed(anyhow::anyhow!("{message}"))
    }

    /// The exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) | Self::Config(_) => 2,
            Self::Unreachable(_) => 3,
        }
    }

    /// Tells the user, and gives the exit code.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        if self.is_closed_pipe() {
            return ExitCode::SUCCESS;
        }
        say(format!("monarch: {self}"));
        ExitCode::from(self.code())
    }

    /// Whoever read our output has enough of it: `monarch history show … | head`.
    fn is_closed_pipe(&self) -> bool {
        let Self::Failed(error) = self else { return false };
        error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Refused(_) => Self::Unreachable(error.to_string()),
            StoreError::Corrupt(_) => Self::Failed(error.into()),
        }
    }
}
