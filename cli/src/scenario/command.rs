//! `monarch scenario run FILE…`, `monarch scenario check FILE…`, `monarch scenario clean`

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use common::config::{Config, StoreKind};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::accounts::AccountSource;
use super::clean::{CleanArgs, clean, counted};
use super::deployment::Deployment;
use super::failure::FailureKind;
use super::junit::Report;
use super::parallel::play_all;
use super::suite::{Chain, RunId, load};
use super::summary::Summary;
use crate::terminal::{print, say};

/// Exit codes of `monarch`.
const FAILED: u8 = 1;
const USAGE: u8 = 2;
const UNREACHABLE: u8 = 3;
/// Seconds after the end of a session in which what it has left to be written is.
const WRITTEN_BEHIND: u64 = 5;

/// `monarch scenario …`
#[derive(Debug, clap::Subcommand)]
pub enum ScenarioCommand {
    /// Play scenarios against a running deployment: the one that `monarch up` has started on the same data, or the one that the
    /// configuration and the flags name.
    Run(RunArgs),
    /// Read scenarios and say what is wrong with them. No server is asked.
    Check(CheckArgs),
    /// Remove the accounts that runs have left: those of `--keep`, and those of a run that was killed. Only while no run goes on: it would
    /// lose its accounts.
    Clean(CleanArgs),
}

/// `monarch scenario check …`
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// The scenarios, in the order in which they would be played.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// `monarch scenario run …`
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The scenarios, played in this order.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The dispatch server, instead of the one in the configuration.
    #[arg(long, value_name = "ADDR")]
    pub dispatch: Option<SocketAddr>,
    /// Its HTTP sign-in.
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// A notification server; may be given several times.
    #[arg(long, value_name = "ADDR")]
    pub notification: Vec<SocketAddr>,
    /// A switchboard; may be given several times.
    #[arg(long, value_name = "ADDR")]
    pub switchboard: Vec<SocketAddr>,
    /// Part of the names of the accounts, instead of a random one. With `--keep` and `accounts same` a later run finds them again.
    #[arg(long, value_name = "ID")]
    pub run_id: Option<RunId>,
    /// Seconds that each expectation waits.
    #[arg(long, value_name = "SECONDS", default_value_t = Deployment::TIMEOUT.as_secs())]
    pub timeout: u64,
    /// Playings at once, of scenarios and of the dialects of one.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub jobs: usize,
    /// Leave the accounts that were made for the run in the store; `monarch scenario clean` removes them.
    #[arg(long)]
    pub keep: bool,
    /// Also write a report as JUnit's XML, which build servers read.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// Carries out `monarch scenario …`. `config` names the store, the key for MD5 passwords and the addresses.
///
/// Exit codes: 0 all played as written, 1 a mismatch, 2 a scenario that is wrong, 3 a server or the store could not
/// be reached.
pub async fn command(command: ScenarioCommand, config: &Config) -> ExitCode {
    let files = match &command {
        ScenarioCommand::Run(args) => &args.files,
        ScenarioCommand::Check(args) => &args.files,
        ScenarioCommand::Clean(args) => return tidy_up(args, config).await,
    };
    let chains = match load(files) {
        Ok(chains) => chains,
        Err(errors) => {
            errors.iter().for_each(say);
            return ExitCode::from(USAGE);
        }
    };
    match command {
        ScenarioCommand::Run(args) => run(args, chains, config).await,
        ScenarioCommand::Check(args) => {
            print(&format!("{} read, nothing wrong\n", args.files.len()));
            ExitCode::SUCCESS
        }
        ScenarioCommand::Clean(_) => ExitCode::SUCCESS,
    }
}

async fn tidy_up(args: &CleanArgs, config: &Config) -> ExitCode {
    let cleaned = match common::store::open(&config.store).await {
        Ok(store) => clean(args, &*store).await,
        Err(error) => Err(error.into()),
    };
    match cleaned {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format!("accounts of runs are left in the store: {error:#}"));
            ExitCode::from(UNREACHABLE)
        }
    }
}

async fn run(args: RunArgs, chains: Vec<Chain>, config: &Config) -> ExitCode {
    // Before an account is made: however the run ends, none is left with a password that everybody knows.
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            say(format!("can't listen for signals: {error}"));
            return ExitCode::from(FAILED);
        }
    };
    let mut deployment = deployment(&args, config);
    match AccountSource::open(config).await {
        Ok(mut accounts) => {
            accounts.at_home_towards(deployment.dispatch);
            deployment.accounts = Some(accounts);
        }
        Err(error) => {
            say(format!("the store of the deployment can't be opened: {error:#}"));
            return ExitCode::from(UNREACHABLE);
        }
    }
    let (mut summary, mut report) = (Summary::default(), Report::default());
    let chains = playable(chains, &deployment, &mut summary, &mut report);
    let deployment = Arc::new(deployment);
    let playing = play_all(chains, Arc::clone(&deployment), args.jobs, args.run_id.clone(), |outcome| {
        summary.add(outcome);
        report.add(outcome);
        print(&format!("{outcome}\n"));
    });
    let mut code = tokio::select! {
        played = playing => match played {
            Ok(worst) => exit_code(worst),
            Err(error) => {
                say(format!("{error:#}"));
                FAILED
            }
        },
        () = signals.next() => {
            say("monarch: the run is broken off");
            FAILED
        }
    };
    print(&format!("{summary}\n"));
    match &deployment.accounts {
        Some(accounts) if args.keep => say_what_is_kept(accounts.made().await, args.run_id.as_ref()),
        Some(accounts) => code = code.max(tidy(accounts, config, &mut signals).await),
        None => {}
    }
    if let Some(file) = &args.junit
        && let Err(error) = write_report(file, &report)
    {
        say(format!("can't write {}: {error}", file.display()));
        code = code.max(FAILED);
    }
    ExitCode::from(code)
}

