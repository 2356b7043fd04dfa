//! From where principals have signed in.

use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use crate::model::{ClaimId, Passport};
use crate::store::networks::{read as from_bytes, write as to_bytes};
use crate::store::{KnownNetworks, Result};

/// See [`Store::known_networks`](crate::store::Store::known_networks).
pub(super) fn read(connection: &Connection, who: &Passport) -> Result<Option<KnownNetworks>> {
    let mut statement =
        connection.prepare_cached("SELECT claim, networks FROM known_networks WHERE passport = ?")?;
    let found =
        statement.query_row([who.as_str()], |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, Vec<u8>>(1)?)));
    let known = |(claim, networks): (_, Vec<u8>)| KnownNetworks {
        claim: ClaimId(Uuid::from_bytes(claim)),
        networks: from_bytes(&networks),
    };
    Ok(found.optional()?.map(known))
}

/// See [`Store::set_known_networks`](crate::store::Store::set_known_networks).
pub(super) fn set(connection: &Connection, known: &[(Passport, KnownNetworks)]) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO known_networks (passport, claim, networks)
         SELECT passport, claim, ? FROM accounts WHERE passport = ? AND claim = ?
         ON CONFLICT DO UPDATE SET claim = excluded.claim, networks = excluded.networks",
    )?;
    for (who, known) in known {
        statement.execute(params![to_bytes(&known.networks), who.as_str(), known.claim.0.as_bytes()])?;
    }
    Ok(())
}
