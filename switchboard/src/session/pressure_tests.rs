//! Back pressure: a sender waits for whoever reads more slowly, and nobody waits for long.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::cluster::CookieRole;
use common::model::{ChannelId, ParticipationId};
use common::msnp::switchboard::Speaker;
use common::msnp::{Decoder, Service};
use common::net::{Connection, Event, Mailbox, mailbox};
use tokio::time::Instant;

use crate::conversation::{Conversation, Greeting, Participant, Recorded, Rules};
use crate::participation::Participation;
use crate::pressure::Pressure;
use crate::push::{HELD, Heard, MAILBOX, Push};
use crate::testing::{Asked, Client, World, claim, passport, stranger, wire};

use super::paced::Wait;
use super::{Session, join};

const TEXT: &str = "text/plain; charset=UTF-8";
const P2P: &str = "application/x-msnmsgrp2p";
/// The longest message.
const PAYLOAD: usize = 1664;
/// What one message of [`send`] is at its recipient: `MSG alice@example.com Alice 1664` goes before it.
const HEARD: usize = PAYLOAD + 34;
const UNREAD: usize = 64 * 1024;
const RULES: Rules = Rules { participants: 5, ring: Duration::from_secs(120) };

/// Sends so many messages of the longest kind at once.
fn send(client: &Client, trids: std::ops::Range<u32>, ack: &str, content_type: &str) {
    let head = crate::testing::payload(content_type, "").len();
    for trid in trids {
        client.msg(trid, ack, content_type, &"x".repeat(PAYLOAD - head));
    }
}

/// Takes so many bytes at a pace, some each tenth of a second.
async fn reads(client: &Client, per_second: usize, all: usize) {
    let mut taken = 0;
    while taken < all {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let step = (per_second / 10).min(all - taken);
        client.bytes(step).await;
        taken += step;
    }
}

/// Takes so many bytes as fast as they come.
async fn drinks(client: &Client, all: usize) {
    let mut left = all;
    while left > 0 {
        left -= client.bytes(left.min(8192)).await.len();
    }
}

/// Passes over what comes until a line ends so.
async fn hears_at_last(client: &Client, end: &str) {
    while !client.line().await.ends_with(end) {}
}

async fn acks(client: &Client, trids: std::ops::Range<u32>) {
    let mut wanted: Vec<String> = trids.map(|trid| format!("ACK {trid}")).collect();
    while !wanted.is_empty() {
        let line = client.line().await;
        let place = wanted.iter().position(|ack| *ack == line).unwrap_or_else(|| panic!("{line}"));
        wanted.swap_remove(place);
    }
}

/// Somebody without a connection: the test says how it reads.
fn plant(
    world: &World,
    conversation: &Conversation,
    name: &str,
    pressure: Pressure,
) -> (ParticipationId, Mailbox<Push>) {
    let (mailbox, mails) = mailbox(MAILBOX);
    let who = passport(name);
    let participation = Participation::new(who.clone(), ParticipationId(world.board.clock.uuid()));
    let id = participation.id;
    let participant = Participant {
        participation,
        name: name.into(),
        claim: claim(&who),
        capabilities: 0,
        wants_capabilities: false,
        edition: None,
        mailbox,
        recorded: Recorded::default(),
        pressure,
    };
    conversation.join(participant, Greeting::Opened(Bytes::new())).unwrap();
    (id, mails)
}

/// Lets everything happen that needs no time.
async fn settles() {
    tokio::time::sleep(Duration::from_millis(10)).await;
}

#[tokio::test(start_paused = true)]
async fn a_sender_is_as_fast_as_the_slowest_reader() {
    for ack in ["D", "A"] {
        let content_type = if ack == "A" { TEXT } else { P2P };
        let world = World::new();
        let clients = world.chat(&["alice", "bob"]).await;
        let (alice, bob) = (&clients[0], &clients[1]);
        send(alice, 0..600, ack, content_type);
        settles().await;
        // What bob's line takes, what may be unread, and the message that was too much.
        let read = 600 * PAYLOAD - alice.unread();
        assert!(read < 16 * 1024 + UNREAD + 8 * 1024, "{read} bytes were read from the sender");
        let begun = Instant::now();
        tokio::join!(reads(bob, 125_000, 600 * HEARD), acks(alice, 0..600));
        assert!(begun.elapsed() > Duration::from_secs(7), "{:?}", begun.elapsed());
        alice.hears_nothing().await;
    }
}

