//! How much one principal may say, in all its conversations here together, and how much of it is kept in a day.
//!
//! What is said too fast waits and is not refused: a client takes it for a slow line, while a NAK is an error that people see and
//! that ends transfers. What is beyond the day's quota is delivered all the same and NAKed, as while the store is away.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::clock;
use common::model::{Bucket, Limits, Passport, Rate, Rates};
use lru::LruCache;

/// Principals who have left and of whom something is remembered: those who have left last.
const REMEMBERED: usize = 1 << 18;
/// Principals are shared out among so many locks, by their hashes: a burst of joins and leaves does not stand in one line.
const SHARDS: usize = 64;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// How much any principal may say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    messages: Rate,
    bytes: Rate,
    stored: Rate,
    /// Bytes that are kept in a day; 0: no bound.
    per_day: u64,
}

impl Allowance {
    pub(crate) fn of(rates: &Rates, limits: &Limits) -> Self {
        Self {
            messages: rates.message(),
            bytes: rates.message_bytes(),
            stored: rates.stored(),
            per_day: limits.stored_kib_per_day.saturating_mul(1024),
        }
    }
}

/// What one principal has said lately.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    messages: Bucket,
    bytes: Bucket,
    stored: Bucket,
    /// The day of `kept`, in days since 1970.
    day: u64,
    /// Bytes kept on that day.
    kept: u64,
}

impl Spent {
    /// How long a message waits; none of it is spent if it does.
    fn wait(&self, allowance: &Allowance, bytes: u32, is_stored: bool, now: Instant) -> Duration {
        let said =
            self.messages.wait(allowance.messages, 1, now).max(self.bytes.wait(allowance.bytes, bytes, now));
        if is_stored { said.max(self.stored.wait(allowance.stored, 1, now)) } else { said }
    }

    fn spend(&mut self, allowance: &Allowance, bytes: u32, is_stored: bool, now: Instant) {
        self.messages.spend(allowance.messages, 1, now);
        self.bytes.spend(allowance.bytes, bytes, now);
        if is_stored {
            self.stored.spend(allowance.stored, 1, now);
        }
    }

    /// Counts what is kept. False if that is more than the day has room for.
    fn keep(&mut self, allowance: &Allowance, bytes: u64, day: u64) -> bool {
        if self.day != day {
            (self.day, self.kept) = (day, 0);
        }
        let kept = self.kept.saturating_add(bytes);
        if allowance.per_day > 0 && kept > allowance.per_day {
            return false;
        }
        self.kept = kept;
        true
    }

    /// Whether it is as good as that of somebody who has said nothing.
    fn is_new(&self, day: u64, now: Instant) -> bool {
        let buckets = [self.messages, self.bytes, self.stored];
        (self.day != day || self.kept == 0) && buckets.iter().all(|bucket| bucket.full_in(now).is_zero())
    }
}

/// What all principals have said lately.
#[derive(Debug)]
pub(crate) struct Purses {
    allowance: Allowance,
    shards: Box<[Mutex<Books>]>,
    /// Of how many who have left something is remembered in each shard.
    remembered: usize,
    hasher: RandomState,
}

#[derive(Debug)]
struct Books {
    /// Of those who are in conversations, and in how many.
    present: HashMap<Passport, (Arc<Account>, usize)>,
    /// Of those who have left, by a hash that nobody outside can guess.
    left: LruCache<u64, Spent>,
}

/// What one principal has said, for all its conversations.
#[derive(Debug)]
struct Account {
    who: Passport,
    /// By which it is remembered.
    hash: u64,
    spent: Mutex<Spent>,
}

