//! Who is shown how.

use common::model::Status;

use super::*;

#[test]
fn what_is_right_is_not_found_fault_with() {
    let calm = Story::calm();
    assert_eq!(Presence::after(&calm.0).watchings(&circle()), 6);
    calm.shows(&[]);
    // Whoever hides, leaves or comes back is shown so.
    Story::calm()
        .then(BOB, 2, Event::Looks(Status::Hidden))
        .sees(ALICE, 1, BOB, None)
        .sees(CAROL, 3, BOB, None)
        .then(ALICE, 1, Event::Ended("signed out"))
        .sees(BOB, 2, ALICE, None)
        .sees(CAROL, 3, ALICE, None)
        .shows(&[]);
    // Who has not said how it looks sees nobody, and is not seen.
    Story::calm().then(ALICE, 1, Event::Ended("lost")).then(ALICE, 4, Event::Began { node: "x".into() }).shows(&[
        "user 1 on notification-2 sees user 0 on x as NLN, who is FLN",
        "user 2 on notification-3 sees user 0 on x as NLN, who is FLN",
    ]);
}

#[test]
fn stale_presence_is_seen() {
    // An old status.
    Story::calm()
        .then(BOB, 2, Event::Looks(Status::Idle))
        .sees(CAROL, 3, BOB, Some(Status::Idle))
        .shows(&["user 0 on notification-1 sees user 1 on notification-2 as BSY, who is IDL"]);
    // Somebody who has left.
    Story::calm()
        .then(BOB, 2, Event::Ended("signed out"))
        .sees(CAROL, 3, BOB, None)
        .shows(&["user 0 on notification-1 sees user 1 on nowhere as BSY, who is FLN"]);
    // Somebody who is there and shown as offline.
    Story::calm()
        .sees(ALICE, 1, BOB, None)
        .shows(&["user 0 on notification-1 sees user 1 on notification-2 as FLN, who is BSY"]);
    // A new session knows nothing of what the old one was shown.
    Story::calm().then(ALICE, 1, Event::Ended("lost")).begins(ALICE, 4, Status::Online).shows(&[
        "user 0 on notification-4 sees user 1 on notification-2 as FLN, who is BSY",
        "user 0 on notification-4 sees user 2 on notification-3 as FLN, who is AWY",
    ]);
    // Somebody who blocks.
    Story::calm()
        .sees(BOB, 2, CAROL, Some(Status::Away))
        .shows(&["user 1 on notification-2 sees user 2 on notification-3 as AWY, who is FLN"]);
}

#[test]
fn a_second_session_is_seen() {
    let both = Story::calm().begins(BOB, 4, Status::Busy);
    assert_eq!(Presence::after(&both.0).double(), [BOB]);
    let one = both.then(BOB, 2, Event::Ended("signed in elsewhere"));
    let presence = Presence::after(&one.0);
    assert_eq!(presence.double(), [] as [Account; 0]);
    assert_eq!(presence.on("notification-4"), [BOB].into());
    assert_eq!(presence.present(), [ALICE, BOB, CAROL].into());
}