#[tokio::test(start_paused = true)]
async fn other_rooms_never_wait() {
    let world = World::new();
    let (clients, others) = (world.chat(&["alice", "bob"]).await, world.chat(&["carol", "dave"]).await);
    clients[1].reads_at_most(0);
    send(&clients[0], 0..100, "D", P2P);
    settles().await;
    assert!(clients[0].unread() > 0);
    let begun = Instant::now();
    for trid in 0..200 {
        let said = others[0].msg(trid, "A", TEXT, "quick");
        others[1].hears_msg("carol", "Carol", &said).await;
        others[0].hears(&format!("ACK {trid}\n")).await;
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(clients[0].unread() > 0);
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_for_ten_seconds_is_cut() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob"]).await;
    let begun = Instant::now();
    send(&clients[0], 0..100, "A", TEXT);
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| !line.starts_with("BYE")) {
        lines.push(clients[0].line().await);
    }
    let cut = begun.elapsed();
    assert!((10..12).contains(&cut.as_secs()), "{cut:?}");
    assert!(!lines.iter().any(|line| line.starts_with("NAK")), "{lines:?}");
    let closed = world.store.was_asked(|asked| matches!(asked, Asked::Close(..))).await;
    assert_eq!(closed, Asked::Close(passport("bob"), None));
    world.peers.has_told(&passport("bob")).await;
    // What waited is kept for bob, or found nobody: each has its answer.
    for _ in lines.len()..101 {
        let line = clients[0].line().await;
        assert!(line.starts_with("NAK") || line.starts_with("ACK"), "{line}");
    }
    clients[0].hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_trickle_is_enough_or_not() {
    for (rate, stays) in [(8_000, true), (5_000, false)] {
        let world = World::new();
        let clients = world.chat(&["alice", "bob"]).await;
        let (alice, bob) = (&clients[0], &clients[1]);
        send(alice, 0..400, "D", P2P);
        let reading = tokio::time::timeout(Duration::from_secs(40), async {
            loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                if bob.is_over() {
                    return;
                }
                bob.bytes(rate / 10).await;
            }
        });
        assert_eq!(reading.await.is_err(), stays, "{rate} bytes a second");
    }
}

