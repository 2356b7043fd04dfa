//! Who sees whom, and how.

use super::*;

#[test]
fn contacts_are_asked_at_sign_in_and_shown_with_the_first_chg() {
    check(
        MSNP7,
        "@ begin
         > bob probe
         > dave probe
         @ bob answers BSY
         @ erin answers NLN
         @ dave gone
         C: CHG 9 NLN
         S: CHG 9 NLN
         S: ILN 9 BSY bob@example.com bob
         S: CHL 0 00000000000000000001
         > bob looks NLN Alice 0
         > erin looks NLN Alice 0
         @ dave answers AWY
         S: ILN 9 AWY dave@example.com dave
         @ bob looks AWY
         S: NLN AWY bob@example.com bob
         @ bob gone
         S: FLN bob@example.com
         @ bob gone
         @ carol looks NLN
         C: CHG 10 NLN
         S: CHG 10 NLN
         C: CHG 11 IDL
         S: CHG 11 IDL
         > bob looks IDL Alice 0
         > erin looks IDL Alice 0",
    );
}

#[test]
fn msnp11_has_objects_and_personal_messages() {
    check(
        MSNP11,
        "C: UUX 7 60/<Data><PSM>at work</PSM><CurrentMedia></CurrentMedia></Data>
         S: UUX 7 0
         @ bob answers NLN <Data>nap</Data>
         C: CHG 8 NLN 1073741860 %3Cmsnobj%2F%3E
         S: CHG 8 NLN 1073741860 %3Cmsnobj%2F%3E
         S: ILN 8 NLN bob@example.com bob 268435492
         S: UBX bob@example.com 16/<Data>nap</Data>
         S: CHL 0 00000000000000000001
         > bob looks NLN Alice 1073741860 <msnobj/> <Data><PSM>at work</PSM><CurrentMedia></CurrentMedia></Data>
         > erin looks NLN Alice 1073741860 <msnobj/> <Data><PSM>at work</PSM><CurrentMedia></CurrentMedia></Data>
         C: UUX 9 0
         S: UUX 9 0
         > bob looks NLN Alice 1073741860 <msnobj/>
         > erin looks NLN Alice 1073741860 <msnobj/>
         @ bob looks NLN <Data>up</Data>
         S: UBX bob@example.com 15/<Data>up</Data>
         @ bob phones 555
         S: BPR bob@example.com PHM 555",
    );
}

#[test]
fn hidden_is_seen_by_nobody() {
    check(
        MSNP8,
        "C: CHG 9 HDN 0
         S: CHG 9 HDN 0
         S: CHL 0 00000000000000000001
         > bob gone
         > erin gone
         @ bob asks
         @ bob calls
         S: (Refused)
         C: XFR 10 SB
         S: 913 10
         @ edit block bob
         @ edit unblock bob
         @ edit rename Al
         C: CHG 11 NLN 0
         S: CHG 11 NLN 0
         > bob looks NLN Al 0
         > erin looks NLN Al 0
         C: CHG 12 HDN
         S: CHG 12 HDN 0
         > bob gone
         > erin gone",
    );
}

#[test]
fn before_the_first_chg_nobody_sees_or_calls() {
    check(
        MSNP7,
        "@ bob asks
         @ bob calls
         S: (Refused)
         @ bob phones 555
         @ reannounce
         C: XFR 10 SB
         S: 913 10
         C: CHG 11 FLN
         S: 201 11
         C: XFR 12 SB
         S: 913 12",
    );
}

#[test]
fn blocking_hides_and_unblocking_shows() {
    check(
        MSNP8,
        "C: CHG 9 BSY 0
         S: CHG 9 BSY 0
         S: CHL 0 00000000000000000001
         > bob looks BSY Alice 0
         > erin looks BSY Alice 0
         @ edit block bob
         > bob gone
         @ bob asks
         @ bob calls
         S: (Refused)
         @ reannounce
         > erin looks BSY Alice 0
         @ edit unblock bob
         > bob HSB
         > bob MOB
         > bob PHH
         > bob PHM
         > bob PHW
         > bob looks BSY Alice 0
         @ bob asks
         > bob at ns-2 answer BSY Alice 0
         @ dave asks
         > dave at ns-2 answer BSY Alice 0
         @ carol asks
         @ edit strangers BL
         > erin gone
         @ erin asks
         @ edit strangers AL
         > erin looks BSY Alice 0
         @ edit phone 555
         > bob PHH 555
         > erin PHH 555",
    );
}

#[test]
fn what_a_contact_has_set_is_remembered_for_a_later_syn() {
    let mut session = alice(MSNP8, Instant::now());
    for (name, value) in [("bob", "1"), ("bob", "555"), ("dave", "7"), ("dave", ""), ("erin", "8"), ("zoe", "9")] {
        let notice = Notice::Property { of: who(name), property: Property::MobilePhone, value: value.into() };
        let mut out = Out::default();
        session.notice(notice, &mut out);
        assert!(out.pieces.is_empty(), "before the first CHG nothing is shown");
    }
    let known = session.roster.contacts.values().filter(|contact| !contact.properties.is_empty());
    let known: Vec<_> = known.map(|contact| (contact.passport.clone(), contact.properties.clone())).collect();
    assert_eq!(known, [(who("bob"), [(Property::MobilePhone, "555".into())].into())]);
}

#[test]
fn an_added_contact_is_asked_and_a_dropped_one_forgotten() {
    check(
        MSNP7,
        "C: CHG 9 NLN
         S: CHG 9 NLN
         S: CHL 0 00000000000000000001
         > bob looks NLN Alice 0
         > erin looks NLN Alice 0
         @ edit add erin
         > erin probe
         @ erin answers BSY
         S: ILN 12 BSY erin@example.com erin
         @ erin looks NLN
         S: NLN NLN erin@example.com erin
         @ edit drop erin
         @ erin gone
         @ bob phones 555
         S: BPR 30 bob@example.com PHM 555
         @ erin phones 555",
    );
}

#[test]
fn a_node_that_dies_takes_its_users_along() {
    check(
        MSNP7,
        "C: CHG 9 NLN
         S: CHG 9 NLN
         S: CHL 0 00000000000000000001
         > bob looks NLN Alice 0
         > erin looks NLN Alice 0
         @ bob looks NLN
         S: NLN NLN bob@example.com bob
         @ dave looks NLN
         S: NLN NLN dave@example.com dave
         @ lost ns-3
         @ lost ns-2
         > bob probe
         > dave probe
         @ dave answers NLN
         @ wait 5
         S: FLN bob@example.com",
    );
}
