//! `monarch scenario run` as a tester meets it: real programs, what is printed, the report, and what is left in the store.

mod suite;

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use suite::{PATIENCE, Up, any_ports, monarch};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

const GOOD: &str = "accounts bob : md5\nsign-in B bob MSNP7 online\nB> OUT\nB closed\n";
const BAD: &str = "accounts alice : md5\nsign-in A alice MSNP7 online\nA> PNG\nA< NEVER\n";
const GOES_ON: &str = "accounts same alice\nsign-in A alice MSNP7 online\n";
const BROAD: &str = "accounts carol : md5\nsign-in C carol MSNP7 online on notification 2\n";
/// Somebody is signed in, and an expectation waits for long.
const LONG: &str = "accounts dave : md5\nsign-in D dave MSNP7 online\nD< NEVER\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_says_what_it_did_and_leaves_no_accounts() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let here = directory.path();
    let up = Up::start_in(here, &[vec!["--no-demo".to_owned()], any_ports()].concat()).await?;
    for (name, text) in [("good", GOOD), ("bad", BAD), ("goes-on", GOES_ON), ("broad", BROAD), ("long", LONG)] {
        std::fs::write(here.join(format!("{name}.txt")), text)?;
    }

    let files = ["good.txt", "bad.txt", "goes-on.txt", "broad.txt"];
    let (code, said) = ended(run(here, &[&["--timeout=2", "--junit=report.xml"], &files[..]].concat())?).await?;
    ensure!(code == Some(1), "{code:?}: {said}");
    for part in [
        "ok      good.txt",
        "FAILED  bad.txt",
        "left out  goes-on.txt  goes on from a file that failed",
        "left out  broad.txt  needs 2 notification servers, and 1 is known",
        "2 played, 1 failed; files left out: 2 (`monarch up --nodes 1,2,1` starts enough servers)",
    ] {
        ensure!(said.contains(part), "{part:?} is missing in\n{said}");
    }
    let report = std::fs::read_to_string(here.join("report.xml"))?;
    ensure!(report.contains("tests=\"4\" failures=\"1\" skipped=\"2\""), "{report}");
    ensure!(accounts(here).await?.is_empty(), "accounts are left");

    // However it is broken off.
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let running = run(here, &["--timeout=600", "long.txt"])?;
        let child = running.id().context("it has ended")?;
        until_there_are(here, 1).await?;
        kill_process(Pid::from_raw(child.try_into()?).context("no process id")?, signal)?;
        let (code, said) = ended(running).await?;
        ensure!(code == Some(1) && said.contains("the run is broken off"), "{code:?}: {said}");
        ensure!(accounts(here).await?.is_empty(), "{signal:?}: accounts are left");
    }

    let (code, said) = ended(run(here, &["--keep", "good.txt"])?).await?;
    ensure!(code == Some(0), "{code:?}: {said}");
    let kept = accounts(here).await?;
    ensure!(kept.len() == 1 && kept[0].contains("bob-"), "{kept:?}");
    ensure!(
        said.contains("1 account, whose password everybody knows, is kept; `monarch scenario clean` removes it"),
        "{said}"
    );

    // A name alone keeps nothing.
    let (code, said) = ended(run(here, &["--run-id=mine", "good.txt"])?).await?;
    ensure!(code == Some(0) && accounts(here).await?.len() == 1, "{code:?}: {said}");
    let (code, said) = ended(run(here, &["--run-id=mine", "--keep", "good.txt"])?).await?;
    ensure!(
        code == Some(0) && said.contains("`monarch scenario clean --run-id mine` removes it"),
        "{code:?}: {said}"
    );
    // One that is killed can remove nothing.
    let mut running = run(here, &["--timeout=600", "long.txt"])?;
    until_there_are(here, 3).await?;
    running.kill().await?;
    person(here, "bob-smith@example.com").await?;
    for (arguments, said, left) in [
        (&["--run-id=yours"][..], "0 accounts of runs removed", 4),
        (&["--dry-run"], "2 accounts of runs, left as they are", 4),
        (&[], "2 accounts of runs removed", 2),
        (&["--run-id=mine"], "1 account of runs removed", 1),
    ] {
        let mut command = monarch(here)?;
        command.args(["scenario", "clean"]).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (code, text) = ended(command.spawn()?).await?;
        ensure!(code == Some(0) && text.contains(said), "{arguments:?} {code:?}: {text}");
        ensure!(accounts(here).await?.len() == left, "{arguments:?}: {:?}", accounts(here).await?);
    }
    let left = accounts(here).await?;
    ensure!(left[0].contains("bob-smith@"), "{left:?}");

    // A link that others may have put there is not written through.
    std::os::unix::fs::symlink("elsewhere", here.join("link.xml"))?;
    let (code, said) = ended(run(here, &["--junit=link.xml", "good.txt"])?).await?;
    ensure!(code == Some(1) && said.contains("is a link") && !here.join("elsewhere").exists(), "{code:?}: {said}");
    up.ctrl_c().await
}

fn run(directory: &Path, arguments: &[&str]) -> Result<tokio::process::Child> {
    let mut command = monarch(directory)?;
    command.args(["scenario", "run"]).args(arguments);
    Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

/// Its exit code, and what it has said.
async fn ended(run: tokio::process::Child) -> Result<(Option<i32>, String)> {
    let Output { status, stdout, stderr } = timeout(PATIENCE, run.wait_with_output()).await??;
    Ok((status.code(), [stdout, stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat()))
}

async fn until_there_are(directory: &Path, number: usize) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while accounts(directory).await?.len() < number {
        ensure!(Instant::now() < deadline, "not {number} accounts are made");
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Makes an account that is none of a run.
async fn person(directory: &Path, who: &str) -> Result<()> {
    let mut command = monarch(directory)?;
    command.args(["user", "add", who, "--password-stdin"]).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::null()).spawn()?;
    child.stdin.take().context("no input")?.write_all(b"looking-glass\n").await?;
    ensure!(timeout(PATIENCE, child.wait()).await??.success(), "{who}");
    Ok(())
}

/// The lines of `monarch user list`.
async fn accounts(directory: &Path) -> Result<Vec<String>> {
    let mut command: Command = monarch(directory)?;
    let Output { status, stdout, stderr } = timeout(PATIENCE, command.args(["user", "list"]).output()).await??;
    ensure!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    let stdout = String::from_utf8(stdout)?;
    Ok(stdout.lines().filter(|line| line.contains('@')).map(str::to_owned).collect())
}
