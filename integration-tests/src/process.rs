//! One process of a deployment.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::{admin, binaries};

/// How long a process may take until it listens.
const START: Duration = Duration::from_secs(30);
/// How long a process may take to stop when asked.
const STOP: Duration = Duration::from_secs(30);
/// How much of a log is shown when a test fails.
const TAIL: usize = 60;

/// A process of one tier, its addresses and its log. Killed when dropped, and when the test dies.
#[derive(Debug)]
pub struct Process {
    name: String,
    tier: &'static str,
    config: PathBuf,
    log: PathBuf,
    /// The network namespace in which it runs, if not that of the test.
    namespace: Option<String>,
    /// How many files it may have open, if fewer than the test.
    open_files: Option<u64>,
    child: Option<Child>,
    /// What it prints, until it has said where it listens.
    prints: Option<Lines<BufReader<ChildStdout>>>,
    addresses: BTreeMap<String, SocketAddr>,
}

impl Process {
    /// A process that is not started yet. `directory` gets its log.
    pub(crate) fn new(tier: &'static str, name: String, config: PathBuf, directory: &Path) -> Self {
        let log = directory.join(format!("{name}.log"));
        Self {
            name,
            tier,
            config,
            log,
            namespace: None,
            open_files: None,
            child: None,
            prints: None,
            addresses: BTreeMap::new(),
        }
    }

    /// The same in a network namespace, by its name for `ip netns`.
    pub(crate) fn inside(self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self }
    }

    /// From its next start on it may have no more files open than so many.
    pub(crate) fn bound_open_files(&mut self, most: u64) {
        self.open_files = Some(most);
    }

    /// Its name: `notification-1`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its tier: `notification`.
    #[must_use]
    pub fn tier(&self) -> &'static str {
        self.tier
    }

    /// Whether it was started and not stopped.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Where it listens: `clients`, `http`, `https`, `dns`, `gossip`, `peer`, `admin`.
    ///
    /// # Errors
    /// When it has not said so.
    pub fn address(&self, name: &str) -> anyhow::Result<SocketAddr> {
        let address = self.addresses.get(name).copied();
        address.with_context(|| format!("{} said nothing of its address for {name}", self.name))
    }

    /// Status and body of a `GET` at its admin address.
    ///
    /// # Errors
    /// When it does not answer with HTTP within seconds.
    pub async fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        admin::get(self.address("admin")?, path).await
    }

    /// How many nodes of a tier it counts as alive, by its metrics.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn nodes_seen(&self, tier: &str) -> anyhow::Result<usize> {
        admin::nodes_seen(self.address("admin")?, tier).await
    }

    /// Starts it with these settings over the configuration file, and waits until it listens. A second start asks
    /// for the ports of the first: others know it by them.
    ///
    /// Call it on the thread that lives as long as the test, not in a spawned task: the kernel kills the process
    /// when the thread that started it ends.
    pub(crate) async fn start(&mut self, settings: &[String]) -> anyhow::Result<()> {
        self.begin(settings)?;
        self.listening().await
    }

    /// The same without waiting.
    pub(crate) fn begin(&mut self, settings: &[String]) -> anyhow::Result<()> {
        let program = binaries::program(self.tier)?;
        let mut command = match &self.namespace {
            None => Command::new(program),
            // It becomes the program, so that the process has the same id.
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(program);
                command
            }
        };
        command.arg("--config").arg(&self.config).kill_on_drop(true);
        settings.iter().for_each(|setting| {
            command.args(["--set", setting]);
        });
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MONARCH_")) {
            command.env_remove(name);
        }
        let log = File::options().create(true).append(true).open(&self.log)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        before_start(&mut command, self.open_files);
        let mut child = command.spawn().with_context(|| format!("{} can't be started", self.name))?;
        let stdout = child.stdout.take().context("no standard output")?;
        (self.child, self.prints) = (Some(child), Some(BufReader::new(stdout).lines()));
        Ok(())
    }

    /// Waits until it says where it listens.
    pub(crate) async fn listening(&mut self) -> anyhow::Result<()> {
        let mut lines = self.prints.take().with_context(|| format!("{} was not started", self.name))?;
        let listening = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(addresses) = line.strip_prefix("listening ") {
                    return parse_addresses(addresses);
                }
            }
            anyhow::bail!("it ended before it listened")
        };
        let listening = timeout(START, listening).await.context("it did not listen in time").and_then(|done| done);
        self.addresses = listening.with_context(|| format!("{}\n{}", self.name, self.tail()))?;
        // What else it prints must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(())
    }

    /// The memory that it has at this moment, in bytes.
    ///
    /// # Errors
    /// When it does not run.
    pub fn memory(&self) -> anyhow::Result<u64> {
        let id = self.id().with_context(|| format!("{} does not run", self.name))?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    /// Kills it at once, as a crash would.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().with_context(|| format!("{} does not run", self.name))?;
        Ok(child.kill().await?)
    }

    /// Sends it SIGHUP.
    ///
    /// # Errors
    /// When it does not run.
    pub fn hang_up(&self) -> anyhow::Result<()> {
        self.signal(Signal::HUP)
    }

    /// All that it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Asks it to stop (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// When it does not run, or does not stop in time; it is killed then.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let mut child = self.child.take().with_context(|| format!("{} does not run", self.name))?;
        let stopped = timeout(STOP, child.wait()).await;
        Ok(stopped.with_context(|| format!("{} does not stop\n{}", self.name, self.tail()))??)
    }

    /// Stops it in its tracks (SIGSTOP): its connections stay, and nothing is answered.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let child = self.child.as_ref().with_context(|| format!("{} does not run", self.name))?;
        let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let id = id.with_context(|| format!("{} has ended by itself\n{}", self.name, self.tail()))?;
        Ok(kill_process(id, signal)?)
    }

    /// The end of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let shown = &lines[lines.len().saturating_sub(TAIL)..];
        format!(
            "--- {} ({} lines of log, the last {}):\n{}\n",
            self.name,
            lines.len(),
            shown.len(),
            shown.join("\n")
        )
    }
}

fn parse_addresses(text: &str) -> anyhow::Result<BTreeMap<String, SocketAddr>> {
    let pair = |word: &str| {
        let (name, address) = word.split_once('=').with_context(|| format!("{word:?} is no address"))?;
        anyhow::Ok((name.to_owned(), address.parse()?))
    };
    text.split_whitespace().map(pair).collect()
}

/// Bounds the files that the process may open, and lets the kernel kill it with its parent: `kill_on_drop` does not help when the test
/// itself is killed.
fn before_start(command: &mut Command, open_files: Option<u64>) {
    let set = move || {
        if open_files.is_some() {
            setrlimit(Resource::Nofile, Rlimit { current: open_files, maximum: open_files })?;
        }
        Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
    };
    // SAFETY: between fork and exec only these system calls are made, which take no lock and no memory.
    unsafe {
        command.pre_exec(set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_process_announces() {
        let addresses = parse_addresses("clients=127.0.0.1:1863 admin=127.0.0.1:9").unwrap();
        assert_eq!(addresses["clients"].port(), 1863);
        assert!(parse_addresses("clients").is_err());
    }
}
