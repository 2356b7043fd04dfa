//! Columns that hold how far a principal has got, and only move on.

use rusqlite::{Connection, params};
use uuid::Uuid;

use crate::model::{MessageId, Passport};
use crate::store::Result;

/// Such a column, in a table whose rows are found by a passport and one more id.
pub(super) struct Mark {
    pub(super) table: &'static str,
    pub(super) column: &'static str,
    /// The name of the other id's column.
    pub(super) key: &'static str,
}

impl Mark {
    /// Moves it to a message, unless it is there or beyond. A row that is missing is passed over.
    pub(super) fn advance(
        &self,
        connection: &Connection,
        who: &Passport,
        id: Uuid,
        message: MessageId,
    ) -> Result<()> {
        let Self { table, column, key } = self;
        let sql = format!(
            "UPDATE {table} SET {column} = ?1
             WHERE passport = ?2 AND {key} = ?3 AND ({column} IS NULL OR {column} < ?1)"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        statement.execute(params![message.0.as_bytes(), who.as_str(), id.as_bytes()])?;
        Ok(())
    }
}
