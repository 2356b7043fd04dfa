//! Who sees whom, and how.

use super::*;
use crate::repair::Change;
use common::cluster::Mark;

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
         > bob at ns-2 answer nothing
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
         @ wait 11
         @ bob asks
         > bob at ns-2 answer nothing
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
         > bob at ns-2 answer nothing
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
         > carol at ns-2 answer nothing
         @ edit strangers BL
         > erin gone
         @ erin asks
         > erin at ns-2 answer nothing
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
    for (name, count) in [("bob", 1), ("dave", 2)] {
        let (mut now, world) = (Instant::now(), World::default());
        event(&mut session, &format!("{name} answers nothing"), count, &mut now, &world, &mut Out::default());
    }
    for (name, value) in [("bob", "1"), ("bob", "555"), ("dave", "7"), ("dave", ""), ("erin", "8"), ("zoe", "9")] {
        let stamp = Stamp { epoch: Epoch(1), node: NodeId::parse("ns-2").unwrap(), count: 3, version: 1 };
        let (of, property) = (who(name), Property::MobilePhone);
        let notice = Notice::Property { of, stamp, repeated: false, property, value: value.into() };
        let mut out = Out::default();
        session.notice(notice, Instant::now(), &NotificationConfig::default(), &mut out);
        assert!(out.pieces.is_empty(), "before the first CHG nothing is shown");
    }
    let known = session.roster.contacts.values().filter(|contact| !contact.properties.is_empty());
    let known: Vec<_> = known.map(|contact| (contact.passport.clone(), contact.properties.clone())).collect();
    assert_eq!(known, [(who("bob"), [(Property::MobilePhone, "555".into())].into())]);
}

/// Word from a node that stood still, or of an earlier session, undoes nothing.
#[test]
fn old_word_of_a_property_changes_nothing() {
    let (now, world) = (Instant::now(), World::default());
    let mut session = alice(MSNP8, now);
    let stamp = |epoch, node: &str, count| Stamp {
        epoch: Epoch(epoch),
        node: NodeId::parse(node).unwrap(),
        count,
        version: 1,
    };
    let phone = |session: &mut Session, stamp, value: &str| {
        let (of, property) = (who("bob"), Property::HomePhone);
        let notice = Notice::Property { of, stamp, repeated: false, property, value: value.into() };
        session.notice(notice, now, &world.config, &mut Out::default());
        session.roster.contacts[&who("bob")].properties.get(&property).cloned().unwrap_or_default()
    };
    let looks = |session: &mut Session, stamp, phone: &str| {
        let presence = Presence {
            status: Status::Online,
            name: "Bob".into(),
            capabilities: 0,
            object: None,
            personal_message: None,
        };
        let phones = [(Property::HomePhone, phone.to_owned())].into();
        let (from, presence, properties) = (who("bob"), Some(presence), digest(&phones));
        let notice = Notice::ProbeAnswer { from, stamp, presence, properties };
        session.notice(notice, now, &world.config, &mut Out::default());
    };
    assert_eq!(phone(&mut session, stamp(1, "ns-1", 5), "1"), "", "nobody knows whether he is there");
    looks(&mut session, stamp(1, "ns-1", 6), "");
    assert_eq!(phone(&mut session, stamp(1, "ns-1", 5), "1"), "", "what he has said since has another digest");
    assert_eq!(phone(&mut session, stamp(2, "ns-2", 1), "2"), "2");
    assert_eq!(phone(&mut session, stamp(1, "ns-1", 9), "1"), "2", "of a session before");
    assert_eq!(phone(&mut session, stamp(2, "ns-2", 3), "3"), "3");
    assert_eq!(phone(&mut session, stamp(2, "ns-2", 2), "2"), "3");
    // An answer comes another way than what was said before it.
    looks(&mut session, stamp(2, "ns-2", 7), "4");
    assert_eq!(phone(&mut session, stamp(2, "ns-2", 6), "4"), "4");
    looks(&mut session, stamp(3, "ns-1", 1), "4");
    assert_eq!(phone(&mut session, stamp(2, "ns-2", 8), "5"), "4");
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
         @ bob answers nothing
         @ bob phones 555
         S: BPR 30 bob@example.com PHM 555
         @ erin phones 555",
    );
}

