//! Random edits by three people, each in any dialect, against a plain model of the store: what memory holds is what a
//! new sign-in would load.

use std::collections::BTreeSet;

use common::model::{Contact, Group, Lists, PhoneContact, PhoneNumber};
use proptest::prelude::*;

use super::*;

/// The cells of the store, as [`Edit`] documents them.
#[derive(Default)]
struct Cells {
    lists: BTreeMap<(Passport, Passport), Lists>,
    members: BTreeSet<(Passport, Passport, GroupId)>,
    groups: BTreeMap<(Passport, GroupId), Group>,
    phones: BTreeMap<(Passport, PhoneNumber), PhoneContact>,
    settings: BTreeMap<Passport, Settings>,
    owed: BTreeMap<Passport, u64>,
    /// By owner and contact.
    properties: BTreeMap<(Passport, Passport), Properties>,
}

impl Cells {
    fn set(&mut self, owner: &Passport, contact: &Passport, list: List, on: bool) {
        let lists = self.lists.entry((owner.clone(), contact.clone())).or_default();
        *lists = if on { lists.with(list) } else { lists.without(list) };
    }

    fn set_property(&mut self, key: (Passport, Passport), property: Property, value: Option<String>) {
        let properties = self.properties.entry(key).or_default();
        match value {
            Some(value) => drop(properties.insert(property, value)),
            None => drop(properties.remove(&property)),
        }
    }

    fn apply(&mut self, owner: &Passport, edit: &Edit) {
        let settings = self.settings.get_mut(owner).unwrap();
        match edit.clone() {
            Edit::List { contact, list, on } => {
                self.set(owner, &contact, list, on);
                if list == List::Forward {
                    self.set(&contact, owner, List::Reverse, on);
                    self.set(&contact, owner, List::Pending, on);
                    if !on {
                        self.members.retain(|(by, who, _)| (by, who) != (owner, &contact));
                        self.properties.remove(&(owner.clone(), contact));
                    }
                }
            }
            Edit::Name { .. } | Edit::ContactName { .. } | Edit::NameAtContact { .. } => {}
            Edit::ContactProperty { contact, property, value } => {
                self.set_property((owner.clone(), contact), property, value);
            }
            Edit::PropertyAtContact { contact, property, value } => {
                self.set_property((contact, owner.clone()), property, value);
            }
            Edit::Membership { contact, group, on } => {
                let key = (owner.clone(), contact, group);
                if on {
                    self.members.insert(key)
                } else {
                    self.members.remove(&key)
                };
            }
            Edit::PutPhone(phone) => drop(self.phones.insert((owner.clone(), phone.number.clone()), phone)),
            Edit::RemovePhone(number) => drop(self.phones.remove(&(owner.clone(), number))),
            Edit::PutGroup(group) => drop(self.groups.insert((owner.clone(), group.id), group)),
            Edit::RemoveGroup(group) => drop(self.groups.remove(&(owner.clone(), group))),
            Edit::FriendlyName(name) => settings.friendly_name = name,
            Edit::Strangers(policy) => settings.strangers = policy,
            Edit::AddPrompt(prompt) => settings.add_prompt = prompt,
            Edit::Property(property, Some(value)) => drop(settings.properties.insert(property, value)),
            Edit::Property(property, None) => drop(settings.properties.remove(&property)),
            Edit::CopiesOwed(mark) => drop(self.owed.insert(owner.clone(), mark)),
            Edit::CopiesWritten(mark) => self.owed.retain(|who, owed| who != owner || *owed != mark),
            Edit::Stamp { version, lists_changed, settings_changed, reverse_digest } => {
                settings.list_version = version;
                settings.lists_changed = lists_changed;
                settings.settings_changed = settings_changed;
                settings.reverse_digest = reverse_digest;
            }
        }
    }

