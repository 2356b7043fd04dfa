//! The way of the log's lines to standard error: nobody who logs waits for whoever reads them.
//!
//! A thread of its own writes. What it can't write, since its reader has stopped, waits here up to [`ROOM`] and is left out beyond
//! that, which is counted and said in the log itself. `tracing-appender` does nearly this; but its bound is in lines and not in bytes, it
//! can't be waited for but by ending it, and where it has to leave its last lines it says so on standard output.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// The most bytes of lines that wait for their reader; as many more are being written.
const ROOM: usize = 1024 * 1024;
/// How long the last lines of a process may take.
const LAST: Duration = Duration::from_secs(1);
/// Between two tries to write to what does not wait.
const AGAIN: Duration = Duration::from_millis(20);

/// Those of this process.
static OWN: OnceLock<Lines> = OnceLock::new();
/// Lines that were left out.
static LEFT_OUT: AtomicU64 = AtomicU64::new(0);

/// Where lines are put in. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to write.
    arrived: Condvar,
    /// All is written.
    written: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Batch,
    /// Left out since the last batch.
    left_out: u64,
    writing: bool,
}

/// Whole lines.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: u64,
}

/// How many lines of this process's log were left out.
pub(super) fn left_out() -> u64 {
    LEFT_OUT.load(Ordering::Relaxed)
}

/// Waits until what this process has logged is written, one second at most: before it ends in a way that nothing else notices.
pub fn flush_logs() {
    flush_within(LAST);
}

pub(super) fn flush_within(patience: Duration) {
    if let Some(lines) = OWN.get() {
        lines.flush(patience);
    }
}

/// Says why the process ends, behind its log if there is one.
pub(crate) fn last_word(text: &str) {
    match OWN.get() {
        Some(lines) => {
            lines.put(text.as_bytes());
        }
        // It may be closed.
        None => drop(io::stderr().write_all(text.as_bytes())),
    }
}

/// Dropping it waits for the last lines of the process: keep it in `main`, so that it comes after everything that logs.
#[derive(Debug)]
pub(crate) struct LastLines;

impl Drop for LastLines {
    fn drop(&mut self) {
        flush_logs();
    }
}

impl Lines {
    /// The lines of this process, on their way to standard error from now on.
    pub(super) fn to_stderr() -> io::Result<Self> {
        let lines = OWN.get_or_init(Self::default).clone();
        // Not by the standard library's handle: whoever waits for the reader would hold its lock.
        let stderr = std::fs::File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let writer = lines.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_to(stderr))?;
        Ok(lines)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts one line in, or leaves it out. Returns whether it is in.
    fn put(&self, line: &[u8]) -> bool {
        let mut queue = self.lock();
        if queue.waiting.bytes.len() + line.len() > ROOM {
            queue.left_out += 1;
            LEFT_OUT.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        queue.waiting.bytes.extend_from_slice(line);
        queue.waiting.lines += 1;
        drop(queue);
        self.0.arrived.notify_one();
        true
    }

    fn write_to(&self, mut out: impl Write) {
        loop {
            let (batch, left_out) = self.next();
            if write_all(&mut out, &batch.bytes).is_err() {
                // Nobody reads any more, which is no reason to end.
                LEFT_OUT.fetch_add(batch.lines, Ordering::Relaxed);
            }
            if left_out > 0 {
                tracing::warn!(lines = left_out, "lines of the log were left out here, since nobody read it");
            }
        }
    }

    /// What is to be written next, and how many lines were left out after that. The batch before it is written.
    fn next(&self) -> (Batch, u64) {
        let mut queue = self.lock();
        queue.writing = false;
        while queue.waiting.bytes.is_empty() {
            self.0.written.notify_all();
            queue = self.0.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        queue.writing = true;
        (std::mem::take(&mut queue.waiting), std::mem::take(&mut queue.left_out))
    }

    /// Waits until all is written, so long at most. Returns whether it is.
    fn flush(&self, patience: Duration) -> bool {
        let is_under_way = |queue: &mut Queue| queue.writing || !queue.waiting.bytes.is_empty();
        let waited = self.0.written.wait_timeout_while(self.lock(), patience, is_under_way);
        let (queue, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(queue);
        !outcome.timed_out()
    }
}

/// Also to what does not wait for its reader: whoever has opened it may have wished so.
#[expect(clippy::disallowed_methods, reason = "a thread of its own sleeps")]
fn write_all(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(AGAIN),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// One line each time that something is written, as `tracing-subscriber` does it.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Lines into a pipe, and its other end.
    fn piped() -> (Lines, io::PipeReader) {
        let ((reader, writer), lines) = (io::pipe().unwrap(), Lines::default());
        let writes = lines.clone();
        thread::spawn(move || writes.write_to(writer));
        (lines, reader)
    }

    fn line(number: usize) -> String {
        format!("{number:0>1023}\n")
    }

    #[test]
    fn a_stopped_reader_holds_nobody_up_and_finds_what_there_was_room_for() {
        let (lines, mut reader) = piped();
        let begun = std::time::Instant::now();
        let kept: Vec<_> = (0..4096).filter(|number| lines.put(line(*number).as_bytes())).collect();
        assert!(begun.elapsed() < PATIENCE, "four times as much as there is room for, and nobody has read");
        assert!(!lines.flush(Duration::from_millis(10)));
        assert!(kept.len() < 4096 && kept.len() >= ROOM / 1024, "{} of 4096", kept.len());
        assert!(left_out() >= 4096 - kept.len() as u64);
        let mut read = vec![0; kept.len() * 1024];
        reader.read_exact(&mut read).unwrap();
        let expected: Vec<u8> = kept.iter().flat_map(|number| line(*number).into_bytes()).collect();
        assert!(read == expected);
        assert!(lines.flush(PATIENCE));
        assert!(lines.put(b"there is room again\n"));
        let mut read = [0; 20];
        reader.read_exact(&mut read).unwrap();
        assert_eq!((&read, lines.flush(PATIENCE)), (b"there is room again\n", true));
    }

    #[test]
    fn a_reader_that_is_gone_holds_nobody_up_either() {
        let (lines, reader) = piped();
        drop(reader);
        let before = left_out();
        assert!(lines.put(b"one\n") && lines.put(b"two\n"));
        assert!(lines.flush(PATIENCE));
        assert!(left_out() >= before + 2);
    }

    /// Takes three bytes at a time, and is in no hurry.
    #[derive(Default)]
    struct Slow {
        taken: Vec<u8>,
        turn: usize,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.turn += 1;
            match self.turn % 3 {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                1 => Err(io::ErrorKind::Interrupted.into()),
                _ => {
                    let some = &bytes[..bytes.len().min(3)];
                    self.taken.extend_from_slice(some);
                    Ok(some.len())
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_takes_a_part_or_nothing_gets_it_all() {
        let mut slow = Slow::default();
        write_all(&mut slow, b"0123456789").unwrap();
        assert_eq!(slow.taken, b"0123456789");
    }
}
