//! The corpus of the fuzz targets, played with the same functions, and some thousand mutations of it: the targets
//! themselves need a nightly toolchain (`scripts/fuzz`). The servers' own tests play the same against whole sessions.
//!
//! `MONARCH_FUZZ_SECS=60` mutates for so long; by default each seed is changed a fixed number of times, always the same way.

#[path = "../../fuzz/src/entry.rs"]
mod entry;
#[path = "../../fuzz/src/mutate.rs"]
mod mutate;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::msnp::verbs::TABLE;
use common::msnp::{Service, Verb};
use mutate::{Dice, seeds};

/// Mutations of each seed.
const MUTATIONS: u64 = 1000;

fn play(service: Service, name: &str) {
    let seeds = seeds(name);
    let understood: BTreeSet<String> = seeds
        .iter()
        .flat_map(|seed| entry::client(service, seed))
        .map(|said| said.chars().take(3).collect())
        .collect();
    let verbs: BTreeSet<Verb> = TABLE.iter().filter(|row| row.service == service).map(|row| row.verb).collect();
    let missing: Vec<_> = verbs.iter().filter(|verb| !understood.contains(verb.as_str())).collect();
    assert!(missing.is_empty(), "no seed of {name} has {missing:?}");
    // In pieces of every size: `client` compares each with the whole.
    for seed in &seeds {
        for size in 1..=u8::MAX {
            let mut input = seed.clone();
            input.get_mut(1).into_iter().for_each(|piece| *piece = size);
            entry::client(service, &input);
        }
    }
    let secs = std::env::var("MONARCH_FUZZ_SECS").ok().and_then(|secs| secs.parse().ok());
    let until = secs.map(|secs| Instant::now() + Duration::from_secs(secs));
    let mut dice = Dice(0);
    loop {
        for seed in &seeds {
            for _ in 0..MUTATIONS {
                let input = dice.mutate(seed, &seeds);
                if std::panic::catch_unwind(|| entry::client(service, &input)).is_err() {
                    panic!("{name}: {:?}", input.escape_ascii().to_string());
                }
            }
        }
        if until.is_none_or(|until| until <= Instant::now()) {
            return;
        }
    }
}

#[test]
fn what_clients_send_to_dispatch() {
    play(Service::Dispatch, "dispatch");
}

#[test]
fn what_clients_send_to_notification() {
    play(Service::Notification, "notification");
}

#[test]
fn what_clients_send_to_switchboard() {
    play(Service::Switchboard, "switchboard");
}
