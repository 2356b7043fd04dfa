//! The output of the children: into files, and readable to the console.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

use common::files;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};
use tokio::sync::oneshot;

use crate::terminal::harmless;

/// A longer line is cut into several.
const MAX_LINE: usize = 16 * 1024;
/// A log file that has grown beyond is moved aside, over the one that was moved before.
const MAX_FILE: u64 = 16 * 1024 * 1024;
/// Lines that wait for a console that is slow or stopped; more are left out there, never in the files.
const CONSOLE_LINES: usize = 1024;

/// Reads up to the next line end, but no more than [`MAX_LINE`]. Nothing at the end of the stream. Safe to cancel only
/// together with the stream.
pub(super) async fn next_line(input: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let chunk = input.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(if line.is_empty() { None } else { Some(line) });
        }
        let room = chunk.len().min(MAX_LINE - line.len());
        let chunk = &chunk[..room];
        let end = chunk.iter().position(|byte| *byte == b'\n');
        line.extend_from_slice(&chunk[..end.unwrap_or(room)]);
        let used = end.map_or(room, |end| end + 1);
        input.consume(used);
        if end.is_some() || line.len() == MAX_LINE {
            return Ok(Some(line));
        }
    }
}

/// A log file. What the run before wrote is beside it, as `NAME.log.1`.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    len: u64,
}

impl LogFile {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        if path.exists() {
            fs::rename(path, aside(path))?;
        }
        let file = files::create_log(path)?;
        Ok(Self { path: path.to_path_buf(), file, len: 0 })
    }

    pub(super) fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.len > MAX_FILE {
            *self = Self::create(&self.path)?;
        }
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line);
        bytes.push(b'\n');
        self.len += bytes.len() as u64;
        self.file.write_all(&bytes)
    }
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// The last lines of a file, set in, for an error message.
pub(super) fn tail(path: &Path) -> String {
    const BYTES: u64 = 8 * 1024;
    const LINES: usize = 15;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let start = file.metadata()?.len().saturating_sub(BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(BYTES).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    last.iter().map(|line| format!("    {}\n", harmless(line))).collect()
}

/// The console, for the lines of all children. One that does not take them holds nobody up.
#[derive(Clone)]
pub(super) struct Console {
    lines: SyncSender<String>,
}

impl Console {
    /// The console, and what resolves when all lines are shown and no clone of it is left.
    pub(super) fn open() -> (Self, oneshot::Receiver<()>) {
        let (lines, queue) = sync_channel::<String>(CONSOLE_LINES);
        let (done, when_done) = oneshot::channel();
        std::thread::spawn(move || {
            for line in queue {
                if writeln!(io::stderr().lock(), "{line}").is_err() {
                    break;
                }
            }
            let _ = done.send(());
        });
        (Self { lines }, when_done)
    }

    /// Shows a line of a child.
    pub(super) fn show(&self, name: &str, line: &[u8]) {
        let line = harmless(&String::from_utf8_lossy(line));
        let _ = self.lines.try_send(format!("{name:<12} | {line}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_cut_where_they_get_long() {
        let mut input = b"one\n\ntwo".to_vec();
        input.extend(vec![b'x'; MAX_LINE]);
        let mut reader = tokio::io::BufReader::with_capacity(7, &*input);
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut reader).await.unwrap() {
            lines.push(line);
        }
        assert_eq!(lines.len(), 4);
        assert_eq!((&*lines[0], &*lines[1]), (&b"one"[..], &b""[..]));
        assert_eq!((lines[2].len(), &*lines[3]), (MAX_LINE, &b"xxx"[..]));
    }

    #[test]
    fn a_file_is_moved_aside_when_it_is_full_and_at_a_new_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let mut log = LogFile::create(&path).unwrap();
        log.write(b"first").unwrap();
        log.len = MAX_FILE + 1;
        log.write(b"second").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
        assert_eq!(fs::read_to_string(dir.path().join("a.log.1")).unwrap(), "first\n");
        LogFile::create(&path).unwrap().write(b"third").unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("a.log.1")).unwrap(), "second\n");
        assert_eq!(tail(&path), "    third\n");
        assert_eq!(tail(&dir.path().join("none")), "");
    }
}
