//! `monarch up` as a newcomer meets it: the real programs, a first chat without a second try, Ctrl-C, and the data
//! again at the next start.

mod suite;

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::client::{self, Client};
use rustix::process::{Pid, Signal, kill_process};
use suite::{PATIENCE, Up, any_ports, is_alive, log_of, monarch};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

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
async fn the_example_copied_as_it_is_starts_and_what_is_printed_can_be_typed() -> Result<()> {
    let directory = tempfile::tempdir()?;
    std::fs::copy(
        concat!(env!("CARGO_MANIFEST_DIR"), "/../monarch.example.toml"),
        directory.path().join("monarch.toml"),
    )?;
    let up = Up::start_in(directory.path(), &any_ports()).await?;
    ensure!(directory.path().join("data/accounts.db").is_file(), "{}", log_of(directory.path()));
    typed(directory.path(), &up.greeting, &["history show alice@example.com"]).await?;
    up.ctrl_c().await?;
    // The same data, by other words.
    std::fs::rename(directory.path().join("monarch.toml"), directory.path().join("it's mine.toml"))?;
    let arguments: Vec<_> = any_ports().into_iter().chain(["--config".into(), "it's mine.toml".into()]).collect();
    let up = Up::start_in(directory.path(), &arguments).await?;
    typed(directory.path(), &up.greeting, &["user list", "history show alice@example.com"]).await?;
    up.ctrl_c().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_printed_names_the_place_as_it_was_given() -> Result<()> {
    let directory = tempfile::tempdir()?;
    for options in [&["--data", "d ir", "--no-demo"][..], &["--store-path", "elsewhere", "--create", "--no-demo"]]
    {
        let arguments: Vec<_> = options.iter().map(|&option| option.to_owned()).chain(any_ports()).collect();
        let up = Up::start_in(directory.path(), &arguments).await?;
        ensure!(!up.greeting.contains("alice@"), "{}", up.greeting);
        ensure!(up.greeting.contains("history list PASSPORT"), "{}", up.greeting);
        typed(directory.path(), &up.greeting, &["user list"]).await?;
        up.ctrl_c().await?;
    }
    Ok(())
}

/// Types the commands that a greeting names, each of which must work; `named` are to be among them.
async fn typed(directory: &Path, greeting: &str, named: &[&str]) -> Result<()> {
    let program = integration_tests::program("monarch")?.display().to_string();
    let commands: Vec<_> = greeting.lines().filter_map(|line| Some(&line[line.find(&program)?..])).collect();
    for part in named {
        ensure!(commands.iter().any(|command| command.contains(part)), "{part} is missing in {greeting}");
    }
    for command in commands.iter().filter(|command| !command.contains("PASSPORT")) {
        let mut shell = Command::new("sh");
        suite::plain(shell.arg("-c").arg(command).current_dir(directory));
        let Output { status, stdout, stderr } = timeout(PATIENCE, shell.output()).await??;
        let said = [stdout, stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        ensure!(status.success(), "{command}: {status}\n{said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demo_accounts_of_before_are_not_opened_to_the_world() -> Result<()> {
    let directory = tempfile::tempdir()?;
    Up::start_in(directory.path(), &any_ports()).await?.ctrl_c().await?;
    // Nobody has to listen there: clients are told of it.
    let opened: Vec<_> =
        any_ports().into_iter().chain(["--notification-advertise=192.0.2.1:1864".into()]).collect();
    let all = [ALICE, BOB, "carol@example.com"];
    let declined: Vec<_> = opened.iter().cloned().chain(["--no-demo".into()]).collect();
    for arguments in [&opened, &declined] {
        let said = refused(directory.path(), arguments).await?;
        ensure!(all.iter().all(|who| said.contains(&format!("user password {who}"))), "{said}");
        ensure!(said.contains("--demo"), "{said}");
    }
    let asked: Vec<_> = opened.iter().cloned().chain(["--demo".into()]).collect();
    Up::start_in(directory.path(), &asked).await?.ctrl_c().await?;
    // Those that have another are named no more; when none is left it starts.
    for (at, who) in all.iter().enumerate() {
        let said = refused(directory.path(), &opened).await?;
        let named: Vec<_> = all.iter().filter(|who| said.contains(*who)).collect();
        ensure!(named == all[at..].iter().collect::<Vec<_>>(), "{said}");
        let mut command = monarch(directory.path())?;
        command.args(["user", "password", who, "--password-stdin"]).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::null()).spawn()?;
        child.stdin.take().context("no input")?.write_all(b"looking-glass\n").await?;
        ensure!(timeout(PATIENCE, child.wait()).await??.success(), "{who}");
    }
    let up = Up::start_in(directory.path(), &opened).await?;
    up.ctrl_c().await
}

/// What `monarch up` says that does not start.
async fn refused(directory: &Path, arguments: &[String]) -> Result<String> {
    let mut command = monarch(directory)?;
    command.arg("up").args(suite::CHEAP).args(arguments);
    let Output { status, stdout, stderr } = timeout(PATIENCE, command.output()).await??;
    let said = [stdout, stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    ensure!(status.code() == Some(1), "{status}: {said}");
    Ok(said)
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
            ensure!(Instant::now() < deadline, "{tier} has not read again\n{}", log_of(directory.path()));
            sleep(Duration::from_millis(50)).await;
        }
    }
    let answer = at_alice.request("CHG", "BSY").await?;
    ensure!(answer.verb() == "CHG", "{:?}", answer.tokens);
    up.ctrl_c().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_program_warns_of_a_low_limit_of_open_files() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 1024 && exec \"$0\" \"$@\""]).arg(integration_tests::program("monarch")?);
    suite::plain(limited.current_dir(directory.path()));
    let up = Up::start_by(limited, directory.path(), &any_ports()).await?;
    for tier in ["dispatch", "notification", "switchboard"] {
        let log = std::fs::read_to_string(directory.path().join(format!("data/logs/{tier}.log")))?;
        let warned: Vec<_> = log.lines().filter(|line| line.contains("the limit of open files is low")).collect();
        let fits = |line: &str| line.contains("WARN") && line.contains(" most=1024 fit=768 ");
        ensure!(matches!(warned[..], [line] if fits(line)), "{tier}: {warned:?} in\n{log}");
    }
    up.ctrl_c().await
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
    let mut command = monarch(data.parent().context("no directory")?)?;
    command.args(["history", "show", ALICE, BOB, "--set"]).arg(format!("store.path={}", data.display()));
    let Output { status, stdout, stderr } = timeout(PATIENCE, command.output()).await??;
    ensure!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
    Ok(String::from_utf8(stdout)?)
}
