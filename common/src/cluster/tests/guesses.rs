//! Wrong passwords are told to every process at which passwords are tried.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use super::world::{World, passport, soon};
use crate::cluster::{Guesses, Role};

fn guesses(times: u16) -> Guesses {
    let network = IpAddr::from([192, 0, 2, 1]);
    Guesses {
        networks: vec![(network, times)],
        accounts: vec![(passport("alice"), None, times)],
        nobodys: vec![(passport("nobody"), times)],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_process_at_which_passwords_are_tried_tells_all_others_of_them() {
    let mut world = World::default();
    let all = [
        ("ds-1", Role::Dispatch),
        ("ds-2", Role::Dispatch),
        ("ns-1", Role::Notification),
        ("ns-2", Role::Notification),
        ("sb-1", Role::Switchboard),
    ];
    for (name, role) in all {
        world.start(name, role).await;
    }
    world.settle().await;
    let heard: BTreeMap<&str, Arc<Mutex<Vec<Guesses>>>> = all.map(|(name, _)| (name, Arc::default())).into();
    for (name, heard) in &heard {
        let heard = Arc::clone(heard);
        world.node(name).cluster.hear_guesses(move |guesses| heard.lock().unwrap().push(guesses));
    }
    let of = |name: &str| heard[name].lock().unwrap().clone();
    let tellers = &all[..4];
    for (number, (name, _)) in tellers.iter().enumerate() {
        world.node(name).cluster.tell_guesses(guesses(1 << number), 3);
    }
    for (number, (name, _)) in tellers.iter().enumerate() {
        soon("all others have told", || async { of(name).len() >= 3 }).await;
        let mut times: Vec<u16> = of(name).iter().map(|guesses| guesses.networks[0].1).collect();
        times.sort_unstable();
        let others: Vec<u16> = (0..4).filter(|other| *other != number).map(|other| 1 << other).collect();
        assert_eq!(times, others, "{name}");
        assert!(of(name).contains(&guesses(others[0])));
        let metrics = ["told_guesses_total", "heard_guesses_total", "dropped_guesses_total"];
        let told = 1 << number;
        assert_eq!(metrics.map(|metric| world.node(name).metric(metric)), [told, 15 - told, 3], "{name}");
    }
    assert_eq!(of("sb-1"), [], "a switchboard asks for no passwords");
    // One that has gone is told nothing, and the others are.
    world.kill("ds-2");
    world.node("ns-1").cluster.tell_guesses(guesses(16), 0);
    soon("the others hear on", || async { of("ds-1").contains(&guesses(16)) }).await;
}
