//! How to connect: what `up` prints when all is ready.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use common::config::Config;

use super::demo::{self, People};
use super::tier::Addresses;

/// What the text is made of.
pub(super) struct Greeting<'a> {
    pub(super) config: &'a Config,
    /// Where all listen, by name.
    pub(super) all: &'a BTreeMap<String, Addresses>,
    pub(super) people: People,
    pub(super) logs: &'a Path,
    /// How a command of this program begins that is to find the same data.
    pub(super) monarch: &'a crate::Again,
}

impl Greeting<'_> {
    /// The text.
    pub(super) fn text(&self) -> String {
        let mut out = String::from("\nMonarch is up.\n\n");
        let lines = [self.accounts(), self.clients(), self.sign_in(), self.by_hand(), self.to_look_at()];
        for line in lines.into_iter().flatten() {
            out.push_str(&line);
            out.push('\n');
        }
        out.push_str("\nCtrl-C stops it.\n");
        out
    }

    fn found(&self, node: &str, name: &str) -> Option<SocketAddr> {
        self.all.get(node).and_then(|addresses| addresses.get(name)).copied()
    }

    /// Where clients are told that a tier is.
    fn told(&self, tier: &str) -> SocketAddr {
        let Config { dispatch, notification, switchboard, .. } = self.config;
        let (advertise, listen) = match tier {
            "dispatch" => (dispatch.advertise, dispatch.listen),
            "notification" => (notification.advertise, notification.listen),
            _ => (switchboard.advertise, switchboard.listen),
        };
        advertise.or_else(|| self.found(tier, "clients")).unwrap_or(listen)
    }

    /// Nobody can connect to 0.0.0.0: where all addresses are listened on, the one that clients are told will do.
    fn reachable(&self, mut addr: SocketAddr) -> SocketAddr {
        if addr.ip().is_unspecified() {
            addr.set_ip(self.told("dispatch").ip());
        }
        addr
    }

    /// The same for an address of the first dispatch, which is configured as `listen`.
    fn of_dispatch(&self, name: &str, listen: SocketAddr) -> SocketAddr {
        self.reachable(self.found("dispatch", name).unwrap_or(listen))
    }

    fn accounts(&self) -> Vec<String> {
        if self.people != People::Made {
            return vec![format!("  Accounts      those that are there: {}", self.monarch.command("user list"))];
        }
        let names = demo::ACCOUNTS.map(|(passport, _)| passport).join(", ");
        vec![
            format!("  Accounts      {names}"),
            format!("                password {}; each has the others as contacts", demo::PASSWORD),
        ]
    }

    fn clients(&self) -> Vec<String> {
        let [dispatch, notification, switchboard] = TIERS.map(|tier| self.told(tier));
        let mut lines = vec![
            format!("  Clients       dispatch {dispatch} sends them to notification {notification}"),
            format!("                and, for a conversation, to switchboard {switchboard}"),
        ];
        for (name, addresses) in self.all.iter().filter(|(name, _)| !TIERS.contains(&name.as_str())) {
            let ports = ["clients", "http", "https", "dns"].iter().filter_map(|port| {
                let addr = self.reachable(*addresses.get(*port)?);
                Some(if *port == "clients" { addr.to_string() } else { format!("{port} {addr}") })
            });
            lines.push(format!("                also {name} {}", ports.collect::<Vec<_>>().join(", ")));
        }
        lines
    }

    fn sign_in(&self) -> Vec<String> {
        let dispatch = &self.config.dispatch;
        let http = self.of_dispatch("http", dispatch.http.listen);
        let mut lines = vec![
            "    MSNP2-7     MSN Messenger 1 to 4: signs in by MD5 on the same connection".to_owned(),
            "    MSNP8-12    MSN Messenger 5 to 7: signs in by HTTP or HTTPS, the nexus being".to_owned(),
            format!("                http://{http}/rdr/pprdr.asp"),
        ];
        if dispatch.https.enabled {
            let https = self.of_dispatch("https", dispatch.https.listen);
            lines.push(format!("                https://{https}/rdr/pprdr.asp"));
            if dispatch.https.certificate.is_none() {
                // Clients must be told to trust it.
                let made = dispatch.https.development.join("development.crt");
                lines.push(format!("                with the development certificate {}", made.display()));
            }
        }
        lines
    }

    fn by_hand(&self) -> Vec<String> {
        let dns = self.of_dispatch("dns", self.config.dispatch.dns.listen);
        let (dispatch, domain) = (self.told("dispatch"), &self.config.dispatch.dns.domain);
        vec![
            format!("  DNS           dig @{} -p {} {domain} A", dns.ip(), dns.port()),
            format!("  By hand       telnet {} {}, as README.md has it", dispatch.ip(), dispatch.port()),
        ]
    }

    fn to_look_at(&self) -> Vec<String> {
        let admins = self.all.iter().filter_map(|(name, addresses)| Some((name, addresses.get("admin")?)));
        let mut lines: Vec<String> = admins
            .enumerate()
            .map(|(index, (name, admin))| {
                let heading = if index == 0 { "Metrics" } else { "" };
                format!("  {heading:<12}  http://{}/metrics  {name}", self.reachable(*admin))
            })
            .collect();
        lines.push(format!("  Logs          {}", self.logs.display()));
        let [(one, _), (other, _), _] = demo::ACCOUNTS;
        let history = match self.people {
            People::Made | People::There => format!("history show {one} {other}"),
            People::Others => "history list PASSPORT".to_owned(),
        };
        lines.push(format!("  History       {}", self.monarch.command(&history)));
        lines
    }
}

