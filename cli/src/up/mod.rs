//! `monarch up`: the whole suite on this machine, as three processes.
//!
//! | file | what |
//! |---|---|
//! | `data` | the data directory: lock, secrets, keys |
//! | `demo` | the demo accounts of a first start |
//! | `ports` | whether the addresses are free, before anything is started |
//! | `tier` | one child process: start, announcement, logs, end |
//! | `suite` | the three together: until all are ready, until one ends, until all have ended |
//! | `greeting` | how to connect |

mod data;
mod demo;
mod greeting;
mod logs;
mod parent;
mod ports;
mod probe;
mod suite;
mod tier;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use common::config::{ConfigError, Given, Loaded, Origin, Program, Sources, collisions, load};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::data::DataDir;
use self::suite::Suite;
use self::tier::Launch;
use crate::Failure;
use crate::terminal::{print, say};

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// The directory for the store, the secrets, the keys and the logs [default: ./data, or as configured]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Don't create the demo accounts alice, bob and carol at the first start
    #[arg(long)]
    no_demo: bool,
    /// Seconds that the processes have to become ready
    #[arg(long, value_name = "SECS", default_value_t = 60)]
    ready_timeout: u64,
    /// Where dispatch, notification and switchboard are [default: beside monarch]
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,
}

pub(crate) async fn run(args: UpArgs, mut sources: Sources) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    // From the first moment on: SIGHUP ends nothing.
    let mut hangups = signal(SignalKind::hangup())?;
    sources.given.splice(0..0, args.data.iter().flat_map(|dir| data_flags(dir)));
    let loaded = load(&sources)?;
    let problems = collisions(&loaded, Program::Suite);
    if !problems.is_empty() {
        return Err(ConfigError(problems).into());
    }

    let mut suite = Suite::default();
    let running = tokio::select! {
        up = bring_up(&mut suite, &args, &loaded, &sources) => up,
        () = signals.next() => return stop(suite, &mut signals, Ok(())).await,
    };
    if let Err(failure) = running {
        return stop(suite, &mut signals, Err(failure)).await;
    }
    let ended = loop {
        tokio::select! {
            exit = suite.first_exit() => break Err(suite.explain(exit).await),
            () = signals.next() => break Ok(()),
            _ = hangups.recv() => suite.hang_up(),
        }
    };
    stop(suite, &mut signals, ended).await
}

/// Prepares the data, starts the three and waits until they are ready.
async fn bring_up(suite: &mut Suite, args: &UpArgs, loaded: &Loaded, sources: &Sources) -> Result<(), Failure> {
    let config = &loaded.config;
    let data = DataDir::take(&config.store.path)?;
    ports::check(config)?;
    let demo = data.prepare(config, !args.no_demo).await?;
    suite.hold(data);
    let launch = Launch {
        binaries: args.binaries.clone().map_or_else(beside_this_program, Ok)?,
        logs: config.store.path.join("logs"),
        file: loaded.file.clone(),
        given: sources.given.clone(),
    };
    let seeds_are_default = *loaded.origin("cluster.seeds") == Origin::Default;
    suite.start(&launch, config, seeds_are_default).await?;
    suite.until_ready(Duration::from_secs(args.ready_timeout)).await?;
    print(&greeting::text(config, &suite.addresses(), demo, &launch.logs));
    Ok(())
}

async fn stop(suite: Suite, signals: &mut Signals, outcome: Result<(), Failure>) -> Result<(), Failure> {
    if !suite.is_empty() {
        say("\nmonarch: stopping; once more to stop at once");
        suite.stop(signals).await;
    }
    outcome
}

/// `--data DIR` stands for the paths that default to a place under `./data`. They come before all other flags, so
/// that `--store-path` and the like still win.
fn data_flags(dir: &std::path::Path) -> Vec<Given> {
    let flag = |key: &str, path: PathBuf| Given {
        flag: "--data".into(),
        key: key.into(),
        value: path.to_string_lossy().into_owned(),
    };
    vec![
        flag("store.path", dir.to_path_buf()),
        flag("cluster.secrets", dir.join("cluster.secrets")),
        flag("accounts.md5_key", dir.join("md5.key")),
        flag("dispatch.https.development", dir.to_path_buf()),
    ]
}

fn beside_this_program() -> Result<PathBuf, Failure> {
    let this = std::env::current_exe()?;
    this.parent().map(PathBuf::from).ok_or_else(|| Failure::failed("this program's directory is unknown"))
}

/// Ctrl-C and SIGTERM.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
