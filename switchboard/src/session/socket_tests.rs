//! Sessions over real sockets on loopback.

use std::sync::Arc;
use std::time::Duration;

use common::cluster::CookieRole;
use common::net::TcpTransport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use crate::testing::{Asked, World, passport, payload, stranger};

const TEXT: &str = "text/plain; charset=UTF-8";
const SOON: Duration = Duration::from_secs(10);

/// Connects a client to a session of its own.
async fn connect(world: &World) -> TcpStream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    let transport = TcpTransport::new(stream, peer).unwrap();
    world.board.shutdown.spawn(super::serve(Arc::clone(&world.board), transport, stranger(), Instant::now()));
    client.set_nodelay(true).unwrap();
    client
}

async fn hears(client: &mut TcpStream, text: &str) {
    let mut bytes = vec![0; text.len()];
    timeout(SOON, client.read_exact(&mut bytes)).await.expect(text).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

async fn is_closed(client: &mut TcpStream) {
    let rest = &mut Vec::new();
    let outcome = timeout(SOON, client.read_to_end(rest)).await.expect("still open");
    assert_eq!((outcome.unwrap(), rest.len()), (0, 0));
}

/// alice, who called, and bob.
async fn chat(world: &World) -> (TcpStream, TcpStream) {
    let (id, who) = (world.conversation_id(), passport("alice"));
    let mut alice = connect(world).await;
    let cookie = world.doorman.cookie(&who, CookieRole::Caller, id);
    alice.write_all(format!("USR 1 {who} {cookie}\r\n").as_bytes()).await.unwrap();
    hears(&mut alice, "USR 1 OK alice@example.com Alice\r\n").await;
    let mut bob = connect(world).await;
    bob.write_all(world.answer("bob", id).trim_end().as_bytes()).await.unwrap();
    bob.write_all(b"\r\n").await.unwrap();
    hears(&mut bob, "IRO 1 1 1 alice@example.com Alice\r\nANS 1 OK\r\n").await;
    hears(&mut alice, "JOI bob@example.com Bob\r\n").await;
    (alice, bob)
}

fn msg(trid: u32, ack: &str, body: &str) -> (String, String) {
    let payload = payload(TEXT, body);
    let len = payload.len();
    (format!("MSG {trid} {ack} {len}\r\n{payload}"), format!("MSG alice@example.com Alice {len}\r\n{payload}"))
}

#[tokio::test]
async fn a_command_in_many_segments_and_many_in_one() {
    let world = World::new();
    let (mut alice, mut bob) = chat(&world).await;
    let (command, relayed) = msg(2, "A", "split at every byte");
    for byte in command.as_bytes() {
        alice.write_all(std::slice::from_ref(byte)).await.unwrap();
        tokio::task::yield_now().await;
    }
    hears(&mut bob, &relayed).await;
    hears(&mut alice, "ACK 2\r\n").await;
    let burst: Vec<_> = (3..53).map(|trid| msg(trid, "N", &format!("number {trid}"))).collect();
    let commands: String = burst.iter().map(|(command, _)| command.as_str()).collect();
    alice.write_all(commands.as_bytes()).await.unwrap();
    for (_, relayed) in &burst {
        hears(&mut bob, relayed).await;
    }
    alice.write_all(b"OUT\n").await.unwrap();
    hears(&mut bob, "BYE alice@example.com\r\n").await;
    is_closed(&mut alice).await;
    drop(alice);
    drop(bob);
    world.store.was_asked(|asked| *asked == Asked::Remove(passport("bob"))).await;
}

#[tokio::test]
async fn binary_and_the_longest_payload_pass_unchanged() {
    let world = World::new();
    let (mut alice, mut bob) = chat(&world).await;
    for len in [1, 511, 512, 513, 1664] {
        let payload: Vec<u8> = (0..len).map(|at| (at % 256) as u8).collect();
        alice.write_all(format!("MSG 2 D {len}\r\n").as_bytes()).await.unwrap();
        alice.write_all(&payload).await.unwrap();
        hears(&mut bob, &format!("MSG alice@example.com Alice {len}\r\n")).await;
        let mut got = vec![0; len];
        timeout(SOON, bob.read_exact(&mut got)).await.unwrap().unwrap();
        assert_eq!(got, payload);
        hears(&mut alice, "ACK 2\r\n").await;
    }
    alice.write_all(b"MSG 3 D 1665\r\n").await.unwrap();
    hears(&mut bob, "BYE alice@example.com\r\n").await;
    is_closed(&mut alice).await;
}

/// A client that reads nothing, and is then killed: its kernel has confirmed what it never read.
#[tokio::test]
async fn a_frozen_client_that_is_killed_gets_it_later() {
    let world = World::new();
    let (mut alice, bob) = chat(&world).await;
    for trid in 2..12 {
        let (command, _) = msg(trid, "A", "do you hear me?");
        alice.write_all(command.as_bytes()).await.unwrap();
        hears(&mut alice, &format!("ACK {trid}\r\n")).await;
    }
    let last = world.written().last().unwrap().message.id;
    let confirmed = Asked::Cursor(passport("bob"), Some(last));
    timeout(SOON, world.store.was_asked(|asked| *asked == confirmed)).await.unwrap();
    // Closing with unread input resets the connection, as killing the process does.
    drop(bob);
    hears(&mut alice, "BYE bob@example.com\r\n").await;
    let closed = Asked::Close(passport("bob"), None);
    timeout(SOON, world.store.was_asked(|asked| *asked == closed)).await.unwrap();
    timeout(SOON, world.peers.has_told(&passport("bob"))).await.unwrap();
}

/// What is too fast for its listener waits in the sender's own socket, and arrives whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_waits_in_its_own_socket() {
    const SAID: u32 = 3000;
    let world = World::new();
    let (mut alice, mut bob) = chat(&world).await;
    let body = |trid: u32| format!("{trid:01500}");
    let heard: String = (0..SAID).map(|trid| msg(trid, "A", &body(trid)).1).collect();
    let (mut from_server, mut to_server) = alice.split();
    let speaking = async {
        for trid in 0..SAID {
            // Behind what bob has not read: it would not be taken at once.
            to_server.write_all(msg(trid, "D", &body(trid)).0.as_bytes()).await.unwrap();
        }
        to_server.shutdown().await.unwrap();
    };
    let listening = async {
        let mut left = heard.as_bytes();
        let mut part = vec![0; 64 * 1024];
        while !left.is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
            let count = timeout(SOON, bob.read(&mut part)).await.unwrap().unwrap();
            assert!(count > 0, "closed with {} bytes to come", left.len());
            assert!(left.starts_with(&part[..count]) || left.len() < count, "other bytes");
            left = &left[count.min(left.len())..];
        }
    };
    let acknowledged = async {
        let mut text = String::new();
        timeout(Duration::from_secs(60), from_server.read_to_string(&mut text)).await.unwrap().unwrap();
        text
    };
    let ((), (), acknowledged) = tokio::join!(speaking, listening, acknowledged);
    let naks = acknowledged.lines().filter(|line| line.starts_with("NAK")).count();
    assert_eq!(naks, 0);
}