#[test]
fn only_who_is_surely_nowhere_is_shown_as_gone() {
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
         @ bob absent
         S: FLN bob@example.com
         @ dave answers nothing
         S: FLN dave@example.com
         @ bob answers NLN
         S: NLN NLN bob@example.com bob",
    );
}

#[test]
fn lost_properties_are_asked_for() {
    check(
        MSNP8,
        "@ bob answers NLN phones
         > bob phones?
         @ bob answers NLN
         @ bob answers nothing phones
         C: CHG 9 NLN 0
         S: CHG 9 NLN 0
         S: CHL 0 00000000000000000001
         > bob looks NLN Alice 0
         > erin looks NLN Alice 0
         @ bob asks phones
         > bob HSB
         > bob MOB
         > bob PHH
         > bob PHM
         > bob PHW
         @ carol asks phones",
    );
}

/// Bob's session, with alice on his list, and what it is told of her by these.
fn bob_hears(session: &mut Session, out: Out) -> Out {
    let mut heard = Out::default();
    let direct = out.direct.into_iter().flat_map(|direct| direct.letters);
    let all = out.posts.into_iter().chain(direct.map(|(to, _, notice)| (to, notice)));
    for (to, notice) in all {
        if to == session.passport {
            session.notice(notice, Instant::now(), &NotificationConfig::default(), &mut heard);
        }
    }
    heard
}

/// The version of alice that nodes compare, as it is and as bob was shown it.
fn versions(alice: &mut Session, bob: &Session) -> (Option<Mark>, Option<Mark>) {
    let mut out = Out::default();
    // Whatever is compared last was said with the last change of hers.
    alice.announce(&mut out);
    let stamp = out.posts.into_iter().find_map(|(_, notice)| match notice {
        Notice::Presence { stamp, .. } => Some(Mark::of(&stamp)),
        _ => None,
    });
    (stamp, bob.contacts.mark_of(&alice.passport))
}

/// What is lost is found by its version: nothing that says less than all of a version may count as all of it.
#[test]
fn repeated_properties_hide_no_look_that_was_lost() {
    let (mut now, world) = (Instant::now(), World::default());
    let mut alice = alice(MSNP8, now);
    let mut bob = session("bob", &[("alice", &[List::Forward, List::Allow, List::Reverse])], MSNP8, now);
    let mut plays = |alice: &mut Session, line: &str| {
        let mut out = Out::default();
        match line.strip_prefix("C: ") {
            Some(sent) => {
                alice.command(&command(&format!("{sent}\r\n")), now, &world, &mut out).unwrap();
            }
            None => event(alice, line, 1, &mut now, &world, &mut out),
        }
        out
    };
    let said = plays(&mut alice, "C: CHG 9 NLN 0");
    bob_hears(&mut bob, said);
    let (there, shown) = versions(&mut alice, &bob);
    assert!(there.is_some() && there == shown);
    // He has asked for her properties. Word of her new status is lost, the answer is not.
    drop(plays(&mut alice, "C: CHG 10 BSY 0"));
    let answer = plays(&mut alice, "bob asks phones");
    assert!(!answer.posts.is_empty());
    bob_hears(&mut bob, answer);
    let (there, shown) = versions(&mut alice, &bob);
    assert_ne!(there, shown, "the look that he lacks is not looked for");
    let answer = plays(&mut alice, "bob asks");
    bob_hears(&mut bob, answer);
    // She blocks him, and takes that back: of all that this says the look alone is lost.
    let said = plays(&mut alice, "edit block bob");
    bob_hears(&mut bob, said);
    let mut said = plays(&mut alice, "edit unblock bob");
    said.posts.retain(|(_, notice)| !matches!(notice, Notice::Presence { .. }));
    assert!(!said.posts.is_empty());
    bob_hears(&mut bob, said);
    let (there, shown) = versions(&mut alice, &bob);
    assert_ne!(there, shown, "the look that he lacks is not looked for");
}

