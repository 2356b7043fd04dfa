//! The table of settings: every key with the kind of its value and a line of help.
//!
//! Flags and variables follow from the key. The structures in `sections` are the truth about what there is; a test
//! proves that this table says the same.

use std::sync::LazyLock;

use super::Program;
use super::kind::Kind;
use crate::msnp::verbs::PERSONAL_MESSAGE;

/// One key of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its full name: `notification.node.gossip`.
    pub key: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it is for, in a line.
    pub help: &'static str,
}

const fn setting(key: &'static str, kind: Kind, help: &'static str) -> Setting {
    Setting { key, kind, help }
}

const fn count(unit: &'static str) -> Kind {
    Kind::Number { least: 1, most: 1_000_000_000, unit }
}

const fn seconds(least: u64, most: u64) -> Kind {
    Kind::Number { least, most, unit: "seconds" }
}

const fn bytes(most: u64) -> Kind {
    Kind::Number { least: 1, most, unit: "bytes" }
}

const DAY: u64 = 24 * 60 * 60;

/// The keys that every tier has.
macro_rules! tier {
    ($tier:literal) => {
        &[
            setting(concat!($tier, ".listen"), Kind::Address, "Where clients connect, TCP"),
            setting(
                concat!($tier, ".advertise"),
                Kind::Address,
                "The address that clients are sent to, if it is not the one listened on; IPv4",
            ),
            setting(concat!($tier, ".proxy_protocol"), Kind::Switch, PROXY_HELP),
            setting(concat!($tier, ".node.id"), Kind::Text, "The node's name, unique in the deployment"),
            setting(concat!($tier, ".node.gossip"), Kind::Address, "Gossip between the nodes, UDP"),
            setting(
                concat!($tier, ".node.gossip_advertise"),
                Kind::Address,
                "The gossip address that the other nodes use, if it is another",
            ),
            setting(concat!($tier, ".node.peer"), Kind::Address, "Links between the nodes, TCP"),
            setting(
                concat!($tier, ".node.peer_advertise"),
                Kind::Address,
                "The address that the other nodes' links use, if it is another",
            ),
            setting(
                concat!($tier, ".node.admin"),
                Kind::Address,
                "/healthz, /readyz and /metrics, operators' orders; HTTP",
            ),
            setting(
                concat!($tier, ".node.admin_names"),
                Kind::Texts,
                "The names by which admin may be asked, besides IP addresses and localhost",
            ),
        ]
    };
}

const COMMON: &[Setting] = &[
    setting("log.filter", Kind::Text, "What is logged: a level, or `info,notification=debug`"),
    setting("log.format", Kind::Choice(&["text", "json"]), "How a log line looks"),
    setting("cluster.secrets", Kind::Path, "The file of cluster secrets: the first signs, all verify"),
    setting("cluster.seeds", Kind::Texts, "Gossip addresses to ask for the other nodes at the start, HOST:PORT"),
    setting("store.kind", Kind::Choice(&["sqlite", "scylla"]), "Which store"),
    setting("store.path", Kind::Path, "The directory of accounts.db and history.db"),
    setting("store.scylla.contact_points", Kind::Texts, "CQL nodes to ask at the start, HOST:PORT"),
    setting("store.scylla.keyspace", Kind::Text, "The keyspace; accounts are in one with _accounts behind it"),
    setting("store.scylla.replication", Kind::Text, "Copies of each row in new keyspaces: 3, or dc1:3,dc2:3"),
    setting(
        "store.scylla.consistency",
        Kind::Choice(&["local_quorum", "quorum"]),
        "How many copies answer before a read or a write has succeeded",
    ),
    setting("store.scylla.datacenter", Kind::Text, "The datacenter whose nodes are asked"),
    setting("store.scylla.user", Kind::Text, "The user to log in as"),
    setting("store.scylla.password_file", Kind::Path, "The file whose first line is the user's password"),
    setting("store.scylla.tls_ca", Kind::Path, "Certificate authorities of the nodes, PEM; with it TLS is used"),
    setting("store.scylla.tls_certificate", Kind::Path, "This client's certificate, PEM"),
    setting("store.scylla.tls_key", Kind::Path, "The key of that certificate, PEM"),
];

const PROXY_HELP: &str = "Connections from proxies.networks begin with a PROXY header";

