//! A `monarch up` at work.

#![allow(dead_code)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use integration_tests::client::Client;
use integration_tests::program;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// How long a start, a stop or a whole conversation may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// A hash costs as little as it may: passwords are not what is tested.
pub(crate) const CHEAP: [&str; 2] = ["--accounts-argon2-memory-kib=1024", "--accounts-argon2-passes=1"];

/// Whether a process is there.
pub(crate) fn is_alive(process: i32) -> bool {
    Pid::from_raw(process).is_some_and(|pid| test_kill_process(pid).is_ok())
}

/// It, and what it has said.
pub(crate) struct Up {
    pub(crate) child: Child,
    _stdout: Lines<BufReader<ChildStdout>>,
    pub(crate) greeting: String,
    pub(crate) dispatch: SocketAddr,
    pub(crate) children: BTreeSet<i32>,
}

impl Up {
    /// Starts it on a data directory of its own, on ports that the system chooses; see [`Self::start_in`].
    pub(crate) async fn start(data: &Path) -> Result<Self> {
        let arguments: Vec<_> = [format!("--data={}", data.display())].into_iter().chain(any_ports()).collect();
        Self::start_in(data.parent().context("no directory")?, &arguments).await
    }

    /// Starts it in a working directory and reads what it says until all is ready. Await it in the test itself: the programs end
    /// with the thread that started them.
    pub(crate) async fn start_in(directory: &Path, arguments: &[String]) -> Result<Self> {
        Self::start_by(monarch(directory)?, directory, arguments).await
    }

    /// The same by another command, which becomes `monarch` with what follows.
    pub(crate) async fn start_by(mut command: Command, directory: &Path, arguments: &[String]) -> Result<Self> {
        command.arg("up").args(CHEAP).args(arguments);
        let log = std::fs::File::options().create(true).append(true).open(log(directory))?;
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        let mut greeting = String::new();
        let greeted = async {
            while !greeting.contains("Ctrl-C stops it.") {
                let line = stdout.next_line().await?.with_context(|| format!("it ended early: {greeting}"))?;
                greeting.push_str(&line);
                greeting.push('\n');
            }
            anyhow::Ok(())
        };
        let greeted = timeout(PATIENCE, greeted).await.context("not up in time").flatten();
        greeted.map_err(|error| anyhow!("{error:#}\n{}", log_of(directory)))?;
        let address = greeting.split("dispatch ").nth(1).and_then(|rest| rest.split(' ').next());
        let dispatch = address.context("no address of dispatch")?.parse()?;
        let id = child.id().context("it has ended")?;
        let children = children_of(id.try_into()?)?;
        ensure!(children.len() >= 3, "three programs at least, not {children:?}");
        Ok(Self { child, _stdout: stdout, greeting, dispatch, children })
    }

    /// Ctrl-C: it and its three programs end, it with exit code 0.
    pub(crate) async fn ctrl_c(mut self) -> Result<()> {
        let id = self.child.id().context("it has ended")?;
        kill_process(Pid::from_raw(id.try_into()?).context("no process id")?, Signal::INT)?;
        let status = timeout(PATIENCE, self.child.wait()).await.context("it does not stop")??;
        ensure!(status.code() == Some(0), "{status}");
        for child in self.children {
            ensure!(!is_alive(child), "process {child} is still there");
        }
        ensure!(Client::connect(self.dispatch).await.is_err(), "{} still answers", self.dispatch);
        Ok(())
    }
}

/// Flags by which the system chooses all ports.
pub(crate) fn any_ports() -> Vec<String> {
    let mut flags = Vec::new();
    for tier in ["dispatch", "notification", "switchboard"] {
        let keys = ["listen", "node-gossip", "node-peer", "node-admin"];
        flags.extend(keys.map(|key| format!("--{tier}-{key}=127.0.0.1:0")));
    }
    flags.extend(["http", "https", "dns"].map(|key| format!("--dispatch-{key}-listen=127.0.0.1:0")));
    flags
}

/// The command `monarch`, in a working directory.
pub(crate) fn monarch(directory: &Path) -> Result<Command> {
    let mut command = Command::new(program("monarch")?);
    plain(command.current_dir(directory));
    Ok(command)
}

/// Whatever is configured where the test runs is not meant.
pub(crate) fn plain(command: &mut Command) {
    command.stdin(Stdio::null()).kill_on_drop(true);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MONARCH_")) {
        command.env_remove(name);
    }
}

fn log(directory: &Path) -> PathBuf {
    directory.join("up.log")
}

/// What those that were started in a directory have logged.
pub(crate) fn log_of(directory: &Path) -> String {
    std::fs::read_to_string(log(directory)).unwrap_or_default()
}

/// The processes that have this one as their parent.
fn children_of(parent: i32) -> Result<BTreeSet<i32>> {
    let mut children = BTreeSet::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // `PID (NAME) STATE PARENT …`; NAME may hold anything. One that has ended meanwhile is nobody's child.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let fields = stat.rsplit(')').next().unwrap_or_default();
        if fields.split_whitespace().nth(1).and_then(|ppid| ppid.parse().ok()) == Some(parent) {
            children.insert(pid);
        }
    }
    Ok(children)
}
