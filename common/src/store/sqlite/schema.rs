//! The tables, and how files of earlier versions come to have them.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use uuid::Uuid;

use super::connection::patiently;
use crate::clock;
use crate::store::{Result, StoreError};

/// The tables of one file.
pub(super) struct Schema {
    /// The file's name.
    pub(super) file: &'static str,
    /// SQLite's `application_id`: tells the files from each other and from anybody else's.
    application: i32,
    /// One step for each version; a step that was released never changes.
    steps: &'static [&'static str],
}

impl Schema {
    /// The version that this program makes.
    pub(super) const fn newest(&self) -> usize {
        self.steps.len()
    }
}

/// Accounts and rosters.
pub(super) const ACCOUNTS: Schema = Schema {
    file: "accounts.db",
    application: i32::from_be_bytes(*b"MonA"),
    steps: &[
        include_str!("migrations/accounts_1.sql"),
        include_str!("migrations/accounts_2.sql"),
        include_str!("migrations/accounts_3.sql"),
        include_str!("migrations/accounts_4.sql"),
    ],
};

/// History and participations, in a file of their own so that chat never blocks a sign-in.
pub(super) const HISTORY: Schema = Schema {
    file: "history.db",
    application: i32::from_be_bytes(*b"MonH"),
    steps: &[
        include_str!("migrations/history_1.sql"),
        include_str!("migrations/history_2.sql"),
        include_str!("migrations/history_3.sql"),
    ],
};

/// Refuses a file that is somebody else's, before anything is changed in it.
///
/// # Errors
/// [`StoreError::Refused`] says which file it is not.
pub(super) fn recognise(connection: &Connection, schema: &Schema) -> Result<()> {
    let read = |sql| patiently(|| connection.query_row(sql, [], |row| row.get::<_, i64>(0)));
    let application = read("PRAGMA application_id")?;
    let fresh = application == 0 && read("SELECT count(*) FROM sqlite_schema")? == 0;
    if fresh || application == i64::from(schema.application) {
        return Ok(());
    }
    Err(StoreError::Refused(format!("this is not Monarch's {}; move it away", schema.file)))
}

/// Brings the file to the newest version, each step in a transaction of its own. Several processes may do so at once.
///
/// # Errors
/// [`StoreError::Refused`] if a newer program has written it.
pub(super) fn migrate(connection: &mut Connection, schema: &Schema) -> Result<()> {
    while !patiently(|| step(connection, schema))?? {}
    Ok(())
}

/// Takes the next step. True if there was none to take.
fn step(connection: &mut Connection, schema: &Schema) -> rusqlite::Result<Result<bool>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS schema (version INTEGER PRIMARY KEY, applied INTEGER NOT NULL) STRICT",
    )?;
    let version: usize = transaction
        .query_row("SELECT coalesce(max(version), 0) FROM schema", [], |row| row.get::<_, u32>(0))?
        as usize;
    let known = schema.newest();
    let Some(sql) = schema.steps.get(version) else {
        return Ok(if version == known { Ok(true) } else { Err(too_new(version, known)) });
    };
    transaction.execute_batch(sql)?;
    transaction.pragma_update(None, "application_id", schema.application)?;
    let applied = clock::wall_ms().cast_signed();
    transaction.execute("INSERT INTO schema (version, applied) VALUES (?, ?)", ((version + 1) as i64, applied))?;
    transaction.commit()?;
    Ok(Ok(false))
}

pub(super) fn too_new(version: usize, known: usize) -> StoreError {
    StoreError::Refused(format!(
        "a newer Monarch has written it (schema {version}, this program knows {known}); start that version, or restore a backup"
    ))
}

