//! `ADD`, `ADC` and `REM` (§6.9, §6.10).

use std::sync::Arc;

use common::cluster::Notice;
use common::model::{Contact, ContactId, List, Passport, Property};
use common::msnp::dialect::RosterIds;
use common::msnp::groups::{self, GroupRef};
use common::msnp::lists::{self, Add, Remove, Who};
use common::msnp::{ErrorCode, ParseError, Token, properties};
use common::store::Edit;

use super::properties::copies_at;
use super::{Effect, Owner, Plan, Refused, Target, Touches, phones, texts};

/// What a request comes to, before its reply is written.
struct Change {
    edits: Vec<Edit>,
    effects: Vec<Effect>,
}

pub(super) const SERVERS_OWN: Refused = Refused::Close(ParseError::BadArgument("a list that the server keeps"));

/// `ADD` and `ADC`.
pub(super) fn add(owner: &Owner<'_>, add: &Add, target: Option<&Target>) -> Result<Plan, Refused> {
    if let Some(number) = phones::meant(owner, &add.who) {
        return phones::add(owner, add, number);
    }
    let by_guid = owner.dialect.roster_ids == RosterIds::Guids;
    match add.list {
        List::Forward => return add_forward(owner, add, target),
        List::Allow | List::Block => {}
        List::Reverse if by_guid => return acknowledge(owner, add),
        List::Reverse | List::Pending => return Err(SERVERS_OWN),
    }
    let planned = other(owner, &add.who).and_then(|who| add_privacy(owner, add, who, target));
    let change = planned.map_err(|code| Refused::Code(code, add.trid))?;
    let reply = lists::added(owner.dialect, add, owner.next_version(), None);
    Ok(owner.accept(Touches::Lists, reply, change.edits, change.effects))
}

/// The principal of a request: 201 if it is no handle or no GUID, 216 if the GUID is nobody's.
fn named<'a>(owner: &'a Owner<'_>, who: &'a Who) -> Result<&'a Passport, ErrorCode> {
    match who {
        Who::Handle { passport, .. } => passport.as_ref().map_err(|_| ErrorCode::InvalidParameter),
        // Edits of phones are planned apart.
        Who::Phone { .. } => Err(ErrorCode::InvalidParameter),
        Who::Contact { id, .. } => {
            let id = id.ok_or(ErrorCode::InvalidParameter)?;
            let contact = owner.roster.contact_by_id(id).ok_or(ErrorCode::NotOnList)?;
            Ok(&contact.passport)
        }
    }
}

/// As [`named`], for somebody to be put on a list: 201 for the owner. There is no presence of oneself to be shown,
/// and nothing to block.
fn other<'a>(owner: &'a Owner<'_>, who: &'a Who) -> Result<&'a Passport, ErrorCode> {
    named(owner, who)
        .and_then(|who| if who == owner.passport { Err(ErrorCode::InvalidParameter) } else { Ok(who) })
}

fn add_forward(owner: &Owner<'_>, add: &Add, target: Option<&Target>) -> Result<Plan, Refused> {
    let refuse = |code| Refused::Code(code, add.trid);
    let who = other(owner, &add.who).map_err(refuse)?;
    let group = add.group.as_ref().map(|token| group(owner, token)).transpose().map_err(refuse)?;
    let known = owner.roster.contacts.get(who).filter(|contact| contact.lists.contains(List::Forward));
    let version = owner.next_version();
    if let Some(contact) = known {
        let edits = add_to_group(owner, contact, group).map_err(refuse)?;
        let version = if edits.is_empty() { owner.version() } else { version };
        let reply = lists::added(owner.dialect, add, version, None);
        return Ok(owner.accept(Touches::Lists, reply, edits, Vec::new()));
    }
    if matches!(add.who, Who::Contact { .. }) {
        return Err(refuse(ErrorCode::NotOnList));
    }
    let change = befriend(owner, add, who, group, target).map_err(refuse)?;
    let mut reply = lists::added(owner.dialect, add, version, Some(ContactId::of(owner.claim, who))).to_vec();
    let properties = target.map(|target| &target.properties);
    reply.extend(
        properties.map_or(Vec::new(), |set| properties::told_of_new_contact(owner.dialect, version, who, set)),
    );
    Ok(owner.accept(Touches::Lists, reply.into(), change.edits, change.effects))
}

/// Puts a contact that is on the forward list into one more group.
fn add_to_group(
    owner: &Owner<'_>,
    contact: &Contact,
    group: Option<GroupRef<'_>>,
) -> Result<Vec<Edit>, ErrorCode> {
    let in_any = owner.roster.groups_of(&contact.groups).next().is_some();
    match group {
        Some(GroupRef::Group(group)) if !contact.groups.contains(&group.id) => {
            Ok(vec![Edit::Membership { contact: contact.passport.clone(), group: group.id, on: true }])
        }
        // A client that moves a contact to "Other Contacts" adds it there first, and then takes it out of its
        // group: then it is in none, which is what group 0 means.
        Some(GroupRef::Zero) if in_any && owner.dialect.groups => Ok(Vec::new()),
        _ => Err(ErrorCode::AlreadyThere),
    }
}