const PROXIES: &[Setting] = &[setting(
    "proxies.networks",
    Kind::Texts,
    "Networks of proxies that are believed whose connections they pass on: 10.0.0.0/8, 192.0.2.7, 2001:db8::/64",
)];

const FORWARDED: Kind = Kind::Choice(&["none", "x-forwarded-for", "forwarded"]);
const FORWARDED_HELP: &str = "Where requests from proxies.networks say whose they are";

const ACCOUNTS: &[Setting] = &[
    setting(
        "accounts.md5_key",
        Kind::Path,
        "The key that seals passwords for MD5 sign-in; no file: no MD5 sign-in",
    ),
    setting("accounts.clear_text", Kind::Switch, "MSNP2 clients may send their password in the clear (CTP)"),
    setting("accounts.wrong_passwords", count("attempts"), "Wrong passwords before strange addresses are refused"),
    setting(
        "accounts.wrong_passwords_known_network",
        count("attempts"),
        "Wrong passwords from an address that has signed in to the account before it is refused too",
    ),
    setting(
        "accounts.wrong_passwords_per_address",
        count("attempts"),
        "Wrong passwords from one address over all accounts",
    ),
    setting("accounts.wrong_password_window_secs", seconds(1, 7 * DAY), "How long a wrong password counts"),
    setting(
        "accounts.argon2_memory_kib",
        Kind::Number { least: 8, most: 4 * 1024 * 1024, unit: "KiB" },
        "Memory of one argon2id hash",
    ),
    setting(
        "accounts.argon2_passes",
        Kind::Number { least: 1, most: 1000, unit: "passes" },
        "Passes of one argon2id hash",
    ),
    setting(
        "accounts.argon2_parallel",
        Kind::Number { least: 0, most: 1024, unit: "hashes" },
        "Hashes computed at once; 0: one a core",
    ),
    setting("accounts.argon2_waiting", count("sign-ins"), "Sign-ins that may wait for a hash"),
];

const LIMITS: &[Setting] = &[
    setting("limits.forward_list", count("contacts"), "Contacts on a forward list"),
    setting("limits.allow_list", count("contacts"), "Entries on an allow list"),
    setting("limits.block_list", count("contacts"), "Entries on a block list"),
    setting("limits.reverse_list", count("contacts"), "Entries on a reverse list"),
    setting("limits.groups", Kind::Number { least: 1, most: 10_000, unit: "groups" }, "Groups of an account"),
    setting("limits.group_name", bytes(1024), "A group's name, encoded"),
    setting(
        "limits.friendly_name_chars",
        Kind::Number { least: 1, most: 1024, unit: "characters" },
        "A friendly name, in characters",
    ),
    setting("limits.friendly_name", bytes(4096), "A friendly name, encoded"),
    setting("limits.personal_message", bytes(PERSONAL_MESSAGE as u64), "A personal message"),
    setting("limits.phone", bytes(1024), "A phone number, encoded"),
    setting("limits.object", bytes(8192), "An MSN object, encoded"),
    setting("limits.message", bytes(64 * 1024), "A message of a conversation, its headers included"),
    setting("limits.participants", count("participants"), "Members of one conversation"),
    setting("limits.failed_calls", count("calls"), "Failing calls in a row that are answered"),
    setting(
        "limits.stored_kib_per_day",
        Kind::Number { least: 0, most: 1 << 40, unit: "KiB" },
        "Messages kept of an account in a day by one switchboard; 0: no bound",
    ),
    setting(
        "limits.free_disk_mib",
        Kind::Number { least: 0, most: 1 << 40, unit: "MiB" },
        "Free disk below which no message is kept; 0: none",
    ),
];

/// A bucket that holds so many; 0 is no bound.
const fn burst(unit: &'static str) -> Kind {
    Kind::Number { least: 0, most: 1_000_000, unit }
}

const fn per_minute(unit: &'static str) -> Kind {
    Kind::Number { least: 1, most: 1_000_000, unit }
}

