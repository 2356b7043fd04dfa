//! The one thread of a process that writes to a database file.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::connection::pause;
use super::queue::{Queue, Task};
use crate::store::{Result, StoreError};

/// Bytes of writes that may wait or be under way, as their callers reckon them.
const QUEUE_BYTES: usize = 16 << 20;
/// Writes in one transaction: some 10 ms during which no other process writes.
const GROUP: usize = 512;
/// From the end of a transaction to the beginning of the next one. Another process that waits asks every 100–300 µs
/// and so gets its turn; and under load more writes share one fsync.
const BREATH: Duration = Duration::from_micros(400);

/// Writes in the order in which they were asked for, many in one transaction with one fsync.
pub(super) struct Writer {
    queue: Arc<Queue<Box<dyn Task>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. `name` is the file's, for logs.
    pub(super) fn start(connection: Connection, name: &'static str) -> Result<Self> {
        let queue = Arc::new(Queue::new(QUEUE_BYTES));
        let theirs = Arc::clone(&queue);
        let thread = std::thread::Builder::new().name(format!("write {name}"));
        let thread = thread.spawn(move || work(&connection, &theirs, name));
        let thread = thread.map_err(|error| StoreError::Unavailable(format!("cannot start a thread: {error}")))?;
        Ok(Self { queue, thread: Some(thread) })
    }

    /// Asks for a write that takes up `cost` bytes while it waits. False if too much waits already.
    #[must_use]
    pub(super) fn push(&self, cost: usize, task: Box<dyn Task>) -> bool {
        self.queue.push(cost, task)
    }
}

impl Drop for Writer {
    /// Everything that was asked for is written first.
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(connection: &Connection, queue: &Queue<Box<dyn Task>>, name: &'static str) {
    let mut group = Vec::new();
    let mut last_end: Option<Instant> = None;
    let mut failing = false;
    while queue.wait() {
        if let Some(rest) = last_end.and_then(|end| BREATH.checked_sub(end.elapsed())) {
            pause(rest);
        }
        let cost = queue.take(GROUP, &mut group);
        let outcome = transact(connection, &mut group);
        last_end = Some(Instant::now());
        // Before the answers: who has got one may ask again.
        queue.release(cost);
        match &outcome {
            Err(error) if !failing => tracing::error!(file = name, %error, "cannot write"),
            Ok(_) if failing => tracing::info!(file = name, "can write again"),
            _ => {}
        }
        failing = outcome.is_err();
        answer(&mut group, outcome);
    }
}

/// Answers the tasks of a transaction that has ended: each by its own outcome, or all by the transaction's failure.
fn answer(group: &mut Vec<Box<dyn Task>>, outcome: Result<Vec<Result<()>>>) {
    match outcome {
        Ok(outcomes) => group.drain(..).zip(outcomes).for_each(|(task, outcome)| task.settle(outcome)),
        Err(error) => group.drain(..).for_each(|task| task.settle(Err(error.clone()))),
    }
}

/// Runs the tasks in one transaction; when this returns it is durable. An error is that of the transaction.
fn transact(connection: &Connection, group: &mut [Box<dyn Task>]) -> Result<Vec<Result<()>>> {
    run(connection, "BEGIN IMMEDIATE")?;
    let done = run_all(connection, group);
    if !connection.is_autocommit() {
        run(connection, "ROLLBACK")?;
    }
    done
}

fn run_all(connection: &Connection, group: &mut [Box<dyn Task>]) -> Result<Vec<Result<()>>> {
    let outcomes = group.iter_mut().map(|task| run_apart(connection, &mut **task)).collect::<Result<Vec<_>>>()?;
    run(connection, "COMMIT")?;
    Ok(outcomes)
}

/// Runs a task so that its failure undoes what it did and nothing else. The outer error is that of the transaction,
/// which SQLite gives up as a whole when the disk is full or broken.
fn run_apart(connection: &Connection, task: &mut dyn Task) -> Result<Result<()>> {
    run(connection, "SAVEPOINT task")?;
    let outcome = task.run(connection);
    if let Err(error) = &outcome {
        if connection.is_autocommit() {
            return Err(error.clone());
        }
        run(connection, "ROLLBACK TO task")?;
    }
    run(connection, "RELEASE task")?;
    Ok(outcome)
}

fn run(connection: &Connection, sql: &str) -> Result<()> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::super::connection::{Role, connect, create, use_wal};
    use super::super::queue::task;
    use super::*;

    struct Rig {
        directory: tempfile::TempDir,
        writer: Writer,
    }

    impl Rig {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("x.db");
            create(directory.path(), &file).unwrap();
            let connection = connect(&file, Role::Writer).unwrap();
            use_wal(&connection).unwrap();
            connection.execute_batch("CREATE TABLE t (x NOT NULL UNIQUE)").unwrap();
            Self { writer: Writer::start(connection, "x.db").unwrap(), directory }
        }

