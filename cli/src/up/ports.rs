//! Whether the addresses are free. Asked before anything is started, so that the answer names the setting.

use std::io::{self, ErrorKind};
use std::net::{TcpListener, UdpSocket};

use common::config::{Config, Listening, Program, SETTINGS};

use crate::Failure;

/// Tries all addresses that the suite listens on.
pub(super) fn check(config: &Config) -> Result<(), Failure> {
    let trials = config.listeners(Program::Suite).into_iter().filter(|listening| listening.addr.port() != 0);
    let taken: Vec<_> =
        trials.filter_map(|listening| Some(complaint(&listening, &bind(&listening).err()?))).collect();
    if taken.is_empty() {
        return Ok(());
    }
    let hint = "Is another `monarch up` running? Each address can be moved by its flag.";
    Err(Failure::failed(format!("can't listen:\n{}\n{hint}", taken.join("\n"))))
}

fn bind(listening: &Listening) -> io::Result<()> {
    if listening.tcp {
        TcpListener::bind(listening.addr)?;
    }
    if listening.udp {
        UdpSocket::bind(listening.addr)?;
    }
    Ok(())
}

fn complaint(listening: &Listening, error: &io::Error) -> String {
    let why = match error.kind() {
        ErrorKind::AddrInUse => "in use by another program".to_owned(),
        ErrorKind::AddrNotAvailable => "not an address of this machine".to_owned(),
        ErrorKind::PermissionDenied => "only for privileged users".to_owned(),
        _ => error.to_string(),
    };
    let flag = SETTINGS.iter().find(|setting| setting.key == listening.key);
    let flag = flag.map(|setting| setting.flag(Program::Suite)).unwrap_or_default();
    format!("  {} is {why}  ({}; --{flag} IP:PORT)", listening.addr, listening.key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_address_is_named_with_its_flag() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut config = Config::default();
        let nowhere = ([127, 0, 0, 1], 0).into();
        for node in [&mut config.dispatch.node, &mut config.notification.node, &mut config.switchboard.node] {
            (node.gossip, node.peer, node.admin) = (nowhere, nowhere, nowhere);
        }
        (config.dispatch.listen, config.notification.listen) = (nowhere, nowhere);
        (config.switchboard.listen, config.dispatch.http.listen) = (nowhere, nowhere);
        (config.dispatch.https.listen, config.dispatch.dns.listen) = (nowhere, nowhere);
        assert!(check(&config).is_ok());

        config.switchboard.listen = tcp.local_addr().unwrap();
        config.dispatch.node.gossip = udp.local_addr().unwrap();
        let error = check(&config).unwrap_err();
        assert_eq!(error.code(), 1);
        let text = error.to_string();
        assert!(text.contains("--switchboard-listen") && text.contains("--dispatch-node-gossip"), "{text}");
        assert_eq!(text.matches("in use").count(), 2, "{text}");
    }
}
