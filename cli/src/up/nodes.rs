//! How many nodes of each tier, and the settings of those behind the first.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use common::config::{Config, Given, NodeConfig};

use crate::Failure;

/// The most nodes of one tier on one machine.
const MOST: usize = 9;

/// How many nodes of each tier: `1,2,1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nodes {
    dispatch: usize,
    notification: usize,
    switchboard: usize,
}

impl FromStr for Nodes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Result<Vec<usize>, _> = text.split(',').map(|number| number.trim().parse()).collect();
        match numbers.as_deref() {
            Ok(&[dispatch, notification, switchboard])
                if [dispatch, notification, switchboard].iter().all(|count| (1..=MOST).contains(count)) =>
            {
                Ok(Self { dispatch, notification, switchboard })
            }
            _ => Err(format!(
                "expected three numbers from 1 to {MOST}, of dispatch, notification and switchboard: 1,2,1"
            )),
        }
    }
}

impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{}", self.dispatch, self.notification, self.switchboard)
    }
}

/// A node to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// Its program.
    pub(super) program: &'static str,
    /// What `up` calls it: the first of a tier like its program, the others with their number.
    pub(super) name: String,
    /// Its settings beside those of all.
    pub(super) given: Vec<Given>,
}

/// A tier as it is configured.
struct Tier<'a> {
    program: &'static str,
    count: usize,
    node: &'a NodeConfig,
    advertise: Option<SocketAddr>,
}

impl Tier<'_> {
    /// Why it can have one node only.
    fn obstacle(&self) -> Option<String> {
        let told = [self.advertise, self.node.gossip_advertise, self.node.peer_advertise];
        let obstacle = format!(
            "an address that others are told is configured for it ([{}], advertise, gossip_advertise, peer_advertise), and nodes \
             can't share it",
            self.program
        );
        (self.count > 1 && told.iter().any(Option::is_some)).then_some(obstacle)
    }
}

impl Nodes {
    fn tiers(self, config: &Config) -> [Tier<'_>; 3] {
        let Config { dispatch, notification, switchboard, .. } = config;
        let tier = |program, count, node, advertise| Tier { program, count, node, advertise };
        [
            tier("dispatch", self.dispatch, &dispatch.node, dispatch.advertise),
            tier("notification", self.notification, &notification.node, notification.advertise),
            tier("switchboard", self.switchboard, &switchboard.node, switchboard.advertise),
        ]
    }

    /// As many as can be: one of a tier whose nodes can't differ, which is said.
    pub(super) fn possible(self, config: &Config, say: impl Fn(String)) -> Self {
        let [dispatch, notification, switchboard] = self.tiers(config).map(|tier| match tier.obstacle() {
            None => tier.count,
            Some(obstacle) => {
                say(format!("monarch: one {}, not {}: {obstacle}", tier.program, tier.count));
                1
            }
        });
        Self { dispatch, notification, switchboard }
    }

    /// All nodes, the first dispatch first. The first of each tier is as configured; the others have names of their own and, on the
    /// same addresses, any ports that are free.
    pub(super) fn plan(self, config: &Config) -> Result<Vec<Plan>, Failure> {
        let mut all = Vec::new();
        for tier in self.tiers(config) {
            let Tier { program, count, node, .. } = tier;
            all.push(Plan { program, name: program.to_owned(), given: Vec::new() });
            if let Some(obstacle) = tier.obstacle() {
                return Err(Failure::Usage(format!(
                    "--nodes can't start a second {program}: {obstacle}. Start further nodes by themselves, each with its own, or add \
                     --or-fewer"
                )));
            }
            for number in 2..=count {
                let given = settings(config, program, node, number);
                all.push(Plan { program, name: format!("{program}-{number}"), given });
            }
        }
        Ok(all)
    }
}

