//! What befalls a deployment, kind by kind. When it is over, everything is whole again, and nobody changes anything any more.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep, sleep_until};

use super::other_tiers;
use super::stage::{PEOPLE, Stage};
use crate::checker::Account;

/// A kind of round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A notification server stands still for seconds (SIGSTOP), or its host is cut off, while people come, go and change.
    Blink,
    /// A host is cut off for longer than others wait, and comes back.
    Partition,
    /// A notification server is killed and started at once, while people sign in, some twice, some at its port as soon as it opens.
    Restart,
    /// Two notification servers, one after the other, are killed under conversations and started seconds later; their people are
    /// back at once, others come, go and change.
    Crash,
    /// Two switchboards, one after the other, are killed and started again, or stand still, under conversations; who was called goes and
    /// comes back, and is called again.
    Switchboard,
    /// One of the dispatch nodes is killed and started again, or stands still, while people sign in.
    Dispatch,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Blink, Self::Partition, Self::Restart, Self::Crash, Self::Switchboard, Self::Dispatch];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Blink => "blink",
            Self::Partition => "partition",
            Self::Restart => "restart",
            Self::Crash => "crash",
            Self::Switchboard => "switchboard",
            Self::Dispatch => "dispatch",
        }
    }

    /// Of one seed each kind makes something else.
    pub(super) fn salt(self) -> u64 {
        (self as u64 + 1) << 32
    }

    /// Does it; returns what was done.
    pub(super) async fn befall(self, stage: &mut Stage) -> Result<String> {
        match self {
            Self::Blink => blink(stage).await,
            Self::Partition => partition(stage).await,
            Self::Restart => restart(stage).await,
            Self::Crash => crash(stage).await,
            Self::Switchboard => other_tiers::switchboard(stage).await,
            Self::Dispatch => other_tiers::dispatch(stage).await,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|kind| kind.name() == name) {
            Some(kind) => Ok(kind),
            None => bail!("{name} is no kind of round: {}", Self::ALL.map(Self::name).join(", ")),
        }
    }
}

/// Some conversations, so that it shows what becomes of them.
pub(super) const FEW_TALKS: usize = 3;
/// Where conversations are what is looked at.
pub(super) const MANY_TALKS: usize = 10;
/// So many nodes are killed in a round.
const CRASHES: usize = 2;
/// How long the others take to learn that a node is dead, about.
const UNKNOWN: Duration = Duration::from_millis(2_500);
/// So many who are signed in do so on a second machine.
const SECOND: usize = 5;

async fn blink(stage: &mut Stage) -> Result<String> {
    talk(stage, FEW_TALKS).await;
    let node = any_node(stage);
    let length = stage.dice.millis(2_500, 12_000);
    let still = stage.dice.percent(50);
    let there = stage.presence().on(&node);
    // People of a server that stands still can do nothing.
    let among: Vec<Account> = (0..PEOPLE).filter(|who| !still || !there.contains(who)).collect();
    let until = Instant::now() + length;
    if still {
        stage.hosts.process(&node)?.pause()?;
    } else {
        stage.hosts.cut(&[host_of(&node)]).await?;
    }
    stir_until(stage, &among, until, 25).await;
    if still {
        stage.hosts.process(&node)?.resume()?;
    } else {
        stage.hosts.heal().await?;
    }
    Ok(format!("{node} {} for {:.1} s", if still { "stood still" } else { "was cut off" }, length.as_secs_f64()))
}

async fn partition(stage: &mut Stage) -> Result<String> {
    talk(stage, FEW_TALKS).await;
    let node = any_node(stage);
    let length = stage.dice.millis(17_000, 40_000);
    let quiet = stage.dice.percent(50);
    stage.hosts.cut(&[host_of(&node)]).await?;
    let until = Instant::now() + length;
    if !quiet {
        let everybody: Vec<Account> = (0..PEOPLE).collect();
        stir_until(stage, &everybody, until, 30).await;
    }
    sleep_until(until).await;
    stage.hosts.heal().await?;
    let doing = if quiet { "nobody did anything" } else { "people went on" };
    Ok(format!("the host of {node} was cut off for {:.1} s, {doing}", length.as_secs_f64()))
}

