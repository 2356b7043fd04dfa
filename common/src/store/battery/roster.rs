use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::Source;
use super::world::{account, contact, list, lists, passport, roster, two};
use crate::model::{
    AddPrompt, ContactId, Group, GroupId, List, Lists, Passport, PhoneContact, PhoneNumber, Properties, Property,
    Roster, StrangerPolicy,
};
use crate::store::{Edit, SharedStore};

fn group(number: u16, name: &str) -> Group {
    Group { id: GroupId(Uuid::new_v4()), number, name: name.into() }
}

/// Without an account there is no roster, though others may have put the passport on their lists.
pub async fn a_stranger_has_no_roster(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (me, nobody) = (account(&one, "me").await, passport("nobody"));
    let name = Edit::NameAtContact { contact: nobody.clone(), name: "Me".into() };
    one.edit(&me, vec![list(&nobody, List::Forward, true), name]).await.unwrap();
    assert!(other.roster(&nobody).await.unwrap().is_none());
    assert!(other.account(&nobody).await.unwrap().is_none());
    assert_eq!(lists(&other, &me, &nobody).await, Lists::NONE.with(List::Forward));
    // An edit of an account that went away in the meantime harms nobody.
    let edits =
        vec![list(&me, List::Allow, true), Edit::FriendlyName("x".into()), Edit::Strangers(StrangerPolicy::Block)];
    one.edit(&nobody, edits).await.unwrap();
    assert!(other.roster(&nobody).await.unwrap().is_none());
}

/// Lists are set and cleared one by one.
pub async fn each_list_is_a_cell_of_its_own(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (me, you) = (account(&one, "me").await, account(&one, "you").await);
    let mut expected = Lists::NONE;
    for on in List::ALL {
        one.edit(&me, vec![list(&you, on, true)]).await.unwrap();
        expected = expected.with(on);
        assert_eq!(lists(&other, &me, &you).await, expected);
    }
    let found = contact(&other, &me, &you).await.unwrap();
    let claim = one.account(&me).await.unwrap().unwrap().claim;
    assert_eq!((found.passport, found.id), (you.clone(), ContactId::of(claim, &you)));
    for off in List::ALL {
        one.edit(&me, vec![list(&you, off, false)]).await.unwrap();
        expected = expected.without(off);
        assert_eq!(lists(&other, &me, &you).await, expected);
    }
    assert_eq!(contact(&other, &me, &you).await, None);
}

/// Whoever puts somebody on the forward list is on the other's reverse and pending lists, until it is taken back.
pub async fn a_forward_entry_shows_on_the_other_side(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (me, you) = (account(&one, "me").await, account(&one, "you").await);
    other.edit(&you, vec![list(&me, List::Block, true)]).await.unwrap();
    one.edit(&me, vec![list(&you, List::Forward, true), list(&you, List::Allow, true)]).await.unwrap();
    let block = Lists::NONE.with(List::Block);
    assert_eq!(lists(&other, &you, &me).await, block.with(List::Reverse).with(List::Pending));
    assert_eq!(lists(&other, &me, &you).await, Lists::NONE.with(List::Forward).with(List::Allow));
    other.edit(&you, vec![list(&me, List::Pending, false)]).await.unwrap();
    assert_eq!(lists(&one, &you, &me).await, block.with(List::Reverse));
    one.edit(&me, vec![list(&you, List::Forward, false)]).await.unwrap();
    assert_eq!(lists(&other, &you, &me).await, block);
    assert_eq!(lists(&other, &me, &you).await, Lists::NONE.with(List::Allow));
    // Also with the request still unanswered.
    one.edit(&me, vec![list(&you, List::Forward, true)]).await.unwrap();
    one.edit(&me, vec![list(&you, List::Forward, false)]).await.unwrap();
    assert_eq!(lists(&other, &you, &me).await, block);
}

/// Edits from both sides at once lose nothing: they are cells, not rows.
pub async fn two_may_add_each_other_at_once(source: &dyn Source) {
    let (one, other) = two(source).await;
    for _ in 0..8 {
        let (me, you) = (account(&one, "me").await, account(&other, "you").await);
        let (mine, yours) = (vec![list(&you, List::Forward, true)], vec![list(&me, List::Forward, true)]);
        let (a, b) = tokio::join!(one.edit(&me, mine), other.edit(&you, yours));
        a.and(b).unwrap();
        let both: Lists = [List::Forward, List::Reverse, List::Pending].into_iter().collect();
        assert_eq!((lists(&one, &me, &you).await, lists(&one, &you, &me).await), (both, both));
    }
}

