//! What single values can't show: whether they make sense, and hold together.

use std::net::{IpAddr, SocketAddr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::load::Loaded;
use super::problem::{Origin, Problem};
use super::{Config, DispatchConfig, ForwardedHeader, Listening, NodeConfig, Program, ScyllaConfig, StoreKind};
use crate::model::{NodeId, xml_len};
use crate::msnp::hotmail::Addressee;
use crate::net::Proxies;

/// All that does not hold together.
pub(super) fn check(loaded: &Loaded) -> Vec<Problem> {
    let config = &loaded.config;
    let mut checker = Checker { loaded, problems: Vec::new() };
    checker.log_filter(&config.log.filter);
    checker.hosts("cluster.seeds", &config.cluster.seeds);
    if config.store.kind == StoreKind::Scylla {
        checker.scylla(&config.store.scylla);
    }
    for tier in tiers(config) {
        checker.tier(&tier);
    }
    checker.node_names();
    checker.proxies(config);
    checker.http(&config.dispatch);
    checker.https(&config.dispatch);
    checker.dns(&config.dispatch);
    checker.notification(config);
    for program in [Program::Dispatch, Program::Notification, Program::Switchboard] {
        checker.problems.extend(collisions(loaded, program));
    }
    checker.problems
}

/// The addresses of a program that can't be open at once; with [`Program::Suite`], those of all on one machine.
#[must_use]
pub fn collisions(loaded: &Loaded, program: Program) -> Vec<Problem> {
    let all = loaded.config.listeners(program);
    let mut problems = Vec::new();
    for (index, one) in all.iter().enumerate() {
        for other in all.iter().take(index).filter(|other| one.collides(other)) {
            // The one that somebody set is more likely the wrong one.
            let one_is_default = *loaded.origin(one.key) == Origin::Default;
            let (wrong, right) = if one_is_default { (other, one) } else { (one, other) };
            let Listening { key, addr, .. } = right;
            let message = format!("{} collides with {key}, {addr}", wrong.addr);
            problems.push(loaded.problem(wrong.key, message));
        }
    }
    problems
}

/// What is checked of each tier.
struct Tier<'a> {
    name: &'static str,
    listen: SocketAddr,
    advertise: Option<SocketAddr>,
    node: &'a NodeConfig,
}

macro_rules! tier {
    ($config:expr, $tier:ident) => {
        Tier {
            name: stringify!($tier),
            listen: $config.$tier.listen,
            advertise: $config.$tier.advertise,
            node: &$config.$tier.node,
        }
    };
}

fn tiers(config: &Config) -> [Tier<'_>; 3] {
    [tier!(config, dispatch), tier!(config, notification), tier!(config, switchboard)]
}

