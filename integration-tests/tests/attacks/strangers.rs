//! Strangers who say nothing, or never the whole of it, take all places of a peer port and of an admin port, and come back whenever
//! they are thrown out.

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
            crowd(&mut strangers, process.address("peer")?, "");
            crowd(&mut strangers, process.address("admin")?, "");
            crowd(
                &mut strangers,
                process.address("admin")?,
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

/// Connections that say no more than that, and are there again a moment after they were closed.
fn crowd(strangers: &mut JoinSet<()>, to: SocketAddr, beginning: &'static str) {
    for last in ADDRESSES {
        for _ in 0..EACH {
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
