//! One participant of a room says more at once than queues hold: the others must not be thrown out for it.

use anyhow::{Context, Result, ensure};
use integration_tests::World;
use integration_tests::accounts::{PASSWORD, people};
use integration_tests::client::{self, Client};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep, timeout};

use crate::stage::play;

const VICTIMS: [&str; 4] = ["bob", "carol", "dave", "erin"];
const BURST: usize = 300;
/// How long a whole room may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The attacker's side of a room, and those of its victims.
async fn gather(world: &World, everybody: &[String; 5]) -> Result<(Vec<Client>, Client, Vec<Client>)> {
    let addr = world.process("notification-1")?.address("clients")?;
    let mut signed_in = Vec::new();
    for passport in everybody {
        signed_in.push(Client::sign_in(addr, passport, PASSWORD).await?);
    }
    let (mallory, others) = signed_in.split_first_mut().context("somebody")?;
    let (mut attacker, first) =
        client::open_chat((mallory, &everybody[0]), (&mut others[0], &everybody[1])).await?;
    let mut victims = vec![first];
    for (other, passport) in others.iter_mut().zip(&everybody[1..]).skip(1) {
        victims.push(client::invite(&mut attacker, (other, passport)).await?);
    }
    Ok((signed_in, attacker, victims))
}

/// What one victim hears of the burst before its connection ends. What was kept of an earlier one does not count.
/// `each`: what its line takes for a message.
async fn hears(mut victim: Client, burst: Vec<u8>, each: Duration) -> usize {
    let mut heard = 0;
    while heard < BURST
        && let Ok(received) = victim.receive().await
    {
        heard += usize::from(received.payload == burst);
        if !each.is_zero() {
            sleep(each).await;
        }
    }
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_throws_nobody_out_of_a_room() -> Result<()> {
    play(&[], async |world| {
        let names = ["mallory", VICTIMS[0], VICTIMS[1], VICTIMS[2], VICTIMS[3]];
        let everybody = people(world, names, &[]).await?;
        for room in 1..=5 {
            let (_signed_in, mut attacker, victims) = gather(world, &everybody).await?;
            let payload = client::text(&format!("{room}{}", "x".repeat(1550)));
            let begun = Instant::now();
            let mut hearing = JoinSet::new();
            for victim in victims {
                hearing.spawn(hears(victim, payload.clone(), Duration::ZERO));
            }
            let mut burst = Vec::new();
            for trid in 0..BURST {
                burst.extend_from_slice(format!("MSG {trid} U {}\r\n", payload.len()).as_bytes());
                burst.extend_from_slice(&payload);
            }
            attacker.raw(&burst).await?;
            let heard = timeout(PATIENCE, hearing.join_all()).await.context("the room stands")?;
            eprintln!("room {room}: of {BURST} messages the victims heard {heard:?} in {:?}", begun.elapsed());
            ensure!(heard.iter().all(|heard| *heard == BURST), "room {room}: thrown out after {heard:?}");
        }
        Ok(())
    })
    .await
}

/// The attacker does not read: by more unread answers to what she says than make others wait, she once was excused from waiting for
/// anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_throws_nobody_out_either() -> Result<()> {
    const UNREAD: usize = 5000;
    // Half a megabyte a second.
    const LINE: Duration = Duration::from_millis(2);
    play(&[], async |world| {
        let names = ["mallory", VICTIMS[0], VICTIMS[1], VICTIMS[2], VICTIMS[3]];
        let everybody = people(world, names, &[]).await?;
        let addr = world.process("notification-1")?.address("clients")?;
        let mut signed_in = Vec::new();
        for passport in &everybody {
            signed_in.push(Client::sign_in(addr, passport, PASSWORD).await?);
        }
        let (mallory, others) = signed_in.split_first_mut().context("somebody")?;
        let xfr = mallory.request("XFR", "SB").await?;
        let mut attacker = Client::connect_narrow(xfr.token(3).parse()?).await?;
        attacker.request("USR", &format!("{} {}", everybody[0], xfr.token(5))).await?;
        attacker.raw(b"MSG 4294967295 D 1\r\nx".repeat(UNREAD).as_slice()).await?;
        let mut victims = Vec::new();
        for (other, passport) in others.iter_mut().zip(&everybody[1..]) {
            attacker.send("CAL", passport).await?;
            let ring = timeout(PATIENCE, other.expect("RNG")).await.context("no ring")??;
            victims.push(client::answer(&ring, passport).await?);
        }
        let payload = client::text(&"x".repeat(1550));
        let mut hearing = JoinSet::new();
        for victim in victims {
            hearing.spawn(hears(victim, payload.clone(), LINE));
        }
        let mut burst = Vec::new();
        for trid in 0..BURST {
            burst.extend_from_slice(format!("MSG {trid} U {}\r\n", payload.len()).as_bytes());
            burst.extend_from_slice(&payload);
        }
        attacker.raw(&burst).await?;
        let heard = timeout(PATIENCE, hearing.join_all()).await.context("the room stands")?;
        eprintln!("of {BURST} messages of one who does not read the victims heard {heard:?}");
        ensure!(heard.iter().all(|heard| *heard == BURST), "thrown out after {heard:?}");
        Ok(())
    })
    .await
}
