//! Chats, challenges, and the small verbs.

use super::*;

#[test]
fn chats_open_with_cookies_bound_to_the_switchboard() {
    check(
        MSNP8,
        "C: CHG 9 NLN 0
         S: CHG 9 NLN 0
         S: CHL 0 00000000000000000001
         > bob looks NLN Alice 0
         > erin looks NLN Alice 0
         C: XFR 16 SB
         S: XFR 16 SB 192.0.2.20:1864 CKI Caller.8.120.alice@example.com.sb-1.7
         @ bob calls
         S: RNG 11752013 192.0.2.21:1864 CKI Callee.8.120.alice@example.com.sb-2.3 bob@example.com Bob%20B
         S: (Accepted)
         @ carol calls
         S: (Refused)
         C: IMS 12 OFF
         S: IMS 12 0 OFF
         @ bob calls
         S: (Refused)
         C: XFR 17 SB
         S: 913 17
         C: IMS 13 ON
         S: IMS 13 0 ON
         C: XFR 18 SB
         S: XFR 18 SB 192.0.2.20:1864 CKI Caller.8.120.alice@example.com.sb-1.7
         C: XFR 19 NS
         ! bad argument: XFR asks for SB",
    );
}

/// A session knows by which conversations it was rung; and a caller has one bucket, whatever conversations it rings from.
#[test]
fn a_session_is_rung_once_and_by_each_caller_so_often() {
    let ring = "S: RNG 11752013 192.0.2.21:1864 CKI Callee.7.120.alice@example.com.sb-2.3 bob@example.com Bob%20B
                S: (Accepted)";
    let dave = ring.replace("bob@", "dave@");
    let mut world = World::default();
    (world.rates.ring_burst, world.rates.ring_per_minute) = (3, 60);
    let script = format!(
        "C: CHG 9 NLN
         S: CHG 9 NLN
         S: CHL 0 00000000000000000001
         > bob looks NLN Alice 0
         > erin looks NLN Alice 0
         @ bob calls again
         {ring}
         @ bob calls again
         S: (AlreadyRung)
         @ elsewhere asks rung
         S: (Accepted)
         @ dave calls again
         S: (AlreadyRung)
         @ bob calls
         {ring}
         @ wait 120
         @ elsewhere asks rung
         S: (Refused)
         @ bob calls again
         {ring}
         @ bob calls
         {ring}
         @ bob calls
         {ring}
         @ bob calls
         S: (TooOften)
         ! too often: ring
         @ dave calls
         {dave}
         @ carol calls
         S: (Refused)
         @ wait 1
         @ bob calls
         {ring}
         @ bob calls
         S: (TooOften)
         ! too often: ring"
    );
    check_in(&world, MSNP7, &script);
}

#[test]
fn a_kept_message_is_brought_three_times_in_a_session() {
    let ring = "S: RNG 11752013 192.0.2.21:1864 CKI Callee.7.120.alice@example.com.sb-2.3 bob@example.com Bob%20B
                S: (Accepted)";
    let script = format!(
        "C: CHG 9 NLN
         S: CHG 9 NLN
         S: CHL 0 00000000000000000001
         > bob looks NLN Alice 0
         > erin looks NLN Alice 0
         @ bob kept 1
         {ring}
         @ bob kept 1
         {ring}
         @ bob kept 2
         S: (Refused)
         @ bob kept 1
         {ring}
         @ bob kept 1
         S: (Refused)"
    );
    check(MSNP7, &script);
}

/// A client that is in a conversation and says nothing anywhere is challenged once a minute, so that its answer shows that it lives.
#[test]
fn a_switchboard_asks_when_the_client_was_heard() {
    check(
        MSNP8,
        "C: CHG 9 NLN 0
         S: CHG 9 NLN 0
         S: CHL 0 00000000000000000001
         > bob looks NLN Alice 0
         > erin looks NLN Alice 0
         @ switchboard asks heard
         S: (Heard { ms_ago: 0 })
         @ elsewhere asks heard
         S: (Refused)
         @ wait 59
         @ switchboard asks heard
         S: (Heard { ms_ago: 59000 })
         @ elsewhere asks heard
         S: (Refused)
         @ wait 1
         @ switchboard asks heard
         S: CHL 0 00000000000000000001
         S: (Heard { ms_ago: 60000 })
         @ wait 30
         @ switchboard asks heard
         S: (Heard { ms_ago: 90000 })
         @ wait 30
         @ switchboard asks heard
         S: CHL 0 00000000000000000001
         S: (Heard { ms_ago: 120000 })
         C: PNG
         S: QNG
         @ wait 10
         @ switchboard asks heard
         S: (Heard { ms_ago: 10000 })",
    );
    // Before its first CHG it is challenged by nobody, nor where operators want no challenges, nor where there are none.
    let silent = "@ wait 100
                  @ switchboard asks heard
                  S: (Heard { ms_ago: 100000 })";
    check(MSNP8, silent);
    let mut world = World::default();
    world.config.challenge_interval_secs = 0;
    let online = "> bob looks NLN Alice 0
                  > erin looks NLN Alice 0";
    check_in(&world, MSNP8, &format!("C: CHG 9 NLN 0\nS: CHG 9 NLN 0\n{online}\n{silent}"));
    check(&Dialect::MSNP5, &format!("C: CHG 9 NLN\nS: CHG 9 NLN\n{online}\n{silent}"));
}

