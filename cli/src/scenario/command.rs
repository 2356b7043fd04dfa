//! `monarch scenario run FILE…`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use common::config::Config;

use super::accounts::AccountSource;
use super::deployment::Deployment;
use super::failure::FailureKind;
use super::parallel::play_all;
use super::suite::{Chain, RunId, load};

/// Exit codes of `monarch`.
const FAILED: u8 = 1;
const USAGE: u8 = 2;
const UNREACHABLE: u8 = 3;

/// `monarch scenario …`
#[derive(Debug, clap::Subcommand)]
pub enum ScenarioCommand {
    /// Play scenarios against a running deployment.
    Run(RunArgs),
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
    /// Part of the names of the accounts, instead of a random one. With `accounts same` a later run finds them again.
    #[arg(long, value_name = "ID")]
    pub run_id: Option<RunId>,
    /// Seconds that each expectation waits.
    #[arg(long, value_name = "SECONDS", default_value_t = Deployment::TIMEOUT.as_secs())]
    pub timeout: u64,
    /// Playings at once, of scenarios and of the dialects of one.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub jobs: usize,
}

/// Carries out `monarch scenario …`. `config` names the store, the key for MD5 passwords and the addresses.
///
/// Exit codes: 0 all played as written, 1 a mismatch, 2 a scenario that is wrong, 3 a server or the store could not
/// be reached.
pub async fn command(command: ScenarioCommand, config: &Config) -> ExitCode {
    let ScenarioCommand::Run(args) = command;
    match load(&args.files) {
        Ok(chains) => run(args, chains, config).await,
        Err(errors) => {
            errors.iter().for_each(|error| eprintln!("{error}"));
            ExitCode::from(USAGE)
        }
    }
}

async fn run(args: RunArgs, chains: Vec<Chain>, config: &Config) -> ExitCode {
    let mut deployment = deployment(&args, config);
    match AccountSource::open(config).await {
        Ok(accounts) => deployment.accounts = Some(accounts),
        Err(error) => {
            eprintln!("the store of the deployment can't be opened: {error:#}");
            return ExitCode::from(UNREACHABLE);
        }
    }
    let (mut played, mut failed) = (0, 0);
    let worst = play_all(chains, Arc::new(deployment), args.jobs, args.run_id, |outcome| {
        played += 1;
        failed += usize::from(outcome.result.is_err());
        println!("{outcome}");
    });
    let worst = match worst.await {
        Ok(worst) => worst,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(FAILED);
        }
    };
    println!("{played} played, {failed} failed");
    match worst {
        None => ExitCode::SUCCESS,
        Some(FailureKind::Failed) => ExitCode::from(FAILED),
        Some(FailureKind::Usage) => ExitCode::from(USAGE),
        Some(FailureKind::Unreachable) => ExitCode::from(UNREACHABLE),
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
        let ScenarioCommand::Run(args) = cli.command;
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
