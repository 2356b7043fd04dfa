//! Lines of the log that outsiders, or a node that is set up wrongly, cause: so many, and no more.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Says whether a line may be written: some at once, and then one in so long. Without more said twenty, and one every two seconds.
#[derive(Debug)]
pub struct Seldom {
    burst: u32,
    each: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When all at once may be written again.
    full: Option<Instant>,
    left_out: u64,
}

impl Default for Seldom {
    fn default() -> Self {
        Self::usual()
    }
}

impl Seldom {
    /// Twenty lines, and one every two seconds.
    #[must_use]
    pub const fn usual() -> Self {
        Self::new(20, Duration::from_secs(2))
    }

    /// One line in so long.
    #[must_use]
    pub const fn one_in(pause: Duration) -> Self {
        Self::new(1, pause)
    }

    const fn new(burst: u32, each: Duration) -> Self {
        Self { burst, each, state: Mutex::new(State { full: None, left_out: 0 }) }
    }

    /// If a line may be written: how many were left out since the last one.
    pub fn permits(&self) -> Option<u64> {
        let (mut state, now) = (self.state.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        let full = state.full.map_or(now, |full| full.max(now)) + self.each;
        if full > now + self.each * self.burst {
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
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!((seldom.permits(), seldom.permits()), (Some(80), None));
        tokio::time::advance(Duration::from_secs(200)).await;
        assert_eq!((0..100).filter_map(|_| seldom.permits()).count(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn one_in_a_minute() {
        let seldom = Seldom::one_in(Duration::from_secs(60));
        assert_eq!((seldom.permits(), seldom.permits()), (Some(0), None));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(seldom.permits(), None);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(seldom.permits(), Some(2));
    }
}
