//! The addresses that the programs listen on.

use std::net::SocketAddr;

use super::{Config, NodeConfig, Program};

/// An address that a program listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// The key that names it.
    pub key: &'static str,
    /// The address; port 0 lets the system choose.
    pub addr: SocketAddr,
    /// TCP.
    pub tcp: bool,
    /// UDP.
    pub udp: bool,
}

impl Listening {
    const fn tcp(key: &'static str, addr: SocketAddr) -> Self {
        Self { key, addr, tcp: true, udp: false }
    }

    const fn udp(key: &'static str, addr: SocketAddr) -> Self {
        Self { key, addr, tcp: false, udp: true }
    }

    /// Whether both can't be open at once on one machine.
    #[must_use]
    pub fn collides(&self, other: &Self) -> bool {
        let same_transport = (self.tcp && other.tcp) || (self.udp && other.udp);
        let same_port = self.addr.port() == other.addr.port() && self.addr.port() != 0;
        let (a, b) = (self.addr.ip().to_canonical(), other.addr.ip().to_canonical());
        same_transport && same_port && (a == b || a.is_unspecified() || b.is_unspecified())
    }
}

macro_rules! tier {
    ($config:expr, $tier:ident) => {{
        let NodeConfig { gossip, peer, admin, .. } = $config.$tier.node;
        [
            Listening::tcp(concat!(stringify!($tier), ".listen"), $config.$tier.listen),
            Listening::udp(concat!(stringify!($tier), ".node.gossip"), gossip),
            Listening::tcp(concat!(stringify!($tier), ".node.peer"), peer),
            Listening::tcp(concat!(stringify!($tier), ".node.admin"), admin),
        ]
    }};
}

impl Config {
    /// All that a program listens on.
    #[must_use]
    pub fn listeners(&self, program: Program) -> Vec<Listening> {
        let mut all = Vec::new();
        if matches!(program, Program::Dispatch | Program::Suite) {
            all.extend(tier!(self, dispatch));
            all.push(Listening::tcp("dispatch.http.listen", self.dispatch.http.listen));
            if self.dispatch.https.enabled {
                all.push(Listening::tcp("dispatch.https.listen", self.dispatch.https.listen));
            }
            all.push(Listening { udp: true, ..Listening::tcp("dispatch.dns.listen", self.dispatch.dns.listen) });
        }
        if matches!(program, Program::Notification | Program::Suite) {
            all.extend(tier!(self, notification));
        }
        if matches!(program, Program::Switchboard | Program::Suite) {
            all.extend(tier!(self, switchboard));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_run_on_one_machine() {
        let all = Config::default().listeners(Program::Suite);
        assert_eq!(all.len(), 15);
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].iter().any(|other| one.collides(other)), "{one:?}");
        }
    }

    #[test]
    fn an_unspecified_address_takes_the_port_of_all() {
        let tcp = |addr: &str| Listening::tcp("x", addr.parse().unwrap());
        let udp = |addr: &str| Listening::udp("x", addr.parse().unwrap());
        assert!(tcp("0.0.0.0:1").collides(&tcp("127.0.0.1:1")));
        assert!(tcp("[::ffff:127.0.0.1]:1").collides(&tcp("127.0.0.1:1")));
        assert!(!tcp("127.0.0.2:1").collides(&tcp("127.0.0.1:1")));
        assert!(!tcp("127.0.0.1:0").collides(&tcp("127.0.0.1:0")));
        assert!(!tcp("127.0.0.1:1").collides(&udp("127.0.0.1:1")));
    }
}
