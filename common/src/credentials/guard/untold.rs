//! Wrong passwords of which other processes have not been told yet.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::cluster::Guesses;
use crate::model::Passport;

/// What waits to be told, added up.
#[derive(Debug, Default)]
pub(super) struct Untold {
    /// Somebody takes what waits.
    is_told: AtomicBool,
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    networks: Tally<IpAddr>,
    accounts: Tally<(Passport, Option<IpAddr>)>,
    nobodys: Tally<Passport>,
    left_out: u64,
}

/// How often each of boundedly many came. Each kind has one of its own, so that invented names take no room from accounts.
#[derive(Debug)]
struct Tally<K>(HashMap<K, u16>);

impl<K> Default for Tally<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq> Tally<K> {
    /// It came once more. False: there is no room for another one.
    fn add(&mut self, key: K) -> bool {
        if self.0.len() >= Guesses::MOST && !self.0.contains_key(&key) {
            return false;
        }
        let count = self.0.entry(key).or_default();
        *count = count.saturating_add(1);
        true
    }
}

/// What a wrong password was tried at.
pub(super) enum Tried {
    /// An account; with the network, if it is one of the account's.
    Account(Passport, Option<IpAddr>),
    /// A name that nobody has.
    Nobody(Passport),
}

impl Untold {
    /// From now on somebody takes what waits; before, nothing is kept.
    pub(super) fn begin(&self) {
        self.is_told.store(true, Ordering::Relaxed);
    }

    /// Whether somebody does.
    pub(super) fn has_begun(&self) -> bool {
        self.is_told.load(Ordering::Relaxed)
    }

    /// A wrong password came from a network. What finds no room is left out.
    pub(super) fn add(&self, network: IpAddr, tried: Tried) {
        if !self.has_begun() {
            return;
        }
        {
            let mut waiting = self.lock();
            let fits = match tried {
                Tried::Account(who, home) => waiting.accounts.add((who, home)),
                Tried::Nobody(who) => waiting.nobodys.add(who),
            };
            let fits = waiting.networks.add(network) && fits;
            waiting.left_out += u64::from(!fits);
        }
        self.wake.notify_one();
    }

    /// Waits until something is to be told. One task waits.
    pub(super) async fn next(&self) {
        self.wake.notified().await;
    }

    /// Takes what is to be told, and how many wrong passwords were left out of it.
    pub(super) fn take(&self) -> (Guesses, u64) {
        let Waiting { networks, accounts, nobodys, left_out } = std::mem::take(&mut *self.lock());
        let accounts = accounts.0.into_iter().map(|((who, home), count)| (who, home, count));
        let (networks, nobodys) = (networks.0.into_iter().collect(), nobodys.0.into_iter().collect());
        (Guesses { networks, accounts: accounts.collect(), nobodys }, left_out)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passport(name: &str) -> Passport {
        Passport::parse(&format!("{name}@example.com")).unwrap()
    }

    #[tokio::test]
    async fn what_comes_often_is_one_word_and_there_is_room_for_boundedly_many() {
        let untold = Untold::default();
        let (home, away) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let alice = |home| Tried::Account(passport("alice"), home);
        untold.add(away, alice(None));
        assert_eq!(untold.take(), Default::default(), "nobody takes it");
        untold.begin();
        for _ in 0..3 {
            untold.add(away, alice(None));
        }
        untold.add(home, alice(Some(home)));
        untold.add(away, Tried::Nobody(passport("nobody")));
        untold.next().await;
        let (mut told, left_out) = untold.take();
        told.networks.sort();
        told.accounts.sort();
        let accounts = vec![(passport("alice"), None, 3), (passport("alice"), Some(home), 1)];
        let nobodys = vec![(passport("nobody"), 1)];
        assert_eq!((told, left_out), (Guesses { networks: vec![(home, 1), (away, 4)], accounts, nobodys }, 0));
        assert_eq!(untold.take(), Default::default());

        for number in 0..Guesses::MOST + 7 {
            untold.add(away, Tried::Nobody(passport(&format!("nobody{number}"))));
        }
        untold.add(away, alice(None));
        let (told, left_out) = untold.take();
        assert_eq!((told.nobodys.len(), left_out), (Guesses::MOST, 7));
        assert_eq!(told.accounts, [(passport("alice"), None, 1)], "invented names take no room from accounts");
        assert_eq!(told.networks, [(away, Guesses::MOST as u16 + 8)]);
    }
}
