//! A client's connection: commands in, bytes out.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::buffers::BufferPool;
use super::foreigners;
use super::outbox::{Outbox, Overflow};
use super::transport::{HangUp, Ready, Transport};
use crate::msnp::verbs::Phase;
use crate::msnp::{Command, Decoder, Dialect, FrameError};

/// A connection to one client. Only its own task uses it.
///
/// While nothing is to be read or written it holds no buffer.
pub struct Connection<T> {
    transport: T,
    decoder: Decoder,
    pool: Arc<BufferPool>,
    input: Option<BytesMut>,
    /// The other side has said that nothing more comes; what is in `input` may still hold commands.
    ended: Option<Ended>,
    outbox: Outbox,
    /// A write has failed: nothing more can be written, whatever ended the input.
    unwritable: bool,
    /// The other side is known to have closed its side behind input that is not read yet.
    hung_up: bool,
    bytes_in: u64,
    /// When it was last read from.
    read: Instant,
    /// Bytes read in a row of which each read left some.
    behind: u32,
    /// So much waited to be read that the other side's kernel may hold back more of it: what comes out of there may have been sent
    /// long before it arrives.
    is_dammed: bool,
}

/// What [`Connection::event`] reports.
#[derive(Debug)]
pub enum Event {
    /// A whole command has arrived.
    Command(Command),
    /// Bytes have been written: [`Connection::written`] has risen.
    Written,
    /// The connection is over; nothing more comes.
    Ended(Ended),
}

/// What [`Connection::event_unread`] reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// Bytes have been written: [`Connection::written`] has risen.
    Written,
    /// The other side has closed its side in order. Said once; what it sent before can still be read.
    HungUp,
    /// The connection was reset, has timed out or failed otherwise.
    Broken,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The other side closed in order (FIN).
    Closed,
    /// It was reset, timed out, or failed otherwise.
    Broken(io::ErrorKind),
    /// The other side sent what is no command.
    Malformed(FrameError),
}

impl<T: Transport> Connection<T> {
    /// A connection over `transport` whose input `decoder` reads.
    pub fn new(transport: T, decoder: Decoder, pool: Arc<BufferPool>) -> Self {
        let outbox = Outbox::default();
        Self {
            transport,
            decoder,
            pool,
            input: None,
            ended: None,
            outbox,
            unwritable: false,
            hung_up: false,
            bytes_in: 0,
            read: Instant::now(),
            behind: 0,
            is_dammed: false,
        }
    }

    /// The same, which has come at `came`: before what a proxy has written was read, say.
    #[must_use]
    pub fn that_came(mut self, came: Instant) -> Self {
        self.read = came;
        self
    }

    /// When something was last read; when it came, if nothing was yet.
    #[must_use]
    pub fn last_read(&self) -> Instant {
        self.read
    }

    /// Waits for the next thing to happen: a command, progress of what is being written, or the end. Safe to
    /// cancel: nothing is lost.
    pub async fn event(&mut self) -> Event {
        loop {
            if let Some(event) = self.decode() {
                return event;
            }
            let write = !self.outbox.is_empty();
            let ready = match poll_fn(|cx| self.transport.poll_ready(cx, write)).await {
                Ok(ready) => ready,
                Err(error) => Ready { readable: self.end(Ended::Broken(error.kind())), writable: false },
            };
            if ready.readable {
                self.fill();
            }
            if ready.writable && self.flush() {
                return Event::Written;
            }
        }
    }

    /// As [`Connection::event`], while the next command is not wanted: writes what is queued, and reads nothing, so that the
    /// other side waits as it does for any slow reader. Safe to cancel.
    pub async fn event_unread(&mut self) -> Unread {
        loop {
            if self.is_broken() {
                return Unread::Broken;
            }
            let write = !self.outbox.is_empty();
            let listen = !self.hung_up;
            let transport = &mut self.transport;
            let hang_up = poll_fn(|cx| {
                if write && transport.poll_writable(cx).is_ready() {
                    return Poll::Ready(None);
                }
                if listen { transport.poll_hang_up(cx).map(Some) } else { Poll::Pending }
            });
            match hang_up.await {
                None if self.flush() => return Unread::Written,
                None => {}
                Some(HangUp::Closed) => {
                    self.hung_up = true;
                    return Unread::HungUp;
                }
                Some(HangUp::Broken) => {
                    self.end(Ended::Broken(io::ErrorKind::ConnectionReset));
                    return Unread::Broken;
                }
            }
        }
    }

    /// Says what the client speaks and how far it has come: see [`Decoder::admit`].
    pub fn admit(&mut self, dialect: Option<&'static Dialect>, phase: Phase) {
        self.decoder.admit(dialect, phase);
    }

