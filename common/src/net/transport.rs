//! What a session needs of whatever carries its bytes.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

/// What a transport can do without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ready {
    /// A read would give bytes, the end, or an error.
    pub readable: bool,
    /// A write would take bytes, or give an error.
    pub writable: bool,
}

/// How the other side has ended a connection of which nothing is read at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HangUp {
    /// It has closed its side in order. What it had sent before may still be unread.
    Closed,
    /// The connection was reset, or has timed out.
    Broken,
}

/// Bytes in, bytes out, and how many bytes the other side has confirmed.
///
/// TCP today; an HTTP gateway or a WebSocket later. Like a socket, it does nothing by itself: a connection waits
/// for readiness and then tries, so that waiting needs no buffer.
pub trait Transport: Send + 'static {
    /// Waits until it is readable, or, if `write` is set, writable. May be ready in error.
    fn poll_ready(&mut self, cx: &mut Context<'_>, write: bool) -> Poll<io::Result<Ready>>;

    /// Waits until it is writable, whatever there is to read. May be ready in error.
    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Waits, without reading, until the other side has hung up. Not to be asked again after [`HangUp::Closed`]: it would be
    /// said for ever.
    fn poll_hang_up(&mut self, cx: &mut Context<'_>) -> Poll<HangUp>;

    /// Reads into the spare room of `buffer`. 0 is the end; [`io::ErrorKind::WouldBlock`] means wait.
    ///
    /// # Errors
    /// As sockets do.
    fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize>;

    /// Writes as much as it takes of several pieces; [`io::ErrorKind::WouldBlock`] means wait.
    ///
    /// # Errors
    /// As sockets do.
    fn try_write(&mut self, pieces: &mut dyn Iterator<Item = &Bytes>) -> io::Result<usize>;

    /// How many of the bytes written the other side has confirmed. Never falls; also known after a reset.
    fn confirmed(&self) -> u64;

    /// How many bytes have arrived from the other side and wait to be read; never too few.
    fn unread(&self) -> u64;

    /// How long ago bytes last arrived from the other side, whether they are read or not; nothing if that is not known.
    fn last_arrival(&self) -> Option<Duration>;

    /// No more will be written; reading goes on.
    fn close_write(&mut self);

    /// The client's address.
    fn peer(&self) -> SocketAddr;

    /// Whether the other side is a proxy: its confirmations and its end are then not the client's.
    fn is_by_proxy(&self) -> bool {
        false
    }
}
