//! What each admission to a conversation still waits for.
//!
//! Only a message writes conversation, switchboard and generation. A row without them is a cursor that came after the
//! end of its participation, and no participation: nobody has to read before moving a cursor.
//!
//! A row stays until it is removed, and its mark of being closed with it: switchboards write a participation's channel
//! once, however long the conversation lasts, so nothing would keep a cell alive that ends by itself. Only a live
//! cursor that a switchboard moves does, after 90 days, so that those that come too late leave nothing behind. A row's
//! own may, since nothing is delivered after 30.

use std::collections::BTreeSet;

use scylla::statement::bound::BoundStatement;
use uuid::Uuid;

use super::db::{Db, bind};
use super::errors::strange;
use super::stamps::rising;
use crate::model::{ChannelId, ConversationId, Generation, MessageId, NodeId, ParticipationId, Passport};
use crate::store::{Participation, ParticipationUse, Result};

/// Makes the row, or leaves it as it is, and adds the channel to it.
pub(super) fn put(db: &Db, used: &ParticipationUse, stamp: i64) -> Result<BoundStatement> {
    bind(
        &db.statements.put_participation,
        &(
            stamp,
            used.conversation.0,
            used.switchboard.as_str(),
            used.generation.0.cast_signed(),
            BTreeSet::from([used.channel.0]),
            used.passport.as_str(),
            used.participation.0,
        ),
    )
}

type Row = (
    Uuid,
    Option<Uuid>,
    Option<String>,
    Option<i64>,
    Option<BTreeSet<Uuid>>,
    Option<Uuid>,
    Option<Uuid>,
    Option<bool>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

/// See [`Store::participations`](crate::store::Store::participations).
pub(super) async fn of(db: &Db, who: &Passport) -> Result<Vec<Participation>> {
    let rows: Vec<Row> = db.rows(&db.statements.participations, (who.as_str(),)).await?;
    rows.into_iter().filter_map(|row| participation(db, who, row).transpose()).collect()
}

fn participation(db: &Db, who: &Passport, row: Row) -> Result<Option<Participation>> {
    let (id, conversation, switchboard, generation, channels, live, offline, closed, made, moved, delivered) = row;
    // Whoever read a row may remove it, also where the writer's clock is ahead.
    [made, moved, delivered].into_iter().for_each(|stamp| db.stamps.seen(who, stamp));
    let (Some(conversation), Some(switchboard), Some(generation)) = (conversation, switchboard, generation) else {
        return Ok(None);
    };
    Ok(Some(Participation {
        passport: who.clone(),
        id: ParticipationId(id),
        conversation: ConversationId(conversation),
        switchboard: NodeId::parse(&switchboard).ok_or_else(|| strange("participations.switchboard"))?,
        generation: Generation(generation.cast_unsigned()),
        channels: channels.unwrap_or_default().into_iter().map(ChannelId).collect(),
        live_cursor: live.map(MessageId),
        offline_cursor: offline.map(MessageId),
        closed: closed.unwrap_or(false),
    }))
}

/// See [`Store::set_live_cursors`](crate::store::Store::set_live_cursors).
pub(super) fn live_cursors(
    db: &Db,
    cursors: &[(Passport, ParticipationId, Option<MessageId>)],
) -> Result<Vec<BoundStatement>> {
    let one = |(who, participation, cursor): &(Passport, ParticipationId, Option<MessageId>)| {
        let cursor = cursor.map(|id| id.0);
        bind(&db.statements.set_live_cursor, &(db.stamps.next_of(who), cursor, who.as_str(), participation.0))
    };
    cursors.iter().map(one).collect()
}

/// See [`Store::set_offline_cursor`](crate::store::Store::set_offline_cursor). The message's own time is the timestamp,
/// so that the latest message holds; without an end of its own, since of two cells with one timestamp the one that
/// ends later would win.
pub(super) fn offline_cursor(
    db: &Db,
    who: &Passport,
    participation: ParticipationId,
    message: MessageId,
) -> Result<BoundStatement> {
    let stamp = rising(message);
    // A removal that comes later must hold against it.
    db.stamps.seen(who, Some(stamp));
    bind(&db.statements.set_offline_cursor, &(stamp, message.0, who.as_str(), participation.0))
}

/// See [`Store::close_participation`](crate::store::Store::close_participation).
pub(super) fn close(
    db: &Db,
    who: &Passport,
    participation: ParticipationId,
    live_cursor: Option<MessageId>,
) -> Result<BoundStatement> {
    let cursor = live_cursor.map(|id| id.0);
    bind(&db.statements.close_participation, &(db.stamps.next_of(who), cursor, who.as_str(), participation.0))
}

/// See [`Store::remove_participation`](crate::store::Store::remove_participation). Its timestamp covers every message
/// that this process appended before, and their repetitions, which keep theirs.
pub(super) fn remove(db: &Db, who: &Passport, participation: ParticipationId) -> Result<BoundStatement> {
    bind(&db.statements.remove_participation, &(db.stamps.next_of(who), who.as_str(), participation.0))
}
