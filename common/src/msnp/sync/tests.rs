//! The answers, line by line, after the transcripts of §13.3–13.8.

use uuid::Uuid;

use super::*;
use crate::model::{
    AddPrompt, ClaimId, ContactId, GroupId, Lists, Properties, Property, Settings, StrangerPolicy,
};
use crate::msnp::token::testing::command;

fn empty() -> Roster {
    let settings = Settings {
        friendly_name: "Alice".into(),
        strangers: StrangerPolicy::Allow,
        add_prompt: AddPrompt::Ask,
        properties: Properties::new(),
        list_version: 30,
        lists_changed: 1_750_006_800_120,
        settings_changed: 1_750_006_800_000,
        reverse_digest: 0,
    };
    Roster { settings, contacts: [].into(), phones: [].into(), groups: [].into(), copies_owed: None }
}

const FRIENDS: &str = "2a6a0f0e-7b0d-4a5d-9b0a-0d0f5f0c1a01";

/// Bob is a mutual friend in group 1, Carol is blocked and has Alice, Erin has Alice and is not answered.
fn full() -> Roster {
    let mut roster = empty();
    let friends = GroupId(Uuid::try_parse(FRIENDS).unwrap());
    roster.groups.insert(1, Group { id: friends, number: 1, name: "Friends".into() });
    let all = [List::Forward, List::Allow, List::Reverse];
    for (name, lists, groups) in [
        ("bob", &all[..], vec![friends, GroupId(Uuid::nil())]),
        ("carol", &[List::Block, List::Reverse, List::Pending], vec![friends]),
        ("dave", &[List::Pending], vec![]),
        ("erin", &[List::Reverse, List::Pending], vec![]),
    ] {
        let passport = Passport::parse(&format!("{name}@example.com")).unwrap();
        let id = ContactId::of(ClaimId(Uuid::nil()), &passport);
        let name = format!("{}{}", name[..1].to_uppercase(), &name[1..]);
        let lists: Lists = lists.iter().copied().collect();
        let groups = groups.into_iter().collect();
        let properties = Properties::new();
        roster
            .contacts
            .insert(passport.clone(), Contact { passport, id, lists, name, is_named: false, groups, properties });
    }
    roster
}

#[track_caller]
fn check(roster: &Roster, dialect: &'static Dialect, request: &str, lines: &[&str]) {
    let request = SyncRequest::parse(&command(request), dialect).unwrap().unwrap();
    let owner = Passport::parse("alice@example.com").unwrap();
    let written: Vec<u8> = answer(roster, &owner, dialect, &request).flatten().collect();
    let written = String::from_utf8(written).unwrap();
    assert!(written.ends_with("\r\n"));
    assert_eq!(written.trim_end().split("\r\n").collect::<Vec<_>>(), lines);
}

#[test]
fn list_by_list() {
    let lines = [
        "SYN 7 30",
        "GTC 7 30 A",
        "BLP 7 30 AL",
        "PRP 7 30 PHH",
        "PRP 7 30 PHW",
        "PRP 7 30 PHM",
        "PRP 7 30 MOB N",
        "PRP 7 30 MBE N",
        "LSG 7 30 1 2 0 Other%20Contacts 0",
        "LSG 7 30 2 2 1 Friends 0",
        "LST 7 FL 30 1 1 bob@example.com Bob 1",
        "BPR 30 bob@example.com PHH",
        "BPR 30 bob@example.com PHW",
        "BPR 30 bob@example.com PHM",
        "BPR 30 bob@example.com MOB N",
        "LST 7 AL 30 1 1 bob@example.com Bob",
        "LST 7 BL 30 1 1 carol@example.com Carol",
        "LST 7 RL 30 1 3 bob@example.com Bob",
        "LST 7 RL 30 2 3 carol@example.com Carol",
        "LST 7 RL 30 3 3 erin@example.com Erin",
    ];
    check(&full(), &Dialect::MSNP7, "SYN 7 0", &lines);
    check(&full(), &Dialect::MSNP7, "SYN 7 29", &lines);
    check(&full(), &Dialect::MSNP7, "SYN 7 30", &["SYN 7 30"]);

    let no_groups = lines.iter().filter(|line| !line.starts_with("LSG"));
    let no_groups: Vec<_> =
        no_groups.map(|line| if line.starts_with("LST 7 FL") { &line[..line.len() - 2] } else { line }).collect();
    for dialect in [&Dialect::MSNP5, &Dialect::MSNP6] {
        check(&full(), dialect, "SYN 7 0", &no_groups);
    }
    let bare = no_groups.iter().filter(|line| !line.starts_with("PRP") && !line.starts_with("BPR"));
    let bare: Vec<_> = bare.copied().collect();
    for dialect in [&Dialect::MSNP2, &Dialect::MSNP3, &Dialect::MSNP4] {
        check(&full(), dialect, "SYN 7 0", &bare);
        check(&full(), dialect, "SYN 7 30", &["SYN 7 30"]);
    }
}

