//! The layers: defaults, below the file, below the environment, below flags.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::problem::{ConfigError, Origin, Problem};
use super::settings::{self, SETTINGS, Setting};
use super::{Config, checks, file, ports};

/// The variable that names the configuration file, where no `--config` does.
pub const CONFIG_VARIABLE: &str = "MONARCH_CONFIG";

/// The file that is read where nobody names one, if it is there.
pub const DEFAULT_FILE: &str = "monarch.toml";

/// A setting given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The flag as it was written: `--listen`, `--set`.
    pub flag: String,
    /// The key that it sets.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// What a configuration is made of, besides the defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file that the command line names; it must be there.
    pub file: Option<PathBuf>,
    /// The file read where neither the command line nor the environment names one; it may be missing.
    pub default_file: Option<PathBuf>,
    /// The environment; only what begins with `MONARCH_` is looked at.
    pub environment: Vec<(OsString, OsString)>,
    /// What the command line sets; of two for one key the later counts.
    pub given: Vec<Given>,
}

impl Sources {
    /// This process's environment, `./monarch.toml`, and what its command line says.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, given: Vec<Given>) -> Self {
        Self { file, default_file: Some(DEFAULT_FILE.into()), environment: std::env::vars_os().collect(), given }
    }
}

/// A configuration, and where each of its values comes from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What holds.
    pub config: Config,
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
    values: BTreeMap<&'static str, (Value, Origin)>,
    sources: Sources,
}

impl Loaded {
    /// Where the value of `key` comes from.
    #[must_use]
    pub fn origin(&self, key: &str) -> &Origin {
        self.values.get(key).map_or(&Origin::Default, |(_, origin)| origin)
    }

    /// Whether nobody has set `key`.
    #[must_use]
    pub fn is_default(&self, key: &str) -> bool {
        *self.origin(key) == Origin::Default
    }

    /// What is wrong with the value of `key`, with the place where it was set.
    #[must_use]
    pub fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        Problem::new(self.origin(key).clone(), key.to_owned(), message)
    }

    /// The same, read once more: the file may have changed, environment and command line can't.
    ///
    /// # Errors
    /// As those of [`load`].
    pub fn again(&self) -> Result<Self, ConfigError> {
        load(&self.sources)
    }
}

/// The keys whose values differ.
#[must_use]
pub fn differing(one: &Config, other: &Config) -> Vec<&'static str> {
    let tables = [one, other].map(|config| Table::try_from(config).map(Value::Table).ok());
    let differs = |setting: &&Setting| {
        let value = |table: &Option<Value>| {
            setting.key.split('.').try_fold(table.clone()?, |value, name| value.get(name).cloned())
        };
        value(&tables[0]) != value(&tables[1])
    };
    SETTINGS.iter().filter(differs).map(|setting| setting.key).collect()
}

/// Puts the layers on each other and checks the whole.
///
/// # Errors
/// Everything that is wrong, each with its place: unknown keys and variables, values of the wrong kind, and values
/// that can't hold together.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let Survey { loaded, problems, .. } = survey(sources);
    if problems.is_empty() { Ok(loaded) } else { Err(ConfigError(problems)) }
}

/// A configuration as far as it can be read, and what is wrong with it.
#[derive(Debug, Clone)]
pub struct Survey {
    /// What holds without the values that can't be read.
    pub loaded: Loaded,
    /// All that is wrong. Whether values hold together is asked once each can be read.
    pub problems: Vec<Problem>,
    /// Something can't be read: what is not set may be what was misspelt.
    pub in_part: bool,
}

