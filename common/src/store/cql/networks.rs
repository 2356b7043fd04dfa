//! From where principals have signed in.

use scylla::statement::bound::BoundStatement;
use uuid::Uuid;

use super::db::{Db, bind};
use crate::model::{ClaimId, Passport};
use crate::store::networks::{read as from_bytes, write as to_bytes};
use crate::store::{KnownNetworks, Result};

/// See [`Store::known_networks`](crate::store::Store::known_networks).
pub(super) async fn read(db: &Db, who: &Passport) -> Result<Option<KnownNetworks>> {
    let row: Option<(Option<Uuid>, Option<Vec<u8>>)> =
        db.row(&db.statements.known_networks, (who.as_str(),)).await?;
    Ok(row.and_then(|(claim, networks)| {
        Some(KnownNetworks { claim: ClaimId(claim?), networks: from_bytes(&networks?) })
    }))
}

/// See [`Store::set_known_networks`](crate::store::Store::set_known_networks).
pub(super) fn set(db: &Db, known: &[(Passport, KnownNetworks)]) -> Result<Vec<BoundStatement>> {
    let one = |(who, known): &(Passport, KnownNetworks)| {
        let networks = to_bytes(&known.networks);
        bind(&db.statements.set_known_networks, &(db.stamps.next(), known.claim.0, networks, who.as_str()))
    };
    known.iter().map(one).collect()
}