/// The store's id in this file; if there is none yet, `first` becomes it.
///
/// # Errors
/// [`StoreError::Corrupt`] if it is no id.
pub(super) fn store_id(connection: &mut Connection, first: Uuid) -> Result<Uuid> {
    let id = patiently(|| {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let read = |row: &rusqlite::Row<'_>| row.get::<_, [u8; 16]>(0);
        let there = transaction.query_row("SELECT id FROM store", [], read).optional()?;
        if there.is_none() {
            transaction.execute("INSERT INTO store (one, id) VALUES (1, ?)", [first.as_bytes()])?;
        }
        transaction.commit()?;
        Ok(there.map_or(first, Uuid::from_bytes))
    })?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::connection::{Role, connect, create, use_wal};
    use super::*;

    fn fresh(directory: &Path) -> Connection {
        let file = directory.join("x.db");
        create(directory, &file).unwrap();
        connect(&file, Role::Writer).unwrap()
    }

    fn version(connection: &Connection) -> u32 {
        connection.query_row("SELECT max(version) FROM schema", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn names_that_contacts_were_added_under_become_their_own() {
        const OLD: Schema = Schema { steps: &[include_str!("migrations/accounts_1.sql")], ..ACCOUNTS };
        let directory = tempfile::tempdir().unwrap();
        let mut connection = fresh(directory.path());
        migrate(&mut connection, &OLD).unwrap();
        connection
            .execute_batch(
                "INSERT INTO accounts (passport, claim, credential_epoch, password_hash, created, friendly_name,
                        list_version, lists_changed, settings_changed)
                    VALUES ('bob@x', x'01', 1, '', 0, 'Bob', 1, 0, 0);
                 INSERT INTO roster (owner, contact, label, own_name) VALUES ('alice@x', 'bob@x', 'Bob', 'Robert'),
                    ('carol@x', 'bob@x', 'Bobby', 'Bob'), ('dave@x', 'bob@x', 'Robert', 'Robert'),
                    ('erin@x', 'bob@x', 'Bob', NULL), ('erin@x', 'gone@x', 'Gone', NULL), ('erin@x', 'tel:+1', 'Bob', NULL)",
            )
            .unwrap();
        migrate(&mut connection, &ACCOUNTS).unwrap();
        let mut rows = connection.prepare("SELECT label, own_name FROM roster ORDER BY owner, contact").unwrap();
        let names = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let names: Vec<(Option<String>, Option<String>)> = names.map(rusqlite::Result::unwrap).collect();
        let name = |text: &str| Some(text.to_owned());
        assert_eq!(
            names,
            [
                (None, name("Bob")),
                (name("Bobby"), name("Bob")),
                (None, name("Robert")),
                (None, name("Bob")),
                (name("Gone"), None),
                (name("Bob"), None),
            ]
        );
    }

    #[test]
    fn networks_of_no_credentials_are_learnt_anew() {
        const OLD: Schema = Schema {
            steps: &[
                include_str!("migrations/accounts_1.sql"),
                include_str!("migrations/accounts_2.sql"),
                include_str!("migrations/accounts_3.sql"),
            ],
            ..ACCOUNTS
        };
        let directory = tempfile::tempdir().unwrap();
        let mut connection = fresh(directory.path());
        migrate(&mut connection, &OLD).unwrap();
        connection.execute_batch("INSERT INTO known_networks VALUES ('bob@x', x'01', x'02')").unwrap();
        migrate(&mut connection, &ACCOUNTS).unwrap();
        connection
            .execute_batch(
                "INSERT INTO known_networks (passport, network, epoch, seen) VALUES ('bob@x', '192.0.2.1', 1, 2);
                 INSERT INTO copies_owed (passport, mark) VALUES ('bob@x', 1)",
            )
            .unwrap();
        let known = connection.query_row("SELECT count(*) FROM known_networks", [], |row| row.get(0));
        assert_eq!(known, Ok(1));
    }

    #[test]
    fn steps_are_taken_once_and_in_order() {
        const OLD: Schema = Schema { file: "x.db", application: 7, steps: &["CREATE TABLE a (x)"] };
        const NEW: Schema =
            Schema { file: "x.db", application: 7, steps: &["CREATE TABLE a (x)", "ALTER TABLE a ADD COLUMN y"] };
        let directory = tempfile::tempdir().unwrap();
        let mut connection = fresh(directory.path());
        migrate(&mut connection, &OLD).unwrap();
        migrate(&mut connection, &OLD).unwrap();
        assert_eq!(version(&connection), 1);
        migrate(&mut connection, &NEW).unwrap();
        assert_eq!(version(&connection), 2);
        connection.execute_batch("SELECT x, y FROM a").unwrap();
        let error = migrate(&mut connection, &OLD).unwrap_err().to_string();
        assert!(error.contains("newer Monarch") && error.contains("schema 2"), "{error}");
    }

    #[test]
    fn a_step_that_fails_leaves_nothing_behind() {
        const BAD: Schema =
            Schema { file: "x.db", application: 7, steps: &["CREATE TABLE a (x); CREATE TABLE a (x)"] };
        let directory = tempfile::tempdir().unwrap();
        let mut connection = fresh(directory.path());
        assert!(migrate(&mut connection, &BAD).is_err());
        assert!(connection.execute_batch("SELECT x FROM a").is_err());
        assert_eq!(connection.query_row("PRAGMA application_id", [], |row| row.get(0)), Ok(0));
    }

    #[test]
    fn many_may_migrate_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let start = |_| {
            let path = directory.path().to_owned();
            std::thread::spawn(move || {
                let mut connection = fresh(&path);
                recognise(&connection, &HISTORY).unwrap();
                use_wal(&connection).unwrap();
                migrate(&mut connection, &HISTORY).unwrap();
                store_id(&mut connection, Uuid::new_v4()).unwrap()
            })
        };
        let threads: Vec<_> = (0..8).map(start).collect();
        let ids: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }

    #[test]
    fn a_strange_file_is_refused_untouched() {
        let directory = tempfile::tempdir().unwrap();
        let mut connection = fresh(directory.path());
        migrate(&mut connection, &ACCOUNTS).unwrap();
        assert!(recognise(&connection, &ACCOUNTS).is_ok());
        assert!(recognise(&connection, &HISTORY).is_err());
        connection.execute_batch("PRAGMA application_id = 0").unwrap();
        assert!(recognise(&connection, &ACCOUNTS).is_err(), "tables, and not known whose");
    }
}
