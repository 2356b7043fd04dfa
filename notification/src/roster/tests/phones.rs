//! Phone contacts: what clients that know them say and read, and what the others do not see (§6.5, §6.10, §10).

use common::model::{PhoneContact, PhoneNumber};

use super::*;

/// They know phone contacts.
const NEW: [&Dialect; 2] = [&Dialect::MSNP11, &Dialect::MSNP12];

fn number(handle: &str) -> PhoneNumber {
    PhoneNumber::parse(handle).unwrap()
}

/// Alice with a phone on her forward list, in her group.
fn desk(dialect: &'static Dialect) -> Desk {
    let mut desk = Desk::alice(dialect);
    let number = number("tel:+15550100");
    let id = ContactId::of_phone(desk.claim, &number);
    let (lists, groups) = ([List::Forward].into_iter().collect(), [GroupId(Uuid::from_u128(1))].into());
    let put = Edit::PutPhone(PhoneContact { number, id, lists, name: "Dave".into(), groups });
    fold(&mut desk.roster, desk.claim, &[put]);
    desk
}

fn id(desk: &Desk, handle: &str) -> ContactId {
    ContactId::of_phone(desk.claim, &number(handle))
}

#[test]
fn a_phone_is_added_grouped_and_removed() {
    for dialect in NEW {
        let mut desk = Desk::alice(dialect);
        let k = id(&desk, "tel:+15550199");
        let net = if dialect.network_ids { " 4" } else { "" };
        let line = |bits: u8, rest: &str| format!("LST N=tel:+15550199 F=Erin%20E. C={k} {bits}{net}{rest}");
        let shown = |desk: &mut Desk| {
            let mut lines = desk.says("SYN 1 0 0");
            assert!(lines[0].ends_with(" 3 1"), "{}", lines[0]);
            lines.pop().unwrap()
        };
        desk.check(&format!(
            "C: ADC 12 FL N=tel:+1-555-0199 F=Erin%20E.
             S: ADC 12 FL N=tel:+1-555-0199 F=Erin%20E. C={k}"
        ))
        .then(&[]);
        assert_eq!(shown(&mut desk), line(1, ""));
        desk.check("C: ADC 13 AL N=tel:+15550199\nS: ADC 13 AL N=tel:+15550199").then(&[]);
        desk.check(&format!("C: ADC 14 FL C={k} {{g1}}\nS: ADC 14 FL C={k} {{g1}}")).then(&[]);
        assert_eq!(shown(&mut desk), line(3, &format!(" {}", GroupId(Uuid::from_u128(1)))));
        desk.check(&format!("C: REM 15 FL {k} {{g1}}\nS: REM 15 FL {k} {{g1}}")).then(&[]);
        assert_eq!(shown(&mut desk), line(3, ""));
        assert_eq!(desk.roster.settings.list_version, 34, "one for each");
        // Off the forward list it is on the allow list still, and has lost its group.
        desk.check(&format!("C: ADC 16 FL C={k} {{g1}}\nS: ADC 16 FL C={k} {{g1}}"));
        desk.check(&format!("C: REM 17 FL {k}\nS: REM 17 FL {k}")).then(&[]);
        assert_eq!(shown(&mut desk), format!("LST N=tel:+15550199 F=Erin%20E. 2{net}"));
        desk.check("C: REM 18 AL tel:+15550199\nS: REM 18 AL tel:+15550199").then(&[]);
        assert!(desk.roster.phones.is_empty());
        let removed = Edit::RemovePhone(number("tel:+15550199"));
        assert!(desk.last.edits.contains(&removed), "nothing is kept: {:?}", desk.last.edits);
    }
}

#[test]
fn a_phone_without_a_name_shows_its_handle() {
    for added in ["ADC 1 FL N=tel:+1", "ADC 1 FL N=tel:+1 F=", "ADC 1 FL N=tel:+1 F=tel:+1"] {
        let mut desk = Desk::alice(&Dialect::MSNP11);
        let k = id(&desk, "tel:+1");
        desk.says(added);
        assert_eq!(desk.roster.phones[&number("tel:+1")].name, "", "{added}");
        let lines = desk.says("SYN 2 0 0");
        assert_eq!(lines.last().unwrap(), &format!("LST N=tel:+1 F=tel:%2B1 C={k} 1"));
    }
}

/// A name that comes with the allow list stands until one comes with the forward list.
#[test]
fn the_name_is_that_of_the_forward_entry() {
    let mut desk = Desk::alice(&Dialect::MSNP11);
    let name = |desk: &Desk| desk.roster.phones[&number("tel:+1")].name.clone();
    desk.says("ADC 1 AL N=tel:+1 F=Allowed");
    assert_eq!(name(&desk), "Allowed");
    desk.says("ADC 2 FL N=tel:+1");
    assert_eq!(name(&desk), "Allowed");
    let k = id(&desk, "tel:+1");
    desk.says(&format!("REM 3 FL {k}"));
    desk.says("ADC 4 FL N=tel:+1 F=Friend");
    desk.says("REM 5 AL tel:+1");
    desk.says("ADC 6 AL N=tel:+1 F=Other");
    assert_eq!(name(&desk), "Friend");
}

