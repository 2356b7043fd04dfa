//! Reading a channel: the buckets that matter, merged into one line of messages.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use futures_util::future::try_join_all;
use scylla::response::PagingState;
use scylla::statement::bound::BoundStatement;
use uuid::Uuid;

use super::buckets::{Bucket, OPEN};
use super::db::{Db, bind};
use super::errors::strange;
use crate::clock::made_ms;
use crate::model::{ChannelId, ConversationId, MessageId, ParticipationId, Passport};
use crate::store::cursor::{PAGE_BYTES, Reading};
use crate::store::{MessageKind, Page, Result, StoredMessage};

/// The most rows that are asked for at once in a bucket.
const MOST_ROWS: usize = 128;
/// The rows first asked for in a bucket that probably has none: of those that overlap the newest has the page.
const FEW_ROWS: usize = 4;

/// See [`Store::read`](crate::store::Store::read). `reading` was started before.
pub(super) async fn read(db: &Db, channel: ChannelId, mut reading: Reading, limit: usize) -> Result<Page> {
    let point = reading.point();
    let buckets = buckets(db, channel).await?.into_iter().filter(|bucket| bucket.end > made_ms(point));
    let ask = limit.saturating_add(reading.given_count()).saturating_add(1);
    let mut merge = Merge::new(db, channel, Direction::Forwards(point), buckets.collect(), ask);
    let (mut messages, mut bytes, mut more) = (Vec::new(), 0, false);
    while let Some(message) = merge.next().await? {
        if message.id <= point || reading.was_given(message.id) {
            continue;
        }
        if messages.len() >= limit || bytes >= PAGE_BYTES || !reading.take(message.id) {
            more = true;
            break;
        }
        bytes += message.payload.len();
        messages.push(message);
    }
    Ok(Page { messages, cursor: reading.finish(!more), more })
}

/// See [`Store::read_back`](crate::store::Store::read_back).
pub(super) async fn read_back(
    db: &Db,
    channel: ChannelId,
    before: Option<MessageId>,
    limit: usize,
) -> Result<Vec<StoredMessage>> {
    // No message has the greatest of all ids: the version of a UUID is never 15.
    let before = before.unwrap_or(MessageId(Uuid::max()));
    let buckets = buckets(db, channel).await?.into_iter().filter(|bucket| bucket.start.0 <= made_ms(before));
    let mut buckets: Vec<_> = buckets.collect();
    buckets.sort_by_key(|bucket| std::cmp::Reverse((bucket.end, bucket.start)));
    let mut merge = Merge::new(db, channel, Direction::Backwards(before), buckets.into(), limit);
    let mut messages = Vec::new();
    while messages.len() < limit {
        match merge.next().await? {
            Some(message) if message.id < before => messages.push(message),
            Some(_) => {}
            None => break,
        }
    }
    messages.reverse();
    Ok(messages)
}

/// A bucket that may be read.
#[derive(Debug, Clone, Copy)]
struct Listed {
    start: Bucket,
    /// No message in it was made at that millisecond or later.
    end: u64,
}

/// The buckets of a channel, the oldest first.
async fn buckets(db: &Db, channel: ChannelId) -> Result<Vec<Listed>> {
    let rows: Vec<(i64, Option<i64>)> = db.rows(&db.statements.buckets, (channel.0,)).await?;
    let mut last_stop = BTreeMap::new();
    for (start, stopped) in rows {
        let last = last_stop.entry(Bucket::of_column(start)).or_insert(0);
        *last = stopped.unwrap_or(OPEN).cast_unsigned().max(*last);
    }
    Ok(last_stop.into_iter().map(|(start, stop)| Listed { start, end: start.end().min(stop) }).collect())
}

#[derive(Debug, Clone, Copy)]
enum Direction {
    /// From behind an id.
    Forwards(MessageId),
    /// From before an id.
    Backwards(MessageId),
}

/// Several buckets as one line of messages.
struct Merge<'a> {
    db: &'a Db,
    channel: ChannelId,
    direction: Direction,
    /// Not looked at yet: forwards by their starts, backwards by their ends.
    ahead: VecDeque<Listed>,
    lanes: Vec<Lane>,
    /// About how many messages are wanted in all.
    ask: usize,
    last: Option<MessageId>,
}

/// A bucket that is being read.
struct Lane {
    statement: BoundStatement,
    rows: VecDeque<StoredMessage>,
    /// Where its next rows are; nothing: it has no more.
    next: Option<PagingState>,
    /// How many rows are asked for next.
    ask: usize,
    /// The bytes of the largest payload so far.
    largest: usize,
}

impl<'a> Merge<'a> {
    fn new(db: &'a Db, channel: ChannelId, direction: Direction, ahead: VecDeque<Listed>, ask: usize) -> Self {
        Self { db, channel, direction, ahead, lanes: Vec::new(), ask, last: None }
    }

    /// The next message; each once, though it may have been written to two buckets.
    async fn next(&mut self) -> Result<Option<StoredMessage>> {
        loop {
            self.fill().await?;
            let Some(message) = self.head().and_then(|lane| self.lanes[lane].rows.pop_front()) else {
                return Ok(None);
            };
            if self.last.replace(message.id) != Some(message.id) {
                return Ok(Some(message));
            }
        }
    }

