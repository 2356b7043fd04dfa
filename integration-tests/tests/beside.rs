//! What README says of a further server on the same machine, typed beside the suite that `scripts/run` starts: real programs, on their
//! default ports.
//!
//! These are free in a network of the test's own, which needs no rights. Where the system does not allow one, the test says that it
//! was left out.

mod suite;

use std::path::Path;
use std::process::{Output, Stdio};

use anyhow::{Context, Result, ensure};
use integration_tests::{admin, left_out, program};
use suite::{PATIENCE, Up, log_of, plain};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

const README: &str = include_str!("../../README.md");
const RUN: &str = include_str!("../../scripts/run");
/// Takes the loopback up, and becomes what follows.
const NETWORK: &str = "ip link set lo up && exec \"$@\"";

#[test]
fn one_flag_is_enough_for_a_further_server() -> Result<()> {
    let apart = ["-rn", "sh", "-c", NETWORK, "sh"];
    let allowed = std::process::Command::new("unshare").args(apart).arg("true").output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        return left_out("`unshare` makes no network here, or there is no `ip`");
    }
    let mut inner = std::process::Command::new("timeout");
    inner.args(["300", "unshare"]).args(apart).arg(std::env::current_exe()?);
    let output = inner.args(["--exact", "in_a_network_of_its_own", "--ignored", "--nocapture"]).output()?;
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    print!("{said}");
    ensure!(output.status.success() && said.contains("1 passed"), "{said}");
    Ok(())
}

/// Started by the test above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the other test starts it"]
async fn in_a_network_of_its_own() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let data = directory.path();
    ensure!(RUN.contains("--nodes 1,2,1"), "scripts/run starts other nodes than this test");
    let up = Up::start_in(data, &["--nodes".to_owned(), "1,2,1".to_owned()]).await?;

    let further = flags_in_readme()?;
    let (_child, address) = started(data, &further).await.with_context(|| log_of(data))?;
    ensure!(address == "127.0.0.1:2064", "{address}");
    // It takes its share: dispatch sees three that clients may be sent to.
    let dispatch = "127.0.0.1:1893".parse()?;
    let seen = async {
        while !admin::get(dispatch, "/metrics").await?.1.contains("open_nodes{role=\"notification\"} 3") {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        anyhow::Ok(())
    };
    let seen = timeout(PATIENCE, seen).await.context("three notification servers").flatten();
    if let Err(error) = seen {
        let metrics = admin::get(dispatch, "/metrics").await?.1;
        let lines: Vec<_> = metrics.lines().filter(|line| line.contains("nodes")).collect();
        anyhow::bail!("{error:#}: {lines:#?}");
    }

    // The name of one that is there is refused, and the answer says what to do.
    let mut taken = server(data, &["--node-id", "notification-2"])?;
    let Output { status, stderr, .. } = timeout(PATIENCE, taken.output()).await??;
    let said = String::from_utf8_lossy(&stderr);
    ensure!(!status.success() && said.contains("has the name notification-2 already"), "{status}: {said}");

    // So is one whose name gives it the ports of the first.
    for named in [&["--node-id", "ns2"][..], &[]] {
        let Output { status, stderr, .. } = timeout(PATIENCE, server(data, named)?.output()).await??;
        let said = String::from_utf8_lossy(&stderr);
        let name = named.last().unwrap_or(&"notification-1");
        ensure!(
            !status.success() && said.contains(&format!("the name {name} gives it the ports")),
            "{status}: {said}"
        );
        ensure!(said.contains("--node-id notification-2") && said.contains("in use"), "{said}");
    }
    up.ctrl_c().await
}

/// What README types behind `target/release/notification`.
fn flags_in_readme() -> Result<Vec<&'static str>> {
    let start = "target/release/notification --node-id ";
    let lines: Vec<_> = README.lines().filter(|line| line.starts_with(start)).collect();
    ensure!(lines.len() == 1, "{lines:?}");
    Ok(lines[0].split(' ').skip(1).collect())
}

fn server(directory: &Path, flags: &[&str]) -> Result<Command> {
    let mut command = Command::new(program("notification")?);
    plain(command.args(flags).current_dir(directory));
    Ok(command)
}

/// Starts a notification server and waits until it has said where its clients come.
async fn started(directory: &Path, flags: &[&str]) -> Result<(Child, String)> {
    let log = std::fs::File::create(directory.join("further.log"))?;
    let mut child = server(directory, flags)?.stdout(Stdio::piped()).stderr(log).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
    let announced = async {
        while let Some(line) = lines.next_line().await? {
            if let Some(address) = line.split("clients=").nth(1) {
                return Ok(address.split(' ').next().unwrap_or_default().to_owned());
            }
        }
        anyhow::bail!("{}", std::fs::read_to_string(directory.join("further.log"))?)
    };
    Ok((child, timeout(PATIENCE, announced).await??))
}
