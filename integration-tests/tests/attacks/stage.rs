//! What attacks share: a small deployment.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use integration_tests::{Plan, World};
use tokio::time::timeout;

/// How long a whole attack may take.
const STORY: Duration = Duration::from_secs(120);

/// Starts one node of each tier with these settings, plays a story in it and stops it again. If the story fails, the logs are shown.
pub(crate) async fn play(settings: &[&str], story: impl AsyncFnOnce(&mut World) -> Result<()>) -> Result<()> {
    let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
    play_in(Plan { notification: 1, switchboard: 1, settings, ..Plan::default() }, story).await
}

/// The same in a deployment of this plan.
pub(crate) async fn play_in(plan: Plan, story: impl AsyncFnOnce(&mut World) -> Result<()>) -> Result<()> {
    let mut world = World::start(plan).await?;
    let played = timeout(STORY, story(&mut world)).await.context("the story does not end").flatten();
    played.map_err(|error| anyhow!("{error:#}\n{}", world.logs()))?;
    world.shut_down().await
}
