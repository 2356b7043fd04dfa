//! Two accounts add and remove somebody as fast as they can: that signs nobody out, and whoever has blocked them reads nothing of it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::accounts::{PASSWORD, people};
use integration_tests::client::Client;
use tokio::time::Instant;

use crate::stage::play;

/// How long it goes on.
const ATTACK: Duration = Duration::from_secs(6);
/// So many edits are sent before the first answer is read.
const AT_ONCE: usize = 200;
/// After so many edits it signs in again.
const A_SESSION: usize = 3000;

/// What became of the edits of one attacker.
#[derive(Debug, Default)]
struct Made {
    accepted: usize,
    refused: usize,
}

/// `ADD FL` and `REM FL` in turns, for a while.
async fn attack(addr: SocketAddr, attacker: String, victim: String) -> Result<Made> {
    let mut client = Client::sign_in(addr, &attacker, PASSWORD).await?;
    let (mut made, end) = (Made::default(), Instant::now() + ATTACK);
    let mut trid = 1000;
    while Instant::now() < end {
        if (trid - 1000) % A_SESSION == 0 {
            // A new session begins where the last one has ended.
            client = Client::sign_in(addr, &attacker, PASSWORD).await?;
        }
        let mut lines = String::new();
        for _ in 0..AT_ONCE / 2 {
            lines += &format!("ADD {} FL {victim} {victim}\r\nREM {} FL {victim}\r\n", trid + 1, trid + 2);
            trid += 2;
        }
        client.raw(lines.as_bytes()).await?;
        loop {
            let received = client.receive().await?;
            match received.verb() {
                "ADD" | "REM" if received.token(1) != "0" => made.accepted += 1,
                "800" | "215" | "216" => made.refused += 1,
                _ => {}
            }
            if received.token(1) == trid.to_string() {
                break;
            }
        }
    }
    // What it says last is that the victim is no contact: nothing of it is left.
    client.raw(format!("REM 1 FL {victim}\r\nPNG\r\n").as_bytes()).await?;
    client.expect("QNG").await?;
    Ok(made)
}

/// Attacks alice, who reads all the time. Returns the edits that were made, and the lines about the attackers that she read.
async fn attacked(settings: &[&str], blocked: bool) -> Result<(Made, Vec<String>)> {
    let mut outcome = (Made::default(), Vec::new());
    play(settings, async |world| {
        let [alice, mallory, oscar, bob] = people(world, ["alice", "mallory", "oscar", "bob"], &[(0, 3)]).await?;
        let addr = world.process("notification-1")?.address("clients")?;
        let mut at_alice = Client::sign_in(addr, &alice, PASSWORD).await?;
        if blocked {
            for attacker in [&mallory, &oscar] {
                let answered = at_alice.request("ADD", &format!("BL {attacker} {attacker}")).await?;
                ensure!(answered.verb() == "ADD", "{:?}", answered.tokens);
            }
        }
        let began = Instant::now();
        let attackers = [mallory.clone(), oscar.clone()];
        let attacks = attackers.map(|attacker| tokio::spawn(attack(addr, attacker, alice.clone())));
        // Somebody comes online when it is over.
        let afterwards = async {
            for one in attacks {
                let made = one.await??;
                outcome.0.accepted += made.accepted;
                outcome.0.refused += made.refused;
            }
            Client::sign_in(addr, &bob, PASSWORD).await
        };
        let reads = async {
            loop {
                let received = at_alice.receive().await;
                let received = received.map_err(|error| error.context(format!("after {:?}", began.elapsed())))?;
                if received.tokens.iter().any(|token| *token == mallory || *token == oscar) {
                    outcome.1.push(received.tokens.join(" "));
                }
                if received.verb() == "NLN" && received.token(2) == bob {
                    return anyhow::Ok(());
                }
            }
        };
        let (bob, read) = tokio::join!(afterwards, reads);
        bob?;
        read
    })
    .await?;
    Ok(outcome)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_of_others_sign_nobody_out() -> Result<()> {
    let (made, lines) = attacked(&[], false).await?;
    println!("by default: {made:?}; the victim read {} lines", lines.len());
    ensure!(made.refused > 0, "so many edits are too many: {made:?}");
    // Two attackers, of whom each has a burst and what comes back in a few seconds, however often it signs in.
    ensure!(made.accepted < 2 * 3500, "to sign in again fills no bucket: {made:?}");
    Ok(())
}

/// Whether there is such an account is asked by `ADD`: an attacker who signs in again and again learns no more of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_not_probed_over_several_sign_ins() -> Result<()> {
    let (mut told, mut refused) = (0, 0);
    play(&[], async |world| {
        let [mallory] = people(world, ["mallory"], &[]).await?;
        let addr = world.process("notification-1")?.address("clients")?;
        for round in 0..8 {
            let mut client = Client::sign_in(addr, &mallory, PASSWORD).await?;
            // All that it asks at once is less than has to wait, but for the last rounds.
            for some in 0..5 {
                let ask = |number| format!("ADD {} FL n{round}x{some}x{number}@example.com n\r\n", 100 + number);
                client.raw((0..100).map(ask).collect::<String>().as_bytes()).await?;
                for _ in 0..100 {
                    match client.receive().await?.verb() {
                        "205" => told += 1,
                        "800" => refused += 1,
                        _ => {}
                    }
                }
            }
        }
        Ok(())
    })
    .await?;
    println!("told of {told} names, refused {refused}");
    ensure!((2900..3300).contains(&told) && refused > 700, "told of {told} names, refused {refused}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_is_blocked_is_read_of() -> Result<()> {
    let (made, lines) = attacked(&[], true).await?;
    println!("blocked: {made:?}; the victim read {} lines", lines.len());
    ensure!(lines.is_empty(), "of somebody who is blocked: {lines:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_bound_they_sign_nobody_out_either() -> Result<()> {
    let (made, lines) = attacked(&["rates.list_burst=0", "rates.command_burst=0"], false).await?;
    println!("without a bound: {made:?}; the victim read {} lines", lines.len());
    ensure!(made.refused == 0, "{made:?}");
    let last = lines.iter().rfind(|line| line.starts_with("ADD") || line.starts_with("REM"));
    ensure!(last.is_some_and(|line| line.starts_with("REM 0 RL")), "what holds in the end comes last: {last:?}");
    Ok(())
}
