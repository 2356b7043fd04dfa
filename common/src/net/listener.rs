//! Accepting clients.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::net::TcpListener;

use super::limiter::{AddressLimiter, Admission};
use super::tcp::TcpTransport;
use super::turned_away::TurnedAway;

/// A listening socket for clients.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    limiter: AddressLimiter,
    turned_away: TurnedAway,
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
        Ok(Self { listener, limiter, turned_away: TurnedAway::default() })
    }

    /// Counts in that counter the connections that are closed at once.
    #[must_use]
    pub fn counting(self, turned_away: Counter) -> Self {
        Self { turned_away: TurnedAway::counting(turned_away), ..self }
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
                        self.turned_away.note(peer, "its address has as many as it may");
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