#[test]
fn empty_lists_are_said_to_be_empty() {
    let lines = [
        "SYN 7 30",
        "GTC 7 30 A",
        "BLP 7 30 AL",
        "LST 7 FL 30 0 0",
        "LST 7 AL 30 0 0",
        "LST 7 BL 30 0 0",
        "LST 7 RL 30 0 0",
    ];
    check(&empty(), &Dialect::MSNP4, "SYN 7 0", &lines);
}

#[test]
fn merged() {
    let mut roster = full();
    roster.settings.properties.insert(Property::HomePhone, "555 - 1234".into());
    let lines = [
        "SYN 8 30 3 2",
        "GTC A",
        "BLP AL",
        "PRP PHH 555%20-%201234",
        "LSG 0 Other%20Contacts 0",
        "LSG 1 Friends 0",
        "LST bob@example.com Bob 11 1",
        "LST carol@example.com Carol 12",
        "LST erin@example.com Erin 8",
    ];
    for dialect in [&Dialect::MSNP8, &Dialect::MSNP9] {
        check(&roster, dialect, "SYN 8 0", &lines);
        check(&roster, dialect, "SYN 8 30", &["SYN 8 30"]);
    }
    roster.contacts.values_mut().for_each(|contact| contact.groups.clear());
    check(&roster, &Dialect::MSNP8, "SYN 8 1", &{
        let mut lines = lines;
        lines[6] = "LST bob@example.com Bob 11 0";
        lines
    });
    roster.contacts.clear();
    roster.settings.properties.clear();
    let lines = ["SYN 8 30 0 2", "GTC A", "BLP AL", "LSG 1 Friends 0", "LSG 0 Other%20Contacts 0"];
    check(&roster, &Dialect::MSNP8, "SYN 8 0", &lines);
}

#[test]
fn tagged() {
    let roster = full();
    let bob = roster.contacts.values().next().unwrap().id;
    let (lists, rest) = ("2025-06-15T17:00:00.1200000Z", "2025-06-15T17:00:00.0000000Z");
    let syn = format!("SYN 5 {lists} {rest}");
    let counted = format!("{syn} 3 1");
    let group = format!("LSG Friends {FRIENDS}");
    let with_id = format!("LST N=bob@example.com F=Bob C={bob} 11 {FRIENDS}");
    let mut lines = [
        &counted[..],
        "GTC A",
        "BLP AL",
        "PRP MFN Alice",
        "PRP MOB N",
        "PRP MBE N",
        "PRP WWE 0",
        &group,
        &with_id,
        "LST N=carol@example.com F=Carol 12",
        "LST N=erin@example.com F=Erin 16",
    ];
    for request in ["SYN 5 0 0", "SYN 5 0", "SYN 5 7 0", &format!("SYN 5 {rest} {lists}")] {
        check(&roster, &Dialect::MSNP10, request, &lines);
        check(&roster, &Dialect::MSNP11, request, &lines);
    }
    check(&roster, &Dialect::MSNP11, &syn, &[&syn]);
    let with_net = format!("LST N=bob@example.com F=Bob C={bob} 11 1 {FRIENDS}");
    lines[8] = &with_net;
    lines[9] = "LST N=carol@example.com F=Carol 12 1";
    lines[10] = "LST N=erin@example.com F=Erin 16 1";
    check(&roster, &Dialect::MSNP12, "SYN 5 0 0", &lines);
    let lines = [&format!("{syn} 0 0"), "GTC A", "BLP AL", "PRP MFN Alice", "PRP MOB N", "PRP MBE N", "PRP WWE 0"];
    check(&empty(), &Dialect::MSNP11, "SYN 5 0 0", &lines);
}

