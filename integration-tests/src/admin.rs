//! What a process says on its admin address.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest answer that is read.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;

/// Status and body of a `GET`.
///
/// # Errors
/// When it does not answer with HTTP within seconds.
pub async fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    get_over(async { Ok(TcpStream::connect(address).await?) }, address, path).await
}

/// The same over a connection that is made by this.
pub(crate) async fn get_over(
    connecting: impl Future<Output = anyhow::Result<TcpStream>>,
    address: SocketAddr,
    path: &str,
) -> anyhow::Result<(u16, String)> {
    let exchange = async {
        let mut stream = connecting.await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(MAX_ANSWER).read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), exchange).await.context("no answer in time")??;
    let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no HTTP status")?;
    Ok((status, body.to_owned()))
}

/// How many nodes of a tier the process counts as alive, by its metrics.
pub async fn nodes_seen(address: SocketAddr, tier: &str) -> anyhow::Result<usize> {
    let (_, metrics) = get(address, "/metrics").await?;
    Ok(nodes_in(&metrics, tier))
}

/// The same of metrics that were read.
pub(crate) fn nodes_in(metrics: &str, tier: &str) -> usize {
    let name = format!("monarch_cluster_nodes{{role=\"{tier}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&name));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}
