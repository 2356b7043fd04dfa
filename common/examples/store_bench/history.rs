//! One long channel: what its ends cost, and what a page behind a cursor costs near the beginning and near the end.

use std::future::Future;
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
const TURNS: u32 = 200;
const IN_FLIGHT: usize = 64;
/// Where the near cursor stands.
const NEAR: u64 = 1_000;

pub(crate) async fn run(store: &SharedStore, count: u64, scylla: Option<&ScyllaConfig>) -> anyhow::Result<()> {
    anyhow::ensure!(count > 2 * NEAR, "expected more than {} messages", 2 * NEAR);
    let channel = ChannelId(Uuid::new_v4());
    fill(store, channel, count).await?;
    if let Some(scylla) = scylla {
        buckets(scylla, channel).await?;
    }
    let near = walk(store, channel, NEAR).await?;
    let start = (Instant::now(), processor_time());
    let far = walk(store, channel, count - PAGE as u64).await?;
    let (time, used) = (start.0.elapsed(), processor_time().saturating_sub(start.1));
    println!("walk through all: {time:.2?}, {:.1} µs of processor a message", micros(used) / count as f64);

    let first = measure("first page", None, || store.read(channel, None, PAGE)).await?;
    let back = || async { store.read_back(channel, None, PAGE).await.map(drop) };
    measure("last page", Some(first), back).await?;
    let near_cost = measure("behind 1,000", Some(first), || store.read(channel, Some(&near), PAGE)).await?;
    let name = format!("behind {}", count - PAGE as u64);
    let far_cost = measure(&name, Some(first), || store.read(channel, Some(&far), PAGE)).await?;
    println!("far over near: {:.2}", far_cost.as_secs_f64() / near_cost.as_secs_f64());
    Ok(())
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
        "{count} messages written in {time:.1?}, {:.0}/s, {:.0} µs of processor each",
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

/// The cursor behind that many messages.
async fn walk(store: &SharedStore, channel: ChannelId, count: u64) -> anyhow::Result<Cursor> {
    let (mut cursor, mut left) = (None, count as usize);
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

async fn measure<T, F>(name: &str, to: Option<Duration>, read: impl Fn() -> F) -> anyhow::Result<Duration>
where
    F: Future<Output = common::store::Result<T>>,
{
    read().await?;
    let (mut times, before) = (Vec::new(), processor_time());
    for _ in 0..TURNS {
        let start = Instant::now();
        read().await?;
        times.push(start.elapsed());
    }
    let used = processor_time().saturating_sub(before);
    times.sort_unstable();
    let (p50, p99) = (quantile(&times, 0.5), quantile(&times, 0.99));
    let ratio = to
        .map_or_else(String::new, |to| format!(", {:.2} of the first page", p50.as_secs_f64() / to.as_secs_f64()));
    println!("{name}: p50 {p50:.2?}, p99 {p99:.2?}, {:.0} µs of processor{ratio}", micros(used / TURNS));
    Ok(p50)
}

/// How many rows each bucket has.
async fn buckets(scylla: &ScyllaConfig, channel: ChannelId) -> anyhow::Result<()> {
    let session = SessionBuilder::new().known_nodes(&scylla.contact_points).build().await?;
    let keyspace = &scylla.keyspace;
    let list = format!("SELECT bucket FROM {keyspace}.channel_buckets WHERE channel_id = ?");
    let rows = session.query_unpaged(list, (channel.0,)).await?.into_rows_result()?;
    for bucket in rows.rows::<(i64,)>()? {
        let (bucket,) = bucket?;
        let count = format!("SELECT COUNT(*) FROM {keyspace}.messages WHERE channel_id = ? AND bucket = ?");
        let counted = session.query_unpaged(count, (channel.0, bucket)).await?.into_rows_result()?;
        println!("bucket {bucket}: {} rows", counted.first_row::<(i64,)>()?.0);
    }
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
