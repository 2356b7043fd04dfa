//! Bounded accepting, for listeners whose connections are not MSNP.

use std::net::SocketAddr;
use std::time::Duration;

use common::net::{Place, Places, TurnedAway};
use prometheus_client::metrics::counter::Counter;
use tokio::net::{TcpListener, TcpStream};

/// A listening socket that lets in so many connections, and so many from one address.
#[derive(Debug)]
pub(crate) struct Door {
    listener: TcpListener,
    places: Places,
    turned_away: TurnedAway,
}

impl Door {
    /// Lets in up to `most` at once, and up to `per_address` of one address.
    pub(crate) fn new(listener: TcpListener, most: usize, per_address: usize) -> Self {
        Self { listener, places: Places::new(most, per_address), turned_away: TurnedAway::default() }
    }

    /// Counts in that counter the connections that are closed at once.
    pub(crate) fn counting(self, turned_away: Counter) -> Self {
        Self { turned_away: TurnedAway::counting(turned_away), ..self }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system can't say.
    pub(crate) fn addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Waits for the next connection that is let in. Safe to cancel.
    pub(crate) async fn accept(&self) -> (TcpStream, SocketAddr, Place) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => match self.places.take(peer.ip()) {
                    Some(place) => return (stream, peer, place),
                    None => self.turned_away.note(peer, "there are as many as there may be"),
                },
                Err(error) => {
                    // Out of descriptors, most likely. Those that are open go on; new ones wait in the backlog.
                    tracing::warn!(%error, "can't accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}
