//! Flags over environment over file.

use super::Config;

/// Which program reads the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `dispatch`
    Dispatch,
    /// `notification`
    Notification,
    /// `switchboard`
    Switchboard,
}

/// The configuration of a tier's process, from its command line, its environment and its file. Ends the process
/// with exit code 2 and an error that names the place if anything is wrong; serves `--help` and `--version`.
#[must_use]
pub fn from_command_line(program: Program) -> Config {
    let _ = program;
    unimplemented!()
}