impl Account {
    fn lock(&self) -> MutexGuard<'_, Spent> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room that was taken in the quota of a day. Given back when it is dropped, unless the message [is kept](Paid::keep_for_good).
#[derive(Debug)]
pub(crate) struct Paid {
    account: Arc<Account>,
    bytes: u64,
    day: u64,
}

impl Paid {
    /// History has the message.
    pub(crate) fn keep_for_good(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Paid {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let mut spent = self.account.lock();
            if spent.day == self.day {
                spent.kept = spent.kept.saturating_sub(self.bytes);
            }
        }
    }
}

/// One principal's purse, in one of its conversations.
#[derive(Debug)]
pub(crate) struct Purse {
    account: Arc<Account>,
    of: Arc<Purses>,
}

impl Purses {
    pub(crate) fn new(allowance: Allowance) -> Arc<Self> {
        Self::remembering(REMEMBERED, allowance)
    }

    fn remembering(count: usize, allowance: Allowance) -> Arc<Self> {
        // The bound is ours: a cache that knows it makes room for so many at once.
        let books = || Mutex::new(Books { present: HashMap::new(), left: LruCache::unbounded() });
        let shards = std::iter::repeat_with(books).take(SHARDS).collect();
        Arc::new(Self { allowance, shards, remembered: count / SHARDS, hasher: RandomState::new() })
    }

    fn lock(&self, hash: u64) -> MutexGuard<'_, Books> {
        let shard = &self.shards[(hash % SHARDS as u64) as usize];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The purse of somebody who joins a conversation.
    pub(crate) fn open(self: &Arc<Self>, who: &Passport) -> Purse {
        let hash = self.hasher.hash_one(who);
        let mut books = self.lock(hash);
        let Books { present, left } = &mut *books;
        let (account, count) = present.entry(who.clone()).or_insert_with(|| {
            let spent = left.pop(&hash).unwrap_or_default();
            (Arc::new(Account { who: who.clone(), hash, spent: Mutex::new(spent) }), 0)
        });
        *count += 1;
        Purse { account: Arc::clone(account), of: Arc::clone(self) }
    }

    /// Whether somebody is in a conversation here. Known at once, however many there are.
    pub(crate) fn are_open(&self, who: &Passport) -> bool {
        self.lock(self.hasher.hash_one(who)).present.contains_key(who)
    }

    fn close(&self, who: &Passport, hash: u64, day: u64, now: Instant) {
        let mut books = self.lock(hash);
        let Books { present, left } = &mut *books;
        let Some((account, count)) = present.get_mut(who) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        let spent = *account.lock();
        present.remove(who);
        if spent.is_new(day, now) {
            return;
        }
        if left.len() >= self.remembered {
            // Whoever has left longest ago: nobody is looked for, however many there are.
            left.pop_lru();
        }
        left.put(hash, spent);
    }
}

impl Purse {
    /// Pays for a message of so many bytes.
    ///
    /// # Errors
    /// How long it has to wait; then nothing is paid.
    pub(crate) fn say(&self, bytes: usize, is_stored: bool, now: Instant) -> Result<(), Duration> {
        let (allowance, bytes) = (&self.of.allowance, u32::try_from(bytes).unwrap_or(u32::MAX));
        let mut spent = self.account.lock();
        let wait = spent.wait(allowance, bytes, is_stored, now);
        if !wait.is_zero() {
            return Err(wait);
        }
        spent.spend(allowance, bytes, is_stored, now);
        Ok(())
    }

