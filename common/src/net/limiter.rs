//! How many connections one address may have.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts connections by address. The table holds only addresses that have one.
#[derive(Debug, Clone)]
pub struct AddressLimiter {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
}

/// One connection's place; dropping it makes room.
#[derive(Debug)]
pub struct Admission {
    limiter: AddressLimiter,
    address: IpAddr,
}

impl AddressLimiter {
    /// Lets each address have up to `most` connections at once.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { counts: Arc::default(), most }
    }

    /// A place for a connection from `address`, if one is free. An IPv6 address counts by its /64.
    #[must_use]
    pub fn admit(&self, address: IpAddr) -> Option<Admission> {
        let address = network_of(address);
        let mut counts = self.lock();
        let count = counts.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Admission { limiter: self.clone(), address })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address by which a client is counted: one household has an IPv6 /64 to itself.
#[must_use]
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets[8..].fill(0);
            IpAddr::V6(octets.into())
        }
        address => address,
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let mut counts = self.limiter.lock();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
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
}
