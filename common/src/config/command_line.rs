//! The command line of the three programs.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::Config;
use super::load::{CONFIG_VARIABLE, DEFAULT_FILE, Given, Sources, Survey, survey};
use super::settings::{SETTINGS, Setting};

/// Which program reads the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `dispatch`
    Dispatch,
    /// `notification`
    Notification,
    /// `switchboard`
    Switchboard,
    /// `monarch`, for which all keys are of the same concern.
    Suite,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Dispatch, Self::Notification, Self::Switchboard, Self::Suite];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dispatch => "dispatch",
            Self::Notification => "notification",
            Self::Switchboard => "switchboard",
            Self::Suite => "monarch",
        }
    }

    fn about(self) -> &'static str {
        match self {
            Self::Dispatch => {
                "Monarch's first tier: answers DNS for the login name, redirects clients to the least-loaded \
                 notification server, and serves sign-in by HTTP."
            }
            Self::Notification => {
                "Monarch's tier of long connections: sign-in, contact lists, privacy, presence and invitations."
            }
            Self::Switchboard => "Monarch's tier of conversations: relays messages and writes them to history.",
            Self::Suite => "Runs and tends the Monarch server suite.",
        }
    }
}

/// What whoever has started a program wants of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// That it does its work.
    Start,
    /// `--check`: whether it could.
    Check,
    /// `--print-config`
    Print,
}

/// What the command line of a tier's program says.
#[derive(Debug)]
pub struct CommandLine {
    /// What is wanted.
    pub wish: Wish,
    sources: Sources,
    create: bool,
}

/// The command line of this process; `--help`, `--version` and wrong flags end it.
#[must_use]
pub fn command_line(program: Program) -> CommandLine {
    let matches = command(program).get_matches();
    let (file, given) = given(&matches, program);
    let wish = match (matches.get_flag("print-config"), matches.get_flag("check")) {
        (true, _) => Wish::Print,
        (false, true) => Wish::Check,
        (false, false) => Wish::Start,
    };
    CommandLine { wish, sources: Sources::of_process(file, given), create: matches.get_flag("create") }
}

impl CommandLine {
    /// The configuration that it makes together with the environment and the file.
    #[must_use]
    pub fn survey(&self) -> Survey {
        let mut survey = survey(&self.sources);
        survey.loaded.config.store.create |= self.create;
        survey
    }
}

fn command(program: Program) -> Command {
    let switch =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    Command::new(program.as_str())
        .version(env!("CARGO_PKG_VERSION"))
        .about(program.about())
        .after_help("Use --help for the variables, the defaults and examples.")
        .after_long_help(epilogue(program))
        .args(general_flags())
        .arg(switch(
            "create",
            "Make a new store where store.path has none (at the default path one is made without)",
        ))
        .arg(switch(
            "check",
            "Check the configuration, and what it names: secrets, keys, the store, the addresses; then exit. Nothing is written",
        ))
        .arg(switch("print-config", "Print the configuration, with where each value comes from, and exit"))
        .args(flags(program))
}

fn epilogue(program: Program) -> String {
    let name = program.as_str();
    let mut ports = String::new();
    for listening in Config::default().listeners(program) {
        let transport = match (listening.tcp, listening.udp) {
            (true, true) => "TCP, UDP",
            (true, false) => "TCP",
            _ => "UDP",
        };
        ports.push_str(&format!("  {:<28}{}  {transport}\n", listening.key, listening.addr));
    }
    format!(
        "Configuration, each layer over the one before: the defaults; the file; the environment (MONARCH_ and the key \
         in capitals with _ for every dot: MONARCH_DISPATCH_HTTP_LISTEN); flags. Relative paths count from the \
         working directory. Unknown keys, unknown variables and bad values stop the start.\n\n\
         It listens on\n{ports}\n\
         and says so in one line on standard output once it does; logs go to standard error.\n\n\
         Examples:\n  {name} --config /etc/monarch.toml --check\n  {name} --log-filter info,{name}=debug\n  \
         {name} --set cluster.seeds=10.0.0.1:1873,10.0.0.2:1873\n\n\
         --check says all that is wrong at once, and ends with 2; with 1 if only what may pass is in the way: a port that \
         is in use, as by this very node when it runs, or a store that does not answer.\n\n\
         Exit codes: 0 stopped as asked, 1 failed, 2 wrong configuration or usage."
    )
}

