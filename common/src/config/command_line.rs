//! The command line of the three programs.

use std::io::Write;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::Config;
use super::load::{CONFIG_VARIABLE, DEFAULT_FILE, Given, Loaded, Sources, load};
use super::problem::{ConfigError, Problem};
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

/// The configuration of a tier's process, from its command line, its environment and its file. Ends the process
/// with exit code 2 and an error that names the place if anything is wrong; serves `--help`, `--version`, `--check`
/// and `--print-config`.
#[must_use]
pub fn from_command_line(program: Program) -> Loaded {
    from_command_line_with(program, |_| Vec::new())
}

/// The same, for a program that can see more than this crate: what `further` finds is wrong too.
#[must_use]
pub fn from_command_line_with(program: Program, further: impl FnOnce(&Loaded) -> Vec<Problem>) -> Loaded {
    let matches = command(program).get_matches();
    let (file, given) = given(&matches, program);
    let loaded = load(&Sources::of_process(file, given)).and_then(|mut loaded| {
        loaded.config.store.create |= matches.get_flag("create");
        let problems = further(&loaded);
        if problems.is_empty() { Ok(loaded) } else { Err(ConfigError(problems)) }
    });
    match loaded {
        Ok(loaded) => {
            serve_questions(&matches, &loaded);
            loaded
        }
        Err(error) => {
            eprintln!("{}: the configuration can't be used:\n{error}", program.as_str());
            std::process::exit(2);
        }
    }
}

/// `--check` and `--print-config` answer and end the process.
fn serve_questions(matches: &ArgMatches, loaded: &Loaded) {
    let answer = if matches.get_flag("print-config") {
        loaded.to_string()
    } else if matches.get_flag("check") {
        "configuration is valid\n".to_owned()
    } else {
        return;
    };
    let written = std::io::stdout().lock().write_all(answer.as_bytes());
    std::process::exit(i32::from(written.is_err()));
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
        .arg(switch("check", "Check the configuration and exit"))
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
