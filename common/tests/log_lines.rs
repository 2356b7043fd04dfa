//! What a program has logged is written, however it ends, and whether somebody reads or not. The program is this test itself, started
//! once more.

use std::process::{ExitCode, Stdio};
use std::time::Duration;

use common::config::LogConfig;
use common::telemetry::init_logs;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How the program is to end.
const WAY: &str = "MONARCH_TEST_WAY";
const PATIENCE: Duration = Duration::from_secs(30);

/// The program, if it is started as one.
#[test]
fn program() {
    let Ok(way) = std::env::var(WAY) else { return };
    let ended = common::process::run(async {
        let filter = if way == "silent panic" { "off" } else { "info" }.to_owned();
        init_logs(&LogConfig { filter, ..LogConfig::default() }, "")?;
        tracing::info!("it has begun");
        let aside = tokio::spawn(async { panic!("aside") }).await;
        assert!(aside.is_err());
        // More than a pipe takes.
        (0..2000).for_each(|number| tracing::info!(number, "a line of a hundred bytes, all in all, as lines go"));
        match &*way {
            "panic" | "silent panic" => panic!("the end"),
            "failure" => anyhow::bail!("it fails"),
            _ => {}
        }
        tracing::info!("it has ended");
        Ok(())
    });
    if ended != ExitCode::SUCCESS {
        std::process::exit(3);
    }
}

fn start(way: &str, stderr: Stdio) -> Child {
    let mut program = Command::new(std::env::current_exe().unwrap());
    program.args(["--exact", "program", "--nocapture"]).env(WAY, way).env("RUST_BACKTRACE", "0");
    program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).kill_on_drop(true).spawn().unwrap()
}

#[tokio::test]
async fn the_last_lines_are_written_however_it_ends() {
    for (way, code, last) in [
        ("order", Some(0), "it has ended"),
        ("failure", Some(3), "Error: it fails"),
        ("panic", Some(101), "the end"),
        ("silent panic", Some(101), "the end"),
    ] {
        let ended = timeout(PATIENCE, start(way, Stdio::piped()).wait_with_output()).await.unwrap().unwrap();
        let log = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), code, "{way}: {log}");
        let lines: Vec<_> = log.lines().collect();
        assert!(lines.iter().rev().take(3).any(|line| line.contains(last)), "{way}: {:?}", lines.last());
        assert!(log.contains("panicked at ") && log.contains("aside"), "{way}: {log}");
        if way != "silent panic" {
            assert!(lines[0].contains("it has begun"), "{way}: {}", lines[0]);
            assert_eq!(lines.iter().filter(|line| line.contains("number=")).count(), 2000, "{way}");
        }
    }
}

#[tokio::test]
async fn it_ends_also_if_nobody_reads() {
    for (way, code) in [("order", Some(0)), ("failure", Some(3)), ("panic", Some(101))] {
        let (writer, _reader) = tokio::net::unix::pipe::pipe().unwrap();
        while writer.try_write(&[b'.'; 4096]).is_ok() {}
        let mut program = start(way, writer.into_blocking_fd().unwrap().into());
        let ended = timeout(PATIENCE, program.wait()).await.expect("it does not end").unwrap();
        assert_eq!(ended.code(), code, "{way}");
    }
}
