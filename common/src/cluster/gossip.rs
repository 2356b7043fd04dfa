//! The socket that gossip goes through: every datagram is sealed, see `datagram`.
//!
//! One that fails a check is counted and dropped, and nobody is answered.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chitchat::transport::{Socket, Transport};
use chitchat::{ChitchatMessage, Deserializable, Serializable};
use tokio::net::UdpSocket;

use super::datagram::{self, Doorkeeper, Dropped, Head, Kind};
use super::inquiry::Inquiries;
use super::link::once_a_minute;
use super::metrics::Metrics;
use super::secrets::Keyring;
use super::source::Sending;
use crate::clock;
use crate::telemetry::Seldom;

/// The most bytes of a UDP datagram over IPv4.
const MAX_DATAGRAM: usize = 65_507;
/// How long receiving rests after an error, so that one that lasts costs no core.
const REST: Duration = Duration::from_millis(50);
/// What was refused longer ago explains nothing any more.
const RECENT: Duration = Duration::from_secs(10);

/// The bound socket, and what it takes to send and receive.
pub(super) struct Post {
    socket: Sending,
    keys: Keyring,
    metrics: Metrics,
    /// What the others are told.
    pub(super) me: SocketAddr,
    last_sent: AtomicU64,
    doorkeeper: Mutex<Doorkeeper>,
    refused: Mutex<Option<(Instant, SocketAddr, Dropped)>>,
    pub(super) inquiries: Inquiries,
    complaints: [Seldom; 3],
    oversized: Seldom,
}

impl Post {
    /// `me` is what the others are told: they take what comes from there.
    pub(super) fn new(socket: UdpSocket, me: SocketAddr, keys: Keyring, metrics: Metrics) -> Arc<Self> {
        let (last_sent, doorkeeper, refused, inquiries) = Default::default();
        Arc::new(Self {
            socket: Sending::new(socket, me),
            keys,
            metrics,
            me,
            last_sent,
            doorkeeper,
            refused,
            inquiries,
            complaints: std::array::from_fn(|_| once_a_minute()),
            oversized: once_a_minute(),
        })
    }

    /// A datagram that can't be sent is a datagram lost: gossip tells it again.
    pub(super) async fn send(&self, to: SocketAddr, kind: Kind, message: &[u8]) {
        let now = micros();
        let later = |last: u64| Some(now.max(last + 1));
        let last = self.last_sent.fetch_update(Ordering::AcqRel, Ordering::Acquire, later).unwrap_or_default();
        let head = Head { sent: now.max(last + 1), from: self.me, kind };
        let datagram = datagram::seal(&self.keys, &head, message);
        if datagram.len() > MAX_DATAGRAM && self.oversized.permits().is_some() {
            tracing::error!(bytes = datagram.len(), "the state of this cluster no longer fits into a datagram");
        }
        if let Err(error) = self.socket.send_to(&datagram, to).await {
            tracing::debug!(%to, %error, "gossip not sent");
        }
    }