fn settings(config: &Config, tier: &str, node: &NodeConfig, number: usize) -> Vec<Given> {
    let set = |key: &str, value: String| Given { flag: "--nodes".into(), key: format!("{tier}.{key}"), value };
    let any_port = |key: &str, like: SocketAddr| set(key, SocketAddr::new(like.ip(), 0).to_string());
    let mut given = vec![
        set("node.id", nth(&node.id, number)),
        any_port("node.gossip", node.gossip),
        any_port("node.peer", node.peer),
        any_port("node.admin", node.admin),
    ];
    match tier {
        "dispatch" => {
            let dispatch = &config.dispatch;
            given.extend([
                any_port("listen", dispatch.listen),
                any_port("http.listen", dispatch.http.listen),
                any_port("https.listen", dispatch.https.listen),
                any_port("dns.listen", dispatch.dns.listen),
            ]);
        }
        "notification" => given.push(any_port("listen", config.notification.listen)),
        _ => given.push(any_port("listen", config.switchboard.listen)),
    }
    given
}

/// The name of a tier's nth node, where that of the first is given: `notification-1`, `notification-2`; `east`, `east-2`.
fn nth(first: &str, number: usize) -> String {
    match first.rsplit_once('-').map(|(stem, last)| (stem, last.parse::<usize>())) {
        Some((stem, Ok(last))) => format!("{stem}-{}", last.saturating_add(number - 1)),
        _ => format!("{first}-{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_three_numbers() {
        let nodes: Nodes = "1, 2,3".parse().unwrap();
        assert_eq!(nodes, Nodes { dispatch: 1, notification: 2, switchboard: 3 });
        assert_eq!(nodes.to_string().parse::<Nodes>().unwrap(), nodes);
        for bad in ["", "1", "1,2", "0,1,1", "1,1,10", "1,1,1,1", "1,-1,1", "a,b,c"] {
            assert!(bad.parse::<Nodes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn further_nodes_share_neither_name_nor_port() {
        let mut config = Config::default();
        config.switchboard.node.id = "east".into();
        let plan = "2,3,2".parse::<Nodes>().unwrap().plan(&config).unwrap();
        let names: Vec<_> = plan.iter().map(|plan| plan.name.as_str()).collect();
        let expected = ["dispatch", "dispatch-2", "notification", "notification-2", "notification-3"];
        assert_eq!(names, [&expected[..], &["switchboard", "switchboard-2"]].concat());
        let ids: Vec<_> =
            plan.iter().flat_map(|plan| &plan.given).filter(|given| given.key.ends_with(".id")).collect();
        let ids: Vec<_> = ids.iter().map(|given| given.value.as_str()).collect();
        assert_eq!(ids, ["dispatch-2", "notification-2", "notification-3", "east-2"]);
        for Given { key, value, .. } in plan.iter().flat_map(|plan| &plan.given) {
            assert!(key.ends_with(".id") || value == "127.0.0.1:0", "{key}={value}");
        }
        // Every address that a dispatch node listens on has a port of its own.
        let moved = plan[1].given.iter().filter(|given| given.value.ends_with(":0")).count();
        assert_eq!(moved, config.listeners(common::config::Program::Dispatch).len());
    }

    #[test]
    fn an_advertised_address_is_not_shared() {
        let mut config = Config::default();
        config.notification.advertise = Some(([192, 0, 2, 1], 1864).into());
        assert!("1,1,2".parse::<Nodes>().unwrap().plan(&config).is_ok());
        let error = "1,2,1".parse::<Nodes>().unwrap().plan(&config).unwrap_err();
        assert!(error.code() == 2 && error.to_string().contains("[notification]"), "{error}");
        let said = std::cell::RefCell::new(Vec::new());
        let possible = "2,2,2".parse::<Nodes>().unwrap().possible(&config, |line| said.borrow_mut().push(line));
        assert_eq!(possible.to_string(), "2,1,2");
        assert!(said.borrow()[0].starts_with("monarch: one notification, not 2: "), "{said:?}");
        assert_eq!(said.borrow().len(), 1);
    }
}