const RATES: &[Setting] = &[
    setting("rates.sign_in_burst", burst("sign-ins"), "Sign-ins of an account at once; 0: no bound"),
    setting("rates.sign_in_per_minute", per_minute("sign-ins"), "And then so many a minute"),
    setting("rates.command_burst", burst("commands"), "Commands of an account at once; 0: no bound"),
    setting("rates.command_per_minute", per_minute("commands"), "And then so many a minute"),
    setting("rates.status_burst", burst("changes"), "Changes of status or personal message at once; 0: no bound"),
    setting("rates.status_per_minute", per_minute("changes"), "And then so many a minute"),
    setting("rates.name_burst", burst("changes"), "Changes of one's own name at once; 0: no bound"),
    setting("rates.name_per_minute", per_minute("changes"), "And then so many a minute"),
    setting("rates.contact_name_burst", burst("changes"), "Names given to contacts at once; 0: no bound"),
    setting("rates.contact_name_per_minute", per_minute("changes"), "And then so many a minute"),
    setting("rates.list_burst", burst("edits"), "Edits of lists, groups and properties at once; 0: no bound"),
    setting("rates.list_per_minute", per_minute("edits"), "And then so many a minute"),
    setting("rates.chat_burst", burst("conversations"), "Conversations opened at once; 0: no bound"),
    setting("rates.chat_per_minute", per_minute("conversations"), "And then so many a minute"),
    setting("rates.call_burst", burst("calls"), "Calls of a participant at once; 0: no bound"),
    setting("rates.call_per_minute", per_minute("calls"), "And then so many a minute"),
    setting("rates.ring_burst", burst("rings"), "Rings of one caller to one who is called at once; 0: no bound"),
    setting("rates.ring_per_minute", per_minute("rings"), "And then so many a minute"),
    setting("rates.message_burst", burst("messages"), "Messages of a principal at once; 0: no bound"),
    setting("rates.message_per_minute", per_minute("messages"), "And then so many a minute"),
    setting("rates.message_kib_burst", burst("KiB"), "Bytes of a principal's messages at once; 0: no bound"),
    setting("rates.message_kib_per_minute", per_minute("KiB"), "And then so many a minute"),
    setting("rates.stored_burst", burst("messages"), "Messages of a principal that are kept at once; 0: no bound"),
    setting("rates.stored_per_minute", per_minute("messages"), "And then so many a minute"),
];

const DISPATCH: &[Setting] = &[
    setting("dispatch.connections_per_address", count("connections"), "Connections at once from one address"),
    setting("dispatch.connections", count("connections"), "Connections at once"),
    setting("dispatch.http.listen", Kind::Address, "Sign-in by HTTP, TCP"),
    setting(
        "dispatch.http.allow_plain_beyond_loopback",
        Kind::Switch,
        "Passwords in the clear may cross a network: plain HTTP on addresses that are not loopback",
    ),
    setting("dispatch.http.proxy_protocol", Kind::Switch, PROXY_HELP),
    setting("dispatch.http.forwarded", FORWARDED, FORWARDED_HELP),
    setting("dispatch.http.da_login", Kind::Text, "What follows `DALogin=` in the nexus' answer"),
    setting("dispatch.http.ticket_secs", seconds(1, 30 * DAY), "How long a sign-in ticket is good"),
    setting("dispatch.http.connections_per_address", count("connections"), "HTTP connections from one address"),
    setting("dispatch.https.enabled", Kind::Switch, "Sign-in by HTTPS is served"),
    setting("dispatch.https.listen", Kind::Address, "Sign-in by HTTPS, TCP"),
    setting("dispatch.https.proxy_protocol", Kind::Switch, PROXY_HELP),
    setting("dispatch.https.forwarded", FORWARDED, FORWARDED_HELP),
    setting(
        "dispatch.https.certificate",
        Kind::Path,
        "The certificate chain, PEM; without it a development certificate is made",
    ),
    setting("dispatch.https.key", Kind::Path, "The private key of the certificate, PEM"),
    setting("dispatch.https.development", Kind::Path, "The directory of the development certificate"),
    setting("dispatch.dns.listen", Kind::Address, "DNS, UDP and TCP"),
    setting("dispatch.dns.domain", Kind::Text, "The zone, the name under which clients look for dispatch"),
    setting("dispatch.dns.names", Kind::Texts, "Further names of that zone that answer the same"),
    setting("dispatch.dns.nameservers", Kind::Texts, "The name servers of the zone, the primary one first"),
    setting("dispatch.dns.hostmaster", Kind::Text, "The mailbox of the SOA record, as a domain name"),
    setting("dispatch.dns.ttl_secs", seconds(0, DAY), "How long a DNS answer may be kept"),
];

