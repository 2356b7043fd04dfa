use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::Source;
use super::world::{
    account, channel, list, lists, member, message_id, passport, read_all, roster, row, text, two, usage,
};
use crate::clock;
use crate::model::{ContactId, List, PhoneContact, PhoneNumber};
use crate::store::Edit;

/// However often and by whomever it is opened, it is one store, and it works.
pub async fn every_opening_is_the_same_store(source: &dyn Source) {
    let (one, other) = two(source).await;
    let id = one.id().await.unwrap();
    assert!(!id.is_nil());
    assert_eq!(other.id().await.unwrap(), id);
    drop((one, other));
    let again = source.open().await;
    assert_eq!(again.id().await.unwrap(), id);
    again.check().await.unwrap();
}

/// What was confirmed is there when the store is opened anew.
pub async fn everything_outlasts_a_restart(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (me, you) = (account(&one, "me").await, passport("you"));
    let number = PhoneNumber::parse("tel:+15550100").expect("the form is right");
    let id = ContactId::of_phone(one.account(&me).await.unwrap().unwrap().claim, &number);
    let lists_of_phone = [List::Forward].into_iter().collect();
    let phone = PhoneContact { number, id, lists: lists_of_phone, name: "Phone".into(), groups: [].into() };
    let edits =
        vec![list(&you, List::Forward, true), Edit::FriendlyName("Me".into()), Edit::PutPhone(phone.clone())];
    one.edit(&me, edits).await.unwrap();
    let (channel, used) = (channel(), usage(&you, channel()));
    let (old, new) = (message_id(clock::wall_ms() - 1_000), message_id(clock::wall_ms()));
    let mut write = text(channel, new);
    write.participations.push(used.clone());
    write.members.push(member(channel, &you, new));
    one.append(write).await.unwrap();
    let (ids, cursor) = read_all(&other, channel, None, 10).await;
    assert_eq!(ids, [new]);
    other.append(text(channel, old)).await.unwrap();
    let before = roster(&one, &me).await;
    drop((one, other));

    let again = source.open().await;
    assert_eq!(roster(&again, &me).await, before);
    assert_eq!(before.settings.friendly_name, "Me");
    assert_eq!(before.phones.into_values().collect::<Vec<_>>(), [phone]);
    assert!(lists(&again, &me, &you).await.contains(List::Forward));
    assert_eq!(read_all(&again, channel, None, 10).await.0, [old, new]);
    assert_eq!(read_all(&again, channel, Some(cursor), 10).await.0, [old], "cursors too");
    assert_eq!(again.participations(&you).await.unwrap(), [row(&used)]);
    assert_eq!(again.members(channel).await.unwrap(), [member(channel, &you, new)]);
}

/// A write whose caller has gone happens.
pub async fn a_write_happens_though_nobody_waits(source: &dyn Source) {
    let (one, other) = two(source).await;
    let channel = channel();
    let mut ids: Vec<_> = (0..20).map(|_| message_id(clock::wall_ms())).collect();
    for id in &ids {
        let _ = timeout(Duration::ZERO, one.append(text(channel, *id))).await;
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    let (mut seen, mut cursor) = (Vec::new(), None);
    while seen.len() < ids.len() && Instant::now() < deadline {
        let (more, next) = read_all(&other, channel, cursor, 100).await;
        seen.extend(more);
        cursor = Some(next);
        sleep(Duration::from_millis(5)).await;
    }
    seen.sort_unstable();
    ids.sort_unstable();
    assert_eq!(seen, ids);
}
