//! The password prompt at a terminal, and output that nobody reads.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, ioctl_tiocsctty, kill_process, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

fn monarch(directory: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_monarch"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MONARCH_")) {
        command.env_remove(name);
    }
    command.current_dir(directory).args(line.split_whitespace());
    command
}

fn directory_with_a_store() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let made = monarch(directory.path(), "store create").stdout(Stdio::null()).status().unwrap();
    assert!(made.success());
    directory
}

/// A program at a terminal of its own.
struct AtTerminal {
    /// Where a person types and reads.
    person: File,
    terminal: OwnedFd,
    /// How the terminal was before the program began.
    before: LocalModes,
    child: Child,
}

impl AtTerminal {
    fn start(mut command: Command) -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap();
        let terminal = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let before = tcgetattr(&terminal).unwrap().local_modes;
        let end = || Stdio::from(terminal.try_clone().unwrap());
        command.stdin(end()).stdout(end()).stderr(end());
        let own = || {
            setsid()?;
            ioctl_tiocsctty(rustix::stdio::stdin())?;
            Ok(())
        };
        // SAFETY: between fork and exec only two system calls are made, which take no lock and no memory.
        unsafe {
            command.pre_exec(own);
        }
        Self { person: person.into(), terminal: terminal.into(), before, child: command.spawn().unwrap() }
    }

    /// Reads until that stands on the screen.
    fn until(&mut self, expected: &str) -> String {
        let mut screen = Vec::new();
        let mut bytes = [0; 256];
        while !String::from_utf8_lossy(&screen).contains(expected) {
            let count = self.person.read(&mut bytes).unwrap_or(0);
            assert!(count > 0, "{}", String::from_utf8_lossy(&screen));
            screen.extend_from_slice(&bytes[..count]);
        }
        String::from_utf8_lossy(&screen).into_owned()
    }

    fn local_modes(&self) -> LocalModes {
        tcgetattr(self.terminal.as_fd()).unwrap().local_modes
    }
}

#[test]
fn a_signal_at_the_prompt_leaves_the_terminal_as_it_was() {
    let directory = directory_with_a_store();
    for (typed, signal, code) in [
        (Some("abc\x03"), None, 130),
        (None, Some(Signal::INT), 130),
        (None, Some(Signal::TERM), 143),
        (None, Some(Signal::HUP), 129),
    ] {
        for prompts in [&["Password for"][..], &["Password for", "Once more"]] {
            let mut at = AtTerminal::start(monarch(directory.path(), "user add dora@example.com"));
            let before = at.before;
            assert!(before.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
            for (index, prompt) in prompts.iter().enumerate() {
                at.until(prompt);
                // The prompt is written before the terminal is told not to show what is typed.
                while at.local_modes().contains(LocalModes::ECHO) {
                    std::thread::yield_now();
                }
                if index + 1 < prompts.len() {
                    at.person.write_all(b"wonderland\n").unwrap();
                }
            }
            if let Some(typed) = typed {
                at.person.write_all(typed.as_bytes()).unwrap();
            }
            if let Some(signal) = signal {
                kill_process(Pid::from_child(&at.child), signal).unwrap();
            }
            let status = at.child.wait().unwrap();
            assert_eq!(status.code(), Some(code), "{status} {typed:?} {signal:?}");
            assert_eq!(at.local_modes(), before, "{typed:?} {signal:?} {prompts:?}");
        }
    }
    let mut list = monarch(directory.path(), "user list");
    let list = String::from_utf8(list.output().unwrap().stdout).unwrap();
    assert!(!list.contains("dora"), "{list}");
}

#[test]
fn a_password_is_typed_unseen() {
    let directory = directory_with_a_store();
    let mut at = AtTerminal::start(monarch(
        directory.path(),
        "user add dora@example.com --set accounts.argon2_memory_kib=8",
    ));
    let mut screen = String::new();
    for prompt in ["Password for", "Once more"] {
        screen += &at.until(prompt);
        while at.local_modes().contains(LocalModes::ECHO) {
            std::thread::yield_now();
        }
        at.person.write_all(b"wonderland\n").unwrap();
    }
    screen += &at.until("created dora@example.com");
    assert!(at.child.wait().unwrap().success());
    assert!(!screen.contains("wonderland"), "{screen}");
}

#[test]
fn output_that_nobody_reads_is_no_panic() {
    let directory = directory_with_a_store();
    let scenario = directory.path().join("a.txt");
    std::fs::write(&scenario, "# nothing\nconnect A dispatch\n").unwrap();
    for line in [
        "user list",
        "user --help",
        "--help",
        "--version",
        "store create",
        "store migrate",
        "history list dora@example.com",
        "history show dora@example.com emil@example.com",
        "message send dora@example.com emil@example.com x",
        "broadcast x",
        "sign-out --all",
        "scenario check a.txt",
        "scenario run a.txt",
        "up --set store.path=nowhere",
        "nonsense",
    ] {
        for also_errors in [false, true] {
            let closed = || {
                let (reader, writer) = std::io::pipe().unwrap();
                drop(reader);
                Stdio::from(writer)
            };
            let mut command = monarch(directory.path(), line);
            command.stdin(Stdio::null()).stdout(closed());
            command.stderr(if also_errors { closed() } else { Stdio::piped() });
            let output = command.spawn().unwrap().wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!said.contains("panicked"), "{line}: {said}");
            // 101 is a panic; a signal has no code.
            assert!(output.status.code().is_some_and(|code| code < 4), "{line}: {} {said}", output.status);
        }
    }
}
