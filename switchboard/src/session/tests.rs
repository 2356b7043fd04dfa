//! Sessions driven through a transport in memory, on a clock that stands still while anything can happen.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::cluster::{CookieRole, Deliver, Void};
use common::model::{ChannelId, Edition, Limits, ParticipationId, Rates};
use common::msnp::TrId;
use common::net::Mailbox;
use common::store::MessageKind;

use crate::conversation::{Greeting, Participant, Recorded};
use crate::participation::Participation;
use crate::pressure::Pressure;
use crate::push::{MAILBOX, Push};
use crate::testing::{Asked, FakeDoorman, Mood, World, claim, passport, payload, stranger, wire};

const TEXT: &str = "text/plain; charset=UTF-8";
const TYPING: &str = "text/x-msmsgscontrol";

/// The transcript of §13.9.
#[tokio::test(start_paused = true)]
async fn two_talk() {
    let world = World::new();
    let id = world.conversation_id();
    let alice = world.connect();
    let cookie = world.doorman.cookie(&passport("alice"), CookieRole::Caller, id);
    alice.say(&format!("USR 1 Alice@Example.com {cookie}\n"));
    alice.hears("USR 1 OK Alice@Example.com Alice\n").await;
    alice.say("CAL 2 bob@example.com\n");
    let session = world.board.conversations.find(id).unwrap().session;
    alice.hears(&format!("CAL 2 RINGING {session}\n")).await;
    let (callee, invitation) = world.peers.invited.lock().unwrap()[0].clone();
    assert_eq!((callee, invitation.session, &*invitation.caller_name), (passport("bob"), session, "Alice"));

    let bob = world.connect();
    bob.say(&world.answer("bob", id));
    bob.hears("IRO 1 1 1 alice@example.com Alice\nANS 1 OK\n").await;
    alice.hears("JOI bob@example.com Bob\n").await;

    let typing = alice.msg(3, "U", TYPING, "\r\n");
    let hello = alice.msg(4, "N", TEXT, "Hello, Bob!");
    let acked = alice.msg(5, "A", TEXT, "ack me");
    bob.hears_msg("alice", "Alice", &typing).await;
    bob.hears_msg("alice", "Alice", &hello).await;
    bob.hears_msg("alice", "Alice", &acked).await;
    alice.hears("ACK 5\n").await;
    alice.say("CAL 6 bob@example.com\nCAL 7 offline@example.com\n");
    alice.hears("215 6\n217 7\n").await;
    bob.say("OUT\n");
    alice.hears("BYE bob@example.com\n").await;
    bob.is_closed().await;
    alice.msg(8, "A", TEXT, "anyone?");
    alice.hears("NAK 8\n").await;
    alice.say("OUT\n");
    alice.is_closed().await;

    let written = world.written();
    let bodies: Vec<_> = written.iter().map(|write| write.message.payload.clone()).collect();
    assert_eq!(bodies, [hello.into_bytes(), acked.into_bytes()]);
    assert!(world.board.conversations.find(id).is_none());
}

#[tokio::test(start_paused = true)]
async fn three_talk() {
    let world = World::new();
    let (id, alice) = world.open("alice").await;
    let bob = world.join("bob", id).await;
    alice.hears("JOI bob@example.com Bob\n").await;
    let said = alice.msg(2, "A", TEXT, "two of us");
    bob.hears_msg("alice", "Alice", &said).await;
    alice.hears("ACK 2\n").await;

    let carol = world.connect();
    carol.say(&world.answer("carol", id));
    carol.hears("IRO 1 1 2 alice@example.com Alice\nIRO 1 2 2 bob@example.com Bob\nANS 1 OK\n").await;
    alice.hears("JOI carol@example.com Carol\n").await;
    bob.hears("JOI carol@example.com Carol\n").await;
    let said = bob.msg(3, "A", TEXT, "three of us");
    alice.hears_msg("bob", "Bob", &said).await;
    carol.hears_msg("bob", "Bob", &said).await;
    bob.hears("ACK 3\n").await;
    let said = carol.msg(4, "A", TEXT, "still three");
    alice.hears_msg("carol", "Carol", &said).await;
    bob.hears_msg("carol", "Carol", &said).await;
    carol.hears("ACK 4\n").await;
    carol.say("OUT\n");
    alice.hears("BYE carol@example.com\n").await;
    bob.hears("BYE carol@example.com\n").await;
    let said = bob.msg(5, "A", "text/x-msnmsgr-datacast", "ID: 1\r\n\r\n");
    alice.hears_msg("bob", "Bob", &said).await;
    bob.hears("ACK 5\n").await;

    let [first, second, third, fourth] = <[_; 4]>::try_from(world.written()).unwrap();
    let pair = ChannelId::of_pair(claim(&passport("alice")), claim(&passport("bob")));
    assert_eq!((first.message.channel, fourth.message.channel), (pair, pair));
    let own = second.message.channel;
    assert!(own == third.message.channel && own != pair && own.0.get_version_num() == 7);
    let rows = [&first, &second, &third, &fourth].map(|write| (write.members.len(), write.participations.len()));
    // Rows are written with the first message that needs them: of alice and carol with bob's, then of bob too.
    assert_eq!(rows, [(2, 1), (3, 2), (0, 1), (0, 1)]);
    assert_eq!(second.message.meant_for.len(), 2);
    assert!([&first, &second, &third].windows(2).all(|two| two[0].message.id < two[1].message.id));
    assert_eq!((fourth.message.kind, fourth.message.conversation), (MessageKind::Nudge, id));
    assert_eq!(first.participations[0].passport, passport("bob"));
}

