//! Messages to principals who were away.

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, params};

use super::columns::Columns;
use crate::model::{InboxId, MessageId, Passport};
use crate::store::cursor::PAGE_BYTES;
use crate::store::inbox::{expires, week_of};
use crate::store::{InboxMessage, InboxPage, Result};

/// See [`Store::put_in_inbox`](crate::store::Store::put_in_inbox). What has expired in that inbox goes.
pub(super) fn put(connection: &Connection, who: &Passport, message: &InboxMessage, now_ms: u64) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM inbox WHERE passport = ? AND expires <= ?")?
        .execute(params![who.as_str(), now_ms.cast_signed()])?;
    connection
        .prepare_cached(
            "INSERT INTO inbox (passport, week, inbox_id, message_id, sender, payload, expires)
             VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            who.as_str(),
            week_of(message.id.made_ms()),
            message.id.0.as_bytes(),
            message.message.0.as_bytes(),
            message.sender.as_str(),
            &message.payload[..],
            expires(message.id).cast_signed(),
        ])?;
    Ok(())
}

/// Removes all that is there for somebody.
pub(super) fn remove(connection: &Connection, who: &Passport) -> Result<()> {
    for sql in ["DELETE FROM inbox WHERE passport = ?", "DELETE FROM inbox_watermarks WHERE passport = ?"] {
        connection.prepare_cached(sql)?.execute([who.as_str()])?;
    }
    Ok(())
}

/// See [`Store::inbox`](crate::store::Store::inbox).
pub(super) fn read(
    connection: &Connection,
    who: &Passport,
    after: Option<InboxId>,
    limit: usize,
    now_ms: u64,
) -> Result<InboxPage> {
    let behind = watermark(connection, who)?.max(after);
    let mut statement = connection.prepare_cached(
        "SELECT inbox_id, message_id, sender, payload FROM inbox
         WHERE passport = ? AND week >= ? AND inbox_id > ? AND expires > ? ORDER BY week, inbox_id",
    )?;
    let from = behind.map_or((0, [0; 16]), |id| (week_of(id.made_ms()), id.0.into_bytes()));
    let mut rows = statement.query(params![who.as_str(), from.0, from.1, now_ms.cast_signed()])?;
    let (mut messages, mut bytes, mut more) = (Vec::new(), 0, false);
    while let Some(row) = rows.next()? {
        if messages.len() >= limit || bytes >= PAGE_BYTES {
            more = true;
            break;
        }
        let payload = Bytes::from(row.get::<_, Vec<u8>>(3)?);
        bytes += payload.len();
        messages.push(InboxMessage {
            id: InboxId(row.uuid(0)?),
            message: MessageId(row.uuid(1)?),
            sender: row.passport(2)?,
            payload,
        });
    }
    Ok(InboxPage { messages, more })
}

/// See [`Store::inbox_watermark`](crate::store::Store::inbox_watermark).
pub(super) fn watermark(connection: &Connection, who: &Passport) -> Result<Option<InboxId>> {
    let mut statement = connection.prepare_cached("SELECT watermark FROM inbox_watermarks WHERE passport = ?")?;
    let found = statement.query_row([who.as_str()], |row| Ok(row.uuid(0).map(InboxId))).optional()?;
    found.transpose()
}

/// See [`Store::set_inbox_watermark`](crate::store::Store::set_inbox_watermark). What is at or below it goes.
pub(super) fn set_watermark(connection: &Connection, who: &Passport, id: InboxId) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO inbox_watermarks (passport, watermark) VALUES (?, ?)
             ON CONFLICT DO UPDATE SET watermark = excluded.watermark WHERE excluded.watermark > watermark",
        )?
        .execute(params![who.as_str(), id.0.as_bytes()])?;
    connection
        .prepare_cached("DELETE FROM inbox WHERE passport = ? AND week <= ? AND inbox_id <= ?")?
        .execute(params![who.as_str(), week_of(id.made_ms()), id.0.as_bytes()])?;
    Ok(())
}
