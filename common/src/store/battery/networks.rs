use std::net::IpAddr;

use super::Source;
use super::world::{account, credentials, new_account, passport, two};
use crate::store::{KnownNetwork, NewAccount, SharedStore};

/// The networks' last bytes and epochs, the last seen first.
async fn known(store: &SharedStore, who: &crate::model::Passport) -> Vec<(u8, u64)> {
    let known = store.known_networks(who).await.unwrap();
    let last = |network| match network {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(_) => 0,
    };
    known.iter().map(|known| (last(known.network), known.epoch)).collect()
}

/// What two processes add is there, the last of it; it goes with the account.
pub async fn known_networks_are_kept_with_the_account(source: &dyn Source) {
    let (one, other) = two(source).await;
    let began = crate::clock::wall_ms() - 10_000;
    let network = |last: u8, epoch, seen| KnownNetwork {
        network: IpAddr::from([192, 0, 2, last]),
        epoch,
        seen: began + seen,
    };
    let new = new_account(&passport("at-home"));
    let (who, stranger) = (new.passport.clone(), account(&one, "nowhere").await);
    one.create_account(new.clone()).await.unwrap();
    assert_eq!(known(&other, &who).await, []);
    let add = |store: &SharedStore, some: Vec<KnownNetwork>| {
        let (store, some) = (store.clone(), some.into_iter().map(|known| (who.clone(), known)).collect());
        async move { store.add_known_networks(some).await.unwrap() }
    };
    let six = KnownNetwork { network: "2001:db8:1:2::".parse().unwrap(), ..network(0, 1, 3) };
    tokio::join!(add(&one, vec![network(1, 1, 1), six]), add(&other, vec![network(2, 1, 2)]));
    assert_eq!(known(&other, &who).await, [(0, 1), (2, 1), (1, 1)]);
    assert!(other.known_networks(&who).await.unwrap().iter().any(|known| known.network == six.network));
    // Seen again, and told of late.
    add(&one, vec![network(1, 1, 100)]).await;
    add(&other, vec![network(1, 1, 50), network(2, 1, 1)]).await;
    assert_eq!(known(&one, &who).await, [(1, 1), (0, 1), (2, 1)]);
    for last in 3..12 {
        add(if last % 2 == 0 { &one } else { &other }, vec![network(last, 1, u64::from(last) * 100)]).await;
    }
    let last: Vec<_> = (4..12).rev().map(|last| (last, 1)).collect();
    assert_eq!(known(&one, &who).await, last);
    assert_eq!(known(&other, &stranger).await, []);
    assert_eq!(known(&other, &passport("never-there")).await, []);

    // Other credentials were shown elsewhere: from there they are known, and it can be told apart.
    assert!(one.set_credentials(&who, new.claim, 1, credentials(2)).await.unwrap());
    add(&one, vec![network(9, 2, 2000), network(20, 2, 2001)]).await;
    let new_ones: Vec<_> = known(&other, &who).await.into_iter().filter(|(_, epoch)| *epoch == 2).collect();
    assert_eq!(new_ones, [(20, 2), (9, 2)]);

    assert!(other.remove_account(&who, new.claim).await.unwrap());
    assert_eq!(known(&one, &who).await, []);
    one.create_account(NewAccount { claim: crate::model::ClaimId(uuid::Uuid::new_v4()), ..new }).await.unwrap();
    assert_eq!(known(&other, &who).await, []);
}
