//! The databases under a deployment, without the suite: made for it, read by tests that check it, gone afterwards.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use common::clock;
use common::config::{ScyllaConfig, StoreConfig, StoreKind};
use common::store::cql::CqlStore;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::response::PagingState;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// Says on which store tests run: `sqlite` (also without it), or `cql`.
const STORE: &str = "MONARCH_TEST_STORE";
/// Where the CQL server is, `HOST:PORT`, several with commas between.
const CONTACT_POINTS: &str = "MONARCH_CQL";
/// Copies of each row, on a cluster of several nodes; without it there is one.
const REPLICATION: &str = "MONARCH_TEST_REPLICATION";
/// How long servers may refuse what tests ask of them.
const PATIENCE: Duration = Duration::from_secs(30);
/// Before they are asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// A store that only one deployment uses. Keyspaces of a CQL server are dropped with it.
#[derive(Debug)]
pub(crate) struct OwnStore {
    config: StoreConfig,
}

impl OwnStore {
    /// What the environment asks for, empty; on these CQL servers, if they are given. Files will be in `directory`.
    pub(crate) async fn create(directory: &Path, cql: Option<&[String]>) -> Result<Self> {
        let path = directory.to_owned();
        let scylla = match (cql, std::env::var(STORE).as_deref()) {
            (Some(points), _) => keyspaces_on(points.to_vec(), points.len().min(3).to_string()),
            (None, Err(_) | Ok("sqlite")) => {
                return Self::in_files(directory).await;
            }
            (None, Ok("cql")) => keyspaces_of_the_environment()?,
            (None, Ok(other)) => bail!("{STORE} is sqlite or cql, not {other}"),
        };
        let own = Self { config: StoreConfig { kind: StoreKind::Scylla, path, scylla, ..StoreConfig::default() } };
        CqlStore::migrate(&own.config.scylla, &mut |_| ()).await?;
        Ok(own)
    }

    /// Files in `directory`, whatever the environment says.
    pub(crate) async fn in_files(directory: &Path) -> Result<Self> {
        let own = Self { config: StoreConfig { path: directory.to_owned(), ..StoreConfig::default() } };
        // Programs make none where the configuration names a directory.
        common::store::create(&own.config, &mut |_| ()).await?;
        Ok(own)
    }

    /// By which any program finds it.
    pub(crate) fn config(&self) -> &StoreConfig {
        &self.config
    }

    /// The same as a section of a configuration file.
    pub(crate) fn section(&self) -> String {
        let StoreConfig { path, scylla, .. } = &self.config;
        match self.config.kind {
            StoreKind::Sqlite => format!("[store]\nkind = \"sqlite\"\npath = {path:?}\n"),
            StoreKind::Scylla => format!(
                "[store]\nkind = \"scylla\"\npath = {path:?}\n[store.scylla]\ncontact_points = {:?}\nkeyspace = {:?}\n\
                 replication = {:?}\n",
                scylla.contact_points, scylla.keyspace, scylla.replication
            ),
        }
    }
}

impl Drop for OwnStore {
    fn drop(&mut self) {
        if self.config.kind != StoreKind::Scylla {
            return;
        }
        let scylla = self.config.scylla.clone();
        // A runtime of its own: this one may be ending, and `drop` can't wait.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(patiently(async || drop_keyspaces(&scylla).await))
        });
        let outcome = dropping.join().unwrap_or_else(|_| bail!("it panicked"));
        if let Err(error) = outcome {
            eprintln!("the keyspace {} is still there: {error:#}", self.config.scylla.keyspace);
        }
    }
}

fn keyspaces_of_the_environment() -> Result<ScyllaConfig> {
    let points = std::env::var(CONTACT_POINTS)
        .with_context(|| format!("{STORE}=cql needs {CONTACT_POINTS}: `scripts/cql up` starts a server"))?;
    let points = points.split(',').map(|point| point.trim().to_owned()).collect();
    Ok(keyspaces_on(points, std::env::var(REPLICATION).unwrap_or_else(|_| "1".into())))
}

/// Keyspaces that nobody has.
fn keyspaces_on(contact_points: Vec<String>, replication: String) -> ScyllaConfig {
    // The time is in the name, as in those of the store's own tests, which remove what killed tests have left.
    let (now, random) = (clock::wall().as_secs(), Uuid::new_v4().simple().to_string());
    let keyspace = format!("monarch_test_{now:x}_{}", &random[..6]);
    ScyllaConfig { contact_points, keyspace, replication, ..ScyllaConfig::default() }
}

/// A session that reads, and drops keyspaces: for that nobody has to wait until all nodes know of it. One that has just
/// come back may not for a minute.
async fn connect(scylla: &ScyllaConfig) -> Result<Session> {
    let builder = SessionBuilder::new().known_nodes(&scylla.contact_points);
    Ok(builder.fetch_schema_metadata(false).auto_await_schema_agreement(false).build().await?)
}

async fn drop_keyspaces(scylla: &ScyllaConfig) -> Result<()> {
    let session = connect(scylla).await?;
    for keyspace in [&scylla.keyspace, &scylla.accounts_keyspace()] {
        session.query_unpaged(format!("DROP KEYSPACE IF EXISTS {keyspace}"), &[]).await?;
    }
    Ok(())
}

/// Does it again while it fails: a node that comes back is asked before it knows everything.
async fn patiently<T>(work: impl AsyncFn() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match work().await {
            Err(_) if Instant::now() < deadline => sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
}

/// The payloads of all messages in a deployment's history, in the order of their ids.
///
/// # Errors
/// When the database can't be read.
pub async fn payloads(config: &StoreConfig) -> Result<Vec<Vec<u8>>> {
    match config.kind {
        StoreKind::Sqlite => payloads_in_file(&config.path.join("history.db")),
        StoreKind::Scylla => patiently(async || payloads_in_keyspace(&config.scylla).await).await,
    }
}

fn payloads_in_file(file: &Path) -> Result<Vec<Vec<u8>>> {
    let database = rusqlite::Connection::open_with_flags(file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut query = database.prepare("SELECT payload FROM messages ORDER BY message_id")?;
    let payloads = query.query_map([], |row| row.get(0))?;
    Ok(payloads.collect::<rusqlite::Result<_>>()?)
}

async fn payloads_in_keyspace(scylla: &ScyllaConfig) -> Result<Vec<Vec<u8>>> {
    let session = connect(scylla).await?;
    let query = format!("SELECT message_id, payload FROM {}.messages", scylla.keyspace);
    let (mut messages, mut paging) = (Vec::new(), PagingState::start());
    loop {
        let (page, state) = session.query_single_page(query.as_str(), &[], paging).await?;
        let page = page.into_rows_result()?;
        let rows = page.rows::<(Uuid, Vec<u8>)>()?;
        messages.append(&mut rows.collect::<Result<Vec<_>, _>>()?);
        match state.into_paging_control_flow() {
            ControlFlow::Break(()) => break,
            ControlFlow::Continue(next) => paging = next,
        }
    }
    // Partitions come in no order; ids are UUIDs of version 7, which sort as bytes by time.
    messages.sort_unstable();
    Ok(messages.into_iter().map(|(_, payload)| payload).collect())
}
