//! One after the other, where the servers can't know the order: lightweight transactions take no timestamps.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::model::Passport;

/// One who is waited for: its number, and what says that it has ended, by being dropped.
type Ended = (u64, oneshot::Receiver<Earlier>);
/// What one who leaves before its turn leaves to the next: whom it waited for.
struct Earlier(Ended);
type Line = HashMap<Passport, Ended>;

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
    before: Option<Ended>,
    end: Option<oneshot::Sender<Earlier>>,
}

impl Turns {
    /// Stands in line, at once.
    pub(super) fn take(&self, who: &Passport) -> Turn {
        let (end, ended) = oneshot::channel();
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let before = lock(&self.last).insert(who.clone(), (number, ended));
        Turn { line: Arc::clone(&self.last), who: who.clone(), number, before, end: Some(end) }
    }
}

impl Turn {
    /// Waits until all before have ended.
    pub(super) async fn begins(&mut self) {
        while let Some((_, ended)) = &mut self.before {
            self.before = ended.await.ok().map(|Earlier(before)| before);
        }
    }

    /// Who is still waited for, if anybody.
    fn still_before(&mut self) -> Option<Ended> {
        let (mut number, mut ended) = self.before.take()?;
        loop {
            match ended.try_recv() {
                Ok(Earlier(before)) => (number, ended) = before,
                Err(TryRecvError::Empty) => return Some((number, ended)),
                Err(TryRecvError::Closed) => return None,
            }
        }
    }
}

/// Whoever comes next goes on waiting for those whom this one would have waited for.
impl Drop for Turn {
    fn drop(&mut self) {
        let line = Arc::clone(&self.line);
        // All of it as one step: the one before may end at this moment.
        let mut line = lock(&line);
        let before = self.still_before();
        let last = line.get(&self.who).is_some_and(|(last, _)| *last == self.number);
        match (last, before) {
            (true, None) => drop(line.remove(&self.who)),
            (true, Some(before)) => drop(line.insert(self.who.clone(), before)),
            (false, Some(before)) => drop(self.end.take().map(|end| end.send(Earlier(before)))),
            (false, None) => {}
        }
        self.end = None;
    }
}

fn lock(line: &Mutex<Line>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

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

    #[tokio::test]
    async fn one_who_leaves_before_its_turn_lets_nobody_overtake() {
        let (turns, who) = (Turns::default(), Passport::parse("a@example.com").unwrap());
        let [first, second, mut third, mut fourth] = std::array::from_fn(|_| turns.take(&who));
        let waits = async |turn: &mut Turn| timeout(Duration::from_millis(5), turn.begins()).await.is_err();
        assert!(waits(&mut third).await && waits(&mut third).await, "also when asked again");
        drop(second);
        assert!(waits(&mut third).await);
        drop(third);
        assert!(waits(&mut fourth).await);
        // Also where nobody has come yet.
        drop(fourth);
        let mut fifth = turns.take(&who);
        assert!(waits(&mut fifth).await);
        drop(first);
        fifth.begins().await;
        drop(fifth);
        assert!(lock(&turns.last).is_empty());
    }

    #[tokio::test]
    async fn lines_end() {
        let (turns, who) = (Turns::default(), Passport::parse("a@example.com").unwrap());
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut taken: Vec<_> = (0..3).map(|_| Some(turns.take(&who))).collect();
            order.into_iter().for_each(|at| taken[at] = None);
            assert!(lock(&turns.last).is_empty(), "{order:?}");
        }
    }
}