    /// The roster, but for the names of contacts, of which the store knows more than one.
    fn load(&self, owner: &Passport, claim: ClaimId) -> Roster {
        let on_any = self.lists.iter().filter(|((by, _), lists)| by == owner && !lists.is_empty());
        let contact = |((_, who), lists): (&(Passport, Passport), &Lists)| {
            let groups = self.members.iter().filter(|(by, member, _)| (by, member) == (owner, who));
            let properties = self.properties.get(&(owner.clone(), who.clone()));
            let properties = properties.filter(|_| lists.contains(List::Forward));
            let contact = Contact {
                passport: who.clone(),
                id: ContactId::of(claim, who),
                lists: *lists,
                name: String::new(),
                is_named: false,
                groups: groups.map(|(.., group)| *group).collect(),
                properties: properties.cloned().unwrap_or_default(),
            };
            (who.clone(), contact)
        };
        let own = self.groups.iter().filter(|((by, _), _)| by == owner);
        let phones = self.phones.iter().filter(|((by, _), _)| by == owner);
        Roster {
            settings: self.settings[owner].clone(),
            contacts: on_any.map(contact).collect(),
            phones: phones.map(|((_, number), phone)| (number.clone(), phone.clone())).collect(),
            groups: own.map(|(_, group)| (group.number, group.clone())).collect(),
            copies_owed: self.owed.get(owner).copied(),
        }
    }
}

struct World {
    desks: Vec<Desk>,
    cells: Cells,
}

