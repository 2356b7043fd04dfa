//! The one line on standard output by which whoever started a process learns where it listens.

use std::net::SocketAddr;

/// Prints `listening clients=127.0.0.1:1863 gossip=…`: written once, when all listeners are open, with the ports that
/// the system chose where 0 was asked for.
pub fn announce(addresses: &[(&str, SocketAddr)]) {
    let line = addresses.iter().fold("listening".to_owned(), |line, (name, addr)| format!("{line} {name}={addr}"));
    println!("{line}");
}
