//! What becomes of messages.

use std::time::Duration;

use super::*;

/// The conversation of all messages that name no other.
const FIRST: &str = "100001@10.77.0.1:1865";
/// One that was opened after the end of the first.
const SECOND: &str = "100009@10.77.0.2:1865";
/// One that brings what was kept.
const BRINGS: &str = "100010@10.77.0.3:1865";

fn message(number: u32) -> MessageId {
    said_in(FIRST, number)
}

fn said_in(room: &str, number: u32) -> MessageId {
    MessageId { room: room.into(), from: ALICE, to: BOB, number }
}

fn heard_in(room: &str, message: MessageId) -> Event {
    Event::Received { message, room: room.into() }
}

/// Alice sends these; the answer to each follows at once.
fn said(numbers: impl IntoIterator<Item = u32>, answered: bool) -> Story {
    numbers.into_iter().fold(Story::default(), |story, number| {
        let story = story.then(ALICE, 1, Event::Sent { message: message(number), answered });
        if answered { story.then(ALICE, 1, Event::Acknowledged(message(number))) } else { story }
    })
}

fn heard(story: Story, numbers: impl IntoIterator<Item = u32>) -> Messages {
    let receive = |story: Story, number| story.then(BOB, 2, heard_in(FIRST, message(number)));
    Messages::of(&numbers.into_iter().fold(story, receive).0, &[])
}

