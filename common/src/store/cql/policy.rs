//! When the driver itself asks another node, within one attempt.

use std::sync::Arc;
use std::time::Duration;

use scylla::client::execution_profile::ExecutionProfile;
use scylla::errors::{DbError, RequestAttemptError};
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::retry::{RequestInfo, RetryDecision, RetryPolicy, RetrySession};
use scylla::policies::speculative_execution::SimpleSpeculativeExecutionPolicy;
use scylla::statement::{Consistency, SerialConsistency};

use crate::config::{ScyllaConfig, StoreConsistency};

/// How a statement is asked.
pub(super) struct Profiles {
    /// Reads: a second node is asked early, since an answer too many costs little.
    pub(super) read: ExecutionProfile,
    /// Writes: a second coordinator gets it when the first has been silent for long.
    pub(super) write: ExecutionProfile,
    /// Changes of the schema, which take their time.
    pub(super) schema: ExecutionProfile,
}

impl Profiles {
    /// Longer than any call waits: calls have bounds of their own.
    const ATTEMPT: Duration = Duration::from_secs(4);
    const SCHEMA: Duration = Duration::from_secs(60);

    pub(super) fn new(config: &ScyllaConfig) -> Self {
        let speculative = |ms| {
            let retry_interval = Duration::from_millis(ms);
            Arc::new(SimpleSpeculativeExecutionPolicy { max_retry_count: 2, retry_interval })
        };
        let mut balancing = DefaultPolicy::builder().token_aware(true);
        if let Some(datacenter) = &config.datacenter {
            balancing = balancing.prefer_datacenter(datacenter.clone()).permit_dc_failover(false);
        }
        let consistency = match config.consistency {
            StoreConsistency::LocalQuorum => Consistency::LocalQuorum,
            StoreConsistency::Quorum => Consistency::Quorum,
        };
        let base = ExecutionProfile::builder()
            .consistency(consistency)
            .serial_consistency(Some(SerialConsistency::Serial))
            .load_balancing_policy(balancing.build())
            .retry_policy(Arc::new(NextNode))
            .request_timeout(Some(Self::ATTEMPT))
            .build();
        Self {
            read: base.to_builder().speculative_execution_policy(Some(speculative(200))).build(),
            write: base.to_builder().speculative_execution_policy(Some(speculative(800))).build(),
            schema: base.to_builder().request_timeout(Some(Self::SCHEMA)).build(),
        }
    }
}

/// Asks the next node where that may help and can't harm: after anything that a node is to blame for, if the request is
/// idempotent; otherwise only where the request surely had no effect.
#[derive(Debug)]
struct NextNode;

impl RetryPolicy for NextNode {
    fn new_session(&self) -> Box<dyn RetrySession> {
        Box::new(Asked(0))
    }
}

/// How often one request was sent anew.
struct Asked(u32);

impl Asked {
    const MOST: u32 = 3;
}

impl RetrySession for Asked {
    fn decide_should_retry(&mut self, request: RequestInfo<'_>) -> RetryDecision {
        if self.0 >= Self::MOST || !helps(request.error, request.is_idempotent) {
            return RetryDecision::DontRetry;
        }
        self.0 += 1;
        RetryDecision::RetryNextTarget(None)
    }

    fn reset(&mut self) {
        self.0 = 0;
    }
}

fn helps(error: &RequestAttemptError, idempotent: bool) -> bool {
    match error {
        RequestAttemptError::UnableToAllocStreamId
        | RequestAttemptError::DbError(DbError::IsBootstrapping | DbError::Unavailable { .. }, _) => true,
        RequestAttemptError::BrokenConnectionError(_)
        | RequestAttemptError::DbError(
            DbError::Overloaded
            | DbError::ServerError
            | DbError::TruncateError
            | DbError::ReadTimeout { .. }
            | DbError::WriteTimeout { .. }
            | DbError::ReadFailure { .. }
            | DbError::WriteFailure { .. }
            | DbError::RateLimitReached { .. },
            _,
        ) => idempotent,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_repeated_is() {
        let failed = |error| RequestAttemptError::DbError(error, String::new());
        for (error, idempotent, other) in [
            (failed(DbError::Overloaded), true, false),
            (failed(DbError::IsBootstrapping), true, true),
            (RequestAttemptError::UnableToAllocStreamId, true, true),
            (failed(DbError::Invalid), false, false),
            (failed(DbError::SyntaxError), false, false),
        ] {
            assert_eq!((helps(&error, true), helps(&error, false)), (idempotent, other), "{error}");
        }
    }
}
