//! The tables, and the steps in which they came about.

use super::server::Server;
use crate::config::ScyllaConfig;

/// The version that this program knows: the number of steps.
pub(super) const VERSION: i32 = STEPS.len() as i32;

/// When the server that was asked for a row asks one more replica, besides the majority. By themselves servers wait for
/// as long as such reads have taken of late, and for a table that is seldom read half of their time-out, 2.5 s: until
/// they have noticed that a node is gone, every second sign-in would wait so long for each of its reads.
const READS: &str = "speculative_retry = '100ms'";

/// For tables that are read by key.
const BY_KEY: &str = "WITH {reads} AND compaction = {'class': 'LeveledCompactionStrategy'}";

/// What each version adds to the one before. A step may be taken again when it was cut short: each statement says
/// `IF NOT EXISTS` or `IF EXISTS`. `{k}`: the keyspace; `{a}`: that of the accounts; `{reads}`, `{by_key}`: see above; `{history}`: how
/// history's files are merged.
const STEPS: &[&[&str]] = &[&[
    // Accounts and the store's own row: what lightweight transactions change, and nothing else.
    "CREATE TABLE IF NOT EXISTS {a}.store (one int PRIMARY KEY, id uuid) WITH {reads}",
    "CREATE TABLE IF NOT EXISTS {a}.accounts (passport text PRIMARY KEY, claim uuid, credential_epoch bigint,
        password_hash text, sealed_password blob, created bigint, first_name text) WITH {reads}",
    // Where every process writes now and then, to see whether it can.
    "CREATE TABLE IF NOT EXISTS {k}.checks (process uuid PRIMARY KEY, at bigint)",
    // All accounts by name, in shards of which each is in order. A row may be there without its account.
    "CREATE TABLE IF NOT EXISTS {k}.account_names (shard int, passport text, listed boolean,
        PRIMARY KEY (shard, passport)) {by_key}",
    "CREATE TABLE IF NOT EXISTS {k}.last_active (passport text PRIMARY KEY, at bigint)
        {by_key}",
    // What an owner has set; an empty cell: as the account was created.
    "CREATE TABLE IF NOT EXISTS {k}.settings (owner text PRIMARY KEY, friendly_name text, strangers tinyint,
        add_prompt tinyint, list_version bigint, lists_changed bigint, settings_changed bigint,
        reverse_digest bigint, properties map<text, text>) {by_key}",
    // One cell for each list, so that two sides never overwrite one another; an empty one is off.
    "CREATE TABLE IF NOT EXISTS {k}.roster (owner text, contact text, on_forward boolean, on_allow boolean, on_block boolean,
        on_reverse boolean, on_pending boolean, label text, own_name text, groups set<uuid>, properties map<text, text>,
        PRIMARY KEY (owner, contact)) {by_key}",
    "CREATE TABLE IF NOT EXISTS {k}.groups (owner text, group_id uuid, number int, name text,
        PRIMARY KEY (owner, group_id)) {by_key}",
    // Immutable rows. A bucket is named by its start, in milliseconds since 1970.
    "CREATE TABLE IF NOT EXISTS {k}.messages (channel_id uuid, bucket bigint, message_id uuid, conversation uuid,
        sender text, kind tinyint, payload blob, meant_for frozen<list<uuid>>,
        PRIMARY KEY ((channel_id, bucket), message_id)) WITH CLUSTERING ORDER BY (message_id ASC) AND {reads}{history}",
    // A row for each process that writes to a bucket, and when it stopped.
    "CREATE TABLE IF NOT EXISTS {k}.channel_buckets (channel_id uuid, bucket bigint, writer uuid, stopped bigint,
        PRIMARY KEY (channel_id, bucket, writer)) {by_key}",
    "CREATE TABLE IF NOT EXISTS {k}.channel_members (channel_id uuid, passport text, since uuid,
        PRIMARY KEY (channel_id, passport)) {by_key}",
    "CREATE TABLE IF NOT EXISTS {k}.channels_of (passport text, channel_id uuid, since uuid, last_read uuid,
        PRIMARY KEY (passport, channel_id)) {by_key}",
    // A row without a switchboard is a cursor that came too late.
    "CREATE TABLE IF NOT EXISTS {k}.participations (passport text, participation uuid, conversation uuid,
        switchboard text, generation bigint, channels set<uuid>, live_cursor uuid, offline_cursor uuid,
        closed boolean, PRIMARY KEY (passport, participation))
        {by_key}",
], &[
    // Rows end by themselves; read from the watermark on.
    "CREATE TABLE IF NOT EXISTS {k}.inbox (passport text, week bigint, inbox_id uuid, message_id uuid, sender text,
        payload blob, PRIMARY KEY ((passport, week), inbox_id)) WITH CLUSTERING ORDER BY (inbox_id ASC) AND {reads}",
    "CREATE TABLE IF NOT EXISTS {k}.inbox_watermarks (passport text PRIMARY KEY, watermark uuid) {by_key}",
], &[
    // A row for each life of a node; the last comes first. Rows end by themselves.
    "CREATE TABLE IF NOT EXISTS {k}.heartbeats (node text, generation bigint, beats bigint,
        PRIMARY KEY (node, generation)) WITH CLUSTERING ORDER BY (generation DESC) AND {reads}",
], &[
    // The tables stay as they are; see `given_names`.
], &[
    "CREATE TABLE IF NOT EXISTS {k}.known_networks (passport text PRIMARY KEY, claim uuid, networks blob) {by_key}",
    // In place of `heartbeats`: no statement that both servers know adds a column only where it is missing.
    "CREATE TABLE IF NOT EXISTS {k}.hearts (node text, generation bigint, beats bigint, secrets blob,
        PRIMARY KEY (node, generation)) WITH CLUSTERING ORDER BY (generation DESC) AND {reads}",
], &[
    // In place of `known_networks`, whose networks are of no credentials.
    "DROP TABLE IF EXISTS {k}.known_networks",
    // A network has one place, see `networks.rs`.
    "CREATE TABLE IF NOT EXISTS {k}.networks (passport text, place int, network inet, epoch bigint, seen bigint,
        PRIMARY KEY (passport, place)) {by_key}",
    // Two marks of the owner's: its copies at contacts are owed while they differ.
    "CREATE TABLE IF NOT EXISTS {k}.copies (owner text PRIMARY KEY, owed bigint, written bigint) {by_key}",
]];

