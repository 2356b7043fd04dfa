//! A principal's contacts and groups, and the rules by which they change (protocol reference §6.9–6.13, §7).

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ContactId, GroupId, List, Lists, Passport, PhoneContact, PhoneNumber, Properties, Settings, StrangerPolicy,
};

/// Somebody on at least one list of the owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Who.
    pub passport: Passport,
    /// The id by which dialects from MSNP10 name it: always [`ContactId::of`] the owner's claim and the passport.
    pub id: ContactId,
    /// The lists it is on.
    pub lists: Lists,
    /// The name that the owner chose for it, or else what it calls itself as far as that is known, or else its passport. Decoded.
    pub name: String,
    /// The owner chose that name (`REA`, `SBP`): it stays, whatever the contact calls itself. Otherwise it is the contact's own.
    pub is_named: bool,
    /// The groups it is in; only of meaning on the forward list.
    pub groups: BTreeSet<GroupId>,
    /// What the contact has set of the properties that [`Property::is_kept_by_contacts`]: a copy within the owner's
    /// account, so that nobody else's is read to show it. Empty for one who is not on the forward list.
    ///
    /// [`Property::is_kept_by_contacts`]: super::Property::is_kept_by_contacts
    pub properties: Properties,
}

impl Contact {
    /// The lists as a client sees them: cells of the server resolved to what its dialect knows.
    ///
    /// An entry of the reverse list that its owner has not answered shows as pending *instead* where the dialect
    /// has a pending list (§6.10). Answered it is by taking the pending cell off (`REM PL`, `ADC RL`), or by having
    /// decided whether that person may see the owner: dialects before MSNP10 know no other answer, and it must not
    /// be asked for again when the owner signs in with a newer client. A pending cell whose reverse entry is gone
    /// shows nowhere.
    #[must_use]
    pub fn shown_lists(&self, pending_list: bool) -> Lists {
        let answered = self.lists.contains(List::Allow) || self.lists.contains(List::Block);
        let asks = self.lists.contains(List::Pending) && self.lists.contains(List::Reverse) && !answered;
        if pending_list && asks { self.lists.without(List::Reverse) } else { self.lists.without(List::Pending) }
    }

    /// The name to show: never empty, so that it is always a token of its own.
    #[must_use]
    pub fn shown_name(&self) -> &str {
        if self.name.is_empty() { self.passport.as_str() } else { &self.name }
    }
}

/// A named group of contacts. Both ids name the same group, for old and new dialects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The id of dialects from MSNP10.
    pub id: GroupId,
    /// The id of MSNP7–9: small and dense, from 1; a freed one may be used again.
    pub number: u16,
    /// The name, decoded.
    pub name: String,
}

/// Everything that SYN sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    /// The account's own settings.
    pub settings: Settings,
    /// By passport, so that the order on the wire is always the same.
    pub contacts: BTreeMap<Passport, Contact>,
    /// Phone contacts, by number. Apart from the others, so that nobody asks them for their presence, tells them of
    /// anything or rings them.
    pub phones: BTreeMap<PhoneNumber, PhoneContact>,
    /// By number.
    pub groups: BTreeMap<u16, Group>,
    /// The mark of a change of which the copies at contacts may not have been written: nothing if all are.
    pub copies_owed: Option<u64>,
}

impl Roster {
    /// Whether `who` is on `list`.
    #[must_use]
    pub fn is_on(&self, list: List, who: &Passport) -> bool {
        self.contacts.get(who).is_some_and(|contact| contact.lists.contains(list))
    }

    /// The visibility rule: whether `watcher` may see and contact the owner (protocol reference §7).
    #[must_use]
    pub fn allows(&self, watcher: &Passport) -> bool {
        self.allows_lists(self.lists_of(watcher))
    }

    /// The visibility rule for somebody who would be on these lists.
    #[must_use]
    pub fn allows_lists(&self, lists: Lists) -> bool {
        !lists.contains(List::Block)
            && (lists.contains(List::Allow) || self.settings.strangers == StrangerPolicy::Allow)
    }

    /// Those who have `owner`, whose roster it is, on their forward list and may see it, without itself: who hears
    /// of its changes (protocol reference §6.8, §14).
    pub fn watchers<'a>(&'a self, owner: &'a Passport) -> impl Iterator<Item = &'a Passport> {
        let watching = self.contacts.values().filter(|contact| contact.lists.contains(List::Reverse));
        let others = watching.map(|contact| &contact.passport).filter(move |who| *who != owner);
        others.filter(|who| self.allows(who))
    }

    /// The lists that somebody is on.
    #[must_use]
    pub fn lists_of(&self, who: &Passport) -> Lists {
        self.contacts.get(who).map_or(Lists::NONE, |contact| contact.lists)
    }

    /// How many are on `list`, phones among them.
    #[must_use]
    pub fn count_on(&self, list: List) -> usize {
        let contacts = self.contacts.values().map(|contact| contact.lists);
        let all = contacts.chain(self.phones.values().map(|phone| phone.lists));
        all.filter(|lists| lists.contains(list)).count()
    }

    /// Those of the groups `ids` that exist, by number.
    pub fn groups_of<'a>(&'a self, ids: &'a BTreeSet<GroupId>) -> impl Iterator<Item = &'a Group> {
        self.groups.values().filter(|group| ids.contains(&group.id))
    }

    /// The first group of that name.
    #[must_use]
    pub fn group_by_name(&self, name: &str) -> Option<&Group> {
        self.groups.values().find(|group| group.name == name)
    }

    /// The contact of that id.
    #[must_use]
    pub fn contact_by_id(&self, id: ContactId) -> Option<&Contact> {
        self.contacts.values().find(|contact| contact.id == id)
    }

    /// The phone contact of that id.
    #[must_use]
    pub fn phone_by_id(&self, id: ContactId) -> Option<&PhoneContact> {
        self.phones.values().find(|phone| phone.id == id)
    }

    /// The smallest group number that is free; nothing if all are taken.
    #[must_use]
    pub fn free_group_number(&self) -> Option<u16> {
        (1..=u16::MAX).find(|number| !self.groups.contains_key(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use List::{Allow, Block, Forward, Pending, Reverse};

    #[track_caller]
    fn shown(cells: &[List], pending_list: bool, bits: u8) {
        let passport = Passport::parse("bob@example.com").unwrap();
        let contact = Contact {
            id: ContactId(uuid::Uuid::nil()),
            lists: cells.iter().copied().collect(),
            name: String::new(),
            is_named: false,
            groups: BTreeSet::new(),
            properties: Properties::new(),
            passport,
        };
        assert_eq!(contact.shown_lists(pending_list).bits(), bits, "{cells:?}");
        assert_eq!(contact.shown_name(), "bob@example.com");
    }

    #[test]
    fn pending_stands_in_place_of_reverse_until_answered() {
        shown(&[Reverse, Pending], true, 16);
        shown(&[Reverse, Pending], false, 8);
        shown(&[Reverse], true, 8);
        shown(&[Forward, Reverse, Pending], true, 17);
        shown(&[Forward, Allow, Reverse, Pending], true, 11);
        shown(&[Block, Reverse, Pending], true, 12);
        shown(&[Pending], true, 0);
        shown(&[Pending], false, 0);
    }
}
