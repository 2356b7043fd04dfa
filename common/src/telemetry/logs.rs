//! Logs by `tracing`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Sends the process's logs to standard error as configured. Call once, before anything else logs.
///
/// # Errors
/// When the filter can't be read, or logs were set up before.
pub fn init_logs(config: &LogConfig) -> anyhow::Result<()> {
    // The driver tells of every connection at info; the filter may still ask for that.
    let filter = EnvFilter::try_new(format!("scylla=warn,{}", config.filter))?;
    // Colours are for people: a log file with escape sequences is hard to search.
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        // It would be written to standard error, which has just failed: that panics, in whatever task has logged.
        .log_internal_errors(false);
    match config.format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().try_init(),
    }
    .map_err(|error| anyhow::anyhow!("logs can't be set up: {error}"))
}
