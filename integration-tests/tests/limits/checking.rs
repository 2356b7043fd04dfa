//! `--check` of the three programs: all that keeps them from starting, at once, and nothing is written.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use integration_tests::{Process, program};
use tokio::process::Command;

use super::{one_of_each, play, soon};

/// What a program says when it is asked whether it could start.
#[derive(Debug)]
struct Checked {
    code: Option<i32>,
    out: String,
    said: String,
}

async fn check(tier: &str, directory: &Path, settings: &[String]) -> Result<Checked> {
    let mut command = Command::new(program(tier)?);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MONARCH_")) {
        command.env_remove(name);
    }
    for setting in settings {
        command.args(["--set", setting]);
    }
    command.arg("--check").current_dir(directory).stdin(Stdio::null()).kill_on_drop(true);
    let output = soon(async { Ok(command.output().await?) }).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Checked { code: output.status.code(), out: text(&output.stdout), said: text(&output.stderr) })
}

impl Checked {
    /// The line that blames a key.
    fn of(&self, key: &str) -> Result<&str> {
        let line = self.said.lines().find(|line| line.contains(&format!(": {key}: ")));
        line.with_context(|| format!("nothing of {key}: {self:?}"))
    }
}

/// All files below a directory.
fn files(directory: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut all = BTreeSet::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            all.extend(files(&path)?);
        }
        all.insert(path);
    }
    Ok(all)
}

/// The settings by which a process has its addresses; `port` instead of theirs.
fn addresses(process: &Process, port: Option<u16>) -> Vec<String> {
    let all = [
        ("clients", "listen"),
        ("gossip", "node.gossip"),
        ("peer", "node.peer"),
        ("admin", "node.admin"),
        ("http", "http.listen"),
        ("https", "https.listen"),
        ("dns", "dns.listen"),
    ];
    let known = all.into_iter().filter_map(|(name, key)| Some((key, process.address(name).ok()?)));
    let setting = |(key, mut addr): (&str, std::net::SocketAddr)| {
        addr.set_port(port.unwrap_or(addr.port()));
        format!("{}.{key}={addr}", process.tier())
    };
    known.map(setting).collect()
}

#[tokio::test]
async fn the_ports_of_a_node_that_runs_are_in_use_and_nothing_is_written() -> Result<()> {
    play(one_of_each(&[]), async |world| {
        let directory = world.directory().to_owned();
        for process in world.processes() {
            let taken = addresses(process, None);
            let checked = check(process.tier(), &directory, &taken).await?;
            ensure!(checked.code == Some(1) && checked.out.is_empty(), "{checked:?}");
            let heading = format!("{}: the configuration is valid, but ", process.tier());
            ensure!(checked.said.starts_with(&heading), "{checked:?}");
            for setting in &taken {
                let (key, addr) = setting.split_once('=').context("no setting")?;
                let transport = if key.ends_with("gossip") { "UDP" } else { "TCP" };
                let expected =
                    format!("can't listen on {addr} ({transport}): Address already in use (os error 98)");
                ensure!(checked.of(key)?.contains(&expected), "{checked:?}");
            }
            // DNS has both.
            let lines = 1 + taken.len() + usize::from(process.tier() == "dispatch");
            ensure!(checked.said.lines().count() == lines, "{checked:?}");

            let before = files(&directory)?;
            let checked = check(process.tier(), &directory, &addresses(process, Some(0))).await?;
            ensure!(checked.code == Some(0) && checked.said.is_empty(), "{checked:?}");
            let versions =
                checked.out.matches("has version").count() + checked.out.matches("have version").count();
            ensure!(checked.out.starts_with("configuration is valid\n") && versions > 0, "{checked:?}");
            ensure!(files(&directory)? == before, "it has made files");
        }
        Ok(())
    })
    .await
}

/// A file that only its owner may read.
fn private(path: &Path, text: &str) -> Result<String> {
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(path.display().to_string())
}

