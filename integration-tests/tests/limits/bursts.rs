//! Many sign in at once: the notification nodes share them.

use std::collections::BTreeMap;
use std::iter::zip;
use std::ops::RangeInclusive;

use anyhow::{Context, Result, ensure};
use integration_tests::accounts::{self, PASSWORD};
use integration_tests::client::Client;
use integration_tests::{Plan, World};
use tokio::task::JoinSet;

use crate::{play, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_right_after_the_start_is_shared_evenly() -> Result<()> {
    shared_evenly(1, 60, 15..=25).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_is_shared_evenly() -> Result<()> {
    shared_evenly(1, 1200, 360..=440).await
}

// Each of two dispatchers knows of its own assignments only.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_at_two_dispatchers_is_shared_evenly() -> Result<()> {
    shared_evenly(2, 60, 15..=25).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_at_two_dispatchers_is_shared_evenly() -> Result<()> {
    shared_evenly(2, 1200, 360..=440).await
}

/// So many people sign in by way of so many dispatchers in turn; each of three notification nodes gets its share of them.
async fn shared_evenly(dispatchers: usize, people: usize, share: RangeInclusive<usize>) -> Result<()> {
    let settings = ["dispatch", "notification"].map(|tier| format!("{tier}.connections_per_address=5000"));
    let plan = Plan { dispatch: dispatchers, notification: 3, settings: settings.into(), ..Plan::default() };
    play(plan, async |world| {
        let got = burst(world, dispatchers, people).await?;
        println!("{people} sign-ins at {dispatchers} dispatchers: {got:?}");
        ensure!(got.len() == 3 && got.values().all(|count| share.contains(count)), "{got:?}");
        Ok(())
    })
    .await
}

/// As many people sign in through dispatch, all at once, and stay; how many each node has got.
async fn burst(world: &World, dispatchers: usize, people: usize) -> Result<BTreeMap<String, usize>> {
    let names: Vec<String> = (0..people).map(|number| format!("person{number}")).collect();
    let made = accounts::create(world.config(), &names, &[]).await?;
    let dispatchers =
        (1..=dispatchers).map(|number| world.process(&format!("dispatch-{number}"))?.address("clients"));
    let dispatchers = dispatchers.collect::<Result<Vec<_>>>()?;
    let mut signing_in = JoinSet::new();
    for (passport, dispatch) in zip(made, dispatchers.into_iter().cycle()) {
        signing_in.spawn(async move {
            let mut client = Client::connect(dispatch).await?;
            client.request("VER", "MSNP7 CVR0").await?;
            client.request("INF", "").await?;
            let named = client.request("USR", &format!("MD5 I {passport}")).await?.token(3).to_owned();
            let mut client = Client::connect(named.parse().context("an address")?).await?;
            let answer = client.authenticate(passport.as_str(), PASSWORD).await?;
            ensure!(answer.token(2) == "OK", "{named} says {:?}", answer.tokens);
            Ok((named, client))
        });
    }
    let (mut got, mut staying) = (BTreeMap::new(), Vec::new());
    while let Some(signed_in) = soon(async { Ok(signing_in.join_next().await) }).await? {
        let (named, client) = signed_in??;
        staying.push(client);
        *got.entry(named).or_default() += 1;
    }
    Ok(got)
}
