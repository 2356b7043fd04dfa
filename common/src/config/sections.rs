//! The sections of the configuration, their keys and defaults.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::{Limits, Rates};
use crate::msnp::handshake::NO_PAGE;

/// The whole configuration. Every process reads all of it and uses its part.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Logs.
    pub log: LogConfig,
    /// What the nodes of a deployment have in common.
    pub cluster: ClusterConfig,
    /// Durable data.
    pub store: StoreConfig,
    /// Passwords.
    pub accounts: AccountsConfig,
    /// Bounds on what users may make grow.
    pub limits: Limits,
    /// How often users may do what costs others something.
    pub rates: Rates,
    /// Whom to believe that it passes on the connections of others.
    pub proxies: ProxiesConfig,
    /// The tier that clients meet first.
    pub dispatch: DispatchConfig,
    /// The tier of long connections.
    pub notification: NotificationConfig,
    /// The tier of conversations.
    pub switchboard: SwitchboardConfig,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// What is logged, as `tracing` filters are written: `info`, `info,notification=debug`.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: "info".into(), format: LogFormat::Text }
    }
}

/// `[cluster]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterConfig {
    /// The file of cluster secrets, one a line: the first signs, all verify.
    pub secrets: PathBuf,
    /// Gossip addresses of nodes to ask at start, `host:port`. One's own may be among them.
    pub seeds: Vec<String>,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self { secrets: "data/cluster.secrets".into(), seeds: vec!["127.0.0.1:1873".into()] }
    }
}

/// `[store]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Which store.
    pub kind: StoreKind,
    /// The directory of `accounts.db` and `history.db`, and of each node's `NODE.generation`.
    pub path: PathBuf,
    /// Whether files are made where there are none. No key: a configuration that was loaded has it where `path` is the default, so
    /// that a mistyped one does not pass for an empty deployment.
    #[serde(skip)]
    pub create: bool,
    /// `[store.scylla]`
    pub scylla: ScyllaConfig,
}

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// Files on this host, shared by its processes.
    Sqlite,
    /// ScyllaDB or Apache Cassandra.
    Scylla,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { kind: StoreKind::Sqlite, path: "data".into(), create: true, scylla: ScyllaConfig::default() }
    }
}

/// `[store.scylla]`: used where the kind is `scylla`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScyllaConfig {
    /// Nodes to ask at the start, `host:port`; they tell the others.
    pub contact_points: Vec<String>,
    /// The keyspace of history and rosters; the accounts are in one of the same name with `_accounts` behind it.
    pub keyspace: String,
    /// Copies of each row, for keyspaces that are created: `3`, or `dc1:3,dc2:3`.
    pub replication: String,
    /// How many of them answer before a read or a write has succeeded.
    pub consistency: StoreConsistency,
    /// The datacenter whose nodes are asked; without it those of all are. Where there are several,
    /// [`LocalQuorum`](StoreConsistency::LocalQuorum) needs it.
    pub datacenter: Option<String>,
    /// The user to log in as; without it nobody logs in.
    pub user: Option<String>,
    /// The file whose first line is the user's password.
    pub password_file: Option<PathBuf>,
    /// The file of the certificate authorities that sign the nodes' certificates (PEM). With it TLS is used.
    pub tls_ca: Option<PathBuf>,
    /// The file of this client's certificate (PEM), where the nodes ask for one.
    pub tls_certificate: Option<PathBuf>,
    /// The file of its key (PEM).
    pub tls_key: Option<PathBuf>,
}

/// How many copies answer before a read or a write has succeeded. Fewer than a majority would break what an `ACK`
/// promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreConsistency {
    /// A majority of those in the datacenter.
    LocalQuorum,
    /// A majority of all.
    Quorum,
}

impl Default for ScyllaConfig {
    fn default() -> Self {
        Self {
            contact_points: vec!["127.0.0.1:9042".into()],
            keyspace: "monarch".into(),
            replication: "3".into(),
            consistency: StoreConsistency::LocalQuorum,
            datacenter: None,
            user: None,
            password_file: None,
            tls_ca: None,
            tls_certificate: None,
            tls_key: None,
        }
    }
}

impl ScyllaConfig {
    /// The most bytes of a keyspace's name; both servers take 48.
    pub const MAX_KEYSPACE: usize = 48 - "_accounts".len();

    /// The keyspace of the accounts. They are changed by lightweight transactions, which not every ScyllaDB has
    /// where data is in tablets.
    #[must_use]
    pub fn accounts_keyspace(&self) -> String {
        format!("{}_accounts", self.keyspace)
    }

