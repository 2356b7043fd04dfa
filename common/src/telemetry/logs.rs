//! Logs by `tracing`.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{Handle, Layer};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

use crate::config::{LogConfig, LogFormat};

/// The logs of a process, whose filter can be changed.
#[derive(Debug)]
pub struct Logs {
    filter: Handle<EnvFilter, Registry>,
    /// What stands before every filter.
    before: &'static str,
}

/// Sends the process's logs to standard error as configured. `before` stands before the configured filter, which may say
/// otherwise: `crate=error,`, or nothing. Call once, before anything else logs.
///
/// # Errors
/// When the filter can't be read, or logs were set up before.
pub fn init_logs(config: &LogConfig, before: &'static str) -> anyhow::Result<Logs> {
    let (filter, handle) = Layer::new(filter(before, &config.filter)?);
    // Colours are for people: a log file with escape sequences is hard to search.
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let registry = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        // It would be written to standard error, which has just failed: that panics, in whatever task has logged.
        .log_internal_errors(false);
    match config.format {
        LogFormat::Text => registry.with(lines).try_init(),
        LogFormat::Json => registry.with(lines.json()).try_init(),
    }
    .map_err(|error| anyhow::anyhow!("logs can't be set up: {error}"))?;
    Ok(Logs { filter: handle, before })
}

impl Logs {
    /// What is logged from now on.
    ///
    /// # Errors
    /// When the filter can't be read; the one that was there stays.
    pub fn set_filter(&self, text: &str) -> anyhow::Result<()> {
        Ok(self.filter.reload(filter(self.before, text)?)?)
    }
}

fn filter(before: &str, text: &str) -> anyhow::Result<EnvFilter> {
    // The driver tells of every connection at info; the filter may still ask for that.
    Ok(EnvFilter::try_new(format!("scylla=warn,{before}{text}"))?)
}
