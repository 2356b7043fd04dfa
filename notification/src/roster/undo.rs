//! Edits taken back.

use common::model::{List, PhoneContact, Roster};
use common::store::Edit;

/// What makes the store as `before` again, whether or not `edits` have happened or will happen late: each cell that they
/// write is written with what it holds now. Nothing if that can't be done without others noticing, or because nobody
/// remembers what the cell held; then only repeating them makes things certain.
pub(crate) fn undo(before: &Roster, edits: &[Edit]) -> Option<Vec<Edit>> {
    let mut undone = Vec::new();
    for edit in edits {
        undone.extend(undo_one(before, edit, edits)?);
    }
    Some(undone)
}

fn undo_one(before: &Roster, edit: &Edit, all: &[Edit]) -> Option<Option<Edit>> {
    let settings = &before.settings;
    Some(Some(match edit {
        Edit::List { contact, list: List::Forward, on } => {
            // To add again is to ask again, and a contact that was removed has lost its groups.
            let was_on = before.is_on(List::Forward, contact);
            (*on && !was_on).then(|| Edit::List { contact: contact.clone(), list: List::Forward, on: false })?
        }
        Edit::List { contact, list, .. } => {
            Edit::List { contact: contact.clone(), list: *list, on: before.is_on(*list, contact) }
        }
        Edit::ContactProperty { contact, property, .. } => {
            let known = before.contacts.get(contact);
            let value = known.and_then(|known| known.properties.get(property).cloned());
            Edit::ContactProperty { contact: contact.clone(), property: *property, value }
        }
        Edit::PropertyAtContact { contact, property, .. } => {
            // By itself it comes with a contact that is let see it from now on: what was kept there nobody remembers.
            let changed = all.iter().any(|edit| matches!(edit, Edit::Property(other, _) if other == property));
            let value = settings.properties.get(property).cloned();
            changed.then(|| Edit::PropertyAtContact { contact: contact.clone(), property: *property, value })?
        }
        Edit::Membership { contact, group, .. } => {
            let known = before.contacts.get(contact);
            let on = known.is_some_and(|known| known.groups.contains(group));
            Edit::Membership { contact: contact.clone(), group: *group, on }
        }
        Edit::PutPhone(PhoneContact { number, .. }) | Edit::RemovePhone(number) => match before.phones.get(number)
        {
            Some(known) => Edit::PutPhone(known.clone()),
            None => Edit::RemovePhone(number.clone()),
        },
        Edit::PutGroup(group) => match before.groups.values().find(|known| known.id == group.id) {
            Some(known) => Edit::PutGroup(known.clone()),
            None => Edit::RemoveGroup(group.id),
        },
        Edit::FriendlyName(_) => Edit::FriendlyName(settings.friendly_name.clone()),
        Edit::Strangers(_) => Edit::Strangers(settings.strangers),
        Edit::AddPrompt(_) => Edit::AddPrompt(settings.add_prompt),
        Edit::Property(property, _) => Edit::Property(*property, settings.properties.get(property).cloned()),
        Edit::Name { contact, .. } => {
            let chosen = before.contacts.get(contact).filter(|known| known.is_named);
            let name = chosen.map(|known| known.name.clone()).unwrap_or_default();
            Edit::Name { contact: contact.clone(), name }
        }
        Edit::ContactName { contact, .. } => {
            let name = match before.contacts.get(contact) {
                // What it calls itself is not known while the owner's choice hides it.
                Some(known) if known.is_named => return None,
                Some(known) if known.name != contact.as_str() => known.name.clone(),
                _ => String::new(),
            };
            Edit::ContactName { contact: contact.clone(), name }
        }
        // Of a group it is not known who was in it.
        Edit::RemoveGroup(_) => return None,
        // A copy of the name that the owner has told the contact; copies that are owed in vain are written; versions only rise.
        Edit::NameAtContact { .. } | Edit::CopiesOwed(_) | Edit::CopiesWritten(_) | Edit::Stamp { .. } => {
            return Some(None);
        }
    }))
}

#[cfg(test)]
mod tests {
    use common::model::{
        AddPrompt, ClaimId, ContactId, Group, GroupId, Passport, PhoneNumber, Properties, Property, Settings,
        StrangerPolicy,
    };
    use uuid::Uuid;

    use super::super::fold;
    use super::*;

    const CLAIM: ClaimId = ClaimId(Uuid::nil());

