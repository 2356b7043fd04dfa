//! Logs by `tracing`.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{IsTerminal, Write};
use std::panic::{PanicHookInfo, set_hook};
use std::time::Duration;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{Handle, Layer};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

use super::lines::{Lines, flush_within};
use crate::config::{LogConfig, LogFormat};

/// How long whoever panics waits until that is written: if it is the end of the process, nobody else does.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// The logs of a process, whose filter can be changed.
#[derive(Debug)]
pub struct Logs {
    filter: Handle<EnvFilter, Registry>,
    /// What stands before every filter.
    before: &'static str,
}

/// Sends the process's logs to standard error as configured, panics among them. Nobody who logs waits for whoever reads there: what
/// finds no room is left out, counted and said. A program that logs is [run](crate::process::run), so that its last lines are
/// written. `before` stands before the configured filter, which may say
/// otherwise: `crate=error,`, or nothing. Call once, before anything else logs.
///
/// # Errors
/// When the filter can't be read, or logs were set up before; or without a thread that writes.
pub fn init_logs(config: &LogConfig, before: &'static str) -> anyhow::Result<Logs> {
    let (filter, handle) = Layer::new(filter(before, &config.filter)?);
    // Colours are for people: a log file with escape sequences is hard to search.
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let registry = tracing_subscriber::registry().with(filter);
    let lines = Lines::to_stderr()?;
    let layer = fmt::layer()
        .with_writer(lines.clone())
        .with_ansi(colours)
        // It would be written to standard error, past those who wait there.
        .log_internal_errors(false);
    match config.format {
        LogFormat::Text => registry.with(layer).try_init(),
        LogFormat::Json => registry.with(layer.json()).try_init(),
    }
    .map_err(|error| anyhow::anyhow!("logs can't be set up: {error}"))?;
    set_hook(Box::new(move |info| panicked(&lines, info)));
    Ok(Logs { filter: handle, before })
}

/// Instead of the hook of the standard library, which would wait for whoever reads standard error.
fn panicked(mut lines: &Lines, info: &PanicHookInfo<'_>) {
    let (thread, backtrace) = (std::thread::current(), Backtrace::capture());
    let thread = thread.name().unwrap_or("without a name");
    let mut text = info.to_string();
    if backtrace.status() == BacktraceStatus::Captured {
        text = format!("{text}\n{backtrace}");
    }
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!(thread, "{text}");
    } else {
        // Also where the filter lets nothing through. It never fails.
        let _ = writeln!(lines, "thread {thread} {text}");
    }
    flush_within(LAST_WORDS);
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
