//! Edits of a roster, and how a store's rows become one.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};

use crate::model::{
    AddPrompt, ClaimId, Contact, ContactId, Group, GroupId, List, Lists, Passport, PhoneContact, PhoneNumber,
    Properties, Property, Roster, Settings, StrangerPolicy,
};

/// One change of an account's contacts, groups or settings. Each writes cells; none reads first, so none needs
/// that there is an account, a contact or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Puts `contact` on `list` or takes it off. With [`List::Forward`] the contact's own reverse and pending lists
    /// follow, on and off, whether or not the contact has an account; taking it off also takes it out of all groups
    /// and forgets its properties.
    /// The other lists are cells of the owner's side alone.
    List {
        /// Who.
        contact: Passport,
        /// Which list of the owner.
        list: List,
        /// On or off.
        on: bool,
    },
    /// The name that the owner has chosen for the contact, decoded. An empty one takes it back.
    Name {
        /// Who.
        contact: Passport,
        /// The name.
        name: String,
    },
    /// What the contact calls itself, as far as the owner's client knows. Shown unless the owner has chosen a name.
    ContactName {
        /// Who.
        contact: Passport,
        /// The name, decoded.
        name: String,
    },
    /// The same cell from the other side: what the owner calls itself, as the reverse entry at `contact` shows it. By itself it puts nobody on a list.
    NameAtContact {
        /// At whom.
        contact: Passport,
        /// The owner's friendly name, decoded.
        name: String,
    },
    /// What the owner knows of a property of the contact; nothing: that it is not set. Shown only while the contact
    /// is on the forward list.
    ContactProperty {
        /// Who.
        contact: Passport,
        /// Which property.
        property: Property,
        /// Its decoded value.
        value: Option<String>,
    },
    /// The same cell from the other side: what `contact` knows of a property of the owner. By itself it puts nobody
    /// on a list.
    PropertyAtContact {
        /// At whom.
        contact: Passport,
        /// Which property of the owner.
        property: Property,
        /// Its decoded value.
        value: Option<String>,
    },
    /// Puts a contact into a group or takes it out. Shown only while the group exists and the contact is on the
    /// forward list.
    Membership {
        /// Who.
        contact: Passport,
        /// Which group.
        group: GroupId,
        /// In or out.
        on: bool,
    },
    /// Puts a phone contact on the lists that it says, or changes it: all of it is written, since all of it is the
    /// owner's. Shown are the groups that exist.
    PutPhone(PhoneContact),
    /// Removes a phone contact from all lists and groups. Nothing of it is kept: whoever tries many numbers fills nothing.
    RemovePhone(PhoneNumber),
    /// Creates or renames a group.
    PutGroup(Group),
    /// Removes a group; the contacts stay.
    RemoveGroup(GroupId),
    /// The name that contacts see, decoded.
    FriendlyName(String),
    /// `BLP`
    Strangers(StrangerPolicy),
    /// `GTC`
    AddPrompt(AddPrompt),
    /// Sets a property of the owner, or clears it.
    Property(Property, Option<String>),
    /// Copies of the owner's name or properties are to be written at contacts from now on, by somebody who remembers that mark.
    CopiesOwed(u64),
    /// All that were owed with that mark are written. Of those owed with a later one this says nothing.
    CopiesWritten(u64),
    /// The list version and times after these edits, and the digest of the reverse list as last shown.
    Stamp {
        /// `Settings::list_version`
        version: u64,
        /// `Settings::lists_changed`
        lists_changed: u64,
        /// `Settings::settings_changed`
        settings_changed: u64,
        /// `Settings::reverse_digest`
        reverse_digest: u64,
    },
}

/// Whom a row of a roster is about. One table holds both, by handle, and no handle is of both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kept {
    Principal(Passport),
    Phone(PhoneNumber),
}

impl Kept {
    /// Reads a row's handle; nothing if it is none.
    pub(super) fn parse(handle: &str) -> Option<Self> {
        let phone = PhoneNumber::parse(handle).map(Self::Phone);
        phone.or_else(|| Passport::parse(handle).ok().map(Self::Principal))
    }
}

/// What a store keeps about one contact of an owner.
pub(super) struct RosterRow {
    pub(super) contact: Kept,
    pub(super) lists: Lists,
    /// What the owner has chosen to call it.
    pub(super) label: Option<String>,
    /// What it calls itself.
    pub(super) own_name: Option<String>,
    pub(super) groups: BTreeSet<GroupId>,
    /// What it has set.
    pub(super) properties: Properties,
}

/// The roster of the account that `owner` claimed: the one place that says what rows mean, for every store.
pub(super) fn assemble(
    owner: ClaimId,
    settings: Settings,
    rows: Vec<RosterRow>,
    groups: Vec<Group>,
    copies_owed: Option<u64>,
) -> Roster {
    let (contacts, phones) = (BTreeMap::new(), BTreeMap::new());
    let mut roster = Roster { settings, contacts, phones, groups: number(groups), copies_owed };
    let known: BTreeSet<GroupId> = roster.groups.values().map(|group| group.id).collect();
    for row in rows.into_iter().filter(|row| !row.lists.is_empty()) {
        let on_forward = row.lists.contains(List::Forward);
        let groups = if on_forward { &row.groups & &known } else { BTreeSet::new() };
        match row.contact {
            Kept::Principal(passport) => {
                let label = row.label.filter(|name| !name.is_empty());
                let is_named = label.is_some();
                let name = label.or(row.own_name.filter(|name| !name.is_empty()));
                let contact = Contact {
                    id: ContactId::of(owner, &passport),
                    lists: row.lists,
                    name: name.unwrap_or_else(|| passport.as_str().to_owned()),
                    is_named,
                    groups,
                    properties: if on_forward { row.properties } else { Properties::new() },
                    passport,
                };
                roster.contacts.insert(contact.passport.clone(), contact);
            }
            Kept::Phone(number) => {
                let id = ContactId::of_phone(owner, &number);
                let name = row.label.unwrap_or_default();
                let phone = PhoneContact { number, id, lists: row.lists, name, groups };
                roster.phones.insert(phone.number.clone(), phone);
            }
        }
    }
    roster
}

/// Groups by number. Two sessions of one principal may overlap for a moment and give the same number twice: the
/// group of the greater id then gets the next free one, so that none is lost.
fn number(mut groups: Vec<Group>) -> BTreeMap<u16, Group> {
    groups.sort_unstable_by_key(|group| (group.number, group.id));
    let mut numbered = BTreeMap::new();
    let mut second = Vec::new();
    for group in groups {
        match numbered.entry(group.number) {
            Entry::Vacant(place) => {
                place.insert(group);
            }
            Entry::Occupied(_) => second.push(group),
        }
    }
    for mut group in second {
        if let Some(free) = (1..=u16::MAX).find(|number| !numbered.contains_key(number)) {
            group.number = free;
            numbered.insert(free, group);
        }
    }
    numbered
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn no_group_is_lost_to_a_number_given_twice() {
        let group = |id: u128, number| Group { id: GroupId(Uuid::from_u128(id)), number, name: id.to_string() };
        let numbered = number(vec![group(9, 1), group(5, 1), group(7, 2)]);
        let names: Vec<_> = numbered.iter().map(|(number, group)| (*number, group.name.as_str())).collect();
        assert_eq!(names, [(1, "5"), (2, "7"), (3, "9")]);
        assert!(numbered.iter().all(|(number, group)| group.number == *number));
    }
}