/// Who is called while it is being brought what was kept gets that first: its cookie says so, and the switchboard asks until it has.
#[test]
fn what_was_kept_comes_before_what_is_new() {
    let ring = |behind: &str| {
        format!(
            "S: RNG 11752013 192.0.2.21:1864 CKI Callee.7.120.alice@example.com.sb-2.3{behind} bob@example.com Bob%20B
             S: (Accepted)"
        )
    };
    let (plain, first) = (ring(""), ring(".kept-first"));
    let script = format!(
        "C: CHG 9 NLN
         S: CHG 9 NLN
         S: CHL 0 00000000000000000001
         > bob looks NLN Alice 0
         > erin looks NLN Alice 0
         @ bob calls
         {plain}
         @ switchboard asks brought
         S: (Accepted)
         @ begin
         > bob probe
         > dave probe
         @ bob calls
         {first}
         @ wait 0
         ? kept
         @ bob calls
         {first}
         @ switchboard asks brought
         S: (Refused)
         @ elsewhere asks brought
         S: (Accepted)
         @ serves
         @ switchboard asks brought
         S: (Refused)
         @ bob kept 1
         {plain}
         @ brought 1 all
         @ switchboard asks brought
         S: (Accepted)
         @ bob calls
         {plain}"
    );
    check(MSNP7, &script);
}

/// Of a death so many sessions hear at once that they ask one after the other. Who is called before its turn asks at once, and gets
/// what was left before what is said there.
#[test]
fn what_a_dead_switchboard_has_left_comes_before_what_is_new() {
    let ring = |behind: &str| {
        format!(
            "S: RNG 11752013 192.0.2.21:1864 CKI Callee.7.120.alice@example.com.sb-2.3{behind} bob@example.com Bob%20B
             S: (Accepted)"
        )
    };
    let (plain, first) = (ring(""), ring(".kept-first"));
    let script = format!(
        "C: CHG 9 NLN
         S: CHG 9 NLN
         S: CHL 0 00000000000000000001
         > bob looks NLN Alice 0
         > erin looks NLN Alice 0
         @ begin
         > bob probe
         > dave probe
         @ wait 0
         ? kept
         @ serves
         @ brought 1 all
         @ bob calls
         {plain}
         @ dies 30
         @ wait 1
         @ switchboard asks brought
         S: (Refused)
         @ bob calls
         {first}
         @ wait 0
         ? kept
         @ serves
         @ switchboard asks brought
         S: (Refused)
         @ brought 1 all
         @ switchboard asks brought
         S: (Accepted)
         @ bob calls
         {plain}
         @ wait 40
         @ switchboard asks brought
         S: (Accepted)"
    );
    check(MSNP7, &script);
}

#[test]
fn what_was_kept_is_asked_for_while_the_client_may_be_rung() {
    check(
        MSNP8,
        "@ begin
         > bob probe
         > dave probe
         @ wait 1
         C: CHG 9 HDN
         S: CHG 9 HDN 0
         S: CHL 0 00000000000000000001
         > bob gone
         > erin gone
         @ wait 1
         C: IMS 10 OFF
         S: IMS 10 0 OFF
         C: CHG 11 NLN
         S: CHG 11 NLN 0
         > bob looks NLN Alice 0
         > erin looks NLN Alice 0
         @ wait 1
         C: IMS 12 ON
         S: IMS 12 0 ON
         @ wait 0
         ? kept
         @ bob kept 2
         S: (Refused)
         @ bob kept 1
         S: RNG 11752013 192.0.2.21:1864 CKI Callee.8.120.alice@example.com.sb-2.3 bob@example.com Bob%20B
         S: (Accepted)
         @ outstanding
         @ wait 0
         @ serves
         @ wait 0
         ? kept
         @ serves
         @ brought 2 part
         @ wait 10
         @ brought 1 part
         @ wait 1
         @ wait 1
         ? kept
         @ serves
         @ brought 1 all
         @ wait 10
         @ outstanding
         @ wait 0
         ? kept
         @ serves
         @ brought 1 all
         @ wait 10
         @ reannounce
         > bob looks NLN Alice 0
         > erin looks NLN Alice 0
         @ wait 10
         ? kept
         @ serves
         @ brought 1 all
         @ back
         @ wait 0
         ? kept",
    );
}

