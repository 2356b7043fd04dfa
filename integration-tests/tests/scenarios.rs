//! Every scenario of `integration-tests/scenarios`, against the real binaries: two notification nodes, one
//! switchboard.
//!
//! What they show of the protocol must be all that it has, and `CONFORMANCE.md` must say so: `MONARCH_CONFORMANCE=write`
//! writes that page anew.
//!
//! `MONARCH_SCENARIOS=chat` plays only the files with `chat` in their names; `MONARCH_SCENARIO_JOBS=1` one at a time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cli::scenario::{Chain, load, play_all};
use integration_tests::conformance::{self, Coverage};
use integration_tests::{Plan, World};

/// Playings at once, unless the environment says otherwise: most of their time they wait for the servers' timers.
const JOBS: usize = 16;
/// How long a line may take to come. So many at once on a busy machine need more than a tester's few; silence is never
/// proved by waiting, so that nothing takes longer for it.
const PATIENCE: Duration = Duration::from_secs(30);

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = std::fs::read_dir(&directory).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    // A file that continues another one follows it in this order.
    files.sort();
    files
}

fn chains() -> Vec<Chain> {
    load(&files()).unwrap_or_else(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        panic!("{}", errors.join("\n"))
    })
}

#[test]
fn every_scenario_can_be_read() {
    assert!(chains().len() >= 40, "too few scenarios");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scenario_plays_as_written() {
    let mut chains = chains();
    let filter = std::env::var("MONARCH_SCENARIOS").ok();
    chains.retain(|chain| filter.as_ref().is_none_or(|filter| chain.is_named_like(filter)));
    let jobs = std::env::var("MONARCH_SCENARIO_JOBS").ok().and_then(|jobs| jobs.parse().ok()).unwrap_or(JOBS);
    let world = World::start(Plan::default()).await.unwrap();
    let mut deployment = world.deployment().await.unwrap();
    deployment.timeout = PATIENCE;
    let deployment = Arc::new(deployment);
    let (mut played, mut failures, mut coverage) = (0, Vec::new(), Coverage::default());
    let worst = play_all(chains, deployment, jobs, None, |outcome| {
        played += 1;
        coverage.add(outcome);
        // What went well is only counted: hundreds of such lines would hide the one that failed.
        if outcome.result.is_err() {
            failures.push(outcome.to_string());
        }
    });
    worst.await.unwrap();
    println!("{played} played, {} failed", failures.len());
    assert!(failures.is_empty(), "{}\n{}", failures.join("\n"), world.logs());
    world.shut_down().await.unwrap();
    if filter.is_none() {
        let problems = conformance::check(&coverage).unwrap();
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}
