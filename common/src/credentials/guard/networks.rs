//! From where principals have signed in, kept with the account.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::{ClaimId, Passport};
use crate::store::{KnownNetwork, KnownNetworks, Store};

/// Accounts whose networks wait to be written; one more is not noted.
const MAX_WAITING: usize = 64 * 1024;
/// How old what is kept may be before a sign-in writes it anew, in milliseconds: a day.
const FRESH: u64 = 24 * 60 * 60 * 1000;

/// What this process has learnt and not written yet.
#[derive(Debug, Default)]
pub(super) struct Networks {
    waiting: Mutex<HashMap<Passport, KnownNetworks>>,
}

impl Networks {
    /// What is known of the account that won this claim: what the store has, or what is newer.
    pub(super) fn of(&self, who: &Passport, claim: ClaimId, stored: Option<KnownNetworks>) -> Vec<KnownNetwork> {
        let waiting = self.lock().get(who).filter(|known| known.claim == claim).cloned();
        let stored = stored.filter(|known| known.claim == claim);
        waiting.or(stored).map(|known| known.networks).unwrap_or_default()
    }

    /// The account has been signed in to from `network`; `known` is what [`of`](Self::of) said.
    pub(super) fn note(
        &self,
        who: &Passport,
        claim: ClaimId,
        mut known: Vec<KnownNetwork>,
        network: IpAddr,
        now: u64,
    ) {
        if known.iter().any(|known| known.network == network && now.saturating_sub(known.seen) < FRESH) {
            return;
        }
        known.retain(|known| known.network != network);
        known.push(KnownNetwork { network, seen: now });
        known.sort_by_key(|known| known.seen);
        known.drain(..known.len().saturating_sub(KnownNetworks::MOST));
        let mut waiting = self.lock();
        if waiting.len() < MAX_WAITING || waiting.contains_key(who) {
            waiting.insert(who.clone(), KnownNetworks { claim, networks: known });
        }
    }

    /// Writes what waits. What the store does not take waits on.
    pub(super) async fn flush(&self, store: &dyn Store) {
        let written: Vec<_> = self.lock().iter().map(|(who, known)| (who.clone(), known.clone())).collect();
        if written.is_empty() {
            return;
        }
        if let Err(error) = store.set_known_networks(written.clone()).await {
            tracing::warn!(%error, "can't write from where users have signed in");
            return;
        }
        let mut waiting = self.lock();
        for (who, known) in written {
            if waiting.get(&who) == Some(&known) {
                waiting.remove(&who);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Passport, KnownNetworks>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
