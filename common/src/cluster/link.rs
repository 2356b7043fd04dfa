//! Peer links: all those that this node dials, and those that others have dialed to it.
//!
//! Requests go from the side that dialed to the other, and answers back: so two nodes that need each other have two
//! links. The dialing side pings; a side that hears nothing for [`SILENCE`] ends the link. Nothing that comes in
//! waits for anything slow, and everything that goes out waits in a bounded queue, so that a peer which does not
//! respond costs the others nothing.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::handshake::{self, Identity, Session};
use super::metrics::Metrics;
use super::node::View;
use super::outgoing::Outgoing;
use super::queue::Queue;
use super::ring::Place;
use super::wire::{MAX_FRAME, Opener, Reply, Request, Sealer, decode, encode, read_frame};
use crate::model::NodeId;
use crate::net::Places;
use crate::telemetry::Seldom;

/// A handshake takes no longer.
pub(super) const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// The dialing side pings so often.
pub(super) const PING: Duration = Duration::from_secs(1);
/// A link on which nothing is heard for so long is over.
pub(super) const SILENCE: Duration = Duration::from_secs(5);
/// Connections at once that have not yet said who they are; for one more the oldest goes. As many again are kept for the
/// addresses of nodes that gossip knows.
const STRANGERS: usize = 64;
/// As many of them may come from one address.
const STRANGERS_PER_ADDRESS: usize = 8;
/// As many may come from the address of a node: all those of its host share it, and each says at once who it is.
const NODES_PER_ADDRESS: usize = 32;

/// The side of a link that was dialed: what the router does with what comes in.
pub(super) trait Handler: Send + Sync + 'static {
    /// A link that this node dialed is up; `up` is cancelled when it is not any more.
    fn linked(self: Arc<Self>, link: Arc<Outgoing>, up: CancellationToken);

    /// A request has come. Must not block: the link is read on when this returns.
    fn asked(self: Arc<Self>, origin: &Origin, request: Request, replies: &Replies);

    /// A link that another node dialed has ended. `replaced`: that life of the node has a newer one.
    fn unlinked(&self, origin: &Origin, replaced: bool);
}

/// A link that another node dialed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) place: Place,
    /// Tells the links of one node apart: greater is newer.
    pub(super) link: u64,
}

/// The way back on a link that another node dialed. Clones are the same one.
#[derive(Clone)]
pub(super) struct Replies {
    queue: Arc<Queue>,
    cut: CancellationToken,
}

impl Replies {
    /// Sends an answer. A peer that does not take its answers loses the link.
    pub(super) fn send(&self, reply: &Reply) {
        let sent = encode(reply).is_some_and(|message| self.queue.push(message).is_ok());
        if !sent {
            self.cut.cancel();
        }
    }
}

/// All peer links of this node.
pub(super) struct Links {
    pub(super) identity: Identity,
    pub(super) metrics: Metrics,
    handler: OnceLock<Weak<dyn Handler>>,
    view: Mutex<Arc<View>>,
    outgoing: Mutex<HashMap<NodeId, Arc<Outgoing>>>,
    incoming: Mutex<HashMap<NodeId, Incoming>>,
    last_link: AtomicU64,
    /// Woken when a link of this node comes up or goes down.
    pub(super) changed: Arc<Notify>,
    stop: CancellationToken,
    complaints: Seldom,
}

struct Incoming {
    origin: Origin,
    cut: CancellationToken,
    heard: Arc<Mutex<Instant>>,
}

impl Links {
    pub(super) fn new(
        identity: Identity,
        metrics: Metrics,
        changed: Arc<Notify>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let (handler, view, outgoing, incoming, last_link) = Default::default();
        Arc::new(Self {
            identity,
            metrics,
            handler,
            view,
            outgoing,
            incoming,
            last_link,
            changed,
            stop,
            complaints: once_a_minute(),
        })
    }

    /// Whoever handles what comes in; told once.
    pub(super) fn handle_by(&self, handler: Weak<dyn Handler>) {
        let _ = self.handler.set(handler);
    }

    pub(super) fn handler(&self) -> Option<Arc<dyn Handler>> {
        self.handler.get().and_then(Weak::upgrade)
    }

