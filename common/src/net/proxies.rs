//! Whom to believe that a connection is somebody else's.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};

/// Networks of proxies, as operators list them; none by default. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Arc<[IpNet]>);

/// Why a text names no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// It is none.
    #[error("expected a network such as 10.0.0.0/8, or an address, found {0:?}")]
    Malformed(String),
    /// An address, and a network around it: one of them is meant.
    #[error("expected {network} or {address}, found {address}/{prefix}", prefix = network.prefix_len())]
    HostBits {
        /// The address, as it was written.
        address: IpAddr,
        /// The network that it is in.
        network: IpNet,
    },
}

impl Proxies {
    /// The proxies of these networks and addresses. IPv4 in IPv6 (`::ffff:10.0.0.0/104`) is IPv4.
    ///
    /// # Errors
    /// When one of them is none.
    pub fn of<T: AsRef<str>>(networks: &[T]) -> Result<Self, NetworkError> {
        networks
            .iter()
            .map(|text| network(text.as_ref()))
            .collect::<Result<Vec<_>, _>>()
            .map(|all| Self(all.into()))
    }

    /// Whether it is the address of a proxy.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

fn network(text: &str) -> Result<IpNet, NetworkError> {
    let malformed = || NetworkError::Malformed(text.chars().take(60).collect());
    let written = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse().map_err(|_| malformed())?,
    };
    if written.trunc() != written {
        return Err(NetworkError::HostBits { address: written.addr(), network: written.trunc() });
    }
    Ok(canonical(written))
}

/// The same network of IPv4, if all its addresses are IPv4 in IPv6.
fn canonical(network: IpNet) -> IpNet {
    /// Bits before the IPv4 address.
    const MAPPED: u8 = 96;
    let mapped = |address: Ipv6Addr| address.to_ipv4_mapped();
    match network {
        IpNet::V6(inner) => {
            let prefix = inner.prefix_len().checked_sub(MAPPED);
            let inside =
                mapped(inner.addr()).zip(prefix).and_then(|(addr, prefix)| Ipv4Net::new(addr, prefix).ok());
            inside.map_or(network, IpNet::V4)
        }
        IpNet::V4(_) => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(networks: &[&str], inside: &[&str], outside: &[&str]) {
        let proxies = Proxies::of(networks).unwrap();
        for (addresses, expected) in [(inside, true), (outside, false)] {
            for address in addresses {
                assert_eq!(proxies.contains(address.parse().unwrap()), expected, "{address} in {networks:?}");
            }
        }
    }

    #[test]
    fn networks_and_addresses_of_both_families() {
        check(&[], &[], &["127.0.0.1", "::1"]);
        let v4 = ["10.255.0.1", "::ffff:10.0.0.1", "192.0.2.7", "::ffff:192.0.2.7"];
        check(&["10.0.0.0/8", "192.0.2.7"], &v4, &["11.0.0.1", "192.0.2.8", "::1", "::10.0.0.1"]);
        check(&["2001:db8::/64", "::1"], &["2001:db8::9", "::1"], &["2001:db8:0:1::9", "::2", "32.1.13.184"]);
        check(&["::ffff:10.0.0.0/104", "::ffff:1.2.3.4"], &["10.1.2.3", "1.2.3.4"], &["11.0.0.0", "1.2.3.5"]);
        check(&["::/0"], &["::1", "2001:db8::9"], &["10.0.0.1"]);
        check(&["0.0.0.0/0"], &["10.0.0.1"], &["::1"]);
    }

    #[test]
    fn what_is_no_network() {
        for text in
            ["", "10.0.0.0/33", "10.0.0/8", "::1/129", "localhost", "10.0.0.1:80", "10.0.0.0/-1", "10.0.0.0/8 "]
        {
            assert_eq!(Proxies::of(&[text]).unwrap_err(), NetworkError::Malformed(text.to_owned()));
        }
        let error = Proxies::of(&["192.0.2.0/24", "10.1.2.3/8"]).unwrap_err();
        assert_eq!(error.to_string(), "expected 10.0.0.0/8 or 10.1.2.3, found 10.1.2.3/8");
        assert!(matches!(Proxies::of(&["2001:db8::1/64"]), Err(NetworkError::HostBits { .. })));
    }
}