    /// Waits until everything queued is written, or the connection is over. Input stays unread.
    pub async fn drain(&mut self) {
        while !self.outbox.is_empty() && self.can_write() {
            match poll_fn(|cx| self.transport.poll_ready(cx, true)).await {
                Ok(Ready { writable: true, .. }) => {
                    self.flush();
                }
                // The end of the input stays readable: without a pause this would be a busy loop.
                Ok(_) if self.ended.is_some() => tokio::time::sleep(Self::PAUSE).await,
                // Readable only: a transport that stays so would turn this into a busy loop.
                Ok(_) => {
                    self.fill();
                    if self.input.as_ref().is_some_and(|input| input.len() > Self::UNREAD) {
                        break;
                    }
                }
                Err(error) => {
                    self.end(Ended::Broken(error.kind()));
                }
            }
        }
    }

    /// Between two looks whether a client that has closed its side reads on.
    const PAUSE: Duration = Duration::from_millis(20);
    /// How much input may pile up unread while the last lines are written.
    const UNREAD: usize = 16 * 1024;

    /// Queues whole commands and writes what the socket takes at once. Returns where they end, in bytes from the
    /// beginning of the connection.
    ///
    /// # Errors
    /// [`Overflow`]: the client can't keep up, close the connection.
    pub fn send(&mut self, lines: Bytes) -> Result<u64, Overflow> {
        self.outbox.push(lines)
    }

    /// What waits to be written.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Whether the socket has taken all that was queued.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Writes what the socket takes without waiting. Call it once after a burst of [`Connection::send`], so that
    /// several lines leave in one write. Returns whether anything was written.
    pub fn flush(&mut self) -> bool {
        let mut wrote = false;
        while !self.outbox.is_empty() && self.can_write() {
            let mut pieces = self.outbox.pieces().peekable();
            if pieces.peek().is_none() {
                break;
            }
            match self.transport.try_write(&mut pieces) {
                Ok(count) => {
                    drop(pieces);
                    self.outbox.advance(count);
                    wrote = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    drop(pieces);
                    // Reading may still find commands that were sent before the end.
                    tracing::debug!(%error, "write failed");
                    // The other side may have closed in order before: that stays the reason of the end.
                    self.unwritable = true;
                    self.end(Ended::Broken(error.kind()));
                }
            }
        }
        wrote
    }

    /// A client that has closed its side, or sent nonsense, may still read what it is owed.
    fn can_write(&self) -> bool {
        !self.is_broken()
    }

