//! The session with the servers, and how a statement is asked until it is answered.

use std::future::Future;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::errors::ExecutionError;
use scylla::response::query_result::QueryResult;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::row::SerializeRow;
use scylla::statement::batch::Batch;
use scylla::statement::bound::BoundStatement;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlValue, Row};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::errors::{corrupt, may_pass, unavailable};
use super::stamps::Stamps;
use super::statements::Statements;
use crate::store::{Result, StoreError};

/// How long one statement is asked again. A call with two of them in a row is cut by its own bound.
const PATIENCE: Duration = Duration::from_millis(3_300);
/// Before the second attempt; twice as long before each further one, up to `MOST_PAUSE`.
const FIRST_PAUSE: Duration = Duration::from_millis(40);
const MOST_PAUSE: Duration = Duration::from_millis(640);

/// About what a statement takes up while it waits, beside its values: the calls of it that the driver has under way.
pub(super) const WAITING: usize = 8 << 10;
/// The most writes of one call that are under way at once.
const AT_ONCE: usize = 128;

/// What all calls share.
pub(super) struct Db {
    pub(super) session: Session,
    pub(super) statements: Statements,
    pub(super) stamps: Stamps,
    /// This opening of the store, to the servers.
    pub(super) process: Uuid,
    pub(super) id: Uuid,
}

/// Rows of one page, and where the next begins.
pub(super) struct Rows<R> {
    pub(super) rows: Vec<R>,
    pub(super) next: Option<PagingState>,
}

/// What an attempt at a lightweight transaction came to.
pub(super) enum Attempt {
    Applied,
    NotApplied,
    /// The answer may have been lost on its way.
    Unknown(StoreError),
}

impl Attempt {
    /// What went wrong, if something did.
    pub(super) fn error(self) -> Option<StoreError> {
        match self {
            Self::Unknown(error) => Some(error),
            Self::Applied | Self::NotApplied => None,
        }
    }
}

impl Db {
    /// Writes, again and again until it is done or too late.
    pub(super) async fn write(&self, statement: &BoundStatement) -> Result<()> {
        again(|| self.session.execute_bound_unpaged(statement)).await.map(drop)
    }

    /// Writes all, many at once; an error if one was not done. All are tried to the end.
    pub(super) async fn write_all(&self, statements: &[BoundStatement]) -> Result<()> {
        let writes: Vec<_> = statements.iter().map(|statement| self.write(statement)).collect();
        let mut writes = stream::iter(writes).buffer_unordered(AT_ONCE);
        let mut all = Ok(());
        while let Some(one) = writes.next().await {
            all = all.and(one);
        }
        all
    }

    /// Writes all or none. A batch in one partition costs what a write does.
    pub(super) async fn write_batch(&self, batch: &Batch, values: &[Vec<CqlValue>]) -> Result<()> {
        again(|| self.session.batch(batch, values)).await.map(drop)
    }

    /// Tries a lightweight transaction once; an error if the server refuses it, as it would again. Whether it was
    /// applied is the first column of the answer; the others differ: Cassandra has none where it was applied, ScyllaDB
    /// always all.
    pub(super) async fn try_claim(&self, statement: &BoundStatement) -> Result<Attempt> {
        let answer = match self.session.execute_bound_unpaged(statement).await {
            Ok(answer) => answer,
            Err(error) if may_pass(&error) => return Ok(Attempt::Unknown(unavailable(error))),
            Err(error) => return Err(unavailable(error)),
        };
        let row = answer.into_rows_result().map_err(corrupt)?.first_row::<Row>().map_err(corrupt)?;
        match row.columns.first() {
            Some(Some(CqlValue::Boolean(true))) => Ok(Attempt::Applied),
            Some(Some(CqlValue::Boolean(false))) => Ok(Attempt::NotApplied),
            _ => Err(corrupt("an answer without [applied]")),
        }
    }

    /// All rows.
    pub(super) async fn rows<R>(&self, statement: &PreparedStatement, values: impl SerializeRow) -> Result<Vec<R>>
    where
        R: for<'f> DeserializeRow<'f, 'f>,
    {
        let bound = bind(statement, &values)?;
        let mut page = self.page(&bound, PagingState::start()).await?;
        while let Some(next) = page.next.take() {
            let more: Rows<R> = self.page(&bound, next).await?;
            page.rows.extend(more.rows);
            page.next = more.next;
        }
        Ok(page.rows)
    }

    /// The row, if there is one.
    pub(super) async fn row<R>(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Option<R>>
    where
        R: for<'f> DeserializeRow<'f, 'f>,
    {
        Ok(self.rows(statement, values).await?.into_iter().next())
    }

    /// One page of rows.
    pub(super) async fn page<R>(&self, statement: &BoundStatement, from: PagingState) -> Result<Rows<R>>
    where
        R: for<'f> DeserializeRow<'f, 'f>,
    {
        let (answer, next) = again(|| self.session.execute_bound_single_page(statement, from.clone())).await?;
        let next = match next {
            PagingStateResponse::HasMorePages { state } => Some(state),
            PagingStateResponse::NoMorePages => None,
        };
        Ok(Rows { rows: decode(answer)?, next })
    }
}

fn decode<R>(answer: QueryResult) -> Result<Vec<R>>
where
    R: for<'f> DeserializeRow<'f, 'f>,
{
    let answer = answer.into_rows_result().map_err(corrupt)?;
    answer.rows::<R>().map_err(corrupt)?.collect::<std::result::Result<_, _>>().map_err(corrupt)
}

/// Puts values into a statement.
pub(super) fn bind(statement: &PreparedStatement, values: &impl SerializeRow) -> Result<BoundStatement> {
    statement.clone().bind(values).map_err(corrupt)
}

/// Asks until there is an answer, a refusal, or no time.
async fn again<T, F>(ask: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = std::result::Result<T, ExecutionError>>,
{
    let (deadline, mut pause) = (Instant::now() + PATIENCE, FIRST_PAUSE);
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if !may_pass(&error) || Instant::now() + pause >= deadline {
            return Err(unavailable(error));
        }
        sleep(pause).await;
        pause = (pause * 2).min(MOST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<'a, F: Future>(_: impl Fn(&'a Db, &'a BoundStatement) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_write_that_waits_is_counted() {
        let size = size_of_future(Db::write);
        // It, and the attempts that the driver makes within it.
        assert!(2 * size <= WAITING, "{size} bytes before anything it holds");
    }
}
