//! What accounts may still do of what costs others something. It outlives their sessions: to sign in again fills no bucket.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use common::model::{Bucket, Passport, Rate};

/// Of so many accounts that have left it is remembered what they have done. Of more some are forgotten, whichever they are.
const REMEMBERED: usize = 1 << 17;
/// Fewer than this are not looked through.
const FEW: usize = 1024;

/// A bucket for each kind.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    pub(crate) sign_in: Bucket,
    /// Whatever it is.
    pub(crate) command: Bucket,
    pub(crate) status: Bucket,
    pub(crate) name: Bucket,
    pub(crate) contact_name: Bucket,
    pub(crate) list: Bucket,
    pub(crate) chat: Bucket,
}

impl Buckets {
    /// Whether they are as good as those of somebody who has done nothing.
    fn are_full(&self, now: Instant) -> bool {
        let Self { sign_in, command, status, name, contact_name, list, chat } = self;
        [sign_in, command, status, name, contact_name, list, chat]
            .iter()
            .all(|bucket| bucket.full_in(now).is_zero())
    }
}

/// What one account may still do, for all its sessions here.
#[derive(Debug, Default)]
pub(crate) struct Allowance(Arc<Mutex<Buckets>>);

impl Allowance {
    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one of a kind, if there is one.
    pub(crate) fn take(&self, of: impl FnOnce(&mut Buckets) -> &mut Bucket, rate: Rate, now: Instant) -> bool {
        of(&mut self.lock()).take(rate, now)
    }

    /// Takes so many commands, whether or not they are there. When the next one may come, if that is not now.
    pub(crate) fn spend_commands(&self, count: u32, rate: Rate, now: Instant) -> Option<Instant> {
        /// Who has to wait waits until there are so many, so that not each command has a waiting of its own.
        const AT_ONCE: u32 = 32;
        let bucket = &mut self.lock().command;
        bucket.spend(rate, count, now);
        if bucket.wait(rate, 1, now).is_zero() { None } else { now.checked_add(bucket.wait(rate, AT_ONCE, now)) }
    }
}

/// What all accounts may still do.
#[derive(Debug)]
pub(crate) struct Allowances {
    books: Mutex<Books>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Books {
    /// By a hash that nobody outside can guess. Who has a session holds its own as well.
    all: HashMap<u64, Arc<Mutex<Buckets>>>,
    /// With so many it is time to look who can be forgotten.
    look_at: usize,
}

impl Default for Allowances {
    fn default() -> Self {
        Self { books: Mutex::new(Books { all: HashMap::new(), look_at: FEW }), hasher: RandomState::new() }
    }
}

impl Allowances {
    /// Of somebody who signs in.
    pub(crate) fn open(&self, who: &Passport, now: Instant) -> Allowance {
        let hash = self.hasher.hash_one(who);
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        if books.all.len() >= books.look_at {
            books.forget(REMEMBERED, now);
        }
        Allowance(Arc::clone(books.all.entry(hash).or_default()))
    }
}

impl Books {
    /// Forgets those who have left and whose buckets are full, and of the others who have left all but `most`. What that takes is
    /// spread over as many sign-ins.
    fn forget(&mut self, most: usize, now: Instant) {
        let mut left = 0;
        self.all.retain(|_, one| {
            let is_held = Arc::strong_count(one) > 1;
            let stays = is_held || !one.lock().unwrap_or_else(PoisonError::into_inner).are_full(now);
            left += usize::from(stays && !is_held);
            stays
        });
        let mut over = left.saturating_sub(most);
        self.all.retain(|_, one| {
            let goes = over > 0 && Arc::strong_count(one) == 1;
            over -= usize::from(goes);
            !goes
        });
        self.look_at = (2 * self.all.len()).max(FEW);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::model::Rates;

    use super::*;

    fn who(number: usize) -> Passport {
        Passport::parse(&format!("{number}@example.com")).unwrap()
    }

    #[test]
    fn a_session_that_follows_finds_what_the_one_before_has_left() {
        let (allowances, now) = (Allowances::default(), Instant::now());
        let rate = Rate::new(3, 60);
        let edits = |one: &Allowance, now| (0..10).filter(|_| one.take(|of| &mut of.list, rate, now)).count();
        let first = allowances.open(&who(1), now);
        assert_eq!(edits(&first, now), 3);
        // Also while it is still there.
        assert_eq!(edits(&allowances.open(&who(1), now), now), 0);
        drop(first);
        let again = allowances.open(&who(1), now);
        assert_eq!(edits(&again, now), 0);
        assert!(again.take(|of| &mut of.chat, rate, now));
        assert_eq!(edits(&allowances.open(&who(2), now), now), 3);
        assert_eq!(edits(&again, now + Duration::from_secs(2)), 2);
    }

    #[test]
    fn who_has_left_is_remembered_as_long_as_it_matters_and_no_more_than_there_is_room_for() {
        let (allowances, now) = (Allowances::default(), Instant::now());
        let rate = Rate::new(10, 60);
        let held = allowances.open(&who(0), now);
        for number in 1..10 * FEW {
            let one = allowances.open(&who(number), now);
            if number % 10 == 0 {
                assert!(one.take(|of| &mut of.list, rate, now));
            }
        }
        let mut books = allowances.books.lock().unwrap();
        assert!(books.all.len() <= 3 * FEW, "{}", books.all.len());
        books.forget(100, now);
        assert_eq!(books.all.len(), 101, "a hundred who have left, and who is there");
        books.forget(100, now + Duration::from_secs(2));
        assert_eq!((books.all.len(), books.look_at), (1, FEW));
        drop((books, held));
    }

    /// Whoever signs in, and edits its lists as much as clients do at once, does not wait.
    #[test]
    fn commands_wait_when_there_are_far_more_than_clients_send() {
        let (one, now, rate) = (Allowance::default(), Instant::now(), Rates::default().command());
        // VER to CHG; SYN of a thousand contacts; two or three edits for each of 600.
        for (commands, each) in [(10, 1), (1, 126), (1800, 1)] {
            for _ in 0..commands {
                assert_eq!(one.spend_commands(each, rate, now), None);
            }
        }
        let (mut sent, mut now) = (0, now);
        let end = now + Duration::from_secs(60);
        while now < end {
            sent += 1;
            now = one.spend_commands(1, rate, now).unwrap_or(now);
        }
        assert!((7000..9000).contains(&sent), "{sent} in a minute");
        assert_eq!(one.spend_commands(1, Rate::new(0, 1), now), None);
    }
}
