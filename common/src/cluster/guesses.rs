//! Wrong passwords: each process at which passwords are tried tells all others of those that it has counted, so that whoever
//! guesses at all of them has one bound.
//!
//! What is lost is not told again: then one process counts too little. Nobody passes on what he was told.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::node::Role;
use super::router::Router;
use super::wire::Request;
use crate::model::Passport;

/// Whoever counts what other nodes tell.
pub(super) type Hearer = Box<dyn Fn(Guesses) + Send + Sync>;

/// Wrong passwords, by what they count for: each by its network, and by the account or the name that it was tried at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Guesses {
    /// Networks from which they came, whatever was tried.
    pub networks: Vec<(IpAddr, u16)>,
    /// Accounts, and the network where it is known that the account has been signed in to from there.
    pub accounts: Vec<(Passport, Option<IpAddr>, u16)>,
    /// Names that nobody has.
    pub nobodys: Vec<(Passport, u16)>,
}

impl Guesses {
    /// As many of each kind are told at once; of further ones there is no word.
    pub const MOST: usize = 512;

    fn count(&self) -> u64 {
        self.networks.iter().map(|(_, count)| u64::from(*count)).sum()
    }
}

impl Router {
    /// See [`super::Cluster::hear_guesses`].
    pub(super) fn hear_by(&self, hearer: Hearer) {
        let _ = self.hearer.set(hearer);
    }

    pub(super) fn hear_guesses(&self, mut guesses: Guesses) {
        let Some(hearer) = self.hearer.get() else { return };
        guesses.networks.truncate(Guesses::MOST);
        guesses.accounts.truncate(Guesses::MOST);
        guesses.nobodys.truncate(Guesses::MOST);
        self.metrics.heard_guesses.inc_by(guesses.count());
        hearer(guesses);
    }

    /// See [`super::Cluster::tell_guesses`].
    pub(super) fn tell_guesses(&self, guesses: Guesses, left_out: u64) {
        let count = guesses.count();
        self.metrics.told_guesses.inc_by(count);
        self.metrics.dropped_guesses.inc_by(left_out);
        let request = Request::Guesses(guesses);
        let links = self.links.dialed();
        for link in links.iter().filter(|link| link.role != Role::Switchboard) {
            if link.tell(&request).is_err() {
                self.metrics.dropped_guesses.inc_by(count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::wire::{decode, encode};

    #[test]
    fn as_many_as_are_told_at_once_fit_into_a_frame() {
        let name = format!("{}@example.com", "a".repeat(Passport::MAX_LEN - "@example.com".len()));
        let (who, network) = (Passport::parse(&name).unwrap(), IpAddr::from([0xffff_u16; 8]));
        let guesses = Guesses {
            networks: vec![(network, u16::MAX); Guesses::MOST],
            accounts: vec![(who.clone(), Some(network), u16::MAX); Guesses::MOST],
            nobodys: vec![(who, u16::MAX); Guesses::MOST],
        };
        let request = Request::Guesses(guesses);
        let message = encode(&request).unwrap();
        assert!(message.len() < 200_000, "{}", message.len());
        assert_eq!(decode::<Request>(&message), Some(request));
    }
}