/// The client is killed while its messages wait for the other one to read.
#[tokio::test]
async fn a_sender_that_waits_is_missed_when_it_is_gone() {
    let world = World::new();
    let (mut alice, mut bob) = chat(&world).await;
    let burst: String = (0..3000).map(|trid| msg(trid, "U", &"x".repeat(1500)).0).collect();
    // Everything is full: bob's kernel, bob's queue, and alice's own way there.
    assert!(timeout(Duration::from_secs(1), alice.write_all(burst.as_bytes())).await.is_err());
    let begun = std::time::Instant::now();
    alice.set_zero_linger().unwrap();
    drop(alice);
    timeout(SOON, async {
        while world.board.metrics.participants.get() > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("still there");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    let mut rest = Vec::new();
    while !rest.ends_with(b"BYE alice@example.com\r\n") {
        assert!(timeout(SOON, bob.read_buf(&mut rest)).await.unwrap().unwrap() > 0);
    }
}

/// A client that closes its side may still read; one that then goes away altogether must not keep its task busy.
#[tokio::test]
async fn a_half_closed_client_is_served_to_the_end() {
    let world = World::new();
    let (mut alice, mut bob) = chat(&world).await;
    let (command, relayed) = msg(2, "A", "last words");
    alice.write_all(command.as_bytes()).await.unwrap();
    hears(&mut alice, "ACK 2\r\n").await;
    bob.shutdown().await.unwrap();
    hears(&mut alice, "BYE bob@example.com\r\n").await;
    hears(&mut bob, &relayed).await;
    is_closed(&mut bob).await;
    timeout(SOON, world.store.was_asked(|asked| *asked == Asked::Remove(passport("bob")))).await.unwrap();
}

#[tokio::test]
async fn a_refusal_is_read_although_more_was_sent() {
    let world = World::new();
    let mut client = connect(&world).await;
    client.write_all(b"USR 1 alice@example.com forged\r\nCAL 2 bob@example.com\r\n").await.unwrap();
    client.write_all(&[b'x'; 3000]).await.unwrap();
    hears(&mut client, "911 1\r\n").await;
    is_closed(&mut client).await;
}

/// Many conversations at once on several threads: no message, acknowledgement or wake-up is lost, and each history
/// has the order in which it was said.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_talk_at_once() {
    const SAID: u32 = 200;
    let world = Arc::new(World::new());
    let chats: Vec<_> = (0..8)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                let (mut alice, mut bob) = chat(&world).await;
                let heard: String = (0..SAID).map(|trid| msg(trid, "A", &format!("number {trid}")).1).collect();
                let hearing = tokio::spawn(async move {
                    hears(&mut bob, &heard).await;
                    bob
                });
                let (mut from_server, mut to_server) = alice.split();
                let speaking = async {
                    for trid in 0..SAID {
                        let (command, _) = msg(trid, "A", &format!("number {trid}"));
                        to_server.write_all(command.as_bytes()).await.unwrap();
                    }
                };
                let acknowledged = async {
                    let mut left = SAID as usize * "ACK \r\n".len() + (0..SAID).map(digits).sum::<usize>();
                    let mut text = Vec::new();
                    while left > 0 {
                        let count = timeout(SOON, from_server.read_buf(&mut text)).await.unwrap().unwrap();
                        left -= count;
                    }
                    String::from_utf8(text).unwrap()
                };
                let ((), acknowledged) = tokio::join!(speaking, acknowledged);
                let mut trids: Vec<u32> =
                    acknowledged.lines().map(|line| line.strip_prefix("ACK ").unwrap().parse().unwrap()).collect();
                trids.sort_unstable();
                assert_eq!(trids, (0..SAID).collect::<Vec<_>>());
                drop(hearing.await.unwrap());
            })
        })
        .collect();
    for chat in chats {
        chat.await.unwrap();
    }
    let mut written = world.written();
    assert_eq!(written.len(), 8 * SAID as usize);
    written.sort_by_key(|write| (write.message.conversation, write.message.id));
    for (index, write) in written.iter().enumerate() {
        let body = format!("number {}", index % SAID as usize);
        assert!(write.message.payload.ends_with(body.as_bytes()), "{body}");
    }
}

fn digits(number: u32) -> usize {
    number.to_string().len()
}
