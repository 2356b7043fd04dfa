//! The `monarch` command: starts the suite, tends store and accounts, shows history, speaks to users and signs them out, leaves
//! messages, plays scenarios.
//!
//! Exit codes: 0 ok, 1 failed, 2 usage or configuration, 3 could not reach what it needed.

mod account;
mod again;
mod broadcast;
mod failure;
mod history;
mod message;
mod old_password;
mod orders;
mod prompt;
pub mod scenario;
mod sign_out;
mod store;
mod terminal;
mod up;
mod user;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use common::config::{self, Config, Given, Program, Sources};
use common::store::SharedStore;

use again::Again;
pub use failure::Failure;
pub use orders::OrderDesk;

/// Runs and tends the Monarch server suite.
#[derive(Debug, Parser)]
#[command(
    name = "monarch",
    version,
    after_help = "Exit codes: 0 ok, 1 failed, 2 usage or configuration, 3 could not \
    reach what it needed (the store, a server)."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start dispatch, notification and switchboard on this machine, and stop them with Ctrl-C
    Up(up::UpArgs),
    /// Create and change accounts
    #[command(subcommand)]
    User(user::UserCommand),
    /// Tend the store
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Read conversations
    #[command(subcommand)]
    History(history::HistoryCommand),
    /// Tell everybody who is signed in something, or that the service goes down
    Broadcast(broadcast::BroadcastArgs),
    /// End the sessions of everybody, of one node or of one account, and tell the clients why
    SignOut(sign_out::SignOutArgs),
    /// Send messages without a client
    #[command(subcommand)]
    Message(message::MessageCommand),
    /// Play scripted clients against a running deployment
    #[command(subcommand)]
    Scenario(scenario::ScenarioCommand),
}

/// Reads the command line of this process and does what it says.
#[must_use]
pub fn run() -> ExitCode {
    let matches = command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let done = match runtime {
        // `block_on` keeps the command on the main thread, on which `up` relies.
        Ok(runtime) => runtime.block_on(execute(cli.command, &matches)),
        Err(error) => Err(Failure::Failed(error.into())),
    };
    match done {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

async fn execute(command: Command, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let sources = sources(matches);
    match command {
        Command::Up(args) => up::run(args, sources).await?,
        Command::User(command) => {
            let config = configured(&sources)?;
            user::run(command, &config, &mut std::io::stdout().lock()).await?;
        }
        Command::Store(command) => {
            let config = configured(&sources)?;
            store::run(command, &config, &mut std::io::stdout()).await?;
        }
        Command::History(command) => {
            let config = configured(&sources)?;
            let store = open_store(&config).await?;
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            history::run(command, &store, &mut out).await?;
            out.flush()?;
        }
        Command::Broadcast(args) => {
            let config = configured(&sources)?;
            broadcast::run(args, &config, &mut std::io::stdin().lock(), &mut std::io::stdout()).await?;
        }
        Command::SignOut(args) => {
            let config = configured(&sources)?;
            sign_out::run(args, &config, &mut std::io::stdout()).await?;
        }
        Command::Message(command) => {
            let config = configured(&sources)?;
            message::run(command, &config, &mut std::io::stdout()).await?;
        }
        Command::Scenario(command) => {
            let config = configured(&sources)?;
            return Ok(scenario::command(command, &config).await);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The command line: what `derive` makes of the structures, and the flags of the configuration.
fn command() -> clap::Command {
    let general = config::general_flags().into_iter().chain([data_flag()]).map(|flag| flag.global(true));
    Cli::command().args(general).mut_subcommand("up", |up| up.args(config::flags(Program::Suite)))
}

/// The flag that names the directory of a deployment on this machine.
fn data_flag() -> Arg {
    Arg::new("data")
        .long("data")
        .value_name("DIR")
        .value_parser(clap::value_parser!(PathBuf))
        .help("The directory of store, secrets and keys, as `monarch up --data` has it [default: ./data, or as configured]")
}

/// `--data DIR` stands for the paths that default to a place under `./data`.
fn data_settings(dir: &Path) -> Vec<Given> {
    let set = |key: &str, path: PathBuf| Given {
        flag: "--data".into(),
        key: key.into(),
        value: path.to_string_lossy().into_owned(),
    };
    vec![
        set("store.path", dir.to_path_buf()),
        set("cluster.secrets", dir.join("cluster.secrets")),
        set("accounts.md5_key", dir.join("md5.key")),
        set("dispatch.https.development", dir.to_path_buf()),
    ]
}

/// What the command line says of the configuration; it may do so at any level of subcommands.
fn sources(matches: &ArgMatches) -> Sources {
    let mut deepest = matches;
    while let Some((_, deeper)) = deepest.subcommand() {
        deepest = deeper;
    }
    let (file, mut given) = config::given(deepest, Program::Suite);
    // Before all other flags, so that `--store-path` and the like still win.
    given.splice(0..0, deepest.get_one::<PathBuf>("data").iter().flat_map(|dir| data_settings(dir)));
    Sources::of_process(file, given)
}

/// Opens the store that is there; a wrong working directory must not pass for an empty deployment.
async fn open_store(config: &Config) -> Result<SharedStore, Failure> {
    Ok(common::store::open(&config.store).await?)
}

/// The configuration for a command that works on the store that is there.
fn configured(sources: &Sources) -> Result<Config, Failure> {
    let mut config = config::load(sources)?.config;
    config.store.create = false;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn the_configuration_may_be_given_at_any_level() {
        for line in [
            "monarch --config a.toml --set log.filter=warn user list",
            "monarch user --config a.toml list --set log.filter=warn",
            "monarch user list --set log.filter=warn --config a.toml",
            "monarch up --config a.toml --log-filter warn",
        ] {
            let matches = command().try_get_matches_from(line.split(' ')).unwrap();
            let sources = sources(&matches);
            assert_eq!(sources.file.as_deref(), Some("a.toml".as_ref()), "{line}");
            let given: Vec<_> =
                sources.given.iter().map(|given| (given.key.as_str(), given.value.as_str())).collect();
            assert_eq!(given, [("log.filter", "warn")], "{line}");
        }
    }

    #[test]
    fn the_directory_may_be_given_to_every_command() {
        for line in ["monarch up --data d --store-path s", "monarch user list --set store.path=s --data d"] {
            let sources = sources(&command().try_get_matches_from(line.split(' ')).unwrap());
            let loaded =
                config::load(&Sources { default_file: None, environment: Vec::new(), ..sources }).unwrap();
            assert_eq!(loaded.config.store.path, Path::new("s"), "{line}");
            assert_eq!(loaded.config.accounts.md5_key, Path::new("d/md5.key"), "{line}");
        }
    }
}
