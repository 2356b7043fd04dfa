//! Listening sockets.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// As many connections may wait to be accepted: when everybody comes back at once, after a restart, nobody's first packet
/// is dropped and sent again a second later. The system may have a smaller bound (`net.core.somaxconn`).
const BACKLOG: u32 = 1024;

/// Listens on an address; port 0 chooses one.
///
/// # Errors
/// When the address can't be bound.
pub fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of an earlier life that are still being closed must not keep the port.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn hundreds_may_come_before_the_first_is_accepted() {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let addr = listener.local_addr().unwrap();
        // A packet that is dropped is sent again after a second. Those of the standard library wait at most 128.
        let come = |_| TcpStream::connect_timeout(&addr, Duration::from_millis(900)).unwrap();
        let waiting: Vec<_> = (0..400).map(come).collect();
        drop(waiting);
    }
}
