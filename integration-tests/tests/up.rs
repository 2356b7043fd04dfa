//! `monarch up` as a newcomer meets it: the real programs, a first chat without a second try, Ctrl-C, and the data
//! again at the next start.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use integration_tests::client::{self, Client};
use integration_tests::program;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, sleep, timeout};

/// How long a start, a stop or a whole conversation may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Those of the demo accounts, which `monarch up` makes at its first start.
const PASSWORD: &str = "wonderland";
const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_chat_ctrl_c_and_the_same_data_again() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data");

    let up = Up::start(&data).await?;
    ensure!(up.greeting.contains(&format!("password {PASSWORD}")), "{}", up.greeting);
    // No pause and no second try: when it says that it is up, the tiers know each other.
    let (mut at_alice, mut at_bob) = (sign_in(&up, ALICE).await?, sign_in(&up, BOB).await?);
    chat(&mut at_alice, &mut at_bob, "down the rabbit-hole").await?;
    let added = at_alice.request("ADG", "Wonderland 0").await?;
    ensure!(added.verb() == "ADG" && added.token(3) == "Wonderland", "{:?}", added.tokens);
    let before = synchronise(&mut at_alice).await?;
    ensure!(before.iter().any(|line| line.starts_with("LSG") && line.contains("Wonderland")), "{before:?}");
    up.ctrl_c().await?;

    ensure!(shown(&data).await?.contains("down the rabbit-hole"), "the history is there while nothing runs");

    let up = Up::start(&data).await?;
    ensure!(up.greeting.contains("those that are there"), "{}", up.greeting);
    let (mut at_alice, mut at_bob) = (sign_in(&up, ALICE).await?, sign_in(&up, BOB).await?);
    ensure!(synchronise(&mut at_alice).await? == before, "lists and groups are as they were");
    chat(&mut at_alice, &mut at_bob, "curiouser and curiouser").await?;
    let shown = shown(&data).await?;
    let places = ["down the rabbit-hole", "curiouser and curiouser"].map(|text| shown.find(text));
    ensure!(matches!(places, [Some(first), Some(second)] if first < second), "{shown}");
    up.ctrl_c().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_programs_end_when_it_is_killed() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut up = Up::start(&directory.path().join("data")).await?;
    up.child.kill().await?;
    // They can't log any more either: the pipes have lost their reader.
    let deadline = Instant::now() + PATIENCE;
    while up.children.iter().any(|child| is_alive(*child)) {
        ensure!(Instant::now() < deadline, "some of {:?} are still there", up.children);
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_ends_nothing_and_every_program_reads_again() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data");
    let up = Up::start(&data).await?;
    let mut at_alice = sign_in(&up, ALICE).await?;
    let id = up.child.id().context("it has ended")?;
    kill_process(Pid::from_raw(id.try_into()?).context("no process id")?, Signal::HUP)?;
    let deadline = Instant::now() + PATIENCE;
    for tier in ["dispatch", "notification", "switchboard"] {
        let log = data.join(format!("logs/{tier}.log"));
        while !std::fs::read_to_string(&log)?.contains("SIGHUP: read again") {
            ensure!(Instant::now() < deadline, "{tier} has not read again\n{}", log_of(&data));
            sleep(Duration::from_millis(50)).await;
        }
    }
    let answer = at_alice.request("CHG", "BSY").await?;
    ensure!(answer.verb() == "CHG", "{:?}", answer.tokens);
    up.ctrl_c().await
}

fn is_alive(process: i32) -> bool {
    Pid::from_raw(process).is_some_and(|pid| test_kill_process(pid).is_ok())
}

/// A `monarch up` at work, in a data directory of its own, on ports that the system chooses.
struct Up {
    child: Child,
    _stdout: Lines<BufReader<ChildStdout>>,
    greeting: String,
    dispatch: SocketAddr,
    children: BTreeSet<i32>,
}

