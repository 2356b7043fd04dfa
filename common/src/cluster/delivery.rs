//! Handing notices to the sessions of this node, and running what may take a while.
//!
//! Most deliveries end at once: the notice is in the session's queue. They are tried in place, and only what has to
//! wait (an invitation waits for its session's answer) becomes a task, of which there are boundedly many.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::notice::{Deliver, Outcome};
use super::wire::Parcel;

/// The sessions of this node, if it has any, and the places of what has to wait.
#[derive(Clone)]
pub(super) struct Delivery {
    hub: Option<Arc<dyn Deliver>>,
    /// Batches that wait for other nodes or for sessions.
    batches: Arc<Semaphore>,
    /// Single deliveries that wait for sessions.
    slow: Arc<Semaphore>,
}

impl Delivery {
    const BATCHES: usize = 4096;
    const SLOW: usize = 4096;

    pub(super) fn new(hub: Option<Arc<dyn Deliver>>) -> Self {
        let (batches, slow) = (Semaphore::new(Self::BATCHES), Semaphore::new(Self::SLOW));
        Self { hub, batches: Arc::new(batches), slow: Arc::new(slow) }
    }

    pub(super) fn hub(&self) -> Option<&Arc<dyn Deliver>> {
        self.hub.as_ref()
    }

    /// Does `work` now, if it need not wait, or else as a task. If too many wait already it is dropped, and
    /// `refuse` is called.
    pub(super) fn run(&self, work: impl Future<Output = ()> + Send + 'static, refuse: impl FnOnce()) {
        let mut work = Box::pin(work);
        if poll_once(work.as_mut()).is_some() {
            return;
        }
        match Arc::clone(&self.batches).try_acquire_owned() {
            Ok(place) => {
                tokio::spawn(async move {
                    work.await;
                    drop(place);
                });
            }
            Err(_) => refuse(),
        }
    }

    /// Delivers each parcel and says what became of it, after `patience` at the latest. A slow session does not
    /// delay the others.
    pub(super) async fn deliver(&self, parcels: Vec<Parcel>, patience: Duration) -> Vec<Outcome> {
        let mut outcomes = vec![Outcome::Unknown; parcels.len()];
        let Some(hub) = &self.hub else { return outcomes };
        let mut slow = JoinSet::new();
        for (index, parcel) in parcels.into_iter().enumerate() {
            let mut delivery = Box::pin(timeout(patience, hand_over(Arc::clone(hub), parcel)));
            if let Some(outcome) = poll_once(delivery.as_mut()) {
                outcomes[index] = outcome.unwrap_or(Outcome::Unknown);
            } else if let Ok(place) = Arc::clone(&self.slow).try_acquire_owned() {
                slow.spawn(async move {
                    let outcome = delivery.await.unwrap_or(Outcome::Unknown);
                    drop(place);
                    (index, outcome)
                });
            }
        }
        while let Some(ended) = slow.join_next().await {
            // A delivery that panicked stays unknown.
            if let Ok((index, outcome)) = ended {
                outcomes[index] = outcome;
            }
        }
        outcomes
    }
}

async fn hand_over(hub: Arc<dyn Deliver>, parcel: Parcel) -> Outcome {
    let mut best = Outcome::NotHere;
    for notice in parcel.group.notices {
        best = better(best, hub.deliver(&parcel.group.to, parcel.epoch, notice).await);
    }
    best
}

/// Of the outcomes at several places of one principal the one that counts.
pub(super) fn better(one: Outcome, other: Outcome) -> Outcome {
    let rank = |outcome| match outcome {
        Outcome::NotHere => 0,
        Outcome::Unknown => 1,
        Outcome::Refused => 2,
        Outcome::TooOften => 3,
        Outcome::AlreadyRung => 4,
        Outcome::Accepted | Outcome::Heard { .. } => 5,
    };
    if rank(other) > rank(one) { other } else { one }
}

/// The outcome of a future that need not wait. One that must may be awaited afterwards, as if it had not been tried.
pub(super) fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}
