use bytes::Bytes;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::Source;
use super::world::{account, credentials, list, lists, new_account, passport, roster, two};
use crate::clock::{self, MessageClock};
use crate::model::{
    AddPrompt, ClaimId, Group, GroupId, InboxId, List, Passport, Properties, Settings, StrangerPolicy,
};
use crate::store::{AccountSummary, Claimed, Credentials, Edit, InboxMessage, NewAccount};

/// Of many claims at once exactly one wins, and it keeps winning when it is repeated.
pub async fn claims_have_one_winner(source: &dyn Source) {
    let (one, other) = two(source).await;
    let who = passport("claimed");
    let mut claims = JoinSet::new();
    for n in 0..16 {
        let store = if n % 2 == 0 { one.clone() } else { other.clone() };
        let new = new_account(&who);
        claims.spawn(async move { (new.clone(), store.create_account(new).await.unwrap()) });
    }
    let claims = claims.join_all().await;
    let winners: Vec<&NewAccount> =
        claims.iter().filter(|(_, end)| *end == Claimed::Won).map(|(new, _)| new).collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(other.account(&who).await.unwrap().unwrap().claim, winners[0].claim);
    for (new, end) in &claims {
        assert_eq!(one.create_account(new.clone()).await.unwrap(), *end);
    }
}

/// Repeating the claim that won leaves what came after it.
pub async fn an_own_claim_repeated_changes_nothing(source: &dyn Source) {
    let (one, other) = two(source).await;
    let new = new_account(&passport("repeated"));
    assert_eq!(one.create_account(new.clone()).await.unwrap(), Claimed::Won);
    assert!(one.set_credentials(&new.passport, new.claim, 1, credentials(2)).await.unwrap());
    assert_eq!(other.create_account(new.clone()).await.unwrap(), Claimed::Won);
    assert_eq!(one.account(&new.passport).await.unwrap().unwrap().credentials.epoch, 2);
}

/// Every value comes back, whatever bits and characters it has; settings start as they should.
pub async fn an_account_holds_what_it_was_given(source: &dyn Source) {
    let (one, other) = two(source).await;
    let sealed = Credentials {
        epoch: u64::MAX,
        password_hash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".into(),
        sealed_password: Some(vec![0, 255, 0, 1]),
    };
    let name = "Zoë \u{1f98b} 'quoted' \0 \"--; DROP TABLE accounts";
    let new = NewAccount { credentials: sealed, friendly_name: name.into(), ..new_account(&passport("kept")) };
    one.create_account(new.clone()).await.unwrap();
    let account = other.account(&new.passport).await.unwrap().unwrap();
    assert_eq!(account.passport, new.passport);
    assert_eq!(account.claim, new.claim);
    assert!(account.credentials == new.credentials);
    assert_eq!(account.created, new.created);
    let settings = Settings {
        friendly_name: new.friendly_name,
        strangers: StrangerPolicy::Allow,
        add_prompt: AddPrompt::Ask,
        properties: Properties::new(),
        list_version: 1,
        lists_changed: new.created,
        settings_changed: new.created,
        reverse_digest: 0,
    };
    assert_eq!(account.settings, settings);
    assert!(one.account(&passport("unknown")).await.unwrap().is_none());
}

/// A claim that lost, or one of an account before this one, changes no credentials; nor does a change of those that are no more.
pub async fn credentials_change_only_for_the_claim(source: &dyn Source) {
    let (one, other) = two(source).await;
    let new = new_account(&passport("secret"));
    one.create_account(new.clone()).await.unwrap();
    let stranger = ClaimId(Uuid::new_v4());
    assert!(!other.set_credentials(&new.passport, stranger, 1, credentials(2)).await.unwrap());
    assert!(!other.set_credentials(&passport("unknown"), new.claim, 1, credentials(2)).await.unwrap());
    assert!(one.account(&new.passport).await.unwrap().unwrap().credentials == new.credentials);
    let changed = Credentials { sealed_password: Some(vec![1]), ..credentials(3) };
    for _ in 0..2 {
        assert!(other.set_credentials(&new.passport, new.claim, 1, changed.clone()).await.unwrap());
        assert!(one.account(&new.passport).await.unwrap().unwrap().credentials == changed);
    }
    assert!(!one.set_credentials(&new.passport, new.claim, 1, credentials(4)).await.unwrap());
    assert!(other.account(&new.passport).await.unwrap().unwrap().credentials == changed);
}

