//! An account fills the disk with messages that are kept, and a core with messages to nobody.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::World;
use integration_tests::accounts::{PASSWORD, people};
use integration_tests::client::{self, Client};
use rusqlite::{Connection, OpenFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, sleep, timeout};

use crate::stage::play;

/// For how long it is tried.
const ATTACK: Duration = Duration::from_secs(5);
/// What the others' messages may take meanwhile.
const PATIENCE: Duration = Duration::from_secs(2);

/// A switchboard connection of somebody alone in a room, as two halves.
async fn alone(world: &World, at_home: &mut Client, who: &str) -> Result<(OwnedReadHalf, OwnedWriteHalf)> {
    let xfr = at_home.request("XFR", "SB").await?;
    ensure!(world.process("switchboard-1")?.address("clients")?.to_string() == xfr.token(3), "{:?}", xfr.tokens);
    let mut stream = TcpStream::connect(xfr.token(3)).await?;
    stream.write_all(format!("USR 1 {who} {}\r\n", xfr.token(5)).as_bytes()).await?;
    let mut answer = vec![0; 1024];
    let count = stream.read(&mut answer).await?;
    ensure!(answer[..count].starts_with(b"USR 1 OK"), "{:?}", String::from_utf8_lossy(&answer[..count]));
    Ok(stream.into_split())
}

/// Writes the same bytes for as long as the attack lasts; returns how often.
async fn pour(to: &mut OwnedWriteHalf, bytes: &[u8]) -> Result<usize> {
    let (begun, mut count) = (Instant::now(), 0);
    while let Some(left) = ATTACK.checked_sub(begun.elapsed()) {
        match timeout(left, to.write_all(bytes)).await {
            Ok(written) => written?,
            Err(_) => break,
        }
        count += 1;
    }
    Ok(count)
}

/// Reads on and on; returns how many lines began so.
async fn lines(from: &mut OwnedReadHalf, begin: &str) -> usize {
    let (mut text, mut part, mut count, begun) = (Vec::new(), vec![0; 1 << 16], 0, Instant::now());
    while let Some(left) = (ATTACK + Duration::from_secs(1)).checked_sub(begun.elapsed()) {
        let Ok(Ok(read @ 1..)) = timeout(left, from.read(&mut part)).await else { break };
        text.extend_from_slice(&part[..read]);
        let end = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        count +=
            text[..end].split(|byte| *byte == b'\n').filter(|line| line.starts_with(begin.as_bytes())).count();
        text.drain(..end);
    }
    count
}

fn message(ack: &str, body: usize) -> Vec<u8> {
    let payload = client::text(&"x".repeat(body));
    [format!("MSG 7 {ack} {}\r\n", payload.len()).into_bytes(), payload].concat()
}

