//! How long a store takes to make messages durable: `store_bench DIRECTORY RATE SECONDS [TASKS]`.
//!
//! Appends RATE messages a second, each of 200 bytes in one of TASKS (default 64) channels, and prints latencies and
//! the processor time per message. Start it several times on one directory to see how processes share the file.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use common::config::StoreConfig;
use common::model::{ChannelId, ConversationId, MessageId, Passport};
use common::store::{HistoryWrite, MessageKind, SharedStore, StoreError, StoredMessage};
use tokio::time::Instant;
use uuid::Uuid;

/// What one channel saw.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    errors: Vec<StoreError>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, rate, seconds, rest @ ..] = &arguments[..] else {
        anyhow::bail!("usage: store_bench DIRECTORY RATE SECONDS [TASKS]");
    };
    let (rate, seconds): (f64, f64) = (rate.parse()?, seconds.parse()?);
    let tasks: u32 = rest.first().map_or(Ok(64), |tasks| tasks.parse())?;
    let config = StoreConfig { path: PathBuf::from(directory), ..StoreConfig::default() };
    let store = common::store::open(&config).await?;
    let every = Duration::from_secs_f64(f64::from(tasks) / rate);
    let before = processor_time();
    let mut channels = tokio::task::JoinSet::new();
    for n in 0..tasks {
        let store = SharedStore::clone(&store);
        let first = Instant::now() + every.mul_f64(f64::from(n) / f64::from(tasks));
        channels.spawn(speak(store, first, every, Duration::from_secs_f64(seconds)));
    }
    let seen = channels.join_all().await;
    let used = processor_time().saturating_sub(before);
    let mut latencies: Vec<_> = seen.iter().flat_map(|seen| seen.latencies.iter().copied()).collect();
    let errors: Vec<_> = seen.iter().flat_map(|seen| &seen.errors).collect();
    latencies.sort_unstable();
    let at =
        |share: f64| latencies.get(((latencies.len() as f64 - 1.0) * share) as usize).copied().unwrap_or_default();
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

/// User and system time of this process, from Linux's `/proc`: its 14th and 15th value, in 1/100 s.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: u64 = after_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