/// Both sides of an entry may be one.
pub async fn one_may_add_oneself(source: &dyn Source) {
    let (one, other) = two(source).await;
    let me = account(&one, "me").await;
    one.edit(&me, vec![list(&me, List::Forward, true)]).await.unwrap();
    let all: Lists = [List::Forward, List::Reverse, List::Pending].into_iter().collect();
    assert_eq!(lists(&other, &me, &me).await, all);
    one.edit(&me, vec![list(&me, List::Forward, false)]).await.unwrap();
    assert_eq!(lists(&other, &me, &me).await, Lists::NONE);
}

/// A contact is called as its owner has chosen, or as it calls itself, whichever side says so, or by its passport.
pub async fn names_follow_the_rule(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (me, you) = (account(&one, "me").await, account(&one, "you").await);
    let own_name = |name: &str| vec![Edit::NameAtContact { contact: you.clone(), name: name.into() }];
    let label = |name: &str| vec![Edit::Name { contact: me.clone(), name: name.into() }];
    one.edit(&me, own_name("Me myself")).await.unwrap();
    assert_eq!(contact(&other, &you, &me).await, None, "a name makes no contact");
    let name = async || contact(&other, &you, &me).await.unwrap().name;
    one.edit(&me, vec![list(&you, List::Forward, true)]).await.unwrap();
    assert_eq!(name().await, "Me myself");
    one.edit(&me, own_name("Zoë \0 \u{1f98b}")).await.unwrap();
    assert_eq!(name().await, "Zoë \0 \u{1f98b}");
    other.edit(&you, label("My friend")).await.unwrap();
    one.edit(&me, own_name("Unheard")).await.unwrap();
    assert_eq!(name().await, "My friend");
    assert!(contact(&one, &you, &me).await.unwrap().is_named);
    other.edit(&you, label("")).await.unwrap();
    assert_eq!(name().await, "Unheard");
    assert!(!contact(&one, &you, &me).await.unwrap().is_named);
    let known = |name: &str| Edit::ContactName { contact: me.clone(), name: name.into() };
    other.edit(&you, vec![known("Seen")]).await.unwrap();
    assert_eq!(name().await, "Seen");
    one.edit(&me, own_name("Renamed")).await.unwrap();
    assert_eq!(name().await, "Renamed", "a name that was seen follows");
    other.edit(&you, [label("Chosen"), vec![known("Seen again")]].concat()).await.unwrap();
    assert_eq!(name().await, "Chosen");
    other.edit(&you, vec![list(&me, List::Forward, true), known("")]).await.unwrap();
    other.edit(&you, label("")).await.unwrap();
    assert_eq!(name().await, me.as_str());
    assert_eq!(contact(&one, &me, &you).await.unwrap().name, you.as_str());
}

/// What a contact has set is kept with it, whichever side writes it, until it leaves the forward list.
pub async fn contacts_have_properties(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (me, you) = (account(&one, "me").await, account(&one, "you").await);
    let mine = |property, value: Option<&str>| Edit::ContactProperty {
        contact: you.clone(),
        property,
        value: value.map(Into::into),
    };
    let yours = |property, value: Option<&str>| Edit::PropertyAtContact {
        contact: me.clone(),
        property,
        value: value.map(Into::into),
    };
    let known = async || contact(&other, &me, &you).await.map(|contact| contact.properties);
    one.edit(&you, vec![yours(Property::HomePhone, Some("1"))]).await.unwrap();
    assert_eq!(known().await, None, "a property makes no contact");
    one.edit(&me, vec![list(&you, List::Allow, true)]).await.unwrap();
    assert_eq!(known().await, Some(Properties::new()), "nothing is shown of one who is not on the forward list");
    one.edit(&me, vec![list(&you, List::Forward, true), mine(Property::HomePhone, Some("2"))]).await.unwrap();
    assert_eq!(known().await, Some([(Property::HomePhone, "2".into())].into()));
    let all: Vec<_> = Property::ALL.into_iter().map(|(property, code)| yours(property, Some(code))).collect();
    one.edit(&you, all).await.unwrap();
    let mut expected: Properties =
        Property::ALL.into_iter().map(|(property, code)| (property, code.into())).collect();
    assert_eq!(known().await.as_ref(), Some(&expected));
    let edits = [yours(Property::WorkPhone, None), yours(Property::MobilePhone, Some("Zoë \0 \u{1f98b}"))];
    one.edit(&you, edits.into()).await.unwrap();
    one.edit(&me, vec![mine(Property::HasBlog, None)]).await.unwrap();
    expected.retain(|property, _| !matches!(property, Property::WorkPhone | Property::HasBlog));
    expected.insert(Property::MobilePhone, "Zoë \0 \u{1f98b}".into());
    assert_eq!(known().await.as_ref(), Some(&expected));
    assert!(roster(&other, &you).await.contacts[&me].properties.is_empty(), "the other side's are its own");
    assert!(roster(&other, &you).await.settings.properties.is_empty());
    for on in [false, true] {
        one.edit(&me, vec![list(&you, List::Forward, on)]).await.unwrap();
        assert_eq!(known().await, Some(Properties::new()), "forgotten with the forward entry");
    }
}

