//! Whether nodes that cannot be heard are alive.

use rusqlite::{Connection, OptionalExtension, params};

use crate::model::{Generation, NodeId};
use crate::store::{Heartbeat, Result};

/// See [`Store::beat`](crate::store::Store::beat).
pub(super) fn beat(connection: &Connection, node: &NodeId, heart: Heartbeat) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO heartbeats (node, generation, beats) VALUES (?, ?, ?)
             ON CONFLICT DO UPDATE SET generation = excluded.generation, beats = excluded.beats
             WHERE (excluded.generation, excluded.beats) > (generation, beats)",
        )?
        .execute(params![node.as_str(), heart.generation.0.cast_signed(), heart.count.cast_signed()])?;
    Ok(())
}

/// See [`Store::heartbeat`](crate::store::Store::heartbeat).
pub(super) fn of(connection: &Connection, node: &NodeId) -> Result<Option<Heartbeat>> {
    let mut statement = connection.prepare_cached("SELECT generation, beats FROM heartbeats WHERE node = ?")?;
    let found = statement.query_row([node.as_str()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
    let heartbeat = |(generation, count): (i64, i64)| Heartbeat {
        generation: Generation(generation.cast_unsigned()),
        count: count.cast_unsigned(),
    };
    Ok(found.optional()?.map(heartbeat))
}
