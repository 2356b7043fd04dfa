//! Guesses by HTTP, SOAP and MD5 at all nodes at once: all of them have one bound together.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use integration_tests::accounts::{self, PASSWORD, people};
use integration_tests::client::Client;
use integration_tests::{Plan, World};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::stage::play_in;
use crate::web;

/// Where a password is tried.
#[derive(Debug, Clone, Copy)]
enum Door {
    Http(SocketAddr),
    Soap(SocketAddr),
    Md5(SocketAddr),
}

impl Door {
    /// Whether a password is taken.
    async fn opens(self, from: IpAddr, who: &str, password: &str) -> Result<bool> {
        match self {
            Self::Http(http) => Ok(web::log_in(from, http, who, password).await? == 200),
            Self::Soap(http) => web::soap(from, http, who, password).await,
            Self::Md5(clients) => {
                let mut client = Client::connect_from(from, clients).await?;
                Ok(client.authenticate(who, password).await?.token(2) == "OK")
            }
        }
    }
}

/// An address from which nobody has come yet.
fn stranger() -> IpAddr {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    IpAddr::from([127, 2, (number / 250) as u8, (number % 250) as u8 + 1])
}

fn plan() -> Plan {
    let settings = ["accounts.argon2_memory_kib=8", "dispatch.http.connections_per_address=100000"];
    let settings = settings.map(str::to_owned).to_vec();
    Plan { dispatch: 2, notification: 2, switchboard: 1, settings, ..Plan::default() }
}

/// One door of each process.
fn doors(world: &World) -> Result<[Door; 4]> {
    let (first, second) = (world.process("dispatch-1")?, world.process("dispatch-2")?);
    let md5 = |name| world.process(name)?.address("clients").map(Door::Md5);
    Ok([
        Door::Http(first.address("http")?),
        Door::Soap(second.address("http")?),
        md5("notification-1")?,
        md5("notification-2")?,
    ])
}

/// At all doors at once so many wrong passwords, for whom `tried` says, and then the right one of `who`. Returns at how many doors
/// that was taken.
async fn attack(
    doors: [Door; 4],
    guesses: usize,
    from: impl Fn() -> IpAddr,
    tried: impl Fn(usize) -> String,
    who: &str,
) -> Result<usize> {
    let mut attacks = JoinSet::new();
    for door in doors {
        let guesses: Vec<_> = (0..guesses).map(|number| (from(), tried(number))).collect();
        let (last, who) = (from(), who.to_owned());
        attacks.spawn(async move {
            for (from, tried) in guesses {
                ensure!(!door.opens(from, &tried, "guess").await?, "a wrong password is taken");
            }
            door.opens(last, &who, PASSWORD).await
        });
    }
    let mut taken = 0;
    while let Some(attack) = attacks.join_next().await {
        taken += usize::from(attack??);
    }
    Ok(taken)
}

/// At how many doors a password is taken.
async fn taken(doors: &[Door], from: impl Fn() -> IpAddr, who: &str) -> Result<usize> {
    let mut taken = 0;
    for door in doors {
        taken += usize::from(door.opens(from(), who, PASSWORD).await?);
    }
    Ok(taken)
}

/// Before: four processes, and each looked at its own ten guesses, and at a hundred at home.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_guesses_at_all_nodes_and_in_all_ways_has_one_bound() -> Result<()> {
    play_in(plan(), async |world| {
        let [alice, bob, carol] = people(world, ["alice", "bob", "carol"], &[]).await?;
        let doors = doors(world)?;

        // One after the other, each at the next door.
        for number in 0..9 {
            ensure!(!doors[number % 4].opens(stranger(), &alice, &format!("guess{number}")).await?);
        }
        ensure!(doors[1].opens(stranger(), &alice, PASSWORD).await?, "nine guesses shut strangers out");
        ensure!(!doors[1].opens(stranger(), &alice, "guess9").await?);
        let in_turn = taken(&doors, stranger, &alice).await?;
        // Nine at each at once, and then the right one.
        let at_once = attack(doors, 9, stranger, |_| bob.clone(), &bob).await?;
        println!(
            "the right password behind ten wrong ones is taken at {in_turn} of 4 doors, behind 36 at {at_once}"
        );
        ensure!((in_turn, at_once) == (0, 0), "taken at {in_turn} and {at_once} doors");

        // At home there are a hundred, and over all accounts.
        let (home, attacker) = (stranger(), stranger());
        ensure!(taken(&doors, || home, &carol).await? == 4, "carol is shut out");
        let at_home = attack(doors, 36, || home, |_| carol.clone(), &carol).await?;
        let everywhere =
            attack(doors, 36, || attacker, |number| format!("nobody{number}@example.com"), &carol).await?;
        println!("behind 144 at home at {at_home}, behind 144 of one address, over all accounts, at {everywhere}");
        ensure!((at_home, everywhere) == (0, 0), "taken at {at_home} and {everywhere} doors");
        ensure!(taken(&doors, stranger, &carol).await? == 4, "guesses at home shut carol out elsewhere");
        each_counts_all(world).await
    })
    .await
}

/// What a process has counted itself and what it was told of is as much at each, and nothing was dropped.
async fn each_counts_all(world: &World) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut counts = Vec::new();
        for name in ["dispatch-1", "dispatch-2", "notification-1", "notification-2"] {
            let (_, metrics) = world.process(name)?.get("/metrics").await?;
            let count = |kind: &str| {
                let name = format!("monarch_cluster_{kind}_guesses_total ");
                metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok()).unwrap_or(u64::MAX)
            };
            counts.push(["told", "heard", "dropped"].map(count));
        }
        let all: u64 = counts.iter().map(|[told, ..]| told).sum();
        if counts.iter().all(|[told, heard, dropped]| told + heard == all && *dropped == 0) {
            println!("each process counts all {all} wrong passwords");
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "told, heard and dropped: {counts:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// In one moment ten guesses at each of the four doors, the right one among them: what others count is not known yet. Before a right password
/// behind wrong ones waited for that, it was taken in nine of ten cases; what is taken now is checked before any wrong one of its process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_guesses_everywhere_in_one_moment_has_hardly_more() -> Result<()> {
    play_in(plan(), async |world| {
        let names: Vec<_> = (0..10).map(|number| format!("u{number}")).collect();
        let all = accounts::create(world.config(), &names, &[]).await?;
        let doors = doors(world)?;
        let mut taken = 0;
        for who in all {
            let mut guesses = JoinSet::new();
            for number in 0..10 {
                let password = if number == 7 { PASSWORD } else { "guess" };
                for door in doors {
                    let (from, who) = (stranger(), who.clone());
                    guesses.spawn(async move { door.opens(from, who.as_str(), password).await });
                }
            }
            while let Some(guess) = guesses.join_next().await {
                taken += usize::from(guess??);
            }
        }
        println!("of 40 right passwords, each among 36 wrong ones of the same moment, {taken} are taken");
        ensure!(taken <= 12, "{taken} of 40 right passwords are taken");
        Ok(())
    })
    .await
}
