//! TCP as a [`Transport`].

use std::io::{self, IoSlice, Read as _};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::transport::{HangUp, Ready, Transport};

/// At most this much of what was written waits unsent in the kernel: the rest stays where it can be counted.
const NOT_SENT_LOW_WATER: u32 = 16 * 1024;
/// A peer that confirms nothing for so long is gone.
const USER_TIMEOUT: Duration = Duration::from_secs(20);
/// A silent peer is asked whether it is there after so long, and then every third of it.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Pieces in one system call.
const MAX_PIECES: usize = 32;

/// A client's TCP connection.
#[derive(Debug)]
pub struct TcpTransport {
    stream: TcpStream,
    peer: SocketAddr,
    by_proxy: bool,
    /// tokio was told that there is nothing to read, so that it says when something more comes: there may be.
    passed_over: bool,
}

impl TcpTransport {
    /// Takes over an accepted connection and sets what every client socket has: no delay, a bound on unsent
    /// bytes, time-outs for peers that are gone.
    ///
    /// # Errors
    /// When the socket is already dead.
    pub fn new(stream: TcpStream, peer: SocketAddr) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        let keep_alive = TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE / 3).with_retries(3);
        socket.set_tcp_keepalive(&keep_alive)?;
        set_not_sent_low_water(&stream)?;
        Ok(Self { stream, peer, by_proxy: false, passed_over: false })
    }

    /// Whether there is a proxy between.
    #[must_use]
    pub fn by_proxy(self, by_proxy: bool) -> Self {
        Self { by_proxy, ..self }
    }
}

impl Transport for TcpTransport {
    fn poll_ready(&mut self, cx: &mut Context<'_>, write: bool) -> Poll<io::Result<Ready>> {
        let mut ready = Ready { readable: self.passed_over, writable: false };
        if !ready.readable
            && let Poll::Ready(outcome) = self.stream.poll_read_ready(cx)
        {
            outcome?;
            ready.readable = true;
        }
        if write && let Poll::Ready(outcome) = self.stream.poll_write_ready(cx) {
            outcome?;
            ready.writable = true;
        }
        if ready == Ready::default() { Poll::Pending } else { Poll::Ready(Ok(ready)) }
    }

    fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_write_ready(cx)
    }

    fn poll_hang_up(&mut self, cx: &mut Context<'_>) -> Poll<HangUp> {
        loop {
            match self.stream.poll_read_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(HangUp::Broken),
                Poll::Ready(Ok(())) => {}
            }
            match TcpInfo::of(&self.stream).map(|info| info.state) {
                Ok(TcpInfo::CLOSE_WAIT) => return Poll::Ready(HangUp::Closed),
                Ok(state) if state != TcpInfo::CLOSED => {}
                _ => return Poll::Ready(HangUp::Broken),
            }
            // There are bytes, and no end yet. Whoever waits is to be told of the next thing that happens.
            self.passed_over = true;
            let _ =
                self.stream.try_io(Interest::READABLE, || io::Result::<()>::Err(io::ErrorKind::WouldBlock.into()));
        }
    }

    fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        if !self.passed_over {
            return self.stream.try_read_buf(buffer);
        }
        // tokio does not know that there is something, so the socket itself is asked, until nothing is left.
        let (len, all) = (buffer.len(), buffer.capacity());
        buffer.resize(all, 0);
        let socket = SockRef::from(&self.stream);
        let outcome = (&*socket).read(&mut buffer[len..]);
        buffer.truncate(len + outcome.as_ref().copied().unwrap_or_default());
        if outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.passed_over = false;
        }
        outcome
    }

    fn try_write(&mut self, pieces: &mut dyn Iterator<Item = &Bytes>) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); MAX_PIECES];
        let mut count = 0;
        for (slot, piece) in slices.iter_mut().zip(pieces) {
            *slot = IoSlice::new(piece);
            count += 1;
        }
        self.stream.try_write_vectored(&slices[..count])
    }

    fn confirmed(&self) -> u64 {
        // A socket that can't be asked has confirmed nothing: the message comes again, and is not lost.
        TcpInfo::of(&self.stream).map_or(0, |info| info.bytes_acked)
    }

    fn unread(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.stream).unwrap_or(u64::MAX)
    }

    fn last_arrival(&self) -> Option<Duration> {
        TcpInfo::of(&self.stream).ok().map(|info| Duration::from_millis(info.last_data_recv.into()))
    }

    fn close_write(&mut self) {
        // An error means that it is closed already.
        let _ = self.stream.try_io(Interest::WRITABLE, || SockRef::from(&self.stream).shutdown(Shutdown::Write));
    }

    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn is_by_proxy(&self) -> bool {
        self.by_proxy
    }
}