    /// Whether, among several datacenters, one has to be chosen and is not: a majority of those of one answers, and
    /// nothing says of which.
    #[must_use]
    pub fn needs_datacenter(&self) -> bool {
        self.consistency == StoreConsistency::LocalQuorum && self.datacenter.is_none()
    }

    /// Copies by datacenter, in the order in which they are written; of all datacenters where the name is empty.
    /// Nothing if `replication` can't be read.
    #[must_use]
    pub fn copies(&self) -> Option<Vec<(&str, u8)>> {
        let one = |part| -> Option<(&str, u8)> {
            let (datacenter, copies) = str::rsplit_once(part, ':').unwrap_or(("", part));
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            let copies = copies.trim().parse().ok().filter(|copies| (1..=9).contains(copies))?;
            datacenter.trim().chars().all(legal).then_some((datacenter.trim(), copies))
        };
        let all: Vec<_> = self.replication.split(',').map(one).collect::<Option<_>>()?;
        let named = all.iter().all(|(datacenter, _)| !datacenter.is_empty());
        (named || all.len() == 1).then_some(all)
    }
}

/// `[accounts]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccountsConfig {
    /// The file of the key that seals passwords for MD5 sign-in. Without that file MD5 sign-in is off.
    pub md5_key: PathBuf,
    /// Clients of MSNP2 may send their password in the clear (CTP), for accounts that may sign in by MD5.
    pub clear_text: bool,
    /// Wrong passwords for one account in `wrong_password_window_secs` before strange addresses are refused unchecked.
    pub wrong_passwords: u32,
    /// Wrong passwords for one account from one network from which somebody has signed in to it.
    pub wrong_passwords_known_network: u32,
    /// Wrong passwords from one network over all accounts.
    pub wrong_passwords_per_address: u32,
    /// See `wrong_passwords`.
    pub wrong_password_window_secs: u64,
    /// argon2id memory in KiB.
    pub argon2_memory_kib: u32,
    /// argon2id passes.
    pub argon2_passes: u32,
    /// Hashes computed at once; 0: as many as there are cores.
    pub argon2_parallel: usize,
    /// Sign-ins that may wait for a hash; one more is told that the service is busy.
    pub argon2_waiting: usize,
}

impl Default for AccountsConfig {
    fn default() -> Self {
        Self {
            md5_key: "data/md5.key".into(),
            clear_text: false,
            wrong_passwords: 10,
            wrong_passwords_known_network: 100,
            wrong_passwords_per_address: 100,
            wrong_password_window_secs: 600,
            argon2_memory_kib: 19 * 1024,
            argon2_passes: 2,
            argon2_parallel: 0,
            argon2_waiting: 256,
        }
    }
}

/// `[proxies]`
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProxiesConfig {
    /// Networks, or single addresses, of proxies and load balancers before the clients' ports. Nobody else is believed.
    pub networks: Vec<String>,
}

/// The header line in which a proxy says whose request it passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForwardedHeader {
    /// None is believed.
    #[default]
    None,
    /// `X-Forwarded-For`
    XForwardedFor,
    /// `Forwarded` (RFC 7239)
    Forwarded,
}

/// Where one process listens and how others reach it: the keys that every tier's section has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The node's name, unique in the deployment.
    pub id: String,
    /// Gossip, UDP.
    pub gossip: SocketAddr,
    /// The gossip address that others use, if not `gossip`.
    #[serde(default)]
    pub gossip_advertise: Option<SocketAddr>,
    /// Peer links, TCP.
    pub peer: SocketAddr,
    /// The peer address that others use, if not `peer`.
    #[serde(default)]
    pub peer_advertise: Option<SocketAddr>,
    /// `/healthz`, `/readyz`, `/metrics`, and orders of operators who have the cluster secrets.
    pub admin: SocketAddr,
    /// The names by which `admin` may be asked, besides IP addresses and `localhost`.
    #[serde(default)]
    pub admin_names: Vec<String>,
}

/// `[dispatch]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DispatchConfig {
    /// Clients, TCP.
    pub listen: SocketAddr,
    /// The client address that others are told, if not `listen`.
    pub advertise: Option<SocketAddr>,
    /// Connections from `proxies.networks` begin with a PROXY header that says whose they are.
    pub proxy_protocol: bool,
    /// `[dispatch.node]`
    pub node: NodeConfig,
    /// `[dispatch.http]`
    pub http: HttpConfig,
    /// `[dispatch.https]`
    pub https: HttpsConfig,
    /// `[dispatch.dns]`
    pub dns: DnsConfig,
    /// Connections at once from one address.
    pub connections_per_address: usize,
    /// Connections at once.
    pub connections: usize,
}

