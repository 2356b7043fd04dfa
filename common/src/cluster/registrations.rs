//! The registrations of this node's own sessions that are on their way, or have lately arrived.
//!
//! Two things come of the time that a registration takes: word of a displacement may come before the session knows
//! its epoch, and the owners may change before the session can be listed among those of its node.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::wire::Claim;
use crate::clock::is_later;
use crate::model::{Endpoint, Epoch, NodeId, Passport};

/// A sign-in, by what decides between two of one principal.
pub(super) type Sign = (Epoch, NodeId);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Registrations {
    by_key: HashMap<(Passport, Endpoint), Vec<Registration>>,
}

#[derive(Debug)]
struct Registration {
    ticket: u64,
    epoch: Epoch,
    arrived: Option<Instant>,
    /// The latest sign-in elsewhere that is said to have displaced it.
    displaced: Option<Sign>,
}

/// What to do about a displacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Displacement {
    /// Tell the hub.
    Tell,
    /// It is decided when a registration on its way arrives.
    Later,
    /// A later sign-in stands here.
    Stale,
}

impl Registrations {
    /// An arrived registration is remembered for so long: by then its session is listed by the hub.
    const MEMORY: Duration = Duration::from_secs(10);

    /// Notes that a registration sets out; `ticket` tells it from others.
    pub(super) fn begin(&mut self, who: &Passport, endpoint: Endpoint, epoch: Epoch, ticket: u64) {
        let registrations = self.by_key.entry((who.clone(), endpoint)).or_default();
        registrations.push(Registration { ticket, epoch, arrived: None, displaced: None });
    }

    /// Notes that one sets out again with another epoch.
    pub(super) fn retry(&mut self, who: &Passport, endpoint: Endpoint, epoch: Epoch, ticket: u64) {
        if let Some(registration) = self.find(who, endpoint, ticket) {
            registration.epoch = epoch;
        }
    }

    /// Whether a later sign-in of this very node has set out since.
    pub(super) fn superseded(&self, who: &Passport, endpoint: Endpoint, epoch: Epoch) -> bool {
        let registrations = self.by_key.get(&(who.clone(), endpoint));
        registrations.is_some_and(|all| all.iter().any(|registration| registration.epoch > epoch))
    }

    /// Notes that one has arrived; the sign-in elsewhere that displaced it, if one did.
    pub(super) fn arrive(
        &mut self,
        who: &Passport,
        endpoint: Endpoint,
        ticket: u64,
        me: &NodeId,
        now: Instant,
    ) -> Option<Sign> {
        let registration = self.find(who, endpoint, ticket)?;
        registration.arrived = Some(now);
        let (epoch, displaced) = (registration.epoch, registration.displaced.take());
        displaced.filter(|(by, node)| is_later(*by, node, epoch, me))
    }

    /// Forgets one that was given up on its way.
    pub(super) fn cancel(&mut self, who: &Passport, endpoint: Endpoint, ticket: u64) {
        self.drop_if(who, endpoint, |registration| {
            registration.ticket == ticket && registration.arrived.is_none()
        });
    }

    /// Forgets those of a session that has ended.
    pub(super) fn end(&mut self, who: &Passport, endpoint: Endpoint, epoch: Epoch) {
        self.drop_if(who, endpoint, |registration| registration.epoch == epoch && registration.arrived.is_some());
    }

    /// Takes word of a displacement.
    pub(super) fn displace(&mut self, who: &Passport, endpoint: Endpoint, by: &Sign, me: &NodeId) -> Displacement {
        let Some(registrations) = self.by_key.get_mut(&(who.clone(), endpoint)) else { return Displacement::Tell };
        let is_lost = |registration: &Registration| is_later(by.0, &by.1, registration.epoch, me);
        let mut later = false;
        for registration in registrations.iter_mut().filter(|r| r.arrived.is_none() && is_lost(r)) {
            let known = registration.displaced.as_ref();
            if known.is_none_or(|(epoch, node)| is_later(by.0, &by.1, *epoch, node)) {
                registration.displaced = Some(by.clone());
            }
            later = true;
        }
        if later {
            Displacement::Later
        } else if registrations.iter().any(|registration| !is_lost(registration)) {
            Displacement::Stale
        } else {
            Displacement::Tell
        }
    }

    /// Those that the hub may not list yet. Also those on their way: an owner that is told of all sessions forgets what it was
    /// told before and is not told again, and one that a registration did not reach hears of it in no other way.
    pub(super) fn claims(&self) -> Vec<Claim> {
        let all =
            self.by_key.iter().flat_map(|(key, all)| all.iter().map(move |registration| (key, registration)));
        let claim = |((who, endpoint), registration): (&(Passport, Endpoint), &Registration)| Claim {
            who: who.clone(),
            endpoint: *endpoint,
            epoch: registration.epoch,
        };
        all.map(claim).collect()
    }

