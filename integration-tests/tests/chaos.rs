//! Chaos on several hosts: nodes stand still, are cut off, killed and started again. Afterwards nobody is shown wrongly for good,
//! and no message is lost. Here is one round of each kind; `scripts/chaos` plays many, and asks that nothing is wrong 30 s after the
//! last fault. Without root, `ip` and `nft` the test is left out, and says so; in continuous integration it
//! fails then.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::chaos::{self, Kind, Report};
use integration_tests::hosts::Hosts;
use integration_tests::left_out;
use tokio::task::LocalSet;
use tokio::time::timeout;

/// How long a round may take.
const ROUND: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_shown_wrongly_for_long() -> Result<()> {
    if let Some(missing) = Hosts::missing() {
        return left_out(&missing);
    }
    let rounds: Vec<_> = Kind::ALL.into_iter().zip(1..).collect();
    judge(&play(&rounds, 3).await?, Report::is_good)
}

/// `MONARCH_CHAOS_KIND` names one kind, otherwise all are played; `MONARCH_CHAOS_ROUNDS` says how many rounds of each (20),
/// `MONARCH_CHAOS_SEED` the seed of the first (1), `MONARCH_CHAOS_JOBS` how many are played at once (4).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes half an hour: scripts/chaos"]
async fn many_rounds() -> Result<()> {
    let missing = Hosts::missing();
    ensure!(missing.is_none(), "it needs network namespaces: {}", missing.unwrap_or_default());
    let kinds = match std::env::var("MONARCH_CHAOS_KIND") {
        Ok(kind) if !kind.is_empty() => vec![kind.parse()?],
        _ => Kind::ALL.to_vec(),
    };
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(Ok(default), |value| value.parse().with_context(|| format!("{name}={value}")))
    };
    let (count, first) = (number("MONARCH_CHAOS_ROUNDS", 20)?, number("MONARCH_CHAOS_SEED", 1)?);
    let seeds = first..first + count;
    let rounds: Vec<_> = seeds.flat_map(|seed| kinds.iter().map(move |kind| (*kind, seed))).collect();
    let jobs = usize::try_from(number("MONARCH_CHAOS_JOBS", 4)?)?;
    judge(&play(&rounds, jobs).await?, Report::is_good)
}

/// Plays rounds, some at once, each in a world of its own.
async fn play(rounds: &[(Kind, u64)], jobs: usize) -> Result<Vec<Report>> {
    // Their processes end with the thread that started them: all are started by this one.
    let (mut reports, mut failed) = (Vec::new(), Vec::new());
    for some in rounds.chunks(jobs.max(1)) {
        let local = LocalSet::new();
        let playing: Vec<_> =
            some.iter().map(|(kind, seed)| local.spawn_local(timeout(ROUND, chaos::play(*kind, *seed)))).collect();
        local.await;
        for (played, (kind, seed)) in playing.into_iter().zip(some) {
            match played.await?.context("it does not end").flatten() {
                Ok(report) => {
                    println!("{report}\n{}", report.details());
                    reports.push(report);
                }
                Err(error) => {
                    println!("{kind} seed {seed} could not be played: {error:#}");
                    failed.push(format!("{kind} seed {seed}"));
                }
            }
        }
    }
    println!("{}", chaos::summary(&reports));
    ensure!(failed.is_empty(), "could not be played: {}", failed.join(", "));
    Ok(reports)
}

fn judge(reports: &[Report], is_good: fn(&Report) -> bool) -> Result<()> {
    let bad: Vec<String> = reports.iter().filter(|report| !is_good(report)).map(ToString::to_string).collect();
    ensure!(bad.is_empty(), "{}", bad.join("\n"));
    Ok(())
}
