//! Giving orders to a running deployment, at the admin address of one of its nodes.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use common::clock;
use common::cluster::{Audience, Keyring, ORDERS, Order};
use common::config::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use uuid::Uuid;

use crate::Failure;
use crate::terminal::harmless;

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

/// An order's id.
pub(crate) fn random() -> Result<Uuid, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(no_randomness)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

pub(crate) fn no_randomness(error: getrandom::Error) -> Failure {
    Failure::failed(format!("no randomness: {error}"))
}

/// Says what a node has answered to an order. `done` is what became of the sessions: "handed to".
pub(crate) fn report(order: &Order, done: &str, answer: &str, out: &mut impl Write) -> Result<(), Failure> {
    match order.to {
        Audience::Principal(_) => Ok(writeln!(out, "{}", harmless(answer.trim_end()))?),
        Audience::Everybody | Audience::Node(_) => report_nodes(done, answer, out),
    }
}

/// `NODE SESSIONS OVERRUN` lines, `NODE -` for a node that did not answer.
fn report_nodes(done: &str, answer: &str, out: &mut impl Write) -> Result<(), Failure> {
    let (mut sessions, mut overrun, mut nodes, mut silent) = (0_u64, 0_u64, 0, Vec::new());
    for line in answer.lines() {
        let mut words = line.split(' ');
        let node = harmless(words.next().unwrap_or_default());
        let mut count = || words.next().and_then(|count| count.parse::<u64>().ok());
        nodes += 1;
        let Some(told) = count() else {
            writeln!(out, "{node}: no answer")?;
            silent.push(node);
            continue;
        };
        writeln!(out, "{node}: {}", of_sessions(told))?;
        sessions += told;
        overrun += count().unwrap_or_default();
    }
    let reached = nodes - silent.len();
    writeln!(out, "{done} {} on {reached} of {nodes} notification nodes", of_sessions(sessions))?;
    if overrun > 0 {
        writeln!(out, "not to {}, whose clients don't keep up and lose their connections", of_sessions(overrun))?;
    }
    match (nodes, silent.is_empty()) {
        (0, _) => Err(Failure::failed("the node knows of no notification node: nobody has it")),
        (_, true) => Ok(()),
        (_, false) => {
            Err(Failure::failed(format!("no answer from {}: who is there may not have it", silent.join(", "))))
        }
    }
}

fn of_sessions(count: u64) -> String {
    if count == 1 { "1 session".into() } else { format!("{count} sessions") }
}

#[cfg(test)]
mod tests {
    use common::cluster::Instruction;
    use common::model::SignOut;

    use super::*;

    fn order() -> Order {
        let what = Instruction::SignOut(SignOut::ShutDown);
        Order { id: Uuid::nil(), to: Audience::Everybody, what }
    }

    fn said(answer: &str) -> (String, Option<u8>) {
        let mut out = Vec::new();
        let code = report(&order(), "handed to", answer, &mut out).err().map(|failure| failure.code());
        (String::from_utf8(out).unwrap(), code)
    }

    #[test]
    fn says_who_has_it() {
        let (text, code) = said("ns-1 1 0\nns-2 12 0\n");
        let expected = "ns-1: 1 session\nns-2: 12 sessions\nhanded to 13 sessions on 2 of 2 notification nodes\n";
        assert_eq!((text.as_str(), code), (expected, None));
        let (text, code) = said("ns-1 3 0\nns-2 -\n");
        let expected = "ns-1: 3 sessions\nns-2: no answer\nhanded to 3 sessions on 1 of 2 notification nodes\n";
        assert_eq!((text.as_str(), code), (expected, Some(1)));
        let (text, code) = said("ns-1 3 1\nns-2 0 1\n");
        let expected = "ns-1: 3 sessions\nns-2: 0 sessions\nhanded to 3 sessions on 2 of 2 notification nodes\n\
                        not to 2 sessions, whose clients don't keep up and lose their connections\n";
        assert_eq!((text.as_str(), code), (expected, None));
        assert_eq!(said("").1, Some(1));
    }

    #[tokio::test]
    async fn without_a_secret_or_a_node_nothing_is_sent() {
        let dir = tempfile::tempdir().unwrap();
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let desk = OrderDesk { admin: nobody, secrets: dir.path().join("secrets") };
        assert_eq!(desk.give(&order()).await.unwrap_err().code(), 2);
        Keyring::create(&desk.secrets).unwrap();
        assert_eq!(desk.give(&order()).await.unwrap_err().code(), 3);
    }
}
