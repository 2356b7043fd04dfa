//! Accepting clients.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

use super::limiter::{AddressLimiter, Admission};
use super::tcp::TcpTransport;

/// A listening socket for clients.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    limiter: AddressLimiter,
}

/// A client that was let in. Its place is free again when `admission` is dropped.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub transport: TcpTransport,
    /// The place among those of its address.
    pub admission: Admission,
}

impl Listener {
    /// Binds an address; port 0 chooses one.
    ///
    /// # Errors
    /// When the address can't be bound; the error says which address.
    pub async fn bind(addr: SocketAddr, limiter: AddressLimiter) -> anyhow::Result<Self> {
        let listener = super::listen(addr).map_err(|error| anyhow::anyhow!("can't listen on {addr}: {error}"))?;
        Ok(Self { listener, limiter })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system can't say.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Waits for the next client that is let in; those beyond the limits are closed at once. Safe to cancel.
    pub async fn accept(&self) -> Accepted {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    let Some(admission) = self.limiter.admit(peer.ip()) else {
                        tracing::debug!(%peer, "too many connections from this address");
                        continue;
                    };
                    match TcpTransport::new(stream, peer) {
                        Ok(transport) => return Accepted { transport, admission },
                        Err(error) => tracing::debug!(%peer, %error, "client gone before it was accepted"),
                    }
                }
                Err(error) => {
                    // Out of descriptors, most likely. Those that are open go on; new ones wait in the backlog.
                    tracing::warn!(%error, "can't accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}