/// Two phones: one in a group, one on the allow list only and without a name.
fn with_phones() -> Roster {
    let mut roster = full();
    let friends = roster.groups[&1].id;
    for (number, lists, name, groups) in [
        ("tel:+15550100", &[List::Forward, List::Allow][..], "Dave's phone", vec![friends]),
        ("tel:+15550199", &[List::Allow], "", vec![]),
    ] {
        let number = PhoneNumber::parse(number).unwrap();
        let id = ContactId::of_phone(ClaimId(Uuid::nil()), &number);
        let (lists, name, groups) =
            (lists.iter().copied().collect(), name.to_owned(), groups.into_iter().collect());
        roster.phones.insert(number.clone(), PhoneContact { number, id, lists, name, groups });
    }
    roster
}

/// §6.5: on network 4, and counted.
#[test]
fn phones_come_behind_the_contacts() {
    let roster = with_phones();
    let dave = roster.phones.values().next().unwrap().id;
    let (lists, rest) = ("2025-06-15T17:00:00.1200000Z", "2025-06-15T17:00:00.0000000Z");
    let bob = roster.contacts.values().next().unwrap().id;
    let expected = |network: [&str; 2]| {
        let [messenger, phone] = network;
        let lines = [
            format!("SYN 5 {lists} {rest} 5 1\nGTC A\nBLP AL\nPRP MFN Alice\nPRP MOB N\nPRP MBE N\nPRP WWE 0"),
            format!("LSG Friends {FRIENDS}"),
            format!("LST N=bob@example.com F=Bob C={bob} 11{messenger} {FRIENDS}"),
            format!("LST N=carol@example.com F=Carol 12{messenger}"),
            format!("LST N=erin@example.com F=Erin 16{messenger}"),
            format!("LST N=tel:+15550100 F=Dave's%20phone C={dave} 3{phone} {FRIENDS}"),
            format!("LST N=tel:+15550199 F=tel:%2B15550199 2{phone}"),
        ];
        lines.join("\n")
    };
    for (dialect, network) in [(&Dialect::MSNP11, ["", ""]), (&Dialect::MSNP12, [" 1", " 4"])] {
        let lines = expected(network);
        check(&roster, dialect, "SYN 5 0 0", &lines.split('\n').collect::<Vec<_>>());
        check(&roster, dialect, &format!("SYN 5 {lists} {rest}"), &[&format!("SYN 5 {lists} {rest}")]);
    }
}

#[test]
fn clients_that_know_no_phones_see_none() {
    let (with, without) = (with_phones(), full());
    let written = |roster: &Roster, dialect, request: &str| {
        let request = SyncRequest::parse(&command(request), dialect).unwrap().unwrap();
        let owner = Passport::parse("alice@example.com").unwrap();
        String::from_utf8(answer(roster, &owner, dialect, &request).flatten().collect()).unwrap()
    };
    for dialect in Dialect::ALL.iter().filter(|dialect| !dialect.phone_contacts) {
        let told = written(&with, dialect, "SYN 5 0 0").replacen("17:00:00.1200001Z", "17:00:00.1200000Z", 1);
        assert_eq!(told, written(&without, dialect, "SYN 5 0 0"), "{}", dialect.number);
    }
    // What MSNP10 remembers is current to MSNP10, and to no newer client.
    let (lists, rest) = ("2025-06-15T17:00:00.1200001Z", "2025-06-15T17:00:00.0000000Z");
    let syn = format!("SYN 5 {lists} {rest}");
    check(&with, &Dialect::MSNP10, &syn, &[&syn]);
    let told = written(&with, &Dialect::MSNP11, &syn);
    assert_eq!(told, written(&with, &Dialect::MSNP11, "SYN 5 0 0"));
    assert!(told.contains("LST N=tel:+15550100 "), "{told}");
}

