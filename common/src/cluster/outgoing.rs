//! The link that this node dials to one other.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::handshake::{self, HandshakeError};
use super::link::{HANDSHAKE_TIME, Links, PING, SILENCE, once_a_minute, tune, write_all};
use super::node::Role;
use super::queue::Queue;
use super::ring::Place;
use super::wire::{MAX_FRAME, Opener, Reply, Request, decode, encode, read_frame};
use crate::clock;
use crate::telemetry::Seldom;

/// One life of another node, and the link to it. It is dialed until that life is over.
pub(super) struct Outgoing {
    pub(super) place: Place,
    pub(super) role: Role,
    pub(super) addr: SocketAddr,
    queue: Queue,
    state: Mutex<State>,
    /// That life is over.
    pub(super) gone: CancellationToken,
    complaints: Seldom,
    /// What must not be left out did not fit: the link begins anew, and tells everything again.
    overrun: Notify,
}

#[derive(Default)]
struct State {
    phase: Phase,
    pending: HashMap<u64, oneshot::Sender<Reply>>,
    last_id: u64,
    heard: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    /// Dialed for the first time: requests wait for it.
    #[default]
    Fresh,
    Up,
    /// Requests fail at once, so that somebody else is asked.
    Down,
}

/// The node can't be reached at the moment, or can't keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreachable;

/// Why a link that was up ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("it did not answer in time")]
    Silent,
    #[error("it can't keep up")]
    Overrun,
    #[error("it sent a frame that is not genuine")]
    Forged,
    #[error("it sent a message that this node does not understand")]
    Unreadable,
}

impl Outgoing {
    /// Requests that may wait for answers.
    const MAX_PENDING: usize = 100_000;

    pub(super) fn new(place: Place, role: Role, addr: SocketAddr, gone: CancellationToken) -> Self {
        let (queue, state, overrun) = Default::default();
        Self { place, role, addr, queue, state, gone, complaints: once_a_minute(), overrun }
    }

    /// Sends a request; `make` is given its number. The answer comes unless the link is lost before.
    pub(super) fn request(
        &self,
        make: impl FnOnce(u64) -> Request,
    ) -> Result<oneshot::Receiver<Reply>, Unreachable> {
        let mut state = self.lock();
        if state.phase == Phase::Down {
            return Err(Unreachable);
        }
        if state.pending.len() >= Self::MAX_PENDING {
            state.pending.retain(|_, answer| !answer.is_closed());
            if state.pending.len() >= Self::MAX_PENDING {
                return Err(Unreachable);
            }
        }
        state.last_id += 1;
        let id = state.last_id;
        self.push(&make(id))?;
        let (answer, wait) = oneshot::channel();
        state.pending.insert(id, answer);
        Ok(wait)
    }

    /// Sends what is not answered.
    pub(super) fn tell(&self, request: &Request) -> Result<(), Unreachable> {
        let state = self.lock();
        if state.phase == Phase::Down { Err(Unreachable) } else { self.push(request) }
    }

    fn push(&self, request: &Request) -> Result<(), Unreachable> {
        let message = encode(request).ok_or(Unreachable)?;
        match request {
            Request::Ask { .. }
            | Request::Hand { .. }
            | Request::Ping
            | Request::Order { .. }
            | Request::Tallies { .. }
            | Request::Sightings { .. }
            | Request::Guesses(_) => self.queue.push(message),
            Request::Gap
            | Request::Register { .. }
            | Request::Unregister { .. }
            | Request::Done { .. }
            | Request::Displaced { .. }
            | Request::Void { .. } => {
                // Without one of these the other side would be wrong for as long as the link lasts, or, without word of a
                // gap, for long. Queues are full just when there are gaps.
                self.queue.push_urgent(message).inspect_err(|_| self.overrun.notify_one())
            }
        }
        .map_err(|_| Unreachable)
    }

    /// Whether the other side has said who it is, and the connection has not ended since.
    pub(super) fn is_up(&self) -> bool {
        self.lock().phase == Phase::Up
    }

