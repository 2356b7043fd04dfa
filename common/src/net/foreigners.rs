//! Who has come to the wrong port is said in the log, and not for each.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::msnp::Foreign;

/// From one line to the next.
const PAUSE: Duration = Duration::from_secs(10);

/// When the last line was written, and how many have come since.
static LAST: Mutex<Seldom> = Mutex::new(Seldom { last: None, since: 0 });

#[derive(Debug)]
struct Seldom {
    last: Option<Instant>,
    since: u64,
}

impl Seldom {
    /// Whether it is time for a line; then how many had none before it.
    fn passes(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE) {
            self.since += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

/// Says what somebody has sent to a port where only MSNP is spoken.
pub(super) fn note(peer: SocketAddr, what: Foreign) {
    let passes = LAST.lock().unwrap_or_else(PoisonError::into_inner).passes(Instant::now());
    if let Some(others) = passes {
        tracing::warn!(%peer, %what, others, "closed: this port speaks MSNP only, without TLS or HTTP; `others` came since the last such line");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_line_in_ten_seconds() {
        let (mut seldom, now) = (Seldom { last: None, since: 0 }, Instant::now());
        let at = |secs| now + Duration::from_secs(secs);
        assert_eq!([0, 1, 9, 10, 11].map(|secs| seldom.passes(at(secs))), [Some(0), None, None, Some(2), None]);
        assert_eq!(seldom.passes(at(100)), Some(1));
    }
}