async fn restart(stage: &mut Stage) -> Result<String> {
    talk(stage, FEW_TALKS).await;
    let node = any_node(stage);
    let (mut away, mut here) = (stage.those(false), stage.those(true));
    stage.dice.shuffle(&mut away);
    stage.dice.shuffle(&mut here);
    // Every third goes straight to the node, as soon as its port opens. Who is sent by dispatch may still be sent there.
    let straight: Vec<Account> = away.iter().copied().step_by(3).collect();
    away.retain(|who| !straight.contains(who));
    stage.hosts.kill(&node).await?;
    for who in &straight {
        stage.come_to(*who, &node)?;
    }
    let by_dispatch = away.len() / 2;
    away.drain(..by_dispatch).for_each(|who| stage.come(who));
    // Whoever comes else does so in the first seconds; some on two machines at once, some on a second one. Those of the node come back
    // by themselves.
    let comes = |(at, who)| Moment::Comes { who, twice: at % 2 == 0 };
    let mut moments: Vec<Moment> = away.into_iter().enumerate().map(comes).collect();
    let came = by_dispatch + moments.len();
    moments.extend(here.into_iter().take(SECOND).map(Moment::Again));
    stage.hosts.restart(&node).await?;
    stage.dice.shuffle(&mut moments);
    for moment in moments {
        match moment {
            Moment::Comes { who, twice } => {
                stage.come(who);
                if twice {
                    stage.double(who);
                }
            }
            Moment::Again(who) => stage.double(who),
        }
        sleep(stage.dice.millis(10, 300)).await;
    }
    Ok(format!(
        "{node} was killed and started at once, {} went straight there, {came} came as dispatch says and {SECOND} more on a second machine",
        stage.knocks.len(),
    ))
}

enum Moment {
    /// Who is away signs in; some on two machines at the same moment.
    Comes { who: Account, twice: bool },
    /// Who is here signs in on a second machine.
    Again(Account),
}

async fn crash(stage: &mut Stage) -> Result<String> {
    let talks = talk(stage, MANY_TALKS).await;
    let talkers: Vec<Account> = talks.iter().flat_map(|(one, other)| [*one, *other]).collect();
    // Whoever talks goes on talking; others come, go and change, most of them before anybody knows that the node is dead.
    let among: Vec<Account> = (0..PEOPLE).filter(|who| !talkers.contains(who)).collect();
    let mut nodes = stage.hosts.nodes("notification");
    stage.dice.shuffle(&mut nodes);
    let mut story = Vec::new();
    for node in nodes.into_iter().take(CRASHES) {
        let length = stage.dice.millis(1_000, 12_000);
        let until = Instant::now() + length;
        stage.hosts.kill(&node).await?;
        stir_until(stage, &among, Instant::now() + length.min(UNKNOWN), 12).await;
        stir_until(stage, &among, until, 8).await;
        stage.hosts.restart(&node).await?;
        story.push(format!("{node} was killed, and started {:.1} s later", length.as_secs_f64()));
        let pause = stage.dice.millis(0, 6_000);
        stir_until(stage, &among, Instant::now() + pause, 4).await;
    }
    Ok(format!("under {} conversations {}", talks.len(), story.join("; ")))
}

/// So many begin to talk, and have done so for some seconds.
pub(super) async fn talk(stage: &mut Stage, pairs: usize) -> Vec<(Account, Account)> {
    let talks = stage.begin_talks(pairs);
    sleep(stage.dice.millis(1_500, 4_000)).await;
    talks
}

/// So many changes by these people until then, evenly.
pub(super) async fn stir_until(stage: &mut Stage, among: &[Account], until: Instant, changes: u32) {
    let pause = until.saturating_duration_since(Instant::now()) / (changes + 1);
    for _ in 0..changes {
        sleep(pause.max(Duration::from_millis(1))).await;
        stage.stir(among);
    }
    sleep_until(until).await;
}

fn any_node(stage: &mut Stage) -> String {
    let nodes = stage.hosts.nodes("notification");
    stage.dice.pick(&nodes).unwrap_or_default()
}

/// The host of a node has its number.
fn host_of(node: &str) -> u8 {
    node.rsplit('-').next().and_then(|number| number.parse().ok()).unwrap_or(1)
}
