//! CQL servers that only one test uses: it may pause and kill them, and no other test feels it.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// The last numbers of the addresses among which free ones are looked for, 127.0.0.X; scripts and developers use lower
/// ones.
const ADDRESSES: std::ops::Range<u8> = 120..240;
/// The port on which nodes answer.
const PORT: u16 = 9042;

/// Nodes of `scripts/cql` with addresses and data of their own; all of it is gone when dropped, and when the test dies.
#[derive(Debug)]
pub struct Nodes {
    directory: TempDir,
    first: u8,
    count: u8,
    /// Removes the nodes when its input ends, which it does however this process ends.
    remover: Option<Child>,
}

impl Nodes {
    /// Starts nodes, if tests on CQL servers are wanted: where `MONARCH_CQL` names one, or `MONARCH_CQL_REQUIRED=1`.
    /// Otherwise says that the test is skipped. One node takes about 20 s, three about a minute, 0.9 GB each.
    ///
    /// # Errors
    /// When they can't be started.
    pub fn if_wanted(count: u8) -> Result<Option<Self>> {
        let is = |name: &str, wanted: fn(&str) -> bool| std::env::var(name).is_ok_and(|value| wanted(&value));
        if !is("MONARCH_CQL", |points| !points.is_empty()) && !is("MONARCH_CQL_REQUIRED", |value| value == "1") {
            crate::left_out(
                "it needs a CQL server of its own, wanted where MONARCH_CQL or MONARCH_CQL_REQUIRED=1 is set",
            )?;
            return Ok(None);
        }
        let directory = tempfile::Builder::new().prefix("monarch-cql-").tempdir()?;
        let mut nodes = Self { directory, first: free(count)?, count, remover: None };
        nodes.remover = Some(nodes.remover()?);
        nodes.up()?;
        Ok(Some(nodes))
    }

    /// Where they answer, `host:port`.
    #[must_use]
    pub fn contact_points(&self) -> Vec<String> {
        (self.first..self.first + self.count).map(|last| format!("127.0.0.{last}:{PORT}")).collect()
    }

    /// Starts those that are down and waits until all answer.
    ///
    /// # Errors
    /// When one does not.
    pub fn up(&self) -> Result<()> {
        self.script(&["up", &self.count.to_string()])
    }

    /// Ends a node at once (SIGKILL). The first is 1.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self, node: u8) -> Result<()> {
        self.script(&["kill", &node.to_string()])
    }

    /// Makes a node silent: its connections stay, and nothing is answered.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self, node: u8) -> Result<()> {
        self.script(&["pause", &node.to_string()])
    }

    /// Lets a node go on that was paused.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self, node: u8) -> Result<()> {
        self.script(&["resume", &node.to_string()])
    }

    fn script(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self.command(root().join("scripts/cql"));
        let status =
            command.args(arguments).stdin(Stdio::null()).status().context("scripts/cql can't be started")?;
        ensure!(status.success(), "scripts/cql {arguments:?} ended with {status}");
        Ok(())
    }

    fn remover(&self) -> Result<Child> {
        let mut command = self.command("sh".into());
        command.args(["-c", "cat && exec scripts/cql down --wipe"]).stdin(Stdio::piped());
        // Ctrl-C is not meant for it.
        Ok(command.process_group(0).spawn()?)
    }

    fn command(&self, program: PathBuf) -> Command {
        let mut command = Command::new(program);
        command.current_dir(root()).stdout(Stdio::null());
        command.env_remove("MONARCH_CQL").env("MONARCH_CQL_DIR", self.directory.path());
        command.env("MONARCH_CQL_BASE", format!("127.0.0.{}", self.first));
        command
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        let Some(mut remover) = self.remover.take() else { return };
        drop(remover.stdin.take());
        if !remover.wait().is_ok_and(|status| status.success()) {
            eprintln!("nodes in {} may still run", self.directory.path().display());
        }
    }
}

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The last number of the first of so many addresses that nobody uses.
fn free(count: u8) -> Result<u8> {
    let is_free = |last: u8| TcpListener::bind((Ipv4Addr::new(127, 0, 0, last), PORT)).is_ok();
    // Not all tests of a machine begin at the same.
    let places = usize::from(ADDRESSES.end - ADDRESSES.start);
    let begin = std::process::id() as usize % places;
    let firsts = ADDRESSES.cycle().skip(begin).take(places);
    let mut free = firsts.filter(|first| (*first..first.saturating_add(count)).all(is_free));
    free.next().context("no free addresses for CQL servers")
}
