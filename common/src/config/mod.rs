//! Configuration: one TOML file for all processes of a deployment, environment and flags over it.
//!
//! The structures here are the whole truth about keys and defaults. An unknown key or a bad value stops the start
//! and names file, line and key. Never `#[serde(flatten)]`: positions vanish, and unknown keys pass.

mod load;
mod sections;

pub use load::{Program, from_command_line};
pub use sections::{
    AccountsConfig, ClusterConfig, Config, DispatchConfig, DnsConfig, HttpConfig, LogConfig, LogFormat,
    NodeConfig, NotificationConfig, StoreConfig, StoreKind, SwitchboardConfig,
};
