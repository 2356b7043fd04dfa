//! One database file: its writer, its readers, and the time a call may take.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

use super::connection::{Role, connect, create, use_wal};
use super::queue::task;
use super::readers::Readers;
use super::schema::{Schema, migrate, recognise, store_id};
use super::writer::Writer;
use crate::store::{Result, StoreError};

/// How long a call may take. A write that is not done by then may still be.
const CALL_BOUND: Duration = Duration::from_secs(4);
/// Connections that read a file.
const READERS: usize = 3;

/// A file of the store, open. Dropping it waits until everything asked for is written.
pub(super) struct Database {
    name: &'static str,
    // In this order: the writer closes the file last, and folds the log into it.
    readers: Readers,
    writer: Writer,
}

impl Database {
    /// Opens a file, creating and migrating it where needed. The store's id is the one in it, or else `first_id`.
    /// Blocks.
    pub(super) fn open(directory: &Path, schema: &Schema, first_id: Uuid) -> Result<(Self, Uuid)> {
        let name = schema.file;
        let file = directory.join(name);
        let open = || {
            create(directory, &file)?;
            let mut connection = connect(&file, Role::Writer)?;
            recognise(&connection, schema)?;
            use_wal(&connection)?;
            migrate(&mut connection, schema)?;
            let id = store_id(&mut connection, first_id)?;
            let reading = (0..READERS).map(|_| connect(&file, Role::Reader)).collect::<Result<Vec<_>>>()?;
            let writer = Writer::start(connection, name)?;
            Ok((Self { name, readers: Readers::start(reading, name)?, writer }, id))
        };
        open().map_err(|error| within(&file.display().to_string(), error))
    }

    /// Reads on a thread that may block.
    pub(super) async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let (task, answer) = task(work);
        let accepted = self.readers.push(task);
        self.answer(accepted, answer).await
    }

    /// Writes, all or nothing, and returns when that is durable. `cost` is about what `work` takes up in memory.
    /// Once asked for it happens, whether or not anybody waits for it.
    pub(super) async fn write<T, F>(&self, cost: usize, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        let (task, answer) = task(work);
        let accepted = self.writer.push(cost, task);
        self.answer(accepted, answer).await
    }

    async fn answer<T>(&self, accepted: bool, answer: oneshot::Receiver<Result<T>>) -> Result<T> {
        let done = if accepted {
            match timeout(CALL_BOUND, answer).await {
                Ok(Ok(done)) => done,
                Ok(Err(_)) => Err(StoreError::Unavailable("its thread has ended".into())),
                Err(_) => Err(StoreError::Unavailable("no answer within 4 s".into())),
            }
        } else {
            Err(StoreError::Unavailable("too much is waiting for it".into()))
        };
        done.map_err(|error| within(self.name, error))
    }
}

/// The same error, with the place where it occurred.
pub(super) fn within(place: &str, error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(text) => StoreError::Unavailable(format!("{place}: {text}")),
        StoreError::Corrupt(text) => StoreError::Corrupt(format!("{place}: {text}")),
        StoreError::Refused(text) => StoreError::Refused(format!("{place}: {text}")),
    }
}