impl Up {
    /// Starts it and reads what it says until all is ready. Await it in the test itself: the programs end with the
    /// thread that started them.
    async fn start(data: &Path) -> Result<Self> {
        let mut command = monarch(data)?;
        command.arg("up").arg("--data").arg(data);
        for tier in ["dispatch", "notification", "switchboard"] {
            let keys = ["listen", "node-gossip", "node-peer", "node-admin"];
            command.args(keys.map(|key| format!("--{tier}-{key}=127.0.0.1:0")));
        }
        for key in ["http", "https", "dns"] {
            command.arg(format!("--dispatch-{key}-listen=127.0.0.1:0"));
        }
        command.args(["--accounts-argon2-memory-kib=1024", "--accounts-argon2-passes=1"]);
        let log = std::fs::File::options().create(true).append(true).open(data.with_extension("log"))?;
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
        greeted.map_err(|error| anyhow!("{error:#}\n{}", log_of(data)))?;
        let address = greeting.split("dispatch ").nth(1).and_then(|rest| rest.split(' ').next());
        let dispatch = address.context("no address of dispatch")?.parse()?;
        let id = child.id().context("it has ended")?;
        let children = children_of(id.try_into()?)?;
        ensure!(children.len() == 3, "three programs, not {children:?}");
        Ok(Self { child, _stdout: stdout, greeting, dispatch, children })
    }

    /// Ctrl-C: it and its three programs end, it with exit code 0.
    async fn ctrl_c(mut self) -> Result<()> {
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

fn monarch(data: &Path) -> Result<Command> {
    let mut command = Command::new(program("monarch")?);
    // Whatever is configured where the test runs is not meant.
    command.current_dir(data.parent().context("no directory")?).stdin(Stdio::null()).kill_on_drop(true);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MONARCH_")) {
        command.env_remove(name);
    }
    Ok(command)
}

fn log_of(data: &Path) -> String {
    std::fs::read_to_string(data.with_extension("log")).unwrap_or_default()
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

/// As README's walk-through does it, but by way of dispatch; each line must be answered as it should be at once.
async fn sign_in(up: &Up, passport: &str) -> Result<Client> {
    let mut at_dispatch = Client::connect(up.dispatch).await?;
    at_dispatch.request("VER", "MSNP7 CVR0").await?;
    at_dispatch.request("INF", "").await?;
    let sent = at_dispatch.request("USR", &format!("MD5 I {passport}")).await?;
    ensure!(sent.verb() == "XFR" && sent.token(2) == "NS", "{:?}", sent.tokens);
    timeout(PATIENCE, Client::sign_in(sent.token(3).parse()?, passport, PASSWORD)).await?
}

/// Alice opens a chat, bob comes, she says one thing; it is acknowledged, and he gets it.
async fn chat(at_alice: &mut Client, at_bob: &mut Client, text: &str) -> Result<()> {
    let opened = client::open_chat((at_alice, ALICE), (at_bob, BOB));
    let (mut says, mut hears) = timeout(PATIENCE, opened).await.context("no chat in time")??;
    let trid = says.message("A", &client::text(text)).await?;
    let acknowledged = timeout(PATIENCE, says.expect("ACK")).await??;
    ensure!(acknowledged.token(1) == trid.to_string(), "{:?}", acknowledged.tokens);
    let heard = timeout(PATIENCE, hears.expect("MSG")).await??;
    ensure!(heard.payload == client::text(text) && heard.token(1) == ALICE, "{heard:?}");
    Ok(())
}

/// All lines of a full `SYN`, without its transaction id.
async fn synchronise(client: &mut Client) -> Result<Vec<String>> {
    let trid = client.send("SYN", "0").await?.to_string();
    // What comes behind it is no part of it.
    let last = client.send("URL", "INBOX").await?.to_string();
    let mut lines = Vec::new();
    loop {
        let received = timeout(PATIENCE, client.receive()).await??;
        match received.token(1) {
            id if id == trid => {
                lines.push([&[received.tokens[0].clone()], &received.tokens[2..]].concat().join(" "));
            }
            id if id == last => return Ok(lines),
            _ => {}
        }
    }
}

/// What `monarch history show` prints.
async fn shown(data: &Path) -> Result<String> {
    let mut command = monarch(data)?;
    command.args(["history", "show", ALICE, BOB, "--set"]).arg(format!("store.path={}", data.display()));
    let Output { status, stdout, stderr } = timeout(PATIENCE, command.output()).await??;
    ensure!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
    Ok(String::from_utf8(stdout)?)
}
