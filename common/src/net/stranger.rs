//! Connections whose clients have not signed in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::places::{Place, Places};
use super::turned_away::TurnedAway;

/// A connection's place among those that have not signed in. It waits, and gives way to another one, until it is told that it
/// works. Dropping it makes room: who has signed in is none of them.
#[derive(Debug)]
pub struct Stranger {
    place: Place,
    peer: SocketAddr,
    turned_away: Arc<TurnedAway>,
    is_noted: AtomicBool,
}

impl Stranger {
    /// A place for the connection of `peer`, or nothing, which is noted in `turned_away`; so is each one that gives way. Boxed: who
    /// has signed in keeps no room for it.
    #[must_use]
    pub fn at(places: &Places, peer: SocketAddr, turned_away: &Arc<TurnedAway>) -> Option<Box<Self>> {
        let Some(place) = places.take_for_many(peer.ip()) else {
            turned_away.note(peer, "there are as many as there may be");
            return None;
        };
        let turned_away = Arc::clone(turned_away);
        Some(Box::new(Self { place, peer, turned_away, is_noted: AtomicBool::new(false) }))
    }

    /// Its sign-in is being looked at: it keeps its place meanwhile. Whether it still has that; if not, the connection is to be closed.
    #[must_use]
    pub fn works(&self) -> bool {
        self.place.works();
        let is_here = !self.place.is_gone();
        if !is_here {
            self.note();
        }
        is_here
    }

    /// It has been answered and is on its way out, behind all that wait already.
    pub fn waits(&self) {
        self.place.waits();
    }

    /// What comes of `doing`; nothing once another connection has got the place.
    pub async fn until_gone<F: Future + Unpin>(&self, doing: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            done = doing => Some(done),
            () = self.place.gone() => {
                self.note();
                None
            }
        }
    }

    fn note(&self) {
        if !self.is_noted.swap(true, Ordering::Relaxed) {
            self.turned_away.note(self.peer, "it had not signed in, and another one needed its place");
        }
    }
}
