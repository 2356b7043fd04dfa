//! The CQL server that tests run against, and keyspaces of their own on it.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::clock;
use common::config::ScyllaConfig;
use common::store::cql::CqlStore;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use uuid::Uuid;

/// Keyspaces of tests begin so; the time of their making follows, in seconds since 1970.
const PREFIX: &str = "monarch_test_";
/// Keyspaces of test runs that were killed go when they are so old.
const STALE_SECS: u64 = 2 * 60 * 60;

static MADE: Mutex<Vec<ScyllaConfig>> = Mutex::new(Vec::new());

/// The server that `MONARCH_CQL` names, `host:port,…`. Without one the test is skipped, and says so; with
/// `MONARCH_CQL_REQUIRED=1` that is a failure.
pub(crate) fn contact_points() -> Option<Vec<String>> {
    static SAID: AtomicBool = AtomicBool::new(false);
    let points = std::env::var("MONARCH_CQL").unwrap_or_default();
    let points: Vec<String> = points.split(',').filter(|point| !point.is_empty()).map(Into::into).collect();
    if !points.is_empty() {
        return Some(points);
    }
    let required = std::env::var("MONARCH_CQL_REQUIRED").is_ok_and(|value| value == "1");
    assert!(!required, "MONARCH_CQL is not set: `scripts/cql up` starts a server and says where it is");
    if !SAID.swap(true, Ordering::Relaxed) {
        // Past the harness, which hides what a test that passes says.
        let mut out = std::io::stderr();
        let _ = writeln!(
            out,
            "SKIPPED, since MONARCH_CQL names no CQL server: `scripts/cql up` starts one and says where it is"
        );
    }
    None
}

/// A configuration with keyspaces that nobody has, gone when the process ends. They are not made yet.
pub(crate) fn fresh(contact_points: &[String]) -> ScyllaConfig {
    let config = ScyllaConfig {
        contact_points: contact_points.to_vec(),
        keyspace: format!("{PREFIX}{:x}_{}", clock::wall().as_secs(), &Uuid::new_v4().simple().to_string()[..6]),
        replication: if contact_points.len() >= 3 { "3".into() } else { "1".into() },
        ..ScyllaConfig::default()
    };
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if made.is_empty() {
        at_exit();
    }
    made.push(config.clone());
    config
}

/// The same with tables. May be called outside of any runtime or within one.
pub(crate) fn migrated(contact_points: &[String]) -> ScyllaConfig {
    let config = fresh(contact_points);
    let migrating = config.clone();
    let thread = std::thread::spawn(move || {
        blocking(async move {
            drop_stale(&session(&migrating).await).await;
            let mut made = CqlStore::migrate(&migrating, &mut |_| ()).await;
            // A node that has just come back does not know all tables yet.
            for _ in 0..30 {
                let Err(error) = &made else { break };
                eprintln!("{error}; once more");
                tokio::time::sleep(Duration::from_secs(1)).await;
                made = CqlStore::migrate(&migrating, &mut |_| ()).await;
            }
            made.map_err(|error| error.to_string())
        })
    });
    let made = thread.join().expect("the server answers");
    assert!(made.is_ok(), "{made:?}");
    config
}

/// A session past the store.
pub(crate) async fn session(config: &ScyllaConfig) -> Session {
    let builder = SessionBuilder::new().known_nodes(&config.contact_points).fetch_schema_metadata(false);
    builder.build().await.expect("MONARCH_CQL names a server that answers")
}

fn blocking<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(work)
}

async fn drop_stale(session: &Session) {
    let rows = session.query_unpaged("SELECT keyspace_name FROM system_schema.keyspaces", ()).await.unwrap();
    let rows = rows.into_rows_result().unwrap();
    for (name,) in rows.rows::<(String,)>().unwrap().map(Result::unwrap) {
        let made = name.strip_prefix(PREFIX).and_then(|rest| rest.split('_').next());
        let made = made.and_then(|made| u64::from_str_radix(made, 16).ok());
        if made.is_some_and(|made| made + STALE_SECS < clock::wall().as_secs()) {
            drop_keyspace(session, &name).await;
        }
    }
}

async fn drop_keyspace(session: &Session, name: &str) {
    if let Err(error) = session.query_unpaged(format!("DROP KEYSPACE IF EXISTS {name}"), ()).await {
        eprintln!("{name} was not dropped: {error}");
    }
}

/// Has the keyspaces dropped when the harness ends the process: it knows no other "after all tests".
fn at_exit() {
    extern "C" fn clean_up() {
        let made = std::mem::take(&mut *MADE.lock().unwrap_or_else(PoisonError::into_inner));
        let dropping = std::thread::spawn(move || {
            blocking(async {
                let Some(first) = made.first() else { return };
                let session = session(first).await;
                for config in &made {
                    drop_keyspace(&session, &config.keyspace).await;
                    drop_keyspace(&session, &config.accounts_keyspace()).await;
                }
            });
        });
        let _ = dropping.join();
    }
    // SAFETY: the function takes nothing, never unwinds (a panic stays in its thread), and lives as long as the process.
    let registered = unsafe { libc::atexit(clean_up) };
    assert_eq!(registered, 0, "keyspaces are dropped at the end");
}
