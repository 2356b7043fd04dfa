//! A principal's contacts and groups, and the rules by which they change (protocol reference §6.9–6.13, §7).

use std::collections::{BTreeMap, BTreeSet};

use super::{ContactId, GroupId, List, Lists, Passport, Settings, StrangerPolicy};

/// Somebody on at least one list of the owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Who.
    pub passport: Passport,
    /// The id by which dialects from MSNP10 name it: always [`ContactId::of`] the owner's claim and the passport.
    pub id: ContactId,
    /// The lists it is on.
    pub lists: Lists,
    /// The name the owner's client gave it, or else the name it called itself when it added the owner, or else
    /// its passport. Decoded.
    pub name: String,
    /// The groups it is in; only of meaning on the forward list.
    pub groups: BTreeSet<GroupId>,
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
    /// By number.
    pub groups: BTreeMap<u16, Group>,
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
        let lists = self.contacts.get(watcher).map_or(Lists::NONE, |contact| contact.lists);
        !lists.contains(List::Block)
            && (lists.contains(List::Allow) || self.settings.strangers == StrangerPolicy::Allow)
    }

    /// The group of that number.
    #[must_use]
    pub fn group_by_id(&self, id: GroupId) -> Option<&Group> {
        self.groups.values().find(|group| group.id == id)
    }

    /// The contact of that id.
    #[must_use]
    pub fn contact_by_id(&self, id: ContactId) -> Option<&Contact> {
        self.contacts.values().find(|contact| contact.id == id)
    }

    /// The smallest group number that is free.
    #[must_use]
    pub fn free_group_number(&self) -> u16 {
        (1..).find(|number| !self.groups.contains_key(number)).unwrap_or(u16::MAX)
    }
}
