//! Configuration: one TOML file for all processes of a deployment, environment and flags over it.
//!
//! The structures in `sections` are the whole truth about keys and defaults. An unknown key or a bad value stops the
//! start and names its place: file, line and key, or the variable, or the flag. Never `#[serde(flatten)]`: positions
//! vanish, and unknown keys pass.
//!
//! | file | what |
//! |---|---|
//! | `sections` | the keys and their defaults |
//! | `settings`, `kind` | the table from which flags, variables and `--help` follow |
//! | `file` | reading TOML, with the line of every value |
//! | `load` | the layers: defaults < file < environment < flags |
//! | `checks`, `listeners` | what single values can't show |
//! | `ports` | the ports of a second node of a tier on one machine |
//! | `command_line` | the command line of the three programs |

mod checks;
mod command_line;
#[cfg(test)]
mod example;
mod file;
mod kind;
mod listeners;
mod load;
mod ports;
mod problem;
mod sections;
mod settings;

pub use checks::collisions;
pub use command_line::{CommandLine, Program, Wish, command_line, flags, general_flags, given};
pub use kind::Kind;
pub use listeners::Listening;
pub use load::{CONFIG_VARIABLE, DEFAULT_FILE, Given, Loaded, Sources, Survey, differing, load, survey};
pub use ports::explained;
pub use problem::{ConfigError, Origin, Problem};
pub use sections::{
    AccountsConfig, ClusterConfig, Config, DispatchConfig, DnsConfig, ForwardedHeader, HttpConfig, HttpsConfig,
    LogConfig, LogFormat, NodeConfig, NotificationConfig, ProxiesConfig, ScyllaConfig, StoreConfig,
    StoreConsistency, StoreKind, SwitchboardConfig,
};
pub use settings::{SETTINGS, Setting};
