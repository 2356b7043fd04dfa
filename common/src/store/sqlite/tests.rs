//! What only the files can show; the behaviour is the battery's.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;
use tempfile::TempDir;

use super::SqliteStore;
use crate::model::{ClaimId, List, Passport, Property};
use crate::store::battery::Source;
use crate::store::{Credentials, Edit, NewAccount, SharedStore, Store, StoreError};

/// A directory that goes when it is dropped.
pub(super) struct Files(TempDir);

impl Files {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn open(&self) -> SqliteStore {
        SqliteStore::open(self.path()).unwrap()
    }

    /// Runs SQL behind the store's back.
    pub(super) fn sql(&self, file: &str, sql: &str) {
        let connection = Connection::open(self.path().join(file)).unwrap();
        connection.execute_batch(sql).unwrap();
    }
}

#[tokio::test]
async fn what_is_written_behind_the_removal_of_an_account_leaves_nothing() {
    let files = Files::new();
    let store = files.open();
    let (gone, friend) = (account(&store, "gone").await, account(&store, "friend").await);
    let befriend = |contact: &Passport| Edit::List { contact: contact.clone(), list: List::Forward, on: true };
    store.edit(&gone, vec![befriend(&friend)]).await.unwrap();
    let claim = store.account(&gone).await.unwrap().unwrap().claim;
    assert!(store.remove_account(&gone, claim).await.unwrap());
    // Its session lives on for a while, and so do those of its contacts.
    store.touch(vec![(gone.clone(), 7)]).await.unwrap();
    store.edit(&gone, vec![befriend(&friend)]).await.unwrap();
    let late = [
        Edit::NameAtContact { contact: gone.clone(), name: "New".into() },
        Edit::PropertyAtContact { contact: gone.clone(), property: Property::HomePhone, value: Some("1".into()) },
    ];
    store.edit(&friend, late.into()).await.unwrap();
    drop(store);
    let connection = Connection::open(files.path().join("accounts.db")).unwrap();
    for (table, column) in [("last_active", "passport"), ("roster", "owner"), ("contact_properties", "owner")] {
        let sql = format!("SELECT count(*) FROM {table} WHERE {column} = 'gone@example.com'");
        assert_eq!(connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap(), 0, "{table}");
    }
}

pub(super) async fn account(store: &SqliteStore, name: &str) -> Passport {
    let passport = Passport::parse(&format!("{name}@example.com")).unwrap();
    let credentials = Credentials { epoch: 1, password_hash: "hash".into(), sealed_password: None };
    let claim = ClaimId(uuid::Uuid::new_v4());
    let new =
        NewAccount { passport: passport.clone(), claim, credentials, friendly_name: name.into(), created: 1 };
    store.create_account(new).await.unwrap();
    passport
}

/// Every opening is a store of its own, as in another process.
struct Several(Files);

#[async_trait]
impl Source for Several {
    async fn open(&self) -> SharedStore {
        Arc::new(self.0.open())
    }
}

/// Every opening is the same store.
struct One(SharedStore, #[expect(dead_code, reason = "kept until the store is dropped")] Files);

#[async_trait]
impl Source for One {
    async fn open(&self) -> SharedStore {
        Arc::clone(&self.0)
    }
}

mod one_process {
    use super::*;

    crate::store_battery!({
        let files = Files::new();
        One(Arc::new(files.open()), files)
    });
}

mod several_processes {
    use super::*;

    crate::store_battery!(Several(Files::new()));
}

#[tokio::test]
async fn what_monarch_never_wrote_is_named() {
    let files = Files::new();
    let store = files.open();
    let me = account(&store, "me").await;
    files.sql("accounts.db", "INSERT INTO roster (owner, contact, allow) VALUES ('me@example.com', 'nobody', 1)");
    let error = store.roster(&me).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt(text) if text.contains("contact")), "{error}");
    files.sql("accounts.db", "UPDATE accounts SET strangers = 7");
    let error = store.account(&me).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt(text) if text.contains("strangers")), "{error}");
    files.sql("accounts.db", "UPDATE accounts SET strangers = 0, claim = x'00'");
    assert!(matches!(store.account(&me).await, Err(StoreError::Corrupt(_))));
}

#[test]
fn files_of_different_stores_are_refused() {
    let (mine, other) = (Files::new(), Files::new());
    drop((mine.open(), other.open()));
    std::fs::copy(other.path().join("history.db"), mine.path().join("history.db")).unwrap();
    let error = SqliteStore::open(mine.path()).err().unwrap().to_string();
    assert!(error.contains("different stores"), "{error}");
}

#[test]
fn what_is_no_store_is_refused() {
    let files = Files::new();
    std::fs::write(
        files.path().join("accounts.db"),
        "not a database at all, but long enough to be one".repeat(99),
    )
    .unwrap();
    assert!(matches!(SqliteStore::open(files.path()), Err(StoreError::Corrupt(_))));
    let file = files.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let error = SqliteStore::open(&file.join("data")).err().unwrap().to_string();
    assert!(error.contains("store.path"), "{error}");
}

#[test]
fn history_is_read_along_its_index() {
    let files = Files::new();
    drop(files.open());
    let connection = Connection::open(files.path().join("history.db")).unwrap();
    for sql in [super::history::READ, super::history::READ_BACK] {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let values = rusqlite::params_from_iter(sql.matches('?'));
        let plan = statement.query_map(values, |row| row.get::<_, String>(3)).unwrap();
        let plan = plan.collect::<Result<Vec<_>, _>>().unwrap();
        assert!(
            plan.len() == 1 && plan[0].starts_with("SEARCH messages USING INDEX messages_in_order"),
            "{plan:?}"
        );
    }
}
