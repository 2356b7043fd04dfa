//! Sign-in by HTTP under a flood of invented names: before, 17 of 18 right passwords were told that the service is busy.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use integration_tests::accounts::{self, PASSWORD};
use tokio::task::JoinSet;

use crate::stage::play;
use crate::web;

/// Connections of each of the two attackers.
const CONNECTIONS: usize = 250;
const VICTIMS: usize = 18;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invented_names_of_two_addresses_keep_nobody_out() -> Result<()> {
    // The attackers may guess on and on: it is the line that holds here, not the guard.
    let settings = [
        "accounts.argon2_memory_kib=19456",
        "accounts.argon2_passes=2",
        "accounts.wrong_passwords_per_address=60000",
    ];
    play(&settings, async |world| {
        let names: Vec<_> = (0..VICTIMS).map(|number| format!("u{number}")).collect();
        let victims = accounts::create(world.config(), &names, &[]).await?;
        let http = world.process("dispatch-1")?.address("http")?;
        let (over, busy) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut flood = JoinSet::new();
        for connection in 0..2 * CONNECTIONS {
            let from = IpAddr::from([127, 2, 0, 1 + (connection % 2) as u8]);
            let (over, busy) = (Arc::clone(&over), Arc::clone(&busy));
            flood.spawn(async move {
                for turn in 0.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    let name = format!("nobody{connection}.{turn}@example.com");
                    if web::log_in(from, http, &name, "guess").await.is_ok_and(|status| status == 503) {
                        busy.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        // The line is full: some of the flood hear it.
        while busy.load(Ordering::Relaxed) < 100 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let mut answers = Vec::new();
        for (number, who) in victims.iter().enumerate() {
            let home = IpAddr::from([127, 3, 0, 1 + number as u8]);
            answers.push(web::log_in(home, http, who.as_str(), PASSWORD).await?);
        }
        over.store(true, Ordering::Relaxed);
        flood.join_all().await;
        let right = answers.iter().filter(|status| **status == 200).count();
        println!(
            "{right} of {VICTIMS} right passwords were let in; the flood heard 503 {} times",
            busy.load(Ordering::Relaxed)
        );
        ensure!(right == VICTIMS, "{answers:?}");
        Ok(())
    })
    .await
}
