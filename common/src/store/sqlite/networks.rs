//! From where principals have signed in.

use rusqlite::{Connection, params};

use crate::model::Passport;
use crate::store::{KnownNetwork, Result};

/// See [`Store::known_networks`](crate::store::Store::known_networks).
pub(super) fn read(connection: &Connection, who: &Passport) -> Result<Vec<KnownNetwork>> {
    let mut statement =
        connection.prepare_cached("SELECT network, epoch, seen FROM known_networks WHERE passport = ?")?;
    let row =
        |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
    let rows = statement.query_map([who.as_str()], row)?.collect::<rusqlite::Result<Vec<_>>>()?;
    // What is no address counts as nothing: it is learnt anew.
    let known = rows.into_iter().filter_map(|(network, epoch, seen)| {
        let network = network.parse().ok()?;
        Some(KnownNetwork { network, epoch: epoch.cast_unsigned(), seen: seen.cast_unsigned() })
    });
    Ok(KnownNetwork::last(known.collect()))
}

/// See [`Store::add_known_networks`](crate::store::Store::add_known_networks).
pub(super) fn add(connection: &Connection, known: &[(Passport, KnownNetwork)]) -> Result<()> {
    let mut add = connection.prepare_cached(
        "INSERT INTO known_networks (passport, network, epoch, seen)
         SELECT passport, ?, credential_epoch, ? FROM accounts WHERE passport = ? AND credential_epoch = ?
         ON CONFLICT DO UPDATE SET epoch = excluded.epoch, seen = excluded.seen
         WHERE epoch <> excluded.epoch OR seen < excluded.seen",
    )?;
    let mut forget = connection.prepare_cached(
        "DELETE FROM known_networks WHERE passport = ?1 AND (epoch <> ?2 OR network NOT IN
         (SELECT network FROM known_networks WHERE passport = ?1 AND epoch = ?2 ORDER BY seen DESC, network LIMIT ?3))",
    )?;
    for (who, KnownNetwork { network, epoch, seen }) in known {
        let (who, epoch, network) = (who.as_str(), epoch.cast_signed(), network.to_string());
        if add.execute(params![network, seen.cast_signed(), who, epoch])? > 0 {
            forget.execute(params![who, epoch, KnownNetwork::MOST as i64])?;
        }
    }
    Ok(())
}
