//! Accepting clients.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use super::entrance::{Arrival, Entrance};
use super::limiter::{AddressLimiter, Admission};
use super::places::Places;
use super::proxies::Proxies;
use super::stranger::Stranger;
use super::tcp::TcpTransport;
use super::turned_away::TurnedAway;

/// A listening socket for clients.
#[derive(Debug)]
pub struct Listener {
    entrance: Entrance,
    limiter: AddressLimiter,
    strangers: Places,
    turned_away: Arc<TurnedAway>,
}

/// A client that was let in. Its place is free again when `admission` is dropped.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub transport: TcpTransport,
    /// The place among those of its address.
    pub admission: Admission,
    /// The place among those that have not signed in.
    pub stranger: Box<Stranger>,
    /// When it came. What it has to do within a time counts from here.
    pub came: Instant,
}

impl Listener {
    /// Binds an address; port 0 chooses one.
    ///
    /// # Errors
    /// When the address can't be bound; the error says which address.
    pub async fn bind(addr: SocketAddr, limiter: AddressLimiter) -> anyhow::Result<Self> {
        let listener = super::listen(addr).with_context(|| format!("can't listen on {addr}"))?;
        let strangers = Places::new(usize::MAX, usize::MAX);
        Ok(Self { entrance: Entrance::new(listener), limiter, strangers, turned_away: Arc::default() })
    }

    /// Has room for so many clients at once that have not signed in. For one more the oldest of them goes that waits, of the network
    /// of which most wait.
    #[must_use]
    pub fn with_strangers(self, most: usize) -> Self {
        Self { strangers: Places::new(most, most), ..self }
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
        Self { turned_away: Arc::new(TurnedAway::counting(turned_away)), ..self }
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
            let Arrival { stream, peer, by_proxy, came } = self.entrance.next(&self.strangers).await;
            let Some(admission) = self.limiter.admit(peer.ip()) else {
                self.turned_away.note(peer, "its address has as many as it may");
                continue;
            };
            let transport = match TcpTransport::new(stream, peer) {
                Ok(transport) => transport.by_proxy(by_proxy),
                Err(error) => {
                    tracing::debug!(%peer, %error, "client gone before it was accepted");
                    continue;
                }
            };
            if let Some(stranger) = Stranger::at(&self.strangers, peer, &self.turned_away) {
                return Accepted { transport, admission, stranger, came };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    const PATIENCE: Duration = Duration::from_secs(10);

    async fn come(listener: &mut Listener) -> (TcpStream, Accepted) {
        let (client, accepted) = tokio::join!(TcpStream::connect(listener.addr().unwrap()), listener.accept());
        (client.unwrap(), accepted)
    }

    #[tokio::test]
    async fn the_oldest_that_has_not_signed_in_gives_way() {
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), AddressLimiter::new(100)).await.unwrap();
        let turned_away = Counter::default();
        let mut listener = listener.with_strangers(2).counting(turned_away.clone());
        let signed_in = come(&mut listener).await.1;
        drop(signed_in.stranger);
        let signing_in = come(&mut listener).await.1;
        assert!(signing_in.stranger.works());
        let silent = come(&mut listener).await.1;
        let mut newcomer = come(&mut listener).await.1;
        for _ in 0..2 {
            let never = std::pin::pin!(std::future::pending::<()>());
            let gone = timeout(PATIENCE, silent.stranger.until_gone(never)).await.unwrap();
            assert_eq!((gone, turned_away.get()), (None, 1), "it is counted once");
        }
        assert!(!silent.stranger.works(), "too late");
        for kept in [&signing_in, &newcomer] {
            assert_eq!(kept.stranger.until_gone(std::future::ready(())).await, Some(()));
        }

        assert!(newcomer.stranger.works());
        let address = listener.addr().unwrap();
        let accept = async { newcomer = listener.accept().await };
        let (mut one_too_many, mut accept) = (TcpStream::connect(address).await.unwrap(), std::pin::pin!(accept));
        let refused = tokio::io::AsyncReadExt::read_u8(&mut one_too_many);
        tokio::select! {
            refused = timeout(PATIENCE, refused) => assert!(refused.unwrap().is_err()),
            () = &mut accept => panic!("all work"),
        }
        assert_eq!(turned_away.get(), 2);
        drop(signing_in);
        let _next = TcpStream::connect(address).await.unwrap();
        timeout(PATIENCE, accept).await.unwrap();
    }

    /// Whoever gives way has his file open until his task has run, which may be a while in a burst.
    #[tokio::test]
    async fn a_burst_opens_no_more_files_than_there_are_places() {
        const BURST: usize = 200;
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), AddressLimiter::new(BURST)).await.unwrap();
        let mut listener = listener.with_strangers(2);
        let mut clients = Vec::new();
        for _ in 0..BURST {
            clients.push(TcpStream::connect(listener.addr().unwrap()).await.unwrap());
        }
        let (open, mut most) = (Arc::new(()), 0);
        for _ in 0..BURST {
            let accepted = timeout(PATIENCE, listener.accept()).await.unwrap();
            let held = Arc::clone(&open);
            most = most.max(Arc::strong_count(&open) - 1);
            tokio::spawn(async move {
                let Accepted { transport, stranger, .. } = accepted;
                stranger.until_gone(std::pin::pin!(std::future::pending::<()>())).await;
                for _ in 0..50 {
                    tokio::task::yield_now().await;
                }
                drop(transport);
                drop(held);
                drop(stranger);
            });
        }
        assert!(most <= 20, "{most} were open at once");
    }
}
