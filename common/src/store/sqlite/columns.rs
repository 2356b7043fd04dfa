//! Between columns and values that cannot be invalid.

use rusqlite::{ErrorCode, Row};
use uuid::Uuid;

use crate::model::Passport;
use crate::store::{Result, StoreError};

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error as E;
        let text = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => "the disk is full; writing goes on once there is space".into(),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                "another process has been writing for too long".into()
            }
            Some(ErrorCode::SystemIoFailure) => format!("the disk fails ({error}); see the system's log"),
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                format!("{error}; see the owner and mode of the file and its directory")
            }
            _ => error.to_string(),
        };
        let corrupt = match &error {
            E::FromSqlConversionFailure(..)
            | E::IntegralValueOutOfRange(..)
            | E::Utf8Error(..)
            | E::InvalidColumnType(..) => true,
            _ => matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)),
        };
        if corrupt { Self::Corrupt(text) } else { Self::Unavailable(text) }
    }
}

/// Reads a column and checks it.
pub(super) trait Columns {
    /// 16 bytes.
    fn uuid(&self, at: usize) -> Result<Uuid>;
    /// 16 bytes or nothing.
    fn maybe_uuid(&self, at: usize) -> Result<Option<Uuid>>;
    /// A number without a sign, kept as the signed one of the same bits.
    fn number(&self, at: usize) -> Result<u64>;
    /// A passport.
    fn passport(&self, at: usize) -> Result<Passport>;
    /// What `read` makes of the column's value.
    fn parsed<V: rusqlite::types::FromSql, T>(&self, at: usize, read: impl FnOnce(&V) -> Option<T>) -> Result<T>;
}

impl Columns for Row<'_> {
    fn uuid(&self, at: usize) -> Result<Uuid> {
        Ok(Uuid::from_bytes(self.get(at)?))
    }

    fn maybe_uuid(&self, at: usize) -> Result<Option<Uuid>> {
        Ok(self.get::<_, Option<[u8; 16]>>(at)?.map(Uuid::from_bytes))
    }

    fn number(&self, at: usize) -> Result<u64> {
        Ok(self.get::<_, i64>(at)?.cast_unsigned())
    }

    fn passport(&self, at: usize) -> Result<Passport> {
        self.parsed(at, |text: &String| Passport::parse(text).ok())
    }

    fn parsed<V: rusqlite::types::FromSql, T>(&self, at: usize, read: impl FnOnce(&V) -> Option<T>) -> Result<T> {
        let value = self.get::<_, V>(at)?;
        read(&value).ok_or_else(|| {
            let name = self.as_ref().column_name(at).unwrap_or("?").to_owned();
            StoreError::Corrupt(format!("a value of {name} that Monarch never wrote"))
        })
    }
}
