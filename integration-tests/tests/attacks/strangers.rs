//! Strangers who say nothing, or never the whole of it, take all places of a peer port, of an admin port or of the clients' ports, and
//! come back whenever they are thrown out.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::accounts::{PASSWORD, people};
use integration_tests::client::{self, Client};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::stage::play;

/// As many from each of as many addresses.
const EACH: usize = 2;
/// As many at the ports of clients: together more than the files that the process may open.
const EACH_AS_CLIENTS: usize = 8;
const OPEN_FILES: u64 = 160;
/// Fewer than a server needs with all the strangers that it lets in.
const FEW_FILES: u64 = 80;
const ADDRESSES: std::ops::Range<u8> = 10..60;
/// Until all have come.
const ARRIVAL: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_strangers_close_no_port() -> Result<()> {
    play(&[], async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[(0, 1), (1, 0)]).await?;
        let mut strangers = JoinSet::new();
        for process in world.processes() {
            crowd(&mut strangers, process.address("peer")?, EACH, "");
            crowd(&mut strangers, process.address("admin")?, EACH, "");
            crowd(
                &mut strangers,
                process.address("admin")?,
                EACH,
                "POST /orders HTTP/1.1\r\nContent-Length: 9\r\n\r\n12345678",
            );
        }
        sleep(ARRIVAL).await;
        let mut answered = 0;
        for process in world.processes() {
            for _ in 0..10 {
                let answer = timeout(PATIENCE, process.get("/readyz")).await;
                answered += usize::from(matches!(answer, Ok(Ok((200, _)))));
            }
        }
        println!("{answered} of 30 questions at admin ports were answered");
        ensure!(answered == 30, "only {answered} of 30 questions at admin ports were answered");
        // A node that comes back needs new links to all the others.
        world.kill("switchboard-1").await?;
        world.restart("switchboard-1").await?;
        world.ready().await.context("the switchboard finds no way in")?;
        let addr = world.process("notification-1")?.address("clients")?;
        let mut at_alice = Client::sign_in(addr, &alice, PASSWORD).await?;
        let mut at_bob = Client::sign_in(addr, &bob, PASSWORD).await?;
        client::open_chat((&mut at_alice, &alice), (&mut at_bob, &bob)).await.context("no chat opens")?;
        println!("a switchboard that came back found its way in, and a chat was opened");
        Ok(())
    })
    .await
}

/// Dispatch has places for fewer than come, and the others may open fewer files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_strangers_keep_no_client_out() -> Result<()> {
    play(&["dispatch.connections=64"], async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[(0, 1), (1, 0)]).await?;
        for name in ["notification-1", "switchboard-1"] {
            world.kill(name).await?;
            world.bound_open_files(name, OPEN_FILES)?;
            world.restart(name).await?;
        }
        world.ready().await?;
        let address = |name: &str| world.process(name)?.address("clients");
        let (door, addr) = (address("dispatch-1")?, address("notification-1")?);
        let mut at_alice = Client::sign_in(addr, &alice, PASSWORD).await?;
        let mut strangers = JoinSet::new();
        crowd(&mut strangers, door, EACH, "");
        crowd(&mut strangers, door, EACH, "VER 1 MSNP7\r\n");
        for tier in ["notification-1", "switchboard-1"] {
            crowd(&mut strangers, address(tier)?, EACH_AS_CLIENTS, "");
        }
        sleep(ARRIVAL).await;
        for number in 0..10 {
            let answer = timeout(PATIENCE, is_sent_on(door, &bob)).await.context("dispatch is silent").flatten();
            answer.with_context(|| format!("dispatch, client {number}"))?;
        }
        let coming = timeout(PATIENCE, Client::sign_in(addr, &bob, PASSWORD)).await;
        let mut at_bob = coming.context("notification is silent").flatten().context("bob is not let in")?;
        let chat = client::open_chat((&mut at_alice, &alice), (&mut at_bob, &bob));
        timeout(PATIENCE, chat).await.context("the switchboard is silent").flatten().context("no chat opens")?;
        println!("dispatch sent ten on, one more signed in, and a chat was opened");
        // Strangers have given way, and the log says so. Nobody was kept waiting for a file.
        for process in world.processes() {
            let (_, metrics) = process.get("/metrics").await?;
            let turned_away = format!("{}_connections_turned_away_total ", process.tier());
            let count = metrics.lines().find_map(|line| line.split_once(&turned_away)).map(|(_, count)| count);
            println!("{}: {} were turned away", process.name(), count.unwrap_or("none"));
            let count = count.and_then(|count| count.parse::<u64>().ok()).unwrap_or_default();
            ensure!(count > 0, "{}: no stranger gave way", process.name());
            let log = process.log();
            ensure!(log.contains("connection turned away"), "{}: its log says nothing", process.name());
            ensure!(!log.contains("can't accept a connection"), "{} ran out of files", process.name());
        }
        Ok(())
    })
    .await
}

/// Strangers have fewer places than there are files, but others have most of those.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_give_way_where_files_run_out() -> Result<()> {
    play(&["notification.identify_secs=60"], async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[(0, 1), (1, 0)]).await?;
        let name = "notification-1";
        world.kill(name).await?;
        world.bound_open_files(name, FEW_FILES)?;
        world.restart(name).await?;
        world.ready().await?;
        let addr = world.process(name)?.address("clients")?;
        let mut at_alice = Client::sign_in(addr, &alice, PASSWORD).await?;
        let mut strangers = JoinSet::new();
        crowd(&mut strangers, addr, EACH, "");
        sleep(ARRIVAL).await;
        // Those who came before are let in first.
        let coming = timeout(3 * PATIENCE, Client::sign_in(addr, &bob, PASSWORD)).await;
        let mut at_bob = coming.context("notification is silent").flatten().context("bob is not let in")?;
        client::open_chat((&mut at_alice, &alice), (&mut at_bob, &bob)).await.context("no chat opens")?;
        let ran_out = world.process(name)?.log().contains("can't accept a connection");
        ensure!(ran_out, "there were files enough: this shows nothing");
        println!("files ran out, one more signed in, and a chat was opened");
        Ok(())
    })
    .await
}

/// Whether a client gets the address of its notification server.
async fn is_sent_on(door: SocketAddr, who: &str) -> Result<()> {
    let mut client = Client::connect(door).await?;
    client.request("VER", "MSNP7 CVR0").await?;
    client.request("INF", "").await?;
    let answer = client.request("USR", &format!("MD5 I {who}")).await?;
    ensure!(answer.verb() == "XFR", "{answer:?}");
    Ok(())
}

/// Connections that say no more than that, and are there again a moment after they were closed.
fn crowd(strangers: &mut JoinSet<()>, to: SocketAddr, each: usize, beginning: &'static str) {
    for last in ADDRESSES {
        for _ in 0..each {
            strangers.spawn(async move {
                loop {
                    let _ = wait(IpAddr::from([127, 0, 1, last]), to, beginning).await;
                    sleep(Duration::from_millis(200)).await;
                }
            });
        }
    }
}

async fn wait(from: IpAddr, to: SocketAddr, beginning: &str) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let mut stream = socket.connect(to).await?;
    stream.write_all(beginning.as_bytes()).await?;
    let mut bytes = [0; 64];
    while stream.read(&mut bytes).await? > 0 {}
    Ok(())
}