    /// Counts a message that is to be kept and takes up so many bytes there. Nothing if too much was kept today.
    pub(crate) fn keep(&self, bytes: u64) -> Option<Paid> {
        let day = today();
        let has_room = self.account.lock().keep(&self.of.allowance, bytes, day);
        has_room.then(|| Paid { account: Arc::clone(&self.account), bytes, day })
    }
}

impl Drop for Purse {
    fn drop(&mut self) {
        self.of.close(&self.account.who, self.account.hash, today(), tokio::time::Instant::now().into_std());
    }
}

fn today() -> u64 {
    clock::wall_ms() / DAY_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::passport;

    fn purses() -> Arc<Purses> {
        let rates = Rates {
            message_burst: 10,
            message_per_minute: 60,
            message_kib_burst: 100,
            message_kib_per_minute: 60,
            stored_burst: 3,
            stored_per_minute: 60,
            ..Rates::default()
        };
        let limits = Limits { stored_kib_per_day: 4, ..Limits::default() };
        Purses::new(Allowance::of(&rates, &limits))
    }

    #[tokio::test]
    async fn each_bucket_holds_up_what_it_is_for() {
        let (purses, now) = (purses(), Instant::now());
        let purse = purses.open(&passport("alice"));
        for _ in 0..3 {
            assert_eq!(purse.say(10, true, now), Ok(()));
        }
        assert_eq!(purse.say(10, true, now), Err(Duration::from_secs(1)));
        for _ in 3..10 {
            assert_eq!(purse.say(10, false, now), Ok(()));
        }
        assert_eq!(purse.say(10, false, now), Err(Duration::from_secs(1)));
        let now = now + Duration::from_secs(100);
        assert_eq!(purse.say(100 * 1024, false, now), Ok(()));
        assert!(purse.say(2048, false, now).is_err());
        assert_eq!(purse.say(2048, false, now + Duration::from_secs(2)), Ok(()));
    }

    #[tokio::test]
    async fn a_purse_is_one_in_all_conversations_and_after_them() {
        let purses = purses();
        let now = tokio::time::Instant::now().into_std();
        let (one, two) = (purses.open(&passport("alice")), purses.open(&passport("alice")));
        let keep = |purse: &Purse, bytes| purse.keep(bytes).map(Paid::keep_for_good).is_some();
        assert!(keep(&one, 2000) && keep(&two, 2000) && !keep(&one, 2000) && keep(&one, 90));
        for _ in 0..3 {
            assert_eq!(two.say(10, true, now), Ok(()));
        }
        drop((one, two));
        assert_eq!(counts(&purses), (1, 0));
        let again = purses.open(&passport("alice"));
        assert!(again.say(10, true, now).is_err() && !keep(&again, 2000));
        assert!(keep(&purses.open(&passport("bob")), 2000));
        // Who has said nothing of late is not remembered.
        drop(purses.open(&passport("carol")));
        assert_eq!(counts(&purses), (1, 1));
    }

    /// Of those who have left, and of those who are there.
    fn counts(purses: &Purses) -> (usize, usize) {
        let books: Vec<_> = (0..SHARDS as u64).map(|shard| purses.lock(shard)).collect();
        (books.iter().map(|books| books.left.len()).sum(), books.iter().map(|books| books.present.len()).sum())
    }

    #[tokio::test]
    async fn what_is_not_kept_after_all_is_given_back() {
        let purses = purses();
        let purse = purses.open(&passport("alice"));
        for _ in 0..100 {
            drop(purse.keep(4000).unwrap());
        }
        purse.keep(4000).unwrap().keep_for_good();
        assert!(purse.keep(4000).is_none());
        // Of another day nothing is given back.
        let mut paid = purse.keep(90).unwrap();
        paid.day -= 1;
        drop(paid);
        assert!(purse.keep(90).is_none());
    }

    /// However many have left before: nobody gets a new quota by leaving.
    #[tokio::test]
    async fn whoever_has_left_last_is_remembered() {
        const COUNT: usize = 8;
        let purses = Purses::remembering(COUNT * SHARDS, purses().allowance);
        for number in 0..3 * COUNT * SHARDS {
            let who = passport(&number.to_string());
            let purse = purses.open(&who);
            purse.keep(4000).unwrap().keep_for_good();
            drop(purse);
            assert!(purses.open(&who).keep(4000).is_none(), "{number} is new");
            assert!(counts(&purses).0 <= COUNT * SHARDS);
        }
    }

    #[test]
    fn the_next_day_begins_anew() {
        let allowance = purses().allowance;
        let (mut spent, now) = (Spent::default(), Instant::now());
        assert!(spent.keep(&allowance, 3000, 1) && !spent.keep(&allowance, 3000, 1) && !spent.is_new(1, now));
        assert!(spent.is_new(2, now) && spent.keep(&allowance, 3000, 2));
    }
}