/// `--config` and `--set`, which every program has.
#[must_use]
pub fn general_flags() -> [Arg; 2] {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help(format!("The configuration file [env: {CONFIG_VARIABLE}] [default: ./{DEFAULT_FILE}, if any]"));
    let set = Arg::new("set")
        .long("set")
        .value_name("KEY=VALUE")
        .action(ArgAction::Append)
        .value_parser(|text: &str| match text.split_once('=') {
            Some((key, value)) => Ok((key.trim().to_owned(), value.to_owned())),
            None => Err("expected KEY=VALUE, such as notification.capacity=1000"),
        })
        .help("Set any key of the configuration; may be repeated");
    [config, set]
}

/// The flags of the settings that concern a program.
#[must_use]
pub fn flags(program: Program) -> Vec<Arg> {
    let defaults = toml::Value::try_from(Config::default()).ok();
    let mut flags = Vec::new();
    for setting in SETTINGS.iter().filter(|setting| setting.concerns(program)) {
        let path = |whole| setting.key.split('.').try_fold(whole, |value: &toml::Value, name| value.get(name));
        let default = defaults.as_ref().and_then(path).map(plain).filter(|text| !text.is_empty());
        let default = default.map(|text| format!(" [default: {text}]"));
        let long = format!("{} [env: {}]{}", setting.help, setting.variable(), default.unwrap_or_default());
        let mut flag = Arg::new(setting.key)
            .long(setting.flag(program))
            .value_name(setting.kind.placeholder())
            .help_heading(format!("[{}]", setting.section()))
            .help(setting.help)
            .long_help(long);
        if setting.kind == super::kind::Kind::Switch {
            flag = flag.num_args(0..=1).require_equals(true).default_missing_value("true");
        }
        flags.push(flag);
    }
    flags
}

/// A default as it would be given in the environment.
fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// The file and the values that a command line with [`general_flags`], and perhaps [`flags`], names; the values in the
/// order in which they stand there.
#[must_use]
pub fn given(matches: &ArgMatches, program: Program) -> (Option<PathBuf>, Vec<Given>) {
    let mut all: Vec<(usize, Given)> = Vec::new();
    let is_there = |setting: &&Setting| matches.try_contains_id(setting.key).unwrap_or(false);
    for setting in SETTINGS.iter().filter(|setting| setting.concerns(program)).filter(is_there) {
        let places = matches.indices_of(setting.key).into_iter().flatten();
        let values = matches.get_many::<String>(setting.key).into_iter().flatten();
        let flag = format!("--{}", setting.flag(program));
        all.extend(places.zip(values).map(|(place, value)| {
            (place, Given { flag: flag.clone(), key: setting.key.to_owned(), value: value.clone() })
        }));
    }
    let places = matches.indices_of("set").into_iter().flatten();
    let values = matches.get_many::<(String, String)>("set").into_iter().flatten();
    all.extend(places.zip(values).map(|(place, (key, value))| {
        (place, Given { flag: "--set".into(), key: key.clone(), value: value.clone() })
    }));
    all.sort_by_key(|(place, _)| *place);
    let file = matches.get_one::<PathBuf>("config").cloned();
    (file, all.into_iter().map(|(_, given)| given).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(program: Program, line: &str) -> Vec<(String, String, String)> {
        let words = std::iter::once(program.as_str()).chain(line.split_whitespace());
        let matches = command(program).try_get_matches_from(words).unwrap();
        given(&matches, program).1.into_iter().map(|given| (given.flag, given.key, given.value)).collect()
    }

    #[test]
    fn the_commands_are_sound() {
        for program in Program::ALL {
            command(program).debug_assert();
            let help = command(program).render_long_help().to_string();
            let variable = "MONARCH_LOG_FILTER";
            assert!(help.contains(variable) && help.contains("Examples:"), "{help}");
        }
    }

    #[test]
    fn flags_come_in_the_order_of_the_line() {
        let line = "--set notification.capacity=1 --capacity 2 --store-path x --challenge-close-wrong=false \
                    --keep-populated-groups --set dispatch.listen=127.0.0.1:1";
        let expected = [
            ("--set", "notification.capacity", "1"),
            ("--capacity", "notification.capacity", "2"),
            ("--store-path", "store.path", "x"),
            ("--challenge-close-wrong", "notification.challenge_close_wrong", "false"),
            ("--keep-populated-groups", "notification.keep_populated_groups", "true"),
            ("--set", "dispatch.listen", "127.0.0.1:1"),
        ]
        .map(|(flag, key, value)| (flag.to_owned(), key.to_owned(), value.to_owned()));
        assert_eq!(parsed(Program::Notification, line), expected);
    }

    #[test]
    fn a_program_does_not_know_the_flags_of_another() {
        let words = ["switchboard", "--dns-domain", "example.com"];
        assert!(command(Program::Switchboard).try_get_matches_from(words).is_err());
        let line = "--dispatch-dns-domain example.com";
        assert_eq!(parsed(Program::Suite, line)[0].1, "dispatch.dns.domain");
    }
}