        /// Holds the writer's thread until the sender is dropped, so that what comes next forms one group.
        fn hold(&self) -> mpsc::Sender<()> {
            let (release, held) = mpsc::channel::<()>();
            let (started, start) = mpsc::channel();
            let (task, _) = task(move |_| {
                let _ = started.send(());
                let _ = held.recv();
                Ok(())
            });
            assert!(self.writer.push(1, task));
            start.recv().unwrap();
            release
        }

        fn push<T: Send + 'static>(
            &self,
            work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
        ) -> tokio::sync::oneshot::Receiver<Result<T>> {
            let (task, answer) = task(work);
            assert!(self.writer.push(1, task));
            answer
        }

        fn rows(&self) -> Vec<i64> {
            let connection = connect(&self.directory.path().join("x.db"), Role::Reader).unwrap();
            let mut statement = connection.prepare("SELECT x FROM t ORDER BY x").unwrap();
            statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
        }
    }

    fn insert(connection: &Connection, values: &[i64]) -> Result<()> {
        for value in values {
            connection.prepare_cached("INSERT INTO t VALUES (?)")?.execute([value])?;
        }
        Ok(())
    }

    #[test]
    fn a_failure_spares_its_neighbours_and_leaves_nothing_of_itself() {
        let rig = Rig::new();
        let held = rig.hold();
        let before = rig.push(|c| insert(c, &[1]));
        let failing = rig.push(|c| insert(c, &[2, 3, 1]));
        let panicking = rig.push(|c| -> Result<()> {
            insert(c, &[4])?;
            panic!("on purpose")
        });
        let after = rig.push(|c| insert(c, &[5]));
        drop(held);
        assert!(before.blocking_recv().unwrap().is_ok());
        assert!(matches!(failing.blocking_recv().unwrap(), Err(StoreError::Unavailable(_))));
        assert!(matches!(panicking.blocking_recv().unwrap(), Err(StoreError::Unavailable(_))));
        assert!(after.blocking_recv().unwrap().is_ok());
        assert_eq!(rig.rows(), [1, 5]);
    }

    #[test]
    fn a_write_that_nobody_waits_for_happens_also_at_the_end() {
        let rig = Rig::new();
        let held = rig.hold();
        drop(rig.push(|c| insert(c, &[1])));
        let Rig { directory, writer } = rig;
        drop(held);
        drop(writer);
        let rows = connect(&directory.path().join("x.db"), Role::Reader).unwrap();
        assert_eq!(rows.query_row("SELECT x FROM t", [], |row| row.get(0)), Ok(1));
    }

    #[test]
    fn what_is_too_much_is_refused_at_once() {
        let rig = Rig::new();
        let held = rig.hold();
        let (large, done) = task(|_| Ok(()));
        assert!(rig.writer.push(QUEUE_BYTES - 1, large));
        let (one_more, _) = task(|_| Ok(()));
        assert!(!rig.writer.push(1, one_more));
        drop(held);
        assert!(done.blocking_recv().unwrap().is_ok());
        assert!(rig.push(|c| insert(c, &[1])).blocking_recv().unwrap().is_ok());
    }

    #[test]
    fn a_full_disk_is_survived() {
        let rig = Rig::new();
        let pages = |count: i64| {
            move |c: &Connection| {
                c.pragma_update_and_check(None, "max_page_count", count, |_| Ok(()))?;
                Ok(())
            }
        };
        rig.push(pages(8)).blocking_recv().unwrap().unwrap();
        let large = |c: &Connection| {
            c.execute("INSERT INTO t VALUES (zeroblob(100000))", [])?;
            Ok(())
        };
        let error = rig.push(large).blocking_recv().unwrap().unwrap_err();
        assert!(matches!(&error, StoreError::Unavailable(text) if text.contains("disk is full")), "{error}");
        rig.push(pages(1_000_000)).blocking_recv().unwrap().unwrap();
        assert!(rig.push(large).blocking_recv().unwrap().is_ok());
    }

    /// How many transactions the write-ahead log holds: frames that name the size of the file end one (SQLite's
    /// file format, §4.1).
    fn commits(directory: &std::path::Path) -> usize {
        let log = std::fs::read(directory.join("x.db-wal")).unwrap();
        log[32..].chunks(24 + 4096).filter(|frame| frame[4..8] != [0; 4]).count()
    }

    #[test]
    fn many_wait_for_one_commit() {
        let rig = Rig::new();
        let held = rig.hold();
        let before = commits(rig.directory.path());
        let answers: Vec<_> = (0..100).map(|n| rig.push(move |c| insert(c, &[n]))).collect();
        drop(held);
        assert!(answers.into_iter().all(|answer| answer.blocking_recv().unwrap().is_ok()));
        assert_eq!((rig.rows().len(), commits(rig.directory.path()) - before), (100, 1));
    }
}
