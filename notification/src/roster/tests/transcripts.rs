//! The roster's part of the transcripts of the protocol reference, and what follows from each edit.

use std::sync::Arc;

use common::model::List::{Allow, Block, Forward, Pending, Reverse};

use super::*;

fn added(by: &str, name: &str) -> Notice {
    Notice::Added { by: passport(by), name: Arc::from(name) }
}

/// §13.4
#[test]
fn msnp7() {
    let mut desk = Desk::alice(&Dialect::MSNP7);
    desk.says("REM 1 BL carol@example.com");
    desk.roster.settings.list_version = 30;
    desk.check(
        "C: SYN 7 0
         S: SYN 7 30
         S: GTC 7 30 A
         S: BLP 7 30 AL
         S: PRP 7 30 PHH
         S: PRP 7 30 PHW
         S: PRP 7 30 PHM
         S: PRP 7 30 MOB N
         S: PRP 7 30 MBE N
         S: LSG 7 30 1 2 0 Other%20Contacts 0
         S: LSG 7 30 2 2 1 Friends 0
         S: LST 7 FL 30 1 1 bob@example.com Bob 1
         S: BPR 30 bob@example.com PHH
         S: BPR 30 bob@example.com PHW
         S: BPR 30 bob@example.com PHM
         S: BPR 30 bob@example.com MOB N
         S: LST 7 AL 30 1 1 bob@example.com Bob
         S: LST 7 BL 30 0 0
         S: LST 7 RL 30 1 1 bob@example.com Bob
         C: ADG 8 Work 0
         S: ADG 8 31 Work 2 0
         C: ADD 9 FL bob@example.com Bob 2
         S: ADD 9 FL 32 bob@example.com Bob 2
         C: REM 10 FL bob@example.com 1
         S: REM 10 FL 33 bob@example.com 1
         C: REG 11 2 Colleagues 0
         S: REG 11 34 2 Colleagues 0
         C: RMG 12 0
         S: 230 12
         C: RMG 13 1
         S: RMG 13 35 1
         C: SYN 14 35
         S: SYN 14 35
         C: LST 15 FL
         S: LST 15 FL 35 1 1 bob@example.com Bob 2
         C: ADG 16 Again
         S: ADG 16 36 Again 1 0",
    );
}

/// §13.5
#[test]
fn msnp8() {
    let mut desk = Desk::alice(&Dialect::MSNP8);
    assert_eq!(desk.is_added_by("carol", "Carol"), ["ADD 0 RL 31 carol@example.com Carol"]);
    desk.says("PRP 1 PHH 555%20-%201234");
    fold_property(&mut desk.roster, &passport("bob"), Property::MobilePaging, "Y");
    desk.roster.settings.list_version = 35;
    desk.check(
        "C: SYN 8 0
         S: SYN 8 35 2 2
         S: GTC A
         S: BLP AL
         S: PRP PHH 555%20-%201234
         S: LSG 0 Other%20Contacts 0
         S: LSG 1 Friends 0
         S: LST bob@example.com Bob 11 1
         S: BPR MOB Y
         S: LST carol@example.com Carol 12
         C: ADD 11 FL dave@example.com dave@example.com 0
         S: ADD 11 FL 36 dave@example.com dave@example.com 0",
    )
    .then(&[
        Effect::Notify(passport("dave"), added("alice", "Alice")),
        Effect::Watch { who: passport("dave"), trid: TrId(11) },
    ])
    .check(
        "C: ADD 12 AL dave@example.com dave@example.com
         S: ADD 12 AL 37 dave@example.com dave@example.com",
    )
    .then(&[])
    .check(
        "C: REM 13 AL bob@example.com
         S: REM 13 AL 38 bob@example.com",
    )
    .then(&[])
    .check(
        "C: ADD 14 BL bob@example.com Bob
         S: ADD 14 BL 39 bob@example.com Bob",
    )
    .then(&[Effect::HideFrom(passport("bob"))])
    .check(
        "C: BLP 15 AL
         S: 218 15",
    );
    let mut dave = Desk::new("dave", &Dialect::MSNP8);
    dave.roster.settings.list_version = 4;
    assert_eq!(dave.is_added_by("alice", "Alice"), ["ADD 0 RL 5 alice@example.com Alice"]);
}

