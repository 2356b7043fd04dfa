//! The corpus of the fuzz targets, played with the same functions, and some thousand mutations of it: the targets
//! themselves need a nightly toolchain (`scripts/fuzz`).
//!
//! `MONARCH_FUZZ_SECS=60` mutates for so long; by default each seed is changed a fixed number of times, always the same way.

#[path = "../../fuzz/src/entry.rs"]
mod entry;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use common::msnp::verbs::TABLE;
use common::msnp::{Service, Verb};

/// Mutations of each seed.
const MUTATIONS: u64 = 1000;

fn seeds(service: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(service);
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// A generator of numbers that are always the same (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }

    /// A few changes: bytes turned, taken out, doubled, replaced by what matters on this wire, or taken from another seed.
    fn mutate(&mut self, seed: &[u8], seeds: &[Vec<u8>]) -> Vec<u8> {
        const TOKENS: &[&[u8]] = &[
            b"\r\n",
            b"\n",
            b" ",
            b"  ",
            b"0",
            b"4294967295",
            b"4294967296",
            b"%",
            b"%00",
            b"%0D%0A",
            b"\xff",
            b"\xc3\xa4",
            b"-1",
            b"N=",
            b"C=",
            b"FL",
            b"RL",
            b"PL",
            b"99999999999999999999",
        ];
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let until = (at + self.below(16)).min(bytes.len());
            match self.below(6) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => drop(bytes.drain(at..until)),
                2 => {
                    let doubled = bytes[at..until].to_vec();
                    bytes.splice(at..at, doubled);
                }
                3 => {
                    let token = TOKENS[self.below(TOKENS.len())];
                    bytes.splice(at..until, token.iter().copied());
                }
                4 => {
                    let other = &seeds[self.below(seeds.len())];
                    let from = self.below(other.len() + 1);
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
                _ => bytes.insert(at, self.below(256) as u8),
            }
        }
        bytes
    }
}

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
