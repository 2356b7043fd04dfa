//! What befalls switchboards and dispatch nodes.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use super::kinds::{FEW_TALKS, MANY_TALKS, stir_until, talk};
use super::stage::{PEOPLE, Stage};
use crate::checker::Account;

/// So many switchboards in a round.
const BOARDS: usize = 2;
/// So long after its end it is known that a switchboard is dead, and what it has left is brought: the time after which the checker
/// asks that what is new waits for that.
const KNOWN: Duration = Duration::from_millis(10_500);
/// So long after it was started again.
const ANEW: Duration = Duration::from_millis(4_300);
/// A switchboard learns of a reset in this time.
const APART: Duration = Duration::from_millis(500);
/// Of a hundred who were called, so many go shortly before, most of them since their client hangs and crashes.
const GO: usize = 60;

/// Conversations end with their switchboard: callers call again until they have a new one. Some of those called are away then, and come
/// back when what was kept for them may be brought: they are called in the same moment.
pub(super) async fn switchboard(stage: &mut Stage) -> Result<String> {
    let talks = talk(stage, MANY_TALKS).await;
    let mut boards = stage.hosts.nodes("switchboard");
    stage.dice.shuffle(&mut boards);
    let mut story = Vec::new();
    for board in boards.into_iter().take(BOARDS) {
        let length = stage.dice.millis(1_000, 12_000);
        let still = stage.dice.percent(35);
        let mut gone: Vec<Account> = talks.iter().map(|(_, called)| *called).collect();
        gone.retain(|_| stage.dice.percent(GO));
        // Some of them hang for a while before: what they are told in that time is kept.
        let hang: Vec<Account> = gone.iter().copied().take(gone.len() * 2 / 3).collect();
        hang.iter().for_each(|who| stage.outside.hang(*who));
        sleep(stage.dice.millis(1_500, 3_500)).await;
        for who in gone.iter().filter(|who| !hang.contains(who)) {
            stage.go(*who);
        }
        for who in &hang {
            stage.crash(*who);
        }
        // What a switchboard and a client that has stopped to read take with them together may be lost.
        sleep(APART).await;
        let began = Instant::now();
        stage.fell(&board, still).await?;
        sleep(length).await;
        stage.raise(&board, still).await?;
        let raised = Instant::now();
        stage.dice.shuffle(&mut gone);
        for who in gone {
            // At any time from then on: some before the end is known, more of them behind.
            let known = KNOWN.saturating_sub(began.elapsed());
            let known = if still { known } else { known.min(ANEW.saturating_sub(raised.elapsed())) };
            let moment = if stage.dice.percent(30) { Duration::ZERO } else { known };
            sleep(moment + stage.dice.millis(0, 200)).await;
            stage.come_visibly(who);
        }
        story.push(format!(
            "{board} {} for {:.1} s",
            if still { "stood still" } else { "was dead" },
            length.as_secs_f64()
        ));
        sleep(stage.dice.millis(0, 4_000)).await;
    }
    Ok(format!("under {} conversations {}", talks.len(), story.join("; ")))
}

/// Everybody who is away signs in, others come and go.
pub(super) async fn dispatch(stage: &mut Stage) -> Result<String> {
    talk(stage, FEW_TALKS).await;
    let nodes = stage.hosts.nodes("dispatch");
    let node = stage.dice.pick(&nodes).unwrap_or_default();
    let length = stage.dice.millis(2_000, 12_000);
    let still = stage.dice.percent(50);
    let away = stage.those(false);
    stage.fell(&node, still).await?;
    let until = Instant::now() + length;
    for who in &away {
        stage.come(*who);
        sleep(stage.dice.millis(0, 50)).await;
    }
    let everybody: Vec<Account> = (0..PEOPLE).collect();
    stir_until(stage, &everybody, until, 20).await;
    stage.raise(&node, still).await?;
    let (came, what) = (away.len(), if still { "stood still" } else { "was dead" });
    Ok(format!("{node} {what} for {:.1} s, {came} came meanwhile", length.as_secs_f64()))
}