    /// Makes sure that the next message of all is at the head of a lane.
    async fn fill(&mut self) -> Result<()> {
        loop {
            self.lanes.retain(|lane| !lane.rows.is_empty() || lane.next.is_some());
            let (db, channel) = (self.db, self.channel);
            let empty = self.lanes.iter_mut().filter(|lane| lane.rows.is_empty());
            try_join_all(empty.map(|lane| lane.read_on(db, channel))).await?;
            if self.lanes.iter().any(|lane| lane.rows.is_empty()) {
                // A page of no rows that is not the last, or a bucket that has ended.
                continue;
            }
            let head = self.head().and_then(|lane| self.lanes[lane].rows.front()).map(|message| message.id);
            if !self.open(head)? {
                return Ok(());
            }
        }
    }

    /// Opens the buckets that may hold something before `head`. False if there are none.
    fn open(&mut self, head: Option<MessageId>) -> Result<bool> {
        let first = self.lanes.len();
        // With nothing at hand: the next, and with it all that it overlaps.
        let mut reach = head.or(match self.direction {
            Direction::Forwards(point) => Some(point),
            Direction::Backwards(_) => None,
        });
        while let Some(bucket) = self.ahead.front().copied() {
            let may_hold = match (self.direction, reach) {
                (Direction::Forwards(_), Some(reach)) => bucket.start.0 <= made_ms(reach),
                (Direction::Backwards(_), Some(reach)) => bucket.end > made_ms(reach),
                (_, None) => true,
            };
            if !may_hold && (head.is_some() || self.lanes.len() > first) {
                break;
            }
            self.ahead.pop_front();
            self.lanes.push(self.lane(bucket.start)?);
            if matches!(self.direction, Direction::Backwards(_)) && head.is_none() {
                // What ends with it overlaps it. Of the others the first message will tell.
                reach = Some(MessageId(first_of(bucket.end.saturating_sub(1))));
            }
        }
        let opened = self.lanes.get_mut(first..).unwrap_or_default();
        let newest = match self.direction {
            Direction::Forwards(_) => opened.last_mut(),
            Direction::Backwards(_) => opened.first_mut(),
        };
        Ok(newest.map(|lane| lane.ask = self.ask).is_some())
    }

    fn lane(&self, bucket: Bucket) -> Result<Lane> {
        let (channel, bucket) = (self.channel.0, bucket.column());
        let statement = match self.direction {
            Direction::Forwards(point) => bind(&self.db.statements.read, &(channel, bucket, comparable(point)))?,
            Direction::Backwards(before) => bind(&self.db.statements.read_back, &(channel, bucket, before.0))?,
        };
        Ok(Lane { statement, rows: VecDeque::new(), next: Some(PagingState::start()), ask: FEW_ROWS, largest: 1 })
    }

    /// The lane whose head is the next message.
    fn head(&self) -> Option<usize> {
        let heads = self.lanes.iter().enumerate().filter_map(|(at, lane)| Some((lane.rows.front()?.id, at)));
        match self.direction {
            Direction::Forwards(_) => heads.min(),
            Direction::Backwards(_) => heads.max(),
        }
        .map(|(_, at)| at)
    }
}

impl Lane {
    async fn read_on(&mut self, db: &Db, channel: ChannelId) -> Result<()> {
        let Some(from) = self.next.take() else { return Ok(()) };
        // After large ones no more than a page takes.
        let rows = self.ask.min(PAGE_BYTES / self.largest).clamp(1, MOST_ROWS);
        self.statement.set_page_size(i32::try_from(rows).unwrap_or(1));
        self.ask = rows * 8;
        let page = db.page::<MessageRow>(&self.statement, from).await?;
        for row in page.rows {
            let message = message(channel, row)?;
            self.largest = self.largest.max(message.payload.len());
            self.rows.push_back(message);
        }
        self.next = page.next;
        Ok(())
    }
}

type MessageRow = (Uuid, Option<Uuid>, Option<String>, Option<i8>, Option<Vec<u8>>, Option<Vec<Uuid>>);

fn message(channel: ChannelId, row: MessageRow) -> Result<StoredMessage> {
    let (id, conversation, sender, kind, payload, meant_for) = row;
    let passport = sender.and_then(|sender| Passport::parse(&sender).ok());
    let kind = kind.and_then(|code| MessageKind::from_code(code.cast_unsigned()));
    Ok(StoredMessage {
        channel,
        id: MessageId(id),
        conversation: ConversationId(conversation.ok_or_else(|| strange("messages.conversation"))?),
        sender: passport.ok_or_else(|| strange("messages.sender"))?,
        kind: kind.ok_or_else(|| strange("messages.kind"))?,
        payload: Bytes::from(payload.ok_or_else(|| strange("messages.payload"))?),
        meant_for: meant_for.unwrap_or_default().into_iter().map(ParticipationId).collect(),
    })
}

/// The least of all version 7 UUIDs of a millisecond.
fn first_of(ms: u64) -> Uuid {
    comparable(MessageId(Uuid::from_u128(u128::from(ms) << 80)))
}

/// The servers order UUIDs by their version first, so a point that no clock made gets that of message ids.
fn comparable(point: MessageId) -> Uuid {
    let bits = point.0.as_u128() & !(0xf << 76);
    Uuid::from_u128(bits | 7 << 76)
}