/// §13.7
#[test]
fn msnp11() {
    let mut desk = Desk::alice(&Dialect::MSNP11);
    assert_eq!(desk.is_added_by("erin", "Erin"), ["ADC 0 RL N=erin@example.com F=Erin"]);
    desk.check(
        "C: SYN 5 0 0
         S: SYN 5 2025-06-15T15:06:41.0000000Z 2025-06-15T15:06:40.0000000Z 3 1
         S: GTC A
         S: BLP AL
         S: PRP MFN Alice
         S: PRP MOB N
         S: PRP MBE N
         S: PRP WWE 0
         S: LSG Friends {g1}
         S: LST N=bob@example.com F=Bob C={bob} 11 {g1}
         S: LST N=carol@example.com F=Carol 4
         S: LST N=erin@example.com F=Erin 16
         C: SYN 6 2025-06-15T15:06:41.0000000Z 2025-06-15T15:06:40.0000000Z
         S: SYN 6 2025-06-15T15:06:41.0000000Z 2025-06-15T15:06:40.0000000Z
         C: ADC 10 RL N=erin@example.com
         S: ADC 10 RL N=erin@example.com
         C: REM 11 PL erin@example.com
         S: REM 11 PL erin@example.com
         C: ADC 12 FL N=erin@example.com F=erin@example.com
         S: ADC 12 FL N=erin@example.com F=erin@example.com C={erin}
         C: ADC 13 AL N=erin@example.com
         S: ADC 13 AL N=erin@example.com
         C: ADC 14 FL C={erin} {g1}
         S: ADC 14 FL C={erin} {g1}
         C: SBP 15 {erin} MFN Erin%20E
         S: SBP 15 {erin} MFN Erin%20E
         C: ADG 16 Work
         S: ADG 16 Work {g2}
         C: REM 17 FL {erin}
         S: REM 17 FL {erin}",
    )
    .then(&[
        Effect::Notify(passport("erin"), Notice::Removed { by: passport("alice") }),
        Effect::Unwatch(passport("erin")),
    ])
    .check(
        "C: ADC 18 FL N=nobody@example.com F=nobody@example.com
         S: 208 18
         C: PRP 19 MFN Alice%20A
         S: PRP 19 MFN Alice%20A",
    )
    .then(&[Effect::NameChanged]);
    assert_eq!(desk.roster.contacts[&passport("erin")].name, "Erin E");
    assert_eq!(desk.roster.lists_of(&passport("erin")), [Allow, Reverse].into_iter().collect());
    assert_eq!(desk.roster.settings.friendly_name, "Alice A");
}

/// `CLIENTS` 18
#[test]
fn properties_follow_a_new_contact_up_to_msnp7() {
    let lines = "S: BPR 31 bob@example.com PHH
                 S: BPR 31 bob@example.com PHW
                 S: BPR 31 bob@example.com PHM
                 S: BPR 31 bob@example.com MOB N";
    for dialect in [&Dialect::MSNP5, &Dialect::MSNP6, &Dialect::MSNP7] {
        Desk::new("alice", dialect).check(&format!(
            "C: ADD 9 FL Bob@example.com B%6fb 0
             S: ADD 9 FL 31 Bob@example.com B%6fb 0
             {lines}"
        ));
    }
    for dialect in [&Dialect::MSNP2, &Dialect::MSNP4, &Dialect::MSNP8, &Dialect::MSNP9] {
        Desk::new("alice", dialect).check(
            "C: ADD 9 FL Bob@example.com B%6fb 0
             S: ADD 9 FL 31 Bob@example.com B%6fb 0",
        );
    }
}

