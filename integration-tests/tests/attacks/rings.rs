//! One account rings another as fast as it can, each time from a room of its own: the victim is rung as often as a person would
//! ring, and others get through to it all the same.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::accounts::{PASSWORD, people};
use integration_tests::client::Client;
use tokio::time::{Instant, timeout};

use crate::stage::play;

/// How long it goes on.
const ATTACK: Duration = Duration::from_secs(6);
/// Connections to the notification server are one; rooms are opened so many at a time.
const AT_ONCE: usize = 16;

/// Rings from new rooms for a while. Returns how often that was said to ring, and how often it was refused.
async fn attack(addr: SocketAddr, attacker: String, victim: String) -> Result<(usize, usize)> {
    let mut client = Client::sign_in(addr, &attacker, PASSWORD).await?;
    let (mut rung, mut refused, end) = (0, 0, Instant::now() + ATTACK);
    while Instant::now() < end {
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let xfr = client.request("XFR", "SB").await?;
            if xfr.verb() != "XFR" {
                continue;
            }
            let (room, cookie) = (xfr.token(3).parse()?, xfr.token(5).to_owned());
            let (attacker, victim) = (attacker.clone(), victim.clone());
            calls.spawn(async move {
                let mut room = Client::connect(room).await?;
                room.request("USR", &format!("{attacker} {cookie}")).await?;
                let answer = room.request("CAL", &victim).await?;
                anyhow::Ok(answer.verb().to_owned())
            });
        }
        while let Some(answer) = calls.join_next().await {
            match &*answer?? {
                "CAL" => rung += 1,
                "713" => refused += 1,
                other => anyhow::bail!("answered {other}"),
            }
        }
    }
    Ok((rung, refused))
}

/// Attacks alice. Returns how many rings were taken, how many were refused, and how many she saw; bob rang her last.
async fn attacked(settings: &[&str]) -> Result<(usize, usize, usize)> {
    let mut outcome = (0, 0, 0);
    play(settings, async |world| {
        let [alice, mallory, bob] = people(world, ["alice", "mallory", "bob"], &[]).await?;
        let addr = world.process("notification-1")?.address("clients")?;
        let mut at_alice = Client::sign_in(addr, &alice, PASSWORD).await?;
        let attacking = tokio::spawn(attack(addr, mallory, alice.clone()));
        let mut seen = 0;
        while !attacking.is_finished() {
            if let Ok(received) = timeout(Duration::from_millis(100), at_alice.expect("RNG")).await {
                received?;
                seen += 1;
            }
        }
        let (rung, refused) = attacking.await??;
        let mut at_bob = Client::sign_in(addr, &bob, PASSWORD).await?;
        let xfr = at_bob.request("XFR", "SB").await?;
        let mut room = Client::connect(xfr.token(3).parse()?).await?;
        room.request("USR", &format!("{bob} {}", xfr.token(5))).await?;
        ensure!(room.request("CAL", &alice).await?.token(2) == "RINGING", "bob gets through");
        while at_alice.expect("RNG").await?.token(5) != bob {
            seen += 1;
        }
        outcome = (rung, refused, seen);
        Ok(())
    })
    .await?;
    Ok(outcome)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_rings_another_without_end() -> Result<()> {
    let (rung, refused, seen) = attacked(&[]).await?;
    println!("{rung} rings, {refused} refused, {seen} seen");
    ensure!(rung == seen, "{rung} {seen}");
    // 60 at once, and one every two seconds, with some time for the slowest machine.
    ensure!((60..=75).contains(&seen), "alice is rung {seen} times");
    ensure!(refused > 0, "the attack was none");
    Ok(())
}

/// What it would be without: the attack is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_bound_it_rings_without_end() -> Result<()> {
    let (rung, refused, seen) = attacked(&["rates.ring_burst=0"]).await?;
    println!("{rung} rings, {refused} refused, {seen} seen");
    ensure!(rung == seen && refused == 0 && seen > 100, "{rung} {refused} {seen}");
    Ok(())
}
