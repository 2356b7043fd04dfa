//! How long a store takes to make messages durable, and the processor time of each.

use std::time::Duration;

use bytes::Bytes;
use common::model::{ChannelId, ConversationId, MessageId, Passport};
use common::store::{HistoryWrite, MessageKind, SharedStore, StoreError, StoredMessage};
use tokio::time::Instant;
use uuid::Uuid;

use super::{processor_time, quantile};

/// What one channel saw.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    errors: Vec<StoreError>,
}

pub(crate) async fn run(store: &SharedStore, rate: f64, seconds: f64, tasks: u32) -> anyhow::Result<()> {
    let every = Duration::from_secs_f64(f64::from(tasks) / rate);
    let before = processor_time();
    let mut channels = tokio::task::JoinSet::new();
    for n in 0..tasks {
        let store = SharedStore::clone(store);
        let first = Instant::now() + every.mul_f64(f64::from(n) / f64::from(tasks));
        channels.spawn(speak(store, first, every, Duration::from_secs_f64(seconds)));
    }
    let seen = channels.join_all().await;
    let used = processor_time().saturating_sub(before);
    let mut latencies: Vec<_> = seen.iter().flat_map(|seen| seen.latencies.iter().copied()).collect();
    let errors: Vec<_> = seen.iter().flat_map(|seen| &seen.errors).collect();
    latencies.sort_unstable();
    let at = |share| quantile(&latencies, share);
    println!(
        "{} messages, {:.0}/s; p50 {:.2?}, p99 {:.2?}, max {:.2?}; {:.0} µs of processor each; {} errors {:?}",
        latencies.len(),
        latencies.len() as f64 / seconds,
        at(0.5),
        at(0.99),
        at(1.0),
        used.as_secs_f64() * 1e6 / latencies.len().max(1) as f64,
        errors.len(),
        errors.first(),
    );
    Ok(())
}

/// One message after the other, each at its time or, if the one before took longer, at once.
async fn speak(store: SharedStore, first: Instant, every: Duration, time: Duration) -> Seen {
    let channel = ChannelId(Uuid::new_v4());
    let sender = Passport::parse("bench@example.com").unwrap_or_else(|error| panic!("{error}"));
    let (mut seen, mut next) = (Seen::default(), first);
    while next < first + time {
        tokio::time::sleep_until(next).await;
        let start = Instant::now();
        let message = StoredMessage {
            channel,
            id: MessageId(Uuid::now_v7()),
            conversation: ConversationId(channel.0),
            sender: sender.clone(),
            kind: MessageKind::Text,
            payload: Bytes::from_static(&[b'x'; 200]),
            meant_for: vec![common::model::ParticipationId(Uuid::nil())],
        };
        let write = HistoryWrite { message, participations: Vec::new(), members: Vec::new() };
        match store.append(write).await {
            Ok(()) => seen.latencies.push(start.elapsed()),
            Err(error) => seen.errors.push(error),
        }
        next = (next + every).max(start);
    }
    seen
}
