//! What shows only in a deployment with other settings, or in one that has lost a part: deadlines, limits, grace,
//! guessed passwords, nodes that are gone, and what they have not delivered; and what operators and resolvers ask, or order.

mod alone;
mod bursts;
mod checking;
mod clear_text;
mod deadlines;
mod dns;
mod grace;
mod guessing;
mod hangup;
mod lists;
mod logs;
mod losses;
mod names;
mod offline;
mod operators;
mod orders;
mod passwords;
mod rates;
mod repair;
mod rings;
mod sizes;
mod starting;
mod twins;
mod words;
mod wrong_ports;

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use integration_tests::accounts::people;
use integration_tests::client::{Client, Received};
use integration_tests::{Plan, World};
use tokio::time::{Instant, sleep, timeout};

/// How long anything may take that happens by itself.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a whole story may take.
const STORY: Duration = Duration::from_secs(90);
/// Silence of this length is taken for silence.
const SILENCE: Duration = Duration::from_millis(300);

/// A small deployment: one node of each tier.
fn one_of_each(settings: &[&str]) -> Plan {
    let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
    Plan { notification: 1, switchboard: 1, settings, ..Plan::default() }
}

/// Starts a deployment, plays a story in it and stops it again. If the story fails, the logs are shown.
async fn play(plan: Plan, story: impl AsyncFnOnce(&mut World) -> Result<()>) -> Result<()> {
    let mut world = World::start(plan).await?;
    let played = timeout(STORY, story(&mut world)).await.context("the story does not end").flatten();
    played.map_err(|error| anyhow!("{error:#}\n{}", world.logs()))?;
    world.shut_down().await
}

/// Waits for something that is to come by itself.
async fn soon<T>(what: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(PATIENCE, what).await.context("nothing came in time")?
}

/// The lines that the server still sends until it closes.
async fn closes(client: &mut Client) -> Result<Vec<String>> {
    Ok(lines(&soon(client.rest()).await?))
}

fn lines(received: &[Received]) -> Vec<String> {
    received.iter().map(|received| received.tokens.join(" ")).collect()
}

/// Whether the connection is open and nothing comes on it.
async fn is_silent(client: &mut Client, how_long: Duration) -> bool {
    timeout(how_long, client.receive()).await.is_err()
}

/// Asks until the answer is yes.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await? {
        anyhow::ensure!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