/// Groups hold contacts until either goes.
pub async fn groups_are_put_renamed_and_removed(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (me, you) = (account(&one, "me").await, account(&one, "you").await);
    let (friends, work) = (group(1, "Friends"), group(2, "Work \0 \u{e4}"));
    let join = |group: &Group, on| Edit::Membership { contact: you.clone(), group: group.id, on };
    let edits = vec![
        Edit::PutGroup(friends.clone()),
        Edit::PutGroup(work.clone()),
        list(&you, List::Forward, true),
        join(&friends, true),
        join(&work, true),
    ];
    one.edit(&me, edits).await.unwrap();
    let found = roster(&other, &me).await;
    assert_eq!(found.groups.into_values().collect::<Vec<_>>(), [friends.clone(), work.clone()]);
    assert_eq!(found.contacts[&you].groups, BTreeSet::from([friends.id, work.id]));

    let pals = Group { name: "Pals".into(), ..friends.clone() };
    one.edit(&me, vec![Edit::PutGroup(pals.clone()), join(&work, false)]).await.unwrap();
    let found = roster(&other, &me).await;
    assert_eq!(found.groups[&1], pals);
    assert_eq!(found.contacts[&you].groups, BTreeSet::from([pals.id]));

    one.edit(&me, vec![Edit::RemoveGroup(pals.id)]).await.unwrap();
    let found = roster(&other, &me).await;
    assert_eq!(found.groups.into_values().collect::<Vec<_>>(), [work]);
    assert_eq!(found.contacts[&you].groups, BTreeSet::new());
    assert!(found.contacts[&you].lists.contains(List::Forward));
    assert_eq!(roster(&other, &you).await.groups.len(), 0);
}

/// A phone contact is written whole, holds what it was last given, and leaves nothing behind.
pub async fn phones_are_contacts(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (me, you) = (account(&one, "me").await, account(&one, "you").await);
    let (friends, work) = (group(1, "Friends"), group(2, "Work"));
    let claim = one.account(&me).await.unwrap().unwrap().claim;
    let phone = |number: &str, lists: &[List], name: &str, groups: &[&Group]| {
        let number = PhoneNumber::parse(number).expect("the form is right");
        let (id, lists) = (ContactId::of_phone(claim, &number), lists.iter().copied().collect());
        PhoneContact {
            number,
            id,
            lists,
            name: name.into(),
            groups: groups.iter().map(|group| group.id).collect(),
        }
    };
    let phones = async || roster(&other, &me).await.phones.into_values().collect::<Vec<_>>();
    let both = [List::Forward, List::Allow];
    let (first, second) = (
        phone("tel:+15550100", &both, "Zoë \0 \u{1f98b}", &[&friends, &work]),
        phone("tel:+15550199", &[List::Allow], "", &[]),
    );
    let edits = vec![
        Edit::PutGroup(friends.clone()),
        Edit::PutGroup(work.clone()),
        list(&you, List::Forward, true),
        Edit::PutPhone(first.clone()),
        Edit::PutPhone(second.clone()),
    ];
    one.edit(&me, edits).await.unwrap();
    assert_eq!(phones().await, [first.clone(), second.clone()]);
    let found = roster(&other, &me).await;
    assert_eq!(found.contacts.keys().collect::<Vec<_>>(), [&you], "they are no principals");
    assert_eq!(found.count_on(List::Forward), 2);
    assert_eq!(found.phone_by_id(second.id), Some(&second));
    assert!(roster(&other, &you).await.phones.is_empty());

    let changed = phone("tel:+15550100", &[List::Forward], "Zoë", &[&work]);
    one.edit(&me, vec![Edit::PutPhone(changed.clone())]).await.unwrap();
    assert_eq!(phones().await, [changed.clone(), second.clone()]);
    one.edit(&me, vec![Edit::RemoveGroup(work.id)]).await.unwrap();
    let unlinked = phone("tel:+15550100", &[List::Forward], "Zoë", &[]);
    assert_eq!(phones().await, [unlinked, second.clone()]);

    let remove = |phone: &PhoneContact| Edit::RemovePhone(phone.number.clone());
    one.edit(&me, vec![remove(&changed), remove(&second)]).await.unwrap();
    one.edit(&me, vec![remove(&second)]).await.unwrap();
    assert_eq!(phones().await, []);
    let again = phone("tel:+15550100", &[List::Forward], "", &[]);
    one.edit(&me, vec![Edit::PutPhone(again.clone())]).await.unwrap();
    assert_eq!(phones().await, [again], "neither the name nor the groups of before");
}

