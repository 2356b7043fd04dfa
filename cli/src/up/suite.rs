//! The processes together.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::process::ExitStatus;
use std::task::Poll;
use std::time::Duration;

use common::config::{Config, Given};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Signals;
use super::data::DataDir;
use super::logs::Console;
use super::nodes::Plan;
use super::probe::{self, Readiness};
use super::running::{self, Running};
use super::tier::{Addresses, Launch, Tier};
use crate::Failure;
use crate::terminal::say;

/// From the start of a process to its announcement.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks at `/readyz`.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);
/// Between two lines that say what is waited for.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
/// From the request to stop to the use of force.
const STOP_TIMEOUT: Duration = Duration::from_secs(25);
/// How long a console may take for what is left.
const CONSOLE_TIMEOUT: Duration = Duration::from_secs(1);

/// Those that were started, and the directory that they work on.
#[derive(Default)]
pub(super) struct Suite {
    tiers: Vec<Tier>,
    data: Option<DataDir>,
    console: Option<oneshot::Receiver<()>>,
}

/// The end of one of them.
pub(super) struct Exit {
    index: usize,
    status: io::Result<ExitStatus>,
}

impl Suite {
    /// Keeps the directory locked as long as a process may write there.
    pub(super) fn hold(&mut self, data: DataDir) {
        self.data = Some(data);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tiers.is_empty()
    }

    /// Starts dispatch, and when it has said where it gossips, the others. Call on the main thread.
    ///
    /// With `find_seeds` the others look for it there, rather than at its default place.
    pub(super) async fn start(
        &mut self,
        launch: &Launch,
        nodes: Vec<Plan>,
        config: &Config,
        find_seeds: bool,
    ) -> Result<(), Failure> {
        common::files::create_directory(&launch.logs)?;
        let (console, shown) = Console::open();
        self.console = Some(shown);
        let node = &config.dispatch.node;
        let known = node.gossip_advertise.or((node.gossip.port() != 0).then_some(node.gossip));
        let seeds = |seed| if find_seeds { vec![seeds(seed)] } else { Vec::new() };

        let mut nodes = nodes.into_iter();
        for first in nodes.by_ref().take(1) {
            self.tiers.push(Tier::start(first, launch, &seeds(known), &console)?);
        }
        self.until_announced().await?;
        let announced = self.addresses().get("dispatch").and_then(|addresses| addresses.get("gossip").copied());
        for plan in nodes {
            self.tiers.push(Tier::start(plan, launch, &seeds(known.or(announced)), &console)?);
        }
        self.until_announced().await
    }

    /// Waits until all that were started have said where they listen.
    async fn until_announced(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + ANNOUNCE_TIMEOUT;
        let waited_for: Vec<_> = self.tiers.iter().map(Tier::announced).collect();
        for (index, announced) in waited_for.into_iter().enumerate() {
            let in_time = tokio::select! {
                announced = timeout_at(deadline, announced) => announced.is_ok(),
                exit = self.first_exit() => return Err(self.explain(exit).await),
            };
            if !in_time {
                let secs = ANNOUNCE_TIMEOUT.as_secs();
                return Err(self.tiers[index].failure(&format!("has not said within {secs} s where it listens")));
            }
        }
        Ok(())
    }

    /// Waits until `/readyz` of all is content, and says from time to time what is missing.
    pub(super) async fn until_ready(&mut self, patience: Duration) -> Result<(), Failure> {
        let start = Instant::now();
        let mut next_progress = start + PROGRESS_INTERVAL;
        loop {
            let Some((index, missing)) = self.first_unready().await else { return Ok(()) };
            let name = &self.tiers[index].name;
            if start.elapsed() >= patience {
                let secs = patience.as_secs();
                return Err(self.tiers[index].failure(&format!("is not ready after {secs} s ({missing})")));
            }
            if Instant::now() >= next_progress {
                next_progress += PROGRESS_INTERVAL;
                say(format!("monarch: waiting for {name}: {missing}"));
            }
            tokio::select! {
                () = sleep(PROBE_INTERVAL) => {}
                exit = self.first_exit() => return Err(self.explain(exit).await),
            }
        }
    }

    async fn first_unready(&self) -> Option<(usize, String)> {
        for (index, tier) in self.tiers.iter().enumerate() {
            let Some(admin) = tier.addresses().get("admin").copied() else {
                return Some((index, "its announcement names no admin address".into()));
            };
            if let Readiness::Waiting(missing) = probe::readiness(admin).await {
                return Some((index, missing));
            }
        }
        None
    }

    /// Where all listen, by their names and those of the addresses.
    pub(super) fn addresses(&self) -> BTreeMap<String, Addresses> {
        self.tiers.iter().map(|tier| (tier.name.clone(), tier.addresses())).collect()
    }

    /// Waits until one ends, which none should. Safe to cancel.
    pub(super) async fn first_exit(&mut self) -> Exit {
        poll_fn(|context| {
            for (index, tier) in self.tiers.iter_mut().enumerate() {
                if let Poll::Ready(status) = pin!(tier.wait()).poll(context) {
                    return Poll::Ready(Exit { index, status });
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Passes a SIGHUP on: each reads again what it can, and its log says what.
    pub(super) fn hang_up(&self) {
        self.tiers.iter().for_each(Tier::hang_up);
        say("monarch: SIGHUP: all programs read again what they can; their logs say what");
    }

    /// Says which one ended, and how, with its last words.
    pub(super) async fn explain(&mut self, exit: Exit) -> Failure {
        let how = exit.status.map_or_else(|error| error.to_string(), |status| status.to_string());
        let tier = &mut self.tiers[exit.index];
        tier.finish_log().await;
        tier.failure(&format!("has ended ({how})"))
    }

    /// Notes in the data directory where all listen. Without the note all is up: only other commands don't find it by themselves.
    pub(super) fn note(&self) {
        let Some(data) = &self.data else { return };
        if let Err(error) = Running(self.addresses()).note(data.path()) {
            say(format!(
                "monarch: can't note in {} where the servers listen ({error}): `scenario`, `broadcast` and `sign-out` look at the \
                 configured addresses",
                data.path().display()
            ));
        }
    }

    /// Stops all: asks, waits, and uses force on those that take too long, or at another signal.
    pub(super) async fn stop(mut self, signals: &mut Signals) {
        if let Some(data) = &self.data {
            running::forget(data.path());
        }
        self.tiers.iter().for_each(Tier::terminate);
        let all_ended = async {
            for tier in &mut self.tiers {
                let _ = tier.wait().await;
            }
        };
        let in_peace = tokio::select! {
            ended = timeout(STOP_TIMEOUT, all_ended) => ended.is_ok(),
            () = signals.next() => false,
        };
        for tier in &mut self.tiers {
            if !in_peace {
                tier.kill().await;
            }
            tier.finish_log().await;
        }
        if let Some(console) = self.console.take() {
            let _ = timeout(CONSOLE_TIMEOUT, console).await;
        }
    }
}

/// Whom to ask for the other nodes; nobody, where the place is not known yet.
fn seeds(seed: Option<SocketAddr>) -> Given {
    let value = seed.map(|addr| addr.to_string()).unwrap_or_default();
    Given { flag: "--set".into(), key: "cluster.seeds".into(), value }
}
