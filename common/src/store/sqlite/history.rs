//! Messages, and who may read them.

use bytes::Bytes;
use rusqlite::{Connection, Row, params};
use uuid::Uuid;

use super::columns::Columns;
use super::mark::Mark;
use super::participations;
use crate::model::{ChannelId, ConversationId, MessageId, ParticipationId, Passport};
use crate::store::cursor::{PAGE_BYTES, Reading};
use crate::store::{ChannelMember, ChannelOf, HistoryWrite, MessageKind, Page, Result, StoredMessage};

pub(super) const READ: &str = "SELECT message_id, conversation, sender, kind, payload, meant_for FROM messages
    WHERE channel_id = ? AND message_id > ? ORDER BY message_id";
pub(super) const READ_BACK: &str =
    "SELECT message_id, conversation, sender, kind, payload, meant_for FROM messages
    WHERE channel_id = ? AND message_id < ? ORDER BY message_id DESC LIMIT ?";

/// The bytes that a write takes up while it waits.
pub(super) fn cost(write: &HistoryWrite) -> usize {
    let message = &write.message;
    let rows = 1 + write.participations.len() + write.members.len();
    message.payload.len() + message.meant_for.len() * size_of::<ParticipationId>() + rows * 256
}

/// See [`Store::append`](crate::store::Store::append).
pub(super) fn append(connection: &Connection, write: &HistoryWrite) -> Result<()> {
    write.members.iter().try_for_each(|member| admit(connection, member))?;
    write.participations.iter().try_for_each(|used| participations::put(connection, used))?;
    let message = &write.message;
    let meant_for: Vec<u8> = message.meant_for.iter().flat_map(|id| *id.0.as_bytes()).collect();
    connection
        .prepare_cached(
            "INSERT INTO messages (channel_id, message_id, conversation, sender, kind, payload, meant_for)
             VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (channel_id, message_id) DO NOTHING",
        )?
        .execute(params![
            message.channel.0.as_bytes(),
            message.id.0.as_bytes(),
            message.conversation.0.as_bytes(),
            message.sender.as_str(),
            message.kind.code(),
            &message.payload[..],
            meant_for,
        ])?;
    Ok(())
}

/// Both sides of a membership; the earliest `since` stays.
fn admit(connection: &Connection, member: &ChannelMember) -> Result<()> {
    let (channel, who, since) = (member.channel.0.as_bytes(), member.passport.as_str(), member.since.0.as_bytes());
    connection
        .prepare_cached(
            "INSERT INTO channel_members (channel_id, passport, since) VALUES (?, ?, ?)
             ON CONFLICT DO UPDATE SET since = excluded.since WHERE excluded.since < since",
        )?
        .execute(params![channel, who, since])?;
    connection
        .prepare_cached(
            "INSERT INTO channels_of (passport, channel_id, since) VALUES (?, ?, ?)
             ON CONFLICT DO UPDATE SET since = excluded.since WHERE excluded.since < since",
        )?
        .execute(params![who, channel, since])?;
    Ok(())
}

/// See [`Store::read`](crate::store::Store::read).
pub(super) fn read(
    connection: &Connection,
    channel: ChannelId,
    mut reading: Reading,
    limit: usize,
) -> Result<Page> {
    let mut statement = connection.prepare_cached(READ)?;
    let mut rows = statement.query(params![channel.0.as_bytes(), reading.point().0.as_bytes()])?;
    let (mut messages, mut bytes, mut more) = (Vec::new(), 0, false);
    while let Some(row) = rows.next()? {
        let id = MessageId(row.uuid(0)?);
        if reading.was_given(id) {
            continue;
        }
        if messages.len() >= limit || bytes >= PAGE_BYTES || !reading.take(id) {
            more = true;
            break;
        }
        let message = message(channel, row)?;
        bytes += message.payload.len();
        messages.push(message);
    }
    Ok(Page { messages, cursor: reading.finish(!more), more })
}

/// See [`Store::read_back`](crate::store::Store::read_back).
pub(super) fn read_back(
    connection: &Connection,
    channel: ChannelId,
    before: Option<MessageId>,
    limit: usize,
) -> Result<Vec<StoredMessage>> {
    let mut statement = connection.prepare_cached(READ_BACK)?;
    // No message has the greatest of all ids: the version of a UUID is never 15.
    let before = before.map_or([0xff; 16], |id| id.0.into_bytes());
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![channel.0.as_bytes(), before, limit])?;
    let mut messages = Vec::new();
    while let Some(row) = rows.next()? {
        messages.push(message(channel, row)?);
    }
    messages.reverse();
    Ok(messages)
}

fn message(channel: ChannelId, row: &Row<'_>) -> Result<StoredMessage> {
    Ok(StoredMessage {
        channel,
        id: MessageId(row.uuid(0)?),
        conversation: ConversationId(row.uuid(1)?),
        sender: row.passport(2)?,
        kind: row.parsed(3, |code| MessageKind::from_code(*code))?,
        payload: Bytes::from(row.get::<_, Vec<u8>>(4)?),
        meant_for: row.parsed(5, |bytes: &Vec<u8>| participation_ids(bytes))?,
    })
}

fn participation_ids(bytes: &[u8]) -> Option<Vec<ParticipationId>> {
    let (ids, rest) = bytes.as_chunks::<16>();
    rest.is_empty().then(|| ids.iter().map(|id| ParticipationId(Uuid::from_bytes(*id))).collect())
}

/// See [`Store::channels_of`](crate::store::Store::channels_of).
pub(super) fn channels_of(connection: &Connection, who: &Passport) -> Result<Vec<ChannelOf>> {
    let mut statement =
        connection.prepare_cached("SELECT channel_id, since, last_read FROM channels_of WHERE passport = ?")?;
    let mut rows = statement.query([who.as_str()])?;
    let mut channels = Vec::new();
    while let Some(row) = rows.next()? {
        channels.push(ChannelOf {
            channel: ChannelId(row.uuid(0)?),
            since: MessageId(row.uuid(1)?),
            last_read: row.maybe_uuid(2)?.map(MessageId),
        });
    }
    Ok(channels)
}

/// See [`Store::members`](crate::store::Store::members).
pub(super) fn members(connection: &Connection, channel: ChannelId) -> Result<Vec<ChannelMember>> {
    let mut statement =
        connection.prepare_cached("SELECT passport, since FROM channel_members WHERE channel_id = ?")?;
    let mut rows = statement.query([channel.0.as_bytes()])?;
    let mut members = Vec::new();
    while let Some(row) = rows.next()? {
        members.push(ChannelMember { channel, passport: row.passport(0)?, since: MessageId(row.uuid(1)?) });
    }
    Ok(members)
}

const LAST_READ: Mark = Mark { table: "channels_of", column: "last_read", key: "channel_id" };

/// See [`Store::set_last_read`](crate::store::Store::set_last_read).
pub(super) fn set_last_read(
    connection: &Connection,
    who: &Passport,
    channel: ChannelId,
    message: MessageId,
) -> Result<()> {
    LAST_READ.advance(connection, who, channel.0, message)
}