/// Of the credentials by which the cookies of tests were got, and of those before them.
fn void(who: &str, before: u16) -> Void {
    let who = passport(who);
    Void { claim: claim(&who), who, before: Edition(before) }
}

#[tokio::test(start_paused = true)]
async fn a_new_password_ends_conversations() {
    let world = World::new();
    let (id, alice) = world.open("alice").await;
    let bob = world.join("bob", id).await;
    alice.hears("JOI bob@example.com Bob\n").await;
    let (_, carol) = world.open("carol").await;
    let Edition(own) = FakeDoorman::EDITION;
    assert_eq!(world.desk.void(&void("alice", own)), 0, "it has come by these");
    let of_before = Void { claim: claim(&passport("dora")), ..void("alice", own + 1) };
    assert_eq!(world.desk.void(&of_before), 0, "an earlier account of that name");
    assert_eq!(world.desk.void(&void("bob", own + 1)), 1);
    alice.hears("BYE bob@example.com\n").await;
    bob.is_closed().await;
    alice.msg(2, "A", TEXT, "anyone?");
    alice.hears("NAK 2\n").await;
    assert_eq!(world.desk.void(&void("alice", own + 1)), 1);
    alice.is_closed().await;
    assert!(world.board.conversations.find(id).is_none());
    carol.msg(3, "A", TEXT, "not meant");
    carol.hears("NAK 3\n").await;
    assert_eq!(world.board.conversations.participants(), 1);
}

/// Before it joins and when it has joined: of the two looks at its cookie one finds that it is void.
#[tokio::test(start_paused = true)]
async fn who_joins_while_its_cookie_becomes_void_is_out_again() {
    for looks in [0, 1] {
        let world = World::new();
        let (id, alice) = world.open("alice").await;
        let bob = world.connect();
        *world.doorman.void_after.lock().unwrap() = Some(looks);
        bob.say(&world.answer("bob", id));
        bob.hears("911 1\n").await;
        bob.is_closed().await;
        if looks > 0 {
            alice.hears("JOI bob@example.com Bob\nBYE bob@example.com\n").await;
        }
        alice.msg(2, "A", TEXT, "anyone?");
        alice.hears("NAK 2\n").await;
        let carol = world.connect();
        let another = world.conversation_id();
        let cookie = world.doorman.cookie(&passport("carol"), CookieRole::Caller, another);
        carol.say(&format!("USR 1 carol@example.com {cookie}\n"));
        carol.hears("911 1\n").await;
        assert!(world.board.conversations.find(another).is_none());
        assert_eq!(world.board.conversations.participants(), 1);
    }
}