#[test]
fn errors() {
    for dialect in NEW {
        let k = id(&desk(dialect), "tel:+15550100");
        let stranger = id(&desk(dialect), "tel:+1");
        let none = Uuid::from_u128(7);
        let too_long = format!("ADC 9 FL N=tel:+1 F={}", "a".repeat(130));
        for (line, reply) in [
            // A handle that is no number.
            ("ADC 9 FL N=tel:15550100 F=D", "201 9"),
            ("ADC 9 FL N=tel:+1234567890123456 F=D", "201 9"),
            ("ADC 9 AL N=tel:+", "201 9"),
            ("REM 9 FL tel:+15550100", "201 9"),
            // Nothing comes from a phone that could be blocked.
            ("ADC 9 BL N=tel:+15550100", "201 9"),
            ("REM 9 BL tel:+15550100", "216 9"),
            // It has added nobody.
            ("ADC 9 RL N=tel:+15550100", "216 9"),
            ("REM 9 PL tel:+15550100", "216 9"),
            ("ADC 9 PL N=tel:+15550100", "close"),
            ("REM 9 RL tel:+15550100", "close"),
            (&too_long, "201 9"),
            ("ADC 9 FL N=tel:+1 F=%ff", "209 9"),
            ("ADC 9 FL N=tel:+15550100 F=D", "215 9"),
            ("ADC 9 FL N=TEL:+1.555.0100", "215 9"),
            (&format!("ADC 9 FL C={k} {{g1}}"), "215 9"),
            (&format!("ADC 9 FL C={k} {none}"), "224 9"),
            (&format!("REM 9 FL {k} {none}"), "224 9"),
            (&format!("REM 9 FL {stranger}"), "216 9"),
            (&format!("ADC 9 FL C={stranger} {{g1}}"), "216 9"),
            ("REM 9 AL tel:+15550100", "216 9"),
            // §10: its name can't be changed.
            (&format!("SBP 9 {k} MFN Erin"), "213 9"),
            (&format!("SBP 9 {k} XXX 1"), "201 9"),
            (&format!("SBP 9 {stranger} MFN Erin"), "216 9"),
        ] {
            let mut desk = desk(dialect);
            let before = desk.roster.clone();
            let line = desk.fill(line);
            assert_eq!(desk.says(&line), [reply], "{} {line}", dialect.number);
            assert_eq!((&desk.roster, &desk.last), (&before, &Plan::default()), "{line}");
        }
        let mut desk = desk(dialect);
        desk.says(&format!("REM 1 FL {k} {}", GroupId(Uuid::from_u128(1))));
        assert_eq!(desk.says(&format!("REM 9 FL {k} {}", GroupId(Uuid::from_u128(1)))), ["225 9"]);
        // A client that notes something else about it waits for the echo only.
        assert_eq!(desk.says(&format!("SBP 9 {k} PHM 555")), [format!("SBP 9 {k} PHM 555")]);
        assert!(desk.last.edits.is_empty());
    }
}

#[test]
fn phones_count_like_others() {
    let mut desk = desk(&Dialect::MSNP11);
    (desk.limits.forward_list, desk.limits.allow_list) = (3, 2);
    assert_eq!(desk.says("ADC 1 FL N=tel:+1")[0].split(' ').next(), Some("ADC"));
    assert_eq!(desk.says("ADC 9 FL N=tel:+2"), ["210 9"]);
    assert_eq!(desk.says("ADC 9 FL N=erin@example.com"), ["210 9"]);
    assert_eq!(desk.says("ADC 2 AL N=tel:+2"), ["ADC 2 AL N=tel:+2"]);
    assert_eq!(desk.says("ADC 9 AL N=tel:+1"), ["210 9"]);
    assert_eq!(desk.says("ADC 9 AL N=erin@example.com"), ["210 9"]);
}

/// Neither the lines of a list nor an error tells an older client of a phone, and it changes nothing of one.
#[test]
fn older_clients_see_none() {
    for dialect in Dialect::ALL.iter().filter(|dialect| !dialect.phone_contacts) {
        let (mut with, mut without) = (desk(dialect), Desk::alice(dialect));
        let k = id(&with, "tel:+15550100");
        let add = if dialect.pending_list { "ADC 9 FL N=tel:+15550100" } else { "ADD 9 FL tel:+15550100 D" };
        for line in [
            add,
            "REM 9 AL tel:+15550100",
            &format!("ADC 9 FL C={k} {{g1}}"),
            &format!("REM 9 FL {k}"),
            &format!("SBP 9 {k} MFN Erin"),
            "LST 9 FL",
            "LSG 9",
            "SYN 9 1 1",
        ] {
            let line = with.fill(line);
            let mut read = with.says(&line);
            read[0] = read[0].replacen(".0000001Z", ".0000000Z", 1);
            assert_eq!(read, without.says(&line), "{} {line}", dialect.number);
        }
        assert_eq!(with.roster.phones.len(), 1);
    }
    let mut old = desk(&Dialect::MSNP9);
    assert_eq!(old.says("REA 9 tel:+15550100 Erin"), ["213 9"]);
    assert_eq!(old.says("REA 9 tel:+1 Erin"), ["213 9"], "whether it is kept or not");
}

#[test]
fn a_group_goes_and_its_phones_stay() {
    for dialect in [&Dialect::MSNP7, &Dialect::MSNP10, &Dialect::MSNP12] {
        let group = if dialect.pending_list { "{g1}" } else { "1" };
        for keep in [false, true] {
            let mut desk = desk(dialect);
            desk.keep_populated_groups = keep;
            desk.roster.contacts.clear();
            let read = desk.says(&desk.fill(&format!("RMG 9 {group}")));
            let kept = keep && dialect.phone_contacts;
            assert_eq!(read == ["226 9"], kept, "{}: {read:?}", dialect.number);
            assert_eq!(desk.roster.groups.len(), usize::from(kept));
            assert_eq!(desk.roster.phones[&number("tel:+15550100")].groups.len(), usize::from(kept));
        }
    }
}
