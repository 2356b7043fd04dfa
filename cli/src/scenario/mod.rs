//! Scenarios: plain text files that say who connects where, what is sent and what must come back.
//!
//! The language is described for testers in `integration-tests/scenarios/README.md`; the statements that it has
//! beyond its own (`sign-in`, `chat`, …) are written in it, in `prelude.txt`.
//!
//! | file | what |
//! |---|---|
//! | `parse`, `statement`, `template`, `kind`, `dialects`, `needs` | text to a `script` |
//! | `play`, `expect`, `deeds`, `scope`, `functions` | playing it |
//! | `record` | what a playing has shown of the protocol |
//! | `connection`, `passport` | the client's end of TCP and of the sign-in over HTTP |
//! | `accounts`, `clean` | accounts and lists, made in the store of the deployment, and removed |
//! | `suite`, `parallel`, `outcome`, `summary`, `junit`, `command` | many files, and what became of each; `monarch scenario run` |

mod accounts;
mod clean;
mod command;
mod connection;
mod deeds;
mod deployment;
mod dialects;
mod expect;
mod failure;
mod functions;
mod junit;
mod kind;
mod needs;
mod outcome;
mod parallel;
mod parse;
mod passport;
mod pattern;
mod play;
mod record;
mod scope;
mod script;
mod statement;
mod suite;
mod summary;
mod template;
#[cfg(test)]
mod tests;

pub use accounts::AccountSource;
pub use command::{RunArgs, ScenarioCommand, command};
pub use deployment::Deployment;
pub use failure::{Failure, FailureKind};
pub use outcome::Outcome;
pub use parallel::play_all;
pub use parse::SyntaxError;
pub use record::{Direction, Shown};
pub use suite::{Chain, LoadError, RunId, load};