#[test]
fn properties_of_a_contact_are_copied_and_kept() {
    let bob = passport("bob");
    for (dialect, script) in [
        (
            &Dialect::MSNP7,
            "C: ADD 9 FL bob@example.com Bob
             S: ADD 9 FL 31 bob@example.com Bob
             S: BPR 31 bob@example.com PHH 555%201
             S: BPR 31 bob@example.com PHW
             S: BPR 31 bob@example.com PHM
             S: BPR 31 bob@example.com MOB Y",
        ),
        (&Dialect::MSNP8, "C: ADD 9 FL bob@example.com Bob\nS: ADD 9 FL 31 bob@example.com Bob"),
        (
            &Dialect::MSNP11,
            "C: ADC 9 FL N=bob@example.com F=Bob
             S: ADC 9 FL N=bob@example.com F=Bob C={bob}
             S: BPR bob@example.com PHH 555%201
             S: BPR bob@example.com MOB Y
             S: BPR bob@example.com HSB 1",
        ),
    ] {
        let mut desk = Desk::new("alice", dialect);
        let kept: Properties = [
            (Property::HomePhone, "555 1".to_owned()),
            (Property::MobilePaging, "Y".to_owned()),
            (Property::HasBlog, "1".to_owned()),
        ]
        .into();
        let mut set = kept.clone();
        set.insert(Property::MobileEnabled, "Y".into());
        set.insert(Property::DirectDevice, "1".into());
        desk.accounts.get_mut(&bob).unwrap().properties = set;
        desk.check(script);
        let known = |desk: &Desk| desk.roster.contacts[&bob].properties.clone();
        assert_eq!(known(&desk), kept);
        let cleared = Edit::ContactProperty { contact: bob.clone(), property: Property::WorkPhone, value: None };
        assert!(desk.last.edits.contains(&cleared), "nothing is left of an earlier time");
        fold_property(&mut desk.roster, &bob, Property::MobileEnabled, "N");
        fold_property(&mut desk.roster, &bob, Property::MobilePaging, "");
        fold_property(&mut desk.roster, &passport("carol"), Property::MobilePaging, "Y");
        assert_eq!(known(&desk).keys().collect::<Vec<_>>(), [&Property::HomePhone, &Property::HasBlog]);
        assert_eq!(desk.roster.contacts.len(), 1);
        desk.put("bob", "Bob", &[Allow]);
        let handle = if desk.dialect.pending_list { desk.fill("{bob}") } else { bob.to_string() };
        desk.says(&format!("REM 1 FL {handle}"));
        assert_eq!(known(&desk), Properties::new());
    }
}

#[test]
fn own_properties_are_written_where_they_are_kept() {
    let mut desk = Desk::alice(&Dialect::MSNP11);
    for (who, lists) in [("dave", [Reverse, Block]), ("erin", [Reverse, Pending]), ("carol", [Forward, Allow])] {
        desk.put(who, who, &lists);
    }
    let copies = |desk: &Desk| -> Vec<_> {
        let copies = desk.last.edits.iter().filter_map(|edit| match edit {
            Edit::PropertyAtContact { contact, property: Property::MobilePhone, value } => {
                Some((contact.clone(), value.clone()))
            }
            _ => None,
        });
        copies.collect()
    };
    desk.says("PRP 1 PHM 5%205");
    let five = Some("5 5".to_owned());
    assert_eq!(copies(&desk), [(passport("bob"), five.clone()), (passport("erin"), five)]);
    assert!(desk.last.edits.contains(&Edit::Property(Property::MobilePhone, Some("5 5".into()))));
    desk.says("PRP 2 PHM 5%205");
    assert_eq!(copies(&desk), []);
    desk.says("BLP 3 BL");
    desk.says("PRP 4 PHM");
    assert_eq!(copies(&desk), [(passport("bob"), None)]);
    desk.says("PRP 5 MBE Y");
    assert!(!desk.last.edits.iter().any(|edit| matches!(edit, Edit::PropertyAtContact { .. })));
}

#[test]
fn a_contact_moves_between_groups() {
    Desk::alice(&Dialect::MSNP8).check(
        "C: ADD 1 FL bob@example.com Bob 0
         S: ADD 1 FL 30 bob@example.com Bob 0
         C: REM 2 FL bob@example.com 1
         S: REM 2 FL 31 bob@example.com 1
         C: ADD 3 FL bob@example.com Bob 1
         S: ADD 3 FL 32 bob@example.com Bob 1
         C: REM 4 FL bob@example.com 0
         S: REM 4 FL 32 bob@example.com 0
         C: REM 5 FL bob@example.com 1
         S: REM 5 FL 33 bob@example.com 1
         C: REM 6 FL bob@example.com 0
         S: REM 6 FL 34 bob@example.com 0
         C: REM 7 FL bob@example.com 0
         S: 216 7",
    );
}