#[tokio::test(start_paused = true)]
async fn among_three_nobody_holds_up_the_others_for_long() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob", "carol"]).await;
    let (alice, bob, carol) = (&clients[0], &clients[1], &clients[2]);
    bob.reads_at_most(1000);
    let begun = Instant::now();
    send(alice, 0..300, "A", TEXT);
    let read = async {
        drinks(carol, 300 * HEARD).await;
        begun.elapsed()
    };
    let said = async {
        let mut lines = Vec::new();
        while lines.len() < 301 {
            lines.push(alice.line().await);
        }
        lines
    };
    let (elapsed, lines) = tokio::join!(read, said);
    assert!((2..4).contains(&elapsed.as_secs()), "{elapsed:?}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("ACK")).count(), 300);
    assert_eq!(lines.iter().filter(|line| *line == "BYE bob@example.com").count(), 1);
    world.peers.has_told(&passport("bob")).await;
    assert_eq!(world.written().first().unwrap().message.meant_for.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_burst_throws_nobody_out() {
    let world = World::new();
    let names = ["alice", "bob", "carol", "dave", "erin"];
    let clients = world.chat(&names).await;
    send(&clients[0], 0..300, "D", P2P);
    let all = 300 * HEARD;
    tokio::join!(
        drinks(&clients[1], all),
        drinks(&clients[2], all),
        drinks(&clients[3], all),
        drinks(&clients[4], all),
        acks(&clients[0], 0..300)
    );
    clients[0].hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn two_who_only_send_go_on_both_of_them() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob"]).await;
    let (alice, bob) = (&clients[0], &clients[1]);
    for client in &clients {
        client.reads_at_most(0);
    }
    // Bob fills alice while she waits for him: more than makes her wait, and less than the bound.
    send(alice, 0..60, "U", P2P);
    settles().await;
    assert!(alice.unread() > 0);
    send(bob, 0..60, "U", P2P);
    let begun = Instant::now();
    while alice.unread() + bob.unread() > 0 {
        settles().await;
        assert!(begun.elapsed() < Duration::from_secs(3), "{} and {} wait", alice.unread(), bob.unread());
    }
    assert!(!alice.is_over() && !bob.is_over());
    // They were done, and read: it goes on as before.
    clients.iter().for_each(|client| client.reads_at_most(16 * 1024));
    tokio::join!(drinks(alice, 60 * (HEARD - 4)), drinks(bob, 60 * HEARD));
    // Without an end one of them meets the bound.
    clients.iter().for_each(|client| client.reads_at_most(0));
    send(alice, 0..400, "U", P2P);
    send(bob, 0..400, "U", P2P);
    let begun = Instant::now();
    while !clients.iter().any(Client::is_over) {
        settles().await;
        assert!(begun.elapsed() < Duration::from_secs(3), "they stand");
    }
}

/// Whoever waits hears at once that it has become behind itself, and does not stand until the other one's ten seconds are over; by
/// whatever way it waits, and without its session.
#[tokio::test(start_paused = true)]
async fn who_waits_hears_that_it_is_behind_itself() {
    let world = World::new();
    let id = world.conversation_id();
    let conversation = Conversation::new(id, 100_000, ChannelId(world.board.clock.uuid()), RULES);
    let conversation = Arc::new(conversation);
    let (alice, _alice) = plant(&world, &conversation, "alice", Pressure::default());
    let (bob, _bob) = plant(&world, &conversation, "bob", Pressure::default());
    let spoken = Speaker::new(&passport("x"), "x").says(&Bytes::from(vec![b'x'; UNREAD]));
    conversation.relay(alice, &spoken, None);
    let begun = Instant::now();
    let waiting = tokio::spawn({
        let conversation = Arc::clone(&conversation);
        async move { conversation.may_speak(alice).await }
    });
    settles().await;
    conversation.relay(bob, &spoken, None);
    // He has something to say too.
    conversation.may_speak(bob).await;
    waiting.await.unwrap();
    assert!(begun.elapsed() < Duration::from_millis(2_100), "{:?}", begun.elapsed());
}

/// To be behind is no excuse: who does not read could throw out all others.
#[tokio::test(start_paused = true)]
async fn who_does_not_read_waits_like_anybody() {
    let world = World::new();
    let clients = world.chat(&["mallory", "alice", "bob"]).await;
    let (mallory, alice, bob) = (&clients[0], &clients[1], &clients[2]);
    mallory.reads_at_most(0);
    // Her answers make her behind.
    for _ in 0..5000 {
        mallory.send(b"MSG 4294967295 D 0\r\n");
    }
    settles().await;
    send(mallory, 0..300, "U", P2P);
    settles().await;
    assert!(mallory.unread() > 300 * PAYLOAD - 128 * 1024, "{} were not read", mallory.unread());
    // Also while one of them has something to say.
    alice.msg(1, "U", TEXT, "hello");
    let all = 300 * (HEARD + 4);
    tokio::join!(drinks(alice, all), drinks(bob, all));
    assert!(!alice.is_over() && !bob.is_over());
}

/// Whoever has made others wait for as long as it may, and is called again, has not got that time anew.
#[tokio::test(start_paused = true)]
async fn who_comes_back_goes_on_with_what_it_has_made_others_wait() {
    let world = World::new();
    let (id, alice) = world.open("alice").await;
    let carol = world.join("carol", id).await;
    alice.skip("JOI").await;
    let mut waited = Vec::new();
    for _ in 0..3 {
        let mallory = world.join("mallory", id).await;
        mallory.reads_at_most(0);
        let begun = Instant::now();
        send(&alice, 0..60, "U", P2P);
        let carols = async { while !carol.line().await.contains("BYE mallory") {} };
        tokio::join!(carols, async { while !alice.line().await.contains("BYE mallory") {} });
        waited.push(begun.elapsed().as_millis());
    }
    assert!((2000..2100).contains(&waited[0]), "{waited:?}");
    assert!(waited[1] < 100 && waited[2] < 100, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn who_waits_hears_and_leaves() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob"]).await;
    let (alice, bob) = (&clients[0], &clients[1]);
    send(alice, 0..100, "D", P2P);
    settles().await;
    assert!(alice.unread() > 0);
    bob.msg(1, "A", TEXT, "slower, please");
    hears_at_last(alice, "charset=UTF-8").await;
    assert_eq!(alice.line().await, "");
    assert_eq!(alice.bytes(14).await, "slower, please");
    let begun = Instant::now();
    alice.reset();
    hears_at_last(bob, "BYE alice@example.com").await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn last_words_are_said() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob"]).await;
    let (alice, bob) = (&clients[0], &clients[1]);
    send(alice, 0..100, "U", P2P);
    alice.msg(1, "N", TEXT, "the last");
    settles().await;
    alice.close();
    settles().await;
    assert!(alice.unread() > 0);
    hears_at_last(bob, "the lastBYE alice@example.com").await;
}

/// What the kernel holds counts although nobody announces that it is confirmed.
#[tokio::test(start_paused = true)]
async fn what_is_written_and_not_confirmed_is_unread() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob"]).await;
    let (alice, bob) = (&clients[0], &clients[1]);
    bob.reads_at_most(1 << 20);
    bob.confirms(0);
    send(alice, 0..100, "D", P2P);
    settles().await;
    let read = 100 * PAYLOAD - alice.unread();
    assert!((UNREAD - 8192..UNREAD + 8192).contains(&read), "{read} bytes were read from the sender");
    let begun = Instant::now();
    bob.confirms(1 << 20);
    acks(alice, 0..100).await;
    assert!(begun.elapsed() <= Duration::from_millis(50), "{:?}", begun.elapsed());
}

/// What is not stored succeeds when it is written, and its sender is told within five seconds: behind all that others may have unread
/// that is too short for a slow reader, though it is one that is kept.
#[tokio::test(start_paused = true)]
async fn no_message_fails_since_its_reader_is_slow() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob"]).await;
    let (alice, bob) = (&clients[0], &clients[1]);
    send(alice, 0..36, "D", P2P);
    for trid in 100..120 {
        alice.msg(trid, "A", P2P, "x");
        alice.msg(trid + 100, "A", TEXT, "x");
    }
    let begun = Instant::now();
    let reading = async {
        loop {
            reads(bob, 7_000, 700).await;
        }
    };
    let answers = async {
        let mut heard = Vec::new();
        while heard.len() < 36 + 40 {
            let line = alice.line().await;
            assert!(line.starts_with("ACK"), "{line} after {:?}", begun.elapsed());
            heard.push(line);
        }
    };
    tokio::select! {
        () = reading => {}
        () = answers => {}
    }
}

/// It waits for ten seconds at most, and has its answer five seconds later; the next ones don't wait for who takes less than it must.
#[tokio::test(start_paused = true)]
async fn who_reads_nothing_is_not_waited_for_for_ever() {
    let world = World::new();
    let clients = world.chat(&["alice", "bob"]).await;
    let (alice, bob) = (&clients[0], &clients[1]);
    bob.reads_at_most(0);
    send(alice, 0..30, "U", P2P);
    alice.msg(1, "A", P2P, "x");
    let begun = Instant::now();
    alice.hears("NAK 1\n").await;
    assert!((10..16).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    for (trid, trickle) in [(2, 0), (3, 100)] {
        bob.reads_at_most(trickle);
        let begun = Instant::now();
        alice.msg(trid, "A", P2P, "x");
        alice.msg(trid + 10, "A", TEXT, "x");
        alice.hears(&format!("ACK {}\n", trid + 10)).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "what is said behind it waited {:?}", begun.elapsed());
        alice.hears(&format!("NAK {trid}\n")).await;
    }
    assert!(!bob.is_over());
    // It reads again, and is waited for again.
    bob.reads_at_most(16 * 1024);
    drinks(bob, 30 * HEARD).await;
    alice.msg(4, "A", P2P, "x");
    alice.hears("ACK 4\n").await;
}

/// Whoever is behind holds up also those whose message waits until it can be written in time: it is cut as soon as if that were any
/// other message, and what is said behind it does not wait for longer either.
#[tokio::test(start_paused = true)]
async fn who_is_behind_holds_up_whatever_is_said() {
    for (names, bound) in [(&["alice", "carol"][..], 10), (&["alice", "carol", "bob"], 2)] {
        for ack in ["N", "A"] {
            let world = World::new();
            let clients = world.chat(names).await;
            let (alice, carol) = (&clients[0], &clients[1]);
            carol.reads_at_most(0);
            if let Some(bob) = clients.get(2) {
                bob.reads_at_most(usize::MAX);
            }
            // So much is read that she is behind, and no more.
            send(alice, 0..39, "U", P2P);
            settles().await;
            assert_eq!(alice.unread(), 0);
            let begun = Instant::now();
            alice.msg(100, ack, "text/x-msmsgsinvite", "x");
            alice.msg(101, "A", TEXT, "behind it");
            while !carol.is_over() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let cut = begun.elapsed();
            assert!((bound..bound + 1).contains(&cut.as_secs()), "{names:?} {ack}: cut after {cut:?}");
            hears_at_last(alice, " 101").await;
            let told = begun.elapsed() - cut;
            assert!(told < Duration::from_secs(1), "{names:?} {ack}: told {told:?} later");
        }
    }
}

/// A message waits for ten seconds at most until it can be written in time, also if others hold it up besides, again and again.
#[tokio::test(start_paused = true)]
async fn who_is_now_and_then_behind_does_not_hold_a_message_for_ever() {
    let world = World::new();
    let (id, alice) = world.open("alice").await;
    let _bob = world.join("bob", id).await;
    alice.skip("JOI").await;
    let conversation = world.board.conversations.find(id).unwrap();
    let (carol, mut mails) = plant(&world, &conversation, "carol", Pressure::default());
    alice.skip("JOI").await;
    let begun = Instant::now();
    // She has 40 KiB to read, and is behind just when the ten seconds end.
    let reads = |elapsed: Duration| {
        let unread = if elapsed.as_millis() % 10_500 >= 9_500 { UNREAD + 1 } else { 40 * 1024 };
        let read = 100_000 * elapsed.as_secs();
        conversation.report(carol, unread, 40 * 1024, (read, read));
    };
    reads(Duration::ZERO);
    alice.msg(1, "A", P2P, "x");
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        reads(begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(12), "not taken up");
        if let Some(Push::Message(_, Heard::Awaited(ticket))) = mails.now() {
            ticket.written();
            break;
        }
    }
    alice.hears("ACK 1\n").await;
}

