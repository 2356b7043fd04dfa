//! Whether nodes that cannot be heard are alive.

use scylla::statement::bound::BoundStatement;

use super::db::{Db, bind};
use crate::model::{Generation, NodeId};
use crate::store::{Heartbeat, Result};

/// See [`Store::beat`](crate::store::Store::beat). The statement's TTL is 90 days.
pub(super) fn beat(db: &Db, node: &NodeId, heart: Heartbeat) -> Result<BoundStatement> {
    let (generation, count) = (heart.generation.0.cast_signed(), heart.count.cast_signed());
    bind(&db.statements.beat, &(db.stamps.next(), count, node.as_str(), generation))
}

/// See [`Store::heartbeat`](crate::store::Store::heartbeat).
pub(super) async fn of(db: &Db, node: &NodeId) -> Result<Option<Heartbeat>> {
    let row: Option<(i64, Option<i64>)> = db.row(&db.statements.heartbeat, (node.as_str(),)).await?;
    Ok(row.map(|(generation, count)| Heartbeat {
        generation: Generation(generation.cast_unsigned()),
        count: count.unwrap_or_default().cast_unsigned(),
    }))
}