/// What the sender hears of a message: by ack type, by whether it is stored, and by what happens to it.
#[tokio::test(start_paused = true)]
async fn acknowledgements() {
    const D: &str = "application/x-msnmsgrp2p";
    let well = Mood::Well;
    let slow = Mood::Slow(Duration::from_secs(6));
    let late = Mood::Slow(Duration::from_secs(4));
    // ack, type, with others and the store well, failing, slow (6 s), slow (4 s); alone.
    for (ack, content_type, expected) in [
        ("U", TEXT, ["", "", "", "", ""]),
        ("N", TEXT, ["", "NAK", "NAK", "", "NAK"]),
        ("A", TEXT, ["ACK", "NAK", "NAK", "ACK", "NAK"]),
        ("D", TEXT, ["ACK", "ACK", "ACK", "ACK", "NAK"]),
        ("S", TEXT, ["ACK", "ACK", "ACK", "ACK", ""]),
        ("U", TYPING, ["", "", "", "", ""]),
        ("N", TYPING, ["", "", "", "", "NAK"]),
        ("A", TYPING, ["ACK", "ACK", "ACK", "ACK", "NAK"]),
        ("D", D, ["ACK", "ACK", "ACK", "ACK", "NAK"]),
        ("S", D, ["ACK", "ACK", "ACK", "ACK", ""]),
    ] {
        let moods = [well, Mood::Failing, slow, late, well];
        for (index, (mood, expected)) in moods.into_iter().zip(expected).enumerate() {
            let alone = index == 4;
            let names: &[_] = if alone { &["alice"] } else { &["alice", "bob"] };
            let world = World::new();
            let clients = world.chat(names).await;
            let alice = &clients[0];
            world.store_is(mood);
            let begun = tokio::time::Instant::now();
            let said = alice.msg(5, ack, content_type, "x");
            if let Some(bob) = clients.get(1) {
                bob.hears_msg("alice", "Alice", &said).await;
                assert_eq!(begun.elapsed(), Duration::ZERO, "delivery waits for nothing");
            }
            let case = format!("{ack} {content_type} {mood:?} alone: {alone}");
            if expected.is_empty() {
                tokio::time::sleep(Duration::from_secs(7)).await;
                alice.hears_nothing().await;
            } else {
                assert_eq!(alice.line().await, format!("{expected} 5"), "{case}");
                assert!(begun.elapsed() <= Duration::from_millis(5001), "{case}: {:?}", begun.elapsed());
                alice.hears_nothing().await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_empty_is_relayed() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob"]).await;
    clients[0].say("MSG 2 U 0\nMSG 3 N 0\nMSG 4 A 0\nMSG 5 D 0\nMSG 6 S 0\n");
    clients[0].hears("NAK 3\nNAK 4\nNAK 5\n").await;
    let said = clients[0].msg(7, "U", TYPING, "");
    clients[1].hears_msg("alice", "Alice", &said).await;
}

/// `CLIENTS` 28: an empty argument is answered, before joining and after it, and is no end.
#[tokio::test(start_paused = true)]
async fn clients_28_empty_arguments_are_answered() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob"]).await;
    // One after the other: what is relayed is answered when that is done, and the others at once.
    for (command, answer) in [
        ("MSG 2  5\nhello", "NAK 2\n"),
        ("MSG 3 N \n", "NAK 3\n"),
        ("MSG 4  N 5\nhello", "NAK 4\n"),
        ("CAL 5 \n", "208 5\n"),
        ("CAL 6  x\n", "201 6\n"),
    ] {
        clients[0].say(command);
        clients[0].hears(answer).await;
    }
    let said = clients[0].msg(7, "U", TYPING, "");
    clients[1].hears_msg("alice", "Alice", &said).await;
    let carol = world.connect();
    carol.say("USR 1 \nANS 2 carol@example.com \n");
    carol.hears("201 1\n201 2\n").await;
    carol.say("USR 3 carol@example.com \n");
    carol.hears("911 3\n").await;
    carol.is_closed().await;
}

#[tokio::test(start_paused = true)]
async fn data_that_is_not_written_is_naked() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob", "carol"]).await;
    let (alice, bob) = (&clients[0], &clients[1]);
    bob.reads_at_most(10);
    alice.msg(2, "D", "application/x-msnmsgrp2p", &"x".repeat(1000));
    alice.msg(3, "A", "text/x-clientcaps", "a");
    // An A is told within 5 s; D goes as fast as the line.
    let begun = tokio::time::Instant::now();
    alice.hears("NAK 3\n").await;
    assert!(begun.elapsed() <= Duration::from_secs(5), "{:?}", begun.elapsed());
    tokio::time::sleep(Duration::from_secs(60)).await;
    alice.hears_nothing().await;
    bob.reset();
    let mut lines = [alice.line().await, alice.line().await];
    lines.sort();
    assert_eq!(lines, ["BYE bob@example.com", "NAK 2"]);
}

#[tokio::test(start_paused = true)]
async fn cookies_open_once_and_only_for_whom_they_are() {
    let world = World::new();
    let refused = async |line: String| {
        let client = world.connect();
        client.say(&line);
        client.hears("911 1\n").await;
        client.is_closed().await;
    };
    let (alice, bob) = (passport("alice"), passport("bob"));
    let id = world.conversation_id();
    let cookie = world.doorman.cookie(&alice, CookieRole::Caller, id);
    refused(format!("USR 1 bob@example.com {cookie}\n")).await;
    refused(format!("USR 1 alice {cookie}\n")).await;
    refused(format!("ANS 1 {alice} {cookie} 100000\n")).await;
    refused(format!("USR 1 {alice} forged\n")).await;
    let first = world.connect();
    first.say(&format!("USR 1 {alice} {cookie}\n"));
    first.hears("USR 1 OK alice@example.com Alice\n").await;
    refused(format!("USR 1 {alice} {cookie}\n")).await;
    // A second caller's cookie for a conversation that exists.
    refused(format!("USR 1 {bob} {}\n", world.doorman.cookie(&bob, CookieRole::Caller, id))).await;
    // The wrong number, no number; then a conversation that has ended meanwhile.
    let callee = || world.doorman.cookie(&bob, CookieRole::Callee, id);
    refused(format!("ANS 1 {bob} {} 7\n", callee())).await;
    refused(format!("ANS 1 {bob} {} x\n", callee())).await;
    let late = world.answer("bob", id);
    first.hears_nothing().await;
    first.say("OUT\n");
    first.is_closed().await;
    refused(late).await;
}

/// Capability numbers go to those whose dialect has network ids (CLIENTS 16, §9), in `IRO` and in `JOI`.
#[tokio::test(start_paused = true)]
async fn capability_numbers_go_to_those_who_read_them() {
    let world = World::new();
    let (id, alice) = world.open("alice").await;
    let conversation = world.board.conversations.find(id).unwrap();
    let join = |name: &str, wants_capabilities| {
        let (mailbox, heard) = common::net::mailbox(MAILBOX);
        let id = ParticipationId(world.board.clock.uuid());
        let participation = Participation::new(passport(name), id);
        let newcomer = Participant {
            participation,
            name: name.into(),
            claim: claim(&passport(name)),
            edition: None,
            capabilities: 1_342_177_316,
            wants_capabilities,
            mailbox,
            recorded: Recorded::default(),
            pressure: Pressure::default(),
        };
        conversation.join(newcomer, Greeting::Answered(TrId(1))).unwrap();
        heard
    };
    let text = |heard: &mut Mailbox<Push>| match heard.now() {
        Some(Push::Lines(lines) | Push::Joined { line: lines, .. }) => String::from_utf8(lines.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    let mut newer = join("newer", true);
    assert_eq!(text(&mut newer), "IRO 1 1 1 alice@example.com Alice 0\r\nANS 1 OK\r\n");
    let mut older = join("older", false);
    let there = "IRO 1 1 2 alice@example.com Alice\r\nIRO 1 2 2 newer@example.com newer\r\nANS 1 OK\r\n";
    assert_eq!(text(&mut older), there);
    assert_eq!(text(&mut newer), "JOI older@example.com older 1342177316\r\n");
    alice.hears("JOI newer@example.com newer\nJOI older@example.com older\n").await;
}

#[tokio::test(start_paused = true)]
async fn a_full_conversation_takes_nobody_in() {
    let world = World::new();
    let (id, _alice) = world.open("alice").await;
    let mut clients = Vec::new();
    for name in ["bob", "carol", "dave", "erin"] {
        clients.push(world.join(name, id).await);
    }
    let frank = world.connect();
    frank.say(&world.answer("frank", id));
    frank.hears("712 1\n").await;
    frank.is_closed().await;
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_closes() {
    let world = World::new();
    for line in ["PNG\n", "VER 1 MSNP8\n", "CAL 1 bob@example.com\n", "MSG 1 U 1\nx", "USR 1 a@b\n", "OUT\n"] {
        let client = world.connect();
        client.say(line);
        client.is_closed().await;
    }
    for line in [
        "PNG\n",
        "USR 2 alice@example.com x\n",
        "ANS 2 alice@example.com x 1\n",
        "CAL 2\n",
        "CAL x bob@example.com\n",
        "MSG 2 a 1\nx",
        "MSG 2 A 1665\n",
        "MSG 2 A -1\n",
        "JOI bob@example.com Bob\n",
        "FOO\n",
    ] {
        let clients = world.chat(&["alice", "bob"]).await;
        clients[0].say(line);
        clients[1].hears("BYE alice@example.com\n").await;
        clients[0].is_closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_dropped() {
    let world = World::new();
    let client = world.connect();
    let begun = tokio::time::Instant::now();
    client.is_closed().await;
    assert_eq!(begun.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_name_is_never_missing() {
    let world = World::new();
    for (who, name) in [("ghost", "ghost@example.com"), ("nameless", "nameless@example.com"), ("dave", "Dave")] {
        let id = world.conversation_id();
        let client = world.connect();
        let cookie = world.doorman.cookie(&passport(who), CookieRole::Caller, id);
        client.say(&format!("USR 1 {who}@example.com {cookie}\n"));
        client.hears(&format!("USR 1 OK {who}@example.com {name}\n")).await;
    }
    for mood in [Mood::Failing, Mood::Slow(Duration::from_secs(30))] {
        world.store_is(mood);
        let begun = tokio::time::Instant::now();
        let (_, client) = world.open("alice").await;
        assert!(begun.elapsed() <= Duration::from_millis(1001));
        client.hears_nothing().await;
    }
}

#[tokio::test(start_paused = true)]
async fn calls() {
    let world = World::new();
    let (id, alice) = world.open("alice").await;
    let session = world.board.conversations.find(id).unwrap().session;
    alice.say("CAL 2 alice@example.com\nCAL 3 bob\nCAL 4 Bob@Example.com\nCAL 5 bob@example.com\n");
    alice.hears(&format!("215 2\n208 3\nCAL 4 RINGING {session}\n215 5\n")).await;
    // An invitation that was not taken in the life of its cookie may be repeated.
    tokio::time::sleep(Duration::from_secs(121)).await;
    alice.say("CAL 6 bob@example.com\n");
    alice.hears(&format!("CAL 6 RINGING {session}\n")).await;
    // Five failing calls in a row are answered; then it takes a while.
    for trid in 10..15 {
        alice.say(&format!("CAL {trid} offline@example.com\n"));
        alice.hears(&format!("217 {trid}\n")).await;
    }
    alice.say("CAL 15 offline@example.com\nCAL 16 carol@example.com\n");
    alice.hears("713 15\n713 16\n").await;
    let metrics = &world.board.metrics;
    assert_eq!((metrics.calls_after_failures.get(), metrics.calls_too_often.get()), (2, 0));
    tokio::time::sleep(Duration::from_secs(10)).await;
    alice.say("CAL 17 carol@example.com\n");
    alice.hears(&format!("CAL 17 RINGING {session}\n")).await;
    // Five have room: alice, bob and carol who are rung, and two more.
    alice.say("CAL 18 dave@example.com\nCAL 19 erin@example.com\nCAL 20 frank@example.com\n");
    alice.hears(&format!("CAL 18 RINGING {session}\nCAL 19 RINGING {session}\n712 20\n")).await;
}

/// Nobody tells when the session that was rung ends: whoever calls again finds out.
#[tokio::test(start_paused = true)]
async fn a_ring_ends_with_the_session_that_was_rung() {
    let world = World::new();
    let (id, alice) = world.open("alice").await;
    let session = world.board.conversations.find(id).unwrap().session;
    let rings = || world.peers.invited.lock().unwrap().len();
    for trid in 1..10 {
        alice.say(&format!("CAL {trid} bob@example.com\n"));
        alice.hears(&if trid == 1 { format!("CAL 1 RINGING {session}\n") } else { format!("215 {trid}\n") }).await;
    }
    assert_eq!(rings(), 9, "its session says that it is rung");
    world.peers.are_new.store(true, Ordering::Relaxed);
    alice.say("CAL 10 bob@example.com\n");
    alice.hears(&format!("CAL 10 RINGING {session}\n")).await;
    let again: Vec<_> = world.peers.invited.lock().unwrap().iter().map(|(_, ring)| ring.again).collect();
    assert_eq!(again, [&[false][..], &[true; 9]].concat());
    // Two at once in one conversation are one ring.
    let bob = world.join("bob", id).await;
    alice.skip("JOI").await;
    alice.say("CAL 11 slow@example.com\n");
    while rings() < 11 {
        tokio::task::yield_now().await;
    }
    bob.say("CAL 1 slow@example.com\n");
    bob.hears("215 1\n").await;
    alice.hears("217 11\n").await;
}

/// Who asks once a second whether somebody has come never meets 713, and hears of it at once.
#[tokio::test(start_paused = true)]
async fn polling_is_not_too_active() {
    let world = World::new();
    let (_, alice) = world.open("alice").await;
    for trid in 0..120 {
        alice.say(&format!("CAL {trid} offline@example.com\n"));
        alice.hears(&format!("217 {trid}\n")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    alice.say("CAL 121 fed-up@example.com\n");
    alice.hears("713 121\n").await;
}

#[tokio::test(start_paused = true)]
async fn too_many_calls_are_713_also_when_they_ring() {
    let rates = Rates { call_burst: 3, call_per_minute: 6, ..Rates::default() };
    let world = World::with_rates(&rates);
    let (id, alice) = world.open("alice").await;
    let session = world.board.conversations.find(id).unwrap().session;
    for (trid, callee) in ["bob", "carol", "dave"].into_iter().enumerate() {
        alice.say(&format!("CAL {trid} {callee}@example.com\n"));
        alice.hears(&format!("CAL {trid} RINGING {session}\n")).await;
    }
    alice.say("CAL 3 erin@example.com\nCAL 4 erin@example.com\n");
    alice.hears("713 3\n713 4\n").await;
    assert_eq!(world.peers.invited.lock().unwrap().len(), 3, "nobody else was rung");
    tokio::time::sleep(Duration::from_secs(10)).await;
    alice.say("CAL 5 erin@example.com\nCAL 6 erin@example.com\n");
    alice.hears(&format!("CAL 5 RINGING {session}\n713 6\n")).await;
    let metrics = &world.board.metrics;
    assert_eq!((metrics.calls_after_failures.get(), metrics.calls_too_often.get()), (0, 3));
}

/// The table of verbs against the code: what it lets through is understood, and nothing else is.
#[test]
fn what_the_table_lets_through_is_understood() {
    use common::msnp::verbs::{Phase, TABLE, gate};
    use common::msnp::{Decoder, ParseError, Service, switchboard::Request};

    for row in TABLE {
        let (fewest, most) = row.args;
        for count in fewest..=most.min(6) {
            let mut line = row.verb.to_string();
            let payload = row.payload.is_some();
            (0..count)
                .for_each(|at| line.push_str(if at == 0 || (payload && at + 1 == count) { " 0" } else { " x" }));
            let mut input = bytes::BytesMut::from(format!("{line}\r\n").as_bytes());
            let Ok(Some(command)) = Decoder::new(Service::Switchboard, 10).decode(&mut input) else { continue };
            let known = TABLE.iter().any(|other| other.service == Service::Switchboard && other.verb == row.verb);
            let phases = [Phase::Start, Phase::SignedIn];
            let gated = phases.map(|phase| gate(Service::Switchboard, None, phase, &command));
            let unknown = Some(ParseError::UnknownVerb);
            assert_eq!(gated.iter().all(|gated| gated.as_ref().err() != unknown.as_ref()), known, "{line}");
            assert_eq!(Request::parse(&command).err() != unknown, known, "{line}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_keeps_order_and_delays_nobody() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob"]).await;
    let (alice, bob) = (&clients[0], &clients[1]);
    let begun = tokio::time::Instant::now();
    alice.say("CAL 2 slow@example.com\nCAL 3 offline@example.com\n");
    let after = alice.msg(4, "U", TYPING, "later");
    let now = bob.msg(2, "A", TYPING, "now");
    alice.hears_msg("bob", "Bob", &now).await;
    bob.hears("ACK 2\n").await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    alice.hears("217 2\n217 3\n").await;
    assert_eq!(begun.elapsed().as_millis() / 10, 200);
    bob.hears_msg("alice", "Alice", &after).await;
}

#[tokio::test(start_paused = true)]
async fn a_second_connection_takes_the_place_of_the_first() {
    let world = World::new();
    let (id, alice) = world.open("alice").await;
    let bob = world.join("bob", id).await;
    alice.hears("JOI bob@example.com Bob\n").await;
    let again = world.connect();
    again.say(&world.answer("bob", id));
    again.hears("IRO 1 1 1 alice@example.com Alice\nANS 1 OK\n").await;
    bob.is_closed().await;
    let said = alice.msg(2, "A", TYPING, "x");
    // The other has seen neither a leave nor a second entry, and it is there once.
    alice.hears("ACK 2\n").await;
    again.hears_msg("alice", "Alice", &said).await;
    again.say("OUT\n");
    alice.hears("BYE bob@example.com\n").await;
}

#[tokio::test(start_paused = true)]
async fn everybody_hears_the_same_order() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob", "carol"]).await;
    for client in &clients {
        client.reads_at_most(1 << 20);
    }
    let names = ["alice", "bob"];
    for number in 0..100 {
        for client in &clients[..2] {
            client.msg(number, "N", if number % 3 == 0 { TEXT } else { TYPING }, &format!("{number:03}"));
        }
        if number % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let mut next = [0, 0];
    let mut order = Vec::new();
    while next != [100, 100] {
        let line = clients[2].line().await;
        let sender = names.iter().position(|name| line.starts_with(&format!("MSG {name}@"))).unwrap();
        let content_type = if next[sender] % 3 == 0 { TEXT } else { TYPING };
        let body = payload(content_type, &format!("{:03}", next[sender])).replace("\r\n", "\n");
        clients[2].hears(&body).await;
        next[sender] += 1;
        order.push((sender, content_type == TEXT));
    }
    // History has the same order.
    let mut written = world.written();
    written.sort_by_key(|write| write.message.id);
    let senders: Vec<_> = written.iter().map(|write| write.message.sender.clone()).collect();
    let kept = order.iter().filter(|(_, kept)| *kept);
    assert_eq!(senders, kept.map(|(sender, _)| passport(names[*sender])).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn quiet_conversations_end() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob"]).await;
    world.board.conversations.end_quiet(0);
    for _ in 0..299 {
        world.board.conversations.end_quiet(300);
    }
    clients[0].hears_nothing().await;
    for _ in 0..300 {
        world.board.conversations.end_quiet(300);
    }
    clients[1].hears_nothing().await;
    for _ in 0..301 {
        world.board.conversations.end_quiet(300);
    }
    clients[0].hears("BYE bob@example.com 1\n").await;
    clients[1].hears("BYE alice@example.com 1\n").await;
    clients[0].is_closed().await;
    clients[1].is_closed().await;
    assert_eq!(world.board.metrics.conversations.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_tells_everybody_and_loses_nothing() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob"]).await;
    let unknown = world.connect();
    world.store_is(Mood::Slow(Duration::from_secs(1)));
    let said = clients[0].msg(1, "A", TEXT, "last words");
    clients[1].hears_msg("alice", "Alice", &said).await;
    world.board.shutdown.begin();
    world.board.conversations.close();
    clients[0].hears("BYE bob@example.com\n").await;
    clients[1].hears("BYE alice@example.com\n").await;
    for client in clients.iter().chain([&unknown]) {
        client.is_closed().await;
        client.close();
    }
    assert_eq!(world.board.shutdown.finish(Duration::from_secs(12)).await, 0);
    assert_eq!(world.written().len(), 1);
    assert_eq!(world.board.metrics.participants.get(), 0);
    world.store.was_asked(|asked| *asked == Asked::Remove(passport("bob"))).await;
}

/// What a participant costs while nothing happens.
#[tokio::test]
async fn an_idle_session_is_small() {
    let world = World::new();
    let (_client, transport) = wire();
    let size = std::mem::size_of_val(&super::serve(
        Arc::clone(&world.board),
        transport,
        stranger(),
        tokio::time::Instant::now(),
    ));
    assert!(size <= 2688, "{size} bytes");
}

/// Who says too much waits, and nothing of it is refused; what it says to nobody waits as well.
#[tokio::test(start_paused = true)]
async fn who_says_too_much_waits() {
    let rates = Rates {
        message_burst: 100,
        message_per_minute: 600,
        stored_burst: 10,
        stored_per_minute: 60,
        ..Rates::default()
    };
    let world = World::bounded(&rates, &Limits::default());
    let clients = world.chat(&["alice", "bob"]).await;
    let (alice, bob) = (&clients[0], &clients[1]);
    let begun = tokio::time::Instant::now();
    for trid in 0..20 {
        alice.msg(trid, "A", TEXT, "x");
    }
    // Another of its conversations has the same purse.
    let (_, alone) = world.open("alice").await;
    for trid in 0..20 {
        alice.hears(&format!("ACK {trid}\n")).await;
    }
    assert!((9..12).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    let begun = tokio::time::Instant::now();
    for trid in 0..200 {
        alone.msg(trid, "D", TYPING, "\r\n");
    }
    alone.hears("NAK 0\n").await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    // While it waits it hears what others say.
    let said = bob.msg(1, "A", TEXT, "too much");
    drop(said);
    bob.hears_at_last(b"ACK 1\r\n").await;
    for trid in 1..200 {
        alone.hears(&format!("NAK {trid}\n")).await;
    }
    assert!((8..13).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

/// Beyond the quota of a day, and on a disk that is nearly full, messages are delivered, not kept, and NAKed.
#[tokio::test(start_paused = true)]
async fn what_there_is_no_room_for_is_delivered_and_naked() {
    let rates = Rates { stored_burst: 0, ..Rates::default() };
    let world = World::bounded(&rates, &Limits { stored_kib_per_day: 5, ..Limits::default() });
    let clients = world.chat(&["alice", "bob"]).await;
    let (alice, bob) = (&clients[0], &clients[1]);
    let body = "x".repeat(1000);
    for (trid, verdict) in [(1, "ACK"), (2, "ACK"), (3, "ACK"), (4, "NAK"), (5, "NAK")] {
        let said = alice.msg(trid, "A", TEXT, &body);
        bob.hears_msg("alice", "Alice", &said).await;
        alice.hears(&format!("{verdict} {trid}\n")).await;
    }
    // What is not kept has no quota, and each has its own.
    let said = alice.msg(6, "D", "application/x-msnmsgrp2p", &body);
    bob.hears_msg("alice", "Alice", &said).await;
    alice.hears("ACK 6\n").await;
    let said = bob.msg(7, "A", TEXT, &body);
    alice.hears_msg("bob", "Bob", &said).await;
    bob.hears("ACK 7\n").await;
    world.board.disk.set_low(true);
    let said = bob.msg(8, "A", TEXT, "x");
    alice.hears_msg("bob", "Bob", &said).await;
    bob.hears("NAK 8\n").await;
    world.board.disk.set_low(false);
    bob.msg(9, "A", TEXT, "x");
    bob.hears("ACK 9\n").await;
    assert_eq!(world.written().len(), 5);
    let metrics = &world.board.metrics;
    assert_eq!((metrics.not_kept_quota.get(), metrics.not_kept_disk.get()), (2, 1));
}

/// The quota is for what is kept: not for what nobody hears, nor for what the store does not take.
#[tokio::test(start_paused = true)]
async fn what_is_not_kept_costs_no_quota() {
    let rates = Rates { stored_burst: 0, ..Rates::default() };
    let world = World::bounded(&rates, &Limits { stored_kib_per_day: 5, ..Limits::default() });
    let (id, alice) = world.open("alice").await;
    let body = "x".repeat(1000);
    for trid in 0..20 {
        alice.msg(trid, "A", TEXT, &body);
        alice.hears(&format!("NAK {trid}\n")).await;
    }
    let bob = world.join("bob", id).await;
    alice.skip("JOI").await;
    world.store_is(Mood::Failing);
    for trid in 0..20 {
        let said = alice.msg(trid, "A", TEXT, &body);
        bob.hears_msg("alice", "Alice", &said).await;
        alice.hears(&format!("NAK {trid}\n")).await;
    }
    world.store_is(Mood::Well);
    for (trid, verdict) in [(1, "ACK"), (2, "ACK"), (3, "ACK"), (4, "NAK")] {
        let said = alice.msg(trid, "A", TEXT, &body);
        bob.hears_msg("alice", "Alice", &said).await;
        alice.hears(&format!("{verdict} {trid}\n")).await;
    }
}

/// Each recipient costs something, and the rows that go with the first message cost more than that.
#[tokio::test(start_paused = true)]
async fn a_message_to_many_costs_more() {
    let rates = Rates { stored_burst: 0, ..Rates::default() };
    let world = World::bounded(&rates, &Limits { stored_kib_per_day: 5, ..Limits::default() });
    let clients = world.chat(&["alice", "bob", "carol", "dave", "erin"]).await;
    let body = "x".repeat(1000);
    // Its rows are five members' and four participations'.
    for (trid, verdict) in [(1, "ACK"), (2, "NAK")] {
        let said = clients[0].msg(trid, "A", TEXT, &body);
        for other in &clients[1..] {
            other.hears_msg("alice", "Alice", &said).await;
        }
        clients[0].hears(&format!("{verdict} {trid}\n")).await;
    }
}

/// As somebody does it in a terminal: without headers, and with a line end behind the payload.
#[tokio::test(start_paused = true)]
async fn a_message_typed_by_hand() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob"]).await;
    let (alice, bob) = (&clients[0], &clients[1]);
    for (trid, end) in [(3, "\r\n"), (4, "\n"), (5, "\r\n\r\n\n")] {
        alice.send(format!("MSG {trid} A 5\r\nhello{end}").as_bytes());
        bob.hears_msg("alice", "Alice", "hello").await;
        alice.hears(&format!("ACK {trid}\n")).await;
    }
    let written = world.written();
    assert_eq!(written.len(), 3);
    assert!(
        written.iter().all(|write| write.message.kind == MessageKind::Text && write.message.payload == "hello")
    );
    alice.send(&b"\r\n".repeat(14));
    bob.hears("BYE alice@example.com\n").await;
}