/// A new contact on the forward list.
fn befriend(
    owner: &Owner<'_>,
    add: &Add,
    who: &Passport,
    group: Option<GroupRef<'_>>,
    target: Option<&Target>,
) -> Result<Change, ErrorCode> {
    let given = given_name(owner, add, who.as_str())?;
    let target = target.ok_or(unknown_account(owner))?;
    let full = owner.roster.count_on(List::Forward) >= owner.limits.forward_list;
    if full || target.reverse_count >= owner.limits.reverse_list {
        return Err(ErrorCode::ListFull);
    }
    let contact = who.clone();
    let mut edits = vec![Edit::List { contact: contact.clone(), list: List::Forward, on: true }];
    // A name that was chosen for an earlier time as a contact is not meant for this one, nor is the one that a client adds somebody
    // under: it is what the other called itself when the client last saw it.
    edits.push(Edit::Name { contact: contact.clone(), name: String::new() });
    let name = given.or_else(|| target.name.clone());
    edits.extend(name.map(|name| Edit::ContactName { contact: contact.clone(), name }));
    if let Some(GroupRef::Group(group)) = group {
        edits.push(Edit::Membership { contact: contact.clone(), group: group.id, on: true });
    }
    edits.extend(copied_properties(who, target));
    let own_name = &owner.roster.settings.friendly_name;
    edits.push(Edit::NameAtContact { contact: contact.clone(), name: own_name.clone() });
    let notice = Notice::Added { by: owner.passport.clone(), name: Arc::from(own_name.as_str()) };
    let effects = vec![Effect::Notify(contact.clone(), notice), Effect::Watch { who: contact, trid: add.trid }];
    Ok(Change { edits, effects })
}

/// What the owner keeps of a new contact's properties. Those that are not set are cells too, since one from an
/// earlier time as a contact may be left.
///
/// Whether the contact has blocked the owner is known to its own account alone, so that a copy is made in any case;
/// later changes are written by the contact's session, to those who may see it.
fn copied_properties(who: &Passport, target: &Target) -> impl Iterator<Item = Edit> {
    Property::kept_by_contacts().map(|property| Edit::ContactProperty {
        contact: who.clone(),
        property,
        value: target.properties.get(&property).cloned(),
    })
}

/// The name under which the client adds a contact. Clients that know none send the handle: that is no name, and must
/// not stand in the way of what the contact calls itself.
pub(super) fn given_name(owner: &Owner<'_>, add: &Add, who: &str) -> Result<Option<String>, ErrorCode> {
    // `F=` alone says nothing.
    let Some(token) = add.name.as_ref().filter(|token| !token.as_str().is_empty()) else { return Ok(None) };
    let name = texts::friendly_name(token, owner.limits)?;
    Ok(Some(name).filter(|name| !name.eq_ignore_ascii_case(who)))
}

/// An account that does not exist: 205, from MSNP10 208.
fn unknown_account(owner: &Owner<'_>) -> ErrorCode {
    match owner.dialect.roster_ids {
        RosterIds::Numbers => ErrorCode::InvalidUser,
        RosterIds::Guids => ErrorCode::InvalidUserName,
    }
}

/// `ADD` and `ADC` of the allow and block lists.
///
/// Up to MSNP9 nobody can be on both (219). Later clients may put somebody on the one before they take it off the
/// other, in either order, and hang on 219: in between, blocking wins (`CLIENTS` 19). If the second half never
/// comes, [`super::fold_in`] settles it at the next sign-in.
fn add_privacy(
    owner: &Owner<'_>,
    add: &Add,
    who: &Passport,
    target: Option<&Target>,
) -> Result<Change, ErrorCode> {
    let (opposite, limit) = match add.list {
        List::Allow => (List::Block, owner.limits.allow_list),
        _ => (List::Allow, owner.limits.block_list),
    };
    let name = given_name(owner, add, who.as_str())?;
    let strict = owner.dialect.roster_ids == RosterIds::Numbers;
    let known = owner.roster.contacts.contains_key(who);
    match () {
        () if owner.roster.is_on(add.list, who) => Err(ErrorCode::AlreadyThere),
        () if strict && owner.roster.is_on(opposite, who) => Err(ErrorCode::OnOppositeList),
        // Somebody who is on another list exists, or has: that they can be blocked matters more.
        () if !known && target.is_none() => Err(unknown_account(owner)),
        () if owner.roster.count_on(add.list) >= limit => Err(ErrorCode::ListFull),
        () => {
            let mut edits = vec![Edit::List { contact: who.clone(), list: add.list, on: true }];
            let name = name.filter(|_| !known);
            edits.extend(name.map(|name| Edit::ContactName { contact: who.clone(), name }));
            Ok(with_visibility(owner, edits, who, add.list, true))
        }
    }
}

/// `ADC RL`: the owner has seen that somebody added it (§6.10). Clients then send `REM PL` as well, or only that.
fn acknowledge(owner: &Owner<'_>, add: &Add) -> Result<Plan, Refused> {
    let who = named(owner, &add.who).map_err(|code| Refused::Code(code, add.trid))?;
    let plan = answer_pending(owner, who, lists::added(owner.dialect, add, owner.version(), None));
    plan.ok_or(Refused::Code(ErrorCode::NotOnList, add.trid))
}