/// The version from which a name that a contact was added under is its own.
pub(super) const NAMES_FOLLOW: i32 = 4;

/// The steps behind `version`, with the version that each leads to.
pub(super) fn steps_after(
    version: i32,
    config: &ScyllaConfig,
    server: Server,
) -> impl Iterator<Item = (i32, Vec<String>)> {
    let done = usize::try_from(version).unwrap_or_default();
    let names = [("{k}", config.keyspace.clone()), ("{a}", config.accounts_keyspace())];
    let write = move |cql: &&str| {
        let cql =
            cql.replace("{history}", server.for_history()).replace("{by_key}", BY_KEY).replace("{reads}", READS);
        names.iter().fold(cql, |cql, (name, value)| cql.replace(name, value))
    };
    let steps = (1..).zip(STEPS.iter()).skip(done);
    steps.map(move |(version, step)| (version, step.iter().map(&write).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_can_be_taken_again() {
        let config = ScyllaConfig::default();
        for server in [Server::Cassandra, Server::Scylla(2025, 4)] {
            let steps: Vec<_> = steps_after(0, &config, server).collect();
            assert_eq!(steps.last().map(|(version, _)| *version), Some(VERSION));
            for statement in steps.iter().flat_map(|(_, statements)| statements) {
                let drops = statement.starts_with("DROP TABLE IF EXISTS ");
                assert!(drops || statement.contains(" IF NOT EXISTS "), "{statement}");
                // Nothing waits for `checks`: it is never read.
                assert!(drops || statement.contains(READS) != statement.contains(".checks "), "{statement}");
                let left = ["{k}", "{a}", "{by_key}", "{reads}", "{history}"];
                assert!(!left.iter().any(|name| statement.contains(name)), "{statement}");
            }
            assert_eq!(steps_after(VERSION, &config, server).count(), 0);
        }
    }
}