/// How many messages of a sender are in the history, and their bytes.
fn kept_of(world: &World, sender: &str) -> Result<(usize, usize)> {
    let history = Connection::open_with_flags(
        world.config().store.path.join("history.db"),
        OpenFlags::SQLITE_OPEN_READ_ONLY,
    )?;
    let kept = "SELECT COUNT(*), COALESCE(SUM(LENGTH(payload)), 0) FROM messages WHERE sender = ?1";
    let counts = history.query_row(kept, [sender], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
    Ok((usize::try_from(counts.0)?, usize::try_from(counts.1)?))
}

fn history_bytes(world: &World) -> u64 {
    let mut bytes = 0;
    for name in ["history.db", "history.db-wal"] {
        bytes += std::fs::metadata(world.config().store.path.join(name)).map_or(0, |found| found.len());
    }
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_keeps_what_ten_people_type_and_no_more() -> Result<()> {
    if std::env::var("MONARCH_TEST_STORE").is_ok_and(|store| store != "sqlite") {
        println!("left out: another store");
        return Ok(());
    }
    play(&[], async |world| {
        let [mallory, accomplice, alice, bob] = people(world, ["mallory", "accomplice", "alice", "bob"], &[]).await?;
        let addr = world.process("notification-1")?.address("clients")?;
        let mut at_home = Vec::new();
        for who in [&mallory, &accomplice, &alice, &bob] {
            at_home.push(Client::sign_in(addr, who, PASSWORD).await?);
        }
        let [at_mallory, at_accomplice, at_alice, at_bob] = &mut at_home[..] else { anyhow::bail!("four") };
        let (mut attacker, mut listener) =
            client::open_chat((at_mallory, &mallory), (at_accomplice, &accomplice)).await?;
        let (mut victim, _friend) = client::open_chat((at_alice, &alice), (at_bob, &bob)).await?;
        let before = history_bytes(world);
        let listening = tokio::spawn(async move { while listener.receive().await.is_ok() {} });
        let begun = Instant::now();
        let pouring = async {
            let mut kept = 0;
            let batch = message("A", 1500).repeat(50);
            while let Some(left) = ATTACK.checked_sub(begun.elapsed()) {
                let answers = async {
                    attacker.raw(&batch).await?;
                    for _ in 0..50 {
                        kept += usize::from(attacker.receive().await?.verb() == "ACK");
                    }
                    anyhow::Ok(())
                };
                match timeout(left, answers).await {
                    Ok(answered) => answered?,
                    Err(_) => break,
                }
            }
            anyhow::Ok((kept, attacker))
        };
        let chatting = async {
            let (mut slowest, mut said) = (Duration::ZERO, 0);
            while begun.elapsed() < ATTACK {
                let asked = Instant::now();
                victim.message("A", &client::text("hello")).await?;
                timeout(PATIENCE, victim.expect("ACK")).await.context("the victim's chat stands")??;
                said += 1;
                slowest = slowest.max(asked.elapsed());
                sleep(Duration::from_millis(100)).await;
            }
            anyhow::Ok((slowest, said))
        };
        let (poured, chatted) = tokio::join!(pouring, chatting);
        let ((kept, attacker), (slowest, said)) = (poured?, chatted?);
        attacker.reset()?;
        listening.abort();
        let grown = (history_bytes(world) - before) / 1024;
        let (of_mallory, of_alice) = (kept_of(world, &mallory)?, kept_of(world, &alice)?);
        eprintln!(
            "{kept} messages of 1.5 KB were kept in {ATTACK:?}: {grown} KiB, in the history {of_mallory:?}; of the victim's {said} \
             {of_alice:?}, an ACK took {slowest:?} at most"
        );
        // So many at once, and 20 a second.
        ensure!(kept < 3000 + 20 * 7, "{kept} messages were kept");
        // What was said to be kept is, with what was being written at the end.
        ensure!((kept..=kept + 100).contains(&of_mallory.0), "{kept} ACKs, in the history {of_mallory:?}");
        ensure!(of_mallory.1 > of_mallory.0 * 1500, "{of_mallory:?}");
        ensure!(kept > 2000, "the burst of 3,000 that anybody has is not taken: {kept}");
        ensure!(said > 5 && of_alice.0 == said, "of {said} messages of the victim {of_alice:?} are kept");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_uses_a_core_by_talking_to_nobody() -> Result<()> {
    play(&[], async |world| {
        let [mallory] = people(world, ["mallory"], &[]).await?;
        let addr = world.process("notification-1")?.address("clients")?;
        let mut at_mallory = Client::sign_in(addr, &mallory, PASSWORD).await?;
        let (mut from, mut to) = alone(world, &mut at_mallory, &mallory).await?;
        let many = message("D", 1).repeat(100);
        let (poured, naks) = tokio::join!(pour(&mut to, &many), lines(&mut from, "NAK"));
        eprintln!("{} messages a second were taken, {naks} in all", naks as u64 / ATTACK.as_secs());
        poured?;
        // What is there at once, and what comes back meanwhile.
        ensure!(naks < 4000 + 1500 * 7, "{naks} messages were taken in {ATTACK:?}");
        Ok(())
    })
    .await
}

/// A picture or a file goes at a megabyte a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_is_not_slowed() -> Result<()> {
    const SIZE: usize = 12 * 1024 * 1024;
    play(&[], async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[]).await?;
        let addr = world.process("notification-1")?.address("clients")?;
        let mut at_alice = Client::sign_in(addr, &alice, PASSWORD).await?;
        let mut at_bob = Client::sign_in(addr, &bob, PASSWORD).await?;
        let (mut sender, mut receiver) = client::open_chat((&mut at_alice, &alice), (&mut at_bob, &bob)).await?;
        let chunk =
            [b"MIME-Version: 1.0\r\nContent-Type: application/x-msnmsgrp2p\r\n\r\n", &[7; 1202 + 52][..]].concat();
        let count = SIZE / 1202;
        let begun = Instant::now();
        let receiving = tokio::spawn(async move {
            for _ in 0..count {
                receiver.expect("MSG").await?;
            }
            anyhow::Ok(receiver)
        });
        for number in 0..count {
            // The client that reads its answers in time: it need not wait for each.
            sender.message("D", &chunk).await?;
            if number >= 50 {
                ensure!(sender.receive().await?.verb() == "ACK", "not delivered");
            }
        }
        let _receiver = receiving.await??;
        let rate = SIZE as f64 / begun.elapsed().as_secs_f64() / 1e6;
        eprintln!("{rate:.2} MB/s");
        ensure!(rate > 1.0, "{rate:.2} MB/s");
        Ok(())
    })
    .await
}
