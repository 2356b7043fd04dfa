//! Memory of idle sessions.

use std::time::Duration;

use anyhow::{Context, Result};
use integration_tests::accounts::{self, PASSWORD};
use integration_tests::client::Client;
use integration_tests::{Plan, World};

use super::process::resident;

/// Contacts of each account: neighbours in the order of their names.
const CONTACTS: usize = 5;

pub(super) async fn run(sessions: usize) -> Result<()> {
    let names: Vec<String> = (0..sessions).map(|number| format!("user{number}")).collect();
    let contacts: Vec<(usize, usize)> = (0..sessions)
        .flat_map(|owner| (1..=CONTACTS).map(move |step| (owner, (owner + step) % sessions)))
        .filter(|(owner, contact)| owner != contact)
        .collect();
    let settings = vec![
        "notification.connections_per_address=20000".to_owned(),
        "log.filter=warn".to_owned(),
        "accounts.argon2_memory_kib=64".to_owned(),
    ];
    let world = World::start(Plan { notification: 1, settings, ..Plan::default() }).await?;
    eprintln!("creating {sessions} accounts with {CONTACTS} contacts each");
    let passports = accounts::create(world.config(), &names, &contacts).await?;
    let node = world.process("notification-1")?;
    let (pid, addr) = (node.id().context("it runs")?, node.address("clients")?);
    let before = resident(pid)?;
    let mut clients = Vec::with_capacity(sessions);
    for (number, passport) in passports.iter().enumerate() {
        if number % 1000 == 0 {
            eprintln!("signed in: {number}");
        }
        let mut client = Client::sign_in(addr, passport.as_str(), PASSWORD).await?;
        client.request("SYN", "0").await?;
        clients.push(client);
    }
    // Notices and the answers to SYN have gone out; clients leave them unread in their sockets, which are the kernel's.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = resident(pid)?;
    let each = (after - before) as f64 / sessions as f64 / 1024.0;
    println!("idle: {sessions} sessions, {:.1} MiB before, {:.1} MiB after", mib(before), mib(after));
    println!("idle: {each:.2} KiB a session (bound: 12)");
    drop(clients);
    world.shut_down().await
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}
