//! The one line on standard output by which whoever started a process learns where it listens.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;

const PREFIX: &str = "listening";

/// Prints `listening clients=127.0.0.1:1863 gossip=…`: written once, when all listeners are open, with the ports that
/// the system chose where 0 was asked for.
///
/// The names are `clients`, `gossip`, `peer` and `admin`, and at dispatch `http` and `dns` as well.
pub fn announce(addresses: &[(&str, SocketAddr)]) {
    let line = addresses.iter().fold(PREFIX.to_owned(), |line, (name, addr)| format!("{line} {name}={addr}"));
    // Nobody may be listening any more; that is no reason to end.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Reads the line that [`announce`] prints; nothing if it is another line.
#[must_use]
pub fn parse_announcement(line: &str) -> Option<BTreeMap<String, SocketAddr>> {
    let rest = line.trim_end().strip_prefix(PREFIX)?.strip_prefix(' ')?;
    let address = |word: &str| {
        let (name, addr) = word.split_once('=')?;
        Some((name.to_owned(), addr.parse().ok()?))
    };
    rest.split(' ').map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_read_back() {
        let found = parse_announcement("listening clients=127.0.0.1:1863 admin=[::1]:9\n").unwrap();
        let expected = [("clients", "127.0.0.1:1863"), ("admin", "[::1]:9")];
        assert_eq!(found, expected.map(|(name, addr)| (name.to_owned(), addr.parse().unwrap())).into());
        for other in ["", "listening", "listening clients", "listening clients=x", "listeningclients=127.0.0.1:1"]
        {
            assert_eq!(parse_announcement(other), None, "{other:?}");
        }
    }
}
