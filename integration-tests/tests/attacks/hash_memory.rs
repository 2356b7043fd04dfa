//! Many passwords hashed at once leave no memory behind: each takes 19 MiB while it is computed.

use anyhow::{Context, Result, ensure};
use integration_tests::World;
use integration_tests::accounts::{PASSWORD, people};
use tokio::task::JoinSet;

use crate::stage::play;
use crate::web;

/// What one hash takes.
const HASH: u64 = 19;
/// Attempts at once, and one after the other on each of these lines.
const LINES: usize = 8;
const TURNS: usize = 125;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_sign_ins_leave_no_memory_behind() -> Result<()> {
    let costs = [
        "accounts.argon2_memory_kib=19456",
        "accounts.argon2_passes=1",
        "accounts.wrong_passwords_known_network=60000",
        "accounts.wrong_passwords_per_address=60000",
    ];
    play(&costs, async |world| thousand(world).await).await
}

async fn thousand(world: &World) -> Result<()> {
    let [alice] = people(world, ["alice"], &[]).await?;
    let dispatch = world.process("dispatch-1")?;
    let (http, pid) = (dispatch.address("http")?, dispatch.id().context("it runs")?);
    let here = "127.0.0.1".parse()?;
    ensure!(web::log_in(here, http, &alice, PASSWORD).await? == 200);

    let start = resident(pid)?;
    let mut lines = JoinSet::new();
    for line in 0..LINES {
        let alice = alice.clone();
        lines.spawn(async move {
            for turn in 0..TURNS {
                let status = web::log_in(here, http, &alice, &format!("guess-{line}-{turn}")).await?;
                ensure!(status == 401, "{status}");
            }
            anyhow::Ok(())
        });
    }
    while let Some(line) = lines.join_next().await {
        line??;
    }
    let end = resident(pid)?;
    let threads = std::thread::available_parallelism()?.get() as u64;
    println!("dispatch: {start} MiB at the start, {end} MiB after {} wrong passwords", LINES * TURNS);
    ensure!(end <= start + 24 + HASH * threads, "{start} MiB at the start, {end} MiB at the end");
    Ok(())
}

/// What of a process is in memory, in MiB.
fn resident(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    Ok(kib.context("VmRSS")?.trim().parse::<u64>()? / 1024)
}
