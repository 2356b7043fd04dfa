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

#[test]
fn what_was_kept_is_asked_for_while_the_client_may_be_rung() {
    check(
        MSNP8,
        "@ begin
         > bob probe
         > dave probe
         @ wait 1
         C: CHG 9 HDN
         S: CHG 9 HDN
         S: CHL 0 00000000000000000001
         > bob gone
         > erin gone
         @ wait 1
         C: IMS 10 OFF
         S: IMS 10 0 OFF
         C: CHG 11 NLN
         S: CHG 11 NLN
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
         S: CHG 9 HDN
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
         S: CVR 16 7.0.0777 7.0.0777 7.0.0777 http://127.0.0.1:8080/ http://127.0.0.1:8080/
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
