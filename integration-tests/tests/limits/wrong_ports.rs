//! Who knocks at a text port with another protocol: all three tiers close at once, and say what it was.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::client::Client;
use tokio::time::timeout;

use super::{one_of_each, play};

/// Far less than any of the tiers waits for a first command.
const AT_ONCE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_and_http_on_a_text_port_end_at_once() -> Result<()> {
    const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    play(one_of_each(&[]), async |world| {
        for name in ["dispatch-1", "notification-1", "switchboard-1"] {
            for bytes in [HELLO, b"GET / HTTP/1.1"] {
                let mut stranger = Client::connect(world.process(name)?.address("clients")?).await?;
                stranger.raw(bytes).await?;
                // By a reset where more was sent than was read.
                let rest = timeout(AT_ONCE, stranger.rest()).await.with_context(|| format!("{name} waits"))?;
                ensure!(rest.as_ref().map_or(true, Vec::is_empty), "{name}: {rest:?}");
            }
        }
        let log = world.logs();
        for what in ["what=a TLS hello", "what=an HTTP request"] {
            let lines = log.matches(what).count();
            ensure!(lines == 3, "{lines} times {what}, once for each tier\n{log}");
        }
        Ok(())
    })
    .await
}
