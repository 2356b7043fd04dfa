//! A guard against guessing passwords.
//!
//! | file | what |
//! |---|---|
//! | `window` | counting what came lately |
//! | `sketch` | the same of what there is no end of |
//! | `networks` | from where principals have signed in |
//! | `homes` | from where anybody has |
//! | `sharing` | one count for all processes |
//! | `untold` | what is to be told for that |

mod homes;
mod networks;
mod sharing;
mod sketch;
mod untold;
mod window;

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;

use self::homes::Homes;
use self::networks::Networks;
use self::sketch::Sketch;
use self::untold::{Tried, Untold};
use self::window::{Slots, Window};
use super::line::Asker;
use crate::config::AccountsConfig;
use crate::model::Passport;
use crate::net::{Grain, grains_of, network_of};
use crate::store::{Account, KnownNetwork, Store};

/// Accounts of which wrong passwords are remembered, and networks from which somebody has signed in; the one that came least lately
/// is forgotten.
const ROOM: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();
/// The greatest bound: a slot counts so far.
const MOST: u32 = u16::MAX as u32;

/// Counts wrong passwords: every way to sign in together, and those of all processes that [`share`](Self::share).
///
/// There are three bounds, each over the same window. An account has one for all networks from which nobody has ever signed
/// in to it, so that guessing there can't lock its owner out at home, and a larger one for each network from which
/// somebody has. A network has one over all accounts: behind it, it may guess no more where nobody has signed in from it, and
/// has only the smaller bound where somebody has. Of that bound an IPv6 /56 has four times as much, all of it together, and a /48
/// sixteen times; see [`Grain`].
///
/// Names that nobody has are counted like those of accounts, in a table of their own, which nothing fills. Nor do networks fill
/// theirs.
#[derive(Debug)]
pub struct AttemptGuard {
    bounds: Bounds,
    slots: Slots,
    tables: Mutex<Tables>,
    networks: Networks,
    untold: Untold,
}

#[derive(Debug, Clone, Copy)]
struct Bounds {
    strange: u32,
    known: u32,
    address: u32,
}

impl Bounds {
    /// Of a network, over all accounts.
    fn of(self, grain: Grain) -> u32 {
        u32::try_from(grain.most(self.address as usize)).map_or(MOST, |most| most.min(MOST))
    }
}

/// How many wrong passwords came. Accounts are of the store: only who has 65,536 of them can make one be forgotten.
#[derive(Debug)]
struct Tables {
    strange: LruCache<Passport, Window>,
    /// By passport and network.
    known: Sketch,
    nobodys: Sketch,
    /// By grain.
    addresses: Sketch,
    homes: Homes,
}

impl Tables {
    /// Of a network, over all that is tried.
    fn add_network(&mut self, network: IpAddr, times: u16, now: u64) {
        for grain in grains_of(network) {
            self.addresses.add(&grain, times, now);
        }
    }

    /// Of an account, from that network of its own, or from others.
    fn add_account(&mut self, who: Passport, home: Option<IpAddr>, times: u16, now: u64) {
        match home {
            Some(home) => self.known.add(&(&who, home), times, now),
            None => self.strange.get_or_insert_mut(who, Window::default).add(times, now),
        }
    }
}

/// Somebody tries to sign in.
#[derive(Debug)]
pub struct Attempt<'a> {
    who: &'a Passport,
    network: IpAddr,
    /// That of the account's credentials. Nothing: there is no such account.
    epoch: Option<u64>,
    known: Vec<KnownNetwork>,
}

impl Attempt<'_> {
    /// Whether somebody has signed in to this account from there before, with the password that it has now.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known.iter().any(|known| known.network == self.network)
    }
}

impl AttemptGuard {
    /// A guard with the configured bounds.
    #[must_use]
    pub fn new(config: &AccountsConfig) -> Self {
        Self::with_room(config, ROOM)
    }

    fn with_room(config: &AccountsConfig, room: NonZeroUsize) -> Self {
        // They grow with use: no memory is taken for accounts that nobody tries.
        let mut tables = Tables {
            strange: LruCache::unbounded(),
            known: Sketch::new(),
            nobodys: Sketch::new(),
            addresses: Sketch::new(),
            homes: Homes::new(room),
        };
        tables.strange.resize(room);
        let bound = |most: u32| most.clamp(1, MOST);
        Self {
            bounds: Bounds {
                strange: bound(config.wrong_passwords),
                known: bound(config.wrong_passwords_known_network),
                address: bound(config.wrong_passwords_per_address),
            },
            slots: Slots::of(Duration::from_secs(config.wrong_password_window_secs)),
            tables: Mutex::new(tables),
            networks: Networks::default(),
            untold: Untold::default(),
        }
    }