const NOTIFICATION: &[Setting] = &[
    setting("notification.capacity", count("sessions"), "Sessions that it is meant to carry"),
    setting(
        "notification.sign_ins_per_second",
        Kind::Number { least: 0, most: 1_000_000, unit: "sign-ins" },
        "Sign-ins that it admits each second; 0: no bound",
    ),
    setting("notification.connections_per_address", count("connections"), "Connections at once from one address"),
    setting("notification.identify_secs", seconds(1, DAY), "From the connection to `USR … I`"),
    setting("notification.sign_in_secs", seconds(1, DAY), "From the connection to the end of the sign-in"),
    setting("notification.grace_secs", seconds(0, DAY), "How long contacts don't see an abrupt disconnect"),
    setting("notification.close_grace_secs", seconds(0, DAY), "How long they don't see that a client has closed"),
    setting(
        "notification.repair_secs",
        seconds(1, 3600),
        "How often it is looked whether contacts are shown wrong",
    ),
    setting("notification.ping_secs", seconds(1, DAY), "What `QNG` tells a client to wait until its next `PNG`"),
    setting("notification.challenge_interval_secs", seconds(0, 30 * DAY), "Time between challenges; 0: none"),
    setting("notification.challenge_secs", seconds(1, DAY), "Time to answer a challenge"),
    setting("notification.challenge_close_unanswered", Kind::Switch, "An unanswered challenge ends the session"),
    setting("notification.challenge_close_wrong", Kind::Switch, "A wrong answer to a challenge ends the session"),
    setting("notification.cookie_secs", seconds(1, 120), "How long a cookie opens a switchboard"),
    setting("notification.keep_populated_groups", Kind::Switch, "A group with contacts in it can't be removed"),
    setting("notification.mail_notification", Kind::Switch, "Clients are told that they have no mail"),
    setting("notification.download_url", Kind::Text, "The web address that `CVR` names for a download"),
    setting("notification.info_url", Kind::Text, "The web address that `CVR` and bulletins name for information"),
];

const SWITCHBOARD: &[Setting] = &[
    setting("switchboard.capacity", count("participants"), "Participants that it is meant to carry"),
    setting("switchboard.connections_per_address", count("connections"), "Connections at once from one address"),
    setting("switchboard.authenticate_secs", seconds(1, DAY), "From the connection to `USR` or `ANS`"),
    setting("switchboard.idle_secs", seconds(0, 30 * DAY), "Silence after which a conversation ends; 0: never"),
    setting("switchboard.cookie_secs", seconds(1, 120), "How long an invitation's cookie opens the conversation"),
    setting("switchboard.kept_secs", seconds(1, 120), "Time to answer the ring of messages that were kept"),
];

/// All settings, section by section.
pub static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    let tiers: [&[Setting]; 6] =
        [tier!("dispatch"), DISPATCH, tier!("notification"), NOTIFICATION, tier!("switchboard"), SWITCHBOARD];
    [&[COMMON, PROXIES, ACCOUNTS, LIMITS, RATES][..], &tiers[..]].concat().concat()
});

/// Whether a variable begins like a setting's and is none: the configuration file, and what scripts and tests are told
/// of a CQL server. Others are mistakes.
pub(super) fn is_no_setting(variable: &str) -> bool {
    variable == super::CONFIG_VARIABLE || variable == "MONARCH_CQL" || variable.starts_with("MONARCH_CQL_")
}

/// The setting of that name.
pub(super) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

/// The names that may stand directly in a section (or at the top, for an empty name), each once.
pub(super) fn names_in(section: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for setting in SETTINGS.iter() {
        let rest = if section.is_empty() {
            Some(setting.key)
        } else {
            setting.key.strip_prefix(section).and_then(|rest| rest.strip_prefix('.'))
        };
        let name = rest.map(|rest| rest.split('.').next().unwrap_or(rest));
        names.extend(name.filter(|name| !names.contains(name)));
    }
    names
}

