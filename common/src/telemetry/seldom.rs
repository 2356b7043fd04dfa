//! Lines of the log that outsiders cause: so many, and no more.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lines at once.
const BURST: u32 = 20;
/// And then one in so long.
const EACH: Duration = Duration::from_secs(2);

/// Says whether a line may be written: twenty at once, and then one every two seconds.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When all twenty may be written again.
    full: Option<Instant>,
    left_out: u64,
}

impl Seldom {
    /// If a line may be written: how many were left out since the last one.
    pub fn permits(&self) -> Option<u64> {
        let (mut state, now) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        let full = state.full.map_or(now, |full| full.max(now)) + EACH;
        if full > now + EACH * BURST {
            state.left_out = state.left_out.saturating_add(1);
            return None;
        }
        state.full = Some(full);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn twenty_at_once_and_then_one_in_two_seconds() {
        let seldom = Seldom::default();
        assert_eq!((0..100).filter_map(|_| seldom.permits()).collect::<Vec<_>>(), [0; 20]);
        tokio::time::advance(EACH).await;
        assert_eq!((seldom.permits(), seldom.permits()), (Some(80), None));
        tokio::time::advance(EACH * 100).await;
        assert_eq!((0..100).filter_map(|_| seldom.permits()).count(), 20);
    }
}