    /// An attempt from an address at what the store has under that name.
    #[must_use]
    pub fn attempt<'a>(
        &self,
        who: &'a Passport,
        from: IpAddr,
        account: Option<&Account>,
        stored: Vec<KnownNetwork>,
    ) -> Attempt<'a> {
        let epoch = account.map(|account| account.credentials.epoch);
        let known = epoch.map(|epoch| self.networks.of(who, epoch, stored)).unwrap_or_default();
        Attempt { who, network: network_of(from), epoch, known }
    }

    /// Whether the password may be checked. Otherwise the attempt gets the wrong-password answer unchecked.
    ///
    /// Many attempts at once may all be let in before the first turns out wrong: ask again before a right password
    /// is honoured.
    #[must_use]
    pub fn allows(&self, attempt: &Attempt<'_>) -> bool {
        let (wrong, many) = self.counts(attempt, 1);
        if attempt.is_known() {
            let most = if many { self.bounds.strange.min(self.bounds.known) } else { self.bounds.known };
            return wrong < most;
        }
        !many && wrong < self.bounds.strange
    }

    /// Whether wrong passwords have come lately that may shut the attempt out with those that others count: tried at the same, or more than a
    /// few from its network, where that matters.
    fn is_tried(&self, attempt: &Attempt<'_>) -> bool {
        let (wrong, some) = self.counts(attempt, 10);
        wrong > 0 || (some && !attempt.is_known())
    }

    /// How many wrong passwords were tried at the same, and whether of its network that part of what it may has come: 1 is all, 10 a tenth.
    fn counts(&self, attempt: &Attempt<'_>, part: u32) -> (u32, bool) {
        let now = self.slots.now();
        let mut tables = self.lock();
        let wrong = match attempt.epoch {
            None => tables.nobodys.count(attempt.who, now),
            Some(_) if attempt.is_known() => tables.known.count(&(attempt.who, attempt.network), now),
            Some(_) => tables.strange.peek(attempt.who).map_or(0, |window| window.count(now)),
        };
        let has_come = |grain: Grain| tables.addresses.count(&grain, now) >= (self.bounds.of(grain) / part).max(1);
        (wrong, grains_of(attempt.network).any(has_come))
    }

    /// How the attempt stands in the line for a hash. A network is known as soon as anybody has signed in from it, whichever name
    /// it tries now: how long that takes says nothing of the name. After a start that is so from the first attempt on at an
    /// account that knows the network.
    #[must_use]
    pub fn asker(&self, attempt: &Attempt<'_>) -> Asker {
        let (network, mut tables) = (attempt.network, self.lock());
        if attempt.is_known() {
            tables.homes.add(network);
        }
        Asker { network, known: tables.homes.contains(network) }
    }

    /// The password was wrong.
    pub fn failed(&self, attempt: &Attempt<'_>) {
        let (who, network) = (attempt.who, attempt.network);
        let home = attempt.is_known().then_some(network);
        {
            let now = self.slots.now();
            let mut tables = self.lock();
            tables.add_network(network, 1, now);
            match attempt.epoch {
                Some(_) => tables.add_account(who.clone(), home, 1, now),
                None => tables.nobodys.add(who, 1, now),
            }
        }
        let tried = match attempt.epoch {
            Some(_) => Tried::Account(who.clone(), home),
            None => Tried::Nobody(who.clone()),
        };
        self.untold.add(network, tried);
    }

    /// The password was right, at `now` milliseconds since 1970: the network is one of the account's from now on.
    pub fn succeeded(&self, attempt: &Attempt<'_>, now: u64) {
        self.lock().homes.add(attempt.network);
        if let Some(epoch) = attempt.epoch {
            self.networks.note(attempt.who, epoch, &attempt.known, attempt.network, now);
        }
    }

    /// Writes from where principals have signed in. To be called every few seconds, and at the end.
    pub async fn flush(&self, store: &dyn Store) {
        self.networks.flush(store).await;
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
