//! How often users may do what costs others something (protocol reference §6.8, §6.11, §6.15, §9).

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// How often is not too often. Each is far above what a person does, and above what clients do by themselves: some
/// rename every contact at once (`CLIENTS` 20), or ask every one of them for its picture.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// Sign-ins of one account at once; 0: no bound. One more is 600, and the connection is closed.
    pub sign_in_burst: u32,
    /// And then so many a minute.
    pub sign_in_per_minute: u32,
    /// Commands of one account at once, of whatever kind; lists that it asks for count by their length. 0: no bound. What comes then
    /// waits: its sender's socket is not read.
    pub command_burst: u32,
    /// And then so many a minute.
    pub command_per_minute: u32,
    /// `CHG` and `UUX` at once; 0: no bound. One more is 800.
    pub status_burst: u32,
    /// And then so many a minute.
    pub status_per_minute: u32,
    /// Changes of one's own name at once (`REA`, `PRP MFN`); 0: no bound. One more is 800.
    pub name_burst: u32,
    /// And then so many a minute.
    pub name_per_minute: u32,
    /// Names given to contacts at once (`REA`, `SBP`); 0: no bound. One more is 800.
    pub contact_name_burst: u32,
    /// And then so many a minute.
    pub contact_name_per_minute: u32,
    /// Edits of lists, groups, properties and privacy at once; 0: no bound. One more is 800. Each name that is tried with
    /// `ADD` costs one, whether or not an account has it.
    pub list_burst: u32,
    /// And then so many a minute.
    pub list_per_minute: u32,
    /// Conversations opened at once (`XFR SB`); 0: no bound. One more is 713.
    pub chat_burst: u32,
    /// And then so many a minute.
    pub chat_per_minute: u32,
    /// Calls at once by one participant of a conversation (`CAL`); 0: no bound. One more is 713.
    pub call_burst: u32,
    /// And then so many a minute.
    pub call_per_minute: u32,
    /// Rings at once by one caller to one who is called, from all conversations; 0: no bound. One more is 713.
    pub ring_burst: u32,
    /// And then so many a minute.
    pub ring_per_minute: u32,
    /// Messages at once by one principal, in all its conversations at one switchboard (`MSG`); 0: no bound. What comes
    /// then waits: its sender's socket is not read.
    pub message_burst: u32,
    /// And then so many a minute.
    pub message_per_minute: u32,
    /// KiB of messages at once; 0: no bound. What comes then waits.
    pub message_kib_burst: u32,
    /// And then so many a minute.
    pub message_kib_per_minute: u32,
    /// Messages that history keeps, at once; 0: no bound. What comes then waits.
    pub stored_burst: u32,
    /// And then so many a minute.
    pub stored_per_minute: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            sign_in_burst: 120,
            sign_in_per_minute: 30,
            command_burst: 4000,
            command_per_minute: 6000,
            status_burst: 120,
            status_per_minute: 60,
            name_burst: 60,
            name_per_minute: 30,
            contact_name_burst: 3000,
            contact_name_per_minute: 600,
            list_burst: 3000,
            list_per_minute: 300,
            chat_burst: 1500,
            chat_per_minute: 300,
            call_burst: 200,
            call_per_minute: 120,
            ring_burst: 60,
            ring_per_minute: 30,
            message_burst: 4000,
            message_per_minute: 90_000,
            message_kib_burst: 8192,
            message_kib_per_minute: 122_880,
            stored_burst: 3000,
            stored_per_minute: 1200,
        }
    }
}

/// So many at once, and then so many a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    burst: u32,
    per_minute: u32,
}

impl Rate {
    /// So many at once, and then so many a minute. 0 at once: no bound.
    #[must_use]
    pub fn new(burst: u32, per_minute: u32) -> Self {
        Self { burst, per_minute }
    }

    /// The time in which one comes back.
    fn token(self) -> Duration {
        Duration::from_secs(60) / self.per_minute.max(1)
    }
}

impl Rates {
    /// Of sign-ins.
    #[must_use]
    pub fn sign_in(&self) -> Rate {
        Rate { burst: self.sign_in_burst, per_minute: self.sign_in_per_minute }
    }

    /// Of commands.
    #[must_use]
    pub fn command(&self) -> Rate {
        Rate { burst: self.command_burst, per_minute: self.command_per_minute }
    }

    /// Of `CHG` and `UUX`.
    #[must_use]
    pub fn status(&self) -> Rate {
        Rate { burst: self.status_burst, per_minute: self.status_per_minute }
    }

    /// Of one's own name.
    #[must_use]
    pub fn name(&self) -> Rate {
        Rate { burst: self.name_burst, per_minute: self.name_per_minute }
    }

    /// Of contacts' names.
    #[must_use]
    pub fn contact_name(&self) -> Rate {
        Rate { burst: self.contact_name_burst, per_minute: self.contact_name_per_minute }
    }

    /// Of edits of lists, groups, properties and privacy.
    #[must_use]
    pub fn list(&self) -> Rate {
        Rate { burst: self.list_burst, per_minute: self.list_per_minute }
    }

    /// Of conversations.
    #[must_use]
    pub fn chat(&self) -> Rate {
        Rate { burst: self.chat_burst, per_minute: self.chat_per_minute }
    }