    /// Whether it was reset, has timed out or failed otherwise, also after the other side had closed in order.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.unwritable || matches!(self.ended, Some(Ended::Broken(_)))
    }

    fn fill(&mut self) {
        let input = self.input.get_or_insert_with(|| self.pool.take());
        if input.capacity() == input.len() {
            input.reserve(Self::UNREAD.min(input.len().max(1024)));
        }
        match self.transport.try_read(input) {
            Ok(0) => {
                self.end(Ended::Closed);
            }
            Ok(count) => {
                self.bytes_in += count as u64;
                let some_left = input.len() == input.capacity();
                self.note(count, some_left);
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => {
                self.end(Ended::Broken(error.kind()));
            }
        }
        self.release();
    }

    /// So much is surely less than what a kernel takes for a process that does not read.
    const DAM: u32 = 32 * 1024;
    /// A kernel that has held something back sends it once it may: after a silence of so long nothing is held back.
    const SILENCE: Duration = Duration::from_secs(5);

    /// So many bytes were read; `some_left`: there may be more.
    fn note(&mut self, count: usize, some_left: bool) {
        let now = Instant::now();
        self.is_dammed &= now.duration_since(self.read) < Self::SILENCE;
        self.read = now;
        let behind = self.behind.saturating_add(count.try_into().unwrap_or(u32::MAX));
        self.is_dammed |= behind >= Self::DAM;
        self.behind = if some_left { behind } else { 0 };
    }

    fn decode(&mut self) -> Option<Event> {
        if let Some(input) = &mut self.input {
            match self.decoder.decode(input) {
                Ok(Some(command)) => {
                    self.release();
                    return Some(Event::Command(command));
                }
                Ok(None) => self.release(),
                Err(error) => {
                    if let FrameError::Foreign(foreign) = error {
                        foreigners::note(self.transport.peer(), foreign);
                    }
                    self.ended = Some(Ended::Malformed(error));
                    self.input = None;
                }
            }
        }
        self.ended.clone().map(Event::Ended)
    }

    /// Gives the buffer back once nothing is left in it.
    fn release(&mut self) {
        if let Some(input) = self.input.take_if(|input| input.is_empty()) {
            self.pool.give_back(input);
        }
    }

    /// The first reason counts. Always false, for the caller's convenience.
    fn end(&mut self, how: Ended) -> bool {
        self.ended.get_or_insert(how);
        false
    }

    /// Bytes written to the transport since the connection began.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.outbox.written()
    }

    /// Bytes that the other side has confirmed.
    #[must_use]
    pub fn confirmed(&self) -> u64 {
        self.transport.confirmed()
    }

    /// Bytes read since the connection began: it rises while the other side is alive and talking.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in
    }

    /// Bytes that have arrived from the other side, read or not; never too few.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.bytes_in.saturating_add(self.transport.unread())
    }

    /// How long ago the other side last sent something, whether it is read or not: rather too long than too short. Nothing if that
    /// can't be known, since it has sent more at once than a kernel takes.
    ///
    /// When a command is *handled* says nothing of that: it may have waited, while this process was stopped or its session waited
    /// for the store.
    #[must_use]
    pub fn last_sent(&self) -> Option<Duration> {
        let unread = self.transport.unread();
        if self.is_dammed || unread >= Self::DAM.into() {
            return None;
        }
        let arrival = self.transport.last_arrival()?;
        // The kernel's count begins anew after 49 days. What is read has not come after it was.
        Some(if unread == 0 { arrival.max(self.read.elapsed()) } else { arrival })
    }

    /// Where the last command that [`Connection::event`] reported ends, in bytes from the beginning of the input.
    #[must_use]
    pub fn consumed(&self) -> u64 {
        self.bytes_in - self.input.as_ref().map_or(0, |input| input.len() as u64)
    }

    /// No more will be written; reading goes on.
    pub fn close_write(&mut self) {
        self.transport.close_write();
    }

    /// The client's address.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.transport.peer()
    }

    /// Whether there is a proxy between: what it confirms, and how it ends the connection, is then not the client's.
    #[must_use]
    pub fn is_by_proxy(&self) -> bool {
        self.transport.is_by_proxy()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msnp::Service;
    use std::sync::Mutex;
    use std::task::Context;

    use super::super::transport::Ready;

    /// A client that has closed its side and then gone away.
    struct Gone;

    impl Transport for Gone {
        fn poll_ready(&mut self, _: &mut Context<'_>, write: bool) -> Poll<io::Result<Ready>> {
            Poll::Ready(Ok(Ready { readable: true, writable: write }))
        }
        fn poll_writable(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_hang_up(&mut self, _: &mut Context<'_>) -> Poll<HangUp> {
            Poll::Ready(HangUp::Closed)
        }
        fn try_read(&mut self, _: &mut BytesMut) -> io::Result<usize> {
            Ok(0)
        }
        fn try_write(&mut self, _: &mut dyn Iterator<Item = &Bytes>) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn confirmed(&self) -> u64 {
            0
        }
        fn unread(&self) -> u64 {
            0
        }
        fn last_arrival(&self) -> Option<Duration> {
            None
        }
        fn close_write(&mut self) {}
        fn peer(&self) -> SocketAddr {
            ([127, 0, 0, 1], 1).into()
        }
    }

    /// A client that takes whatever it is given, and notes what came at a time.
    struct Noting(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Transport for Noting {
        fn poll_ready(&mut self, _: &mut Context<'_>, write: bool) -> Poll<io::Result<Ready>> {
            Poll::Ready(Ok(Ready { readable: false, writable: write }))
        }
        fn poll_writable(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_hang_up(&mut self, _: &mut Context<'_>) -> Poll<HangUp> {
            Poll::Pending
        }
        fn try_read(&mut self, _: &mut BytesMut) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
        fn try_write(&mut self, pieces: &mut dyn Iterator<Item = &Bytes>) -> io::Result<usize> {
            let taken: Vec<u8> = pieces.flat_map(|piece| piece.to_vec()).collect();
            let count = taken.len();
            self.0.lock().unwrap().push(taken);
            Ok(count)
        }
        fn confirmed(&self) -> u64 {
            0
        }
        fn unread(&self) -> u64 {
            0
        }
        fn last_arrival(&self) -> Option<Duration> {
            None
        }
        fn close_write(&mut self) {}
        fn peer(&self) -> SocketAddr {
            ([127, 0, 0, 1], 1).into()
        }
    }

    /// A client that has sent something, of which a kernel has taken a part.
    #[derive(Clone, Default)]
    struct Sending(Arc<Mutex<(usize, Option<Instant>)>>);

    impl Sending {
        fn sends(&self, bytes: usize) {
            *self.0.lock().unwrap() = (bytes, Some(Instant::now()));
        }
    }

    impl Transport for Sending {
        fn poll_ready(&mut self, _: &mut Context<'_>, _: bool) -> Poll<io::Result<Ready>> {
            let readable = self.0.lock().unwrap().0 > 0;
            if readable { Poll::Ready(Ok(Ready { readable, writable: false })) } else { Poll::Pending }
        }
        fn poll_writable(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
        fn poll_hang_up(&mut self, _: &mut Context<'_>) -> Poll<HangUp> {
            Poll::Pending
        }
        fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
            let left = &mut self.0.lock().unwrap().0;
            let count = (*left).min(buffer.capacity() - buffer.len());
            buffer.extend_from_slice(&b"PNG\n".repeat(count.div_ceil(4))[..count]);
            *left -= count;
            Ok(count)
        }
        fn try_write(&mut self, _: &mut dyn Iterator<Item = &Bytes>) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
        fn confirmed(&self) -> u64 {
            0
        }
        fn unread(&self) -> u64 {
            self.0.lock().unwrap().0 as u64
        }
        fn last_arrival(&self) -> Option<Duration> {
            self.0.lock().unwrap().1.map(|at| at.elapsed())
        }
        fn close_write(&mut self) {}
        fn peer(&self) -> SocketAddr {
            ([127, 0, 0, 1], 1).into()
        }
    }

    /// The process was stopped, or waited for its store: what came meanwhile is as old as it is.
    #[tokio::test(start_paused = true)]
    async fn what_has_waited_was_sent_when_it_came() {
        let secs = Duration::from_secs;
        let client = Sending::default();
        let decoder = Decoder::new(Service::Notification, 0);
        let mut connection = Connection::new(client.clone(), decoder, Arc::default());
        assert_eq!(connection.last_sent(), None);
        client.sends(4);
        tokio::time::advance(secs(12)).await;
        assert_eq!(connection.last_sent(), Some(secs(12)));
        assert!(matches!(connection.event().await, Event::Command(_)));
        tokio::time::advance(secs(2)).await;
        assert_eq!(connection.last_sent(), Some(secs(14)));
        // Of more than a kernel takes nobody knows when it was sent, until the client has been silent for a while.
        client.sends(64 * 1024);
        assert_eq!(connection.last_sent(), None);
        for _ in 0..16 * 1024 {
            assert!(matches!(connection.event().await, Event::Command(_)));
        }
        for (wait, known) in [(0, None), (4, None), (4, None), (5, Some(secs(0)))] {
            tokio::time::advance(secs(wait)).await;
            client.sends(4);
            assert!(matches!(connection.event().await, Event::Command(_)));
            assert_eq!(connection.last_sent(), known);
        }
    }

    /// Nothing leaves while commands are queued, also the head of a message whose payload comes as a piece of its own; then all
    /// of them leave in one write.
    #[test]
    fn clients_02_whole_commands_leave_at_once() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let decoder = Decoder::new(Service::Switchboard, 1664);
        let mut connection = Connection::new(Noting(Arc::clone(&written)), decoder, Arc::default());
        let payload = Bytes::from(vec![b'x'; 1664]);
        connection.send(Bytes::from_static(b"ACK 1\r\n")).unwrap();
        connection.send(Bytes::from_static(b"MSG alice@example.com Alice 1664\r\n")).unwrap();
        connection.send(payload.clone()).unwrap();
        connection.send(Bytes::from_static(b"BYE alice@example.com\r\n")).unwrap();
        assert!(written.lock().unwrap().is_empty());
        assert!(connection.flush());
        let all = [&b"ACK 1\r\nMSG alice@example.com Alice 1664\r\n"[..], &payload, b"BYE alice@example.com\r\n"];
        assert_eq!(*written.lock().unwrap(), [all.concat()]);
    }

    /// It used to go round for ever: the end of the input hid that of the output.
    #[tokio::test]
    async fn a_write_that_fails_behind_the_end_of_the_input_ends() {
        let decoder = Decoder::new(Service::Switchboard, 1664);
        let mut connection = Connection::new(Gone, decoder, Arc::default());
        assert!(matches!(connection.event().await, Event::Ended(Ended::Closed)));
        connection.send(Bytes::from_static(b"BYE bob@example.com\r\n")).unwrap();
        assert!(!connection.flush());
        assert!(connection.is_broken());
        connection.drain().await;
        assert!(matches!(connection.event().await, Event::Ended(Ended::Closed)));
    }
}
