//! Benchmarks of the real binaries, started by `scripts/bench`. Figures of one run are compared with a baseline of the same run:
//! the machine is shared, and bare times mean nothing.

mod baseline;
mod idle;
mod load;
mod process;
mod relay;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str =
    "usage: bench idle [SESSIONS]      memory of a notification server with so many idle sessions (5000)
       bench relay [ROUNDS]       CPU per relayed message, not stored, beside a bare relay (5)
       bench stored [ROUNDS]      CPU per stored and acknowledged message, beside a bare relay with SQLite (5)";

fn main() -> ExitCode {
    // One thread: children end with the thread that started them, and the load must not take the cores of what it measures.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |default: usize| arguments.get(1).map_or(Ok(default), |text| text.parse());
    match arguments.first().map(String::as_str) {
        Some("idle") => idle::run(number(5000)?).await,
        Some("relay") => relay::run(relay::Kind::Relayed, number(5)?).await,
        Some("stored") => relay::run(relay::Kind::Stored, number(5)?).await,
        Some("baseline") => baseline::serve(arguments.get(1).map(PathBuf::from)).await,
        _ => bail!("{USAGE}"),
    }
}
