//! All that is ever asked of the servers once the tables are there. `{k}` is the keyspace, `{a}` that of the accounts.
//!
//! Every statement is idempotent: each write says its own timestamp, the same at each repetition, and a claim is
//! repeated with its claim id. `docs/store-cql.md` says on which servers they were tried.

use std::time::Duration;

use scylla::client::session::Session;
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::unprepared::Statement;
use scylla::statement::{Consistency, SerialConsistency};

use super::errors::unavailable;
use super::policy::Profiles;
use crate::config::ScyllaConfig;
use crate::store::Result;

/// How long one attempt at a lightweight transaction may take: its call has time left to find out what became of it.
const CLAIM: Duration = Duration::from_millis(1_500);

/// How a statement is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A read of what a majority has.
    Read,
    /// A read that first ends any lightweight transaction under way.
    Serial,
    /// A write; a majority has it.
    Write,
    /// A lightweight transaction. Repeating one is this store's business, not the driver's.
    Claim,
}

macro_rules! statements {
    ($($way:ident $name:ident $cql:literal;)*) => {
        /// The prepared statements.
        pub(super) struct Statements {
            $(pub(super) $name: PreparedStatement,)*
        }

        impl Statements {
            /// Prepares them on every node.
            pub(super) async fn prepare(session: &Session, config: &ScyllaConfig, profiles: &Profiles) -> Result<Self> {
                let one = async |way, cql: &str| prepare(session, config, profiles, way, cql).await;
                Ok(Self { $($name: one(Way::$way, $cql).await?,)* })
            }
        }
    };
}

