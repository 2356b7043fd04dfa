//! Looking at the files of a store without changing anything.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use uuid::Uuid;

use super::database::within;
use super::different_stores;
use super::schema::{self, Schema, recognise, too_new};
use crate::files;
use crate::store::{Result, StoreError};

/// Whether the files in `directory` could be opened, and of which versions they are, in words.
pub(super) fn look(directory: &Path) -> Result<Vec<String>> {
    let may_write = |path: &Path| {
        let refused = |error| StoreError::Refused(format!("{} can't be written: {error}", path.display()));
        files::is_writable(path).map_err(refused)
    };
    may_write(directory)?;
    let (mut words, mut ids) = (Vec::new(), Vec::new());
    for schema in [&schema::ACCOUNTS, &schema::HISTORY] {
        let file = directory.join(schema.file);
        if !file.exists() {
            words.push(format!("there is no {} yet: the next start makes it", file.display()));
            continue;
        }
        may_write(&file)?;
        let (version, id) = of_file(&file, schema).map_err(|error| within(&file.display().to_string(), error))?;
        let newest = schema.newest();
        words.push(match version {
            _ if version == newest => format!("{} has version {version}", file.display()),
            _ => format!("{} has version {version}; the next start brings it to {newest}", file.display()),
        });
        ids.extend(id);
    }
    if ids.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(different_stores(directory));
    }
    Ok(words)
}

/// The version of a file and the id of its store.
fn of_file(file: &Path, schema: &Schema) -> Result<(usize, Option<Uuid>)> {
    let connection = read_only(file)?;
    recognise(&connection, schema)?;
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name IN ('schema', 'store')";
    if connection.query_row(tables, [], |row| row.get::<_, i64>(0))? < 2 {
        return Ok((0, None));
    }
    let version = "SELECT coalesce(max(version), 0) FROM schema";
    let version = connection.query_row(version, [], |row| row.get::<_, u32>(0))? as usize;
    let newest = schema.newest();
    if version > newest {
        return Err(too_new(version, newest));
    }
    let id = connection.query_row("SELECT id FROM store", [], |row| row.get::<_, [u8; 16]>(0)).optional()?;
    Ok((version, id.map(Uuid::from_bytes)))
}

/// Opens a file so that nothing is made beside it. A log and its index are there as long as a process has the file open, and behind
/// a crash: then they are used. Otherwise all is in the file itself, and SQLite is told that nobody changes it: it would make them.
fn read_only(file: &Path) -> Result<Connection> {
    let beside = |suffix: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        Path::new(&name).exists()
    };
    let mode = if beside("-wal") && beside("-shm") { "mode=ro" } else { "mode=ro&immutable=1" };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let path = std::path::absolute(file).map_err(|error| StoreError::Refused(error.to_string()))?;
    let connection = Connection::open_with_flags(format!("file:{}?{mode}", escaped(&path)), flags)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

/// A path as it stands in a URI.
fn escaped(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().iter().fold(String::new(), |mut text, byte| {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => text.push(char::from(*byte)),
            byte => _ = write!(text, "%{byte:02X}"),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use super::super::SqliteStore;
    use super::*;

    /// The files of a directory, with what a write changes. The index of a log is memory that processes share.
    fn state(directory: &Path) -> BTreeMap<String, Option<(u64, SystemTime)>> {
        let mut state = BTreeMap::new();
        for entry in std::fs::read_dir(directory).unwrap() {
            let (name, about) = entry.map(|entry| (entry.file_name(), entry.metadata().unwrap())).unwrap();
            let name = name.into_string().unwrap();
            let written = (!name.ends_with("-shm")).then(|| (about.len(), about.modified().unwrap()));
            state.insert(name, written);
        }
        state
    }

    /// Copies what a crash would leave.
    fn crash(directory: &Path, to: &Path) {
        std::fs::create_dir(to).unwrap();
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }

    #[track_caller]
    fn finds(directory: &Path, files: usize) {
        let before = state(directory);
        assert_eq!(before.len(), files, "{before:?}");
        let newest =
            |schema: &Schema| format!("{} has version {}", directory.join(schema.file).display(), schema.newest());
        assert_eq!(look(directory).unwrap(), [newest(&schema::ACCOUNTS), newest(&schema::HISTORY)]);
        assert_eq!(state(directory), before);
    }

    #[test]
    fn a_look_says_the_versions_and_changes_nothing() {
        let top = tempfile::tempdir().unwrap();
        let (directory, crashed) = (top.path().join("a %?#ä"), top.path().join("crashed"));
        let store = SqliteStore::open(&directory).unwrap();
        finds(&directory, 6);
        crash(&directory, &crashed);
        finds(&crashed, 6);
        drop(store);
        finds(&directory, 2);
    }

    #[test]
    fn files_that_are_old_new_strange_or_of_two_stores_are_named() {
        let top = tempfile::tempdir().unwrap();
        let directory = top.path().join("data");
        drop(SqliteStore::open(&directory).unwrap());
        let file = |name: &str| directory.join(name);
        let change = |name: &str, sql: &str| Connection::open(file(name)).unwrap().execute_batch(sql).unwrap();
        let refusal = || look(&directory).unwrap_err().to_string();
        change("history.db", "UPDATE store SET id = randomblob(16)");
        assert!(refusal().contains("different stores"), "{}", refusal());
        change("history.db", "INSERT INTO schema (version, applied) VALUES (99, 0)");
        assert!(refusal().contains("newer Monarch") && refusal().contains("history.db: "), "{}", refusal());
        std::fs::remove_file(file("history.db")).unwrap();
        change("accounts.db", "DELETE FROM schema WHERE version > 1");
        let words = look(&directory).unwrap();
        assert!(
            words[0].ends_with(&format!("version 1; the next start brings it to {}", schema::ACCOUNTS.newest()))
        );
        assert!(words[1].starts_with("there is no ") && !file("history.db").exists(), "{words:?}");
        std::fs::write(file("history.db"), "").unwrap();
        assert!(look(&directory).unwrap()[1].contains("version 0"), "an empty file is one that was never filled");
        std::fs::write(file("history.db"), "no database, and longer than the head of one: ".repeat(9)).unwrap();
        assert!(refusal().contains("history.db: "), "{}", refusal());
    }
}
