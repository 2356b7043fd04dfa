//! What each admission to a conversation still waits for.
//!
//! A switchboard's writes are done in the order in which it asked for them, so a participation that it removes
//! after its messages does not come back by one of them. Cursors and marks are updates: they never make a row.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::columns::Columns;
use super::mark::Mark;
use crate::model::{ChannelId, ConversationId, Generation, MessageId, NodeId, ParticipationId, Passport};
use crate::store::{Participation, ParticipationUse, Result};

/// Makes the row, or leaves it as it is, and adds the channel to it.
pub(super) fn put(connection: &Connection, used: &ParticipationUse) -> Result<()> {
    let (who, participation) = (used.passport.as_str(), used.participation.0.as_bytes());
    connection
        .prepare_cached(
            "INSERT INTO participations (passport, participation, conversation, switchboard, generation)
             VALUES (?, ?, ?, ?, ?) ON CONFLICT (passport, participation) DO NOTHING",
        )?
        .execute(params![
            who,
            participation,
            used.conversation.0.as_bytes(),
            used.switchboard.as_str(),
            used.generation.0.cast_signed(),
        ])?;
    connection
        .prepare_cached(
            "INSERT INTO participation_channels (passport, participation, channel_id) VALUES (?, ?, ?)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![who, participation, used.channel.0.as_bytes()])?;
    Ok(())
}

/// See [`Store::participations`](crate::store::Store::participations).
pub(super) fn of(connection: &Connection, who: &Passport) -> Result<Vec<Participation>> {
    let mut statement = connection.prepare_cached(
        "SELECT p.participation, p.conversation, p.switchboard, p.generation, p.live_cursor, p.offline_cursor,
             p.closed, c.channel_id
         FROM participations p LEFT JOIN participation_channels c
             ON c.passport = p.passport AND c.participation = p.participation
         WHERE p.passport = ? ORDER BY p.participation",
    )?;
    let mut rows = statement.query([who.as_str()])?;
    let mut participations: Vec<Participation> = Vec::new();
    while let Some(row) = rows.next()? {
        let id = ParticipationId(row.uuid(0)?);
        let channel = row.maybe_uuid(7)?.map(ChannelId);
        if let Some(last) = participations.last_mut().filter(|last| last.id == id) {
            last.channels.extend(channel);
            continue;
        }
        participations.push(Participation {
            passport: who.clone(),
            id,
            conversation: ConversationId(row.uuid(1)?),
            switchboard: row.parsed(2, |name: &String| NodeId::parse(name))?,
            generation: Generation(row.number(3)?),
            live_cursor: row.maybe_uuid(4)?.map(MessageId),
            offline_cursor: row.maybe_uuid(5)?.map(MessageId),
            closed: row.get(6)?,
            channels: channel.into_iter().collect::<BTreeSet<_>>(),
        });
    }
    Ok(participations)
}

/// See [`Store::set_live_cursors`](crate::store::Store::set_live_cursors).
pub(super) fn set_live_cursors(
    connection: &Connection,
    cursors: &[(Passport, ParticipationId, Option<MessageId>)],
) -> Result<()> {
    let mut statement = connection
        .prepare_cached("UPDATE participations SET live_cursor = ? WHERE passport = ? AND participation = ?")?;
    for (who, participation, cursor) in cursors {
        let cursor = cursor.map(|id| id.0.into_bytes());
        statement.execute(params![cursor, who.as_str(), participation.0.as_bytes()])?;
    }
    Ok(())
}

const OFFLINE_CURSOR: Mark = Mark { table: "participations", column: "offline_cursor", key: "participation" };

/// See [`Store::set_offline_cursor`](crate::store::Store::set_offline_cursor).
pub(super) fn set_offline_cursor(
    connection: &Connection,
    who: &Passport,
    participation: ParticipationId,
    message: MessageId,
) -> Result<()> {
    OFFLINE_CURSOR.advance(connection, who, participation.0, message)
}

/// See [`Store::close_participation`](crate::store::Store::close_participation).
pub(super) fn close(
    connection: &Connection,
    who: &Passport,
    participation: ParticipationId,
    live_cursor: Option<MessageId>,
) -> Result<()> {
    let live_cursor = live_cursor.map(|id| id.0.into_bytes());
    connection
        .prepare_cached(
            "UPDATE participations SET closed = 1, live_cursor = ? WHERE passport = ? AND participation = ?",
        )?
        .execute(params![live_cursor, who.as_str(), participation.0.as_bytes()])?;
    Ok(())
}

/// See [`Store::remove_participation`](crate::store::Store::remove_participation).
pub(super) fn remove(connection: &Connection, who: &Passport, participation: ParticipationId) -> Result<()> {
    for sql in [
        "DELETE FROM participations WHERE passport = ? AND participation = ?",
        "DELETE FROM participation_channels WHERE passport = ? AND participation = ?",
    ] {
        connection.prepare_cached(sql)?.execute(params![who.as_str(), participation.0.as_bytes()])?;
    }
    Ok(())
}

/// Removes all of somebody.
pub(super) fn remove_all(connection: &Connection, who: &Passport) -> Result<()> {
    for sql in
        ["DELETE FROM participations WHERE passport = ?", "DELETE FROM participation_channels WHERE passport = ?"]
    {
        connection.prepare_cached(sql)?.execute([who.as_str()])?;
    }
    Ok(())
}
