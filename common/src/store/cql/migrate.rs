//! `monarch store migrate`: keyspaces, tables, the store's id. May be called at any time, also by several at once.
//!
//! One of them holds a lease, a cell that ends by itself, and takes the steps; the others wait for it. Before each
//! step it makes sure of the lease, and behind each that all nodes know of it.

mod given_names;

use std::sync::Arc;
use std::time::Duration;

use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::response::query_result::QueryResult;
use scylla::statement::unprepared::Statement;
use scylla::statement::{Consistency, SerialConsistency};
use scylla::value::{CqlValue, Row};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::connect::connect;
use super::errors::{corrupt, unavailable};
use super::keys::Keys;
use super::policy::Profiles;
use super::schema::{NAMES_FOLLOW, VERSION, steps_after};
use super::server::Server;
use crate::config::ScyllaConfig;
use crate::store::{Result, StoreError};

/// How long a lease holds that is not renewed, in seconds: longer than a statement takes, which is a minute, and another
/// until all nodes know of it.
const LEASE_SECS: u32 = 180;
/// How long one waits for another's lease.
const WAIT: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(500);
/// How long servers may refuse what can be asked again: they are busy, or one has just gone. Several at once hold each other up too.
const PATIENCE: Duration = Duration::from_secs(30);

/// Brings keyspaces and tables up to date, creating what is missing. `told` hears of each step. Returns the version
/// before and after.
pub(super) async fn migrate(
    config: &ScyllaConfig,
    told: &mut (dyn FnMut(String) + Send + Sync),
) -> Result<(i32, i32)> {
    let session = connect(config, Arc::new(Keys::load(config)?), &Profiles::new(config), false).await?;
    let server = Server::ask(&session).await?;
    told(match server {
        Server::Cassandra => "the server is Apache Cassandra".to_owned(),
        Server::Scylla(major, minor) => format!("the server is ScyllaDB {major}.{minor}"),
    });
    let mut migration = Migration { session, config, server, holder: Uuid::new_v4(), told };
    migration.foundation().await?;
    let before = migration.version().await?;
    if before > VERSION {
        return Err(newer(before));
    }
    if before < VERSION || migration.store_id().await?.is_none() {
        migration.with_lease().await?;
    }
    Ok((before, migration.version().await?))
}

/// What a process finds when it starts.
///
/// # Errors
/// [`StoreError::Refused`] if the tables aren't those that this program knows; it says what to do.
pub(super) async fn check_version(session: &Session, config: &ScyllaConfig) -> Result<()> {
    match version(session, config).await {
        Ok(VERSION) => Ok(()),
        Ok(newer_one) if newer_one > VERSION => Err(newer(newer_one)),
        Ok(0) | Err(StoreError::Refused(_)) => Err(StoreError::Refused(format!(
            "there are no tables of Monarch in the keyspace {}; create them with `monarch store migrate`",
            config.keyspace
        ))),
        Ok(older) => Err(StoreError::Refused(format!(
            "the tables in the keyspace {} have version {older}, and this program needs {VERSION}; bring them up to \
             date with `monarch store migrate`",
            config.keyspace
        ))),
        Err(error) => Err(error),
    }
}

fn newer(version: i32) -> StoreError {
    StoreError::Refused(format!(
        "its tables have version {version}, made by a newer Monarch; this program knows versions up to {VERSION}: \
         update it"
    ))
}

/// The version of the tables; [`StoreError::Refused`] where there is no table of versions.
async fn version(session: &Session, config: &ScyllaConfig) -> Result<i32> {
    let cql = format!("SELECT version FROM {}.migrations WHERE name = 'schema'", config.accounts_keyspace());
    let mut statement = Statement::new(cql);
    statement.set_consistency(Consistency::Serial);
    let answer = match session.query_unpaged(statement, ()).await {
        Ok(answer) => answer.into_rows_result().map_err(corrupt)?,
        Err(ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Invalid, text))) => {
            return Err(StoreError::Refused(text));
        }
        Err(error) => return Err(unavailable(error)),
    };
    let row = answer.maybe_first_row::<(Option<i32>,)>().map_err(corrupt)?;
    Ok(row.and_then(|(version,)| version).unwrap_or_default())
}

struct Migration<'a> {
    session: Session,
    config: &'a ScyllaConfig,
    server: Server,
    holder: Uuid,
    told: &'a mut (dyn FnMut(String) + Send + Sync),
}

