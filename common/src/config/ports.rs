//! The ports of a second node of a tier on one machine follow from its name: one flag is enough.

use std::net::SocketAddr;

use toml::{Table, Value};

/// `notification-2` has the default ports of its tier and 100, `notification-3` those and 200.
const STEP: u16 = 100;
/// Names with a greater number get the ports of the first.
const LAST: u16 = 100;

/// What a tier listens on.
const KEYS: &[(&str, &[&str])] = &[
    (
        "dispatch",
        &["listen", "node.gossip", "node.peer", "node.admin", "http.listen", "https.listen", "dns.listen"],
    ),
    ("notification", &["listen", "node.gossip", "node.peer", "node.admin"]),
    ("switchboard", &["listen", "node.gossip", "node.peer", "node.admin"]),
];

/// The addresses that differ from the defaults because of the nodes' names, for keys that are not set; `set` is the value of a key
/// that is.
pub(super) fn derived<'v>(defaults: &Table, set: impl Fn(&str) -> Option<&'v Value>) -> Vec<(String, Value)> {
    let mut derived = Vec::new();
    for (tier, keys) in KEYS {
        let Some(number) = set(&format!("{tier}.node.id")).and_then(Value::as_str).and_then(number) else {
            continue;
        };
        for key in keys.iter().map(|key| format!("{tier}.{key}")).filter(|key| set(key).is_none()) {
            let mut path = key.split('.');
            let first = path.next().and_then(|name| defaults.get(name));
            let value = path.fold(first, |value, name| value?.get(name));
            let addr = value.and_then(Value::as_str).and_then(|text| text.parse::<SocketAddr>().ok());
            if let Some(mut addr) = addr {
                addr.set_port(addr.port().saturating_add(STEP * (number - 1)));
                derived.push((key, addr.to_string().into()));
            }
        }
    }
    derived
}

/// The number at the end of a node's name.
fn number(id: &str) -> Option<u16> {
    let (_, number) = id.rsplit_once('-')?;
    number.parse().ok().filter(|number| (2..=LAST).contains(number))
}

#[cfg(test)]
mod tests {
    use super::super::{Given, Listening, Program, Sources, load};

    fn listeners(program: Program, given: &[(&str, &str)]) -> Vec<Listening> {
        let given = given.iter().map(|(key, value)| {
            let (flag, key, value) = ("--set".into(), (*key).to_owned(), (*value).to_owned());
            Given { flag, key, value }
        });
        load(&Sources { given: given.collect(), ..Sources::default() }).unwrap().config.listeners(program)
    }

    #[test]
    fn a_name_is_enough_for_a_node_beside_the_others() {
        let mut all = listeners(Program::Suite, &[]);
        for number in 2..=6 {
            for (tier, program) in [
                ("dispatch", Program::Dispatch),
                ("notification", Program::Notification),
                ("switchboard", Program::Switchboard),
            ] {
                let (key, id) = (format!("{tier}.node.id"), format!("{tier}-{number}"));
                all.extend(listeners(program, &[(&key, &id)]));
            }
        }
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].iter().any(|other| one.collides(other)), "{one:?}");
        }
    }

    #[test]
    fn what_is_set_stays() {
        let ports = |given: &[(&str, &str)]| -> Vec<u16> {
            listeners(Program::Notification, given).iter().map(|listening| listening.addr.port()).collect()
        };
        let first = ports(&[]);
        assert_eq!(first, [1864, 1874, 1884, 1894]);
        for id in ["notification-1", "two", "notification-0", "notification-101", "notification-99999", "2"] {
            assert_eq!(ports(&[("notification.node.id", id)]), first, "{id}");
        }
        let second = [("notification.node.id", "ns-2"), ("notification.node.peer", "127.0.0.1:7")];
        assert_eq!(ports(&second), [1964, 1974, 7, 1994]);
    }
}
