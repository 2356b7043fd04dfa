//! Asking for a password at the terminal. Whatever ends that, the terminal is afterwards as it was.

use std::fs::File;
use std::io::ErrorKind;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

use crate::Failure;
use crate::terminal::say;

/// How the terminal is set while nobody asks for a password: what is typed shows, and Ctrl-C is a signal.
struct Before {
    terminal: File,
    modes: Termios,
}

impl Before {
    /// Nothing where there is no terminal.
    fn now() -> Option<Self> {
        let terminal = File::options().read(true).write(true).open("/dev/tty").ok()?;
        let modes = tcgetattr(&terminal).ok()?;
        Some(Self { terminal, modes })
    }

    fn restore(&self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.modes);
    }
}

/// From now on a signal that ends this process sets the terminal as it is now before it does. Call it before the first
/// [`prompt`].
pub(crate) fn keep_terminal() -> std::io::Result<()> {
    let before = Before::now();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut quit = signal(SignalKind::quit())?;
    tokio::spawn(async move {
        let kind = tokio::select! {
            _ = interrupt.recv() => SignalKind::interrupt(),
            _ = terminate.recv() => SignalKind::terminate(),
            _ = hangup.recv() => SignalKind::hangup(),
            _ = quit.recv() => SignalKind::quit(),
        };
        if let Some(before) = &before {
            before.restore();
        }
        say("");
        // As shells know it. A thread that still reads goes with the process.
        std::process::exit(128 + kind.as_raw_value());
    });
    Ok(())
}

/// Asks for a line that does not show while it is typed.
pub(crate) async fn prompt(text: String) -> Result<String, Failure> {
    let asked = tokio::task::spawn_blocking(move || rpassword::prompt_password(text)).await;
    match asked.map_err(Failure::failed)? {
        Ok(password) => Ok(password),
        // Ctrl-C: the signal for it is on its way to who was told to keep the terminal.
        Err(error) if error.kind() == ErrorKind::Interrupted => std::future::pending().await,
        Err(error) => Err(Failure::failed(format!(
            "there is no terminal to ask for the password ({error}); use --password-stdin"
        ))),
    }
}
