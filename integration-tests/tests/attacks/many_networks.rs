//! Sign-in by HTTP while strangers of hundreds of networks, each with one attempt, fill the line for hashes: places are kept for
//! networks from which somebody has signed in.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::accounts::{PASSWORD, people};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::stage::play;
use crate::web;

/// Networks of the attacker, each with a connection.
const NETWORKS: usize = 500;
/// A sign-in at home takes no longer.
const SECONDS: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_at_home_is_let_in_though_strangers_come_from_everywhere() -> Result<()> {
    let settings = [
        "accounts.argon2_memory_kib=19456",
        "accounts.argon2_passes=2",
        "accounts.argon2_parallel=1",
        "accounts.argon2_waiting=64",
    ];
    play(&settings, async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[]).await?;
        let home = IpAddr::from([127, 3, 0, 1]);
        let http = world.process("dispatch-1")?.address("http")?;
        ensure!(web::log_in(home, http, &alice, PASSWORD).await? == 200);

        let flood = Flood::begin(http).await;
        // Bob was never signed in: it is the network that is known.
        let of_network = timed(home, http, &bob).await?;
        flood.end().await;
        // Where alice has signed in from stands with her account; what the process has remembered is gone.
        world.stop("dispatch-1").await?;
        world.restart("dispatch-1").await?;
        world.ready().await?;
        let flood = Flood::begin(http).await;
        let of_account = timed(home, http, &alice).await?;
        let stranger = web::log_in(IpAddr::from([127, 3, 0, 2]), http, &bob, PASSWORD).await?;
        flood.end().await;
        println!("bob, at alice's home: {of_network:?}; alice, behind a restart: {of_account:?}; bob elsewhere: {stranger}");
        for (status, took) in [of_network, of_account] {
            ensure!(status == 200 && took < SECONDS, "{status} after {took:?}");
        }
        Ok(())
    })
    .await
}

async fn timed(from: IpAddr, http: SocketAddr, who: &str) -> Result<(u16, Duration)> {
    let began = Instant::now();
    Ok((web::log_in(from, http, who, PASSWORD).await?, began.elapsed()))
}

/// Invented names from all those networks, on and on.
struct Flood {
    over: Arc<AtomicBool>,
    attackers: JoinSet<()>,
}

impl Flood {
    /// Returns when the line is full: many have heard so.
    async fn begin(http: SocketAddr) -> Self {
        let (over, busy) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut attackers = JoinSet::new();
        for number in 0..NETWORKS {
            let from = IpAddr::from([127, 2, (number / 250) as u8, (number % 250) as u8 + 1]);
            let (over, busy) = (Arc::clone(&over), Arc::clone(&busy));
            attackers.spawn(async move {
                for turn in 0.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let name = format!("nobody{number}.{turn}@example.com");
                    match web::log_in(from, http, &name, "guess").await {
                        Ok(503) => {
                            busy.fetch_add(1, Ordering::Relaxed);
                            // There are two cores for all of them and the server.
                            sleep(Duration::from_millis(200)).await;
                        }
                        Ok(_) => {}
                        Err(_) => sleep(Duration::from_millis(200)).await,
                    }
                }
            });
        }
        while busy.load(Ordering::Relaxed) < NETWORKS {
            sleep(Duration::from_millis(10)).await;
        }
        Self { over, attackers }
    }

    async fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        self.attackers.join_all().await;
    }
}
