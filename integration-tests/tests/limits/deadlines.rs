//! What does not happen in time: signing in, authenticating, using a cookie.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::accounts::PASSWORD;
use integration_tests::client::{Client, open_chat};
use tokio::time::{Instant, sleep};

use crate::{closes, one_of_each, people, play, soon};

/// Beyond a deadline, a busy machine may need so long to close.
const LATE: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_dawdles_is_closed() -> Result<()> {
    let plan = one_of_each(&[
        "notification.identify_secs=1",
        "notification.sign_in_secs=2",
        "switchboard.authenticate_secs=1",
    ]);
    play(plan, async |world| {
        let notification = world.process("notification-1")?.address("clients")?;
        let switchboard = world.process("switchboard-1")?.address("clients")?;
        tokio::try_join!(
            closed_after(1, notification, ""),
            closed_after(1, notification, "VER 1 MSNP7 CVR0\r\nINF 2\r\nPNG\r\n"),
            closed_after(1, notification, "VER 1 MSNP7 CVR0\r\nINF 2\r\nUSR 3 MD5 I alice@exam"),
            closed_after(2, notification, "VER 1 MSNP7 CVR0\r\nINF 2\r\nUSR 3 MD5 I alice@example.com\r\n"),
            closed_after(2, notification, "VER 1 MSNP8 CVR0\r\nUSR 2 TWN I alice@example.com\r\nPNG\r\n"),
            closed_after(1, switchboard, ""),
            closed_after(1, switchboard, "USR 1 alice@example.com cook"),
        )?;
        // The deadlines are for those who come, not for those who are there.
        let [alice, bob] = people(world, ["alice", "bob"], &[(0, 1), (1, 0)]).await?;
        let mut at_alice = Client::sign_in(notification, &alice, PASSWORD).await?;
        let mut at_bob = Client::sign_in(notification, &bob, PASSWORD).await?;
        let (mut calling, mut called) = open_chat((&mut at_alice, &alice), (&mut at_bob, &bob)).await?;
        sleep(Duration::from_millis(2500)).await;
        at_alice.raw(b"PNG\r\n").await?;
        soon(at_alice.expect("QNG")).await?;
        let trid = calling.message("A", &integration_tests::client::text("still here")).await?;
        soon(called.expect("MSG")).await?;
        ensure!(soon(calling.expect("ACK")).await?.token(1) == trid.to_string());
        Ok(())
    })
    .await
}

/// Connects, says this and no more, and is closed without a word about it so many seconds after the connection.
async fn closed_after(secs: u64, addr: SocketAddr, said: &str) -> Result<()> {
    let due = Duration::from_secs(secs);
    let connected = Instant::now();
    let mut client = Client::connect(addr).await?;
    client.raw(said.as_bytes()).await?;
    let heard = closes(&mut client).await.with_context(|| format!("after {said:?}"))?;
    let took = connected.elapsed();
    ensure!(took + Duration::from_millis(20) >= due, "closed after {took:?}, too early, having said {said:?}");
    ensure!(took < due + LATE, "closed after {took:?} only, having said {said:?}");
    let answers = said.lines().filter(|line| !line.is_empty()).count()
        - usize::from(!said.ends_with("\r\n") && !said.is_empty());
    ensure!(heard.len() == answers, "to {said:?} came {heard:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_that_has_expired_opens_nothing() -> Result<()> {
    let plan = one_of_each(&["notification.cookie_secs=2", "switchboard.cookie_secs=2"]);
    // They expire with the last second that they are good for.
    let expiry = Duration::from_millis(3500);
    play(plan, async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[(0, 1), (1, 0)]).await?;
        let notification = world.process("notification-1")?.address("clients")?;
        let mut at_alice = Client::sign_in(notification, &alice, PASSWORD).await?;
        let mut at_bob = Client::sign_in(notification, &bob, PASSWORD).await?;

        // The caller's: an old one, and a fresh one in the same deployment.
        let old = at_alice.request("XFR", "SB").await?;
        sleep(expiry).await;
        let switchboard: SocketAddr = old.token(3).parse()?;
        let mut late = Client::connect(switchboard).await?;
        late.send("USR", &format!("{alice} {}", old.token(5))).await?;
        ensure!(closes(&mut late).await? == ["911 1"]);
        let fresh = at_alice.request("XFR", "SB").await?;
        let mut calling = Client::connect(switchboard).await?;
        let opened = calling.request("USR", &format!("{alice} {}", fresh.token(5))).await?;
        ensure!(opened.token(2) == "OK", "{:?}", opened.tokens);

        // The callee's, likewise; the conversation is there all the time.
        for is_late in [true, false] {
            let ringing = calling.request("CAL", &bob).await?;
            ensure!(ringing.token(2) == "RINGING", "{:?}", ringing.tokens);
            let rng = soon(at_bob.expect("RNG")).await?;
            if is_late {
                sleep(expiry).await;
            }
            let mut called = Client::connect(rng.token(2).parse()?).await?;
            called.send("ANS", &format!("{bob} {} {}", rng.token(4), rng.token(1))).await?;
            if is_late {
                ensure!(closes(&mut called).await? == ["911 1"]);
            } else {
                soon(called.expect("ANS")).await?;
                ensure!(soon(calling.receive()).await?.verb() == "JOI", "nobody saw the late one come or go");
            }
        }
        Ok(())
    })
    .await
}