/// Takes the pending cell off, if it is there; nothing if that person is on neither list. Repeating it is no
/// error, since there are two ways to say it and clients use both.
fn answer_pending(owner: &Owner<'_>, who: &Passport, reply: bytes::Bytes) -> Option<Plan> {
    let lists = owner.roster.lists_of(who);
    if lists.contains(List::Pending) {
        let off = Edit::List { contact: who.clone(), list: List::Pending, on: false };
        return Some(owner.accept(Touches::Lists, reply, vec![off], Vec::new()));
    }
    lists.contains(List::Reverse).then(|| Plan { reply, ..Plan::default() })
}

/// `REM`.
pub(super) fn remove(owner: &Owner<'_>, remove: &Remove) -> Result<Plan, Refused> {
    if let Some(number) = phones::meant(owner, &remove.who) {
        return phones::remove(owner, remove, number);
    }
    let refuse = |code| Refused::Code(code, remove.trid);
    match remove.list {
        List::Reverse => return Err(SERVERS_OWN),
        List::Pending if !owner.dialect.pending_list => return Err(SERVERS_OWN),
        _ => {}
    }
    let who = named(owner, &remove.who).map_err(refuse)?;
    if remove.list == List::Pending {
        let reply = lists::removed(owner.dialect, remove, owner.version());
        return answer_pending(owner, who, reply).ok_or(refuse(ErrorCode::NotOnList));
    }
    let contact = owner.roster.contacts.get(who).filter(|contact| contact.lists.contains(remove.list));
    let contact = contact.ok_or(refuse(ErrorCode::NotOnList))?;
    let change = match (remove.list, &remove.group) {
        (List::Forward, Some(token)) => remove_from_group(owner, contact, token).map_err(refuse)?,
        (List::Forward, None) => forget(owner, who),
        _ => {
            let edits = vec![Edit::List { contact: who.clone(), list: remove.list, on: false }];
            with_visibility(owner, edits, who, remove.list, false)
        }
    };
    let version = if change.edits.is_empty() { owner.version() } else { owner.next_version() };
    let reply = lists::removed(owner.dialect, remove, version);
    Ok(owner.accept(Touches::Lists, reply, change.edits, change.effects))
}

/// `REM FL` with a group.
///
/// Group 0 holds those that are in no other. Taking somebody out of it takes them off the list: libpurple removes
/// a contact by its group only. For a contact that is in some group it changes nothing: a client that moves one
/// out of "Other Contacts" adds it to its new group first.
fn remove_from_group(owner: &Owner<'_>, contact: &Contact, token: &Token) -> Result<Change, ErrorCode> {
    match group(owner, token)? {
        GroupRef::Group(group) if contact.groups.contains(&group.id) => {
            let out = Edit::Membership { contact: contact.passport.clone(), group: group.id, on: false };
            Ok(Change { edits: vec![out], effects: Vec::new() })
        }
        GroupRef::Group(_) => Err(ErrorCode::NotInGroup),
        GroupRef::Zero if owner.dialect.groups && owner.roster.groups_of(&contact.groups).next().is_some() => {
            Ok(Change { edits: Vec::new(), effects: Vec::new() })
        }
        GroupRef::Zero => Ok(forget(owner, &contact.passport)),
    }
}

/// Off the forward list, and out of all groups.
fn forget(owner: &Owner<'_>, who: &Passport) -> Change {
    let notice = Notice::Removed { by: owner.passport.clone() };
    Change {
        edits: vec![Edit::List { contact: who.clone(), list: List::Forward, on: false }],
        effects: vec![Effect::Notify(who.clone(), notice), Effect::Unwatch(who.clone())],
    }
}

pub(super) fn group<'a>(owner: &Owner<'a>, token: &Token) -> Result<GroupRef<'a>, ErrorCode> {
    groups::find(owner.dialect, owner.roster, token).ok_or(ErrorCode::InvalidGroup)
}

/// The edits of the allow or block list, and what they change in who may see the owner. Whoever may see it again is given
/// what it was not told meanwhile.
fn with_visibility(owner: &Owner<'_>, mut edits: Vec<Edit>, who: &Passport, list: List, on: bool) -> Change {
    let effects = visibility(owner, who, list, on);
    if matches!(effects[..], [Effect::ShowTo(_)]) && owner.roster.is_on(List::Reverse, who) {
        edits.extend(copies_at(&owner.roster.settings, who, true));
    }
    Change { edits, effects }
}

/// What an edit of the allow or block list changes in who may see the owner.
fn visibility(owner: &Owner<'_>, who: &Passport, list: List, on: bool) -> Vec<Effect> {
    let before = owner.roster.lists_of(who);
    let after = if on { before.with(list) } else { before.without(list) };
    match (owner.roster.allows_lists(before), owner.roster.allows_lists(after)) {
        (false, true) => vec![Effect::ShowTo(who.clone())],
        (true, false) => vec![Effect::HideFrom(who.clone())],
        _ => Vec::new(),
    }
}