/// Pages of a listing hold every account once, in order.
pub async fn accounts_are_listed_in_pages(source: &dyn Source) {
    let (one, other) = two(source).await;
    let run = Uuid::new_v4().simple();
    let mut mine = Vec::new();
    for n in 0..7 {
        let who = Passport::parse(&format!("{run}-{n}@example.com")).expect("the form is right");
        let mut new = new_account(&who);
        new.credentials.sealed_password = (n == 3).then(|| vec![7]);
        one.create_account(new.clone()).await.unwrap();
        mine.push(AccountSummary {
            passport: who,
            friendly_name: new.friendly_name,
            md5: n == 3,
            created: new.created,
            last_active: None,
        });
    }
    let (mut listed, mut after) = (Vec::<AccountSummary>::new(), None);
    loop {
        let page = other.accounts(after.as_ref(), 3).await.unwrap();
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        after = Some(last.passport.clone());
        listed.extend(page);
    }
    assert!(listed.is_sorted_by(|a, b| a.passport < b.passport));
    listed.retain(|account| account.passport.as_str().starts_with(&run.to_string()));
    assert_eq!(listed, mine);
}

/// Only the claim removes an account; who registers the passport anew inherits neither lists nor settings.
pub async fn an_account_that_is_removed_leaves_nothing_to_the_next(source: &dyn Source) {
    let (one, other) = two(source).await;
    let new = new_account(&passport("removed"));
    let who = new.passport.clone();
    one.create_account(new.clone()).await.unwrap();
    let friend = account(&one, "friend").await;
    let group = Group { id: GroupId(Uuid::new_v4()), number: 1, name: "Friends".into() };
    let member = Edit::Membership { contact: friend.clone(), group: group.id, on: true };
    let edits = [
        list(&friend, List::Forward, true),
        Edit::PutGroup(group),
        member,
        Edit::FriendlyName("New".into()),
        Edit::CopiesOwed(7),
    ];
    one.edit(&who, edits.into()).await.unwrap();
    one.edit(&friend, vec![list(&who, List::Forward, true)]).await.unwrap();
    one.touch(vec![(who.clone(), clock::wall_ms())]).await.unwrap();
    let ids = MessageClock::new().unwrap();
    let kept = InboxMessage {
        id: InboxId(ids.uuid()),
        message: ids.tick(),
        sender: friend.clone(),
        payload: Bytes::from_static(b"for the one before"),
    };
    one.put_in_inbox(&who, kept).await.unwrap();

    assert!(!other.remove_account(&who, ClaimId(Uuid::new_v4())).await.unwrap());
    assert!(one.account(&who).await.unwrap().is_some());
    assert!(other.remove_account(&who, new.claim).await.unwrap());
    assert!(!other.remove_account(&who, new.claim).await.unwrap());
    assert!(one.account(&who).await.unwrap().is_none() && one.roster(&who).await.unwrap().is_none());
    // The other side's lists are its own.
    assert!(lists(&one, &friend, &who).await.contains(List::Forward));

    let again = NewAccount { claim: ClaimId(Uuid::new_v4()), ..new };
    assert_eq!(other.create_account(again).await.unwrap(), Claimed::Won);
    let roster = roster(&one, &who).await;
    assert!(roster.contacts.is_empty() && roster.groups.is_empty(), "{roster:?}");
    assert_eq!((&*roster.settings.friendly_name, roster.copies_owed), ("Somebody", None));
    assert!(one.inbox(&who, None, 10).await.unwrap().messages.is_empty(), "what was kept was for somebody else");
}

/// A sign-in that is noted late does not hide a later one.
pub async fn the_last_sign_in_stays(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (a, b) = (account(&one, "seen").await, account(&one, "unseen").await);
    let before = |who: &Passport| Passport::parse(&who.as_str().replace("@example.com", "@example.co")).ok();
    for (store, at) in [(&one, 2_000), (&other, 3_000), (&one, 1_000)] {
        store.touch(vec![(a.clone(), at)]).await.unwrap();
    }
    other.touch(Vec::new()).await.unwrap();
    for (who, at) in [(&a, Some(3_000)), (&b, None)] {
        let listed = other.accounts(before(who).as_ref(), 1).await.unwrap();
        assert_eq!((&listed[0].passport, listed[0].last_active), (who, at));
    }
}