impl Migration<'_> {
    /// The keyspaces, and the table in which versions and the lease are. Two may do that at once.
    async fn foundation(&mut self) -> Result<()> {
        let (keyspace, accounts) = (self.config.keyspace.clone(), self.config.accounts_keyspace());
        let replication = self.replication();
        for (name, options) in [(&keyspace, ""), (&accounts, self.server.for_transactions())] {
            if self.session.get_cluster_state().get_keyspace(name).is_some() {
                continue;
            }
            self.enough_nodes()?;
            self.change(&format!(
                "CREATE KEYSPACE IF NOT EXISTS {name} WITH replication = {replication}{options}"
            ))
            .await?;
            (self.told)(format!("created the keyspace {name}, replication {}", self.config.replication));
        }
        // What another has created at this moment must be known to the node that is asked next.
        self.session.await_schema_agreement().await.map_err(unavailable)?;
        let id = Uuid::new_v5(&Uuid::NAMESPACE_OID, accounts.as_bytes());
        let options = self.server.for_the_first_table(id);
        self.change(&format!(
            "CREATE TABLE IF NOT EXISTS {accounts}.migrations (name text PRIMARY KEY, version int, holder uuid){options}"
        ))
        .await?;
        let first = "INSERT INTO {a}.migrations (name, version) VALUES ('schema', 0) IF NOT EXISTS";
        self.transaction(first, vec![]).await.map(drop)
    }

    fn replication(&self) -> String {
        let copies = self.config.copies().unwrap_or_default().into_iter();
        let copies = copies.map(|(datacenter, copies)| match datacenter {
            "" => format!("'replication_factor': {copies}"),
            datacenter => format!("'{datacenter}': {copies}"),
        });
        format!("{{'class': 'NetworkTopologyStrategy', {}}}", copies.collect::<Vec<_>>().join(", "))
    }

    /// Whether there are as many nodes as each row is to have copies: otherwise nothing could be written.
    fn enough_nodes(&self) -> Result<()> {
        let state = self.session.get_cluster_state();
        let nodes = state.get_nodes_info();
        for (datacenter, copies) in self.config.copies().unwrap_or_default() {
            let there = |node: &&std::sync::Arc<scylla::cluster::Node>| {
                datacenter.is_empty() || node.datacenter.as_deref() == Some(datacenter)
            };
            let count = nodes.iter().filter(there).count();
            if count < usize::from(copies) {
                let place = if datacenter.is_empty() { "".to_owned() } else { format!(" in {datacenter}") };
                return Err(StoreError::Refused(format!(
                    "store.scylla.replication asks for {copies} copies of each row, and there are {count} nodes{place}; \
                     for a server of one node set it to 1"
                )));
            }
        }
        Ok(())
    }

    async fn version(&self) -> Result<i32> {
        let patience = Patience::begin();
        loop {
            if let Some(version) = patience.with(version(&self.session, self.config).await).await? {
                return Ok(version);
            }
        }
    }

    /// The steps, as the only one who takes them.
    async fn with_lease(&mut self) -> Result<()> {
        let deadline = Instant::now() + WAIT;
        let mut waiting = false;
        while !self.take_lease().await? {
            if !std::mem::replace(&mut waiting, true) {
                (self.told)("another `monarch store migrate` is at work; waiting for it".to_owned());
            }
            if Instant::now() >= deadline {
                return Err(unavailable("another `monarch store migrate` has not ended"));
            }
            sleep(LOOK).await;
        }
        let done = self.steps().await;
        // Otherwise it ends by itself, later.
        let release = "UPDATE {a}.migrations SET holder = null WHERE name = 'schema' IF holder = ?";
        let released = self.transaction(release, vec![CqlValue::Uuid(self.holder)]).await;
        done.and(released.map(drop))
    }

    async fn steps(&mut self) -> Result<()> {
        // What was done while this one waited need not be done again.
        let before = self.version().await?;
        for (version, statements) in steps_after(before, self.config, self.server) {
            for statement in statements {
                self.hold_lease().await?;
                self.change(&statement).await?;
            }
            if version == NAMES_FOLLOW {
                let freed = self.free_names().await?;
                (self.told)(format!("{freed} names of contacts follow the contacts from now on"));
            }
            let done = "UPDATE {a}.migrations SET version = ? WHERE name = 'schema' IF holder = ?";
            let values = vec![CqlValue::Int(version), CqlValue::Uuid(self.holder)];
            if !self.transaction(done, values).await? && self.version().await? < version {
                return Err(lost());
            }
            (self.told)(format!("the tables have version {version}"));
        }
        let id = vec![CqlValue::Uuid(Uuid::new_v4())];
        self.transaction("INSERT INTO {a}.store (one, id) VALUES (1, ?) IF NOT EXISTS", id).await.map(drop)
    }

    async fn take_lease(&self) -> Result<bool> {
        let take = format!(
            "UPDATE {{a}}.migrations USING TTL {LEASE_SECS} SET holder = ? WHERE name = 'schema' IF holder = null"
        );
        // The answer may have been lost, and the lease be ours.
        Ok(self.transaction(&take, vec![CqlValue::Uuid(self.holder)]).await? || self.holds().await?)
    }

    async fn hold_lease(&self) -> Result<()> {
        let renew = format!(
            "UPDATE {{a}}.migrations USING TTL {LEASE_SECS} SET holder = ? WHERE name = 'schema' IF holder = ?"
        );
        let own = CqlValue::Uuid(self.holder);
        if self.transaction(&renew, vec![own.clone(), own]).await? { Ok(()) } else { Err(lost()) }
    }

    async fn holds(&self) -> Result<bool> {
        let row = self.serial("SELECT holder FROM {a}.migrations WHERE name = 'schema'").await?;
        Ok(row == Some(self.holder))
    }

    async fn store_id(&self) -> Result<Option<Uuid>> {
        match self.serial("SELECT id FROM {a}.store WHERE one = 1").await {
            Err(StoreError::Refused(_)) => Ok(None),
            found => found,
        }
    }

    async fn serial(&self, cql: &str) -> Result<Option<Uuid>> {
        let mut statement = Statement::new(cql.replace("{a}", &self.config.accounts_keyspace()));
        statement.set_consistency(Consistency::Serial);
        statement.set_is_idempotent(true);
        let answer = self.ask(&statement, &[]).await?;
        let rows = answer.into_rows_result().map_err(corrupt)?;
        let row = rows.maybe_first_row::<(Option<Uuid>,)>().map_err(corrupt)?;
        Ok(row.and_then(|(value,)| value))
    }

    /// A lightweight transaction, repeated where its outcome is unknown: each here may be. Whether it was applied by
    /// the last repetition.
    async fn transaction(&self, cql: &str, values: Vec<CqlValue>) -> Result<bool> {
        let mut statement = Statement::new(cql.replace("{a}", &self.config.accounts_keyspace()));
        statement.set_serial_consistency(Some(SerialConsistency::Serial));
        let answer = self.ask(&statement, &values).await?;
        let row = answer.into_rows_result().map_err(corrupt)?.first_row::<Row>().map_err(corrupt)?;
        Ok(matches!(row.columns.first(), Some(Some(CqlValue::Boolean(true)))))
    }

    async fn ask(&self, statement: &Statement, values: &[CqlValue]) -> Result<QueryResult> {
        let patience = Patience::begin();
        loop {
            let answer = self.session.query_unpaged(statement.clone(), values).await;
            if let Some(answer) = patience.with(answer.map_err(refused_or_unavailable)).await? {
                return Ok(answer);
            }
        }
    }

    /// A change of the schema, until all nodes agree on it.
    async fn change(&self, cql: &str) -> Result<()> {
        self.session.query_unpaged(cql, ()).await.map_err(refused_or_unavailable)?;
        self.session.await_schema_agreement().await.map(drop).map_err(unavailable)
    }
}

/// Bears for a while that the servers don't answer.
struct Patience(Instant);

impl Patience {
    fn begin() -> Self {
        Self(Instant::now() + PATIENCE)
    }

    /// The outcome; nothing, a little later, if it is worth asking again.
    async fn with<T>(&self, outcome: Result<T>) -> Result<Option<T>> {
        match outcome {
            Err(StoreError::Unavailable(_)) if Instant::now() < self.0 => {
                sleep(LOOK).await;
                Ok(None)
            }
            outcome => outcome.map(Some),
        }
    }
}

fn refused_or_unavailable(error: ExecutionError) -> StoreError {
    use DbError as E;
    match error {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(
            E::Invalid | E::SyntaxError | E::Unauthorized | E::ConfigError,
            text,
        )) => StoreError::Refused(text),
        error => unavailable(error),
    }
}

fn lost() -> StoreError {
    unavailable("another `monarch store migrate` has taken over; run it again")
}
