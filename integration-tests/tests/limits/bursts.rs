//! Many sign in at once: the notification nodes share them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use integration_tests::accounts::{self, PASSWORD};
use integration_tests::client::Client;
use integration_tests::{Plan, World};
use tokio::task::JoinSet;

use crate::{play, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_right_after_the_start_is_shared_evenly() -> Result<()> {
    let all = ["dispatch", "notification"].map(|tier| format!("{tier}.connections_per_address=5000"));
    play(Plan { notification: 3, settings: all.into(), ..Plan::default() }, async |world| {
        let first = burst(world, "early", 60).await?;
        println!("60 sign-ins: {first:?}");
        ensure!(first.len() == 3 && first.values().all(|count| (15..=25).contains(count)), "{first:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_is_shared_evenly() -> Result<()> {
    let all = ["dispatch", "notification"].map(|tier| format!("{tier}.connections_per_address=5000"));
    play(Plan { notification: 3, settings: all.into(), ..Plan::default() }, async |world| {
        let storm = burst(world, "storm", 1200).await?;
        println!("1200 sign-ins: {storm:?}");
        ensure!(storm.len() == 3 && storm.values().all(|count| (360..=440).contains(count)), "{storm:?}");
        Ok(())
    })
    .await
}

/// As many people sign in through dispatch, all at once, and stay; how many each node has got.
async fn burst(world: &World, name: &str, people: usize) -> Result<BTreeMap<String, usize>> {
    let names: Vec<String> = (0..people).map(|number| format!("{name}{number}")).collect();
    let made = accounts::create(world.config(), &names, &[]).await?;
    let dispatch = world.process("dispatch-1")?.address("clients")?;
    let mut signing_in = JoinSet::new();
    for passport in made {
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
