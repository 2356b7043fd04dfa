//! The processes of a deployment, and what they work on: what deployments on one host and on several have in common.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use common::config::Config;
use common::credentials::SealingKey;
use common::telemetry::parse_waiting;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::admin;
use crate::process::Process;
use crate::stored::OwnStore;

/// How often processes are asked whether they are ready.
const ASK: Duration = Duration::from_millis(100);

/// The processes of a deployment with a directory and a store of its own; all of it is gone when dropped.
#[derive(Debug)]
pub struct Suite {
    config: Config,
    /// The configuration of all processes.
    file: PathBuf,
    // Dropped in this order: the processes before what they work on.
    processes: Vec<Process>,
    _store: OwnStore,
    directory: TempDir,
}

impl Suite {
    /// Makes the data; there are no processes yet. `store` makes one in the directory that it is given.
    pub(crate) async fn lay_out(store: impl AsyncFnOnce(&Path) -> Result<OwnStore>) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("monarch-test-").tempdir()?;
        let data = directory.path().join("data");
        common::files::create_directory(&data)?;
        let store = store(&data).await?;
        let (config, file) = write_config(directory.path(), &store)?;
        Ok(Self { config, file, processes: Vec::new(), _store: store, directory })
    }

    /// One more process, which is not started yet; in a network namespace, if one is named.
    pub(crate) fn add(&mut self, tier: &'static str, number: usize, namespace: Option<&str>) {
        let process = Process::new(tier, format!("{tier}-{number}"), self.file.clone(), self.directory.path());
        self.processes.push(match namespace {
            Some(namespace) => process.inside(namespace),
            None => process,
        });
    }

    /// The directory with configuration, secrets, databases and logs.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The configuration by which another program finds the same store and keys.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The processes, dispatch first.
    #[must_use]
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// The names of all processes.
    pub(crate) fn names(&self) -> Vec<String> {
        self.processes.iter().map(|process| process.name().to_owned()).collect()
    }

    /// The process of that name: `notification-2`.
    ///
    /// # Errors
    /// When there is none.
    pub fn process(&self, name: &str) -> Result<&Process> {
        self.processes.iter().find(|process| process.name() == name).with_context(|| format!("no process {name}"))
    }

    pub(crate) fn process_mut(&mut self, name: &str) -> Result<&mut Process> {
        let process = self.processes.iter_mut().find(|process| process.name() == name);
        process.with_context(|| format!("no process {name}"))
    }

    /// From its next start on a process may have no more files open than so many.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn bound_open_files(&mut self, name: &str, most: u64) -> Result<()> {
        self.process_mut(name)?.bound_open_files(most);
        Ok(())
    }

    /// Kills a process at once (SIGKILL).
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&mut self, name: &str) -> Result<()> {
        self.process_mut(name)?.kill().await
    }

    /// The ends of all logs, for a test that has failed.
    #[must_use]
    pub fn logs(&self) -> String {
        self.processes.iter().map(Process::tail).collect()
    }

    /// The whole logs: of which process, and the text.
    #[must_use]
    pub fn whole_logs(&self) -> Vec<(&str, String)> {
        self.processes.iter().map(|process| (process.name(), process.log())).collect()
    }

    /// Waits until every running process has all that it waits for, and sees every other one that hears of it. `get` asks a
    /// process on its admin address.
    pub(crate) async fn until_ready(
        &self,
        patience: Duration,
        get: impl AsyncFn(&Process, &str) -> Result<(u16, String)>,
        hear: impl Fn(&Process, &Process) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        while let Some(missing) = self.first_missing(&get, &hear).await {
            ensure!(Instant::now() < deadline, "not ready in time: {missing}\n{}", self.logs());
            sleep(ASK).await;
        }
        Ok(())
    }

    async fn first_missing(
        &self,
        get: &impl AsyncFn(&Process, &str) -> Result<(u16, String)>,
        hear: &impl Fn(&Process, &Process) -> bool,
    ) -> Option<String> {
        let running = || self.processes.iter().filter(|process| process.is_running());
        for process in running() {
            let name = process.name();
            match get(process, "/readyz").await {
                Ok((200, body)) if parse_waiting(&body).is_empty() => {}
                Ok((status, body)) => return Some(format!("{name}: {status} {}", body.trim())),
                Err(error) => return Some(format!("{name}: {error:#}")),
            }
            let metrics = get(process, "/metrics").await.map(|(_, metrics)| metrics).unwrap_or_default();
            for tier in ["dispatch", "notification", "switchboard"] {
                let there = running().filter(|other| other.tier() == tier && hear(process, other)).count();
                let seen = admin::nodes_in(&metrics, tier);
                if seen != there {
                    return Some(format!("{name} sees {seen} of {there} {tier} nodes"));
                }
            }
        }
        None
    }
}

/// Writes configuration, cluster secret and MD5 key. Returns what other programs need to know, and the file.
fn write_config(directory: &Path, store: &OwnStore) -> Result<(Config, PathBuf)> {
    let secrets = directory.join("cluster.secrets");
    // 64 characters of base64, 48 bytes.
    let secret = format!("{}{}\n", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&secrets)?;
    file.write_all(secret.as_bytes())?;
    let (md5_key, data) = (directory.join("md5.key"), directory.join("data"));
    SealingKey::create(&md5_key)?;

    let mut config = Config::default();
    config.store = store.config().clone();
    config.cluster.secrets = secrets.clone();
    config.accounts.md5_key = md5_key.clone();
    // A hash that costs little: scenarios sign in hundreds of times.
    config.accounts.argon2_memory_kib = 1024;
    config.accounts.argon2_passes = 1;

    let node = |tier: &str| {
        format!(
            "[{tier}]\nlisten = \"127.0.0.1:0\"\n[{tier}.node]\nid = \"{tier}-1\"\ngossip = \"127.0.0.1:0\"\n\
             peer = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n"
        )
    };
    let text = format!(
        "[log]\nfilter = \"info\"\n\
         [cluster]\nsecrets = {secrets:?}\nseeds = []\n\
         {}[accounts]\nmd5_key = {md5_key:?}\nargon2_memory_kib = 1024\nargon2_passes = 1\n\
         {}[dispatch.http]\nlisten = \"127.0.0.1:0\"\n\
         [dispatch.https]\nlisten = \"127.0.0.1:0\"\ndevelopment = {data:?}\n\
         [dispatch.dns]\nlisten = \"127.0.0.1:0\"\n\
         {}{}",
        store.section(),
        node("dispatch"),
        node("notification"),
        node("switchboard"),
    );
    let path = directory.join("monarch.toml");
    std::fs::write(&path, text)?;
    Ok((config, path))
}
