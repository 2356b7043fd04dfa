//! Accepting clients.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use super::entrance::{Arrival, Entrance};
use super::limiter::{AddressLimiter, Admission};
use super::proxies::Proxies;
use super::tcp::TcpTransport;
use super::turned_away::TurnedAway;

/// A listening socket for clients.
#[derive(Debug)]
pub struct Listener {
    entrance: Entrance,
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
    /// When it came. What it has to do within a time counts from here.
    pub came: Instant,
}

impl Listener {
    /// Binds an address; port 0 chooses one.
    ///
    /// # Errors
    /// When the address can't be bound; the error says which address.
    pub async fn bind(addr: SocketAddr, limiter: AddressLimiter) -> anyhow::Result<Self> {
        let listener = super::listen(addr).map_err(|error| anyhow::anyhow!("can't listen on {addr}: {error}"))?;
        Ok(Self { entrance: Entrance::new(listener), limiter, turned_away: TurnedAway::default() })
    }

    /// Believes these proxies. `header`: their connections must begin with a PROXY header, within so long.
    #[must_use]
    pub fn behind(self, proxies: Proxies, header: Option<Duration>) -> Self {
        Self { entrance: self.entrance.behind(proxies, header), ..self }
    }

    /// Counts in that counter the connections that are closed at once.
    #[must_use]
    pub fn counting(mut self, turned_away: Counter) -> Self {
        self.entrance.count(turned_away.clone());
        Self { turned_away: TurnedAway::counting(turned_away), ..self }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system can't say.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.entrance.addr()
    }

    /// Waits for the next client that is let in; those beyond the limits are closed at once. Safe to cancel.
    pub async fn accept(&mut self) -> Accepted {
        loop {
            let Arrival { stream, peer, by_proxy, came } = self.entrance.next().await;
            let Some(admission) = self.limiter.admit(peer.ip()) else {
                self.turned_away.note(peer, "its address has as many as it may");
                continue;
            };
            match TcpTransport::new(stream, peer) {
                Ok(transport) => return Accepted { transport: transport.by_proxy(by_proxy), admission, came },
                Err(error) => tracing::debug!(%peer, %error, "client gone before it was accepted"),
            }
        }
    }
}
