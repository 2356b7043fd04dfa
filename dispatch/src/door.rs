//! Bounded accepting, for listeners whose connections are not MSNP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::net::{Arrival, Entrance, Place, Places, Proxies, TurnedAway};
use prometheus_client::metrics::counter::Counter;
use tokio::net::TcpListener;

/// A listening socket that lets in so many connections, and so many from one address.
#[derive(Debug)]
pub(crate) struct Door {
    entrance: Entrance,
    places: Arc<Places>,
    /// Those whose connections carry what many others ask.
    for_many: Proxies,
    turned_away: Arc<TurnedAway>,
}

impl Door {
    /// Lets in up to `most` at once, and up to `per_address` of one address.
    pub(crate) fn new(listener: TcpListener, most: usize, per_address: usize) -> Self {
        let places = Arc::new(Places::new(most, per_address));
        Self {
            entrance: Entrance::new(listener),
            places,
            for_many: Proxies::default(),
            turned_away: Arc::default(),
        }
    }

    /// Believes these proxies. `header`: their connections must begin with a PROXY header, within so long.
    pub(crate) fn behind(self, proxies: Proxies, header: Option<Duration>) -> Self {
        Self { entrance: self.entrance.behind(proxies, header), ..self }
    }

    /// Doesn't bound connections by the addresses of these, since each may carry what many others ask. Whoever serves those
    /// bounds their requests: see [`Places::admit`].
    pub(crate) fn for_many(self, proxies: Proxies) -> Self {
        Self { for_many: proxies, ..self }
    }

    /// Counts in that counter the connections that are closed at once.
    pub(crate) fn counting(mut self, turned_away: Counter) -> Self {
        self.entrance.count(turned_away.clone());
        Self { turned_away: Arc::new(TurnedAway::counting(turned_away)), ..self }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system can't say.
    pub(crate) fn addr(&self) -> std::io::Result<SocketAddr> {
        self.entrance.addr()
    }

    /// The places that it gives.
    pub(crate) fn places(&self) -> Arc<Places> {
        Arc::clone(&self.places)
    }

    /// What says that there is no place.
    pub(crate) fn turned_away(&self) -> Arc<TurnedAway> {
        Arc::clone(&self.turned_away)
    }

    /// Waits for the next connection that is let in. Safe to cancel.
    pub(crate) async fn accept(&mut self) -> (Arrival, Place) {
        loop {
            let arrival = self.entrance.next(&self.places).await;
            let address = arrival.peer.ip();
            let place = match self.for_many.contains(address) {
                true => self.places.take_for_many(address),
                false => self.places.take(address),
            };
            match place {
                Some(place) => return (arrival, place),
                None => self.turned_away.note(arrival.peer, "there are as many as there may be"),
            }
        }
    }
}
