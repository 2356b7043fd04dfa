//! One after the other, where the servers can't know the order: lightweight transactions take no timestamps.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::model::Passport;

type Line = HashMap<Passport, (u64, oneshot::Receiver<()>)>;

/// Who is last in line for each account. Bounded by the calls under way.
#[derive(Default)]
pub(super) struct Turns {
    last: Arc<Mutex<Line>>,
    count: AtomicU64,
}

/// A place in line, until it is dropped.
pub(super) struct Turn {
    line: Arc<Mutex<Line>>,
    who: Passport,
    number: u64,
    before: Option<oneshot::Receiver<()>>,
    _end: oneshot::Sender<()>,
}

impl Turns {
    /// Stands in line, at once.
    pub(super) fn take(&self, who: &Passport) -> Turn {
        let (end, ended) = oneshot::channel();
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let before = lock(&self.last).insert(who.clone(), (number, ended)).map(|(_, ended)| ended);
        Turn { line: Arc::clone(&self.last), who: who.clone(), number, before, _end: end }
    }
}

impl Turn {
    /// Waits until the one before has ended.
    pub(super) async fn begins(&mut self) {
        if let Some(before) = self.before.take() {
            // It ends by being dropped; nothing is ever sent.
            let _ = before.await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut line = lock(&self.line);
        if line.get(&self.who).is_some_and(|(last, _)| *last == self.number) {
            line.remove(&self.who);
        }
    }
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn turns_come_in_the_order_in_which_they_were_taken() {
        let (turns, who) = (Turns::default(), Passport::parse("a@example.com").unwrap());
        let order = Arc::new(Mutex::new(Vec::new()));
        let taken: Vec<_> = (0..5).map(|n| (n, turns.take(&who))).collect();
        let tasks = taken.into_iter().rev().map(|(n, mut turn)| {
            let order = Arc::clone(&order);
            tokio::spawn(async move {
                turn.begins().await;
                tokio::task::yield_now().await;
                order.lock().unwrap().push(n);
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
        assert!(lock(&turns.last).is_empty());
    }
}
