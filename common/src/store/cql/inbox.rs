//! Messages to principals who were away.
//!
//! A partition for each week, so that reading begins at the watermark's and never walks over what was delivered long ago.
//! Nothing is deleted: rows end by themselves after 30 days, and whole files with them.

use scylla::response::PagingState;
use scylla::statement::bound::BoundStatement;
use uuid::Uuid;

use super::db::{Db, Rows, bind};
use super::errors::strange;
use super::stamps::rising;
use crate::model::{InboxId, MessageId, Passport};
use crate::store::cursor::PAGE_BYTES;
use crate::store::inbox::{expires, week_of};
use crate::store::{InboxMessage, InboxPage, KEPT_FOR, Result};

/// See [`Store::put_in_inbox`](crate::store::Store::put_in_inbox). The statement's TTL is [`KEPT_FOR`].
pub(super) fn put(db: &Db, who: &Passport, message: &InboxMessage) -> Result<BoundStatement> {
    bind(
        &db.statements.put_in_inbox,
        &(
            who.as_str(),
            week_of(message.id.made_ms()),
            message.id.0,
            message.message.0,
            message.sender.as_str(),
            &message.payload[..],
            db.stamps.next(),
        ),
    )
}

/// The most rows that are asked for at once: of the largest as many as a page holds.
const MOST_ROWS: i32 = 64;

type Row = (Uuid, Uuid, String, Vec<u8>);

/// See [`Store::inbox`](crate::store::Store::inbox).
pub(super) async fn read(
    db: &Db,
    who: &Passport,
    after: Option<InboxId>,
    limit: usize,
    now_ms: u64,
) -> Result<InboxPage> {
    let behind = watermark(db, who).await?.max(after).map_or(Uuid::nil(), |InboxId(id)| id);
    let oldest = now_ms.saturating_sub(u64::try_from(KEPT_FOR.as_millis()).unwrap_or(u64::MAX));
    let first = week_of(oldest).max(week_of(InboxId(behind).made_ms()));
    // One more: another machine's clock may be a little ahead.
    let (mut messages, mut bytes) = (Vec::new(), 0);
    for week in first..=week_of(now_ms) + 1 {
        let mut statement = bind(&db.statements.inbox, &(who.as_str(), week, behind))?;
        statement.set_page_size(i32::try_from(limit.saturating_add(1)).unwrap_or(MOST_ROWS).clamp(1, MOST_ROWS));
        let mut from = Some(PagingState::start());
        while let Some(page) = from.take() {
            let Rows { rows, next }: Rows<Row> = db.page(&statement, page).await?;
            for (id, message, sender, payload) in rows {
                let id = InboxId(id);
                if expires(id) <= now_ms {
                    continue;
                }
                if messages.len() >= limit || bytes >= PAGE_BYTES {
                    return Ok(InboxPage { messages, more: true });
                }
                bytes += payload.len();
                let sender = Passport::parse(&sender).map_err(|_| strange("inbox.sender"))?;
                messages.push(InboxMessage { id, message: MessageId(message), sender, payload: payload.into() });
            }
            from = next;
        }
    }
    Ok(InboxPage { messages, more: false })
}

/// See [`Store::inbox_watermark`](crate::store::Store::inbox_watermark).
pub(super) async fn watermark(db: &Db, who: &Passport) -> Result<Option<InboxId>> {
    let row: Option<(Option<Uuid>,)> = db.row(&db.statements.inbox_watermark, (who.as_str(),)).await?;
    Ok(row.and_then(|(id,)| id).map(InboxId))
}

/// See [`Store::set_inbox_watermark`](crate::store::Store::set_inbox_watermark). The id's own time is the timestamp, so that
/// the latest holds.
pub(super) fn set_watermark(db: &Db, who: &Passport, id: InboxId) -> Result<BoundStatement> {
    bind(&db.statements.set_inbox_watermark, &(rising(MessageId(id.0)), id.0, who.as_str()))
}
