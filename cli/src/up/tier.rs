//! One child process.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use common::config::Given;
use common::telemetry::parse_announcement;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::logs::{Console, LogFile, next_line, tail};
use super::nodes::Plan;
use super::parent::end_with_us;
use crate::Failure;

/// How long the end of a log may take after the end of its process.
const LOG_TIMEOUT: Duration = Duration::from_secs(1);

/// What all children are started with.
pub(super) struct Launch {
    /// Where the programs are.
    pub(super) binaries: PathBuf,
    /// Where their logs go.
    pub(super) logs: PathBuf,
    /// The configuration file that we read.
    pub(super) file: Option<PathBuf>,
    /// What our command line set. The environment they inherit.
    pub(super) given: Vec<Given>,
}

/// The addresses that a process said it listens on, by name.
pub(super) type Addresses = BTreeMap<String, SocketAddr>;

/// A child process.
pub(super) struct Tier {
    /// What it is called: the first of a tier like its program.
    pub(super) name: String,
    /// Its log.
    pub(super) log: PathBuf,
    child: Child,
    log_reader: Option<JoinHandle<()>>,
    announced: watch::Receiver<Option<Addresses>>,
}

impl Tier {
    /// Starts it, with the settings of its plan and `further` ones. Call on the main thread.
    pub(super) fn start(
        plan: Plan,
        launch: &Launch,
        further: &[Given],
        console: &Console,
    ) -> Result<Self, Failure> {
        let Plan { program, name, given } = plan;
        let program = launch.binaries.join(program);
        if !program.is_file() {
            let place = program.display();
            return Err(Failure::failed(format!("there is no {place}; build it with `cargo build --release`")));
        }
        let log = launch.logs.join(format!("{name}.log"));
        let file = LogFile::create(&log)
            .map_err(|error| Failure::failed(format!("can't write the log {}: {error}", log.display())))?;
        let mut command = command(&program, launch, given.iter().chain(further));
        let mut child = command
            .spawn()
            .map_err(|error| Failure::failed(format!("can't start {}: {error}", program.display())))?;

        let (announce, announced) = watch::channel(None);
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(read_announcement(stdout, announce));
        }
        let stderr = child.stderr.take();
        let log_reader = stderr.map(|stderr| tokio::spawn(read_log(name.clone(), stderr, file, console.clone())));
        Ok(Self { name, log, child, log_reader, announced })
    }

    /// Waits until it has said where it listens. For ever, if it ends before.
    pub(super) fn announced(&self) -> impl Future<Output = ()> + use<> {
        let mut announced = self.announced.clone();
        async move {
            if announced.wait_for(Option::is_some).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// What it has said so far.
    pub(super) fn addresses(&self) -> Addresses {
        self.announced.borrow().clone().unwrap_or_default()
    }

    /// Waits for its end. Safe to cancel.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks it to stop. Nothing happens if it has ended.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Asks it to read again what it can.
    pub(super) fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        // The id is there as long as the child was not waited for: no other process can have it.
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
    }

    /// Ends it at once.
    pub(super) async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }

    /// Waits until all that it logged is in its file; not for ever, since a child of its own may hold the pipe. Safe to
    /// cancel: whoever asks next waits as well.
    pub(super) async fn finish_log(&mut self) {
        if let Some(reader) = &mut self.log_reader {
            let _ = timeout(LOG_TIMEOUT, reader).await;
            self.log_reader = None;
        }
    }

    /// A failure of this process, with the end of its log.
    pub(super) fn failure(&self, what: &str) -> Failure {
        let log = self.log.display();
        Failure::failed(format!("{} {what}; the end of {log}:\n{}", self.name, tail(&self.log)))
    }
}

fn command<'a>(program: &Path, launch: &'a Launch, further: impl Iterator<Item = &'a Given>) -> Command {
    let mut command = Command::new(program);
    if let Some(file) = &launch.file {
        command.arg("--config").arg(file);
    }
    for Given { key, value, .. } in launch.given.iter().chain(further) {
        command.arg("--set").arg(format!("{key}={value}"));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // Ctrl-C reaches us alone; we stop the children in good order.
    command.process_group(0);
    end_with_us(&mut command);
    command
}

/// Reads standard output to its end, so that the child never waits for a reader.
async fn read_announcement(stdout: impl AsyncRead + Unpin, announce: watch::Sender<Option<Addresses>>) {
    let mut stdout = BufReader::new(stdout);
    while let Ok(Some(line)) = next_line(&mut stdout).await {
        if let Some(addresses) = parse_announcement(&String::from_utf8_lossy(&line)) {
            announce.send_replace(Some(addresses));
        }
    }
}

async fn read_log(name: String, stderr: impl AsyncRead + Unpin, mut file: LogFile, console: Console) {
    let mut stderr = BufReader::new(stderr);
    let mut broken = false;
    while let Ok(Some(line)) = next_line(&mut stderr).await {
        console.show(&name, &line);
        if let (Err(error), false) = (file.write(&line), broken) {
            broken = true;
            console.show("monarch", format!("can't write the log of {name}: {error}").as_bytes());
        }
    }
}
