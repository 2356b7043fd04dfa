//! TCP as a [`Transport`].

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::transport::{Ready, Transport};

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
        Ok(Self { stream, peer })
    }
}

impl Transport for TcpTransport {
    fn poll_ready(&mut self, cx: &mut Context<'_>, write: bool) -> Poll<io::Result<Ready>> {
        let mut ready = Ready::default();
        if let Poll::Ready(outcome) = self.stream.poll_read_ready(cx) {
            outcome?;
            ready.readable = true;
        }
        if write && let Poll::Ready(outcome) = self.stream.poll_write_ready(cx) {
            outcome?;
            ready.writable = true;
        }
        if ready == Ready::default() { Poll::Pending } else { Poll::Ready(Ok(ready)) }
    }

    fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        self.stream.try_read_buf(buffer)
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
        bytes_acked(&self.stream).unwrap_or(0)
    }

    fn unread(&self) -> u64 {
        rustix::io::ioctl_fionread(&self.stream).unwrap_or(u64::MAX)
    }

    fn close_write(&mut self) {
        // An error means that it is closed already.
        let _ = self.stream.try_io(Interest::WRITABLE, || SockRef::from(&self.stream).shutdown(Shutdown::Write));
    }

    fn peer(&self) -> SocketAddr {
        self.peer
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

/// `tcpi_bytes_acked` of Linux' `struct tcp_info` (`include/uapi/linux/tcp.h`, since 4.1). libc's own structure
/// ends before it.
fn bytes_acked(stream: &TcpStream) -> io::Result<u64> {
    const OFFSET: usize = 120;
    const LEN: usize = OFFSET + size_of::<u64>();
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
    let mut acked = [0; 8];
    acked.copy_from_slice(&info[OFFSET..]);
    Ok(u64::from_ne_bytes(acked))
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
}