/// Something was wrong with the switchboard of the messages, or with the other one, between these seconds.
fn fault(same: bool, from: u64, until: Option<u64>) -> Fault {
    let board = if same { "10.77.0.1:1865" } else { "10.77.0.2:1865" };
    Fault {
        board: board.parse().unwrap(),
        killed: false,
        from: Duration::from_secs(from),
        until: until.map(Duration::from_secs),
    }
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

/// Alice says three things in the first conversation, of which bob hears one. It ends; `known` seconds later she calls him again and says
/// another, which he hears so many milliseconds after he has come in; what was kept comes behind it.
fn reopened(known: u64, heard_after: u64) -> Story {
    let story = said(1..=3, true).then(BOB, 2, heard_in(FIRST, message(1)));
    let story = story.then(BOB, 2, Event::Left(FIRST.into())).after(known * 1_000 - 1_000);
    let story = story.then(BOB, 2, Event::Rang(SECOND.into()));
    let new = said_in(SECOND, 4);
    let story = story.then(ALICE, 1, Event::Sent { message: new.clone(), answered: true });
    let story = story.then(ALICE, 1, Event::Acknowledged(new.clone()));
    let mut story = story.then(BOB, 2, Event::Entered(SECOND.into()));
    story.1 = story.1 + Duration::from_millis(heard_after) - Duration::from_secs(1);
    let story = story.then(BOB, 2, heard_in(SECOND, new));
    story.then(BOB, 2, heard_in(BRINGS, message(2))).then(BOB, 2, heard_in(BRINGS, message(3)))
}

#[test]
fn what_is_new_and_does_not_wait_for_what_was_kept_is_seen() {
    let late = [message(2), message(3)];
    assert_eq!(Messages::of(&reopened(10, 100).0, &[]).out_of_order, late);
    assert_eq!(Messages::of(&reopened(60, 1_700).0, &[]).out_of_order, late);
    // It has waited for two seconds; or the end of the first conversation was not known; or she was called, not he.
    let none: [MessageId; 0] = [];
    assert_eq!(Messages::of(&reopened(10, 1_900).0, &[]).out_of_order, none);
    assert_eq!(Messages::of(&reopened(9, 100).0, &[]).out_of_order, none);
    let mut called = reopened(10, 100);
    called.0.retain(|entry| !matches!(entry.event, Event::Rang(_)));
    assert_eq!(Messages::of(&called.0, &[]).out_of_order, none);
    // Sooner where its switchboard was started again in the ninth second; not if it only stood still, or another one was killed.
    let order = |known, fault| Messages::of(&reopened(known, 100).0, &[fault]).out_of_order;
    assert_eq!(order(6, Fault { killed: true, ..fault(true, 7, Some(9)) }), late);
    assert_eq!(order(5, Fault { killed: true, ..fault(true, 7, Some(9)) }), none);
    assert_eq!(order(6, fault(true, 7, Some(9))), none);
    assert_eq!(order(6, Fault { killed: true, ..fault(false, 7, Some(9)) }), none);
    assert_eq!(order(6, Fault { killed: true, ..fault(true, 2, Some(3)) }), none);
    // What was not kept, but said in a conversation that goes on.
    let mut goes_on = reopened(10, 100);
    for entry in &mut goes_on.0 {
        if let Event::Received { message, room } = &mut entry.event {
            *room = message.room.clone();
        }
    }
    assert_eq!(Messages::of(&goes_on.0, &[]).out_of_order, none);
}

#[test]
fn who_is_brought_more_than_its_switchboard_excuses_is_seen() {
    // Heard in the third second, brought again in the tenth and in later ones.
    let story = |times: usize, session| {
        let story = said([1], true).then(BOB, 2, heard_in(FIRST, message(1))).after(7_000);
        (0..times).fold(story, |story, _| story.then(BOB, session, heard_in(BRINGS, message(1))))
    };
    let judge = |story: Story, faults: &[Fault]| {
        let messages = Messages::of(&story.0, faults);
        (messages.again, messages.repeated.len())
    };
    let ended = [fault(true, 6, Some(8))];
    assert_eq!(judge(story(1, 2), &ended), (1, 0));
    // Nothing had ended, or another switchboard had, or this one long after it had been heard, or before.
    for faults in [&[][..], &[fault(false, 6, None)], &[fault(true, 8, None)], &[fault(true, 0, Some(1))]] {
        assert_eq!(judge(story(1, 2), faults), (0, 1), "{faults:?}");
    }
    // Once it has been brought, only the end of the one that brought it excuses another time.
    assert_eq!(judge(story(2, 2), &ended), (0, 1));
    let brings = "10.77.0.3:1865".parse().unwrap();
    let all = [ended[0], Fault { board: brings, killed: true, from: Duration::from_secs(12), until: None }];
    assert_eq!(judge(story(2, 2), &all), (1, 0));
    assert_eq!(judge(story(3, 2), &all), (1, 0));
    assert_eq!(judge(story(4, 2), &all), (0, 1), "three times in one session");
    // Bob's client hangs.
    let hangs = |account, after: u64| {
        let mut story = story(1, 2);
        let hung = Entry { at: Duration::from_secs(after), account, session: SessionId(2), event: Event::Hung };
        story.0.push(hung);
        judge(story, &[])
    };
    assert_eq!([hangs(BOB, 7), hangs(BOB, 8), hangs(BOB, 1), hangs(ALICE, 7)], [(1, 0), (0, 1), (0, 1), (0, 1)]);
    // In its own conversation nothing comes twice.
    assert_eq!(judge(story(0, 2).then(BOB, 2, heard_in(FIRST, message(1))), &ended), (0, 1));
}

/// What becomes of a message that its sender learns of so much later, and that nobody reads.
fn learned(answered: bool, known: Event, after: u64, faults: &[Fault]) -> Messages {
    let story = Story::default().then(ALICE, 1, Event::Sent { message: message(1), answered });
    Messages::of(&story.after(after - 1_000).then(ALICE, 1, known).0, faults)
}

#[test]
fn an_answer_that_is_late_is_seen() {
    let (acknowledged, refused) = (Event::Acknowledged(message(1)), Event::Refused(message(1)));
    let unsure = Event::Unsure(message(1));
    for (answered, known) in [(true, &acknowledged), (true, &refused), (true, &unsure), (false, &refused)] {
        for (after, late) in [(5_400, vec![]), (5_600, vec![message(1)])] {
            assert_eq!(learned(answered, known.clone(), after, &[]).late, late, "{known:?} after {after} ms");
        }
    }
    // What succeeds in silence is not late, when its connection ends after a while: it has succeeded.
    assert_eq!(learned(false, unsure.clone(), 5_400, &[]), Messages { sent: 1, ..Messages::default() });
    let lost = Messages { sent: 1, lost: vec![message(1)], ..Messages::default() };
    assert_eq!(learned(false, unsure, 5_600, &[]), lost);
}

#[test]
fn only_the_fault_of_its_own_switchboard_excuses_a_late_answer() {
    let late = |after, faults: &[Fault]| !learned(true, Event::Refused(message(1)), after, faults).late.is_empty();
    // It stands still from the third to the tenth second; then there are five again.
    assert!(!late(15_400, &[fault(true, 3, Some(10))]));
    assert!(late(15_600, &[fault(true, 3, Some(10))]));
    assert!(late(15_400, &[fault(false, 3, Some(10))]));
    // Another one in those five.
    assert!(!late(25_400, &[fault(true, 3, Some(10)), fault(true, 14, Some(20))]));
    assert!(!late(25_400, &[fault(true, 3, None)]));
    // Too late for that, or over before.
    assert!(late(15_400, &[fault(true, 6, Some(10))]));
    let story = Story::default().after(20_000).then(ALICE, 1, Event::Sent { message: message(1), answered: true });
    let story = story.after(5_000).then(ALICE, 1, Event::Acknowledged(message(1)));
    assert_eq!(Messages::of(&story.0, &[fault(true, 3, Some(19))]).late, [message(1)]);
}

#[test]
fn a_message_for_somebody_else_is_seen() {
    let story = said([1], true).then(CAROL, 3, heard_in(FIRST, message(1)));
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
