//! The log of a process, and whoever reads it.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use common::telemetry::parse_announcement;
use integration_tests::accounts::PASSWORD;
use integration_tests::client::Client;
use integration_tests::program;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::process::Command;

use crate::{one_of_each, people, play, soon};

/// A pipe that takes nothing more before it is read.
fn full_pipe() -> Result<(Stdio, pipe::Receiver)> {
    let (writer, reader) = pipe::pipe()?;
    while writer.try_write(&[b'.'; 4096]).is_ok() {}
    while writer.try_write(b".").is_ok() {}
    Ok((writer.into_blocking_fd()?.into(), reader))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_log_nobody_reads_serves_and_loses_no_line() -> Result<()> {
    play(one_of_each(&[]), async |world| {
        let [alice] = people(world, ["alice"], &[]).await?;
        let (stderr, mut log) = full_pipe()?;
        let mut command = Command::new(program("notification")?);
        command.arg("--config").arg(world.directory().join("monarch.toml"));
        command.args(["--set", "notification.node.id=unheard"]).stdin(Stdio::null());
        let mut server = command.stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true).spawn()?;
        // It holds the pipe open.
        drop(command);
        let mut stdout = BufReader::new(server.stdout.take().context("no standard output")?).lines();
        let line = soon(async { Ok(stdout.next_line().await?) }).await?.context("it has ended")?;
        let addresses = parse_announcement(&line).context("it says something else first")?;
        let clients = *addresses.get("clients").context("no address for clients")?;
        let mut at_alice = soon(Client::sign_in(clients, &alice, PASSWORD)).await?;
        ensure!(at_alice.request("CHG", "BSY").await?.verb() == "CHG");
        let (_, metrics) = world.process("notification-1")?.get("/metrics").await?;
        ensure!(metrics.contains("\nmonarch_log_lines_left_out_total 0\n"), "{metrics}");

        // Whoever has read on finds what was said meanwhile, and the last line of all.
        let id = server.id().context("it has ended")?.try_into()?;
        kill_process(Pid::from_raw(id).context("no process id")?, Signal::TERM)?;
        let mut read = String::new();
        soon(async { Ok(log.read_to_string(&mut read).await?) }).await?;
        let status = soon(async { Ok(server.wait().await?) }).await?;
        ensure!(status.success(), "{status}");
        for line in ["notification starts", "signed in", "shutting down", "signed out"] {
            ensure!(read.contains(line), "{line:?} is missing: {}", read.trim_start_matches('.'));
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_fails_has_said_why_behind_its_log() -> Result<()> {
    play(one_of_each(&[]), async |world| {
        let taken = world.process("notification-1")?.address("clients")?;
        let late = || -> Result<Command> {
            let mut server = Command::new(program("notification")?);
            server.arg("--config").arg(world.directory().join("monarch.toml")).stdin(Stdio::null());
            server.args(["--set", "notification.node.id=late", "--set", &format!("notification.listen={taken}")]);
            server.kill_on_drop(true);
            Ok(server)
        };
        let ended = soon(async { Ok(late()?.output().await?) }).await?;
        let log = String::from_utf8_lossy(&ended.stderr);
        let begins = log.find("notification starts").context("nothing is logged")?;
        let ends = log.find("Error: ").with_context(|| format!("it does not say why: {log}"))?;
        ensure!(ended.status.code() == Some(1) && begins < ends, "{log}");
        // It ends as well if nobody reads that.
        let (stderr, _log) = full_pipe()?;
        let status = soon(async { Ok(late()?.stderr(stderr).status().await?) }).await?;
        ensure!(status.code() == Some(1), "{status}");
        Ok(())
    })
    .await
}
