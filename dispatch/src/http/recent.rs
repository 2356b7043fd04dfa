//! Passwords that were right lately: old clients send theirs at every sign-in, also in a reconnect storm, and argon2id
//! takes tens of milliseconds each time.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::model::Passport;
use hmac::{Hmac, KeyInit, Mac};
use lru::LruCache;
use sha2::Sha256;
use tokio::time::Instant;

/// How long a success counts.
const LIFE: Duration = Duration::from_secs(3600);
/// Successes remembered; the one used least lately is forgotten.
const ROOM: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();

/// What stands for a right password: a MAC over passport, credential epoch and password, under a key that this
/// process made at its start and never shows.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Mark([u8; 32]);

/// The successes of the last hour. A changed password has another epoch, and so is never among them.
pub(super) struct Recent {
    mac: Hmac<Sha256>,
    until: Mutex<LruCache<Mark, Instant>>,
}

impl Recent {
    /// None yet.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub(super) fn new() -> anyhow::Result<Self> {
        Self::with_room(ROOM)
    }

    fn with_room(room: NonZeroUsize) -> anyhow::Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        // Grows with use.
        let mut until = LruCache::unbounded();
        until.resize(room);
        Ok(Self { mac: Hmac::new_from_slice(&key)?, until: Mutex::new(until) })
    }

    /// The mark of this password of this account.
    pub(super) fn mark(&self, who: &Passport, epoch: u64, password: &str) -> Mark {
        let mut mac = self.mac.clone();
        for part in [who.as_str().as_bytes(), &epoch.to_be_bytes(), password.as_bytes()] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        Mark(mac.finalize().into_bytes().into())
    }

    /// Whether it was right within the last hour.
    pub(super) fn holds(&self, mark: &Mark) -> bool {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        match until.get(mark) {
            Some(end) if *end > Instant::now() => true,
            Some(_) => {
                until.pop(mark);
                false
            }
            None => false,
        }
    }

    /// It was right now. The hour is counted from here, however often it is used.
    pub(super) fn remember(&self, mark: Mark) {
        self.until.lock().unwrap_or_else(PoisonError::into_inner).put(mark, Instant::now() + LIFE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn for_an_hour_and_for_this_account_epoch_and_password() {
        let recent = Recent::new().unwrap();
        let passport = |name: &str| Passport::parse(name).unwrap();
        let alice = passport("alice@example.com");
        let mark = recent.mark(&alice, 7, "wonderland");
        assert!(!recent.holds(&mark));
        recent.remember(mark);
        tokio::time::advance(LIFE - Duration::from_secs(1)).await;
        assert!(recent.holds(&recent.mark(&alice, 7, "wonderland")));
        assert!(!recent.holds(&recent.mark(&alice, 8, "wonderland")));
        assert!(!recent.holds(&recent.mark(&alice, 7, "Wonderland")));
        assert!(!recent.holds(&recent.mark(&passport("bob@example.com"), 7, "wonderland")));
        assert!(!Recent::new().unwrap().holds(&mark), "another process has another key");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!recent.holds(&mark));
    }

    #[test]
    fn the_room_is_bounded() {
        let recent = Recent::with_room(NonZeroUsize::new(2).unwrap()).unwrap();
        let alice = Passport::parse("alice@example.com").unwrap();
        let marks = [1, 2, 3].map(|epoch| recent.mark(&alice, epoch, ""));
        marks.iter().for_each(|mark| recent.remember(*mark));
        assert_eq!(marks.map(|mark| recent.holds(&mark)), [false, true, true]);
    }
}