    fn who(name: &str) -> Passport {
        Passport::parse(&format!("{name}@example.com")).unwrap()
    }

    fn on(name: &str, list: List, on: bool) -> Edit {
        Edit::List { contact: who(name), list, on }
    }

    fn group(name: &str) -> Group {
        Group { id: GroupId(Uuid::nil()), number: 1, name: name.into() }
    }

    fn phone(number: &str, name: &str, lists: &[List]) -> PhoneContact {
        let number = PhoneNumber::parse(number).unwrap();
        let (id, lists) = (ContactId::of_phone(CLAIM, &number), lists.iter().copied().collect());
        PhoneContact { number, id, lists, name: name.into(), groups: [group("").id].into() }
    }

    /// bob and two phones are contacts in a group.
    fn before() -> Roster {
        let settings = Settings {
            friendly_name: "Alice".into(),
            strangers: StrangerPolicy::Allow,
            add_prompt: AddPrompt::Ask,
            properties: Properties::new(),
            list_version: 1,
            lists_changed: 0,
            settings_changed: 0,
            reverse_digest: 0,
        };
        let mut roster =
            Roster { settings, contacts: [].into(), phones: [].into(), groups: [].into(), copies_owed: None };
        let edits = [
            on("bob", List::Forward, true),
            on("bob", List::Allow, true),
            on("dave", List::Allow, true),
            Edit::Name { contact: who("dave"), name: "Dave".into() },
            on("erin", List::Allow, true),
            Edit::ContactName { contact: who("erin"), name: "Erin".into() },
            Edit::PutGroup(group("Friends")),
            Edit::Membership { contact: who("bob"), group: group("").id, on: true },
            Edit::Property(Property::HomePhone, Some("555".into())),
            Edit::PutPhone(phone("tel:+1", "One", &[List::Forward, List::Allow])),
            Edit::PutPhone(phone("tel:+2", "Two", &[List::Forward])),
        ];
        fold(&mut roster, CLAIM, &edits);
        roster
    }

    #[test]
    fn what_is_undone_is_as_before_whether_or_not_it_happened() {
        let edits = [
            Edit::Name { contact: who("carol"), name: "C.".into() },
            Edit::Name { contact: who("bob"), name: "B.".into() },
            Edit::Name { contact: who("dave"), name: "D.".into() },
            Edit::ContactName { contact: who("carol"), name: "C. C.".into() },
            Edit::ContactName { contact: who("erin"), name: "E.".into() },
            on("carol", List::Forward, true),
            on("bob", List::Allow, false),
            on("bob", List::Block, true),
            Edit::ContactProperty { contact: who("bob"), property: Property::HomePhone, value: Some("1".into()) },
            Edit::Membership { contact: who("bob"), group: group("").id, on: false },
            Edit::PutGroup(group("Foes")),
            Edit::PutGroup(Group { id: GroupId(Uuid::max()), number: 2, name: "New".into() }),
            Edit::PutPhone(PhoneContact { groups: [].into(), ..phone("tel:+1", "", &[List::Allow]) }),
            Edit::RemovePhone(PhoneNumber::parse("tel:+2").unwrap()),
            Edit::PutPhone(phone("tel:+3", "Three", &[List::Forward])),
            Edit::FriendlyName("A.".into()),
            Edit::Strangers(StrangerPolicy::Block),
            Edit::Property(Property::HomePhone, None),
            Edit::PropertyAtContact { contact: who("bob"), property: Property::HomePhone, value: None },
        ];
        for count in 0..=edits.len() {
            let (before, mut after) = (before(), before());
            let undone = undo(&before, &edits).unwrap();
            assert_eq!(undone.len(), edits.len());
            fold(&mut after, CLAIM, &edits[..count]);
            fold(&mut after, CLAIM, &undone);
            assert_eq!(after, before, "{count}");
        }
    }

    #[test]
    fn what_nobody_remembers_or_others_would_notice_is_not_undone() {
        let phone = Edit::PropertyAtContact { contact: who("bob"), property: Property::HomePhone, value: None };
        for edit in [
            on("bob", List::Forward, false),
            on("bob", List::Forward, true),
            Edit::ContactName { contact: who("dave"), name: "D.".into() },
            Edit::RemoveGroup(group("").id),
            phone,
        ] {
            assert_eq!(undo(&before(), &[on("bob", List::Block, true), edit]), None);
        }
    }
}
