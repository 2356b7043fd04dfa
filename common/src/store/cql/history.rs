//! Messages on their way into history, and who may read them.

use std::collections::BTreeMap;
use std::sync::Arc;

use scylla::statement::bound::BoundStatement;
use uuid::Uuid;

use super::buckets::{Bucket, Buckets, Place};
use super::db::{Db, WAITING, bind};
use super::errors::strange;
use super::participations;
use super::stamps::{falling, rising};
use crate::model::{ChannelId, MessageId, ParticipationId, Passport};
use crate::store::{ChannelMember, ChannelOf, HistoryWrite, Result, StoredMessage};

/// The bytes that a write takes up while it waits.
pub(super) fn cost(write: &HistoryWrite) -> usize {
    let message = &write.message;
    let rows = 1 + write.participations.len() + 2 * write.members.len();
    // Bound to its statement, and in the frames of two attempts.
    3 * message.payload.len() + message.meant_for.len() * size_of::<ParticipationId>() + rows * WAITING
}

/// What one message writes.
pub(super) struct Append {
    channel: ChannelId,
    /// The bucket, where it is not yet surely listed.
    unlisted: Option<Bucket>,
    rows: Vec<BoundStatement>,
}

/// See [`Store::append`](crate::store::Store::append). Called when it is asked for: the timestamps tell the order.
pub(super) fn plan(db: &Db, buckets: &Buckets, write: &HistoryWrite) -> Result<Append> {
    let channel = write.message.channel;
    let stamp = db.stamps.next();
    let Place { bucket, list, left } = buckets.choose(channel, write.message.id);
    let mut rows = vec![message(db, bucket, &write.message, stamp)?];
    for listing in list.iter().chain(&left) {
        let writer = if listing.own { db.process } else { Uuid::nil() };
        let row = (channel.0, listing.bucket.column(), writer, listing.stopped, stamp);
        rows.push(bind(&db.statements.put_bucket, &row)?);
    }
    for used in &write.participations {
        rows.push(participations::put(db, used, stamp)?);
    }
    for member in &write.members {
        // The earlier the message, the greater the timestamp: an earlier `since` that is there stays.
        let (since, at) = (member.since.0, falling(member.since));
        let (channel, who) = (member.channel.0, member.passport.as_str());
        rows.push(bind(&db.statements.put_member, &(at, since, channel, who))?);
        rows.push(bind(&db.statements.put_channel_of, &(at, since, who, channel))?);
    }
    Ok(Append { channel, unlisted: list.is_some().then_some(bucket), rows })
}

fn message(db: &Db, bucket: Bucket, message: &StoredMessage, stamp: i64) -> Result<BoundStatement> {
    let meant_for: Vec<Uuid> = message.meant_for.iter().map(|id| id.0).collect();
    bind(
        &db.statements.append,
        &(
            message.channel.0,
            bucket.column(),
            message.id.0,
            message.conversation.0,
            message.sender.as_str(),
            message.kind.code().cast_signed(),
            &message.payload[..],
            meant_for,
            stamp,
        ),
    )
}

/// Writes it all, and returns when it is durable.
pub(super) async fn append(db: &Db, buckets: &Arc<Buckets>, append: Append) -> Result<()> {
    db.write_all(&append.rows).await?;
    if let Some(bucket) = append.unlisted {
        buckets.listed(append.channel, bucket);
    }
    Ok(())
}

/// See [`Store::channels_of`](crate::store::Store::channels_of). A row without `since` was written by a reader who is no
/// member.
pub(super) async fn channels_of(db: &Db, who: &Passport) -> Result<Vec<ChannelOf>> {
    let rows: Vec<(Uuid, Option<Uuid>, Option<Uuid>)> =
        db.rows(&db.statements.channels_of, (who.as_str(),)).await?;
    let channel = |(channel, since, last_read): (Uuid, Option<Uuid>, Option<Uuid>)| {
        let since = MessageId(since?);
        Some(ChannelOf { channel: ChannelId(channel), since, last_read: last_read.map(MessageId) })
    };
    Ok(rows.into_iter().filter_map(channel).collect())
}

/// See [`Store::members`](crate::store::Store::members).
pub(super) async fn members(db: &Db, channel: ChannelId) -> Result<Vec<ChannelMember>> {
    let rows: Vec<(String, Option<Uuid>)> = db.rows(&db.statements.members, (channel.0,)).await?;
    let mut members = BTreeMap::new();
    for (who, since) in rows {
        let who = Passport::parse(&who).map_err(|_| strange("channel_members.passport"))?;
        members.extend(since.map(|since| (who, MessageId(since))));
    }
    Ok(members.into_iter().map(|(passport, since)| ChannelMember { channel, passport, since }).collect())
}

/// See [`Store::set_last_read`](crate::store::Store::set_last_read). The message's own time is the timestamp, so that
/// the latest message holds.
pub(super) fn last_read(
    db: &Db,
    who: &Passport,
    channel: ChannelId,
    message: MessageId,
) -> Result<BoundStatement> {
    bind(&db.statements.set_last_read, &(rising(message), message.0, who.as_str(), channel.0))
}
