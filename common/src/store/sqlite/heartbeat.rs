//! Whether nodes that cannot be heard are alive.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::model::{Generation, NodeId};
use crate::store::{Beat, Heartbeat, Result};

/// See [`Store::beat`](crate::store::Store::beat).
pub(super) fn beat(connection: &Connection, beat: &Beat) -> Result<()> {
    let Beat { node, heart, secrets } = beat;
    connection
        .prepare_cached(
            "INSERT INTO heartbeats (node, generation, beats, secrets) VALUES (?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET generation = excluded.generation, beats = excluded.beats, secrets = excluded.secrets
             WHERE (excluded.generation, excluded.beats) > (generation, beats)",
        )?
        .execute(params![node.as_str(), heart.generation.0.cast_signed(), heart.count.cast_signed(), secrets])?;
    Ok(())
}

/// See [`Store::heartbeat`](crate::store::Store::heartbeat).
pub(super) fn of(connection: &Connection, node: &NodeId) -> Result<Option<Heartbeat>> {
    let mut statement = connection.prepare_cached("SELECT generation, beats FROM heartbeats WHERE node = ?")?;
    Ok(statement.query_row([node.as_str()], |row| heart(row, 0)).optional()?)
}

/// See [`Store::heartbeats`](crate::store::Store::heartbeats).
pub(super) fn all(connection: &Connection) -> Result<Vec<Beat>> {
    let all = "SELECT node, generation, beats, secrets FROM heartbeats LIMIT 10000";
    let mut statement = connection.prepare_cached(all)?;
    let beat = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, heart(row, 1)?, row.get(3)?));
    let rows = statement.query_map([], beat)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let known =
        |(node, heart, secrets): (String, _, _)| Some(Beat { node: NodeId::parse(&node)?, heart, secrets });
    Ok(rows.into_iter().filter_map(known).collect())
}

fn heart(row: &Row<'_>, at: usize) -> rusqlite::Result<Heartbeat> {
    let (generation, count) = (row.get::<_, i64>(at)?, row.get::<_, i64>(at + 1)?);
    Ok(Heartbeat { generation: Generation(generation.cast_unsigned()), count: count.cast_unsigned() })
}
