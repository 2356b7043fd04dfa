//! Identical reads made at once share one.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::errors::unavailable;
use crate::store::Result;

/// Reads under way, by what they ask for. Clones are the same.
///
/// Who comes while one is under way waits for the next, which all who wait share: an answer is never older than its
/// question. So there is at most one read of a kind at a time, however many ask.
pub(super) struct Flights<K, V>(Arc<Mutex<UnderWay<K, V>>>);

/// Who waits for the next flight of each kind.
type UnderWay<K, V> = HashMap<K, Vec<Answer<V>>>;
type Answer<V> = oneshot::Sender<Result<V>>;

impl<K, V> Clone for Flights<K, V> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + 'static,
{
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// The answer to `key`, by `read`, which is called only where no other read is under way.
    pub(super) async fn share<F>(&self, key: K, read: impl Fn(K) -> F + Send + 'static) -> Result<V>
    where
        F: Future<Output = Result<V>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        if let Some(answer) = self.join(&key, answer) {
            tokio::spawn(self.clone().fly(key, vec![answer], read));
        }
        answered.await.unwrap_or_else(|_| Err(unavailable("a shared read was not made")))
    }

    /// Waits for the next flight; gives the sender back where none is under way.
    fn join(&self, key: &K, answer: Answer<V>) -> Option<Answer<V>> {
        let mut under_way = self.lock();
        match under_way.get_mut(key) {
            Some(waiting) => {
                waiting.push(answer);
                None
            }
            None => {
                under_way.insert(key.clone(), Vec::new());
                Some(answer)
            }
        }
    }

    async fn fly<F>(self, key: K, mut aboard: Vec<Answer<V>>, read: impl Fn(K) -> F)
    where
        F: Future<Output = Result<V>>,
    {
        // If a read panics, those who wait are told by their senders being dropped.
        let _landing = Landing { flights: self.clone(), key: key.clone() };
        loop {
            aboard.retain(|answer| !answer.is_closed());
            if !aboard.is_empty() {
                let found = read(key.clone()).await;
                for answer in aboard.drain(..) {
                    let _ = answer.send(found.clone());
                }
            }
            let mut under_way = self.lock();
            match under_way.get_mut(&key) {
                Some(waiting) if !waiting.is_empty() => aboard = std::mem::take(waiting),
                _ => {
                    under_way.remove(&key);
                    return;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the place of a read that panicked, so that the next one may be made.
struct Landing<K: Eq + Hash, V> {
    flights: Flights<K, V>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.flights.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_come_meanwhile_share_the_next() {
        let (flights, made) = (Flights::<u8, usize>::new(), Arc::new(AtomicUsize::new(0)));
        let ask = |key: u8| {
            let (flights, made) = (flights.clone(), Arc::clone(&made));
            let read = move |_| {
                let made = Arc::clone(&made);
                async move {
                    let number = made.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_secs(1)).await;
                    Ok(number)
                }
            };
            tokio::spawn(async move { flights.share(key, read).await.unwrap() })
        };
        let first = ask(1);
        sleep(Duration::from_millis(10)).await;
        let (second, third, other) = (ask(1), ask(1), ask(2));
        let given_up = ask(3);
        given_up.abort();
        assert_eq!((first.await.unwrap(), other.await.unwrap()), (0, 1));
        assert_eq!((second.await.unwrap(), third.await.unwrap()), (2, 2));
        sleep(Duration::from_secs(2)).await;
        assert!(flights.lock().is_empty());
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_no_end() {
        let flights = Flights::<u8, u8>::new();
        let broken = flights.share(1, |_| async { panic!("on purpose") }).await;
        assert!(broken.is_err());
        assert_eq!(flights.share(1, |key| async move { Ok(key) }).await.unwrap(), 1);
    }
}
