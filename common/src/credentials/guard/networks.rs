//! From where principals have signed in, kept with the account.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::Passport;
use crate::store::{KnownNetwork, Store};

/// Accounts whose networks wait to be written; one more is not noted.
const MAX_WAITING: usize = 64 * 1024;
/// How old what is kept may be before a sign-in writes it anew, in milliseconds: a day.
const FRESH: u64 = 24 * 60 * 60 * 1000;

/// What this process has learnt and not written yet.
#[derive(Debug, Default)]
pub(super) struct Networks {
    /// Of each account at most [`KnownNetwork::MOST`].
    waiting: Mutex<HashMap<Passport, Vec<KnownNetwork>>>,
}

impl Networks {
    /// From where the account's credentials of this epoch were shown: what the store has, and what is newer.
    pub(super) fn of(&self, who: &Passport, epoch: u64, mut stored: Vec<KnownNetwork>) -> Vec<KnownNetwork> {
        stored.extend(self.lock().get(who).into_iter().flatten());
        stored.retain(|known| known.epoch == epoch);
        KnownNetwork::last(stored)
    }

    /// The account has been signed in to from `network`; `known` is what [`of`](Self::of) said.
    pub(super) fn note(&self, who: &Passport, epoch: u64, known: &[KnownNetwork], network: IpAddr, now: u64) {
        if known.iter().any(|known| known.network == network && now.saturating_sub(known.seen) < FRESH) {
            return;
        }
        let mut waiting = self.lock();
        if waiting.len() < MAX_WAITING || waiting.contains_key(who) {
            let of_account = waiting.entry(who.clone()).or_default();
            of_account.push(KnownNetwork { network, epoch, seen: now });
            *of_account = KnownNetwork::last(std::mem::take(of_account));
        }
    }

    /// Writes what waits. What the store does not take waits on.
    pub(super) async fn flush(&self, store: &dyn Store) {
        let written: Vec<_> =
            self.lock().iter().flat_map(|(who, some)| some.iter().map(|known| (who.clone(), *known))).collect();
        if written.is_empty() {
            return;
        }
        if let Err(error) = store.add_known_networks(written.clone()).await {
            tracing::warn!(%error, "can't write from where users have signed in");
            return;
        }
        let mut waiting = self.lock();
        for (who, known) in written {
            if let Some(of_account) = waiting.get_mut(&who) {
                of_account.retain(|newer| *newer != known);
                if of_account.is_empty() {
                    waiting.remove(&who);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Passport, Vec<KnownNetwork>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