/// §13.5
#[test]
fn properties_follow_their_contact() {
    let mut roster = full();
    for contact in roster.contacts.values_mut() {
        contact.properties = [(Property::MobilePaging, "Y".into()), (Property::HomePhone, "5 5".into())].into();
    }
    let around = |dialect, request: &str| {
        let request = SyncRequest::parse(&command(request), dialect).unwrap().unwrap();
        let owner = Passport::parse("alice@example.com").unwrap();
        let written: Vec<u8> = answer(&roster, &owner, dialect, &request).flatten().collect();
        let written = String::from_utf8(written).unwrap();
        let lines =
            written.split_terminator("\r\n").map(|line| line.split(' ').take(4).collect::<Vec<_>>().join(" "));
        lines.filter(|line| line.starts_with("LST") || line.starts_with("BPR")).take(6).collect::<Vec<_>>()
    };
    let bpr = |code: &str| format!("BPR 30 bob@example.com {code}");
    let old = ["LST 7 FL 30".to_owned(), bpr("PHH"), bpr("PHW"), bpr("PHM"), bpr("MOB"), "LST 7 AL 30".to_owned()];
    assert_eq!(around(&Dialect::MSNP7, "SYN 7 0"), old);
    let new = around(&Dialect::MSNP8, "SYN 7 0");
    let others = ["LST carol@example.com Carol 12", "LST erin@example.com Erin 8"];
    assert_eq!(new, [["LST bob@example.com Bob 11", "BPR PHH 5%205", "BPR MOB Y"].as_slice(), &others].concat());
    assert_eq!(around(&Dialect::MSNP11, "SYN 7 0 0")[1..3], ["BPR PHH 5%205", "BPR MOB Y"]);
}

#[test]
fn single_lists() {
    let mut roster = full();
    check(&roster, &Dialect::MSNP7, "LST 9 FL", &["LST 9 FL 30 1 1 bob@example.com Bob 1"]);
    check(&roster, &Dialect::MSNP6, "LST 9 FL", &["LST 9 FL 30 1 1 bob@example.com Bob"]);
    check(&roster, &Dialect::MSNP7, "LST 9 BL", &["LST 9 BL 30 1 1 carol@example.com Carol"]);
    let groups = ["LSG 9 30 1 2 0 Other%20Contacts 0", "LSG 9 30 2 2 1 Friends 0"];
    check(&roster, &Dialect::MSNP7, "LSG 9", &groups);
    roster.contacts.clear();
    for dialect in [&Dialect::MSNP2, &Dialect::MSNP7] {
        check(&roster, dialect, "LST 9 RL", &["LST 9 RL 30 0 0"]);
    }
    for dialect in [&Dialect::MSNP8, &Dialect::MSNP9, &Dialect::MSNP11, &Dialect::MSNP12] {
        check(&roster, dialect, "LST 9 FL", &["502 9"]);
        check(&roster, dialect, "LST 9 XX", &["502 9"]);
    }
}

#[test]
fn malformed() {
    let parse = |line: &str| SyncRequest::parse(&command(line), &Dialect::MSNP7);
    let version = Err(ParseError::BadArgument("list version"));
    for line in ["SYN 1 x", "SYN 1 -1", "SYN 1 +1", "SYN 1 99999999999999999999"] {
        assert_eq!(parse(line), version, "{line}");
    }
    assert_eq!(parse("SYN 1"), Err(ParseError::ArgumentCount));
    for line in ["LST 1 PL", "LST 1 fl"] {
        assert_eq!(parse(line), Err(ParseError::BadArgument("list")), "{line}");
    }
}

#[test]
fn times_never_fail() {
    assert_eq!(time(1_092_553_052_870), "2004-08-15T06:57:32.8700000Z");
    assert_eq!(time(0), "1970-01-01T00:00:00.0000000Z");
    assert_eq!(time(u64::MAX), time(0));
}