const TIERS: [&str; 3] = ["dispatch", "notification", "switchboard"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Again;

    fn text(config: &Config, all: &BTreeMap<String, Addresses>, people: People) -> String {
        let monarch = Again::test("target/release/monarch", " --data d");
        Greeting { config, all, people, logs: Path::new("data/logs"), monarch: &monarch }.text()
    }

    fn addresses<const N: usize>(ports: [(&str, u16); N]) -> Addresses {
        ports.map(|(name, port)| (name.to_owned(), SocketAddr::from(([127, 0, 0, 1], port)))).into()
    }

    #[test]
    fn the_ports_that_were_chosen_are_named() {
        let mut config = Config::default();
        config.notification.advertise = Some(([192, 0, 2, 1], 1864).into());
        let ports = [("clients", 4001), ("http", 4002), ("https", 4005), ("dns", 4003), ("admin", 4004)];
        let further = [("clients", 4011), ("http", 4012), ("https", 4015), ("dns", 4013)];
        let all = BTreeMap::from([
            ("dispatch".to_owned(), addresses(ports)),
            ("dispatch-2".to_owned(), addresses(further)),
            ("notification-2".to_owned(), addresses([("clients", 4009)])),
        ]);
        let said = text(&config, &all, People::Made);
        for part in [
            "dispatch 127.0.0.1:4001",
            "notification 192.0.2.1:1864",
            "switchboard 127.0.0.1:1865",
            "http://127.0.0.1:4002/rdr/pprdr.asp",
            "https://127.0.0.1:4005/rdr/pprdr.asp",
            "data/development.crt",
            "dig @127.0.0.1 -p 4003 messenger.hotmail.com",
            "telnet 127.0.0.1 4001",
            "http://127.0.0.1:4004/metrics",
            "also dispatch-2 127.0.0.1:4011, http 127.0.0.1:4012, https 127.0.0.1:4015, dns 127.0.0.1:4013\n",
            "also notification-2 127.0.0.1:4009\n",
            "wonderland",
        ] {
            assert!(said.contains(part), "{part} is missing in\n{said}");
        }
        config.dispatch.https.enabled = false;
        assert!(!text(&config, &BTreeMap::new(), People::Made).contains("https:"));
    }

    #[test]
    fn addresses_are_ones_that_can_be_connected_to() {
        let mut config = Config::default();
        config.dispatch.advertise = Some(([192, 0, 2, 1], 1863).into());
        let anywhere = |port| SocketAddr::from(([0, 0, 0, 0], port));
        config.dispatch.http.listen = anywhere(8080);
        config.dispatch.dns.listen = anywhere(5300);
        let all = [("dispatch".to_owned(), [("admin".to_owned(), anywhere(1893))].into())].into();
        let said = text(&config, &all, People::Others);
        for part in ["http://192.0.2.1:8080/", "dig @192.0.2.1 -p", "http://192.0.2.1:1893/metrics"] {
            assert!(said.contains(part), "{part} is missing in\n{said}");
        }
        assert!(!said.contains("0.0.0.0"), "{said}");
    }

    #[test]
    fn commands_are_of_accounts_that_are_there() {
        let said = |people| text(&Config::default(), &BTreeMap::new(), people);
        let [made, there, others] = [People::Made, People::There, People::Others].map(said);
        for text in [&made, &there] {
            let command = "target/release/monarch history show alice@example.com bob@example.com --data d\n";
            assert!(text.contains(command), "{text}");
        }
        assert!(!there.contains("wonderland") && there.contains("target/release/monarch user list --data d\n"));
        assert!(!others.contains("alice") && others.contains("history list PASSPORT --data d\n"), "{others}");
    }
}