    /// Whether the other side was heard a moment ago.
    pub(super) fn answers(&self) -> bool {
        let state = self.lock();
        state.phase == Phase::Up && state.heard.is_some_and(|heard| heard.elapsed() < PING * 2)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Dials, and dials again, until the node's life is over.
    pub(super) async fn run(self: Arc<Self>, links: Arc<Links>) {
        let mut failures = 0;
        loop {
            let ended = tokio::select! {
                () = self.gone.cancelled() => break,
                ended = self.session(&links, &mut failures) => ended,
            };
            if self.down() {
                links.metrics.links.dec();
                links.changed.notify_one();
            }
            let Err(error) = ended;
            self.report(&links, &error);
            failures += 1;
            tokio::select! {
                () = self.gone.cancelled() => break,
                () = tokio::time::sleep(back_off(failures)) => {}
            }
        }
        if self.down() {
            links.metrics.links.dec();
        }
    }

    fn report(&self, links: &Links, error: &LinkError) {
        let (node, addr) = (&self.place.node, self.addr);
        match error {
            LinkError::Handshake(error) if error.is_lasting() => {
                links.metrics.refused_links.inc();
                if self.complaints.permits().is_some() {
                    tracing::error!(%node, %addr, %error, "no peer link");
                }
            }
            error if self.complaints.permits().is_some() => {
                tracing::warn!(%node, %addr, %error, "no peer link; trying on");
            }
            error => tracing::debug!(%node, %addr, %error, "no peer link; trying on"),
        }
    }

    /// Gives up what waits. Returns whether the link was up.
    fn down(&self) -> bool {
        let mut state = self.lock();
        let was_up = state.phase == Phase::Up;
        state.phase = Phase::Down;
        state.pending = HashMap::new();
        state.heard = None;
        self.queue.clear();
        was_up
    }

    async fn session(self: &Arc<Self>, links: &Arc<Links>, failures: &mut u32) -> Result<Infallible, LinkError> {
        let connecting = async {
            let mut stream = TcpStream::connect(self.addr).await?;
            tune(&stream)?;
            let session = handshake::dial(&mut stream, &links.identity, &self.place).await?;
            Ok::<_, LinkError>((stream, session))
        };
        let (mut stream, session) = timeout(HANDSHAKE_TIME, connecting).await.map_err(|_| LinkError::Silent)??;
        let (read, mut write) = stream.split();
        {
            let mut state = self.lock();
            (state.phase, state.heard) = (Phase::Up, Some(Instant::now()));
        }
        links.metrics.links.inc();
        links.changed.notify_one();
        tracing::info!(node = %self.place.node, addr = %self.addr, "peer link up");
        *failures = 0;
        let up = CancellationToken::new();
        let _down_at_the_end = up.clone().drop_guard();
        if let Some(handler) = links.handler() {
            handler.linked(Arc::clone(self), up);
        }
        tokio::select! {
            ended = self.read(read, session.opener, links) => ended,
            ended = write_all(&mut write, session.sealer, &self.queue, &links.metrics) => Ok(ended?),
            ended = self.ping() => ended,
            () = self.overrun.notified() => Err(LinkError::Overrun),
        }
    }

    async fn read(
        &self,
        read: tokio::net::tcp::ReadHalf<'_>,
        mut opener: Opener,
        links: &Links,
    ) -> Result<Infallible, LinkError> {
        let (mut read, mut frame) = (BufReader::new(read), Vec::new());
        loop {
            read_frame(&mut read, MAX_FRAME, &mut frame).await?;
            let message = opener.open(&frame).ok_or(LinkError::Forged)?;
            let reply: Reply = decode(message).ok_or(LinkError::Unreadable)?;
            links.metrics.received.inc();
            let mut state = self.lock();
            state.heard = Some(Instant::now());
            if let Some(answer) = reply.id().and_then(|id| state.pending.remove(&id)) {
                // Whoever asked may have given up.
                let _ = answer.send(reply);
            }
        }
    }

    async fn ping(&self) -> Result<Infallible, LinkError> {
        let mut interval = tokio::time::interval(PING);
        loop {
            interval.tick().await;
            if self.lock().heard.is_some_and(|heard| heard.elapsed() > SILENCE) {
                return Err(LinkError::Silent);
            }
            // A queue that is full is being written, or the silence above ends the link.
            let _ = self.tell(&Request::Ping);
        }
    }
}

/// 100 ms at first, twice as much each time up to 2 s, less a random half: nodes that lost the same peer at once do
/// not all come back at once.
fn back_off(failures: u32) -> Duration {
    let longest = Duration::from_millis(50 << failures.min(6)).min(Duration::from_secs(2));
    clock::spread(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backs_off_with_jitter_up_to_two_seconds() {
        for (failures, longest) in [(1, 100), (2, 200), (5, 1600), (6, 2000), (1000, 2000)] {
            let pause = back_off(failures);
            assert!(pause >= Duration::from_millis(longest / 2) && pause <= Duration::from_millis(longest));
        }
    }

    #[test]
    fn a_link_that_is_down_refuses_at_once_and_forgets_what_waited() {
        let place = Place { node: crate::model::NodeId::parse("ns-1").unwrap(), generation: Default::default() };
        let link = Outgoing::new(place, Role::Notification, ([127, 0, 0, 1], 1).into(), CancellationToken::new());
        let mut waiting = link.request(|id| Request::Register { id, announcement: 0, claims: vec![] }).unwrap();
        assert!(waiting.try_recv().is_err());
        assert!(!link.down());
        assert_eq!(waiting.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        assert_eq!(link.tell(&Request::Ping), Err(Unreachable));
        assert!(!link.answers());
    }
}