    /// The next datagram that is taken: whom an answer goes to, what it is, and how long; the message stands in `buffer`.
    async fn next<'b>(&self, buffer: &'b mut [u8]) -> (SocketAddr, Kind, &'b [u8]) {
        let (from, kind, start, end) = loop {
            // An error here would end gossip for good, and none of this socket's is worth that.
            let (len, source) = match self.socket.socket.recv_from(buffer).await {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(%error, "gossip not received");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            };
            match self.check(&buffer[..len], source) {
                Ok((head, message)) => break (head.from, head.kind, len - message, len),
                Err(dropped) => self.drop_one(source, dropped),
            }
        };
        (from, kind, &buffer[start..end])
    }

    /// The head of a datagram that is taken, and how long its message is.
    fn check(&self, datagram: &[u8], source: SocketAddr) -> Result<(Head, usize), Dropped> {
        let (head, message) = datagram::open(&self.keys, datagram).ok_or(Dropped::Foreign)?;
        let mut keeper = self.doorkeeper.lock().unwrap_or_else(PoisonError::into_inner);
        keeper.admit(&head, source, micros(), Instant::now())?;
        Ok((head, message.len()))
    }

    fn drop_one(&self, source: SocketAddr, dropped: Dropped) {
        self.metrics.dropped_datagram(dropped.label());
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), source, dropped));
        let [foreign, elsewhere, untimely] = &self.complaints;
        match dropped {
            Dropped::Foreign if foreign.permits().is_some() => tracing::warn!(
                from = %source,
                "gossip that no cluster secret of this node verifies, or of another version; if that is one of ours, compare \
                 the files of cluster secrets (others in this minute are only counted)"
            ),
            Dropped::Elsewhere(own) if elsewhere.permits().is_some() => tracing::warn!(
                from = %source,
                %own,
                "gossip of a node of ours that comes from another address than its own: somebody plays it back, or its \
                 node.gossip_advertise is not from where others see it come (others in this minute are only counted)"
            ),
            Dropped::Untimely(behind) if untimely.permits().is_some() => tracing::warn!(
                from = %source,
                behind_ms = behind / 1000,
                "gossip that is too old, or ahead of this node's clock: somebody plays it back, or the clocks differ (others in \
                 this minute are only counted)"
            ),
            _ => tracing::debug!(from = %source, ?dropped, "gossip dropped"),
        }
    }

    /// Why gossip that has come lately was not taken, in words; nothing if all was.
    pub(super) fn refusal(&self) -> Option<String> {
        let refused = *self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, source, dropped) = refused.filter(|(at, ..)| at.elapsed() < RECENT)?;
        match dropped {
            Dropped::Foreign => Some(format!(
                "no cluster secret of this node verifies what comes from {source}: compare the files of cluster secrets"
            )),
            Dropped::Untimely(behind) => Some(format!(
                "the clock of {source} and that of this node are {} s apart: compare the clocks",
                behind.unsigned_abs() / 1_000_000
            )),
            Dropped::Elsewhere(own) => Some(format!(
                "what comes from {source} says that it is from {own}: compare node.gossip_advertise there with its addresses"
            )),
            Dropped::Repeated => None,
        }
    }

    /// Whose untimely datagrams say something about clocks: see [`datagram::Doorkeeper::believe`].
    pub(super) fn believe(&self, witnesses: Option<BTreeSet<SocketAddr>>) {
        self.doorkeeper.lock().unwrap_or_else(PoisonError::into_inner).believe(witnesses);
    }

    /// How far the clocks of those heard lately are behind the own one, in µs.
    pub(super) fn clocks(&self) -> Vec<i64> {
        self.doorkeeper.lock().unwrap_or_else(PoisonError::into_inner).clocks(Instant::now())
    }

    /// Receives answers while something is awaited that has asked. Gossip of others, who may think of an earlier life of this
    /// node, is passed over.
    pub(super) async fn receiving<T>(&self, asking: impl Future<Output = T>) -> T {
        tokio::select! {
            done = asking => done,
            never = self.take_answers() => match never {},
        }
    }

    async fn take_answers(&self) -> Infallible {
        let mut buffer = vec![0; MAX_DATAGRAM + 1];
        loop {
            if let (_, Kind::Tell, answer) = self.next(&mut buffer).await {
                self.inquiries.told(answer);
            }
        }
    }
}

fn micros() -> u64 {
    u64::try_from(clock::wall().as_micros()).unwrap_or(u64::MAX)
}

/// A socket that was bound before gossip begins, so that the port which the system chose can be told to others.
pub(super) struct Bound(Mutex<Option<GossipSocket>>);

impl Bound {
    pub(super) fn new(post: Arc<Post>) -> Self {
        let buffer = vec![0; MAX_DATAGRAM + 1].into_boxed_slice();
        Self(Mutex::new(Some(GossipSocket { post, buffer })))
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
    post: Arc<Post>,
    buffer: Box<[u8]>,
}

#[async_trait]
impl Socket for GossipSocket {
    async fn send(&mut self, to: SocketAddr, message: ChitchatMessage) -> anyhow::Result<()> {
        self.post.send(to, Kind::Gossip, &message.serialize_to_vec()).await;
        Ok(())
    }

