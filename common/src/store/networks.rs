//! From where principals have signed in.

use std::net::IpAddr;

use crate::model::ClaimId;

/// A network from which somebody has shown an account's password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownNetwork {
    /// An IPv4 address, or an IPv6 address whose last eight bytes are 0.
    pub network: IpAddr,
    /// When that was last noted, in milliseconds since 1970.
    pub seen: u64,
}

/// The networks of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownNetworks {
    /// The claim of the account: they say nothing of a later one of the same passport.
    pub claim: ClaimId,
    /// At most [`MOST`](Self::MOST).
    pub networks: Vec<KnownNetwork>,
}

impl KnownNetworks {
    /// Networks of one account; the one seen least lately is forgotten.
    pub const MOST: usize = 8;
}

/// What stands in front, for the day on which the form changes.
const VERSION: u8 = 1;

/// The bytes that stores keep.
pub(super) fn write(networks: &[KnownNetwork]) -> Vec<u8> {
    let pairs: Vec<_> =
        networks.iter().take(KnownNetworks::MOST).map(|known| (known.network, known.seen)).collect();
    // Writing numbers to memory has no way to fail.
    postcard::to_stdvec(&(VERSION, pairs)).unwrap_or_default()
}

/// Reads them. What is not of this form counts as nothing: it is learnt anew.
pub(super) fn read(bytes: &[u8]) -> Vec<KnownNetwork> {
    match postcard::from_bytes::<(u8, Vec<(IpAddr, u64)>)>(bytes) {
        Ok((VERSION, pairs)) => {
            let all = pairs.into_iter().map(|(network, seen)| KnownNetwork { network, seen });
            all.take(KnownNetworks::MOST).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nonsense_is_nothing() {
        let networks = ["192.0.2.1", "2001:db8::"].map(|network| network.parse().unwrap());
        let known = networks.map(|network| KnownNetwork { network, seen: u64::MAX });
        assert_eq!(read(&write(&known)), known);
        assert_eq!(read(&write(&[known[0]; 20])).len(), KnownNetworks::MOST);
        for nonsense in [&[][..], &[2, 0], &[1, 255, 255, 255, 255, 15], b"nonsense"] {
            assert_eq!(read(nonsense), []);
        }
    }
}