/// `CLIENTS` 19
/// Dialects up to MSNP6 know no groups: what their clients edit leaves them as they are, and the group argument `0`
/// that some send is as good as none (`CLIENTS` 18).
#[test]
fn groups_outlast_edits_of_clients_that_know_none() {
    let mut desk = Desk::alice(&Dialect::MSNP8);
    let groups = desk.roster.contacts[&passport("bob")].groups.clone();
    assert_eq!(groups.len(), 1);
    for dialect in [&Dialect::MSNP2, &Dialect::MSNP4, &Dialect::MSNP6] {
        desk.dialect = dialect;
        desk.roster.settings.list_version = 30;
        desk.check(
            "C: REA 8 bob@example.com Robert
             S: REA 8 31 bob@example.com Robert
             C: ADD 9 FL bob@example.com Bob 0
             S: 215 9
             C: REM 10 AL bob@example.com
             S: REM 10 AL 32 bob@example.com
             C: ADD 11 BL bob@example.com Bob
             S: ADD 11 BL 33 bob@example.com Bob
             C: REM 12 BL bob@example.com
             S: REM 12 BL 34 bob@example.com
             C: ADD 13 AL bob@example.com Bob
             S: ADD 13 AL 35 bob@example.com Bob
             C: REA 14 bob@example.com Bob
             S: REA 14 36 bob@example.com Bob",
        );
        assert_eq!(desk.roster.contacts[&passport("bob")].groups, groups);
        assert_eq!(desk.roster.groups.len(), 1);
    }
    desk.check("C: REM 15 FL bob@example.com 0\nS: REM 15 FL 37 bob@example.com 0");
    assert!(!desk.roster.is_on(Forward, &passport("bob")));
}

#[test]
fn new_clients_block_in_either_order() {
    let bob = || passport("bob");
    let mut desk = Desk::alice(&Dialect::MSNP11);
    desk.check("C: ADC 1 BL N=bob@example.com\nS: ADC 1 BL N=bob@example.com").then(&[Effect::HideFrom(bob())]);
    desk.check("C: REM 2 AL bob@example.com\nS: REM 2 AL bob@example.com").then(&[]);
    desk.check("C: ADC 3 AL N=bob@example.com\nS: ADC 3 AL N=bob@example.com").then(&[]);
    // Gone before the second half: blocking wins at the next sign-in.
    let mut later = Desk { roster: desk.roster.clone(), ..Desk::alice(&Dialect::MSNP7) };
    let edits = fold_in(&later.owner());
    fold(&mut later.roster, later.claim, &edits);
    assert!(later.roster.is_on(Block, &bob()) && !later.roster.is_on(Allow, &bob()));
    assert!(fold_in(&later.owner()).is_empty());
    desk.check("C: REM 4 BL bob@example.com\nS: REM 4 BL bob@example.com").then(&[Effect::ShowTo(bob())]);
    assert!(fold_in(&desk.owner()).is_empty());
}

#[test]
fn effects_follow_visibility_only() {
    let dave = || passport("dave");
    let mut desk = Desk::alice(&Dialect::MSNP8);
    desk.check("C: BLP 1 BL\nS: BLP 1 31 BL").then(&[Effect::PrivacyChanged]);
    desk.check("C: ADD 2 AL dave@example.com D\nS: ADD 2 AL 32 dave@example.com D")
        .then(&[Effect::ShowTo(dave())]);
    desk.check("C: REM 3 AL dave@example.com\nS: REM 3 AL 33 dave@example.com").then(&[Effect::HideFrom(dave())]);
    desk.check("C: ADD 4 BL dave@example.com D\nS: ADD 4 BL 34 dave@example.com D").then(&[]);
    desk.check("C: REM 5 BL dave@example.com\nS: REM 5 BL 35 dave@example.com").then(&[]);
    desk.check("C: GTC 6 N\nS: GTC 6 36 N").then(&[]);
    desk.check("C: BLP 7 BL\nS: 218 7\nC: GTC 8 N\nS: 218 8").then(&[]);
    desk.dialect = &Dialect::MSNP11;
    desk.check("C: BLP 7 BL\nS: BLP 7 BL\nC: GTC 8 N\nS: GTC 8 N").then(&[]);
    desk.check("C: BLP 9 AL\nS: BLP 9 AL").then(&[Effect::PrivacyChanged]);
}