/// Puts the layers on each other, also where something is wrong, for whoever looks further.
#[must_use]
pub fn survey(sources: &Sources) -> Survey {
    let mut layers = Layers::default();
    let file = layers.file(sources);
    layers.environment(sources);
    layers.given(sources);
    ports::forget_copied(&defaults(), &mut layers.values);
    let mut config = layers.build();
    // What is asked is where the store is, not whether somebody said so: who copies the example has named the default.
    config.store.create = is_same_place(&config.store.path, &Config::default().store.path);
    let Layers { values, mut problems } = layers;
    let loaded = Loaded { config, file, values, sources: sources.clone() };
    let in_part = !problems.is_empty();
    if !in_part {
        problems = checks::check(&loaded);
    }
    Survey { loaded, problems, in_part }
}

/// Whether two paths are written alike but for a `./`.
fn is_same_place(one: &Path, other: &Path) -> bool {
    let named = |path: &Path| -> PathBuf { path.components().filter(|part| *part != Component::CurDir).collect() };
    named(one) == named(other)
}

#[derive(Default)]
struct Layers {
    values: BTreeMap<&'static str, (Value, Origin)>,
    problems: Vec<Problem>,
}

impl Layers {
    fn file(&mut self, sources: &Sources) -> Option<PathBuf> {
        let named_by_environment = || {
            let variable = sources.environment.iter().find(|(name, _)| name == CONFIG_VARIABLE);
            variable.map(|(_, path)| PathBuf::from(path))
        };
        let named = sources.file.clone().or_else(named_by_environment);
        let path = named.or_else(|| sources.default_file.clone().filter(|path| path.exists()))?;
        let (values, problems) = file::read(&path);
        self.problems.extend(problems);
        self.values.extend(values.into_iter().map(|v| (v.setting.key, (v.value, v.origin))));
        Some(path)
    }

    fn environment(&mut self, sources: &Sources) {
        for (name, value) in &sources.environment {
            let name = name.to_string_lossy();
            if !name.starts_with("MONARCH_") || settings::is_no_setting(&name) {
                continue;
            }
            let origin = Origin::Environment(name.to_string());
            let setting = SETTINGS.iter().find(|setting| setting.variable() == name);
            match (setting, value.to_str()) {
                (None, _) => self.problems.push(Problem::new(origin, None, "no setting has this variable")),
                (Some(setting), None) => {
                    self.problems.push(Problem::new(origin, setting.key.to_owned(), "not UTF-8"));
                }
                (Some(setting), Some(value)) => self.set(setting, value, origin),
            }
        }
    }

    fn given(&mut self, sources: &Sources) {
        for Given { flag, key, value } in &sources.given {
            let origin = Origin::Flag(flag.clone());
            match settings::find(key) {
                Some(setting) => self.set(setting, value, origin),
                None => self.problems.push(Problem::new(origin, key.clone(), "no such key")),
            }
        }
    }

    fn set(&mut self, setting: &'static Setting, text: &str, origin: Origin) {
        match setting.kind.read(text) {
            Some(value) => {
                self.values.insert(setting.key, (value, origin));
            }
            None => {
                let shown: String = text.chars().take(60).collect();
                let message = format!("expected {}, found {shown:?}", setting.kind.expected());
                self.problems.push(Problem::new(origin, setting.key.to_owned(), message));
            }
        }
    }

    /// What the values make together; those that don't fit are left out, as a problem each.
    fn build(&mut self) -> Config {
        loop {
            let error = match self.try_to_build() {
                Ok(config) => return config,
                Err(error) => error,
            };
            let culprits = self.culprits(&error);
            let count = self.values.len();
            self.values.retain(|key, _| !culprits.iter().any(|problem| problem.key.as_deref() == Some(key)));
            let none_found = self.values.len() == count;
            self.problems.extend(culprits);
            if none_found {
                return Config::default();
            }
        }
    }

    fn try_to_build(&self) -> Result<Config, toml::de::Error> {
        let mut table = defaults();
        for (key, value) in ports::derived(&table, |key| self.values.get(key).map(|(value, _)| value)) {
            insert(&mut table, &key, value);
        }
        for (key, (value, _)) in &self.values {
            insert(&mut table, key, value.clone());
        }
        Config::deserialize(table)
    }

