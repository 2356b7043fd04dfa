//! The checker, with ledgers that are made up: it must see each fault that is planted, and nothing in what is right.

use std::time::Duration;

use common::model::Status;

use super::*;

const ALICE: Account = 0;
const BOB: Account = 1;
const CAROL: Account = 2;

/// All three have each other as contacts; carol blocks bob.
fn circle() -> Circle {
    let contacts = vec![vec![BOB, CAROL], vec![ALICE, CAROL], vec![ALICE, BOB]];
    Circle { contacts, blocks: [(CAROL, BOB)].into() }
}

/// Sessions are named by their number.
#[derive(Default)]
struct Story(Vec<Entry>);

impl Story {
    fn then(mut self, account: Account, session: u32, event: Event) -> Self {
        let at = Duration::from_secs(self.0.len() as u64);
        self.0.push(Entry { at, account, session: SessionId(session), event });
        self
    }

    fn begins(self, account: Account, session: u32, looks: Status) -> Self {
        let began = Event::Began { node: format!("notification-{session}").into() };
        self.then(account, session, began).then(account, session, Event::Looks(looks))
    }

    fn sees(self, account: Account, session: u32, contact: Account, how: Option<Status>) -> Self {
        self.then(account, session, Event::Shown { contact, how })
    }

    /// All three signed in, and shown to each other as they are.
    fn calm() -> Self {
        let (alice, bob, carol) = (Status::Online, Status::Busy, Status::Away);
        Self::default()
            .begins(ALICE, 1, alice)
            .begins(BOB, 2, bob)
            .begins(CAROL, 3, carol)
            .sees(ALICE, 1, BOB, Some(bob))
            .sees(ALICE, 1, CAROL, Some(carol))
            .sees(BOB, 2, ALICE, Some(alice))
            .sees(CAROL, 3, ALICE, Some(alice))
            .sees(CAROL, 3, BOB, Some(bob))
    }

    #[track_caller]
    fn shows(self, expected: &[&str]) {
        let presence = Presence::after(&self.0);
        let wrong: Vec<String> = presence.wrong(&circle()).iter().map(ToString::to_string).collect();
        assert_eq!(wrong, expected);
    }
}

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

fn message(number: u32) -> MessageId {
    MessageId { room: "100001@10.77.0.1:1865".into(), from: ALICE, to: BOB, number }
}

/// Alice sends these; the answer to each follows at once.
fn said(numbers: impl IntoIterator<Item = u32>, answered: bool) -> Story {
    numbers.into_iter().fold(Story::default(), |story, number| {
        let story = story.then(ALICE, 1, Event::Sent { message: message(number), answered });
        if answered { story.then(ALICE, 1, Event::Acknowledged(message(number))) } else { story }
    })
}

fn heard(story: Story, numbers: impl IntoIterator<Item = u32>) -> Messages {
    let receive = |story: Story, number| story.then(BOB, 2, Event::Received(message(number)));
    Messages::of(&numbers.into_iter().fold(story, receive).0)
}

#[test]
fn what_arrives_in_order_is_right() {
    let right = Messages { sent: 3, acknowledged: 3, received: 3, ..Messages::default() };
    assert_eq!(heard(said(1..=3, true), 1..=3), right);
    assert_eq!(heard(said(1..=3, false), 1..=3), Messages { acknowledged: 0, ..right });
    // What was refused, or whose connection ended, may arrive or not.
    for known in [Event::Refused, Event::Unsure] {
        let story = || said([1], true).then(ALICE, 1, known(message(1)));
        assert_eq!(heard(story(), []), Messages { sent: 1, ..Messages::default() });
        assert_eq!(heard(story(), [1]), Messages { sent: 1, received: 1, ..Messages::default() });
    }
}

#[test]
fn a_lost_message_is_seen() {
    for answered in [true, false] {
        assert_eq!(heard(said(1..=3, answered), [1, 3]).lost, [message(2)]);
    }
}

#[test]
fn a_repeated_message_is_seen() {
    let messages = heard(said(1..=3, true), [1, 2, 2, 3, 1]);
    assert_eq!(messages.repeated, [message(1), message(2)]);
    assert_eq!((messages.received, &messages.out_of_order[..]), (3, &[][..]));
}

#[test]
fn a_wrong_order_is_seen() {
    assert_eq!(heard(said(1..=3, true), [1, 3, 2]).out_of_order, [message(2)]);
}

#[test]
fn silence_is_seen() {
    let story = said([1], true).then(ALICE, 1, Event::Sent { message: message(2), answered: true });
    assert_eq!(heard(story, [1, 2]).unanswered, [message(2)]);
}

#[test]
fn a_message_for_somebody_else_is_seen() {
    let story = said([1], true).then(CAROL, 3, Event::Received(message(1)));
    let messages = heard(story, [1, 7]);
    assert_eq!(messages.astray, [message(1), message(7)]);
}

#[test]
fn messages_name_themselves() {
    let id = message(17);
    assert_eq!(MessageId::parse(&id.text()), Some(id));
    for text in ["", "room 1 2", "room 1 2 x", "room 1 2 3 4"] {
        assert_eq!(MessageId::parse(text), None, "{text:?}");
    }
}
