//! When a client was last heard, and what it had read by then.

use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::accounts::PASSWORD;
use integration_tests::client::{self, Client};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{one_of_each, people, play, soon};

/// A client says something to its notification server, which is stopped, and hangs. Its kernel confirms what it is told in a
/// conversation. When the server goes on and handles that word, it is still as old as it is: nothing of the conversation is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_that_waited_at_a_stopped_server_vouches_for_nothing_later() -> Result<()> {
    play(one_of_each(&[]), async |world| {
        let [alice, bob] = people(world, ["alice", "bob"], &[]).await?;
        let notification = world.process("notification-1")?;
        let addr = notification.address("clients")?;
        let mut at_alice = soon(Client::sign_in(addr, &alice, PASSWORD)).await?;
        let mut at_bob = soon(Client::sign_in(addr, &bob, PASSWORD)).await?;
        let (mut chat, unread) = soon(client::open_chat((&mut at_alice, &alice), (&mut at_bob, &bob))).await?;
        notification.pause()?;
        let paused = Instant::now();
        at_bob.raw(b"PNG\r\n").await?;
        let texts = ["one", "two", "three", "four", "five"];
        for (text, second) in texts.iter().zip(1..) {
            sleep_until(paused + Duration::from_secs(second)).await;
            chat.message("A", &client::text(text)).await?;
            soon(chat.expect("ACK")).await?;
        }
        sleep_until(paused + Duration::from_secs(12)).await;
        notification.resume()?;
        soon(at_bob.expect("QNG")).await?;
        // Until then the switchboard has found it again, and can ask.
        sleep(Duration::from_secs(4)).await;
        unread.reset()?;
        let ring = soon(at_bob.expect("RNG")).await?;
        let mut brought = soon(client::answer(&ring, &bob)).await?;
        let time = soon(brought.expect("MSG")).await?;
        ensure!(String::from_utf8_lossy(&time.payload).contains("Sent 20"), "{time:?}");
        for text in texts {
            let message = soon(brought.expect("MSG")).await?;
            ensure!(message.payload == client::text(text), "{text}: {message:?}");
        }
        Ok(())
    })
    .await
}