#[test]
fn properties_whose_answer_is_lost_are_asked_for_again() {
    let (mut now, world) = (Instant::now(), World::default());
    let mut alice = alice(MSNP8, now);
    let mut bob = session("bob", &[("alice", &[List::Forward, List::Allow, List::Reverse])], MSNP8, now);
    Arc::make_mut(&mut alice.roster).settings.properties = [(Property::HomePhone, "555".into())].into();
    let mut out = Out::default();
    alice.command(&command("CHG 9 NLN 0\r\n"), now, &world, &mut out).unwrap();
    let mut asks = bob_hears(&mut bob, out);
    for answered in [false, true] {
        let (there, shown) = versions(&mut alice, &bob);
        assert_ne!(there, shown, "he lacks her phone");
        // What is asked for once more, since the version differs: the look, and by its digest the properties.
        let mut answer = Out::default();
        event(&mut alice, "bob asks", 1, &mut now, &world, &mut answer);
        asks.posts.extend(bob_hears(&mut bob, answer).posts);
        let (_, question) = asks.posts.pop().expect("a question for her phone");
        let mut answer = Out::default();
        alice.notice(question, now, &world.config, &mut answer);
        if answered {
            bob_hears(&mut bob, answer);
        }
    }
    let (there, shown) = versions(&mut alice, &bob);
    assert_eq!(there, shown);
    assert_eq!(bob.roster.contacts[&who("alice")].properties[&Property::HomePhone], "555");
}

/// What nodes compare: who is to be seen, in which version, and what was shown of whom.
#[test]
fn whatever_somebody_may_see_differently_is_a_new_version() {
    let (mut session, mut now, world) = (alice(MSNP8, Instant::now()), Instant::now(), World::default());
    let mut seen = Vec::new();
    let mut version = |session: &mut Session, line: &str| {
        let mut out = Out::default();
        match line.strip_prefix("C: ") {
            Some(sent) => {
                session.command(&command(&format!("{sent}\r\n")), now, &world, &mut out).unwrap();
            }
            None => event(session, line, 1, &mut now, &world, &mut out),
        }
        let visible = out.changes.into_iter().filter_map(|change| match change {
            Change::Visible(mark) => Some(mark),
            _ => None,
        });
        visible.last()
    };
    assert_eq!(version(&mut session, "edit block bob"), None, "nobody sees her yet");
    for line in [
        "C: CHG 9 NLN 0",
        "C: CHG 10 BSY 0",
        "edit unblock bob",
        "edit block bob",
        "edit strangers BL",
        "edit rename Al",
        "edit phone 555",
    ] {
        let mark = version(&mut session, line).flatten();
        assert!(mark.is_some() && !seen.contains(&mark), "{line}");
        seen.push(mark);
    }
    for line in ["C: CHG 11 BSY 0", "bob asks", "reannounce", "bob looks NLN"] {
        assert_eq!(version(&mut session, line), None, "{line}");
    }
    assert_eq!(version(&mut session, "C: CHG 12 HDN 0"), Some(None));
}

#[test]
fn who_asks_and_is_not_on_the_reverse_list_has_perhaps_added_the_principal() {
    let (mut session, mut now, world) = (alice(MSNP8, Instant::now()), Instant::now(), World::default());
    for (who, looks_into_the_store) in [("bob", false), ("carol", false), ("zoe", true)] {
        event(&mut session, &format!("{who} asks"), 1, &mut now, &world, &mut Out::default());
        assert_eq!(session.others.deadline().is_some(), looks_into_the_store, "{who}");
    }
}
