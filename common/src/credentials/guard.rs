//! A guard against guessing passwords.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::Instant;

use crate::config::AccountsConfig;
use crate::model::Passport;
use crate::net::network_of;

/// Accounts remembered, each of the two kinds: those with wrong passwords lately, and those with a right one. The one
/// seen least lately is forgotten.
const MAX_ACCOUNTS: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();
/// Networks remembered of one account; the one seen least lately is forgotten.
const MAX_NETWORKS: usize = 8;

/// Wrong passwords per account, counted by this process. Bounded; unknown accounts count like others.
///
/// Whoever guesses may lock others out of an account in this way, but never its owner at an address from which the
/// owner has signed in before: hence the second table. Only right passwords enter that one, so that guessing can't
/// make it forget.
#[derive(Debug)]
pub struct AttemptGuard {
    most: usize,
    window: Duration,
    tables: Mutex<Tables>,
}

#[derive(Debug)]
struct Tables {
    /// When wrong passwords came, oldest first; never more than `most`.
    wrong: LruCache<Passport, VecDeque<Instant>>,
    /// From where right ones came, latest last.
    known: LruCache<Passport, Vec<IpAddr>>,
}

impl AttemptGuard {
    /// A guard with the configured bounds.
    #[must_use]
    pub fn new(config: &AccountsConfig) -> Self {
        Self::with_room(config, MAX_ACCOUNTS)
    }

    fn with_room(config: &AccountsConfig, accounts: NonZeroUsize) -> Self {
        // Both grow with use: no memory is taken for accounts that nobody tries.
        let (mut wrong, mut known) = (LruCache::unbounded(), LruCache::unbounded());
        wrong.resize(accounts);
        known.resize(accounts);
        Self {
            most: usize::try_from(config.wrong_passwords.max(1)).unwrap_or(usize::MAX),
            window: Duration::from_secs(config.wrong_password_window_secs),
            tables: Mutex::new(Tables { wrong, known }),
        }
    }

    /// Whether an attempt may be checked: there were few wrong ones lately, or `from` has signed in to this
    /// account before. Otherwise it gets the wrong-password answer unchecked.
    ///
    /// Many attempts at once may all be let in before the first turns out wrong: ask again before a right password
    /// is honoured.
    #[must_use]
    pub fn allows(&self, who: &Passport, from: IpAddr) -> bool {
        let mut tables = self.lock();
        if tables.known.get(who).is_some_and(|known| known.contains(&network_of(from))) {
            return true;
        }
        let Some(wrong) = tables.wrong.peek_mut(who) else { return true };
        forget_old(wrong, self.window);
        if wrong.is_empty() {
            tables.wrong.pop(who);
            return true;
        }
        wrong.len() < self.most
    }

    /// A right password came from `from`.
    pub fn succeeded(&self, who: &Passport, from: IpAddr) {
        let mut tables = self.lock();
        let known = tables.known.get_or_insert_mut(who.clone(), Vec::new);
        let network = network_of(from);
        known.retain(|other| *other != network);
        if known.len() == MAX_NETWORKS {
            known.remove(0);
        }
        known.push(network);
    }

    /// A wrong password came.
    pub fn failed(&self, who: &Passport) {
        let mut tables = self.lock();
        let wrong = tables.wrong.get_or_insert_mut(who.clone(), VecDeque::new);
        forget_old(wrong, self.window);
        if wrong.len() == self.most {
            wrong.pop_front();
        }
        wrong.push_back(Instant::now());
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget_old(wrong: &mut VecDeque<Instant>, window: Duration) {
    while wrong.front().is_some_and(|at| at.elapsed() >= window) {
        wrong.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(accounts: usize) -> AttemptGuard {
        AttemptGuard::with_room(&AccountsConfig::default(), NonZeroUsize::new(accounts).unwrap())
    }

    fn passport(name: &str) -> Passport {
        Passport::parse(&format!("{name}@example.com")).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn ten_wrong_ones_in_ten_minutes_shut_strangers_out() {
        let (guard, alice, bob) = (guard(8), passport("alice"), passport("bob"));
        let (home, home_too, strange) = (ip("2001:db8::1"), ip("2001:db8::ffff:2"), ip("2001:db8:0:1::1"));
        guard.succeeded(&alice, home);
        for _ in 0..9 {
            guard.failed(&alice);
        }
        tokio::time::advance(Duration::from_secs(300)).await;
        assert!(guard.allows(&alice, strange));
        guard.failed(&alice);
        assert!(!guard.allows(&alice, strange));
        assert!(guard.allows(&alice, home) && guard.allows(&alice, home_too), "one household, one /64");
        assert!(guard.allows(&bob, strange));
        tokio::time::advance(Duration::from_secs(299)).await;
        assert!(!guard.allows(&alice, strange));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(guard.allows(&alice, strange), "nine of the ten are old");
        for _ in 0..9 {
            guard.failed(&alice);
        }
        assert!(!guard.allows(&alice, strange), "the tenth is not");
    }

    #[tokio::test(start_paused = true)]
    async fn the_tables_are_bounded() {
        let guard = guard(4);
        let alice = passport("alice");
        guard.succeeded(&alice, ip("192.0.2.1"));
        for number in 0..100 {
            let guessed = passport(&format!("u{number}"));
            for _ in 0..20 {
                guard.failed(&guessed);
            }
            assert!(!guard.allows(&guessed, ip("192.0.2.9")), "accounts that nobody has behave the same");
        }
        for _ in 0..10 {
            guard.failed(&alice);
        }
        assert!(guard.allows(&alice, ip("192.0.2.1")), "guessing elsewhere makes nobody strange at home");
        for number in 0..100 {
            guard.succeeded(&alice, ip(&format!("198.51.100.{number}")));
        }
        let mut tables = guard.lock();
        assert_eq!((tables.wrong.len(), tables.known.len()), (4, 1));
        assert_eq!(tables.known.get(&alice).unwrap().len(), MAX_NETWORKS);
        assert!(tables.wrong.iter().all(|(_, wrong)| wrong.len() <= 10));
    }
}
