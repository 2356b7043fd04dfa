//! Many sign-ins, right and wrong, leave no memory behind: by HTTP each takes 19 MiB while its hash is computed, by MD5 a session.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use common::model::Passport;
use integration_tests::World;
use integration_tests::accounts::{self, PASSWORD};
use integration_tests::client::Client;
use tokio::task::JoinSet;

use crate::stage::play;
use crate::web;

/// What one hash takes.
const HASH: u64 = 19;
/// What may come on top of the hashes that are computed at once, in MiB.
const MORE: u64 = 24;
/// Attempts at once, and one after the other on each of these lines. Each is at an account of its own, so that none is remembered.
const LINES: usize = 20;
const TURNS: usize = 50;
/// Attempts that come before: of what they take nothing is counted.
const FIRST: usize = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_sign_ins_leave_no_memory_behind() -> Result<()> {
    let settings = [
        "accounts.argon2_memory_kib=19456",
        "accounts.argon2_passes=1",
        "accounts.wrong_passwords_per_address=60000",
        "log.filter=warn",
    ];
    play(&settings, async |world| thousand(world).await).await
}

async fn thousand(world: &World) -> Result<()> {
    let mut config = world.config().clone();
    (config.accounts.argon2_memory_kib, config.accounts.argon2_passes) = (19456, 1);
    let names: Vec<_> = (0..FIRST + LINES * TURNS).map(|number| format!("u{number}")).collect();
    let people: Arc<[Passport]> = accounts::create(&config, &names, &[]).await?.into();
    let hashes = HASH * std::thread::available_parallelism()?.get() as u64;
    for (tier, address, own) in [("dispatch", "http", hashes), ("notification", "clients", 0)] {
        let process = world.process(&format!("{tier}-1"))?;
        let (at, pid) = (process.address(address)?, process.id().context("it runs")?);
        sign_in(tier, at, people.get(..FIRST).context("people")?, PASSWORD).await?;
        let start = resident(pid)?;
        for (what, password) in [("right", PASSWORD), ("wrong", "guess")] {
            let mut lines = JoinSet::new();
            for line in 0..LINES {
                let (people, own): (_, Range<usize>) = (Arc::clone(&people), line * TURNS..(line + 1) * TURNS);
                lines.spawn(async move {
                    sign_in(tier, at, people[FIRST..].get(own).context("people")?, password).await
                });
            }
            while let Some(line) = lines.join_next().await {
                line??;
            }
            let end = resident(pid)?;
            println!("{tier}: {start} MiB at the start, {end} MiB after {} {what} passwords", LINES * TURNS);
            ensure!(end <= start + MORE + own, "{tier}: {start} MiB at the start, {end} MiB at the end");
        }
    }
    Ok(())
}

/// One after the other, by HTTP or by MD5.
async fn sign_in(tier: &str, at: SocketAddr, people: &[Passport], password: &str) -> Result<()> {
    let here = IpAddr::from([127, 0, 0, 1]);
    for who in people {
        let is_in = if tier == "dispatch" {
            web::log_in(here, at, who.as_str(), password).await? == 200
        } else {
            let mut client = Client::connect(at).await?;
            let answer = client.authenticate(who.as_str(), password).await?;
            if answer.token(2) == "OK" {
                client.send("OUT", "").await?;
            }
            // Whatever it was, the server is done with it.
            client.rest().await?;
            answer.token(2) == "OK"
        };
        ensure!(is_in == (password == PASSWORD), "{who} with {password}: let in: {is_in}");
    }
    Ok(())
}

/// What of a process is in memory, in MiB.
fn resident(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    Ok(kib.context("VmRSS")?.trim().parse::<u64>()? / 1024)
}
