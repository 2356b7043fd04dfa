//! `monarch up`: the whole suite on this machine, three processes or more.
//!
//! | file | what |
//! |---|---|
//! | `data` | the data directory: lock, secrets, keys |
//! | `demo` | the demo accounts of a first start |
//! | `ports` | whether the addresses are free, before anything is started |
//! | `nodes` | how many of each tier, and the settings of those behind the first |
//! | `tier` | one child process: start, announcement, logs, end |
//! | `suite` | all together: until all are ready, until one ends, until all have ended |
//! | `running` | where they listen, for other commands |
//! | `greeting` | how to connect |

mod data;
mod demo;
mod greeting;
mod logs;
mod nodes;
mod parent;
mod ports;
mod probe;
mod running;
mod suite;
mod tier;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use common::config::{Config, ConfigError, Loaded, Origin, Program, Sources, collisions, load};
use common::store;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::data::DataDir;
use self::demo::Demo;
use self::greeting::Greeting;
use self::nodes::Nodes;
pub(crate) use self::running::Running;
use self::suite::Suite;
use self::tier::Launch;
use crate::terminal::{print, say};
use crate::{Again, Failure};

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// How many to start of dispatch, notification and switchboard. The first of each has the configured ports, the others have
    /// any that are free
    #[arg(long, value_name = "D,N,S", default_value = "1,1,1")]
    nodes: Nodes,
    /// Start one of a tier, and say so, where --nodes asks for more and an address that others are told is configured for it
    #[arg(long)]
    or_fewer: bool,
    /// Make a new store where the configured store.path has none; at the default path, and where --data names the directory, one is
    /// made without
    #[arg(long)]
    create: bool,
    /// Create the demo accounts alice, bob and carol at the first start, and start while they have the password that everybody knows,
    /// although others than this machine can reach the servers
    #[arg(long, conflicts_with = "no_demo")]
    demo: bool,
    /// Don't create them
    #[arg(long)]
    no_demo: bool,
    /// Seconds that the processes have to become ready
    #[arg(long, value_name = "SECS", default_value_t = 60)]
    ready_timeout: u64,
    /// Where dispatch, notification and switchboard are [default: beside monarch]
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,
}

pub(crate) async fn run(args: UpArgs, sources: Sources) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    // From the first moment on: SIGHUP ends nothing.
    let mut hangups = signal(SignalKind::hangup())?;
    let mut loaded = load(&sources)?;
    loaded.config.store.create |= args.create || *loaded.origin("store.path") == Origin::Flag("--data".into());
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

/// Prepares the data, starts all and waits until they are ready.
async fn bring_up(suite: &mut Suite, args: &UpArgs, loaded: &Loaded, sources: &Sources) -> Result<(), Failure> {
    let config = &loaded.config;
    // Before a directory is made in which there is nothing.
    if store::is_missing(&config.store) && !config.store.create {
        return Err(store::missing(&config.store).into());
    }
    let data = DataDir::take(&config.store.path)?;
    ports::check(config)?;
    let nodes = if args.or_fewer { args.nodes.possible(config, say) } else { args.nodes }.plan(config)?;
    let monarch = Again::of_process(sources);
    let people = data.prepare(config, Demo::wanted(args.demo, args.no_demo, config), &monarch).await?;
    suite.hold(data);
    let launch = Launch {
        binaries: args.binaries.clone().map_or_else(beside_this_program, Ok)?,
        logs: config.store.path.join("logs"),
        file: loaded.file.clone(),
        given: sources.given.clone(),
    };
    let seeds_are_default = config.cluster.seeds == Config::default().cluster.seeds;
    suite.start(&launch, nodes, config, seeds_are_default).await?;
    suite.until_ready(Duration::from_secs(args.ready_timeout)).await?;
    suite.note();
    let all = suite.addresses();
    let greeting = Greeting { config, all: &all, people, logs: &launch.logs, monarch: &monarch };
    print(&greeting.text());
    Ok(())
}

async fn stop(suite: Suite, signals: &mut Signals, outcome: Result<(), Failure>) -> Result<(), Failure> {
    if !suite.is_empty() {
        say("\nmonarch: stopping; once more to stop at once");
        suite.stop(signals).await;
    }
    outcome
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