impl Default for DispatchConfig {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 1863).into(),
            advertise: None,
            proxy_protocol: false,
            node: NodeConfig {
                id: "dispatch-1".into(),
                gossip: ([127, 0, 0, 1], 1873).into(),
                gossip_advertise: None,
                peer: ([127, 0, 0, 1], 1883).into(),
                peer_advertise: None,
                admin: ([127, 0, 0, 1], 1893).into(),
                admin_names: Vec::new(),
            },
            http: HttpConfig::default(),
            https: HttpsConfig::default(),
            dns: DnsConfig::default(),
            connections_per_address: 256,
            connections: 8192,
        }
    }
}

/// `[dispatch.http]`: sign-in for clients from MSN Messenger 5 on.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Plain HTTP.
    pub listen: SocketAddr,
    /// Connections from `proxies.networks` begin with a PROXY header that says whose they are.
    pub proxy_protocol: bool,
    /// Where requests that come from `proxies.networks` say whose they are.
    pub forwarded: ForwardedHeader,
    /// Passwords in the clear may cross a network. Without it `listen` must be a loopback address.
    pub allow_plain_beyond_loopback: bool,
    /// What follows `DALogin=` in the nexus' answer; without it `http://LISTEN/login2.srf?lc=1033`, or over TLS
    /// `HOST/login2.srf?lc=1033` with the name that the client asked for. A comma at its end is taken off.
    pub da_login: Option<String>,
    /// How long a sign-in ticket opens a notification server.
    pub ticket_secs: u64,
    /// Connections at once from one address; as many again by HTTPS.
    pub connections_per_address: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 8080).into(),
            proxy_protocol: false,
            forwarded: ForwardedHeader::None,
            allow_plain_beyond_loopback: false,
            da_login: None,
            ticket_secs: 3600,
            connections_per_address: 256,
        }
    }
}

/// `[dispatch.https]`: the same over TLS 1.2 and 1.3.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpsConfig {
    /// Whether it is served.
    pub enabled: bool,
    /// HTTPS, TCP.
    pub listen: SocketAddr,
    /// Connections from `proxies.networks` begin with a PROXY header that says whose they are.
    pub proxy_protocol: bool,
    /// Where requests that come from `proxies.networks` say whose they are.
    pub forwarded: ForwardedHeader,
    /// The certificate chain, PEM, the server's own first. With `key`; without both a development certificate is made.
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM.
    pub key: Option<PathBuf>,
    /// The directory of the development certificate, `development.crt` and `development.key`.
    pub development: PathBuf,
}

impl Default for HttpsConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: ([127, 0, 0, 1], 8443).into(),
            proxy_protocol: false,
            forwarded: ForwardedHeader::None,
            certificate: None,
            key: None,
            development: "data".into(),
        }
    }
}

/// `[dispatch.dns]`: the authority for the login host.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct DnsConfig {
    /// UDP and TCP.
    pub listen: SocketAddr,
    /// The zone; its apex answers with the live dispatch nodes.
    pub domain: String,
    /// Further names of that zone that answer the same.
    pub names: Vec<String>,
    /// The name servers of the zone: the first is the primary one of the SOA record.
    pub nameservers: Vec<String>,
    /// The mailbox of the SOA record, as a domain name.
    pub hostmaster: String,
    /// Seconds that an answer may be kept.
    pub ttl_secs: u32,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 5300).into(),
            domain: "messenger.hotmail.com".into(),
            names: Vec::new(),
            nameservers: vec!["ns1.messenger.hotmail.com".into()],
            hostmaster: "hostmaster.messenger.hotmail.com".into(),
            ttl_secs: 10,
        }
    }
}