#[test]
fn names() {
    let mut desk = Desk::alice(&Dialect::MSNP7);
    desk.check("C: REA 1 Alice@Example.com A%20A\nS: REA 1 31 Alice@Example.com A%20A")
        .then(&[Effect::NameChanged]);
    desk.check("C: REA 2 alice@example.com A%20A\nS: REA 2 31 alice@example.com A%20A").then(&[]);
    desk.check("C: REA 3 bob@example.com Bobby\nS: REA 3 32 bob@example.com Bobby").then(&[]);
    desk.check("C: REA 4 bob@example.com Bobby\nS: REA 4 32 bob@example.com Bobby");
    assert_eq!(desk.roster.contacts[&passport("bob")].name, "Bobby");
    // What a client calls a contact stays, and what it adds one under follows; the handle is no name.
    desk.says("ADD 5 AL dave@example.com Dave@example.com");
    desk.is_added_by("dave", "Dave");
    desk.is_removed_by("bob");
    desk.is_added_by("bob", "Robert");
    desk.says("ADD 6 BL erin@example.com Er%20in");
    let name = |who| desk.roster.contacts[&passport(who)].name.as_str();
    assert_eq!((name("bob"), name("dave"), name("erin")), ("Bobby", "Dave", "Er in"));
    desk.is_added_by("erin", "Erin");
    assert_eq!(desk.roster.contacts[&passport("erin")].name, "Erin");
    desk.says("REA 6 dave@example.com My%20Dave");
    desk.is_added_by("dave", "David");
    assert_eq!(desk.roster.contacts[&passport("dave")].name, "My Dave");
    desk.says("ADD 7 FL dave@example.com Davy");
    assert_eq!(desk.roster.contacts[&passport("dave")].name, "Davy", "what was chosen is for the time before");
    desk.says("REM 7 FL dave@example.com");
    desk.accounts.get_mut(&passport("dave")).unwrap().name = Some("Dave D.".into());
    desk.says("ADD 7 FL dave@example.com dave@example.com");
    assert_eq!(desk.roster.contacts[&passport("dave")].name, "Dave D.", "as it calls itself");
    let at_contact = Edit::NameAtContact { contact: passport("dave"), name: "A A".into() };
    assert!(desk.last.edits.contains(&at_contact));
}

#[test]
fn own_properties() {
    let told = |property, value: &str| [Effect::PropertyChanged(property, value.to_owned())];
    let mut desk = Desk::alice(&Dialect::MSNP7);
    desk.check("C: PRP 1 PHM 555%200199\nS: PRP 1 31 PHM 555%200199")
        .then(&told(Property::MobilePhone, "555 0199"));
    desk.check("C: PRP 2 PHM 555%200199\nS: PRP 2 31 PHM 555%200199").then(&[]);
    desk.check("C: PRP 3 MOB Y\nS: PRP 3 32 MOB Y").then(&told(Property::MobilePaging, "Y"));
    desk.check("C: PRP 4 PHM\nS: PRP 4 33 PHM").then(&told(Property::MobilePhone, ""));
    desk.check("C: PRP 5 PHH\nS: PRP 5 33 PHH").then(&[]);
    desk.dialect = &Dialect::MSNP11;
    desk.check("C: PRP 6 WWE 2\nS: PRP 6 WWE 2").then(&told(Property::DirectDevice, "2"));
    desk.check("C: PRP 7 HSB 1\nS: PRP 7 HSB 1").then(&told(Property::HasBlog, "1"));
    desk.check("C: PRP 8 MBE Y\nS: PRP 8 MBE Y").then(&told(Property::MobileEnabled, "Y"));
    desk.check("C: SBP 9 {bob} PHH 555\nS: SBP 9 {bob} PHH 555").then(&[]);
    assert!(desk.last.edits.is_empty());
}