struct Checker<'a> {
    loaded: &'a Loaded,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn blame(&mut self, key: &str, message: impl Into<String>) {
        self.problems.push(self.loaded.problem(key, message));
    }

    fn require(&mut self, holds: bool, key: &str, message: impl Into<String>) {
        if !holds {
            self.blame(key, message);
        }
    }

    fn log_filter(&mut self, filter: &str) {
        if let Err(error) = EnvFilter::try_new(filter) {
            self.blame("log.filter", error.to_string());
        }
        // A word alone would be taken as a target: `inof` would silence the log without a word.
        for word in filter.split(',').map(str::trim).filter(|part| !part.contains(['=', '['])) {
            let level = word.parse::<LevelFilter>().is_ok();
            self.require(level, "log.filter", format!("{word:?} is no level; for a target write TARGET=LEVEL"));
        }
    }

    fn hosts(&mut self, key: &str, hosts: &[String]) {
        for text in hosts {
            let parts = text.rsplit_once(':');
            let fits = parts.is_some_and(|(host, port)| {
                !host.is_empty() && !host.contains(char::is_whitespace) && port.parse::<u16>().is_ok_and(|p| p > 0)
            });
            self.require(fits, key, format!("expected HOST:PORT, found {text:?}"));
        }
    }

    fn scylla(&mut self, scylla: &ScyllaConfig) {
        let key = |name: &str| format!("store.scylla.{name}");
        self.hosts(&key("contact_points"), &scylla.contact_points);
        self.require(!scylla.contact_points.is_empty(), &key("contact_points"), "expected one at least");
        // It stands unquoted in statements.
        let name = scylla.keyspace.as_bytes();
        let legal = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
        self.require(
            name.first().is_some_and(u8::is_ascii_lowercase)
                && name.iter().all(legal)
                && name.len() <= ScyllaConfig::MAX_KEYSPACE,
            &key("keyspace"),
            format!(
                "expected a letter, then lower-case letters, digits and _, {} at most",
                ScyllaConfig::MAX_KEYSPACE
            ),
        );
        let copies = "expected the number of copies, 1 to 9, or DATACENTER:COPIES,…";
        self.require(scylla.copies().is_some(), &key("replication"), copies);
        let several = scylla.copies().is_some_and(|copies| copies.len() > 1);
        let choice =
            "expected one of those that store.scylla.replication names, or store.scylla.consistency = \"quorum\"";
        self.require(!several || !scylla.needs_datacenter(), &key("datacenter"), choice);
        self.together(&key("user"), scylla.user.is_some(), &key("password_file"), scylla.password_file.is_some());
        let (certificate, own_key) = (scylla.tls_certificate.is_some(), scylla.tls_key.is_some());
        self.together(&key("tls_certificate"), certificate, &key("tls_key"), own_key);
        let authorities = "without store.scylla.tls_ca there is no TLS";
        self.require(scylla.tls_ca.is_some() || !certificate, &key("tls_certificate"), authorities);
    }

    /// Two keys of which one means nothing without the other.
    fn together(&mut self, one: &str, one_is_set: bool, other: &str, other_is_set: bool) {
        match (one_is_set, other_is_set) {
            (true, false) => self.blame(one, format!("set {other} as well")),
            (false, true) => self.blame(other, format!("set {one} as well")),
            _ => {}
        }
    }

    fn tier(&mut self, tier: &Tier<'_>) {
        let name = tier.name;
        let legal = NodeId::parse(&tier.node.id).is_some();
        let rule = format!("expected letters, digits and hyphens, {} at most", NodeId::MAX_LEN);
        self.require(legal, &format!("{name}.node.id"), rule);

        self.advertised(&format!("{name}.listen"), tier.listen, &format!("{name}.advertise"), tier.advertise);
        let (key, told) = match tier.advertise {
            Some(addr) => (format!("{name}.advertise"), addr),
            None => (format!("{name}.listen"), tier.listen),
        };
        // Also dispatch: its A records are IPv4, and XFR names it.
        self.require(
            told.is_ipv4(),
            &key,
            format!("clients can't read the IPv6 address {told}; set {name}.advertise to an IPv4 address"),
        );

        let NodeConfig { gossip, gossip_advertise, peer, peer_advertise, .. } = *tier.node;
        let key = |key: &str| format!("{name}.node.{key}");
        self.advertised(&key("gossip"), gossip, &key("gossip_advertise"), gossip_advertise);
        self.advertised(&key("peer"), peer, &key("peer_advertise"), peer_advertise);
        for host in &tier.node.admin_names {
            self.require(
                is_domain(host),
                &key("admin_names"),
                format!("expected names without a port, found {host:?}"),
            );
        }
    }

    /// An address that others are told must be one that they can reach.
    fn advertised(&mut self, listen_key: &str, listen: SocketAddr, key: &str, advertise: Option<SocketAddr>) {
        match advertise {
            Some(addr) if addr.ip().is_unspecified() => {
                self.blame(key, format!("nobody can reach {addr}: expected the address that others use"));
            }
            Some(addr) if addr.port() == 0 => self.blame(key, "expected the port that others use, found 0"),
            None if listen.ip().is_unspecified() => {
                self.blame(listen_key, format!("others can't be told {listen}: set {key} as well"));
            }
            _ => {}
        }
    }

    fn node_names(&mut self) {
        let all = tiers(&self.loaded.config);
        for (index, tier) in all.iter().enumerate() {
            if let Some(other) = all.iter().take(index).find(|other| other.node.id == tier.node.id) {
                let message = format!("{:?} is already the name of {}", tier.node.id, other.name);
                self.blame(&format!("{}.node.id", tier.name), message);
            }
        }
    }

    fn proxies(&mut self, config: &Config) {
        for text in &config.proxies.networks {
            if let Err(error) = Proxies::of(&[text]) {
                self.blame("proxies.networks", error.to_string());
            }
        }
        let (http, https) = (&config.dispatch.http, &config.dispatch.https);
        for (key, is_set) in [
            ("dispatch.proxy_protocol", config.dispatch.proxy_protocol),
            ("dispatch.http.proxy_protocol", http.proxy_protocol),
            ("dispatch.http.forwarded", http.forwarded != ForwardedHeader::None),
            ("dispatch.https.proxy_protocol", https.proxy_protocol),
            ("dispatch.https.forwarded", https.forwarded != ForwardedHeader::None),
            ("notification.proxy_protocol", config.notification.proxy_protocol),
            ("switchboard.proxy_protocol", config.switchboard.proxy_protocol),
        ] {
            let nobody = is_set && config.proxies.networks.is_empty();
            self.require(!nobody, key, "nobody is believed: set proxies.networks as well");
        }
    }

    fn http(&mut self, dispatch: &DispatchConfig) {
        let http = &dispatch.http;
        let inside = http.listen.ip().to_canonical().is_loopback();
        self.require(
            inside || http.allow_plain_beyond_loopback,
            "dispatch.http.listen",
            format!(
                "{} is not a loopback address, and passwords would cross the network in the clear; if that is \
                 meant, set dispatch.http.allow_plain_beyond_loopback",
                http.listen
            ),
        );
        match &http.da_login {
            Some(login) => {
                self.token("dispatch.http.da_login", login);
                // The comma at its end that the nexus used to need is taken off; another one would end it for clients.
                let address = login.trim_end_matches(',');
                self.require(
                    !address.is_empty() && !address.contains(','),
                    "dispatch.http.da_login",
                    format!(
                        "expected an address without a comma, such as \"HOST/login2.srf?lc=1033\", found {login:?}"
                    ),
                );
            }
            None => self.require(
                !http.listen.ip().is_unspecified(),
                "dispatch.http.listen",
                format!("clients can't be sent to {}: set dispatch.http.da_login as well", http.listen),
            ),
        }
    }

    fn https(&mut self, dispatch: &DispatchConfig) {
        let (certificate, key) = ("dispatch.https.certificate", "dispatch.https.key");
        match (&dispatch.https.certificate, &dispatch.https.key) {
            (Some(_), None) => self.blame(certificate, format!("set {key} as well")),
            (None, Some(_)) => self.blame(key, format!("set {certificate} as well")),
            _ => {}
        }
    }

    fn dns(&mut self, dispatch: &DispatchConfig) {
        let dns = &dispatch.dns;
        let mut name = |key: &str, name: &str| {
            self.require(is_domain(name), key, format!("expected a domain name, found {name:?}"));
        };
        name("dispatch.dns.domain", &dns.domain);
        name("dispatch.dns.hostmaster", &dns.hostmaster);
        dns.nameservers.iter().for_each(|server| name("dispatch.dns.nameservers", server));
        dns.names.iter().for_each(|further| name("dispatch.dns.names", further));
        self.require(!dns.nameservers.is_empty(), "dispatch.dns.nameservers", "expected one at least");
        let zone = format!(".{}", dns.domain.trim_end_matches('.').to_ascii_lowercase());
        for further in &dns.names {
            let inside = further.trim_end_matches('.').to_ascii_lowercase().ends_with(&zone);
            self.require(inside, "dispatch.dns.names", format!("{further:?} is not in the zone {:?}", dns.domain));
        }
    }

    fn notification(&mut self, config: &Config) {
        let notification = &config.notification;
        self.token("notification.download_url", notification.download_page());
        self.token("notification.info_url", notification.info_page());
        self.require(
            xml_len(notification.info_page()) <= Addressee::MAX_INFO_URL,
            "notification.info_url",
            format!("expected at most {} bytes, where & counts as 5", Addressee::MAX_INFO_URL),
        );
        let dispatch = &config.dispatch;
        let told =
            [dispatch.advertise.unwrap_or(dispatch.listen), notification.advertise.unwrap_or(notification.listen)];
        let serves_others = !told.iter().all(|addr| addr.ip().to_canonical().is_loopback());
        for (key, url) in [("download_url", notification.download_page()), ("info_url", notification.info_page())]
        {
            self.require(
                !(serves_others && is_of_this_machine(url)),
                &format!("notification.{key}"),
                format!(
                    "clients elsewhere would look for {url} on their own machine: name a page that they can reach, or none"
                ),
            );
        }
        self.require(
            notification.identify_secs <= notification.sign_in_secs,
            "notification.identify_secs",
            format!("it is a part of notification.sign_in_secs, {}", notification.sign_in_secs),
        );
    }

    /// A text that stands as it is in a line of the protocol or of HTTP.
    fn token(&mut self, key: &str, text: &str) {
        let clean = text.bytes().all(|byte| byte.is_ascii_graphic());
        self.require(clean, key, "expected printable ASCII without spaces");
    }
}

