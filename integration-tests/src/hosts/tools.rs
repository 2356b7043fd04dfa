//! `ip` and `nft`.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Runs `ip` with this as its standard input.
pub(super) async fn ip(arguments: &[&str], input: &str) -> Result<()> {
    run(Command::new("ip").args(arguments), input).await
}

/// Runs `nft` in a namespace with these commands.
pub(super) async fn nft(namespace: &str, commands: &str) -> Result<()> {
    run(Command::new("ip").args(["netns", "exec", namespace, "nft", "-f", "-"]), commands).await
}

async fn run(command: &mut Command, input: &str) -> Result<()> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("{command:?} can't be started"))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    stdin.write_all(input.as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} with {input:?}: {}", said.trim());
    Ok(())
}

/// Whether a program is on the path.
pub(super) fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}
