//! The disk is full, and there is space again. Nothing is acknowledged that could not be written, who sends hears of it in
//! time, what needs no disk goes on, and afterwards all is as before.
//!
//! The disk is a small file system in memory, mounted in name spaces of the test's own: this needs no rights. Where the
//! system does not allow them, the test says that it was left out. It is of the store that lies in files.

mod chat;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chat::{Chat, sign_in, within};
use integration_tests::accounts;
use integration_tests::client;
use integration_tests::{Plan, World, left_out, stored};
use tokio::time::{Instant, sleep};

/// What the disk holds, in MiB. Databases and logs take less than half of it.
const SIZE: usize = 24;
/// A twentieth of it is the floor under which nothing is kept.
const FLOOR_KIB: usize = SIZE * 1024 / 20;
/// Who waits for the store hears so soon: 5 s, and what this machine needs.
const TOLD: Duration = Duration::from_millis(5_500);
/// What needs no store.
const AT_ONCE: Duration = Duration::from_secs(1);
/// After a failure of the store `/readyz` says so.
const NOTICED: Duration = Duration::from_secs(12);
/// Once there is space again all is as before.
const RECOVERED: Duration = Duration::from_secs(20);
/// What fits into pages that the databases have already is written even now; then nothing is.
const MOST_WRITTEN: usize = 200;

/// Mounts, and becomes what follows.
const MOUNT: &str = "mount -t tmpfs -o size=${SIZE}m none \"$TMPDIR\" && exec \"$@\"";

#[test]
fn what_was_acknowledged_survives_a_full_disk() -> Result<()> {
    on_a_small_disk("in_name_spaces_of_its_own")
}

#[test]
fn the_last_of_the_disk_is_for_lists_and_sign_ins() -> Result<()> {
    on_a_small_disk("with_a_floor_in_name_spaces_of_its_own")
}

/// Plays another test of this file on a disk of its own.
fn on_a_small_disk(test: &str) -> Result<()> {
    if std::env::var("MONARCH_TEST_STORE").is_ok_and(|store| store != "sqlite") {
        println!("left out: another store");
        return Ok(());
    }
    let allowed = Command::new("unshare").args(["-rm", "true"]).output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        return left_out("`unshare` makes no name spaces here");
    }
    let disk = tempfile::tempdir()?;
    let mut inner = Command::new("timeout");
    inner.args(["300", "unshare", "-rm", "sh", "-c", MOUNT, "sh"]).arg(std::env::current_exe()?);
    inner.args(["--exact", test, "--ignored", "--nocapture"]);
    let output = inner.env("TMPDIR", disk.path()).env("SIZE", SIZE.to_string()).output()?;
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    print!("{said}");
    ensure!(output.status.success() && said.contains("1 passed"), "{said}");
    Ok(())
}

/// Started by a test above, on a disk of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the other test starts it"]
async fn with_a_floor_in_name_spaces_of_its_own() -> Result<()> {
    let world = World::start(Plan::default()).await?;
    let outcome = below_the_floor_and_above_again(&world).await;
    outcome.with_context(|| world.logs())?;
    world.shut_down().await
}

/// A twentieth of this disk is the floor.
async fn below_the_floor_and_above_again(world: &World) -> Result<()> {
    let names: Vec<String> = (0..20).map(|number| format!("user{number}")).collect();
    let people = accounts::create(world.config(), &names, &[(0, 1), (1, 0)]).await?;
    let mut chat = Chat::open(world, &people[0], &people[1]).await?;
    let mut at_owner = sign_in(world, 1, &people[2]).await?;
    chat.acknowledged("at first").await?;
    let ballast = world.directory().join("ballast");
    let all = fill(&ballast)?;
    File::options().write(true).open(&ballast)?.set_len(all as u64 - (FLOOR_KIB * 1024 / 2) as u64)?;
    reports(world, "switchboard-1", 200, "of the disk are free").await?;

    chat.alice_says("A", "not kept").await?;
    within(AT_ONCE, chat.bob_hears("not kept")).await.context("a message, delivered")?;
    let answer = within(AT_ONCE, chat.at_alice.receive()).await.context("an answer to the sender")?;
    ensure!(answer.verb() == "NAK", "{:?}", answer.tokens);
    for stranger in &people[3..] {
        let edit = format!("FL {stranger} {stranger}");
        let answer = within(TOLD, at_owner.request("ADD", &edit)).await.context("an edit")?;
        ensure!(answer.verb() == "ADD", "{:?}", answer.tokens);
    }
    drop(within(TOLD, sign_in(world, 2, &people[4])).await.context("a sign-in")?);
    drop(within(TOLD, Chat::open(world, &people[5], &people[6])).await.context("a new conversation")?);
    let not_kept = world.process("switchboard-1")?.get("/metrics").await?.1;
    ensure!(not_kept.contains("monarch_switchboard_not_kept_total{why=\"disk\"} 1"), "{not_kept}");

    fs::remove_file(&ballast)?;
    reports(world, "switchboard-1", 200, "disk: ok").await?;
    chat.acknowledged("afterwards").await?;
    Ok(())
}

