//! The switchboard: conversations, their relay, and their history.

mod board;
mod conversation;
mod conversations;
mod cursors;
mod delivery;
mod departure;
mod history;
mod kind;
mod metrics;
mod participation;
mod push;
mod server;
mod session;
#[cfg(test)]
mod testing;

use common::config::{self, Program};
use common::net::{Shutdown, raise_open_files};
use common::telemetry;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let config = config::from_command_line(Program::Switchboard);
    telemetry::init_logs(&config.log)?;
    match raise_open_files()? {
        Some(limit) => tracing::info!(limit, "open files"),
        None => tracing::info!("open files are not limited"),
    }
    let shutdown = Shutdown::default();
    shutdown.on_signals()?;
    server::run(&config, &shutdown).await
}
