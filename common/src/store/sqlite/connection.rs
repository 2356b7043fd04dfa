//! How a database file is opened.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::files;
use crate::store::{Result, StoreError};

/// How long a statement waits for another process: below the 4 s that a call may take.
const BUSY_BOUND: Duration = Duration::from_millis(3_000);
/// How long the opening of a store waits for another process that creates or migrates it.
const OPENING_BOUND: Duration = Duration::from_secs(30);

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It may write.
    Writer,
    /// It never does.
    Reader,
}

/// Opens a database file that [`create`] has made.
pub(super) fn connect(file: &Path, role: Role) -> Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(without_links(file), flags)?;
    connection.busy_handler(Some(busy_handler()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "query_only", role == Role::Reader)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// The path with a directory that is no link: SQLite refuses a path with a link anywhere in it, and operators may have reasons for
/// one to the directory, but nobody for one to the file.
fn without_links(file: &Path) -> PathBuf {
    let directory = file.parent().and_then(|directory| fs::canonicalize(directory).ok());
    directory.zip(file.file_name()).map_or_else(|| file.into(), |(directory, name)| directory.join(name))
}

/// Turns the write-ahead log on, for this file and from now on.
pub(super) fn use_wal(connection: &Connection) -> Result<()> {
    let switch = || connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0));
    let mode = patiently(switch)?;
    // After a burst the log is cut back to this many bytes.
    connection.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |_| Ok(()))?;
    if mode == "wal" {
        return Ok(());
    }
    let text = "this file system can't carry a write-ahead log; put store.path on a local disk";
    Err(StoreError::Refused(text.into()))
}

/// Repeats what another process may keep from happening for long while a store is opened.
pub(super) fn patiently<T>(mut work: impl FnMut() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let start = Instant::now();
    loop {
        match work() {
            Err(error) if is_busy(&error) && start.elapsed() < OPENING_BOUND => pause(Duration::from_millis(2)),
            done => return done,
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// SQLite's own handler backs off up to 100 ms between tries, and among busy processes who waits longest asks most
/// rarely. This one asks every 100–300 µs.
fn busy_handler() -> impl FnMut(i32) -> bool + Send + 'static {
    let mut since = Instant::now();
    move |count| {
        if count == 0 {
            since = Instant::now();
        }
        let jitter = getrandom::u32().unwrap_or(0) % 200;
        pause(Duration::from_micros(100 + u64::from(jitter)));
        since.elapsed() < BUSY_BOUND
    }
}

/// Sleeps. Only for threads of the store's own, and for the one that opens it.
#[expect(clippy::disallowed_methods, reason = "no runtime works on these threads")]
pub(super) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Creates the directory (0700) and the file (0600) where they are missing.
pub(super) fn create(directory: &Path, file: &Path) -> Result<()> {
    create_directory(directory).map_err(|error| cannot_create(directory, &error))?;
    create_file(file).map_err(|error| cannot_create(file, &error))
}

fn create_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    files::create_directory(directory)?;
    // Its name must last as long as what is in it.
    fs::canonicalize(directory)?.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

/// SQLite gives its other files the mode of this one; by itself it would take 0644.
fn create_file(file: &Path) -> io::Result<()> {
    // Closing a file drops all POSIX locks that this process has on it, those of SQLite included. So it is opened
    // only when nobody can have it open, and nobody passes here before it is closed again.
    static CREATING: Mutex<()> = Mutex::new(());
    let _creating = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
    match files::create_new(file, files::PRIVATE) {
        Ok(created) => created.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => files::is_ours(file),
        Err(error) => Err(error),
    }
}

fn cannot_create(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Refused(format!("cannot create {}: {error}; is store.path right?", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn nobody_else_reads_the_files() {
        let top = tempfile::tempdir().unwrap();
        let directory = top.path().join("a/data");
        let file = directory.join("accounts.db");
        create(&directory, &file).unwrap();
        create(&directory, &file).unwrap();
        let connection = connect(&file, Role::Writer).unwrap();
        use_wal(&connection).unwrap();
        connection.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&directory), 0o700);
        for name in ["accounts.db", "accounts.db-wal", "accounts.db-shm"] {
            assert_eq!(mode(&directory.join(name)), 0o600, "{name}");
        }
    }

    #[test]
    fn a_link_leads_to_no_database_but_may_lead_to_its_directory() {
        let top = tempfile::tempdir().unwrap();
        let path = |name: &str| top.path().join(name);
        create(&path("data"), &path("data/x.db")).unwrap();
        std::os::unix::fs::symlink(path("data/x.db"), path("data/link.db")).unwrap();
        let error = create(&path("data"), &path("data/link.db")).unwrap_err().to_string();
        assert!(error.contains("is a link"), "{error}");
        assert!(connect(&path("data/link.db"), Role::Writer).is_err());
        std::os::unix::fs::symlink(path("data"), path("elsewhere")).unwrap();
        create(&path("elsewhere"), &path("elsewhere/x.db")).unwrap();
        connect(&path("elsewhere/x.db"), Role::Writer).unwrap();
    }

    #[test]
    fn a_reader_does_not_write() {
        let top = tempfile::tempdir().unwrap();
        let file = top.path().join("x.db");
        create(top.path(), &file).unwrap();
        let reader = connect(&file, Role::Reader).unwrap();
        assert!(reader.execute_batch("CREATE TABLE t (x)").is_err());
    }

    #[test]
    fn waiting_for_another_process_ends_below_the_bound_of_a_call() {
        let top = tempfile::tempdir().unwrap();
        let file = top.path().join("x.db");
        create(top.path(), &file).unwrap();
        let (one, other) = (connect(&file, Role::Writer).unwrap(), connect(&file, Role::Writer).unwrap());
        one.execute_batch("BEGIN IMMEDIATE").unwrap();
        let start = Instant::now();
        let error = other.execute_batch("BEGIN IMMEDIATE").unwrap_err();
        assert!(is_busy(&error));
        assert!(start.elapsed() >= BUSY_BOUND && start.elapsed() < Duration::from_secs(4));
    }
}
