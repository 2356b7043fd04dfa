//! Any dialect with any other: `matrix/pair.txt`, once for each pair, against the real binaries.
//!
//! `MONARCH_MATRIX=MSNP9` plays only the pairs in which alice speaks that.

use std::path::Path;
use std::sync::Arc;

use cli::scenario::{Chain, load, play_all};
use common::msnp::Dialect;
use integration_tests::{Plan, World};

/// Pairs at once: more would only wait for the processor.
const JOBS: usize = 6;

/// One file for each of alice's dialects; bob speaks all of them in each.
fn chains(directory: &Path) -> Vec<Chain> {
    let only = std::env::var("MONARCH_MATRIX").ok();
    let names = Dialect::ALL.iter().map(|dialect| dialect.number.to_string());
    let names = names.filter(|name| only.as_ref().is_none_or(|only| only == name));
    let files = names.map(|name| {
        let file = directory.join(format!("pair-{name}.txt"));
        let text = format!("for dialect in MSNP2..\nlet hers {name}\n{}", include_str!("matrix/pair.txt"));
        std::fs::write(&file, text).unwrap();
        file
    });
    load(&files.collect::<Vec<_>>()).unwrap_or_else(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        panic!("{}", errors.join("\n"))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_dialect_gets_on_with_every_other() {
    let world = World::start(Plan::default()).await.unwrap();
    let deployment = Arc::new(world.deployment().await.unwrap());
    let chains = chains(world.directory());
    let expected = chains.len() * Dialect::ALL.len();
    let (mut played, mut failures) = (0, Vec::new());
    let worst = play_all(chains, deployment, JOBS, None, |outcome| {
        played += 1;
        if outcome.result.is_err() {
            failures.push(outcome.to_string());
        }
    });
    worst.await.unwrap();
    println!("{played} pairs played, {} failed", failures.len());
    assert!(failures.is_empty(), "{}\n{}", failures.join("\n"), world.logs());
    assert_eq!(played, expected);
    world.shut_down().await.unwrap();
}
