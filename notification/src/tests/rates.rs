//! What accounts do too fast: commands wait, sign-ins and edits are refused, and to sign in again is no way out.

use std::time::Duration;

use common::config::Config;
use common::model::List;
use tokio::time::Instant;

use super::house::{Client, House, who};

/// The answer to a request.
async fn answer(client: &mut Client, trid: u32) -> String {
    let trid = trid.to_string();
    loop {
        let line = client.hears().await.expect("still there");
        if line.split(' ').nth(1) == Some(&*trid) {
            return line;
        }
    }
}

/// A client that sends commands without end is read as fast as the operator wants, gets all its answers, and is not signed out.
#[tokio::test(flavor = "multi_thread")]
async fn who_sends_commands_too_fast_waits() {
    let mut config = Config::default();
    (config.rates.command_burst, config.rates.command_per_minute) = (100, 3000);
    let house = House::open_with(config).await;
    let alice = house.account("alice").await;
    for number in 0..400 {
        house.list(&alice, &[List::Forward, List::Allow], &who(&number.to_string())).await;
    }
    // A sign-in, and its lists.
    let mut client = house.sign_in("alice", "MSNP8").await;
    client.says("SYN 4 0\r\nCHG 5 NLN 0").await;
    client.hears_of("CHG 5").await;
    let waits = || house.services.metrics.waits.get();
    assert_eq!(waits(), 0);
    let began = Instant::now();
    client.says(&"PNG\r\nURL 7 INBOX\r\n".repeat(100)).await;
    for _ in 0..100 {
        client.hears_of("URL 7").await;
    }
    let took = began.elapsed();
    assert!(took > Duration::from_millis(2500) && took < Duration::from_secs(9), "{took:?}");
    assert!(waits() > 4);
    // Signing in again is no way out.
    let mut again = house.sign_in("alice", "MSNP8").await;
    let began = Instant::now();
    again.says(&"PNG\r\n".repeat(100)).await;
    for _ in 0..100 {
        again.hears_of("QNG").await;
    }
    assert!(began.elapsed() > Duration::from_millis(1000), "{:?}", began.elapsed());
}

/// A few bytes bring all of a list out: they count by what they bring.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_long_lists_again_and_again_waits() {
    let mut config = Config::default();
    (config.rates.command_burst, config.rates.command_per_minute) = (100, 3000);
    let house = House::open_with(config).await;
    let alice = house.account("alice").await;
    for number in 0..400 {
        house.list(&alice, &[List::Forward, List::Allow], &who(&number.to_string())).await;
    }
    let mut client = house.connect().await;
    client.says("VER 1 MSNP7\r\nINF 2\r\nUSR 3 MD5 I alice@example.com").await;
    let salt = client.hears_of("USR 3 MD5 S ").await.rsplit(' ').next().unwrap().to_owned();
    client.says(&format!("USR 4 MD5 S {}", common::msnp::challenge::md5_answer(&salt, "secret"))).await;
    client.hears_of("USR 4 OK").await;
    let began = Instant::now();
    client.says(&"LST 6 FL\r\nPNG\r\n".repeat(5)).await;
    for _ in 0..5 {
        client.hears_of("QNG").await;
    }
    let took = began.elapsed();
    assert!(took > Duration::from_millis(2500) && took < Duration::from_secs(9), "{took:?}");
}

/// An account that signs in and out, and in again, is told to come later; what it did before still counts. Others are not concerned.
#[tokio::test]
async fn who_signs_in_too_often_is_told_to_come_later() {
    let mut config = Config::default();
    (config.rates.sign_in_burst, config.rates.sign_in_per_minute) = (3, 6);
    (config.rates.list_burst, config.rates.list_per_minute) = (2, 1);
    let house = House::open_with(config).await;
    for name in ["alice", "bob"] {
        house.account(name).await;
    }
    let mut answers = Vec::new();
    for round in 0..3 {
        let mut client = house.sign_in("alice", "MSNP8").await;
        client.says("SYN 4 0\r\nCHG 5 NLN 0").await;
        for trid in 6..8 {
            client.says(&format!("ADD {trid} FL nobody{round}{trid}@example.com nobody")).await;
            answers.push(answer(&mut client, trid).await);
        }
        client.says("OUT").await;
        client.hears_out().await;
    }
    assert_eq!(answers, ["205 6", "205 7", "800 6", "800 7", "800 6", "800 7"]);
    let mut client = house.knock("alice", "MSNP8").await;
    assert_eq!(client.hears_out().await, ["600 3"]);
    house.sign_in("bob", "MSNP8").await;
    // After a while it may again.
    House::soon("alice may again", async || {
        house.knock("alice", "MSNP8").await.hears().await.is_some_and(|line| line.starts_with("USR 3 OK"))
    })
    .await;
}