    /// The link to a life of a node, dialed if it is not yet; nothing if it is not alive. Called within the runtime.
    pub(super) fn to(self: &Arc<Self>, place: &Place) -> Option<Arc<Outgoing>> {
        let mut outgoing = lock(&self.outgoing);
        if let Some(link) = outgoing.get(&place.node)
            && link.place == *place
        {
            return Some(Arc::clone(link));
        }
        let view = Arc::clone(&lock(&self.view));
        let node = view.node(&place.node).filter(|node| node.generation == place.generation)?;
        let link = Arc::new(Outgoing::new(place.clone(), node.role, node.peer_addr, self.stop.child_token()));
        if let Some(old) = outgoing.insert(place.node.clone(), Arc::clone(&link)) {
            old.gone.cancel();
        }
        tokio::spawn(Arc::clone(&link).run(Arc::clone(self)));
        Some(link)
    }

    /// The links that this node dials, whether or not they are up.
    pub(super) fn dialed(&self) -> Vec<Arc<Outgoing>> {
        lock(&self.outgoing).values().map(Arc::clone).collect()
    }

    /// Closes the links to and from lives that are over.
    pub(super) fn follow(&self, view: &Arc<View>) {
        let before = std::mem::replace(&mut *lock(&self.view), Arc::clone(view));
        lock(&self.outgoing).retain(|_, link| {
            let lives = view
                .node(&link.place.node)
                .is_some_and(|node| node.generation == link.place.generation && node.peer_addr == link.addr);
            if !lives {
                link.gone.cancel();
            }
            lives
        });
        // One that is not in the view yet may have dialed before gossip told of it.
        for incoming in lock(&self.incoming).values() {
            let Place { node, generation } = &incoming.origin.place;
            let superseded = view.node(node).is_some_and(|node| node.generation > *generation);
            if superseded || (before.has(node, *generation) && !view.has(node, *generation)) {
                incoming.cut.cancel();
            }
        }
    }

    /// Whether the link that this node dialed to a life of a node is up.
    pub(super) fn is_up(&self, place: &Place) -> bool {
        lock(&self.outgoing).get(&place.node).is_some_and(|link| link.place == *place && link.is_up())
    }

    /// Whether a life of a node was heard on a link a moment ago.
    pub(super) fn answers(&self, place: &Place) -> bool {
        let dialed =
            lock(&self.outgoing).get(&place.node).is_some_and(|link| link.place == *place && link.answers());
        dialed
            || lock(&self.incoming).get(&place.node).is_some_and(|incoming| {
                incoming.origin.place == *place && lock(&incoming.heard).elapsed() < PING * 2
            })
    }

