//! The socket that gossip goes through: every datagram inside an HMAC.
//!
//! ```text
//! version | key id | code | what chitchat wrote
//!    1         4      16
//! ```
//! Any secret of the keyring verifies; what does not verify is counted and dropped. A datagram sent again by somebody
//! else does no harm: heartbeats and versions only rise.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable, Serializable};
use hmac::Mac;
use tokio::net::UdpSocket;

use super::metrics::Metrics;
use super::queue::Throttle;
use super::secrets::{Keyring, Purpose, finish};

const VERSION: u8 = 1;
const CODE: usize = 16;
const HEAD: usize = 1 + 4 + CODE;
/// The most bytes of a UDP datagram over IPv4.
const MAX_DATAGRAM: usize = 65_507;
/// How long receiving rests after an error, so that one that lasts costs no core.
const REST: Duration = Duration::from_millis(50);

/// A socket that was bound before gossip begins, so that the port which the system chose can be told to others.
pub(super) struct Bound(Mutex<Option<GossipSocket>>);

impl Bound {
    pub(super) fn new(socket: UdpSocket, keys: Keyring, metrics: Metrics) -> Self {
        let buffer = vec![0; MAX_DATAGRAM + 1].into_boxed_slice();
        let (foreign, oversized) = Default::default();
        Self(Mutex::new(Some(GossipSocket { socket, keys, metrics, buffer, foreign, oversized })))
    }
}

#[async_trait]
impl Transport for Bound {
    async fn open(&self, _: SocketAddr) -> anyhow::Result<Box<dyn Socket>> {
        let socket = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(Box::new(socket.ok_or_else(|| anyhow::anyhow!("the gossip socket is opened once"))?))
    }
}

struct GossipSocket {
    socket: UdpSocket,
    keys: Keyring,
    metrics: Metrics,
    buffer: Box<[u8]>,
    foreign: Throttle,
    oversized: Throttle,
}

#[async_trait]
impl Socket for GossipSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        let datagram = seal(&self.keys, &message.serialize_to_vec());
        if datagram.len() > MAX_DATAGRAM && self.oversized.permits() {
            tracing::error!(bytes = datagram.len(), "the state of this cluster no longer fits into a datagram");
        }
        // A datagram that can't be sent is a datagram lost: gossip tells it again.
        if let Err(error) = self.socket.send_to(&datagram, to).await {
            tracing::debug!(%to, %error, "gossip not sent");
        }
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            // An error here would end gossip for good, and none of this socket's is worth that.
            let (len, from) = match self.socket.recv_from(&mut self.buffer).await {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(%error, "gossip not received");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            };
            let Some(mut message) = open(&self.keys, &self.buffer[..len]) else {
                self.metrics.dropped_datagrams.inc();
                if self.foreign.permits() {
                    tracing::warn!(
                        %from,
                        "gossip that no cluster secret of this node verifies; if that is one of ours, compare the \
                         files of cluster secrets (others in this minute are only counted)"
                    );
                }
                continue;
            };
            match ChitchatMessage::deserialize(&mut message) {
                Ok(message) => return Ok((from, message)),
                Err(error) => tracing::debug!(%from, %error, "gossip of another version"),
            }
        }
    }
}

fn seal(keys: &Keyring, message: &[u8]) -> Vec<u8> {
    let (key, hasher) = keys.signer(Purpose::Gossip);
    let code = finish(hasher.chain_update([VERSION]).chain_update(message));
    let mut datagram = Vec::with_capacity(HEAD + message.len());
    datagram.push(VERSION);
    datagram.extend_from_slice(&key);
    datagram.extend_from_slice(&code[..CODE]);
    datagram.extend_from_slice(message);
    datagram
}

fn open<'a>(keys: &Keyring, datagram: &'a [u8]) -> Option<&'a [u8]> {
    let ([version], rest) = datagram.split_first_chunk()?;
    let (key, rest) = rest.split_first_chunk()?;
    let (code, message) = rest.split_first_chunk::<CODE>()?;
    let hasher = keys.subkey(*key, Purpose::Gossip).filter(|_| *version == VERSION)?;
    hasher.chain_update([VERSION]).chain_update(message).verify_truncated_left(code).ok()?;
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secrets: &[u8]) -> Keyring {
        Keyring::from_secrets(secrets.iter().map(|byte| [*byte; 32])).unwrap()
    }

    #[test]
    fn any_secret_verifies_and_nothing_else() {
        let datagram = seal(&keys(&[1, 2]), b"syn");
        assert_eq!(open(&keys(&[2, 1]), &datagram), Some(&b"syn"[..]));
        assert_eq!(open(&keys(&[2]), &datagram), None);
        for place in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[place] ^= 1;
            assert_eq!(open(&keys(&[1]), &changed), None);
            assert_eq!(open(&keys(&[1]), &datagram[..place]), None);
        }
    }

    #[tokio::test]
    async fn garbage_and_foreign_datagrams_are_counted_and_passed_over() {
        let bind = || UdpSocket::bind("127.0.0.1:0");
        let (near, far) = (bind().await.unwrap(), bind().await.unwrap());
        let (to, metrics) = (near.local_addr().unwrap(), Metrics::default());
        let mut socket = Bound::new(near, keys(&[1]), metrics.clone()).open(to).await.unwrap();
        let message = ChitchatMessage::BadCluster.serialize_to_vec();
        for datagram in [b"junk".to_vec(), seal(&keys(&[2]), &message), vec![], seal(&keys(&[1]), &message)] {
            far.send_to(&datagram, to).await.unwrap();
        }
        let (from, message) = socket.recv().await.unwrap();
        assert_eq!((from, message), (far.local_addr().unwrap(), ChitchatMessage::BadCluster));
        assert_eq!(metrics.dropped_datagrams.get(), 3);
    }
}
