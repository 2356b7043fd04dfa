//! Giving orders to a running deployment, at the admin address of one of its nodes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use common::clock;
use common::cluster::{Keyring, ORDERS, Order};
use common::config::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Failure;

/// A node answers within 10 s.
const PATIENCE: Duration = Duration::from_secs(15);
const MAX_ANSWER: u64 = 256 * 1024;

/// Where orders are taken, and what they are sealed with.
#[derive(Debug, Clone)]
pub struct OrderDesk {
    /// The admin address of a node, of whichever tier.
    pub admin: SocketAddr,
    /// The file of cluster secrets.
    pub secrets: PathBuf,
}

impl OrderDesk {
    /// That of the configured notification node.
    #[must_use]
    pub fn configured(config: &Config) -> Self {
        Self { admin: config.notification.node.admin, secrets: config.cluster.secrets.clone() }
    }

    /// Gives an order, and returns what the node says.
    ///
    /// # Errors
    /// [`Failure::Usage`] without a cluster secret, [`Failure::Unreachable`] if nobody answers, and [`Failure::Failed`] with
    /// what the node says if it does not carry the order out.
    pub async fn give(&self, order: &Order) -> Result<String, Failure> {
        let keys = Keyring::load(&self.secrets).map_err(|error| Failure::Usage(error.to_string()))?;
        let sealed = keys.seal_order(order, clock::wall_ms());
        let admin = self.admin;
        let unreachable = |why: String| {
            Failure::Unreachable(format!("the admin address {admin} of a node: {why}; --node names another"))
        };
        let answer = match timeout(PATIENCE, post(admin, &sealed)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(unreachable(error.to_string())),
            Err(_) => return Err(unreachable("no answer in time".into())),
        };
        let parts = answer.split_once("\r\n\r\n").and_then(|(head, body)| Some((head.split(' ').nth(1)?, body)));
        match parts {
            Some(("200", body)) => Ok(body.to_owned()),
            Some(("403" | "409", body)) => Err(Failure::failed(body.trim_end())),
            // A node that has no desk yet: it waits for its store.
            Some(("404" | "405", _)) => Err(unreachable("it takes no orders yet".into())),
            Some((status, body)) => Err(Failure::failed(format!("{status}: {}", body.trim_end()))),
            None => Err(unreachable("what answers there is no Monarch node".into())),
        }
    }
}

async fn post(admin: SocketAddr, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(admin).await?;
    let length = body.len();
    let request = format!(
        "POST {ORDERS} HTTP/1.1\r\nHost: {admin}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