statements! {
    Read store_id "SELECT id FROM {a}.store WHERE one = 1";
    Write check "UPDATE {k}.checks USING TIMESTAMP ? AND TTL 3600 SET at = ? WHERE process = ?";

    Claim claim_account "INSERT INTO {a}.accounts (passport, claim, credential_epoch, password_hash, sealed_password,
        created, first_name) VALUES (?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS";
    Claim set_credentials "UPDATE {a}.accounts SET credential_epoch = ?, password_hash = ?, sealed_password = ?
        WHERE passport = ? IF claim = ? AND credential_epoch = ?";
    Claim remove_account "DELETE FROM {a}.accounts WHERE passport = ? IF claim = ?";
    Serial serial_account "SELECT claim, credential_epoch, password_hash, sealed_password, created, first_name
        FROM {a}.accounts WHERE passport = ?";
    Read account "SELECT claim, credential_epoch, password_hash, sealed_password, created, first_name
        FROM {a}.accounts WHERE passport = ?";

    Write name_account "UPDATE {k}.account_names USING TIMESTAMP ? SET listed = true WHERE shard = ? AND passport = ?";
    Write unname_account "DELETE FROM {k}.account_names USING TIMESTAMP ? WHERE shard = ? AND passport = ?";
    Read account_names "SELECT passport FROM {k}.account_names WHERE shard = ? AND passport > ? LIMIT ?";
    Write touch "UPDATE {k}.last_active USING TIMESTAMP ? SET at = ? WHERE passport = ?";
    Write remove_last_active "DELETE FROM {k}.last_active USING TIMESTAMP ? WHERE passport = ?";
    Read last_active "SELECT at FROM {k}.last_active WHERE passport = ?";

    Write add_known_network "UPDATE {k}.networks USING TIMESTAMP ? SET network = ?, epoch = ?, seen = ?
        WHERE passport = ? AND place = ?";
    Write remove_known_networks "DELETE FROM {k}.networks USING TIMESTAMP ? WHERE passport = ?";
    Read known_networks "SELECT network, epoch, seen FROM {k}.networks WHERE passport = ?";

    Read settings "SELECT friendly_name, strangers, add_prompt, list_version, lists_changed, settings_changed,
        reverse_digest, properties, WRITETIME(list_version) FROM {k}.settings WHERE owner = ?";
    Write set_friendly_name "UPDATE {k}.settings USING TIMESTAMP ? SET friendly_name = ? WHERE owner = ?";
    Write set_strangers "UPDATE {k}.settings USING TIMESTAMP ? SET strangers = ? WHERE owner = ?";
    Write set_add_prompt "UPDATE {k}.settings USING TIMESTAMP ? SET add_prompt = ? WHERE owner = ?";
    Write set_stamp "UPDATE {k}.settings USING TIMESTAMP ? SET list_version = ?, lists_changed = ?,
        settings_changed = ?, reverse_digest = ? WHERE owner = ?";
    Write put_property "UPDATE {k}.settings USING TIMESTAMP ? SET properties[?] = ? WHERE owner = ?";
    Write drop_property "DELETE properties[?] FROM {k}.settings USING TIMESTAMP ? WHERE owner = ?";

    Read copies "SELECT owed, written, WRITETIME(written) FROM {k}.copies WHERE owner = ?";
    Write copies_owed "UPDATE {k}.copies USING TIMESTAMP ? SET owed = ? WHERE owner = ?";
    Write copies_written "UPDATE {k}.copies USING TIMESTAMP ? SET written = ? WHERE owner = ?";
    Write remove_copies "DELETE FROM {k}.copies USING TIMESTAMP ? WHERE owner = ?";

    Write remove_settings "DELETE FROM {k}.settings USING TIMESTAMP ? WHERE owner = ?";
    Write remove_roster "DELETE FROM {k}.roster USING TIMESTAMP ? WHERE owner = ?";
    Write remove_groups "DELETE FROM {k}.groups USING TIMESTAMP ? WHERE owner = ?";

    Read roster "SELECT contact, on_forward, on_allow, on_block, on_reverse, on_pending, label, own_name, groups, properties,
        WRITETIME(on_reverse), WRITETIME(on_pending), WRITETIME(own_name) FROM {k}.roster WHERE owner = ?";
    Write set_forward "UPDATE {k}.roster USING TIMESTAMP ? SET on_forward = ? WHERE owner = ? AND contact = ?";
    Write set_allow "UPDATE {k}.roster USING TIMESTAMP ? SET on_allow = ? WHERE owner = ? AND contact = ?";
    Write set_block "UPDATE {k}.roster USING TIMESTAMP ? SET on_block = ? WHERE owner = ? AND contact = ?";
    Write set_reverse "UPDATE {k}.roster USING TIMESTAMP ? SET on_reverse = ? WHERE owner = ? AND contact = ?";
    Write set_pending "UPDATE {k}.roster USING TIMESTAMP ? SET on_pending = ? WHERE owner = ? AND contact = ?";
    Write leave_all "DELETE groups, properties FROM {k}.roster USING TIMESTAMP ? WHERE owner = ? AND contact = ?";
    Write set_label "UPDATE {k}.roster USING TIMESTAMP ? SET label = ? WHERE owner = ? AND contact = ?";
    Write set_own_name "UPDATE {k}.roster USING TIMESTAMP ? SET own_name = ? WHERE owner = ? AND contact = ?";
    Write put_contact_property "UPDATE {k}.roster USING TIMESTAMP ? SET properties[?] = ?
        WHERE owner = ? AND contact = ?";
    Write drop_contact_property "DELETE properties[?] FROM {k}.roster USING TIMESTAMP ? WHERE owner = ? AND contact = ?";
    Write join_group "UPDATE {k}.roster USING TIMESTAMP ? SET groups = groups + ? WHERE owner = ? AND contact = ?";
    Write leave_group "UPDATE {k}.roster USING TIMESTAMP ? SET groups = groups - ? WHERE owner = ? AND contact = ?";
    Write put_phone "UPDATE {k}.roster USING TIMESTAMP ? SET on_forward = ?, on_allow = ?, label = ?, groups = ?
        WHERE owner = ? AND contact = ?";
    Write remove_phone "DELETE FROM {k}.roster USING TIMESTAMP ? WHERE owner = ? AND contact = ?";
    Read groups "SELECT group_id, number, name FROM {k}.groups WHERE owner = ?";
    Write put_group "UPDATE {k}.groups USING TIMESTAMP ? SET number = ?, name = ? WHERE owner = ? AND group_id = ?";
    Write remove_group "DELETE FROM {k}.groups USING TIMESTAMP ? WHERE owner = ? AND group_id = ?";

    Write append "INSERT INTO {k}.messages (channel_id, bucket, message_id, conversation, sender, kind, payload,
        meant_for) VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?";
    Read read "SELECT message_id, conversation, sender, kind, payload, meant_for FROM {k}.messages
        WHERE channel_id = ? AND bucket = ? AND message_id > ?";
    Read read_back "SELECT message_id, conversation, sender, kind, payload, meant_for FROM {k}.messages
        WHERE channel_id = ? AND bucket = ? AND message_id < ? ORDER BY message_id DESC";
    Write put_bucket "INSERT INTO {k}.channel_buckets (channel_id, bucket, writer, stopped) VALUES (?, ?, ?, ?)
        USING TIMESTAMP ?";
    Read buckets "SELECT bucket, stopped FROM {k}.channel_buckets WHERE channel_id = ?";

    Write put_member "UPDATE {k}.channel_members USING TIMESTAMP ? SET since = ? WHERE channel_id = ? AND passport = ?";
    Read members "SELECT passport, since FROM {k}.channel_members WHERE channel_id = ?";
    Write put_channel_of "UPDATE {k}.channels_of USING TIMESTAMP ? SET since = ? WHERE passport = ? AND channel_id = ?";
    Write set_last_read "UPDATE {k}.channels_of USING TIMESTAMP ? SET last_read = ?
        WHERE passport = ? AND channel_id = ?";
    Read channels_of "SELECT channel_id, since, last_read FROM {k}.channels_of WHERE passport = ?";

    Write put_participation "UPDATE {k}.participations USING TIMESTAMP ? SET conversation = ?, switchboard = ?,
        generation = ?, channels = channels + ? WHERE passport = ? AND participation = ?";
    Read participations "SELECT participation, conversation, switchboard, generation, channels, live_cursor,
        offline_cursor, closed, WRITETIME(generation), WRITETIME(live_cursor), WRITETIME(offline_cursor)
        FROM {k}.participations WHERE passport = ?";
    Write set_live_cursor "UPDATE {k}.participations USING TIMESTAMP ? AND TTL 7776000 SET live_cursor = ?
        WHERE passport = ? AND participation = ?";
    Write set_offline_cursor "UPDATE {k}.participations USING TIMESTAMP ? SET offline_cursor = ?
        WHERE passport = ? AND participation = ?";
    Write close_participation "UPDATE {k}.participations USING TIMESTAMP ? SET closed = true,
        live_cursor = ? WHERE passport = ? AND participation = ?";
    Write remove_participation "DELETE FROM {k}.participations USING TIMESTAMP ?
        WHERE passport = ? AND participation = ?";

    Write put_in_inbox "INSERT INTO {k}.inbox (passport, week, inbox_id, message_id, sender, payload)
        VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL 2592000";
    Read inbox "SELECT inbox_id, message_id, sender, payload FROM {k}.inbox
        WHERE passport = ? AND week = ? AND inbox_id > ?";
    Write set_inbox_watermark "UPDATE {k}.inbox_watermarks USING TIMESTAMP ? SET watermark = ? WHERE passport = ?";
    Read inbox_watermark "SELECT watermark FROM {k}.inbox_watermarks WHERE passport = ?";

    Write beat "UPDATE {k}.hearts USING TIMESTAMP ? AND TTL 7776000 SET beats = ?, secrets = ?
        WHERE node = ? AND generation = ?";
    Read heartbeat "SELECT generation, beats FROM {k}.hearts WHERE node = ? LIMIT 1";
    Read heartbeats "SELECT node, generation, beats, secrets FROM {k}.hearts PER PARTITION LIMIT 1 LIMIT 10000";
}

async fn prepare(
    session: &Session,
    config: &ScyllaConfig,
    profiles: &Profiles,
    way: Way,
    cql: &str,
) -> Result<PreparedStatement> {
    let cql = cql.replace("{k}", &config.keyspace).replace("{a}", &config.accounts_keyspace());
    let mut statement = Statement::new(cql.clone());
    let profile = if matches!(way, Way::Read | Way::Serial) { &profiles.read } else { &profiles.write };
    statement.set_execution_profile_handle(Some(profile.clone().into_handle()));
    statement.set_is_idempotent(way != Way::Claim);
    match way {
        Way::Serial => statement.set_consistency(Consistency::Serial),
        Way::Claim => statement.set_request_timeout(Some(CLAIM)),
        Way::Read | Way::Write => {}
    }
    statement.set_serial_consistency(Some(SerialConsistency::Serial));
    session.prepare(statement).await.map_err(|error| unavailable(format_args!("{error} ({cql})")))
}
