//! Messages at a steady rate through pairs of connections.

use std::time::Duration;

use anyhow::{Context, Result};
use integration_tests::client::Client;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// A load to be put on a relay.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// The ack type of every message.
    pub(crate) ack: &'static str,
    /// The payload of every message.
    pub(crate) payload: Vec<u8>,
    /// Messages per second over all pairs.
    pub(crate) rate: u32,
    /// Messages in all.
    pub(crate) total: u32,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcome {
    /// Messages that reached the other side.
    pub(crate) delivered: u32,
    /// Messages that were acknowledged.
    pub(crate) acknowledged: u32,
}

/// Sends through all pairs at once, first to second, and waits until everything has arrived.
pub(crate) async fn run(pairs: Vec<(Client, Client)>, load: &Load) -> Result<(Outcome, Vec<(Client, Client)>)> {
    let count = u32::try_from(pairs.len())?;
    let mut tasks = JoinSet::new();
    for (sender, receiver) in pairs {
        tasks.spawn(one_pair(sender, receiver, load.clone(), load.total / count, count));
    }
    let mut outcome = Outcome::default();
    let mut pairs = Vec::new();
    while let Some(done) = tasks.join_next().await {
        let (pair, of_pair) = done??;
        outcome.delivered += of_pair.delivered;
        outcome.acknowledged += of_pair.acknowledged;
        pairs.push(pair);
    }
    Ok((outcome, pairs))
}

async fn one_pair(
    mut sender: Client,
    mut receiver: Client,
    load: Load,
    messages: u32,
    pairs: u32,
) -> Result<((Client, Client), Outcome)> {
    let receives = tokio::spawn(async move {
        for _ in 0..messages {
            receiver.expect("MSG").await?;
        }
        anyhow::Ok(receiver)
    });
    let mut tick = interval(Duration::from_secs(1) * pairs / load.rate);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut outcome = Outcome { delivered: messages, acknowledged: 0 };
    let acknowledged = load.ack == "A";
    let deadline = Instant::now() + Duration::from_secs(u64::from(load.total / load.rate) + 30);
    for _ in 0..messages {
        tick.tick().await;
        sender.message(load.ack, &load.payload).await?;
        if acknowledged && sender.receive().await?.verb() == "ACK" {
            outcome.acknowledged += 1;
        }
    }
    let left = deadline.saturating_duration_since(Instant::now());
    let receiver = timeout(left, receives).await.context("messages did not arrive")???;
    Ok(((sender, receiver), outcome))
}