fn set_not_sent_low_water(stream: &TcpStream) -> io::Result<()> {
    let bytes = NOT_SENT_LOW_WATER;
    // SAFETY: the descriptor is open for as long as `stream` is borrowed, and the option's value is a live u32
    // whose size is given.
    let outcome = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_NOTSENT_LOWAT,
            (&raw const bytes).cast(),
            size_of_val(&bytes) as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What is needed of Linux' `struct tcp_info` (`include/uapi/linux/tcp.h`; all of it since 4.1). libc's own structure ends
/// before `tcpi_bytes_acked`.
struct TcpInfo {
    /// `tcpi_state`.
    state: u8,
    /// `tcpi_last_data_recv`: how many milliseconds ago the kernel last took bytes from the other side. It counts while this
    /// process does not run. What comes twice, and keep-alives, are no bytes.
    last_data_recv: u32,
    /// `tcpi_bytes_acked`.
    bytes_acked: u64,
}

impl TcpInfo {
    /// The connection is over (`TCP_CLOSE`).
    const CLOSED: u8 = 7;
    /// The other side has closed its side, this one has not (`TCP_CLOSE_WAIT`).
    const CLOSE_WAIT: u8 = 8;

    fn of(stream: &TcpStream) -> io::Result<Self> {
        const LAST_DATA_RECV: usize = 52;
        const ACKED: usize = 120;
        const LEN: usize = ACKED + size_of::<u64>();
        let mut info = [0u8; LEN];
        let mut len = LEN as libc::socklen_t;
        // SAFETY: the descriptor is open for as long as `stream` is borrowed; the kernel writes at most `len` bytes
        // into `info`, which is `LEN` bytes long, and says in `len` how many it wrote.
        let outcome = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                info.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        if outcome != 0 {
            return Err(io::Error::last_os_error());
        }
        if (len as usize) < LEN {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "this kernel does not count confirmed bytes"));
        }
        let (mut acked, mut last) = ([0; 8], [0; 4]);
        acked.copy_from_slice(&info[ACKED..]);
        last.copy_from_slice(&info[LAST_DATA_RECV..LAST_DATA_RECV + size_of::<u32>()]);
        let (last_data_recv, bytes_acked) = (u32::from_ne_bytes(last), u64::from_ne_bytes(acked));
        Ok(Self { state: info[0], last_data_recv, bytes_acked })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn counts_what_the_other_side_has_confirmed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let mut transport = TcpTransport::new(stream, peer).unwrap();
        assert_eq!(transport.confirmed(), 0);
        let piece = Bytes::from_static(b"0123456789");
        let pieces = [piece.clone(), piece];
        let mut written = 0;
        while written < 20 {
            std::future::poll_fn(|cx| transport.poll_ready(cx, true)).await.unwrap();
            match transport.try_write(&mut pieces.iter()) {
                Ok(n) => written += n,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
        assert_eq!(written, 20);
        client.read_exact(&mut [0; 20]).await.unwrap();
        while transport.confirmed() != 20 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn counts_what_has_arrived_and_is_not_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let mut transport = TcpTransport::new(stream, peer).unwrap();
        assert_eq!(transport.unread(), 0);
        client.write_all(b"0123456789").await.unwrap();
        std::future::poll_fn(|cx| transport.poll_ready(cx, false)).await.unwrap();
        assert_eq!(transport.unread(), 10);
        assert_eq!(transport.try_read(&mut BytesMut::with_capacity(4)).unwrap(), 4);
        assert_eq!(transport.unread(), 6);
    }

    /// Of what waits to be read it is known when it came, and reading it changes nothing.
    #[tokio::test]
    async fn knows_when_bytes_have_arrived() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let mut transport = TcpTransport::new(stream, peer).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let before = std::time::Instant::now();
        client.write_all(b"0123456789").await.unwrap();
        std::future::poll_fn(|cx| transport.poll_ready(cx, false)).await.unwrap();
        let came = transport.last_arrival().unwrap();
        assert!(came <= before.elapsed() + Duration::from_millis(20), "{came:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(transport.try_read(&mut BytesMut::with_capacity(20)).unwrap(), 10);
        let came = transport.last_arrival().unwrap();
        assert!(
            came >= Duration::from_millis(480) && came <= before.elapsed() + Duration::from_millis(20),
            "{came:?}"
        );
    }

    /// What was passed over while nobody wanted to read is read afterwards, and what comes behind it; the end of the other
    /// side is seen without reading.
    #[tokio::test]
    async fn hangs_up_behind_what_is_not_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let mut transport = TcpTransport::new(stream, peer).unwrap();
        client.write_all(b"01234").await.unwrap();
        std::future::poll_fn(|cx| transport.poll_ready(cx, false)).await.unwrap();
        let waits = std::future::poll_fn(|cx| transport.poll_hang_up(cx));
        tokio::time::timeout(std::time::Duration::from_millis(20), waits).await.unwrap_err();
        let mut read = BytesMut::with_capacity(32);
        for expected in [4, 1] {
            assert!(std::future::poll_fn(|cx| transport.poll_ready(cx, false)).await.unwrap().readable);
            let mut part = BytesMut::with_capacity(4);
            assert_eq!(transport.try_read(&mut part).unwrap(), expected);
            read.extend_from_slice(&part);
        }
        let kind = transport.try_read(&mut BytesMut::with_capacity(4)).unwrap_err().kind();
        assert_eq!(kind, io::ErrorKind::WouldBlock);
        client.write_all(b"56789").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(std::future::poll_fn(|cx| transport.poll_hang_up(cx)).await, HangUp::Closed);
        while read.len() < 10 {
            std::future::poll_fn(|cx| transport.poll_ready(cx, false)).await.unwrap();
            read.reserve(8);
            transport.try_read(&mut read).unwrap();
        }
        assert_eq!(&read[..], b"0123456789");
        assert_eq!(transport.try_read(&mut read).unwrap(), 0);
    }

    #[tokio::test]
    async fn hangs_up_when_it_is_reset() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let mut transport = TcpTransport::new(stream, peer).unwrap();
        client.write_all(b"01234").await.unwrap();
        std::future::poll_fn(|cx| transport.poll_ready(cx, false)).await.unwrap();
        SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(client);
        assert_eq!(std::future::poll_fn(|cx| transport.poll_hang_up(cx)).await, HangUp::Broken);
    }
}
