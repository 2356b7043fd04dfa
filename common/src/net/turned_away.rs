//! Connections that are closed at once, because there are too many.

use std::fmt::Display;

use prometheus_client::metrics::counter::Counter;

use crate::telemetry::Seldom;

/// Counts them, and says so in the log: not each, since outsiders decide how many there are.
#[derive(Debug, Default)]
pub struct TurnedAway {
    counter: Counter,
    lines: Seldom,
}

impl TurnedAway {
    /// Counts in that counter.
    #[must_use]
    pub fn counting(counter: Counter) -> Self {
        Self { counter, lines: Seldom::default() }
    }

    /// The connection from `peer` is one too many.
    pub fn note(&self, peer: impl Display, why: &'static str) {
        self.counter.inc();
        if let Some(left_out) = self.lines.permits() {
            tracing::warn!(%peer, why, left_out, "connection turned away");
        }
    }
}