    /// The structures refuse a value that the table of settings let pass: finds out which.
    fn culprits(&self, whole: &toml::de::Error) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (key, (value, origin)) in &self.values {
            let mut table = defaults();
            insert(&mut table, key, value.clone());
            if let Err(error) = Config::deserialize(table) {
                problems.push(Problem::new(origin.clone(), (*key).to_owned(), error.message()));
            }
        }
        if problems.is_empty() {
            problems.push(Problem::new(Origin::Default, None, whole.message()));
        }
        problems
    }
}

fn defaults() -> Table {
    // Numbers, texts, booleans, arrays and tables of them, all of which TOML has; a test builds it.
    Table::try_from(Config::default()).unwrap_or_default()
}

/// Puts a value at a dotted key.
fn insert(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((first, rest)) => {
            let section = table.entry(first).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                insert(section, rest, value);
            }
        }
    }
}

/// The effective configuration as a TOML file, each line with the origin of its value.
impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = Value::try_from(&self.config).map_err(|_| fmt::Error)?;
        let mut sections: Vec<&str> = Vec::new();
        for section in SETTINGS.iter().map(Setting::section) {
            if !sections.contains(&section) {
                sections.push(section);
            }
        }
        for section in sections {
            writeln!(f, "[{section}]")?;
            for setting in SETTINGS.iter().filter(|setting| setting.section() == section) {
                match setting.key.split('.').try_fold(&whole, |value, name| value.get(name)) {
                    Some(value) => writeln!(f, "{} = {value}  # {}", setting.name(), self.origin(setting.key))?,
                    None => writeln!(f, "# {} is not set", setting.name())?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(flag: &str, key: &str, value: &str) -> Given {
        Given { flag: flag.into(), key: key.into(), value: value.into() }
    }

    fn variables(all: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        all.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.toml");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[track_caller]
    fn problems(sources: &Sources) -> Vec<String> {
        load(sources).unwrap_err().0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let (_dir, path) = file("[notification]\ncapacity = 1\nping_secs = 1\ngrace_secs = 1\n");
        let loaded = load(&Sources {
            file: Some(path.clone()),
            default_file: None,
            environment: variables(&[
                ("MONARCH_NOTIFICATION_CAPACITY", "2"),
                ("MONARCH_NOTIFICATION_PING_SECS", "2"),
                ("MONARCH_CQL", "anything"),
                ("MONARCH_CQL_REQUIRED", "1"),
                ("MONARCH_CQL_DIR", "anywhere"),
                ("PATH", "/bin"),
            ]),
            given: vec![
                given("--capacity", "notification.capacity", "3"),
                given("--set", "notification.capacity", "4"),
            ],
        })
        .unwrap();
        let notification = &loaded.config.notification;
        assert_eq!((notification.capacity, notification.ping_secs, notification.grace_secs), (4, 2, 1));
        assert_eq!(notification.identify_secs, 15);
        assert_eq!(*loaded.origin("notification.capacity"), Origin::Flag("--set".into()));
        assert_eq!(*loaded.origin("notification.grace_secs"), Origin::File(path, 4));
        assert_eq!(*loaded.origin("notification.identify_secs"), Origin::Default);
    }

    #[test]
    fn a_node_takes_one_key_and_keeps_the_defaults_of_the_others() {
        let (_dir, path) = file("[switchboard.node]\nid = 'sb-seven'\n");
        let loaded = load(&Sources { file: Some(path), ..Sources::default() }).unwrap();
        let expected = crate::config::NodeConfig { id: "sb-seven".into(), ..Config::default().switchboard.node };
        assert_eq!(loaded.config.switchboard.node, expected);
    }

    #[test]
    fn nothing_set_is_the_defaults() {
        let loaded = load(&Sources::default()).unwrap();
        assert_eq!(Table::try_from(&loaded.config).unwrap(), Table::try_from(Config::default()).unwrap());
        assert!(!defaults().is_empty());
    }

    #[test]
    fn a_store_is_made_at_the_default_path_whoever_names_it() {
        let creates = |sources: &Sources| load(sources).unwrap().config.store.create;
        let by_file = |path: &str| {
            let (_dir, file) = file(&format!("[store]\npath = '{path}'\n"));
            creates(&Sources { file: Some(file), ..Sources::default() })
        };
        let by_variable = |path: &str| {
            let environment = variables(&[("MONARCH_STORE_PATH", path)]);
            creates(&Sources { environment, ..Sources::default() })
        };
        assert!(creates(&Sources::default()));
        for (path, is_default) in
            [("data", true), ("./data/", true), ("dta", false), ("/data", false), ("..", false)]
        {
            assert_eq!((by_file(path), by_variable(path)), (is_default, is_default), "{path}");
        }
    }

    #[test]
    fn problems_name_file_line_and_key() {
        let text = "[dispatch.http]\n# a comma\nda_login = 'login.example.com/,lc=1033'\n\n\
                    [notification]\nchallenge_secs = 0\nchallenge_close_wrong = 'no'\n";
        let (_dir, path) = file(text);
        let at = |line: usize, key: &str| format!("{}:{line}: {key}: ", path.display());
        let found = problems(&Sources { file: Some(path.clone()), ..Sources::default() });
        for (line, key) in [(6, "notification.challenge_secs"), (7, "notification.challenge_close_wrong")] {
            assert!(found.iter().any(|problem| problem.starts_with(&at(line, key))), "{found:?}");
        }
        // What a value means together with others is asked once each can be read.
        let (_dir, path) = file(&text.lines().take(3).collect::<Vec<_>>().join("\n"));
        let at = format!("{}:3: dispatch.http.da_login: expected an address without a comma", path.display());
        let found = problems(&Sources { file: Some(path), ..Sources::default() });
        assert!(found.len() == 1 && found[0].starts_with(&at), "{found:?}");
    }

    #[test]
    fn problems_name_the_variable_or_the_flag() {
        let found = problems(&Sources {
            environment: variables(&[("MONARCH_STORE_PAHT", "x"), ("MONARCH_LOG_FORMAT", "xml")]),
            given: vec![given("--listen", "switchboard.listen", "here"), given("--set", "no.key", "1")],
            ..Sources::default()
        });
        assert_eq!(
            found,
            [
                "MONARCH_STORE_PAHT: no setting has this variable",
                "MONARCH_LOG_FORMAT: log.format: expected text or json, found \"xml\"",
                "--listen: switchboard.listen: expected an IP address with a port, such as 127.0.0.1:1863, \
                 found \"here\"",
                "--set: no.key: no such key",
            ]
        );
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let found = problems(&Sources { file: Some("/no/such/file".into()), ..Sources::default() });
        assert!(found[0].starts_with("/no/such/file: can't be read: "), "{found:?}");
        let environment = variables(&[("MONARCH_CONFIG", "/no/such/file")]);
        assert_eq!(problems(&Sources { environment, ..Sources::default() }), found);
        let default_file = Some("/no/such/file".into());
        assert!(load(&Sources { default_file, ..Sources::default() }).unwrap().file.is_none());
    }

    #[test]
    fn what_is_printed_loads_to_the_same() {
        let given = vec![given("--set", "dispatch.advertise", "192.0.2.1:1863")];
        let loaded = load(&Sources { given, ..Sources::default() }).unwrap();
        let printed = loaded.to_string();
        assert!(printed.contains("advertise = \"192.0.2.1:1863\"  # --set\n"), "{printed}");
        let (_dir, path) = file(&printed);
        let again = load(&Sources { file: Some(path), ..Sources::default() }).unwrap();
        assert_eq!(Table::try_from(&again.config).unwrap(), Table::try_from(&loaded.config).unwrap());
    }
}
