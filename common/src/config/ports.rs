//! The ports of a second node of a tier on one machine follow from its name: one flag is enough.

//!
//! Only for a node whose address for clients is not set: where somebody has said that, the node has its address, mostly a host, to
//! itself, and its other ports stay where probes and firewalls expect them. A file that says what the defaults say, as a copy of the
//! example does, sets nothing: it is the same one for all nodes.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use toml::{Table, Value};

use super::command_line::Program;
use super::problem::Origin;
use super::sections::Config;

/// `notification-2` has the default ports of its tier and 100, `notification-3` those and 200.
const STEP: u16 = 100;
/// Names with a greater number get the ports of the first.
const LAST: u16 = 100;

/// What a tier listens on; the one for clients first.
const KEYS: &[(&str, &[&str])] = &[
    (
        "dispatch",
        &["listen", "node.gossip", "node.peer", "node.admin", "http.listen", "https.listen", "dns.listen"],
    ),
    ("notification", &["listen", "node.gossip", "node.peer", "node.admin"]),
    ("switchboard", &["listen", "node.gossip", "node.peer", "node.admin"]),
];

/// The tiers with a node that is not the first of its machine, with its number. `set` is the value of a key that is set.
fn numbered<'v>(
    set: impl Fn(&str) -> Option<&'v Value>,
) -> impl Iterator<Item = (&'static str, &'static [&'static str], u16)> {
    KEYS.iter().filter_map(move |(tier, keys)| {
        let number = set(&format!("{tier}.node.id")).and_then(Value::as_str).and_then(number)?;
        Some((*tier, *keys, number))
    })
}

/// Takes away what a file says of such a node's addresses as the defaults do, if that is so of the one for clients.
pub(super) fn forget_copied(defaults: &Table, values: &mut BTreeMap<&'static str, (Value, Origin)>) {
    let tiers: Vec<_> = numbered(|key| values.get(key).map(|(value, _)| value)).collect();
    for (tier, keys, _) in tiers {
        let is_copied = |key: &str| match values.get(key) {
            Some((value, Origin::File(..))) => at(defaults, key) == Some(value),
            _ => false,
        };
        let keys: Vec<_> = keys.iter().map(|key| format!("{tier}.{key}")).collect();
        if keys.first().is_some_and(|listen| is_copied(listen)) {
            let copied: Vec<_> = keys.iter().filter(|key| is_copied(key)).collect();
            values.retain(|key, _| !copied.iter().any(|copied| copied == key));
        }
    }
}

/// The addresses that differ from the defaults because of the nodes' names, for keys that are not set.
pub(super) fn derived<'v>(defaults: &Table, set: impl Fn(&str) -> Option<&'v Value>) -> Vec<(String, Value)> {
    let mut derived = Vec::new();
    for (tier, keys, number) in numbered(&set) {
        if set(&format!("{tier}.listen")).is_some() {
            continue;
        }
        for key in keys.iter().map(|key| format!("{tier}.{key}")).filter(|key| set(key).is_none()) {
            let addr = at(defaults, &key).and_then(Value::as_str).and_then(|text| text.parse::<SocketAddr>().ok());
            if let Some(mut addr) = addr {
                addr.set_port(addr.port().saturating_add(STEP * (number - 1)));
                derived.push((key, addr.to_string().into()));
            }
        }
    }
    derived
}

/// The error with which a program ends, with what to do if that is because another node of its tier has its ports.
pub fn explained(error: anyhow::Error, config: &Config, program: Program) -> anyhow::Error {
    let is_in_use = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::AddrInUse)
    };
    let (tier, id, listen, first) = match (program, Config::default()) {
        (Program::Dispatch, first) => {
            ("dispatch", &config.dispatch.node.id, config.dispatch.listen, first.dispatch.listen)
        }
        (Program::Notification, first) => {
            ("notification", &config.notification.node.id, config.notification.listen, first.notification.listen)
        }
        (Program::Switchboard, first) => {
            ("switchboard", &config.switchboard.node.id, config.switchboard.listen, first.switchboard.listen)
        }
        (Program::Suite, _) => return error,
    };
    if listen != first || !error.chain().any(is_in_use) {
        return error;
    }
    error.context(format!(
        "the name {id} gives it the ports of the first {tier} node, and something listens there already: for a further node on this \
         machine a name that ends in -2 to -{LAST} (--node-id {tier}-2) moves them all, or set each address, with port 0 for all but \
         the clients'"
    ))
}

/// The value at a dotted key.
fn at<'t>(table: &'t Table, key: &str) -> Option<&'t Value> {
    let mut path = key.split('.');
    let first = path.next().and_then(|name| table.get(name));
    path.fold(first, |value, name| value?.get(name))
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

    #[test]
    fn a_node_with_an_address_of_its_own_keeps_its_ports() {
        let given = [("notification.node.id", "notification-2"), ("notification.listen", "192.0.2.1:1864")];
        let found = listeners(Program::Notification, &given);
        assert_eq!(found.iter().map(|one| one.addr.port()).collect::<Vec<_>>(), [1864, 1874, 1884, 1894]);
        // Also where that is the default: whoever types it means it.
        let given = [("notification.node.id", "notification-2"), ("notification.listen", "127.0.0.1:1864")];
        let found = listeners(Program::Notification, &given);
        assert_eq!(found.iter().map(|one| one.addr.port()).collect::<Vec<_>>(), [1864, 1874, 1884, 1894]);
    }

    #[test]
    fn a_name_is_enough_beside_a_copy_of_the_example() {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../monarch.example.toml");
        let id = |tier: &str| {
            let (flag, key, value) = ("--set".into(), format!("{tier}.node.id"), format!("{tier}-2"));
            Given { flag, key, value }
        };
        let given = vec![id("dispatch"), id("switchboard")];
        let loaded = load(&Sources { file: Some(example.into()), given, ..Sources::default() }).unwrap();
        let ports =
            |program| loaded.config.listeners(program).iter().map(|one| one.addr.port()).collect::<Vec<_>>();
        assert_eq!(ports(Program::Dispatch), [1963, 1973, 1983, 1993, 8180, 8543, 5400]);
        assert_eq!(ports(Program::Switchboard), [1965, 1975, 1985, 1995]);
        assert_eq!(ports(Program::Notification), [1864, 1874, 1884, 1894]);
        assert!(loaded.is_default("dispatch.http.listen") && !loaded.is_default("notification.listen"));
    }
}