/// Who is put on the forward list again is in no group.
pub async fn leaving_the_forward_list_leaves_all_groups(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (me, you) = (account(&one, "me").await, account(&one, "you").await);
    let friends = group(1, "Friends");
    let join = Edit::Membership { contact: you.clone(), group: friends.id, on: true };
    let edits =
        vec![Edit::PutGroup(friends), list(&you, List::Allow, true), list(&you, List::Forward, true), join];
    one.edit(&me, edits).await.unwrap();
    assert_eq!(contact(&other, &me, &you).await.unwrap().groups.len(), 1);
    one.edit(&me, vec![list(&you, List::Forward, false)]).await.unwrap();
    assert_eq!(contact(&other, &me, &you).await.unwrap().groups.len(), 0);
    one.edit(&me, vec![list(&you, List::Forward, true)]).await.unwrap();
    assert_eq!(contact(&other, &me, &you).await.unwrap().groups.len(), 0);
}

/// Until they are written; what is said of earlier ones says nothing of later ones.
pub async fn copies_are_owed_until_they_are_written(source: &dyn Source) {
    let (one, other) = two(source).await;
    let me = account(&one, "me").await;
    assert_eq!(roster(&one, &me).await.copies_owed, None);
    one.edit(&me, vec![Edit::FriendlyName("A".into()), Edit::CopiesOwed(7)]).await.unwrap();
    assert_eq!(roster(&other, &me).await.copies_owed, Some(7));
    other.edit(&me, vec![Edit::FriendlyName("B".into()), Edit::CopiesOwed(u64::MAX)]).await.unwrap();
    one.edit(&me, vec![Edit::CopiesWritten(7)]).await.unwrap();
    assert_eq!(roster(&one, &me).await.copies_owed, Some(u64::MAX));
    for _ in 0..2 {
        other.edit(&me, vec![Edit::CopiesWritten(u64::MAX)]).await.unwrap();
        assert_eq!(roster(&one, &me).await.copies_owed, None);
    }
}

/// Every setting is changed by its edit alone.
pub async fn settings_are_kept(source: &dyn Source) {
    let (one, other) = two(source).await;
    let me = account(&one, "me").await;
    let mut expected = roster(&one, &me).await.settings;
    let mut edits = vec![
        Edit::FriendlyName("Zoë".into()),
        Edit::Strangers(StrangerPolicy::Block),
        Edit::AddPrompt(AddPrompt::Never),
        Edit::Stamp { version: 7, lists_changed: 8, settings_changed: 9, reverse_digest: u64::MAX },
    ];
    expected.friendly_name = "Zoë".into();
    expected.strangers = StrangerPolicy::Block;
    expected.add_prompt = AddPrompt::Never;
    (expected.list_version, expected.lists_changed, expected.settings_changed) = (7, 8, 9);
    expected.reverse_digest = u64::MAX;
    for (property, code) in Property::ALL {
        edits.push(Edit::Property(property, Some(code.into())));
        expected.properties.insert(property, code.into());
    }
    one.edit(&me, edits).await.unwrap();
    assert_eq!(roster(&other, &me).await.settings, expected);
    assert_eq!(other.account(&me).await.unwrap().unwrap().settings, expected);
    let edits = vec![
        Edit::Property(Property::HomePhone, None),
        Edit::Property(Property::WorkPhone, Some("555".into())),
        Edit::Strangers(StrangerPolicy::Allow),
        Edit::AddPrompt(AddPrompt::Ask),
    ];
    one.edit(&me, edits).await.unwrap();
    expected.properties.remove(&Property::HomePhone);
    expected.properties.insert(Property::WorkPhone, "555".into());
    (expected.strangers, expected.add_prompt) = (StrangerPolicy::Allow, AddPrompt::Ask);
    assert_eq!(roster(&other, &me).await.settings, expected);
}