    /// Lets other nodes in until the end.
    pub(super) async fn listen(self: Arc<Self>, listener: TcpListener) {
        let strangers = Places::new(STRANGERS, STRANGERS_PER_ADDRESS);
        let nodes = Places::new(STRANGERS, NODES_PER_ADDRESS);
        loop {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, addr)) => {
                    let places = if self.knows(addr.ip()) { &nodes } else { &strangers };
                    // None of these ever works, so there always is one that gives way.
                    let Some(place) = places.take(addr.ip()) else { continue };
                    let links = Arc::clone(&self);
                    tokio::spawn(async move {
                        let met = tokio::select! {
                            met = links.meet(stream, addr) => met,
                            () = place.gone() => {
                                return links.refused(addr, &"it did not say who it is, and others needed its place");
                            }
                        };
                        drop(place);
                        if let Some(session) = met {
                            links.serve(session).await;
                        }
                    });
                    places.settle().await;
                }
                Err(error) => {
                    tracing::warn!(%error, "can't accept a peer link");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Whether a node that gossip shows has that address.
    fn knows(&self, ip: IpAddr) -> bool {
        let view = Arc::clone(&lock(&self.view));
        view.has_address(ip)
    }

    async fn meet(&self, mut stream: TcpStream, addr: SocketAddr) -> Option<(TcpStream, Session)> {
        let meeting = async {
            tune(&stream)?;
            handshake::accept(&mut stream, &self.identity).await
        };
        match timeout(HANDSHAKE_TIME, meeting).await {
            Ok(Ok(session)) => return Some((stream, session)),
            Ok(Err(error)) => self.refused(addr, &error),
            Err(_) => self.refused(addr, &"it did not say who it is in time"),
        }
        None
    }

    fn refused(&self, addr: SocketAddr, why: &dyn std::fmt::Display) {
        self.metrics.refused_links.inc();
        if self.complaints.permits().is_some() {
            tracing::error!(%addr, %why, "refused a peer link (others in this minute are only counted)");
        } else {
            tracing::debug!(%addr, %why, "refused a peer link");
        }
    }

    async fn serve(self: Arc<Self>, (mut stream, session): (TcpStream, Session)) {
        let link = self.last_link.fetch_add(1, Ordering::Relaxed) + 1;
        let origin = Origin { place: session.peer, link };
        let cut = self.stop.child_token();
        let heard = Arc::new(Mutex::new(Instant::now()));
        if !self.enter(Incoming { origin: origin.clone(), cut: cut.clone(), heard: Arc::clone(&heard) }) {
            return;
        }
        let queue = Arc::new(Queue::default());
        let replies = Replies { queue: Arc::clone(&queue), cut: cut.clone() };
        let (read, mut write) = stream.split();
        let ended = tokio::select! {
            () = cut.cancelled() => None,
            ended = self.read(read, session.opener, &origin, &replies, &heard) => Some(ended),
            ended = write_all(&mut write, session.sealer, &queue, &self.metrics) => ended.err().map(|e| e.to_string()),
        };
        tracing::debug!(node = %origin.place.node, why = ended.unwrap_or_default(), "a peer's link ended");
        let replaced = {
            let mut incoming = lock(&self.incoming);
            if incoming.get(&origin.place.node).is_some_and(|known| known.origin == origin) {
                incoming.remove(&origin.place.node);
            }
            incoming.get(&origin.place.node).is_some_and(|newer| newer.origin.place == origin.place)
        };
        if let Some(handler) = self.handler() {
            handler.unlinked(&origin, replaced);
        }
    }

    /// Notes a node's link; an older one of the same node ends. False for a life that is over.
    fn enter(&self, new: Incoming) -> bool {
        let Place { node, generation } = new.origin.place.clone();
        let mut incoming = lock(&self.incoming);
        let known = lock(&self.view).node(&node).map(|known| known.generation);
        // An earlier life that is still heard is none: it is another node of that name. One that was killed has closed its links.
        let over = |old: &Incoming| match old.origin.place.generation.cmp(&generation) {
            std::cmp::Ordering::Less => lock(&old.heard).elapsed() >= PING * 2,
            std::cmp::Ordering::Equal => true,
            std::cmp::Ordering::Greater => false,
        };
        if known > Some(generation) || !incoming.get(&node).is_none_or(over) {
            return false;
        }
        if let Some(old) = incoming.insert(node, new) {
            old.cut.cancel();
        }
        true
    }

    async fn read(
        &self,
        read: tokio::net::tcp::ReadHalf<'_>,
        mut opener: Opener,
        origin: &Origin,
        replies: &Replies,
        heard: &Mutex<Instant>,
    ) -> String {
        let (mut read, mut frame) = (BufReader::new(read), Vec::new());
        loop {
            match timeout(SILENCE, read_frame(&mut read, MAX_FRAME, &mut frame)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return "it fell silent".into(),
            }
            let request = opener.open(&frame).and_then(decode::<Request>);
            let (Some(request), Some(handler)) = (request, self.handler()) else {
                tracing::error!(node = %origin.place.node, "a peer sent what is no genuine message");
                return "no genuine message".into();
            };
            self.metrics.received.inc();
            *lock(heard) = Instant::now();
            match request {
                Request::Ping => replies.send(&Reply::Pong),
                request => handler.asked(origin, request, replies),
            }
        }
    }
}

#[cfg(test)]
impl Links {
    /// Ends the links that others have dialed; they dial again.
    pub(super) fn cut_incoming(&self) {
        for incoming in lock(&self.incoming).values() {
            incoming.cut.cancel();
        }
    }
}

/// Writes what a queue holds, until the stream fails.
pub(super) async fn write_all(
    stream: &mut (impl AsyncWrite + Unpin),
    mut sealer: Sealer,
    queue: &Queue,
    metrics: &Metrics,
) -> std::io::Result<Infallible> {
    loop {
        let mut frames = Vec::new();
        for message in queue.take().await {
            sealer.seal(&message, &mut frames);
            metrics.sent.inc();
        }
        stream.write_all(&frames).await?;
    }
}

/// For lines that a hostile neighbour, or one that is set up wrongly, could make flood.
pub(super) fn once_a_minute() -> Seldom {
    Seldom::one_in(Duration::from_secs(60))
}

/// No delay, and time-outs for a peer that is gone.
pub(super) fn tune(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(SILENCE))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(SILENCE).with_interval(PING).with_retries(3))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
