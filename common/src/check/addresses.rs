//! Whether the addresses of a program can be bound.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};

use super::Findings;
use crate::config::{Listening, Loaded, Program};
use crate::net;

/// Binds all that the program would bind, as it would, and lets go of them. Port 0 is any that is free.
///
/// # Panics
/// Outside of a runtime.
pub(super) fn try_all(program: Program, loaded: &Loaded) -> Findings {
    let (mut found, mut tcp, mut udp) = (Findings::default(), Vec::new(), Vec::new());
    for listening in loaded.config.listeners(program) {
        let mut attempt = |transport, error: io::Error| blame(&mut found, loaded, &listening, transport, &error);
        if listening.tcp {
            net::listen(listening.addr).map_or_else(|error| attempt("TCP", error), |bound| tcp.push(bound));
        }
        if listening.udp {
            bind_udp(listening.addr).map_or_else(|error| attempt("UDP", error), |bound| udp.push(bound));
        }
    }
    found
}

fn bind_udp(addr: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::bind(addr)
}

fn blame(found: &mut Findings, loaded: &Loaded, listening: &Listening, transport: &str, error: &io::Error) {
    let hint = match error.kind() {
        ErrorKind::AddrInUse => ": another process listens there, or this very node",
        ErrorKind::AddrNotAvailable => ": no interface of this machine has that address",
        ErrorKind::PermissionDenied => ": the system keeps it for privileged processes",
        _ => "",
    };
    let message = format!("can't listen on {} ({transport}): {error}{hint}", listening.addr);
    let problem = loaded.problem(listening.key, message);
    match error.kind() {
        ErrorKind::AddrInUse => found.passing.push(problem),
        _ => found.problems.push(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Given, Sources, load};

    #[tokio::test]
    async fn each_address_that_cannot_be_bound_is_named_with_its_transport() {
        let (tcp, udp) =
            (std::net::TcpListener::bind("127.0.0.1:0").unwrap(), bind_udp(([127, 0, 0, 1], 0).into()).unwrap());
        let taken = [tcp.local_addr().unwrap(), udp.local_addr().unwrap()].map(|addr| addr.to_string());
        let given = [
            ("switchboard.listen", &*taken[0]),
            ("switchboard.node.gossip", &*taken[1]),
            // TEST-NET-1: nobody has it.
            ("switchboard.node.peer", "192.0.2.1:0"),
            ("switchboard.node.admin", "127.0.0.1:0"),
        ]
        .map(|(key, value)| Given { flag: "--set".into(), key: key.into(), value: value.into() });
        let loaded = load(&Sources { given: given.into(), ..Sources::default() }).unwrap();
        let Findings { problems, passing, .. } = try_all(Program::Switchboard, &loaded);
        let text =
            |problems: &[crate::config::Problem]| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        let in_use = "Address already in use (os error 98): another process listens there, or this very node";
        assert_eq!(
            text(&passing),
            [
                format!("--set: switchboard.listen: can't listen on {} (TCP): {in_use}", taken[0]),
                format!("--set: switchboard.node.gossip: can't listen on {} (UDP): {in_use}", taken[1]),
            ]
        );
        let problems = text(&problems);
        assert!(
            problems.len() == 1 && problems[0].contains("node.peer: can't listen on 192.0.2.1:0 (TCP): "),
            "{problems:?}"
        );
        assert!(problems[0].contains("(os error 99)"), "{problems:?}");
        drop((tcp, udp));
        assert!(try_all(Program::Switchboard, &loaded).passing.is_empty(), "they were let go of");
    }
}
