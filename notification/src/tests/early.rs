//! Who comes before the node knows who is signed in elsewhere.

use std::sync::Arc;
use std::time::Duration;

use common::cluster::Keyring;
use common::heart;
use common::model::{Generation, NodeId};
use common::store::{Beat, Heartbeat};
use common::telemetry::Readiness;
use tokio::time::{Instant, sleep};

use super::house::House;

/// It waits for five seconds, and is then told to come back: nobody is signed in before.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_early_waits_five_seconds_and_is_then_told_to_come_back() {
    let house = House::open_unheard().await;
    house.account("alice").await;
    let store = house.services.store.clone();
    let other = tokio::spawn(async move {
        for count in 1.. {
            let heart = Heartbeat { generation: Generation(1), count };
            let node = NodeId::parse("elsewhere").unwrap();
            store.beat(Beat { node, heart, secrets: Vec::new() }).await.unwrap();
            sleep(Duration::from_millis(300)).await;
        }
    });
    let (readiness, keys) = (Readiness::default(), Keyring::from_secrets([[1; 32]]).unwrap());
    let secrets = readiness.require("secrets", "not yet");
    let _heart = heart::keep(
        &house.services.cluster,
        Arc::clone(&house.services.store),
        keys,
        secrets,
        readiness.note("others"),
    );
    for _ in 0..2 {
        let mut client = house.knock("alice", "MSNP8").await;
        let began = Instant::now();
        assert_eq!(client.hears_out().await, ["600 3"]);
        let waited = began.elapsed();
        assert!(waited > Duration::from_millis(4500) && waited < Duration::from_secs(8), "{waited:?}");
    }
    // The other one dies. Whoever waits when this one learns of it is signed in.
    other.abort();
    let mut waited = Vec::new();
    loop {
        let mut client = house.knock("alice", "MSNP8").await;
        let began = Instant::now();
        let answer = client.hears().await.unwrap();
        waited.push(began.elapsed());
        if answer.starts_with("USR 3 OK") {
            break;
        }
        assert_eq!(answer, "600 3");
        assert!(waited.len() < 4, "{waited:?}");
    }
    assert!(waited.iter().all(|waited| *waited < Duration::from_secs(8)), "{waited:?}");
}
