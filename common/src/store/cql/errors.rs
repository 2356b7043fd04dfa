//! From what the driver says to what callers are told.

use std::fmt::Display;

use scylla::errors::{DbError, ExecutionError, RequestAttemptError};

use crate::store::StoreError;

/// Text of an error is bounded: a server's message may hold a whole statement.
const MOST_TEXT: usize = 400;

pub(super) fn unavailable(error: impl Display) -> StoreError {
    StoreError::Unavailable(shortened(error))
}

pub(super) fn corrupt(error: impl Display) -> StoreError {
    StoreError::Corrupt(shortened(error))
}

fn shortened(error: impl Display) -> String {
    error.to_string().chars().take(MOST_TEXT).collect()
}

/// A column held what Monarch never wrote there.
pub(super) fn strange(column: &str) -> StoreError {
    StoreError::Corrupt(format!("a value of {column} that Monarch never wrote"))
}

/// Whether asking again may help: not where the server has understood the request and refuses it.
pub(super) fn may_pass(error: &ExecutionError) -> bool {
    use DbError as E;
    match error {
        ExecutionError::BadQuery(_) => false,
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, _)) => !matches!(
            error,
            E::SyntaxError
                | E::Invalid
                | E::AlreadyExists { .. }
                | E::Unauthorized
                | E::ConfigError
                | E::FunctionFailure { .. }
        ),
        _ => true,
    }
}
