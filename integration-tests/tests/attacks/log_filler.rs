//! Strangers who do again and again what is worth a line in the log: the disk is not theirs to fill.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use integration_tests::World;
use integration_tests::accounts::people;
use integration_tests::client::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UdpSocket};
use tokio::time::timeout;

use crate::stage::play;
use crate::web;

/// So often each of it is done.
const TIMES: usize = 250;
/// One process may write so many lines about all of it. Before, each refused sign-in alone had one, besides the bounded ones.
const MOST: usize = 200;
const PATIENCE: Duration = Duration::from_secs(20);
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What is said to a port of a process, once for each connection.
const NONSENSE: &[(&str, &str, &[u8])] = &[
    ("notification-1", "clients", b"VER 1 MSNP7 CVR0\r\nSYN 2 0\r\n"),
    ("notification-1", "clients", b"VER 1 MSNP8 CVR0\r\nUSR 2 TWN S t=AAAA&p=AAAA\r\n"),
    ("notification-1", "clients", b"GET / HTTP/1.1\r\n\r\n"),
    ("notification-1", "peer", b"nonsense, and much more of it than a greeting may be\r\n\r\n"),
    (
        "notification-1",
        "admin",
        b"POST /orders HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 4\r\n\r\njunk",
    ),
    ("switchboard-1", "clients", b"USR 1 alice@example.com nonsense\r\n"),
    ("switchboard-1", "clients", b"CAL 1 alice@example.com\r\n"),
    ("dispatch-1", "clients", b"SYN 1 0\r\n"),
    ("dispatch-1", "http", b"nonsense\r\n\r\n"),
    ("dispatch-1", "https", b"GET / HTTP/1.0\r\n\r\n"),
    // A warning of TLS: no renegotiation.
    ("dispatch-1", "https", &[21, 3, 1, 0, 2, 1, 100]),
    ("dispatch-1", "dns", b"\x00\x05\x00\x01\x00"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_do_not_fill_the_log() -> Result<()> {
    play(&["dispatch.http.connections_per_address=100000"], async |world| {
        let [alice] = people(world, ["alice"], &[]).await?;
        let names = ["dispatch-1", "notification-1", "switchboard-1"];
        let lines = |world: &World| names.map(|name| world.process(name).map_or(0, |it| it.log().lines().count()));
        let (before, began) = (lines(world), Instant::now());
        for (process, port, bytes) in NONSENSE {
            let to = world.process(process)?.address(port)?;
            for _ in 0..TIMES {
                say(to, bytes).await?;
            }
        }
        let clients = world.process("notification-1")?.address("clients")?;
        let (http, dns) =
            (world.process("dispatch-1")?.address("http")?, world.process("dispatch-1")?.address("dns")?);
        let socket = UdpSocket::bind((HERE, 0)).await?;
        for number in 0..TIMES {
            let guess = format!("guess{number}");
            ensure!(web::log_in(HERE, http, &alice, &guess).await? == 401);
            ensure!(Client::connect(clients).await?.authenticate(&alice, &guess).await?.verb() == "911");
            // A query with an option that is cut off, and one that asks for an update.
            socket
                .send_to(b"\x12\x34\x01\0\0\0\0\0\0\0\0\x01\0\0\x29\x10\0\0\0\0\0\0\x04\0\x08\0\x09", dns)
                .await?;
            socket.send_to(b"\x12\x34\x28\0\0\0\0\0\0\0\0\0", dns).await?;
        }
        for name in names {
            // Behind its end nothing is written any more.
            world.stop(name).await?;
        }
        for ((name, before), after) in names.iter().zip(before).zip(lines(world)) {
            let (written, log) = (after - before, world.process(name)?.log());
            println!("{name} has written {written} lines");
            let last: Vec<_> = log.lines().rev().take(MOST).step_by(10).collect();
            ensure!(written <= MOST, "{name} has written {written} lines, among them\n{}", last.join("\n"));
            let of_her = log.lines().filter(|line| line.contains(&alice)).count();
            let allowed = 21 + usize::try_from(began.elapsed().as_secs() / 2)?;
            ensure!(of_her <= allowed, "{name} has written {of_her} lines about alice");
        }
        Ok(())
    })
    .await
}

/// Says something, and reads whatever comes until the end.
async fn say(to: SocketAddr, bytes: &[u8]) -> Result<()> {
    let mut stream = TcpSocket::new_v4()?.connect(to).await?;
    // It may be closed already: a stranger does not mind.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let _ = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await?;
    Ok(())
}