#[test]
fn pending_entries_are_answered_once() {
    for answer in ["ADC 1 RL N=erin@example.com F=Erin", "REM 1 PL erin@example.com"] {
        let mut desk = Desk::alice(&Dialect::MSNP11);
        desk.is_added_by("erin", "Erin");
        assert!(desk.roster.is_on(Pending, &passport("erin")));
        assert!(desk.is_added_by("erin", "Erin").is_empty(), "known already");
        assert_eq!(desk.says(answer), [answer]);
        assert!(!desk.roster.is_on(Pending, &passport("erin")));
        assert_eq!(desk.says("REM 2 PL erin@example.com"), ["REM 2 PL erin@example.com"]);
        assert!(desk.last.edits.is_empty());
        assert_eq!(desk.is_removed_by("erin"), ["REM 0 RL erin@example.com"]);
        assert!(desk.is_removed_by("erin").is_empty());
        assert_eq!(desk.says("REM 3 PL erin@example.com"), ["216 3"]);
        assert!(fold_in(&desk.owner()).is_empty());
    }
    // Taken back before the answer.
    let mut desk = Desk::alice(&Dialect::MSNP11);
    desk.is_added_by("erin", "Erin");
    desk.is_removed_by("erin");
    assert_eq!(desk.says("LST 1 FL"), ["502 1"]);
    assert!(desk.says("SYN 1 0 0")[0].ends_with(" 2 1"));
    assert!(!desk.roster.contacts.contains_key(&passport("erin")), "as in the store");
    assert_eq!(desk.says("REM 3 PL erin@example.com"), ["216 3"]);
}

#[test]
fn what_contacts_are_called_and_reached_by_counts_as_a_change() {
    let bob = passport("bob");
    let mut desk = Desk::alice(&Dialect::MSNP11);
    desk.says("SBP 1 {bob} MFN Bobby");
    desk.says("ADC 2 FL N=dave@example.com F=Dave");
    assert!(fold_in(&desk.owner()).is_empty(), "one's own edits are stamped with what they leave");
    for change in 0..3 {
        let mut away = desk.roster.clone();
        let contact = away.contacts.get_mut(&bob).unwrap();
        match change {
            0 => contact.name = "Robert".into(),
            1 => drop(contact.properties.insert(Property::HomePhone, "555".into())),
            _ => contact.lists = contact.lists.without(Reverse),
        }
        let edits = fold_in(&Owner { roster: &away, ..desk.owner() });
        let [Edit::Stamp { version, lists_changed, .. }] = edits[..] else { panic!("{edits:?}") };
        assert_eq!(version, desk.roster.settings.list_version + 1);
        assert!(lists_changed > desk.roster.settings.lists_changed);
        fold(&mut away, desk.claim, &edits);
        assert!(fold_in(&Owner { roster: &away, ..desk.owner() }).is_empty());
    }
}

#[test]
fn who_may_see_the_owner_again_is_given_what_it_missed() {
    let bob = passport("bob");
    let mut desk = Desk::alice(&Dialect::MSNP8);
    desk.says("ADD 1 BL bob@example.com Bob");
    desk.says("REM 1 AL bob@example.com");
    desk.says("ADD 1 BL bob@example.com Bob");
    desk.says("PRP 2 PHM 555");
    desk.says("REA 3 alice@example.com Al");
    assert!(!desk.last.edits.iter().any(|edit| matches!(edit, Edit::NameAtContact { .. })), "written behind");
    desk.says("REM 4 BL bob@example.com");
    let name = Edit::NameAtContact { contact: bob.clone(), name: "Al".into() };
    let at_bob = |property, value| Edit::PropertyAtContact { contact: bob.clone(), property, value };
    assert!(desk.last.edits.contains(&name));
    assert!(desk.last.edits.contains(&at_bob(Property::MobilePhone, Some("555".into()))));
    assert!(desk.last.edits.contains(&at_bob(Property::WorkPhone, None)), "cleared ones too");
    // Somebody who has not the owner on its list has nowhere to keep it.
    desk.says("ADD 5 BL dave@example.com D");
    desk.says("REM 6 BL dave@example.com");
    assert!(!desk.last.edits.iter().any(|edit| matches!(edit, Edit::NameAtContact { .. })));
}