#[test]
fn challenges_come_with_the_first_chg_and_then_periodically() {
    check(
        MSNP8,
        "C: QRY 8 msmsgs@msnmsgr.com 0
         S: 540 8
         ! challenge
         C: CHG 9 HDN
         S: CHG 9 HDN 0
         S: CHL 0 00000000000000000001
         > bob gone
         > erin gone
         C: QRY 10 msmsgs@msnmsgr.com 32/9d0a4a0a8d4f1a1b1c9e2ee4b9a3f9c5
         S: 540 10
         ! challenge
         @ wait 1800
         S: CHL 0 00000000000000000001",
    );
}

#[test]
fn the_small_verbs() {
    check(
        MSNP11,
        "C: PNG
         S: QNG 50
         C: URL 11 INBOX
         S: URL 11 /unused1 /unused2 1
         C: FND 12 fname=a
         S: 502 12
         C: PAG 13 bob@example.com 2/hi
         S: 606 13
         C: SND 14 dave@example.com 0x0409 MSMSGS MSMSGS
         S: SND 14 OK
         C: USR 15 TWN I alice@example.com
         S: 207 15
         C: CVR 16 0x0409 winnt 5.1 i386 MSNMSGR 7.0.0777 MSMSGS alice@example.com
         S: CVR 16 7.0.0777 7.0.0777 7.0.0777 about:blank about:blank
         C: VER 17 MSNP11
         ! verb out of order
         C: INF 18
         ! unknown verb
         C: XYZ 19
         ! unknown verb
         C: SND 20 dave
         S: 503 20
         ! final
         C: OUT
         ! out",
    );
}

#[test]
fn a_silent_client_is_closed_where_it_was_told_to_ping() {
    check(MSNP11, "C: PNG\nS: QNG 50\n@ wait 109\n@ wait 1\n! silent");
    check(MSNP11, "@ wait 100\nC: PNG\nS: QNG 50\n@ wait 100");
    check(MSNP8, "@ wait 100000");
}

#[test]
fn word_of_mail_comes_once() {
    let mut world = World::default();
    world.config.mail_notification = true;
    let plain = "MSG Hotmail Hotmail 189/MIME-Version: 1.0/Content-Type: text/x-msmsgsinitialemailnotification; \
                 charset=UTF-8//Inbox-Unread: 0/Folders-Unread: 0/Inbox-URL: /unused1/Folders-URL: /unused1/\
                 Post-URL: /unused2";
    let script = |number: &str, challenge: &str, mail: &str| {
        format!(
            "C: CHG 9 HDN\nS: CHG 9 HDN{number}\nS: {mail}\n{challenge}> bob gone\n> erin gone\n\
             C: CHG 10 HDN\nS: CHG 10 HDN{number}"
        )
    };
    check_in(&world, &Dialect::MSNP2, &script("", "", plain));
    check_in(&world, MSNP8, &script(" 0", "S: CHL 0 00000000000000000001\n", plain));
}

#[test]
fn operators_are_heard_in_every_dialect() {
    let system = "MSG Hotmail Hotmail 88/MIME-Version: 1.0/Content-Type: application/x-msmsgssystemmessage//\
                  Type: 1/Arg1: 5";
    for dialect in Dialect::ALL {
        check(dialect, &format!("@ operators stop 5\nS: {system}"));
    }
    let text = "@ operators say <hi>\nS: NOT 318/<NOTIFICATION ver=\"1\" id=\"7\" siteid=\"0\" \
                siteurl=\"about:blank\"><TO pid=\"0x00000000:0x00000000\" name=\"alice@example.com\" \
                email=\"alice@example.com\"><VIA agent=\"messenger\"/></TO><MSG pri=\"1\" id=\"7\"><ACTION url=\"\"/>\
                <SUBSCR url=\"\"/><CAT id=\"1\"/><BODY lang=\"1033\" icon=\"\"><TEXT>&lt;hi&gt;</TEXT></BODY></MSG>\
                </NOTIFICATION>";
    check(MSNP7, text);
}

