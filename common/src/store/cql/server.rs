//! Which server answers: ScyllaDB and Apache Cassandra speak one protocol and differ in what they take.

use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};

use super::errors::{corrupt, unavailable};
use crate::store::Result;

/// The server, as far as its kind matters to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    /// Apache Cassandra.
    Cassandra,
    /// ScyllaDB, by the first two numbers of its version.
    Scylla(u32, u32),
}

impl Server {
    /// Asks. Only ScyllaDB has `system.versions`.
    pub(super) async fn ask(session: &Session) -> Result<Self> {
        let answer = session.query_unpaged("SELECT version FROM system.versions WHERE key = 'local'", ()).await;
        let rows = match answer {
            Ok(answer) => answer.into_rows_result().map_err(corrupt)?,
            Err(ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Invalid, _))) => {
                return Ok(Self::Cassandra);
            }
            Err(error) => return Err(unavailable(error)),
        };
        let version = rows.maybe_first_row::<(Option<String>,)>().map_err(corrupt)?;
        Ok(Self::of_scylla(version.and_then(|(version,)| version).as_deref().unwrap_or_default()))
    }

    /// Reads `6.2.1` or `2025.3.1-0.20250901.abc`; what can't be read counts as new.
    fn of_scylla(version: &str) -> Self {
        let mut numbers = version.split(['.', '-', '~']).map_while(|part| part.parse().ok());
        match (numbers.next(), numbers.next()) {
            (Some(major), Some(minor)) => Self::Scylla(major, minor),
            _ => Self::Scylla(u32::MAX, 0),
        }
    }

    /// What a keyspace with lightweight transactions needs besides its replication. ScyllaDB puts new keyspaces into
    /// tablets from 6.0 (2024.2 of the enterprise edition) on, and has lightweight transactions there from 2025.4 on;
    /// before, and in Cassandra, the word is unknown.
    pub(super) fn for_transactions(self) -> &'static str {
        match self {
            Self::Scylla(major, minor)
                if (6..2000).contains(&major) || ((2024, 2)..(2025, 4)).contains(&(major, minor)) =>
            {
                " AND tablets = {'enabled': false}"
            }
            _ => "",
        }
    }

    /// How the files of history are merged. Cassandra: by time, so that a bucket lies in one or two files that are not
    /// rewritten any more. ScyllaDB warns of that for tables whose rows never expire, or refuses it: its default.
    pub(super) fn for_history(self) -> &'static str {
        match self {
            Self::Cassandra => {
                " AND compaction = {'class': 'TimeWindowCompactionStrategy', 'compaction_window_unit': 'DAYS', \
                 'compaction_window_size': 30}"
            }
            Self::Scylla(..) => "",
        }
    }

    /// What a table needs that two may create at once. Cassandra gives each creation a random id, and two ids of one
    /// table never agree; ScyllaDB orders changes of the schema by itself.
    pub(super) fn for_the_first_table(self, id: uuid::Uuid) -> String {
        match self {
            Self::Cassandra => format!(" WITH id = {id}"),
            Self::Scylla(..) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tablets_are_turned_off_where_transactions_need_it() {
        for (version, off) in [
            ("5.4.9", false),
            ("6.0.0", true),
            ("6.2.3-0.20250119.abc", true),
            ("2024.1.8", false),
            ("2024.2.0", true),
            ("2025.1.0~rc1", true),
            ("2025.3.7", true),
            ("2025.4.0", false),
            ("2026.1.0", false),
            ("", false),
        ] {
            assert_eq!(!Server::of_scylla(version).for_transactions().is_empty(), off, "{version}");
        }
        assert_eq!(Server::Cassandra.for_transactions(), "");
    }
}
