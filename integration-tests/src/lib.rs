//! A whole deployment for tests: the real binaries, on ports that the system chooses, with data of its own.

#![warn(missing_docs)]

pub mod accounts;
pub mod admin;
pub mod binaries;
pub mod chaos;
pub mod checker;
pub mod client;
pub mod conformance;
pub mod hosts;
mod left_out;
pub mod nodes;
pub mod people;
mod process;
pub mod stored;
mod suite;
mod world;

pub use binaries::program;
pub use left_out::left_out;
pub use process::Process;
pub use suite::Suite;
pub use world::{Plan, World};
