//! How many connections one address may have.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::grains::{Grain, grains_of};

/// Counts connections by the grains of their addresses. The table holds only those that have one.
#[derive(Debug, Clone)]
pub struct AddressLimiter {
    counts: Arc<Mutex<HashMap<Grain, usize>>>,
    most: usize,
}

/// One connection's place; dropping it makes room.
#[derive(Debug)]
pub struct Admission {
    limiter: AddressLimiter,
    address: IpAddr,
}

impl AddressLimiter {
    /// Lets each address have up to `most` connections at once, and a wider network so many times more; see [`Grain`].
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { counts: Arc::default(), most }
    }

    /// A place for a connection from `address`, if one is free.
    #[must_use]
    pub fn admit(&self, address: IpAddr) -> Option<Admission> {
        self.admit_or_full(address).ok()
    }

    /// A place for a connection from `address`, or what of it has as many as it may: the finest such grain.
    pub(super) fn admit_or_full(&self, address: IpAddr) -> Result<Admission, Grain> {
        let mut counts = self.lock();
        let is_full = |grain: &Grain| counts.get(grain).copied().unwrap_or_default() >= grain.most(self.most);
        if let Some(full) = grains_of(address).find(is_full) {
            return Err(full);
        }
        for grain in grains_of(address) {
            *counts.entry(grain).or_default() += 1;
        }
        drop(counts);
        Ok(Admission { limiter: self.clone(), address })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Grain, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut counts = self.limiter.lock();
        for grain in grains_of(self.address) {
            if let Some(count) = counts.get_mut(&grain) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&grain);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let limiter = AddressLimiter::new(2);
        let address = "127.0.0.1".parse().unwrap();
        let first = limiter.admit(address).unwrap();
        let _second = limiter.admit("::ffff:127.0.0.1".parse().unwrap()).unwrap();
        assert!(limiter.admit(address).is_none());
        assert!(limiter.admit("127.0.0.2".parse().unwrap()).is_some());
        drop(first);
        assert!(limiter.admit(address).is_some());
        assert_eq!(limiter.lock().len(), 1);
    }
    #[test]
    fn a_wider_network_has_more_places_and_not_as_many_as_it_has_addresses() {
        let limiter = AddressLimiter::new(2);
        let mut held = Vec::new();
        let mut come = |subnet: u16, host: u16| {
            let admitted = limiter.admit(format!("2001:db8:1:{subnet:x}::{host:x}").parse().unwrap());
            admitted.map(|admission| held.push(admission)).is_some()
        };
        let of_one = (0..100).filter(|host| come(0, *host)).count();
        let of_a_56 = (1..0x100).filter(|subnet| come(*subnet, 1)).count();
        let of_a_48 = (0x100..=0xffff).filter(|subnet| come(*subnet, 1)).count();
        assert_eq!((of_one, of_one + of_a_56, of_one + of_a_56 + of_a_48), (2, 8, 32));
        assert!(limiter.admit("2001:db8:2::1".parse().unwrap()).is_some(), "the next /48");
        held.pop();
        assert!(limiter.admit("2001:db8:1:ffff::1".parse().unwrap()).is_some());
        drop(held);
        assert!(limiter.lock().is_empty());
    }
}