/// Repeating edits after an unknown outcome changes nothing more.
pub async fn repeated_edits_change_nothing(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (me, you, they) = (account(&one, "me").await, account(&one, "you").await, account(&one, "they").await);
    let (friends, gone) = (group(1, "Friends"), group(2, "Gone"));
    let edits = vec![
        Edit::PutGroup(friends.clone()),
        Edit::PutGroup(gone.clone()),
        list(&you, List::Forward, true),
        list(&they, List::Forward, true),
        Edit::Membership { contact: you.clone(), group: friends.id, on: true },
        Edit::Name { contact: you.clone(), name: "You".into() },
        Edit::ContactName { contact: they.clone(), name: "They".into() },
        Edit::NameAtContact { contact: you.clone(), name: "Me".into() },
        Edit::ContactProperty { contact: you.clone(), property: Property::WorkPhone, value: Some("5".into()) },
        Edit::ContactProperty { contact: you.clone(), property: Property::HasBlog, value: None },
        Edit::PropertyAtContact { contact: you.clone(), property: Property::HomePhone, value: Some("6".into()) },
        list(&they, List::Forward, false),
        Edit::RemoveGroup(gone.id),
        Edit::FriendlyName("Me".into()),
        Edit::Property(Property::HasBlog, Some("1".into())),
    ];
    one.edit(&me, edits.clone()).await.unwrap();
    let first = (roster(&other, &me).await, roster(&other, &you).await, roster(&other, &they).await);
    assert_eq!((first.0.contacts.len(), first.1.contacts.len(), first.2.contacts.len()), (1, 1, 0));
    one.edit(&me, edits.clone()).await.unwrap();
    other.edit(&me, edits).await.unwrap();
    one.edit(&me, Vec::new()).await.unwrap();
    assert_eq!((roster(&other, &me).await, roster(&other, &you).await, roster(&other, &they).await), first);
}

/// Of edits that were asked for together one never sees a part for long, also when nobody waits for them.
pub async fn edits_come_all_or_none(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (me, you) = (account(&one, "me").await, account(&one, "you").await);
    let friends = group(1, "");
    for n in 0..30_u64 {
        let name = format!("{n}");
        let edits = vec![
            Edit::FriendlyName(name.clone()),
            Edit::PutGroup(Group { name: name.clone(), ..friends.clone() }),
            Edit::Property(Property::HomePhone, Some(name.clone())),
            list(&you, List::Forward, true),
            Edit::NameAtContact { contact: you.clone(), name },
        ];
        // Asked for, and given up at once.
        let _ = timeout(Duration::ZERO, one.edit(&me, edits)).await;
        settle_alike(&other, &me, &you).await;
    }
    assert!(contact(&other, &you, &me).await.is_some());
}

async fn settle_alike(store: &SharedStore, me: &Passport, you: &Passport) {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let (mine, theirs) = (roster(store, me).await, contact(store, you, me).await);
        let Roster { settings, groups, .. } = &mine;
        let names = [
            groups.get(&1).map(|group| group.name.as_str()),
            settings.properties.get(&Property::HomePhone).map(String::as_str),
            theirs.as_ref().map(|contact| contact.name.as_str()),
        ];
        let name = Some(settings.friendly_name.as_str());
        let none_yet = name == Some("Somebody") && names == [None; 3];
        if none_yet || names.iter().all(|other| *other == name) {
            return;
        }
        assert!(Instant::now() < deadline, "{name:?} and {names:?}");
    }
}

/// A roster at its limits comes back whole.
pub async fn large_rosters_are_whole(source: &dyn Source) {
    let (one, other) = two(source).await;
    let me = account(&one, "me").await;
    let groups: Vec<_> = (1..=30).map(|number| group(number, &format!("group {number}"))).collect();
    one.edit(&me, groups.iter().cloned().map(Edit::PutGroup).collect()).await.unwrap();
    let contacts: Vec<_> = (0..1000).map(|n| passport(&format!("c{n}"))).collect();
    let mut edits = JoinSet::new();
    for (some, group) in contacts.chunks(100).zip(groups.iter().cycle()) {
        let add = |contact: &Passport| {
            let join = Edit::Membership { contact: contact.clone(), group: group.id, on: true };
            [list(contact, List::Forward, true), list(contact, List::Allow, true), join]
        };
        let (store, me, batch) = (one.clone(), me.clone(), some.iter().flat_map(add).collect());
        edits.spawn(async move { store.edit(&me, batch).await.unwrap() });
    }
    edits.join_all().await;
    let found = roster(&other, &me).await;
    assert_eq!((found.contacts.len(), found.groups.len()), (1000, 30));
    assert!(contacts.iter().all(|contact| found.contacts[contact].groups.len() == 1));
}