#[tokio::test]
async fn all_mistakes_are_said_at_once() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    let holder = TcpListener::bind("127.0.0.1:0")?;
    let taken = holder.local_addr()?;
    std::fs::write(path("md5.key"), "readable by others")?;
    std::fs::set_permissions(path("md5.key"), std::fs::Permissions::from_mode(0o644))?;
    let everywhere = |tier: &str| {
        vec![
            "cluster.secrets=none".to_owned(),
            "store.path=nowhere".to_owned(),
            // TEST-NET-1: no machine has it.
            format!("{tier}.node.peer=192.0.2.1:0"),
            format!("{tier}.node.admin={taken}"),
            format!("{tier}.node.gossip=127.0.0.1:0"),
            format!("{tier}.listen=127.0.0.1:0"),
        ]
    };
    let blamed = |tier: &str| {
        let own = |key: &str| format!("{tier}.node.{key}");
        vec!["cluster.secrets".to_owned(), "store.path".to_owned(), own("peer"), own("admin")]
    };
    let notification = ["accounts.md5_key=md5.key", "notification.info_url=a b"];
    let dispatch = [
        "dispatch.https.certificate=none.crt",
        "dispatch.https.key=none.key",
        "dispatch.http.listen=127.0.0.1:0",
        "dispatch.https.listen=127.0.0.1:0",
        "dispatch.dns.listen=127.0.0.1:0",
    ];
    for (tier, settings, more) in [
        ("switchboard", &[][..], &[][..]),
        ("notification", &notification[..], &["accounts.md5_key", "notification.info_url"][..]),
        ("dispatch", &dispatch[..], &["dispatch.https.certificate", "dispatch.https.key"][..]),
    ] {
        let settings: Vec<_> =
            settings.iter().map(|setting| (*setting).to_owned()).chain(everywhere(tier)).collect();
        let checked = check(tier, directory.path(), &settings).await?;
        ensure!(checked.code == Some(2) && checked.out.is_empty(), "{checked:?}");
        ensure!(checked.said.starts_with(&format!("{tier}: the configuration can't be used:\n")), "{checked:?}");
        let keys: Vec<_> = blamed(tier).into_iter().chain(more.iter().map(|key| (*key).to_owned())).collect();
        for key in &keys {
            checked.of(key)?;
        }
        ensure!(checked.said.lines().count() == 1 + keys.len(), "{checked:?}");
        ensure!(checked.of(&format!("{tier}.node.peer"))?.contains("(os error 99)"), "{checked:?}");
        ensure!(checked.of(&format!("{tier}.node.admin"))?.contains("(os error 98)"), "{checked:?}");
    }
    drop(holder);
    ensure!(files(directory.path())?.len() == 1, "it has made files");
    Ok(())
}

#[tokio::test]
async fn a_first_start_is_checked_without_making_anything() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let secrets = private(&directory.path().join("cluster.secrets"), &"0f".repeat(32))?;
    // Nobody names a store: the first start makes it. What is misspelt is said beside what the rest names.
    let mut settings: Vec<String> = ["listen", "node.gossip", "node.peer", "node.admin"]
        .map(|key| format!("switchboard.{key}=127.0.0.1:0"))
        .into();
    settings.push(format!("cluster.secrets={secrets}"));
    let checked = check("switchboard", directory.path(), &settings).await?;
    ensure!(checked.code == Some(0) && checked.said.is_empty(), "{checked:?}");
    ensure!(checked.out.contains("there is no store in data yet: the first start makes one"), "{checked:?}");
    settings.extend(["switchboard.capasity=1".to_owned(), "cluster.secrets=none".to_owned()]);
    let checked = check("switchboard", directory.path(), &settings).await?;
    ensure!(checked.code == Some(2), "{checked:?}");
    ensure!(checked.of("switchboard.capasity")?.ends_with("no such key"), "{checked:?}");
    ensure!(checked.of("cluster.secrets")?.contains("can't be read from none"), "{checked:?}");
    ensure!(checked.said.lines().count() == 3, "{checked:?}");
    ensure!(files(directory.path())?.len() == 1, "it has made files");
    Ok(())
}

/// `| head`: whoever reads has enough of it. 101 is a panic.
#[tokio::test]
async fn output_that_nobody_reads_is_no_panic() -> Result<()> {
    let directory = tempfile::tempdir()?;
    for tier in ["dispatch", "notification", "switchboard"] {
        for asked in ["--help", "--version", "--print-config", "--check", "--nonsense"] {
            for also_errors in [false, true] {
                let closed = || Ok::<_, std::io::Error>(Stdio::from(std::io::pipe()?.1));
                let mut command = Command::new(program(tier)?);
                command.args([asked, "--set", "cluster.secrets=none"]).current_dir(directory.path());
                command.stdin(Stdio::null()).stdout(closed()?).kill_on_drop(true);
                command.stderr(if also_errors { closed()? } else { Stdio::piped() });
                let output = soon(async { Ok(command.spawn()?.wait_with_output().await?) }).await?;
                let said = String::from_utf8_lossy(&output.stderr);
                ensure!(!said.contains("panicked"), "{tier} {asked}: {said}");
                ensure!(output.status.code().is_some_and(|code| code < 4), "{tier} {asked}: {}", output.status);
            }
        }
    }
    Ok(())
}
