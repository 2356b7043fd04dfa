//! A child that does not outlive us, not even when we are killed.

use std::io;

use rustix::io::Errno;
use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
use tokio::process::Command;

/// Has the kernel send the child SIGTERM when the thread that starts it ends (prctl(2), PR_SET_PDEATHSIG). Start it from
/// the main thread: one of the runtime's threads may end while the process goes on.
pub(super) fn end_with_us(command: &mut Command) {
    let us = getpid();
    let before_exec = move || -> io::Result<()> {
        set_parent_process_death_signal(Some(Signal::TERM))?;
        // We may have been killed before the line above; then nobody would send anything.
        if getppid() == Some(us) { Ok(()) } else { Err(Errno::SRCH.into()) }
    };
    // SAFETY: between fork and exec only what is safe in a signal handler is allowed. The closure makes two system
    // calls, prctl and getppid, and neither allocates nor takes a lock.
    unsafe { command.pre_exec(before_exec) };
}