/// `[notification]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct NotificationConfig {
    /// Clients, TCP, IPv4.
    pub listen: SocketAddr,
    /// The client address that others are told, if not `listen`.
    pub advertise: Option<SocketAddr>,
    /// Connections from `proxies.networks` begin with a PROXY header that says whose they are.
    pub proxy_protocol: bool,
    /// `[notification.node]`
    pub node: NodeConfig,
    /// Sessions it is meant to carry.
    pub capacity: u64,
    /// Sign-ins per second it admits; 0: no bound.
    pub sign_ins_per_second: u64,
    /// Connections at once from one address.
    pub connections_per_address: usize,
    /// Seconds from the connection to `USR … I`.
    pub identify_secs: u64,
    /// Seconds from the connection to `USR … OK`.
    pub sign_in_secs: u64,
    /// Seconds that contacts do not see an abrupt disconnect.
    pub grace_secs: u64,
    /// Seconds that contacts do not see an orderly end of the connection without `OUT`.
    pub close_grace_secs: u64,
    /// Seconds at most between two comparisons of what sessions show with what a node has to be seen.
    pub repair_secs: u64,
    /// Seconds that `QNG` tells the client to wait until its next `PNG`.
    pub ping_secs: u64,
    /// Seconds between challenges; 0: none is sent.
    pub challenge_interval_secs: u64,
    /// Seconds to answer a challenge.
    pub challenge_secs: u64,
    /// An unanswered challenge ends the session; otherwise it is only logged.
    pub challenge_close_unanswered: bool,
    /// A wrong answer is 540 and the end; otherwise it is only logged.
    pub challenge_close_wrong: bool,
    /// Seconds that a cookie for a switchboard opens it; at most 120.
    pub cookie_secs: u64,
    /// `RMG` of a group with contacts in it is 226; otherwise they leave the group.
    pub keep_populated_groups: bool,
    /// Clients are told after their first `CHG` how much mail they have: none, since there is no mail service.
    pub mail_notification: bool,
    /// The web address that `CVR` names for a download.
    pub download_url: Option<String>,
    /// The web address that `CVR` names for information, and that a click on an operators' bulletin opens.
    pub info_url: Option<String>,
}

impl NotificationConfig {
    /// The page that is named for a download, or none.
    #[must_use]
    pub fn download_page(&self) -> &str {
        self.download_url.as_deref().unwrap_or(NO_PAGE)
    }

    /// The page that is named for information, or none.
    #[must_use]
    pub fn info_page(&self) -> &str {
        self.info_url.as_deref().unwrap_or(NO_PAGE)
    }
}

impl Default for NotificationConfig {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 1864).into(),
            advertise: None,
            proxy_protocol: false,
            node: NodeConfig {
                id: "notification-1".into(),
                gossip: ([127, 0, 0, 1], 1874).into(),
                gossip_advertise: None,
                peer: ([127, 0, 0, 1], 1884).into(),
                peer_advertise: None,
                admin: ([127, 0, 0, 1], 1894).into(),
                admin_names: Vec::new(),
            },
            capacity: 15_000,
            sign_ins_per_second: 0,
            connections_per_address: 256,
            identify_secs: 15,
            sign_in_secs: 60,
            grace_secs: 10,
            close_grace_secs: 2,
            repair_secs: 30,
            ping_secs: 50,
            challenge_interval_secs: 1800,
            challenge_secs: 50,
            challenge_close_unanswered: false,
            challenge_close_wrong: true,
            cookie_secs: 120,
            keep_populated_groups: false,
            mail_notification: true,
            download_url: None,
            info_url: None,
        }
    }
}

/// `[switchboard]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct SwitchboardConfig {
    /// Clients, TCP, IPv4.
    pub listen: SocketAddr,
    /// The client address that others are told, if not `listen`.
    pub advertise: Option<SocketAddr>,
    /// Connections from `proxies.networks` begin with a PROXY header that says whose they are.
    pub proxy_protocol: bool,
    /// `[switchboard.node]`
    pub node: NodeConfig,
    /// Participants it is meant to carry.
    pub capacity: u64,
    /// Connections at once from one address.
    pub connections_per_address: usize,
    /// Seconds from the connection to `USR` or `ANS`.
    pub authenticate_secs: u64,
    /// Seconds without a byte from any participant after which a conversation ends; 0: never.
    pub idle_secs: u64,
    /// Seconds that an invitation's cookie opens the conversation; at most 120.
    pub cookie_secs: u64,
    /// Seconds that somebody has to answer the ring of messages that were kept; at most 120.
    pub kept_secs: u64,
}

impl Default for SwitchboardConfig {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 1865).into(),
            advertise: None,
            proxy_protocol: false,
            node: NodeConfig {
                id: "switchboard-1".into(),
                gossip: ([127, 0, 0, 1], 1875).into(),
                gossip_advertise: None,
                peer: ([127, 0, 0, 1], 1885).into(),
                peer_advertise: None,
                admin: ([127, 0, 0, 1], 1895).into(),
                admin_names: Vec::new(),
            },
            capacity: 15_000,
            connections_per_address: 256,
            authenticate_secs: 60,
            idle_secs: 300,
            cookie_secs: 120,
            kept_secs: 60,
        }
    }
}