fn say_what_is_kept(accounts: usize, run: Option<&RunId>) {
    if accounts > 0 {
        let of = run.map_or_else(String::new, |run| format!(" --run-id {}", run.as_str()));
        say(format!(
            "monarch: {}, whose password everybody knows, {} kept; `monarch scenario clean{of}` removes {}",
            counted(accounts),
            if accounts == 1 { "is" } else { "are" },
            if accounts == 1 { "it" } else { "them" },
        ));
    }
}

/// Removes the accounts of a run; a signal meanwhile shortens the wait, and no more.
async fn tidy(accounts: &AccountSource, config: &Config, signals: &mut Signals) -> u8 {
    if config.store.kind == StoreKind::Scylla && accounts.made().await > 0 {
        // CQL servers take what sessions write behind the removal of their account, and it would stay.
        let Config { notification, .. } = config;
        let secs = notification.grace_secs.max(notification.close_grace_secs) + WRITTEN_BEHIND;
        say(format!("monarch: in {secs} s the sessions of this run have ended, and its accounts are removed"));
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(secs)) => {}
            () = signals.next() => {}
        }
    }
    match accounts.remove_all().await {
        Ok(_) => 0,
        Err(error) => {
            say(format!("accounts of this run are left in the store: {error:#}"));
            FAILED
        }
    }
}

/// Ctrl-C, SIGTERM, and the end of the terminal.
struct Signals([Signal; 3]);

impl Signals {
    fn new() -> std::io::Result<Self> {
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    /// Waits for the next one.
    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// The chains for which the deployment has enough servers. Of the others it is said what is missing.
fn playable(
    chains: Vec<Chain>,
    deployment: &Deployment,
    summary: &mut Summary,
    report: &mut Report,
) -> Vec<Chain> {
    let mut playable = Vec::new();
    for chain in chains {
        let Some(lack) = chain.lacking(deployment) else {
            playable.push(chain);
            continue;
        };
        for path in chain.paths() {
            print(&format!("left out  {}  {lack}\n", path.display()));
            summary.leave_out(chain.needs());
            report.leave_out(path.to_owned(), lack.to_string());
        }
    }
    playable
}

fn write_report(file: &Path, report: &Report) -> std::io::Result<()> {
    let file = common::files::open_own(file)?;
    file.set_len(0)?;
    let mut out = std::io::BufWriter::new(file);
    report.write(&mut out)?;
    out.flush()
}

fn exit_code(worst: Option<FailureKind>) -> u8 {
    match worst {
        None => 0,
        Some(FailureKind::Failed) => FAILED,
        Some(FailureKind::Usage) => USAGE,
        Some(FailureKind::Unreachable) => UNREACHABLE,
    }
}

fn deployment(args: &RunArgs, config: &Config) -> Deployment {
    let mut deployment = Deployment::configured(config);
    deployment.dispatch = args.dispatch.unwrap_or(deployment.dispatch);
    deployment.http = args.http.unwrap_or(deployment.http);
    if !args.notification.is_empty() {
        deployment.notification.clone_from(&args.notification);
    }
    if !args.switchboard.is_empty() {
        deployment.switchboard.clone_from(&args.switchboard);
    }
    deployment.timeout = Duration::from_secs(args.timeout.clamp(1, 600));
    deployment
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(subcommand)]
        command: ScenarioCommand,
    }

    #[test]
    fn flags_stand_over_the_configuration() {
        let line = ["m", "run", "--dispatch", "127.0.0.1:9", "--notification", "127.0.0.1:8", "--notification"];
        let cli = Cli::try_parse_from(line.into_iter().chain(["127.0.0.1:7", "--run-id", "x", "a.txt"])).unwrap();
        let ScenarioCommand::Run(args) = cli.command else { panic!() };
        let deployment = deployment(&args, &Config::default());
        assert_eq!(deployment.dispatch.port(), 9);
        assert_eq!(deployment.notification.len(), 2);
        assert_eq!(deployment.http.port(), 8080);
        assert!(Cli::try_parse_from(["m", "run"]).is_err());
        assert!(Cli::try_parse_from(["m", "run", "--run-id", "X", "a.txt"]).is_err());
    }

    #[tokio::test]
    async fn a_file_that_is_no_scenario_is_a_usage_error() {
        let cli = Cli::try_parse_from(["m", "run", "/nowhere.txt"]).unwrap();
        assert_eq!(command(cli.command, &Config::default()).await, ExitCode::from(USAGE));
    }
}