#[test]
fn what_comes_too_rapidly_is_800_or_713_and_recovers() {
    let mut world = World::default();
    let rates = &mut world.rates;
    (rates.status_burst, rates.status_per_minute) = (2, 60);
    (rates.chat_burst, rates.chat_per_minute) = (1, 1);
    let opened = "192.0.2.20:1864 CKI Caller.11.120.alice@example.com.sb-1.7";
    let script = format!(
        "C: CHG 9 NLN 0
         S: CHG 9 NLN 0
         S: CHL 0 00000000000000000001
         > bob looks NLN Alice 0
         > erin looks NLN Alice 0
         C: UUX 10 0
         S: UUX 10 0
         C: CHG 11 AWY 0
         S: 800 11
         ! too often: status
         C: UUX 12 0
         S: 800 12
         ! too often: status
         C: XFR 13 SB
         S: XFR 13 SB {opened}
         C: XFR 14 SB
         S: 713 14
         ! too often: chat
         @ wait 1
         C: CHG 15 AWY 0
         S: CHG 15 AWY 0
         > bob looks AWY Alice 0
         > erin looks AWY Alice 0
         C: CHG 16 AWY 0
         S: 800 16
         ! too often: status"
    );
    check_in(&world, MSNP11, &script);
}

/// Names are asked of the roster: what comes back says whether the request may go on to the store.
#[test]
fn names_that_change_too_rapidly_are_800() {
    let mut world = World::default();
    let rates = &mut world.rates;
    (rates.name_burst, rates.name_per_minute, rates.contact_name_burst) = (1, 1, 2);
    let now = Instant::now();
    let id = ContactId::of(ClaimId(Uuid::from_u128(1)), &who("bob"));
    for (dialect, own, contact) in [
        (MSNP7, "REA 1 Alice@example.com Alice".to_owned(), "REA 1 bob@example.com Bob".to_owned()),
        (MSNP11, "PRP 1 MFN Alice".to_owned(), format!("SBP 1 {id} MFN Bob")),
    ] {
        let mut session = alice(dialect, now);
        let mut asks = |line: &str| {
            let mut out = Out::default();
            let asked = session.command(&command(&format!("{line}\r\n")), now, &world, &mut out).unwrap();
            let mut said = String::new();
            report(out, &mut said);
            (asked.is_some(), said)
        };
        let goes_on = (true, String::new());
        let refused = |kind: &str| (false, format!("S: 800 1\n! too often: {kind}\n"));
        assert_eq!(asks(&own), goes_on);
        assert_eq!(asks(&own), refused("name"), "{dialect:?}");
        assert_eq!(asks(&contact), goes_on, "{dialect:?}: a bucket of its own");
        assert_eq!(asks(&contact), goes_on);
        assert_eq!(asks(&contact), refused("contact_name"));
        // Other properties and lists are not names.
        assert_eq!(asks("PRP 1 PHH 5"), goes_on);
        assert_eq!(asks("BLP 1 BL"), goes_on);
    }
}

/// The table of verbs against the code: what it lets through is understood, in every dialect, and nothing else is.
#[test]
fn what_the_table_lets_through_is_understood() {
    use common::msnp::verbs::{Phase, TABLE};
    use common::msnp::{ParseError, Verb};

    let world = World::default();
    let verbs: std::collections::BTreeSet<Verb> = TABLE.iter().map(|row| row.verb).collect();
    for dialect in Dialect::ALL {
        for verb in &verbs {
            let speaks = |row: &&common::msnp::verbs::Row| {
                let dialects = row.dialects.0..=row.dialects.1;
                row.service == Service::Notification && row.verb == *verb && dialects.contains(&dialect.number.0)
            };
            let row = TABLE.iter().find(speaks);
            let payload = row.is_some_and(|row| row.payload.is_some());
            let (fewest, most) = row.map_or((1, 1), |row| row.args);
            for count in fewest..=most.min(12) {
                // A transaction id, arguments that may mean anything, and an empty payload.
                let mut line = verb.to_string();
                (0..count).for_each(|at| {
                    line.push_str(if at == 0 || (payload && at + 1 == count) { " 0" } else { " x" });
                });
                let mut out = Out::default();
                let mut session = alice(dialect, Instant::now());
                let command = command(&format!("{line}\r\n"));
                let taken = session.command(&command, Instant::now(), &world, &mut out);
                let unknown = taken.as_ref().err() == Some(&ParseError::UnknownVerb);
                match row {
                    Some(row) if row.phases.contains(Phase::SignedIn) => assert!(!unknown, "{dialect:?} {line}"),
                    Some(_) => assert_eq!(taken.err(), Some(ParseError::OutOfOrder), "{dialect:?} {line}"),
                    None => assert!(unknown, "{dialect:?} {line}"),
                }
            }
        }
    }
}
