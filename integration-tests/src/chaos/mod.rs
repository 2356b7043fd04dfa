//! Rounds of chaos: something befalls a deployment on several hosts while people use it; then nobody changes anything, and the
//! checker says how long it takes until everybody is shown rightly, and what became of the messages.
//!
//! A round is decided by its kind and its seed. `scripts/chaos` plays many.

mod dice;
mod kinds;
mod other_tiers;
mod report;
mod stage;
mod stall;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{Instant, sleep, sleep_until};

use crate::checker::{Messages, Presence, Wrong};
pub use kinds::Kind;
pub use report::{Report, summary};
use stage::Stage;

/// When the checker looks, after the last fault and the last thing that anybody was told to do.
const LOOKS: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(30)];
/// Nodes compare twice until then: what is wrong still is wrong for good.
const LASTING: Duration = Duration::from_secs(65);
/// How long people may take to have what they want: some have lost their connection by the last fault.
const SETTLED: Duration = Duration::from_secs(30);
/// How long a message that was kept may take to be brought.
const BROUGHT: Duration = Duration::from_secs(15);
/// Names the directory that gets logs and ledger of rounds in which something was wrong.
const KEPT: &str = "MONARCH_CHAOS_LOGS";

/// Plays a round. Await it on the thread that lives as long as the test (see [`crate::Process`]).
///
/// # Errors
/// When it could not be played: what it shows is in the report.
pub async fn play(kind: Kind, seed: u64) -> Result<Report> {
    let mut stage = Stage::set(kind.salt() ^ seed).await.context("before anything happened")?;
    let played = round(&mut stage, kind, seed).await;
    let bad = played.as_ref().map_or(true, |report| !report.is_good());
    if bad && let Some(directory) = std::env::var_os(KEPT) {
        keep(&stage, &PathBuf::from(directory).join(format!("{kind}-{seed}")), played.as_ref().ok())?;
    }
    played
}

async fn round(stage: &mut Stage, kind: Kind, seed: u64) -> Result<Report> {
    let what = kind.befall(stage).await?;
    let quiet = Instant::now();
    let ((settled, late), wrong) = tokio::join!(settle(stage, quiet), look(stage, quiet));
    let mut lasting = Vec::new();
    if wrong.last().is_some_and(|wrong| !wrong.is_empty()) {
        sleep_until(quiet + LASTING).await;
        lasting = stage.presence().wrong(&stage.circle);
    }
    let entries = stage.outside.ledger.entries();
    let presence = Presence::after(&entries);
    let wanted = stage.people.iter().chain(&stage.doubles).filter(|person| person.wished().is_some());
    let present = presence.present();
    let mut absent: Vec<_> = wanted.map(|person| person.account).filter(|who| !present.contains(who)).collect();
    absent.dedup();
    Ok(Report {
        kind,
        seed,
        what,
        changes: stage.changes,
        let_in: stage.let_in(),
        settled,
        late,
        watchings: presence.watchings(&stage.circle),
        wrong,
        lasting,
        double: presence.double(),
        absent,
        messages: messages(stage).await,
        stalled: stage.stalls.longest(),
    })
}

/// How long it takes until everybody has what they want, and who has not at last.
async fn settle(stage: &Stage, quiet: Instant) -> (Duration, Option<String>) {
    let late = stage.settled(SETTLED).await.err().map(|error| error.to_string());
    (quiet.elapsed(), late)
}

/// What is wrong at each look.
async fn look(stage: &Stage, quiet: Instant) -> Vec<Vec<Wrong>> {
    let mut wrong = Vec::new();
    for look in LOOKS {
        sleep_until(quiet + look).await;
        wrong.push(stage.presence().wrong(&stage.circle));
        // Conversations go on at first; at the end each message has had its time.
        stage.outside.hush();
    }
    wrong
}

/// What became of the messages, once those that are kept have had their time.
async fn messages(stage: &Stage) -> Messages {
    let deadline = Instant::now() + BROUGHT;
    loop {
        let messages = Messages::of(&stage.outside.ledger.entries(), &stage.outside.ledger.faults());
        if messages.lost.is_empty() || Instant::now() > deadline {
            return messages;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// Keeps what is needed to find the fault.
fn keep(stage: &Stage, directory: &Path, report: Option<&Report>) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    for (name, log) in stage.hosts.whole_logs() {
        std::fs::write(directory.join(format!("{name}.log")), log)?;
    }
    let ledger: Vec<String> = stage.outside.ledger.entries().iter().map(ToString::to_string).collect();
    std::fs::write(directory.join("ledger"), ledger.join("\n"))?;
    let report = report.map(|report| format!("{report}\n{}", report.details())).unwrap_or_default();
    Ok(std::fs::write(directory.join("report"), report)?)
}