/// Started by a test above, on a disk of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the other test starts it"]
async fn in_name_spaces_of_its_own() -> Result<()> {
    // What is free is used to the last byte here.
    let settings = vec!["limits.free_disk_mib=0".to_owned()];
    let world = World::start(Plan { settings, ..Plan::default() }).await?;
    let outcome = full_and_empty_again(&world).await;
    outcome.with_context(|| world.logs())?;
    world.shut_down().await
}

async fn full_and_empty_again(world: &World) -> Result<()> {
    let names: Vec<String> = (0..MOST_WRITTEN + 3).map(|number| format!("user{number}")).collect();
    let people = accounts::create(world.config(), &names, &[(0, 1), (1, 0)]).await?;
    let (owner, strangers) = (&people[2], &people[3..]);
    let mut chat = Chat::open(world, &people[0], &people[1]).await?;
    let mut at_owner = sign_in(world, 1, owner).await?;
    let mut acknowledged = vec![chat.acknowledged("at first").await?];

    let ballast = world.directory().join("ballast");
    let written = fill(&ballast)?;
    println!("{written} bytes until the disk was full");

    // Texts until one is refused, and some more: what is refused once stays so.
    let (mut refused, mut slowest) = (Vec::new(), Duration::ZERO);
    while refused.len() < 20 {
        let text = format!("{} {}", acknowledged.len() + refused.len(), "x".repeat(1_000));
        ensure!(acknowledged.len() < MOST_WRITTEN, "the disk is full, and all is still written");
        let start = Instant::now();
        chat.alice_says("A", &text).await?;
        within(AT_ONCE, chat.bob_hears(&text)).await.context("a message, delivered")?;
        let answer = within(TOLD, chat.at_alice.receive()).await.context("an answer to the sender")?;
        slowest = slowest.max(start.elapsed());
        match answer.verb() {
            "ACK" => acknowledged.push(text),
            "NAK" => {
                refused.push(text);
                let status = if refused.len() % 2 == 0 { "NLN" } else { "BSY" };
                within(AT_ONCE, chat.alice_is(status)).await.context("a contact's presence")?;
            }
            _ => bail!("{:?}", answer.tokens),
        }
    }
    println!("{} messages were still written, {} refused, after {slowest:?} at most", acknowledged.len(), 20);

    reports(world, "switchboard-1", 503, "the disk is full").await?;

    // Contacts, until one is refused.
    let mut listed = BTreeSet::new();
    let mut left_out = None;
    for stranger in strangers {
        let edit = format!("FL {stranger} {stranger}");
        let answer = within(TOLD, at_owner.request("ADD", &edit)).await.context("an edit")?;
        if answer.verb() == "ADD" {
            listed.insert(stranger.to_string());
        } else {
            ensure!(["501", "715"].contains(&answer.verb()), "{:?}", answer.tokens);
            left_out = Some(stranger.to_string());
            break;
        }
    }
    let left_out = left_out.context("the disk is full, and every edit is still written")?;
    println!("{} edits were still written", listed.len());

    fs::remove_file(&ballast)?;
    let back = Instant::now();
    within(RECOVERED, world.ready()).await?;
    println!("ready {:?} after there was space", back.elapsed());
    acknowledged.push(chat.acknowledged("afterwards").await?);
    let edit = format!("FL {left_out} {left_out}");
    let answer = within(TOLD, at_owner.request("ADD", &edit)).await?;
    ensure!(answer.verb() == "ADD", "{left_out}, who was refused before: {:?}", answer.tokens);
    listed.insert(left_out);

    // What was granted is there for a session that knows nothing but the store.
    drop(at_owner);
    let mut at_owner = sign_in(world, 2, owner).await?;
    at_owner.send("LST", "FL").await?;
    while !listed.is_empty() {
        let line = within(TOLD, at_owner.expect("LST")).await.with_context(|| format!("{listed:?}"))?;
        listed.remove(line.token(6));
    }
    let kept = stored::payloads(&world.config().store).await?;
    for text in &acknowledged {
        let count = kept.iter().filter(|payload| **payload == client::text(text)).count();
        ensure!(count == 1, "{text:?} was acknowledged, and is {count} times in the history");
    }
    Ok(())
}

/// Operators can see what is wrong.
async fn reports(world: &World, name: &str, expected: u16, why: &str) -> Result<()> {
    let deadline = Instant::now() + NOTICED;
    loop {
        let (status, report) = world.process(name)?.get("/readyz").await?;
        if status == expected && report.contains(why) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{name}: {status} {report}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Writes until nothing more fits. Returns how much that was.
fn fill(path: &Path) -> Result<usize> {
    let (mut file, mut written) = (File::create(path)?, 0);
    for size in [1 << 20, 4096, 1] {
        let piece = vec![b'x'; size];
        loop {
            match file.write(&piece) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(written)
}