impl Setting {
    /// The section that it stands in: `notification.node`.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.key.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// Its name within the section.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.key.rsplit_once('.').map_or(self.key, |(_, name)| name)
    }

    /// The variable that sets it: `MONARCH_NOTIFICATION_NODE_GOSSIP`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("MONARCH_{}", self.key.replace('.', "_").to_ascii_uppercase())
    }

    /// The flag that sets it, without its dashes. A tier leaves out the name of its own section: `node-gossip`.
    #[must_use]
    pub fn flag(&self, program: Program) -> String {
        let own = format!("{}.", program.as_str());
        self.key.strip_prefix(&own).unwrap_or(self.key).replace(['.', '_'], "-")
    }

    /// Whether the program reads it.
    #[must_use]
    pub fn concerns(&self, program: Program) -> bool {
        let top = self.key.split('.').next().unwrap_or(self.key);
        match top {
            "dispatch" | "notification" | "switchboard" => program == Program::Suite || top == program.as_str(),
            "accounts" => program != Program::Switchboard,
            "limits" | "rates" => program != Program::Dispatch,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Deserialize;

    use super::*;
    use crate::config::Config;

    /// The names that serde knows in a section: those that its complaint about an unknown one lists.
    fn names_in_structures(section: &str) -> BTreeSet<String> {
        let mut table = toml::Table::try_from(Config::default()).unwrap();
        let place = section
            .split('.')
            .filter(|name| !name.is_empty())
            .fold(&mut table, |table, name| table.get_mut(name).and_then(toml::Value::as_table_mut).unwrap());
        place.insert("no-such-key".into(), true.into());
        let error = Config::deserialize(table).unwrap_err();
        let (_, expected) = error.message().split_once("expected").expect("serde lists the names");
        expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_table_has_exactly_the_keys_of_the_structures() {
        let sections: BTreeSet<_> = SETTINGS.iter().map(Setting::section).collect();
        for section in sections.into_iter().chain([""]) {
            let known: BTreeSet<_> = names_in(section).into_iter().map(str::to_owned).collect();
            assert_eq!(known, names_in_structures(section), "[{section}]");
        }
    }

    #[test]
    fn every_default_is_of_its_kind() {
        let defaults = toml::Value::try_from(Config::default()).unwrap();
        let addresses = ["advertise", "gossip_advertise", "peer_advertise", "da_login", "certificate", "key"];
        let servers = ["datacenter", "user", "password_file", "tls_ca", "tls_certificate", "tls_key"];
        let pages = ["download_url", "info_url"];
        let optional = [&addresses[..], &servers[..], &pages[..]].concat();
        for setting in SETTINGS.iter() {
            let value = setting.key.split('.').try_fold(&defaults, |value, name| value.get(name));
            match value {
                Some(value) => assert!(setting.kind.accepts(value), "{}: {value}", setting.key),
                None => assert!(optional.contains(&setting.name()), "{} has no default", setting.key),
            }
        }
    }

    #[test]
    fn a_personal_message_may_not_be_longer_than_what_is_read_of_one() {
        let kind = find("limits.personal_message").unwrap().kind;
        assert!(kind.read("4096").is_some() && kind.read("4097").is_none());
        assert_eq!(kind.expected(), "a whole number of bytes from 1 to 4096");
    }

    #[test]
    fn no_two_settings_share_a_name() {
        let variables: BTreeSet<_> = SETTINGS.iter().map(Setting::variable).collect();
        assert_eq!(variables.len(), SETTINGS.len());
        for program in Program::ALL {
            let flags: Vec<_> = SETTINGS.iter().filter(|s| s.concerns(program)).map(|s| s.flag(program)).collect();
            let distinct: BTreeSet<_> = flags.iter().collect();
            assert_eq!(distinct.len(), flags.len(), "{program:?}");
            assert!(!flags.iter().any(|flag| ["config", "set", "check", "print-config"].contains(&flag.as_str())));
        }
    }

    #[test]
    fn names_follow_from_the_key() {
        let gossip = find("notification.node.gossip").unwrap();
        assert_eq!(gossip.variable(), "MONARCH_NOTIFICATION_NODE_GOSSIP");
        assert_eq!(gossip.flag(Program::Notification), "node-gossip");
        assert_eq!(gossip.flag(Program::Suite), "notification-node-gossip");
        assert!(!gossip.concerns(Program::Dispatch));
    }
}
