//! `monarch store`: the tables behind the suite.

use std::io::Write;

use clap::Subcommand;
use common::config::Config;

use crate::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Create the store, or bring its tables up to date. Safe at any time, also for several at once
    Migrate,
}

pub(crate) async fn run(
    command: StoreCommand,
    config: &Config,
    out: &mut (impl Write + Send + Sync),
) -> Result<(), Failure> {
    let StoreCommand::Migrate = command;
    let mut written = Ok(());
    let mut told = |step: String| written = writeln!(out, "{step}");
    let migrated = common::store::migrate(&config.store, &mut told).await;
    migrated?;
    Ok(written?)
}
