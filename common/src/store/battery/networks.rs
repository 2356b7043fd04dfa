use uuid::Uuid;

use super::Source;
use super::world::{account, new_account, passport, two};
use crate::model::ClaimId;
use crate::store::{KnownNetwork, KnownNetworks};

/// The networks that were written last are there, for every process; they go with the account.
pub async fn known_networks_are_kept_with_the_account(source: &dyn Source) {
    let (one, other) = two(source).await;
    let new = new_account(&passport("at-home"));
    let (who, stranger) = (new.passport.clone(), account(&one, "nowhere").await);
    one.create_account(new.clone()).await.unwrap();
    assert_eq!(other.known_networks(&who).await.unwrap(), None);
    let network = |text: &str, seen| KnownNetwork { network: text.parse().unwrap(), seen };
    let first = vec![network("192.0.2.1", 1)];
    let second = vec![network("192.0.2.1", 1), network("2001:db8:1:2::", u64::MAX)];
    for networks in [first, second] {
        let known = KnownNetworks { claim: new.claim, networks };
        one.set_known_networks(vec![(who.clone(), known.clone())]).await.unwrap();
        assert_eq!(other.known_networks(&who).await.unwrap(), Some(known));
    }
    assert_eq!(other.known_networks(&stranger).await.unwrap(), None);
    assert_eq!(other.known_networks(&passport("never-there")).await.unwrap(), None);

    assert!(other.remove_account(&who, new.claim).await.unwrap());
    assert_eq!(one.known_networks(&who).await.unwrap(), None);
    let next = crate::store::NewAccount { claim: ClaimId(Uuid::new_v4()), ..new };
    one.create_account(next).await.unwrap();
    assert_eq!(other.known_networks(&who).await.unwrap(), None);
}