/// Whether a web address leads whoever opens it to his own machine.
fn is_of_this_machine(url: &str) -> bool {
    let Ok(url) = url.parse::<hyper::Uri>() else { return false };
    let host = url.host().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    let own = |ip: IpAddr| ip.to_canonical().is_loopback() || ip.is_unspecified();
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.ends_with(".localhost") || literal.parse().is_ok_and(own)
}

fn is_domain(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use crate::config::{Given, Program, Sources, collisions, load};

    fn sources(given: &[(&str, &str)]) -> Sources {
        let given = given.iter().map(|(key, value)| Given {
            flag: "--set".into(),
            key: (*key).into(),
            value: (*value).into(),
        });
        Sources { given: given.collect(), ..Sources::default() }
    }

    /// One problem, at that key, whose text holds `what`.
    #[track_caller]
    fn refused(given: &[(&str, &str)], key: &str, what: &str) {
        let problems = load(&sources(given)).unwrap_err().0;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].key.as_deref(), Some(key), "{problems:?}");
        assert!(problems[0].message.contains(what), "{problems:?}");
    }

    #[track_caller]
    fn accepted(given: &[(&str, &str)]) {
        if let Err(error) = load(&sources(given)) {
            panic!("{error}");
        }
    }

    #[test]
    fn clients_are_told_ipv4_addresses_that_they_can_reach() {
        for tier in ["dispatch", "notification", "switchboard"] {
            let (listen, advertise) = (format!("{tier}.listen"), format!("{tier}.advertise"));
            refused(&[(&listen, "[::1]:1")], &listen, "IPv6");
            refused(&[(&advertise, "[2001:db8::1]:1")], &advertise, "IPv6");
            refused(&[(&listen, "0.0.0.0:1")], &listen, &advertise);
            refused(&[(&advertise, "0.0.0.0:1")], &advertise, "nobody can reach");
            refused(&[(&advertise, "192.0.2.1:0")], &advertise, "port");
            accepted(&[(&listen, "[::]:1"), (&advertise, "192.0.2.1:1")]);
            accepted(&[(&listen, "127.0.0.1:0")]);
        }
    }

    #[test]
    fn nodes_are_told_addresses_that_they_can_reach() {
        let gossip = "switchboard.node.gossip";
        refused(&[(gossip, "0.0.0.0:1")], gossip, "switchboard.node.gossip_advertise");
        accepted(&[(gossip, "0.0.0.0:1"), ("switchboard.node.gossip_advertise", "[2001:db8::1]:1")]);
        refused(&[("switchboard.node.peer_advertise", "0.0.0.0:1")], "switchboard.node.peer_advertise", "reach");
    }

    #[test]
    fn clients_of_others_are_named_no_page_of_this_machine() {
        let pages = [
            "http://127.0.0.1:8080/",
            "http://me@LocalHost./x",
            "http://[::1]:80/",
            "https://127.1.2.3",
            "0.0.0.0",
        ];
        let public =
            ["about:blank", "http://example.com/", "https://localhost.example.com/", "http://192.0.2.1/127.0.0.1"];
        for advertise in ["notification.advertise", "dispatch.advertise"].map(|key| (key, "192.0.2.1:1863")) {
            for key in ["notification.download_url", "notification.info_url"] {
                for page in pages {
                    accepted(&[(key, page)]);
                    refused(&[(key, page), advertise], key, "their own machine");
                }
                for page in public {
                    accepted(&[(key, page), advertise]);
                }
            }
            accepted(&[advertise]);
        }
    }

    #[test]
    fn proxies_are_networks_and_headers_need_some() {
        let networks = "proxies.networks";
        accepted(&[(networks, "10.0.0.0/8, 192.0.2.7,2001:db8::/64,::1,::ffff:10.0.0.0/104")]);
        for bad in ["localhost", "10.0.0.0/33", "10.0.0.1:80", "::1/129"] {
            refused(&[(networks, bad)], networks, bad);
        }
        refused(&[(networks, "192.0.2.7,10.0.0.1/8")], networks, "10.0.0.0/8 or 10.0.0.1");
        for key in ["dispatch", "dispatch.http", "dispatch.https", "notification", "switchboard"] {
            let key = format!("{key}.proxy_protocol");
            refused(&[(&key, "true")], &key, networks);
            accepted(&[(&key, "true"), (networks, "127.0.0.1")]);
        }
        for key in ["dispatch.http.forwarded", "dispatch.https.forwarded"] {
            for header in ["x-forwarded-for", "forwarded"] {
                refused(&[(key, header)], key, networks);
                accepted(&[(key, header), (networks, "127.0.0.1")]);
            }
            refused(&[(key, "x-real-ip")], key, "x-forwarded-for");
        }
    }

    #[test]
    fn plain_http_needs_leave_beyond_loopback() {
        let (listen, allow) = ("dispatch.http.listen", "dispatch.http.allow_plain_beyond_loopback");
        refused(&[(listen, "192.0.2.1:80")], listen, allow);
        accepted(&[(listen, "192.0.2.1:80"), (allow, "true")]);
        accepted(&[(listen, "[::1]:80")]);
        refused(&[(listen, "0.0.0.0:80"), (allow, "true")], listen, "da_login");
        for login in ["login.example.com/login2.srf?lc=1033", "login.example.com/login2.srf?lc=1033,"] {
            accepted(&[(listen, "0.0.0.0:80"), (allow, "true"), ("dispatch.http.da_login", login)]);
        }
        refused(&[("dispatch.http.da_login", "x\r\ny")], "dispatch.http.da_login", "ASCII");
        for login in ["login.example.com/,lc=1033", ","] {
            refused(&[("dispatch.http.da_login", login)], "dispatch.http.da_login", "comma");
        }
    }

    #[test]
    fn a_certificate_comes_with_its_key() {
        let (certificate, key) = ("dispatch.https.certificate", "dispatch.https.key");
        refused(&[(certificate, "a.crt")], certificate, key);
        refused(&[(key, "a.key")], key, certificate);
        accepted(&[(certificate, "a.crt"), (key, "a.key")]);
    }

    #[test]
    fn listeners_of_one_process_need_ports_of_their_own() {
        refused(&[("switchboard.node.admin", "127.0.0.1:1865")], "switchboard.node.admin", "switchboard.listen");
        refused(&[("switchboard.listen", "127.0.0.1:1895")], "switchboard.listen", "switchboard.node.admin");
        refused(&[("dispatch.node.gossip", "127.0.0.1:5300")], "dispatch.node.gossip", "dispatch.dns.listen");
        accepted(&[("switchboard.node.admin", "127.0.0.1:0"), ("switchboard.listen", "127.0.0.1:0")]);
        let taken = ("dispatch.http.listen", "127.0.0.1:8443");
        refused(&[taken], "dispatch.http.listen", "dispatch.https.listen");
        accepted(&[taken, ("dispatch.https.enabled", "false")]);

        // Two tiers may use one port, unless they run on one machine.
        let shared = load(&sources(&[("switchboard.listen", "127.0.0.1:1864")])).unwrap();
        let problems = collisions(&shared, Program::Suite);
        assert_eq!(problems.len(), 1);
        assert_eq!(
            problems[0].to_string(),
            "--set: switchboard.listen: 127.0.0.1:1864 collides with \
             notification.listen, 127.0.0.1:1864"
        );
    }

    #[test]
    fn names_are_legal_and_differ() {
        refused(&[("notification.node.id", "a b")], "notification.node.id", "hyphens");
        refused(&[("notification.node.id", "dispatch-1")], "notification.node.id", "dispatch");
        refused(&[("dispatch.dns.domain", "a..b")], "dispatch.dns.domain", "domain name");
        refused(&[("dispatch.dns.names", "login.example.com")], "dispatch.dns.names", "not in the zone");
        accepted(&[("dispatch.dns.names", "gateway.Messenger.hotmail.com.")]);
        refused(&[("dispatch.dns.nameservers", "")], "dispatch.dns.nameservers", "one at least");
    }

    #[test]
    fn the_keys_of_a_store_count_where_it_is_chosen() {
        let kind = ("store.kind", "scylla");
        accepted(&[kind]);
        for (key, bad, what) in [
            ("store.scylla.contact_points", "localhost", "HOST:PORT"),
            ("store.scylla.contact_points", "", "one at least"),
            ("store.scylla.keyspace", "Monarch", "lower-case"),
            ("store.scylla.keyspace", "a;drop", "lower-case"),
            ("store.scylla.keyspace", "a2345678901234567890123456789012345678901", "39"),
            ("store.scylla.replication", "0", "1 to 9"),
            ("store.scylla.replication", "dc1:3,3", "DATACENTER"),
            ("store.scylla.replication", "a'b:3", "DATACENTER"),
            ("store.scylla.user", "me", "store.scylla.password_file"),
            ("store.scylla.password_file", "f", "store.scylla.user"),
            ("store.scylla.tls_key", "f", "store.scylla.tls_certificate"),
        ] {
            refused(&[kind, (key, bad)], key, what);
            accepted(&[(key, bad)]);
        }
        let certificate = ("store.scylla.tls_certificate", "c");
        refused(&[kind, certificate, ("store.scylla.tls_key", "k")], certificate.0, "tls_ca");
        accepted(&[kind, certificate, ("store.scylla.tls_key", "k"), ("store.scylla.tls_ca", "a")]);
        let several = ("store.scylla.replication", "dc1:3, dc-2:2");
        refused(&[kind, several], "store.scylla.datacenter", "quorum");
        accepted(&[kind, several, ("store.scylla.datacenter", "dc1")]);
        accepted(&[kind, several, ("store.scylla.consistency", "quorum")]);
        accepted(&[kind, ("store.scylla.replication", "dc1:3")]);
    }

    #[test]
    fn filters_seeds_and_times_make_sense() {
        refused(&[("log.filter", "inof")], "log.filter", "no level");
        refused(&[("log.filter", "notification=loud")], "log.filter", "");
        accepted(&[("log.filter", "warn,notification=debug,switchboard::relay=trace")]);
        for seed in ["127.0.0.1", "127.0.0.1:0", ":1873", "a b:1"] {
            refused(&[("cluster.seeds", seed)], "cluster.seeds", "HOST:PORT");
        }
        accepted(&[("cluster.seeds", "node.example.com:1873,[::1]:1873")]);
        refused(&[("notification.identify_secs", "61")], "notification.identify_secs", "sign_in_secs");
    }
}
