//! Bounded accepting, for listeners whose connections are not MSNP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::net::{AddressLimiter, Admission};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A listening socket that lets in so many connections, and so many from one address. Others are closed at once.
#[derive(Debug)]
pub(crate) struct Door {
    listener: TcpListener,
    limiter: AddressLimiter,
    places: Arc<Semaphore>,
}

/// A connection's place; dropping it makes room.
#[derive(Debug)]
pub(crate) struct Place {
    _of_its_address: Admission,
    _of_all: OwnedSemaphorePermit,
}

impl Door {
    /// Lets in up to `most` at once, and up to `per_address` of one address.
    pub(crate) fn new(listener: TcpListener, most: usize, per_address: usize) -> Self {
        let places = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self { listener, limiter: AddressLimiter::new(per_address), places }
    }

    /// Another socket, whose connections are counted together with those of this one.
    pub(crate) fn beside(&self, listener: TcpListener) -> Self {
        Self { listener, limiter: self.limiter.clone(), places: Arc::clone(&self.places) }
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
                Ok((stream, peer)) => match self.place(peer) {
                    Some(place) => return (stream, peer, place),
                    None => tracing::debug!(%peer, "too many connections"),
                },
                Err(error) => {
                    // Out of descriptors, most likely. Those that are open go on; new ones wait in the backlog.
                    tracing::warn!(%error, "can't accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn place(&self, peer: SocketAddr) -> Option<Place> {
        let of_its_address = self.limiter.admit(peer.ip())?;
        let of_all = Arc::clone(&self.places).try_acquire_owned().ok()?;
        Some(Place { _of_its_address: of_its_address, _of_all: of_all })
    }
}