#[test]
fn what_happened_in_absence_raises_the_version() {
    let mut desk = Desk::alice(&Dialect::MSNP8);
    assert!(fold_in(&desk.owner()).is_empty());
    fold_reverse(&mut desk.roster, desk.claim, &passport("dave"), Some("Dave"));
    let edits = fold_in(&desk.owner());
    assert_eq!(edits.len(), 1);
    fold(&mut desk.roster, desk.claim, &edits);
    assert_eq!(desk.roster.settings.list_version, 31);
    assert!(fold_in(&desk.owner()).is_empty());
    let fresh = Desk::new("carol", &Dialect::MSNP8);
    assert!(fold_in(&fresh.owner()).is_empty(), "a new account has the digest of an empty list");
}

#[test]
fn a_populated_group_is_kept_by_setting_only() {
    let mut desk = Desk::alice(&Dialect::MSNP11);
    desk.keep_populated_groups = true;
    desk.check(
        "C: RMG 1 {g1}\nS: 226 1\nC: REM 2 FL {bob} {g1}\nS: REM 2 FL {bob} {g1}\nC: RMG 3 {g1}\nS: RMG 3 {g1}",
    );
    let mut desk = Desk::alice(&Dialect::MSNP11);
    desk.check("C: ADG 1 New%20Group\nS: ADG 1 New%20Group {g2}\nC: RMG 2 New%20Group\nS: RMG 2 New%20Group");
    desk.check("C: RMG 3 {g1}\nS: RMG 3 {g1}");
    assert!(desk.roster.groups.is_empty() && desk.roster.is_on(Forward, &passport("bob")));
    assert!(desk.roster.contacts[&passport("bob")].groups.is_empty());
}

#[test]
fn times_rise_though_the_clock_steps_back() {
    let mut desk = Desk::alice(&Dialect::MSNP11);
    let last = desk.roster.settings.lists_changed;
    desk.now_ms = 5;
    desk.says("ADG 1 Work");
    assert_eq!(desk.roster.settings.lists_changed, last + 1);
}

/// `CLIENTS` 20
#[test]
fn a_client_that_says_what_a_contact_calls_itself_chooses_nothing() {
    for (dialect, line) in
        [(&Dialect::MSNP9, "REA 1 bob@example.com Bobby"), (&Dialect::MSNP10, "SBP 1 {bob} MFN Bobby")]
    {
        for (present_name, is_named) in [(None, true), (Some("Bob"), true), (Some("Bobby"), false)] {
            let mut desk = Desk::alice(dialect);
            desk.present_name = present_name;
            let line = desk.fill(line);
            desk.says(&line);
            let bob = &desk.roster.contacts[&passport("bob")];
            assert_eq!((bob.name.as_str(), bob.is_named), ("Bobby", is_named), "{present_name:?}");
        }
    }
}

#[test]
fn requests_name_accounts_and_sync() {
    let request = |line: &str, dialect| {
        let mut input = BytesMut::from(format!("{line}\r\n").as_bytes());
        let command = Decoder::new(Service::Notification, 0).decode(&mut input).unwrap().unwrap();
        parse(&command, dialect).unwrap()
    };
    let (old, new) = (&Dialect::MSNP8, &Dialect::MSNP11);
    let bob = passport("bob");
    for (line, dialect, named) in [
        ("ADD 1 FL Bob@Example.com B", old, true),
        ("ADD 1 BL bob@example.com B", old, true),
        ("ADC 1 AL N=bob@example.com", new, true),
        ("ADC 1 RL N=bob@example.com", new, false),
        ("REM 1 AL bob@example.com", new, false),
        ("ADD 1 FL bob B", old, false),
    ] {
        assert_eq!(request(line, dialect).unwrap().names_account(), named.then_some(&bob), "{line}");
    }
    assert!(request("SYN 1 0", old).unwrap().is_sync());
    let list = request("LST 1 FL", &Dialect::MSNP7).unwrap();
    assert!(!list.is_sync() && list.asks_for_lists());
    assert_eq!(request("CHG 1 NLN", old), None);
    let desk = Desk::alice(old);
    for (line, befriends) in [
        ("ADD 1 FL dave@example.com D", true),
        ("ADD 1 FL bob@example.com B 1", false),
        ("ADD 1 AL dave@example.com D", false),
        ("REM 1 FL bob@example.com", false),
    ] {
        assert_eq!(request(line, old).unwrap().befriends(&desk.roster), befriends, "{line}");
    }
}
