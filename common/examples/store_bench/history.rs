//! A long channel beside a short one: what a page costs at their ends and behind a cursor, each reading of the one
//! made in turn with that of the other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::clock;
use common::config::ScyllaConfig;
use common::model::{ChannelId, ConversationId, MessageId, ParticipationId, Passport};
use common::store::{Cursor, HistoryWrite, MessageKind, SharedStore, StoredMessage};
use scylla::client::session_builder::SessionBuilder;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::{Builder, Uuid};

use super::{processor_time, quantile};

/// Messages of a page, as a client asks for them.
const PAGE: usize = 50;
/// Each reading is made so often.
const TURNS: usize = 400;
const IN_FLIGHT: usize = 64;
/// Messages of the short channel.
const SHORT: u64 = 1_000;

/// A channel, and cursors in it.
struct Filled {
    channel: ChannelId,
    /// So that the next page lies over the end of the first bucket, if there is one.
    edge: Cursor,
    /// Somewhere in the middle, and at the usual size of buckets not near the end of one.
    middle: Cursor,
    /// A page before the end.
    end: Cursor,
}

/// `bucket_rows`: of a bucket, where there are any.
pub(crate) async fn run(
    store: &SharedStore,
    count: u64,
    bucket_rows: u64,
    scylla: Option<&ScyllaConfig>,
) -> anyhow::Result<()> {
    anyhow::ensure!(count >= SHORT, "expected at least {SHORT} messages");
    let short = filled(store, SHORT, bucket_rows).await?;
    let long = filled(store, count, bucket_rows).await?;
    if let Some(scylla) = scylla {
        buckets(scylla, long.channel).await?;
    }
    println!("p50 of {TURNS} readings of {PAGE} messages, of {SHORT} messages and of {count}:");
    let pair = [&short, &long];
    compare("first page", pair, async |of| store.read(of.channel, None, PAGE).await.map(drop)).await?;
    compare("last page", pair, async |of| store.read_back(of.channel, None, PAGE).await.map(drop)).await?;
    let behind = async |of: &Filled| store.read(of.channel, Some(&of.middle), PAGE).await.map(drop);
    compare("behind a cursor in the middle", pair, behind).await?;
    let behind = async |of: &Filled| store.read(of.channel, Some(&of.end), PAGE).await.map(drop);
    compare("behind a cursor near the end", pair, behind).await?;
    // In the short one there is no such end.
    let behind = async |of: &Filled| store.read(of.channel, Some(&of.edge), PAGE).await.map(drop);
    compare("over the end of a bucket", pair, behind).await
}

async fn filled(store: &SharedStore, count: u64, bucket_rows: u64) -> anyhow::Result<Filled> {
    let channel = ChannelId(Uuid::new_v4());
    fill(store, channel, count).await?;
    let start = (Instant::now(), processor_time());
    let before = count / 20 * 9;
    let edge = bucket_rows.min(before).saturating_sub(PAGE as u64 / 2).max(1);
    let edge = walk(store, channel, None, edge).await?;
    let middle = walk(store, channel, None, before).await?;
    let end = walk(store, channel, Some(middle.clone()), count - before - PAGE as u64).await?;
    let (time, used) = (start.0.elapsed(), processor_time().saturating_sub(start.1));
    println!("  read again in {time:.2?}, {:.1} µs of processor a message", micros(used) / count as f64);
    Ok(Filled { channel, edge, middle, end })
}

