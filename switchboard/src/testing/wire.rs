//! A client and its session with a transport in memory between them.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::net::{HangUp, Ready, Transport};
use tokio::sync::Notify;

use super::{lock, passport, payload};

/// Both directions between a client and its session.
#[derive(Default)]
struct Wire {
    state: Mutex<WireState>,
    changed: Notify,
}

#[derive(Default)]
struct WireState {
    to_server: BytesMut,
    to_client: BytesMut,
    /// So much may wait for the client.
    room: usize,
    written: u64,
    /// Bytes that count as confirmed; all that are written, if absent.
    confirmed: Option<u64>,
    client_closed: bool,
    by_proxy: bool,
    reset: bool,
    server_closed: bool,
    waker: Option<Waker>,
}

/// The two ends of a new connection.
pub(crate) fn wire() -> (Client, impl Transport) {
    let wire = Arc::new(Wire::default());
    lock(&wire.state).room = 16 * 1024;
    (Client { wire: Arc::clone(&wire) }, MemoryTransport(wire))
}

/// A session's end of a [`Wire`].
struct MemoryTransport(Arc<Wire>);

impl Transport for MemoryTransport {
    fn poll_ready(&mut self, cx: &mut Context<'_>, write: bool) -> Poll<io::Result<Ready>> {
        let mut state = lock(&self.0.state);
        let readable = !state.to_server.is_empty() || state.client_closed || state.reset;
        let writable = write && (state.to_client.len() < state.room || state.reset);
        if readable || writable {
            return Poll::Ready(Ok(Ready { readable, writable }));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0.state);
        if state.to_client.len() < state.room || state.reset {
            return Poll::Ready(Ok(()));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_hang_up(&mut self, cx: &mut Context<'_>) -> Poll<HangUp> {
        let mut state = lock(&self.0.state);
        if state.reset {
            return Poll::Ready(HangUp::Broken);
        }
        if state.client_closed {
            return Poll::Ready(HangUp::Closed);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut state = lock(&self.0.state);
        if state.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if state.to_server.is_empty() {
            return if state.client_closed { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let count = state.to_server.len().min(buffer.capacity() - buffer.len());
        buffer.extend_from_slice(&state.to_server.split_to(count));
        Ok(count)
    }

    fn try_write(&mut self, pieces: &mut dyn Iterator<Item = &Bytes>) -> io::Result<usize> {
        let mut state = lock(&self.0.state);
        if state.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let mut count = 0;
        for piece in pieces {
            let part = piece.len().min(state.room.saturating_sub(state.to_client.len()));
            state.to_client.extend_from_slice(&piece[..part]);
            count += part;
            if part < piece.len() {
                break;
            }
        }
        state.written += count as u64;
        drop(state);
        self.0.changed.notify_waiters();
        if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn confirmed(&self) -> u64 {
        let state = lock(&self.0.state);
        state.confirmed.unwrap_or(state.written)
    }

    fn unread(&self) -> u64 {
        lock(&self.0.state).to_server.len() as u64
    }

    fn last_arrival(&self) -> Option<Duration> {
        None
    }

    fn close_write(&mut self) {
        lock(&self.0.state).server_closed = true;
        self.0.changed.notify_waiters();
    }

    fn peer(&self) -> SocketAddr {
        ([127, 0, 0, 1], 1).into()
    }

    fn is_by_proxy(&self) -> bool {
        lock(&self.0.state).by_proxy
    }
}

impl Drop for MemoryTransport {
    fn drop(&mut self) {
        self.close_write();
    }
}

/// A client in a test.
pub(crate) struct Client {
    wire: Arc<Wire>,
}

impl Client {
    fn change(&self, change: impl FnOnce(&mut WireState)) {
        let mut state = lock(&self.wire.state);
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Sends commands; line ends become CRLF.
    pub(crate) fn say(&self, text: &str) {
        self.send(text.replace('\n', "\r\n").as_bytes());
    }

    pub(crate) fn send(&self, bytes: &[u8]) {
        self.change(|state| state.to_server.extend_from_slice(bytes));
    }

    /// `MSG trid ack` with a payload of that type.
    pub(crate) fn msg(&self, trid: u32, ack: &str, content_type: &str, body: &str) -> String {
        let payload = payload(content_type, body);
        self.send(format!("MSG {trid} {ack} {}\r\n{payload}", payload.len()).as_bytes());
        payload
    }

    /// Waits for so many bytes; panics after a minute of (usually paused) time, or when the server closes first.
    async fn take(&self, enough: impl Fn(&[u8]) -> Option<usize>) -> Vec<u8> {
        let taken = async {
            loop {
                let changed = self.wire.changed.notified();
                let mut taken = None;
                let mut closed = false;
                self.change(|state| {
                    taken = enough(&state.to_client).map(|count| state.to_client.split_to(count).to_vec());
                    closed = state.server_closed;
                });
                if let Some(taken) = taken {
                    return taken;
                }
                assert!(!closed, "closed after {:?}", lock(&self.wire.state).to_client);
                changed.await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(50), taken).await;
        waited.unwrap_or_else(|_| panic!("only {:?} came", lock(&self.wire.state).to_client))
    }

    /// The next line, without its end.
    pub(crate) async fn line(&self) -> String {
        let end = |bytes: &[u8]| bytes.iter().position(|b| *b == b'\n').map(|at| at + 1);
        String::from_utf8(self.take(end).await).unwrap().trim_end().to_owned()
    }

    /// The next line, without its end; nothing once the server has closed and no whole line is left.
    pub(crate) async fn line_or_end(&self) -> Option<String> {
        loop {
            let changed = self.wire.changed.notified();
            let (has_line, closed) = {
                let state = lock(&self.wire.state);
                (state.to_client.contains(&b'\n'), state.server_closed)
            };
            if has_line {
                return Some(self.line().await);
            }
            if closed {
                return None;
            }
            changed.await;
        }
    }

    /// So many bytes, as text.
    pub(crate) async fn bytes(&self, count: usize) -> String {
        let next = self.take(|bytes| (bytes.len() >= count).then_some(count)).await;
        String::from_utf8(next).unwrap()
    }

    /// Expects exactly these bytes next; line ends are CRLF.
    pub(crate) async fn hears(&self, text: &str) {
        let text = text.replace('\n', "\r\n");
        let next = self.take(|bytes| (bytes.len() >= text.len()).then_some(text.len())).await;
        assert_eq!(String::from_utf8_lossy(&next), text);
    }

    /// Expects a `MSG` of that sender with exactly this payload next.
    pub(crate) async fn hears_msg(&self, from: &str, name: &str, payload: &str) {
        let head = format!("MSG {} {name} {}", passport(from), payload.len());
        assert_eq!(self.line().await, head);
        let next = self.take(|bytes| (bytes.len() >= payload.len()).then_some(payload.len())).await;
        assert_eq!(String::from_utf8_lossy(&next), payload);
    }

    /// Expects a line that begins so next.
    pub(crate) async fn skip(&self, start: &str) {
        let line = self.line().await;
        assert!(line.starts_with(start), "{start}… expected, got {line}");
    }

    /// Passes over whatever comes until these bytes have come.
    pub(crate) async fn hears_at_last(&self, bytes: &[u8]) {
        let place = |sent: &[u8]| sent.windows(bytes.len()).position(|part| part == bytes);
        self.take(|sent| place(sent).map(|at| at + bytes.len())).await;
    }

    /// Expects that nothing came before a call that can't succeed is answered: the marker behind which silence is
    /// proved.
    pub(crate) async fn hears_nothing(&self) {
        self.say("CAL 999 nobody\n");
        assert_eq!(self.line().await, "208 999");
    }

    /// Expects that the server closes, with nothing more said before.
    pub(crate) async fn is_closed(&self) {
        let closed = async {
            loop {
                let changed = self.wire.changed.notified();
                let (closed, left) = {
                    let state = lock(&self.wire.state);
                    (state.server_closed, state.to_client.clone())
                };
                if closed {
                    assert!(left.is_empty(), "{left:?} came first");
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(500), closed).await.expect("still open");
    }

    /// Bytes that it has sent and nobody has read.
    pub(crate) fn unread(&self) -> usize {
        lock(&self.wire.state).to_server.len()
    }

    /// Whether the server has closed.
    pub(crate) fn is_over(&self) -> bool {
        lock(&self.wire.state).server_closed
    }

    /// A proxy stands between: confirmations and ends are its own.
    pub(crate) fn is_behind_a_proxy(&self) {
        self.change(|state| state.by_proxy = true);
    }

    /// FIN.
    pub(crate) fn close(&self) {
        self.change(|state| state.client_closed = true);
    }

    /// RST.
    pub(crate) fn reset(&self) {
        self.change(|state| state.reset = true);
    }

    /// From now on so many bytes may wait unread.
    pub(crate) fn reads_at_most(&self, room: usize) {
        self.change(|state| state.room = room);
    }

    /// From now on so many of the bytes written count as confirmed, besides those that are now.
    pub(crate) fn confirms(&self, more: u64) {
        self.change(|state| state.confirmed = Some(state.confirmed.unwrap_or(state.written) + more));
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reset();
    }
}
