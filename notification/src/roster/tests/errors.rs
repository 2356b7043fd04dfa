//! Each error that the reference lists for an edit, in each dialect that has it.

use common::model::List;

use super::*;

/// They name contacts by handle.
const OLD: &[&Dialect] = &[
    &Dialect::MSNP2,
    &Dialect::MSNP3,
    &Dialect::MSNP4,
    &Dialect::MSNP5,
    &Dialect::MSNP6,
    &Dialect::MSNP7,
    &Dialect::MSNP8,
    &Dialect::MSNP9,
];
/// Of these, those that have groups.
const NUMBERED: &[&Dialect] = &[&Dialect::MSNP7, &Dialect::MSNP8, &Dialect::MSNP9];
/// Of these, those that have properties.
const PHONES: &[&Dialect] = &[&Dialect::MSNP5, &Dialect::MSNP6, &Dialect::MSNP7, &Dialect::MSNP8, &Dialect::MSNP9];
/// They name contacts and groups by GUID.
const NEW: &[&Dialect] = &[&Dialect::MSNP10, &Dialect::MSNP11, &Dialect::MSNP12];
const ALL: &[&Dialect] = Dialect::ALL;

/// `line`, sent to Alice's desk in each dialect, gets `reply` and changes nothing.
#[track_caller]
fn check(dialects: &[&'static Dialect], line: &str, reply: &str) {
    check_with(dialects, |_| {}, line, reply);
}

#[track_caller]
fn check_with(dialects: &[&'static Dialect], prepare: impl Fn(&mut Desk), line: &str, reply: &str) {
    for dialect in dialects {
        let mut desk = Desk::alice(dialect);
        prepare(&mut desk);
        let before = desk.roster.clone();
        let line = desk.fill(line);
        let reply = if reply == "close" { reply.to_owned() } else { format!("{reply} 9") };
        assert_eq!(desk.says(&line), [reply], "{} {line}", dialect.number);
        assert_eq!(desk.roster, before);
        assert_eq!(desk.last, Plan::default());
    }
}

#[test]
fn e201_malformed() {
    check(OLD, "ADD 9 FL dave D", "201");
    check(OLD, "ADD 9 AL d%40ve@example.com D", "201");
    check(OLD, "REM 9 FL dave", "201");
    check(OLD, "REA 9 dave D", "201");
    check(NEW, "ADC 9 FL N=dave F=D", "201");
    check(&[&Dialect::MSNP10], "ADC 9 FL N=tel:+15550199 F=D", "201");
    check(OLD, "ADD 9 FL tel:+15550199 D", "201");
    check(NEW, "ADC 9 RL N=dave", "201");
    check(NEW, "REM 9 AL dave", "201");
    check(NEW, "REM 9 FL bob@example.com", "201");
    check(ALL, "BLP 9 XX", "201");
    check(ALL, "GTC 9 AL", "201");
    check(PHONES, "PRP 9 XXX 1", "201");
    check(NEW, "PRP 9 XXX 1", "201");
    check(PHONES, "PRP 9 MOB yes", "201");
    check(NEW, "PRP 9 MOB yes", "201");
    check(PHONES, "PRP 9 MFN Alice", "201");
    check(PHONES, "PRP 9 HSB 1", "201");
    check(NEW, "PRP 9 WWE 3", "201");
    check(NEW, "SBP 9 {bob} XXX 1", "201");
    check(NEW, "SBP 9 {bob} MFN", "201");
}

#[test]
fn e201_oneself() {
    check(OLD, "ADD 9 FL Alice@example.com A", "201");
    check(OLD, "ADD 9 BL alice@example.com A", "201");
    check(NEW, "ADC 9 FL N=alice@example.com F=A", "201");
}

#[test]
fn e201_and_e209_names() {
    let too_many = "a".repeat(130);
    let too_long = "%C3%A9".repeat(65);
    for name in [&too_many, &too_long] {
        check(OLD, &format!("REA 9 alice@example.com {name}"), "201");
        check(OLD, &format!("REA 9 bob@example.com {name}"), "201");
        check(OLD, &format!("ADD 9 FL dave@example.com {name}"), "201");
        check(NEW, &format!("PRP 9 MFN {name}"), "201");
        check(NEW, &format!("SBP 9 {{bob}} MFN {name}"), "201");
        check(NEW, &format!("ADC 9 FL N=dave@example.com F={name}"), "201");
    }
    for name in ["a%0D%0AOUT", "a%00", "%ff"] {
        check(OLD, &format!("REA 9 alice@example.com {name}"), "209");
        check(OLD, &format!("ADD 9 FL dave@example.com {name}"), "209");
        check(NEW, &format!("PRP 9 MFN {name}"), "209");
        check(NEW, &format!("SBP 9 {{bob}} MFN {name}"), "209");
        check(PHONES, &format!("PRP 9 PHH {name}"), "201");
        check(NEW, &format!("PRP 9 PHH {name}"), "201");
        check(NUMBERED, &format!("ADG 9 {name}"), "201");
        check(NEW, &format!("ADG 9 {name}"), "201");
    }
    check(NEW, "PRP 9 MFN", "209");
    check(PHONES, &format!("PRP 9 PHH {}", "1".repeat(96)), "201");
    check(NEW, &format!("PRP 9 PHH {}", "1".repeat(96)), "201");
    let mut desk = Desk::alice(&Dialect::MSNP11);
    for longest in ["a".repeat(129), "%C3%A9".repeat(64)] {
        assert_eq!(desk.says(&format!("PRP 9 MFN {longest}")), [format!("PRP 9 MFN {longest}")]);
    }
    let phone = "1".repeat(95);
    assert_eq!(desk.says(&format!("PRP 9 PHH {phone}")), [format!("PRP 9 PHH {phone}")]);
}

#[test]
fn e205_and_e208_unknown_account() {
    for list in ["FL", "AL", "BL"] {
        check(OLD, &format!("ADD 9 {list} nobody@example.com N"), "205");
        check(NEW, &format!("ADC 9 {list} N=nobody@example.com"), "208");
        // A domain of one label is a domain.
        check(NEW, &format!("ADC 9 {list} N=a@b"), "208");
    }
}

#[test]
fn e210_full() {
    let full = |desk: &mut Desk| {
        (desk.limits.forward_list, desk.limits.allow_list, desk.limits.block_list) = (1, 1, 1);
    };
    let popular = |desk: &mut Desk| {
        let target = Target { properties: Properties::new(), name: None, reverse_count: desk.limits.reverse_list };
        desk.accounts.insert(passport("dave"), target);
    };
    for list in ["FL", "AL", "BL"] {
        check_with(OLD, full, &format!("ADD 9 {list} dave@example.com D"), "210");
        check_with(NEW, full, &format!("ADC 9 {list} N=dave@example.com"), "210");
    }
    check_with(OLD, popular, "ADD 9 FL dave@example.com D", "210");
    check_with(NEW, popular, "ADC 9 FL N=dave@example.com F=D", "210");
}

#[test]
fn e215_already_there() {
    check(OLD, "ADD 9 FL bob@example.com Bob", "215");
    check(NUMBERED, "ADD 9 FL bob@example.com Bob 1", "215");
    check(OLD, "ADD 9 AL bob@example.com Bob", "215");
    check(OLD, "ADD 9 BL carol@example.com Carol", "215");
    check(NEW, "ADC 9 FL N=bob@example.com F=Bob", "215");
    check(NEW, "ADC 9 FL C={bob} {g1}", "215");
    check(NEW, "ADC 9 AL N=bob@example.com", "215");
    let outside = |desk: &mut Desk| desk.put("dave", "Dave", &[List::Forward]);
    check_with(OLD, outside, "ADD 9 FL dave@example.com Dave 0", "215");
}

#[test]
fn e216_not_on_list() {
    check(ALL, "REM 9 AL carol@example.com", "216");
    check(ALL, "REM 9 BL dave@example.com", "216");
    check(OLD, "REM 9 FL carol@example.com", "216");
    check(OLD, "REM 9 FL carol@example.com 1", "216");
    check(OLD, "REA 9 dave@example.com D", "216");
    check(NEW, "REM 9 FL {carol}", "216");
    check(NEW, "REM 9 FL {dave}", "216");
    check(NEW, "REM 9 PL dave@example.com", "216");
    check(NEW, "ADC 9 RL N=dave@example.com", "216");
    check(NEW, "ADC 9 FL C={dave} {g1}", "216");
    check(NEW, "ADC 9 FL C={carol} {g1}", "216");
    check(NEW, "SBP 9 {dave} MFN Dave", "216");
}

#[test]
fn e218_unchanged() {
    check(OLD, "BLP 9 AL", "218");
    check(OLD, "GTC 9 A", "218");
}

#[test]
fn e219_opposite_list() {
    check(OLD, "ADD 9 BL bob@example.com Bob", "219");
    check(OLD, "ADD 9 AL carol@example.com Carol", "219");
}

#[test]
fn e223_e228_e229_groups() {
    let full = |desk: &mut Desk| desk.limits.groups = 1;
    check_with(NUMBERED, full, "ADG 9 Work", "223");
    check_with(NEW, full, "ADG 9 Work", "223");
    check(NUMBERED, &format!("ADG 9 {}", "a".repeat(62)), "229");
    check(NEW, &format!("ADG 9 {}", "a".repeat(62)), "229");
    check(NUMBERED, &format!("ADG 9 {}", "%20".repeat(21)), "229");
    check(NEW, &format!("ADG 9 {}", "%20".repeat(21)), "229");
    check(NUMBERED, &format!("REG 9 1 {} 0", "a".repeat(62)), "229");
    check(NEW, &format!("REG 9 {{g1}} {}", "a".repeat(62)), "229");
    check(NEW, "ADG 9 Friends", "228");
    let two = |desk: &mut Desk| drop(desk.says("ADG 1 Work"));
    check_with(NEW, two, "REG 9 {g2} Fr%69ends", "228");
    for dialect in NUMBERED {
        Desk::alice(dialect).check("C: ADG 9 Friends 0\nS: ADG 9 31 Friends 2 0");
    }
    Desk::alice(&Dialect::MSNP11).check("C: REG 9 {g1} Friends\nS: REG 9 {g1} Friends");
}

#[test]
fn e224_unknown_group() {
    for group in ["2", "65537", "4294967297", "x", "-1"] {
        check(OLD, &format!("ADD 9 FL bob@example.com Bob {group}"), "224");
        check(OLD, &format!("ADD 9 FL dave@example.com Dave {group}"), "224");
        check(OLD, &format!("REM 9 FL bob@example.com {group}"), "224");
        check(NUMBERED, &format!("REG 9 {group} New 0"), "224");
        check(NUMBERED, &format!("RMG 9 {group}"), "224");
    }
    for group in ["{g2}", "1", "0", "x"] {
        check(NEW, &format!("ADC 9 FL C={{bob}} {group}"), "224");
        check(NEW, &format!("REM 9 FL {{bob}} {group}"), "224");
        check(NEW, &format!("REG 9 {group} New"), "224");
        check(NEW, &format!("RMG 9 {group}"), "224");
    }
}

#[test]
fn e225_not_in_group() {
    let two = |desk: &mut Desk| drop(desk.says("ADG 1 Work"));
    check_with(NUMBERED, two, "REM 9 FL bob@example.com 2", "225");
    check_with(NEW, two, "REM 9 FL {bob} {g2}", "225");
}

#[test]
fn e226_kept_group() {
    let keep = |desk: &mut Desk| desk.keep_populated_groups = true;
    check_with(NUMBERED, keep, "RMG 9 1", "226");
    check_with(NEW, keep, "RMG 9 {g1}", "226");
}

#[test]
fn e230_group_zero() {
    check(NUMBERED, "RMG 9 0", "230");
    check(NUMBERED, "REG 9 0 New 0", "230");
}

#[test]
fn e502_dropped() {
    check(&NUMBERED[1..], "LST 9 FL", "502");
    check(NEW, "LST 9 FL", "502");
    check(NEW, "ADD 9 FL bob@example.com Bob", "502");
}

#[test]
fn closed() {
    for list in ["RL", "PL", "XX"] {
        check(OLD, &format!("ADD 9 {list} bob@example.com Bob"), "close");
        check(OLD, &format!("REM 9 {list} bob@example.com"), "close");
    }
    check(NEW, "ADC 9 PL N=bob@example.com", "close");
    check(NEW, "ADC 9 FL bob@example.com Bob", "close");
    check(NEW, "ADC 9 FL N=bob@example.com Bob", "close");
    check(NEW, "ADC 9 AL C={bob}", "close");
    check(NEW, "REM 9 RL bob@example.com", "close");
    check(NEW, "REA 9 alice@example.com Alice", "close");
    check(OLD, "ADC 9 FL N=dave@example.com F=Dave", "close");
    check(OLD, "SBP 9 {bob} MFN Bob", "close");
    for line in ["ADG 9 Work 0", "REG 9 1 Work 0", "RMG 9 1"] {
        check(&OLD[..5], line, "close");
    }
    check(&OLD[..3], "PRP 9 PHH 1", "close");
    check(OLD, "SYN 9 x", "close");
    check(OLD, "ADD 9 AL dave@example.com Dave 1", "close");
}
