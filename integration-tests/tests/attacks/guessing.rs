//! Guessed passwords: behind an address that the owner shares, over many accounts, and under the cover of invented names.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use integration_tests::World;
use integration_tests::accounts::people;
use integration_tests::accounts::{self, PASSWORD};
use integration_tests::client::Client;
use tokio::task::JoinSet;

use crate::stage::play;
use crate::web;

/// Hashes that cost next to nothing, so that thousands of guesses are soon made.
const CHEAP: [&str; 2] = ["accounts.argon2_memory_kib=8", "dispatch.http.connections_per_address=100000"];

fn address(number: usize) -> IpAddr {
    IpAddr::from([127, 1, (number / 250) as u8, (number % 250) as u8 + 1])
}

fn http(world: &World) -> Result<SocketAddr> {
    world.process("dispatch-1")?.address("http")
}

/// Wrong passwords from one address for these names, twenty at once, since each is refused after 50 ms only.
async fn guess(world: &World, from: IpAddr, names: impl Iterator<Item = String>) -> Result<()> {
    let (http, mut lines) = (http(world)?, JoinSet::new());
    for (number, who) in names.enumerate() {
        if lines.len() == 20 {
            lines.join_next().await.context("twenty")???;
        }
        lines.spawn(async move {
            let status = web::log_in(from, http, &who, &format!("guess{number}")).await?;
            ensure!(status == 401, "a guess at {who}: {status}");
            Ok(())
        });
    }
    while let Some(line) = lines.join_next().await {
        line??;
    }
    Ok(())
}

/// Before: 3,000 guesses were looked at, and the last one, which was right, was let in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_one_address_a_hundred_guesses_are_looked_at() -> Result<()> {
    play(&CHEAP, async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[]).await?;
        let (http, shared, elsewhere) = (http(world)?, address(0), address(1));
        for who in [&alice, &bob] {
            ensure!(web::log_in(shared, http, who, PASSWORD).await? == 200);
        }
        guess(world, shared, std::iter::repeat_n(alice.clone(), 99)).await?;
        ensure!(
            web::log_in(shared, http, &alice, PASSWORD).await? == 200,
            "99 wrong ones shut nobody out at home"
        );
        guess(world, shared, std::iter::repeat_n(alice.clone(), 201)).await?;
        let last = web::log_in(shared, http, &alice, PASSWORD).await?;
        println!("alice, whose password is the 301st guess at an address that knows her: {last}");
        ensure!(last == 401, "the 301st guess was looked at");
        ensure!(web::log_in(shared, http, &bob, PASSWORD).await? == 200, "bob, at the same address, is shut out");
        ensure!(web::log_in(elsewhere, http, &alice, PASSWORD).await? == 200, "alice is shut out elsewhere");
        Ok(())
    })
    .await
}

/// Before: all of 1,500 guesses over 150 accounts were looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_makes_a_hundred_guesses_over_all_accounts() -> Result<()> {
    play(&CHEAP, async |world| {
        let names: Vec<_> = (0..150).map(|number| format!("u{number}")).collect();
        let all = accounts::create(world.config(), &names, &[]).await?;
        let (http, attacker) = (http(world)?, address(0));
        guess(world, attacker, all.iter().take(100).map(ToString::to_string)).await?;
        let mut right = 0;
        for who in all.iter().skip(100) {
            right += usize::from(web::log_in(attacker, http, who.as_str(), PASSWORD).await? == 200);
        }
        println!("of 50 right guesses behind 100 wrong ones {right} were let in");
        ensure!(right == 0, "{right} of 50 right guesses were let in");
        for who in all.iter().take(100) {
            ensure!(web::log_in(address(1), http, who.as_str(), PASSWORD).await? == 200, "{who} is shut out");
        }
        Ok(())
    })
    .await
}

/// Before: 66,000 invented names, sent by a faster client than this one, made the guard forget what was guessed and who lives where. Here
/// each process gets 2,000, by each of its doors; 70,000 get the guard's own tests (`credentials/guard/tests.rs`).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_invented_names_and_a_restart_make_nothing_forgotten() -> Result<()> {
    play(&CHEAP, async |world| {
        let [alice] = people(world, ["alice"], &[]).await?;
        let (home, guesser) = (address(0), address(1));
        for door in 0..2 {
            ensure!(knock(world, door, home, &alice, PASSWORD).await?);
        }
        for door in 0..2 {
            for number in 0..10 {
                ensure!(!knock(world, door, guesser, &alice, &format!("guess{number}")).await?);
            }
        }
        let refused = invent(world).await?;
        ensure!(refused == [2000, 1000, 1000], "{refused:?}");
        for door in 0..2 {
            ensure!(!knock(world, door, address(60), &alice, PASSWORD).await?, "the ten guesses are forgotten");
            ensure!(knock(world, door, home, &alice, PASSWORD).await?, "alice is a stranger at home");
        }
        for name in ["dispatch-1", "notification-1"] {
            world.stop(name).await?;
            world.restart(name).await?;
        }
        world.ready().await?;
        for door in 0..2 {
            for number in 0..10 {
                ensure!(!knock(world, door, guesser, &alice, &format!("guess{number}")).await?);
            }
            ensure!(!knock(world, door, address(61), &alice, PASSWORD).await?);
            ensure!(knock(world, door, home, &alice, PASSWORD).await?, "a restart makes alice a stranger at home");
        }
        println!(
            "alice is let in at home behind {refused:?} invented names by MD5, HTTP and SOAP, and behind a restart and ten guesses"
        );
        Ok(())
    })
    .await
}

/// Tries 4,000 names that nobody has, from 80 addresses: 2,000 by MD5, 1,000 by HTTP and 1,000 by SOAP. Returns how many each door has
/// refused as wrong.
async fn invent(world: &World) -> Result<[usize; 3]> {
    const DOORS: [usize; 4] = [0, 0, 1, 2];
    let (clients, http) = (world.process("notification-1")?.address("clients")?, http(world)?);
    let mut lines = JoinSet::new();
    for line in 0..80 {
        let (from, door) = (address(100 + line), DOORS[line % DOORS.len()]);
        lines.spawn(async move {
            let mut refused = 0;
            for number in 0..50 {
                let name = format!("nobody{line}.{number}@example.com");
                refused += usize::from(match door {
                    0 => {
                        let mut client = Client::connect_from(from, clients).await?;
                        client.authenticate(&name, "guess").await?.verb() == "911"
                    }
                    1 => web::log_in(from, http, &name, "guess").await? == 401,
                    _ => !web::soap(from, http, &name, "guess").await?,
                });
            }
            anyhow::Ok((door, refused))
        });
    }
    let mut refused = [0; 3];
    while let Some(line) = lines.join_next().await {
        let (door, count) = line??;
        refused[door] += count;
    }
    Ok(refused)
}

/// Whether a password is taken: by HTTP, or by MD5.
async fn knock(world: &World, door: usize, from: IpAddr, who: &str, password: &str) -> Result<bool> {
    if door == 0 {
        return Ok(web::log_in(from, http(world)?, who, password).await? == 200);
    }
    let mut client = Client::connect_from(from, world.process("notification-1")?.address("clients")?).await?;
    Ok(client.authenticate(who, password).await?.token(2) == "OK")
}
