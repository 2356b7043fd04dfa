//! Edits of a roster.

use crate::model::{AddPrompt, Group, GroupId, List, Passport, Property, StrangerPolicy};

/// One change of an account's contacts, groups or settings. Each writes cells; none reads first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Puts `contact` on `list` or takes it off. With [`List::Forward`] the contact's own reverse list follows,
    /// and `pending` too when it is put on; taking it off also takes it out of all groups.
    List {
        /// Who.
        contact: Passport,
        /// Which list of the owner.
        list: List,
        /// On or off.
        on: bool,
    },
    /// What the owner's client calls the contact, decoded.
    Name {
        /// Who.
        contact: Passport,
        /// The name.
        name: String,
    },
    /// What the owner calls itself, as the reverse entry at `contact` shows it.
    NameAtContact {
        /// At whom.
        contact: Passport,
        /// The owner's friendly name, decoded.
        name: String,
    },
    /// Puts a contact into a group or takes it out.
    Membership {
        /// Who.
        contact: Passport,
        /// Which group.
        group: GroupId,
        /// In or out.
        on: bool,
    },
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
    /// Sets a property, or clears it.
    Property(Property, Option<String>),
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