    /// Forgets those that arrived long ago.
    pub(super) fn expire(&mut self, now: Instant) {
        self.by_key.retain(|_, registrations| {
            registrations.retain(|r| r.arrived.is_none_or(|arrived| now.duration_since(arrived) < Self::MEMORY));
            !registrations.is_empty()
        });
    }

    fn find(&mut self, who: &Passport, endpoint: Endpoint, ticket: u64) -> Option<&mut Registration> {
        self.by_key
            .get_mut(&(who.clone(), endpoint))?
            .iter_mut()
            .find(|registration| registration.ticket == ticket)
    }

    fn drop_if(&mut self, who: &Passport, endpoint: Endpoint, gone: impl Fn(&Registration) -> bool) {
        let key = (who.clone(), endpoint);
        if let Some(registrations) = self.by_key.get_mut(&key) {
            registrations.retain(|registration| !gone(registration));
            if registrations.is_empty() {
                self.by_key.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> Passport {
        "alice@example.com".parse().unwrap()
    }

    fn node(name: &str) -> NodeId {
        NodeId::parse(name).unwrap()
    }

    #[test]
    fn a_displacement_waits_for_the_registration_and_counts_if_it_is_later_in_the_end() {
        for (retried, displaced) in [(None, true), (Some(Epoch(7)), false)] {
            let (mut registrations, me, by) = (Registrations::default(), node("ns-1"), (Epoch(6), node("ns-2")));
            registrations.begin(&alice(), Endpoint::SOLE, Epoch(5), 1);
            let displacement = registrations.displace(&alice(), Endpoint::SOLE, &by, &me);
            assert_eq!(displacement, Displacement::Later);
            if let Some(epoch) = retried {
                registrations.retry(&alice(), Endpoint::SOLE, epoch, 1);
            }
            let told = registrations.arrive(&alice(), Endpoint::SOLE, 1, &me, Instant::now());
            assert_eq!(told.is_some(), displaced);
        }
    }

    #[test]
    fn a_stale_displacement_does_not_touch_a_later_session() {
        let (mut registrations, me) = (Registrations::default(), node("ns-1"));
        let now = Instant::now();
        registrations.begin(&alice(), Endpoint::SOLE, Epoch(7), 1);
        registrations.arrive(&alice(), Endpoint::SOLE, 1, &me, now);
        let mut displace =
            |epoch, name| registrations.displace(&alice(), Endpoint::SOLE, &(Epoch(epoch), node(name)), &me);
        assert_eq!(displace(6, "ns-2"), Displacement::Stale);
        assert_eq!(displace(7, "ns-0"), Displacement::Stale, "ties go by node");
        assert_eq!(displace(7, "ns-2"), Displacement::Tell);
        assert_eq!(displace(8, "ns-2"), Displacement::Tell);
        assert_eq!(registrations.claims().len(), 1);
        registrations.expire(now + Registrations::MEMORY);
        assert!(registrations.claims().is_empty());
    }

    /// Otherwise an owner that is told of all sessions meanwhile sweeps it away, for good.
    #[test]
    fn a_registration_on_its_way_is_told_to_who_is_told_everything() {
        let mut registrations = Registrations::default();
        registrations.begin(&alice(), Endpoint::SOLE, Epoch(5), 1);
        assert_eq!(registrations.claims().iter().map(|claim| claim.epoch).collect::<Vec<_>>(), [Epoch(5)]);
        registrations.retry(&alice(), Endpoint::SOLE, Epoch(6), 1);
        assert_eq!(registrations.claims().iter().map(|claim| claim.epoch).collect::<Vec<_>>(), [Epoch(6)]);
        registrations.cancel(&alice(), Endpoint::SOLE, 1);
        assert!(registrations.claims().is_empty());
    }

    #[test]
    fn what_is_given_up_or_ended_is_forgotten() {
        let mut registrations = Registrations::default();
        registrations.begin(&alice(), Endpoint::SOLE, Epoch(5), 1);
        registrations.begin(&alice(), Endpoint::SOLE, Epoch(6), 2);
        assert!(registrations.superseded(&alice(), Endpoint::SOLE, Epoch(5)));
        registrations.cancel(&alice(), Endpoint::SOLE, 2);
        assert!(!registrations.superseded(&alice(), Endpoint::SOLE, Epoch(5)));
        registrations.arrive(&alice(), Endpoint::SOLE, 1, &node("ns-1"), Instant::now());
        registrations.end(&alice(), Endpoint::SOLE, Epoch(5));
        assert!(registrations.by_key.is_empty());
    }
}