    /// Of calls.
    #[must_use]
    pub fn call(&self) -> Rate {
        Rate { burst: self.call_burst, per_minute: self.call_per_minute }
    }

    /// Of one caller to one who is called.
    #[must_use]
    pub fn ring(&self) -> Rate {
        Rate { burst: self.ring_burst, per_minute: self.ring_per_minute }
    }

    /// Of messages.
    #[must_use]
    pub fn message(&self) -> Rate {
        Rate { burst: self.message_burst, per_minute: self.message_per_minute }
    }

    /// Of the bytes of messages.
    #[must_use]
    pub fn message_bytes(&self) -> Rate {
        let bytes = |kib: u32| kib.saturating_mul(1024);
        Rate { burst: bytes(self.message_kib_burst), per_minute: bytes(self.message_kib_per_minute) }
    }

    /// Of messages that history keeps.
    #[must_use]
    pub fn stored(&self) -> Rate {
        Rate { burst: self.stored_burst, per_minute: self.stored_per_minute }
    }
}

/// A token bucket in one number: when it will be full again. The rate is told at each look, so that a session keeps nothing
/// else.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bucket {
    full: Option<Instant>,
}

impl Bucket {
    /// Takes a token, if there is one at `now`. One that is refused costs nothing.
    pub fn take(&mut self, rate: Rate, now: Instant) -> bool {
        if rate.burst == 0 {
            return true;
        }
        if !self.has(rate, now) {
            return false;
        }
        let full = self.full.map_or(now, |full| full.max(now));
        self.full = full.checked_add(rate.token());
        true
    }

    /// How long it takes until there are so many tokens; of more than the bucket holds, until it is full.
    #[must_use]
    pub fn wait(&self, rate: Rate, tokens: u32, now: Instant) -> Duration {
        if rate.burst == 0 {
            return Duration::ZERO;
        }
        let room = rate.token().saturating_mul(rate.burst.saturating_sub(tokens));
        self.full_in(now).saturating_sub(room)
    }

    /// Takes so many tokens, whether or not they are there: ask [`Bucket::wait`] first.
    pub fn spend(&mut self, rate: Rate, tokens: u32, now: Instant) {
        if rate.burst > 0 {
            let full = self.full.map_or(now, |full| full.max(now));
            self.full = full.checked_add(rate.token().saturating_mul(tokens.min(rate.burst)));
        }
    }

    /// Whether there is a token at `now`.
    #[must_use]
    pub fn has(&self, rate: Rate, now: Instant) -> bool {
        // What is missing of a full bucket, in time; one token of it must be there.
        rate.burst == 0 || self.full_in(now) <= rate.token().saturating_mul(rate.burst - 1)
    }

    /// How long it takes until nothing is missing in it: then it is as good as a new one.
    #[must_use]
    pub fn full_in(&self, now: Instant) -> Duration {
        self.full.map_or(Duration::ZERO, |full| full.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_so_many_a_minute() {
        let (rate, mut now) = (Rate { burst: 5, per_minute: 60 }, Instant::now());
        let mut bucket = Bucket::default();
        let mut taken = |now, times| (0..times).filter(|_| bucket.take(rate, now)).count();
        assert_eq!(taken(now, 100), 5);
        assert_eq!(taken(now + Duration::from_millis(999), 10), 0);
        now += Duration::from_secs(1);
        assert_eq!(taken(now, 10), 1);
        now += Duration::from_secs(3);
        assert_eq!(taken(now, 10), 3);
        // It fills up, and not beyond.
        now += Duration::from_secs(3600);
        assert_eq!(taken(now, 100), 5);
        // A clock that seems to go back gives nothing.
        assert_eq!(taken(now - Duration::from_secs(2), 10), 0);
    }

    #[test]
    fn no_bound_and_odd_ones() {
        let (now, mut bucket) = (Instant::now(), Bucket::default());
        assert!((0..10_000).all(|_| bucket.take(Rate { burst: 0, per_minute: 1 }, now)));
        assert!(bucket.take(Rate { burst: 1, per_minute: 0 }, now));
        assert!(!bucket.take(Rate { burst: 1, per_minute: 0 }, now + Duration::from_secs(59)));
        assert!(bucket.take(Rate { burst: u32::MAX, per_minute: u32::MAX }, now + Duration::from_secs(60)));
    }

    #[test]
    fn several_at_once_are_waited_for() {
        let (rate, now) = (Rate { burst: 1000, per_minute: 6000 }, Instant::now());
        let mut bucket = Bucket::default();
        assert_eq!(bucket.wait(rate, 1000, now), Duration::ZERO);
        bucket.spend(rate, 900, now);
        assert_eq!(bucket.wait(rate, 100, now), Duration::ZERO);
        assert_eq!(bucket.wait(rate, 300, now), Duration::from_secs(2));
        // More than it holds passes once it is full, and empties it.
        assert_eq!(bucket.wait(rate, 5000, now), Duration::from_secs(9));
        bucket.spend(rate, 5000, now + Duration::from_secs(9));
        assert_eq!(bucket.full_in(now + Duration::from_secs(9)), Duration::from_secs(10));
        assert_eq!(bucket.wait(Rate { burst: 0, per_minute: 1 }, 5000, now), Duration::ZERO);
    }

    #[test]
    fn a_bucket_is_small() {
        assert!(size_of::<Bucket>() <= 16);
    }
}
