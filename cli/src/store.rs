//! `monarch store`: the tables behind the suite.

use std::io::Write;

use clap::Subcommand;
use common::config::Config;

use crate::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Make a new, empty store where there is none
    Create,
    /// Bring the store's tables up to date; on CQL servers also create them. Safe at any time, also for several at once
    Migrate,
}

pub(crate) async fn run(
    command: StoreCommand,
    config: &Config,
    out: &mut (impl Write + Send + Sync),
) -> Result<(), Failure> {
    let mut written = Ok(());
    let mut told = |step: String| written = writeln!(out, "{step}");
    match command {
        StoreCommand::Create => common::store::create(&config.store, &mut told).await,
        StoreCommand::Migrate => common::store::migrate(&config.store, &mut told).await,
    }?;
    Ok(written?)
}