    async fn recv(&mut self) -> anyhow::Result<(SocketAddr, ChitchatMessage)> {
        loop {
            let (from, kind, mut message) = self.post.next(&mut self.buffer).await;
            match kind {
                Kind::Gossip => match ChitchatMessage::deserialize(&mut message) {
                    Ok(message) => return Ok((from, message)),
                    Err(error) => tracing::debug!(%from, %error, "gossip of another version"),
                },
                Kind::Ask => {
                    if let Some(answer) = self.post.inquiries.answer(message) {
                        self.post.send(from, Kind::Tell, &answer).await;
                    }
                }
                Kind::Tell => self.post.inquiries.told(message),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secrets: &[u8]) -> Keyring {
        Keyring::from_secrets(secrets.iter().map(|byte| [*byte; 32])).unwrap()
    }

    async fn post(secrets: &[u8]) -> Arc<Post> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let me = socket.local_addr().unwrap();
        Post::new(socket, me, keys(secrets), Metrics::default())
    }

    #[tokio::test]
    async fn what_is_not_genuine_new_and_from_its_sender_is_counted_and_passed_over() {
        let (near, far, stranger) = (post(&[1]).await, post(&[1]).await, post(&[2]).await);
        let mut socket = Bound::new(Arc::clone(&near)).open(near.me).await.unwrap();
        let message = ChitchatMessage::BadCluster.serialize_to_vec();
        stranger.send(near.me, Kind::Gossip, &message).await;
        let head = Head { sent: micros(), from: far.me, kind: Kind::Gossip };
        let genuine = datagram::seal(&far.keys, &head, &message);
        for (from, datagram) in
            [(&far, &b"junk"[..]), (&far, b""), (&stranger, &genuine), (&far, &genuine), (&far, &genuine)]
        {
            from.socket.socket.send_to(datagram, near.me).await.unwrap();
        }
        far.send(near.me, Kind::Gossip, &message).await;
        for _ in 0..2 {
            let (from, message) = socket.recv().await.unwrap();
            assert_eq!((from, message), (far.me, ChitchatMessage::BadCluster));
        }
        let dropped =
            ["foreign", "elsewhere", "untimely", "repeated"].map(|why| near.metrics.dropped_datagrams(why));
        assert_eq!(dropped, [3, 1, 0, 1]);
    }

    /// Of a sender that is bound to all addresses of its host, too, in the seconds in which it is not too old.
    #[tokio::test]
    async fn what_is_played_from_elsewhere_is_passed_over_whatever_its_sender_is_bound_to() {
        let (near, attacker) = (post(&[1]).await, UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let mut socket = Bound::new(Arc::clone(&near)).open(near.me).await.unwrap();
        let to_all = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        let me = SocketAddr::from(([127, 0, 0, 2], to_all.local_addr().unwrap().port()));
        let far = Post::new(to_all, me, keys(&[1]), Metrics::default());
        let message = ChitchatMessage::BadCluster.serialize_to_vec();
        far.send(attacker.local_addr().unwrap(), Kind::Gossip, &message).await;
        let mut recorded = [0; 1024];
        let len = attacker.recv(&mut recorded).await.unwrap();
        attacker.send_to(&recorded[..len], near.me).await.unwrap();
        far.send(near.me, Kind::Gossip, &message).await;
        let heard = tokio::time::timeout(Duration::from_secs(10), socket.recv()).await.unwrap();
        assert_eq!(heard.unwrap(), (me, ChitchatMessage::BadCluster));
        let refusal = near.refusal().unwrap();
        assert!(refusal.contains(&format!("says that it is from {me}: compare")), "{refusal}");
        assert_eq!(near.metrics.dropped_datagrams("elsewhere"), 1);
    }
}
