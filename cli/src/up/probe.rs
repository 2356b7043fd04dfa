//! Asking a process whether it is ready.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use common::telemetry::parse_waiting;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const TIMEOUT: Duration = Duration::from_secs(2);
const MAX_ANSWER: u64 = 16 * 1024;

/// What `/readyz` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Readiness {
    /// All of it works.
    Ready,
    /// It waits for this.
    Waiting(String),
}

/// Asks `/readyz` of an admin address. No answer is one more thing to wait for.
pub(super) async fn readiness(admin: SocketAddr) -> Readiness {
    match timeout(TIMEOUT, ask(admin)).await {
        Ok(Ok(answer)) => understand(&answer),
        Ok(Err(error)) => Readiness::Waiting(format!("its admin address {admin}: {error}")),
        Err(_) => Readiness::Waiting(format!("its admin address {admin}: no answer")),
    }
}

async fn ask(admin: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(admin).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn understand(answer: &str) -> Readiness {
    let waiting = answer.split_once("\r\n\r\n").map_or_else(Vec::new, |(_, body)| parse_waiting(body));
    // What is only wanted is a line under 200: `monarch up` waits for it, so that the first client misses nothing.
    if answer.starts_with("HTTP/1.1 200 ") && waiting.is_empty() {
        return Readiness::Ready;
    }
    Readiness::Waiting(if waiting.is_empty() { "an answer on /readyz".into() } else { waiting.join("; ") })
}

#[cfg(test)]
mod tests {
    use common::net::Shutdown;
    use common::telemetry::Admin;

    use super::*;

    #[tokio::test]
    async fn an_admin_address_is_understood() {
        let (conditions, shutdown) = (common::telemetry::Readiness::default(), Shutdown::default());
        let store = conditions.require("store", "opening it");
        let gossip = conditions.want("gossip", "no neighbour");
        let loopback = ([127, 0, 0, 1], 0).into();
        let admin = Admin::serve(loopback, &[], conditions, &shutdown).await.unwrap();
        let waiting = Readiness::Waiting("gossip: no neighbour; store: opening it".into());
        assert_eq!(readiness(admin.addr()).await, waiting);
        store.met();
        assert_eq!(readiness(admin.addr()).await, Readiness::Waiting("gossip: no neighbour".into()));
        gossip.met();
        assert_eq!(readiness(admin.addr()).await, Readiness::Ready);
        shutdown.begin();
        shutdown.finish(Duration::from_secs(5)).await;
        assert!(matches!(readiness(admin.addr()).await, Readiness::Waiting(_)));
    }
}
