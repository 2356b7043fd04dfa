//! From where principals have signed in.
//!
//! A network has one of 256 places of its account, by its hash; of two in one place the one seen last is known. So nobody reads before
//! it writes, two processes lose nothing of each other's, and an account takes no more room however it is signed in to: nothing is
//! ever deleted while it is there.

use std::net::IpAddr;

use scylla::statement::bound::BoundStatement;
use sha2::{Digest, Sha256};

use super::db::{Db, bind};
use super::stamps::of_ms;
use crate::model::Passport;
use crate::store::{KnownNetwork, Result};

/// See [`Store::known_networks`](crate::store::Store::known_networks).
pub(super) async fn read(db: &Db, who: &Passport) -> Result<Vec<KnownNetwork>> {
    let rows: Vec<(Option<IpAddr>, Option<i64>, Option<i64>)> =
        db.rows(&db.statements.known_networks, (who.as_str(),)).await?;
    let known = rows.into_iter().filter_map(|(network, epoch, seen)| {
        Some(KnownNetwork { network: network?, epoch: epoch?.cast_unsigned(), seen: seen?.cast_unsigned() })
    });
    Ok(KnownNetwork::last(known.collect()))
}

/// See [`Store::add_known_networks`](crate::store::Store::add_known_networks). The time seen is the timestamp too, so that the latest
/// holds.
pub(super) fn add(db: &Db, known: &[(Passport, KnownNetwork)]) -> Result<Vec<BoundStatement>> {
    let one = |(who, KnownNetwork { network, epoch, seen }): &(Passport, KnownNetwork)| {
        let cells = (network, epoch.cast_signed(), seen.cast_signed());
        let values = (of_ms(*seen), cells.0, cells.1, cells.2, who.as_str(), place(*network));
        bind(&db.statements.add_known_network, &values)
    };
    known.iter().map(one).collect()
}

/// The same in every build.
fn place(network: IpAddr) -> i32 {
    let [first, ..]: [u8; 32] = Sha256::digest(network.to_string()).into();
    first.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_same_in_every_build() {
        assert_eq!(place([192, 0, 2, 1].into()), 55);
    }
}
