//! The `monarch` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    common::process::keep_to_itself();
    cli::run()
}