/// A message each millisecond, the last of them a minute ago.
async fn fill(store: &SharedStore, channel: ChannelId, count: u64) -> anyhow::Result<()> {
    let first = clock::wall_ms() - 60_000 - count;
    let places = Arc::new(Semaphore::new(IN_FLIGHT));
    let (start, before) = (Instant::now(), processor_time());
    let mut writes = JoinSet::new();
    for n in 0..count {
        let place = Arc::clone(&places).acquire_owned().await?;
        let store = SharedStore::clone(store);
        writes.spawn(async move {
            let _place = place;
            store.append(message(channel, first + n, n)).await
        });
        while let Some(written) = writes.try_join_next() {
            written??;
        }
    }
    while let Some(written) = writes.join_next().await {
        written??;
    }
    let (time, used) = (start.elapsed(), processor_time().saturating_sub(before));
    println!(
        "{count} messages: written in {time:.1?}, {:.0}/s, {:.0} µs of processor each",
        count as f64 / time.as_secs_f64(),
        micros(used) / count as f64
    );
    Ok(())
}

fn message(channel: ChannelId, ms: u64, n: u64) -> HistoryWrite {
    let mut tail = [0; 10];
    tail[2..].copy_from_slice(&n.to_be_bytes());
    let message = StoredMessage {
        channel,
        id: MessageId(Builder::from_unix_timestamp_millis(ms, &tail).into_uuid()),
        conversation: ConversationId(channel.0),
        sender: Passport::parse("bench@example.com").unwrap_or_else(|error| panic!("{error}")),
        kind: MessageKind::Text,
        payload: Bytes::from_static(&[b'x'; 200]),
        meant_for: vec![ParticipationId(Uuid::nil())],
    };
    HistoryWrite { message, participations: Vec::new(), members: Vec::new() }
}

/// The cursor so many messages further on.
async fn walk(
    store: &SharedStore,
    channel: ChannelId,
    from: Option<Cursor>,
    count: u64,
) -> anyhow::Result<Cursor> {
    let (mut cursor, mut left) = (from, count as usize);
    loop {
        let page = store.read(channel, cursor.as_ref(), left.min(1000)).await?;
        left -= page.messages.len();
        if left == 0 {
            return Ok(page.cursor);
        }
        anyhow::ensure!(page.more, "{left} messages are missing");
        cursor = Some(page.cursor);
    }
}

async fn compare(
    name: &str,
    pair: [&Filled; 2],
    read: impl AsyncFn(&Filled) -> common::store::Result<()>,
) -> anyhow::Result<()> {
    let (mut times, mut used) = ([Vec::new(), Vec::new()], [Duration::ZERO; 2]);
    for turn in 0..TURNS + 20 {
        for (at, of) in pair.into_iter().enumerate() {
            let (start, before) = (Instant::now(), processor_time());
            read(of).await?;
            // The first are only to warm up.
            if turn >= 20 {
                times[at].push(start.elapsed());
                used[at] += processor_time().saturating_sub(before);
            }
        }
    }
    let [short, long] = times.each_mut().map(|times| {
        times.sort_unstable();
        quantile(times, 0.5)
    });
    let [short_used, long_used] = used.map(|used| micros(used) / TURNS as f64);
    let ratio = long.as_secs_f64() / short.as_secs_f64();
    println!("{name}: {short:.2?} and {long:.2?}, {ratio:.2}; {short_used:.0} and {long_used:.0} µs of processor");
    Ok(())
}

/// How many rows each bucket has.
async fn buckets(scylla: &ScyllaConfig, channel: ChannelId) -> anyhow::Result<()> {
    let session = SessionBuilder::new().known_nodes(&scylla.contact_points).build().await?;
    let keyspace = &scylla.keyspace;
    let list = format!("SELECT bucket FROM {keyspace}.channel_buckets WHERE channel_id = ?");
    let rows = session.query_unpaged(list, (channel.0,)).await?.into_rows_result()?;
    // One row for each of their writers.
    let buckets: Result<BTreeSet<(i64,)>, _> = rows.rows()?.collect();
    for (bucket,) in buckets? {
        let count = format!("SELECT COUNT(*) FROM {keyspace}.messages WHERE channel_id = ? AND bucket = ?");
        let counted = session.query_unpaged(count, (channel.0, bucket)).await?.into_rows_result()?;
        println!("bucket {bucket}: {} rows", counted.first_row::<(i64,)>()?.0);
    }
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
