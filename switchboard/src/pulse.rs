//! Whether this process has stood still: what was promised within a time can't have been done meanwhile.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Beats further apart than this mean that it has.
const APART: Duration = Duration::from_secs(2);
/// For so long after that promises may be late.
const LATE: Duration = Duration::from_secs(10);

/// The pulse of a process, one beat a second. Without a beat nothing is known of it.
#[derive(Debug, Default)]
pub(crate) struct Pulse(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    late_until: Option<Instant>,
}

impl Pulse {
    /// To be told once a second.
    pub(crate) fn beat(&self, now: Instant) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now.duration_since(last) > APART) {
            state.late_until = Some(now + LATE);
        }
        state.last = Some(now);
    }

    /// Whether it stands still, or has done so lately.
    pub(crate) fn has_stood_still(&self, now: Instant) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stands = state.last.is_some_and(|last| now.duration_since(last) > APART);
        stands || state.late_until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_excuses_for_a_while() {
        let (pulse, begun) = (Pulse::default(), Instant::now());
        let at = |secs| begun + Duration::from_secs(secs);
        assert!(!pulse.has_stood_still(at(100)));
        for secs in 0..5 {
            pulse.beat(at(secs));
            assert!(!pulse.has_stood_still(at(secs + 1)));
        }
        assert!(pulse.has_stood_still(at(8)));
        pulse.beat(at(8));
        pulse.beat(at(9));
        assert!(pulse.has_stood_still(at(9)));
        for secs in 10..20 {
            pulse.beat(at(secs));
        }
        assert!(!pulse.has_stood_still(at(20)));
    }
}