impl World {
    fn new(dialects: [&'static Dialect; 3]) -> Self {
        let mut desks: Vec<_> =
            PEOPLE.into_iter().zip(dialects).map(|(name, dialect)| Desk::new(name, dialect)).collect();
        let mut cells = Cells::default();
        for (at, desk) in desks.iter_mut().enumerate() {
            desk.claim = ClaimId(Uuid::from_u128(at as u128));
            desk.limits.groups = 4;
            cells.settings.insert(desk.passport.clone(), desk.roster.settings.clone());
        }
        let mut world = Self { desks, cells };
        // All are each other's contacts, in a group where there are groups.
        for at in 0..world.desks.len() {
            for (kind, whom) in [(5, 0), (5, 1), (0, 0), (0, 1), (0, 2), (2, 0), (2, 1), (2, 2)] {
                let line = line(&world.desks[at], kind, whom, 0, 1);
                world.play(at, &line);
            }
            world.give_phone(at);
        }
        world.verify();
        world
    }

    /// A phone contact in all groups, from a time when the owner had a client that knows them.
    fn give_phone(&mut self, at: usize) {
        let desk = &mut self.desks[at];
        let number = PhoneNumber::parse("tel:+1").unwrap();
        let id = ContactId::of_phone(desk.claim, &number);
        let groups = desk.roster.groups.values().map(|group| group.id).collect();
        let lists = Lists::NONE.with(List::Forward);
        let put = Edit::PutPhone(PhoneContact { number, id, lists, name: "Phone".into(), groups });
        self.cells.apply(&desk.passport, &put);
        fold(&mut desk.roster, desk.claim, &[put]);
    }

    /// One line of somebody, with all that follows from it for the others.
    fn play(&mut self, at: usize, line: &str) {
        let desk = &mut self.desks[at];
        for (who, settings) in &self.cells.settings {
            desk.accounts.get_mut(who).unwrap().properties.clone_from(&settings.properties);
        }
        let read = desk.says(line);
        assert!(!read.is_empty(), "{line}: no answer");
        self.store(at);
        for effect in self.desks[at].last.effects.clone() {
            match &effect {
                Effect::PropertyChanged(property, value) => self.tell_property(at, *property, value),
                Effect::ShowTo(whom) => self.tell_all_properties(at, whom),
                _ => {}
            }
            let Effect::Notify(to, notice) = effect else { continue };
            let Some(other) = self.desks.iter().position(|desk| desk.passport == to) else { continue };
            let by = PEOPLE[at];
            let read = match notice {
                Notice::Added { name, .. } => self.desks[other].is_added_by(by, &name),
                _ => self.desks[other].is_removed_by(by),
            };
            assert!(read.len() <= 1, "{read:?}");
            self.store(other);
        }
        for desk in &mut self.desks {
            desk.last = Plan::default();
        }
    }

    fn tell_property(&mut self, at: usize, property: Property, value: &str) {
        let desk = &self.desks[at];
        let of = desk.passport.clone();
        let watchers: BTreeSet<_> = desk.roster.watchers(&of).cloned().collect();
        for desk in self.desks.iter_mut().filter(|desk| watchers.contains(&desk.passport)) {
            fold_property(&mut desk.roster, &of, property, value);
        }
    }

    /// Who may see somebody again hears what was not told meanwhile.
    fn tell_all_properties(&mut self, at: usize, whom: &Passport) {
        let Roster { settings, contacts, .. } = self.desks[at].roster.clone();
        if !contacts.get(whom).is_some_and(|contact| contact.lists.contains(List::Reverse)) {
            return;
        }
        let of = self.desks[at].passport.clone();
        for desk in self.desks.iter_mut().filter(|desk| desk.passport == *whom) {
            for property in Property::kept_by_contacts() {
                let value = settings.properties.get(&property).map(String::as_str).unwrap_or_default();
                fold_property(&mut desk.roster, &of, property, value);
            }
        }
    }

    fn store(&mut self, at: usize) {
        let desk = &self.desks[at];
        for edit in &desk.last.edits {
            self.cells.apply(&desk.passport, edit);
        }
    }

    fn verify(&mut self) {
        for desk in &mut self.desks {
            let mut held = desk.roster.clone();
            for contact in held.contacts.values_mut() {
                contact.name.clear();
                contact.is_named = false;
            }
            assert_eq!(held, self.cells.load(&desk.passport, desk.claim), "{}", desk.passport);
            let both =
                |contact: &Contact| contact.lists.contains(List::Allow) && contact.lists.contains(List::Block);
            let torn = held.contacts.values().any(both);
            assert!(!torn || desk.dialect.pending_list, "only new clients may be between two commands");
            // Others may have changed what they are called or reached by: then that is all there is to stamp.
            let edits = fold_in(&desk.owner());
            assert!(torn || matches!(edits[..], [] | [Edit::Stamp { .. }]), "{edits:?}");
            let mut later = desk.roster.clone();
            fold(&mut later, desk.claim, &edits);
            assert!(fold_in(&Owner { roster: &later, ..desk.owner() }).is_empty(), "once");
            assert!(held.groups.keys().all(|number| usize::from(*number) <= desk.limits.groups), "dense");
            assert!(held.groups.iter().all(|(number, group)| *number == group.number));
            for phone in held.phones.values() {
                assert!(!phone.lists.is_empty());
                assert_eq!(
                    desk.roster.groups_of(&phone.groups).count(),
                    phone.groups.len(),
                    "no group is left over"
                );
            }
            verify_sync(desk);
        }
    }
}

/// The counts of SYN are those of its lines.
fn verify_sync(desk: &mut Desk) {
    let read = desk.says("SYN 1 0");
    let count = |verb: &str| read.iter().filter(|line| line.starts_with(verb)).count();
    let first: Vec<_> = read[0].split(' ').collect();
    if let [.., contacts, groups] = first[..]
        && first.len() > 3
    {
        assert_eq!((contacts, groups), (&*count("LST ").to_string(), &*count("LSG ").to_string()));
        return;
    }
    for list in ["FL", "AL", "BL", "RL"] {
        let lines: Vec<_> = read.iter().filter(|line| line.starts_with(&format!("LST 1 {list} "))).collect();
        let all = lines.len();
        for (at, line) in lines.into_iter().enumerate() {
            let tokens: Vec<_> = line.split(' ').collect();
            let empty = tokens[4..] == ["0", "0"];
            assert!(empty || tokens[4..6] == [(at + 1).to_string(), all.to_string()], "{line}");
        }
    }
}

/// A line of somebody's client: mostly sensible, often at the wrong time.
fn line(desk: &Desk, kind: u8, whom: usize, list: usize, group: u16) -> String {
    let who = passport(PEOPLE[whom]);
    let list = ["FL", "AL", "BL", "RL", "PL"][list];
    let by_guid = desk.dialect.pending_list;
    let id = ContactId::of(desk.claim, &who);
    let group = match desk.roster.groups.get(&group) {
        Some(group) if by_guid => group.id.to_string(),
        _ => group.to_string(),
    };
    match (kind, by_guid) {
        (0 | 1, false) => format!("ADD 1 {list} {who} {who}"),
        (0 | 1, true) => format!("ADC 1 {list} N={who}"),
        (2, false) => format!("ADD 1 FL {who} {who} {group}"),
        (2, true) => format!("ADC 1 FL C={id} {group}"),
        (3, true) if list == "FL" => format!("REM 1 FL {id}"),
        (3, _) => format!("REM 1 {list} {who}"),
        (4, false) => format!("REM 1 FL {who} {group}"),
        (4, true) => format!("REM 1 FL {id} {group}"),
        (5, _) => format!("ADG 1 Group{whom}"),
        (6, _) => format!("RMG 1 {group}"),
        (7, _) => format!("REG 1 {group} Group{whom}"),
        (8, _) => format!("BLP 1 {}", ["AL", "BL"][whom % 2]),
        (9, _) if whom == 3 => "PRP 1 PHH".to_owned(),
        (9, _) => format!("PRP 1 {} {}", ["PHH", "MBE"][usize::from(whom == 2)], ["0", "1", "Y"][whom]),
        (12, true) => format!("ADC 1 {list} N=tel:+{whom} F=Phone{whom}"),
        (13, true) => format!("ADC 1 FL C={} {group}", phone_id(desk, whom)),
        (14, true) if list == "FL" => format!("REM 1 FL {}", phone_id(desk, whom)),
        (14, true) => format!("REM 1 {list} tel:+{whom}"),
        (15, true) => format!("REM 1 FL {} {group}", phone_id(desk, whom)),
        (12.., false) => format!("ADD 1 {list} tel:+{whom} Phone{whom}"),
        (10, false) => format!("REA 1 {who} {who}"),
        (10, true) => format!("PRP 1 MFN Name{whom}"),
        _ => format!("GTC 1 {}", ["A", "N"][whom % 2]),
    }
}

fn phone_id(desk: &Desk, whom: usize) -> ContactId {
    ContactId::of_phone(desk.claim, &PhoneNumber::parse(&format!("tel:+{whom}")).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn memory_is_what_a_new_sign_in_would_load(
        dialects in prop::array::uniform3(prop::sample::select(Dialect::ALL)),
        steps in proptest::collection::vec((0..3usize, 0..16u8, 0..4usize, 0..5usize, 0..4u16), 1..80)
    ) {
        let mut world = World::new(dialects);
        for (at, kind, whom, list, group) in steps {
            let line = line(&world.desks[at], kind, whom, list, group);
            world.play(at, &line);
            world.verify();
        }
    }

    #[test]
    fn any_line_gets_an_answer(
        words in proptest::collection::vec("[A-Z0-9=%@a-z.]{1,12}|FL|AL|RL|PL|N=a@b|N=tel:\\+1|tel:\\+1|C=1|MFN|PHH|0|bob@example\\.com", 0..6),
        verb in prop::sample::select(&[
            "SYN", "LST", "LSG", "GTC", "BLP", "ADD", "ADC", "REM", "REA", "SBP", "PRP", "ADG", "REG", "RMG"
        ][..]),
        dialect in prop::sample::select(Dialect::ALL),
    ) {
        let line = [vec![verb.to_owned(), "1".to_owned()], words].concat().join(" ");
        prop_assert!(!Desk::alice(dialect).says(&line).is_empty());
    }
}
