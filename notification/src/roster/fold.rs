//! The same edits as in the store, applied to memory.

use std::collections::BTreeSet;

use common::model::{ClaimId, Contact, ContactId, List, Lists, Passport, Properties, Property, Roster};
use common::store::Edit;

/// Applies edits that the store has taken. Never fails: an edit of what is not there changes nothing.
pub(crate) fn fold(roster: &mut Roster, claim: ClaimId, edits: &[Edit]) {
    for edit in edits {
        apply(roster, claim, edit);
    }
}

fn apply(roster: &mut Roster, claim: ClaimId, edit: &Edit) {
    let settings = &mut roster.settings;
    match edit {
        Edit::List { contact, list, on } => set(roster, claim, contact, *list, *on),
        Edit::Name { contact, name } => {
            if let Some(contact) = roster.contacts.get_mut(contact) {
                match (name.is_empty(), contact.is_named) {
                    (false, _) => contact.name.clone_from(name),
                    // What it calls itself is not in memory any more.
                    (true, true) => contact.passport.as_str().clone_into(&mut contact.name),
                    (true, false) => {}
                }
                contact.is_named = !name.is_empty();
            }
        }
        Edit::ContactName { contact, name } => call_itself(roster, contact, name),
        // In the roster of the other.
        Edit::NameAtContact { .. } | Edit::PropertyAtContact { .. } => {}
        Edit::ContactProperty { contact, property, value } => {
            note(roster, contact, *property, value.as_deref());
        }
        Edit::Membership { contact, group, on } => {
            let groups = roster.contacts.get_mut(contact).map(|contact| &mut contact.groups);
            match (groups, on) {
                (Some(groups), true) => drop(groups.insert(*group)),
                (Some(groups), false) => drop(groups.remove(group)),
                (None, _) => {}
            }
        }
        Edit::PutPhone(phone) => drop(roster.phones.insert(phone.number.clone(), phone.clone())),
        Edit::RemovePhone(number) => drop(roster.phones.remove(number)),
        Edit::PutGroup(group) => {
            roster.groups.retain(|_, known| known.id != group.id);
            roster.groups.insert(group.number, group.clone());
        }
        Edit::RemoveGroup(id) => roster.groups.retain(|_, known| known.id != *id),
        Edit::FriendlyName(name) => settings.friendly_name.clone_from(name),
        Edit::Strangers(policy) => settings.strangers = *policy,
        Edit::AddPrompt(prompt) => settings.add_prompt = *prompt,
        Edit::Property(property, Some(value)) => drop(settings.properties.insert(*property, value.clone())),
        Edit::Property(property, None) => drop(settings.properties.remove(property)),
        Edit::CopiesOwed(mark) => roster.copies_owed = Some(*mark),
        Edit::CopiesWritten(mark) => drop(roster.copies_owed.take_if(|owed| owed == mark)),
        Edit::Stamp { version, lists_changed, settings_changed, reverse_digest } => {
            settings.list_version = *version;
            settings.lists_changed = *lists_changed;
            settings.settings_changed = *settings_changed;
            settings.reverse_digest = *reverse_digest;
        }
    }
}

/// Somebody has put the owner on its forward list (with the name that it calls itself) or taken it off (without), applied to
/// memory. The other side has written it to the store.
pub(crate) fn fold_reverse(roster: &mut Roster, claim: ClaimId, by: &Passport, name: Option<&str>) {
    for list in [List::Reverse, List::Pending] {
        set(roster, claim, by, list, name.is_some());
    }
    if let Some(name) = name {
        call_itself(roster, by, name);
    }
}

/// A contact calls itself so. A name that the owner chose stays.
fn call_itself(roster: &mut Roster, contact: &Passport, name: &str) {
    if let Some(contact) = roster.contacts.get_mut(contact).filter(|contact| !contact.is_named) {
        let name = if name.is_empty() { contact.passport.as_str() } else { name };
        contact.name = name.to_owned();
    }
}

/// The part of somebody's lists that others write is this.
pub(crate) fn fold_others_part(roster: &mut Roster, claim: ClaimId, who: &Passport, lists: Lists) {
    for list in [List::Reverse, List::Pending] {
        set(roster, claim, who, list, lists.contains(list));
    }
}

/// A property of `of` has changed; an empty value: it is not set any more. What contacts keep is applied to memory; its
/// session has written it to the store.
pub(crate) fn fold_property(roster: &mut Roster, of: &Passport, property: Property, value: &str) {
    if property.is_kept_by_contacts() {
        note(roster, of, property, Some(value).filter(|value| !value.is_empty()));
    }
}

fn note(roster: &mut Roster, of: &Passport, property: Property, value: Option<&str>) {
    let contact = roster.contacts.get_mut(of).filter(|contact| contact.lists.contains(List::Forward));
    match (contact.map(|contact| &mut contact.properties), value) {
        (Some(properties), Some(value)) => drop(properties.insert(property, value.to_owned())),
        (Some(properties), None) => drop(properties.remove(&property)),
        (None, _) => {}
    }
}

fn set(roster: &mut Roster, claim: ClaimId, who: &Passport, list: List, on: bool) {
    if on {
        let contact = roster.contacts.entry(who.clone()).or_insert_with(|| stranger(claim, who));
        contact.lists = contact.lists.with(list);
        return;
    }
    let Some(contact) = roster.contacts.get_mut(who) else { return };
    contact.lists = contact.lists.without(list);
    if list == List::Forward {
        contact.groups.clear();
        contact.properties.clear();
    }
    if contact.lists.is_empty() {
        roster.contacts.remove(who);
    }
}

fn stranger(claim: ClaimId, who: &Passport) -> Contact {
    Contact {
        passport: who.clone(),
        id: ContactId::of(claim, who),
        lists: Lists::NONE,
        name: who.as_str().to_owned(),
        is_named: false,
        groups: BTreeSet::new(),
        properties: Properties::new(),
    }
}