/// Whatever others do: what was read is taken up at last, and nothing of it is NAKed for anybody's speed.
#[tokio::test(start_paused = true)]
async fn nobody_holds_up_a_message_for_ever() {
    let world = World::new();
    let (id, alice) = world.open("alice").await;
    let conversation = world.board.conversations.find(id).unwrap();
    // Behind, to blame for nothing, and never up to date.
    let (carol, mut mails) = plant(&world, &conversation, "carol", Pressure::excused());
    alice.skip("JOI").await;
    conversation.report(carol, UNREAD + 1, 0, (0, 0));
    for trid in [1, 2] {
        let begun = Instant::now();
        alice.msg(trid, "A", TEXT, "x");
        alice.hears(&format!("ACK {trid}\n")).await;
        assert_eq!(begun.elapsed().as_secs(), HELD.as_secs());
    }
    // It waits no more once it is taken up: who would be to blame now is not to blame for that.
    conversation.take_up(carol);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(mails.now().is_some());
    // What is never told of has no such bound, and has not begun to wait before.
    alice.msg(3, "D", P2P, "x");
    assert!(tokio::time::timeout(Duration::from_secs(9), alice.line()).await.is_err());
}

/// Whatever holds it: what has no end is a mistake, and a debug build ends there.
#[tokio::test(start_paused = true)]
#[should_panic(expected = "a message is held for")]
async fn a_hold_without_an_end_is_found() {
    let world = World::new();
    let (client, transport) = wire();
    let (id, who) = (world.conversation_id(), passport("alice"));
    client.say(&format!("USR 1 {who} {}\n", world.doorman.cookie(&who, CookieRole::Caller, id)));
    let decoder = Decoder::new(Service::Switchboard, 1664);
    let mut connection = Connection::new(transport, decoder, Arc::clone(&world.board.pool));
    let (seat, mailbox) = join::admit(&world.board, &mut connection, &stranger()).await.unwrap();
    client.msg(2, "A", TEXT, "x");
    let Event::Command(command) = connection.event().await else { panic!("no command") };
    let mut session = Session::new(Arc::clone(&world.board), connection, seat, mailbox);
    session.pace.hold(command, Wait::Calm(Instant::now() + Duration::from_secs(3600)));
    let _ = tokio::time::timeout(Duration::from_secs(60), session.run()).await;
}
