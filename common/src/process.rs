//! What every program does before anything else, and after it.

use std::future::Future;
use std::process::ExitCode;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::telemetry::{LastLines, last_word};

/// Runs a program to its end. What it has logged by then is written, also if it fails, which is said behind that, or panics. Call it
/// first in `main`, with nothing after it.
pub fn run(program: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    keep_to_itself();
    // Dropped after the runtime, whose tasks may still log.
    let _last_lines = LastLines;
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let ended = runtime.block_on(async {
        // From here on it ends nothing, though nobody reads anything again yet: that is still to be read for the first time.
        let _early = signal(SignalKind::hangup())?;
        program.await
    });
    drop(runtime);
    ended.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

fn failed(error: &anyhow::Error) -> ExitCode {
    last_word(&format!("Error: {error:?}\n"));
    ExitCode::FAILURE
}

/// Keeps to itself what the process knows: nothing that it makes is for others, whatever the umask was; no other process of
/// its user reads its memory; and no crash leaves that memory on a disk. Call it first in `main`, before there are threads.
pub fn keep_to_itself() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // Neither is worth not to start: a system that refuses has taken care of it, or can't do it.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

#[cfg(test)]
mod tests {
    use rustix::fs::Mode;
    use rustix::process::{dumpable_behavior, getrlimit, umask};

    use super::*;

    #[test]
    fn nothing_is_for_others() {
        keep_to_itself();
        let mask = Mode::from_raw_mode(0o077);
        assert_eq!(umask(mask), mask);
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
