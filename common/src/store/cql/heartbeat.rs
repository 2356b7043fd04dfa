//! Whether nodes that cannot be heard are alive.

use scylla::statement::bound::BoundStatement;

use super::db::{Db, bind};
use crate::model::{Generation, NodeId};
use crate::store::{Beat, Heartbeat, Result};

/// A row of a node's life.
type Row = (String, i64, Option<i64>, Option<Vec<u8>>);

/// See [`Store::beat`](crate::store::Store::beat). The statement's TTL is 90 days.
pub(super) fn beat(db: &Db, beat: &Beat) -> Result<BoundStatement> {
    let (generation, count) = (beat.heart.generation.0.cast_signed(), beat.heart.count.cast_signed());
    bind(&db.statements.beat, &(db.stamps.next(), count, &beat.secrets, beat.node.as_str(), generation))
}

/// See [`Store::heartbeat`](crate::store::Store::heartbeat).
pub(super) async fn of(db: &Db, node: &NodeId) -> Result<Option<Heartbeat>> {
    let row: Option<(i64, Option<i64>)> = db.row(&db.statements.heartbeat, (node.as_str(),)).await?;
    Ok(row.map(|(generation, count)| heart(generation, count)))
}

/// See [`Store::heartbeats`](crate::store::Store::heartbeats).
pub(super) async fn all(db: &Db) -> Result<Vec<Beat>> {
    let rows: Vec<Row> = db.rows(&db.statements.heartbeats, ()).await?;
    let known = |(node, generation, count, secrets): Row| {
        let node = NodeId::parse(&node)?;
        Some(Beat { node, heart: heart(generation, count), secrets: secrets.unwrap_or_default() })
    };
    Ok(rows.into_iter().filter_map(known).collect())
}

fn heart(generation: i64, count: Option<i64>) -> Heartbeat {
    Heartbeat {
        generation: Generation(generation.cast_unsigned()),
        count: count.unwrap_or_default().cast_unsigned(),
    }
}
