//! What attacks share: a small deployment, and people in it.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use integration_tests::{Plan, World, accounts};
use tokio::time::timeout;

/// How long a whole attack may take.
const STORY: Duration = Duration::from_secs(120);

/// Starts one node of each tier with these settings, plays a story in it and stops it again. If the story fails, the logs are shown.
pub(crate) async fn play(settings: &[&str], story: impl AsyncFnOnce(&mut World) -> Result<()>) -> Result<()> {
    let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
    let mut world = World::start(Plan { notification: 1, switchboard: 1, settings, ..Plan::default() }).await?;
    let played = timeout(STORY, story(&mut world)).await.context("the story does not end").flatten();
    played.map_err(|error| anyhow!("{error:#}\n{}", world.logs()))?;
    world.shut_down().await
}

/// Accounts of these names at example.com; `contacts` as in [`accounts::create`].
pub(crate) async fn people<const N: usize>(
    world: &World,
    names: [&str; N],
    contacts: &[(usize, usize)],
) -> Result<[String; N]> {
    let names = names.map(str::to_owned);
    let made = accounts::create(world.config(), &names, contacts).await?;
    let made: Vec<String> = made.iter().map(|passport| passport.as_str().to_owned()).collect();
    made.try_into().map_err(|made| anyhow!("not as many accounts as names: {made:?}"))
}
