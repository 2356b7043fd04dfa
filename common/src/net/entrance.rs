//! Accepting connections, and finding out whose they are.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::places::{Place, Places};
use super::proxies::Proxies;
use super::proxy_header::{self, Fault, Header};
use super::turned_away::TurnedAway;
use crate::telemetry::Seldom;

/// So many connections of proxies may wait for their header at once. One more takes the place of the oldest: what a proxy opens and
/// says nothing on keeps nobody out. Behind the header a connection counts as its client's.
const INTRODUCTIONS: usize = 4096;

/// A listening socket that says of each connection whose it is. No limit has been looked at.
#[derive(Debug)]
pub struct Entrance {
    listener: TcpListener,
    proxies: Proxies,
    header: Option<HeaderRule>,
    introductions: JoinSet<Option<Arrival>>,
    failures: Seldom,
}

/// A connection that has come in.
#[derive(Debug)]
pub struct Arrival {
    /// The connection. Of a header that a proxy has written everything is read, and nothing else.
    pub stream: TcpStream,
    /// The client's address.
    pub peer: SocketAddr,
    /// It came by a proxy: what happens to the connection may have happened to that.
    pub by_proxy: bool,
    /// When it came, before its header was read.
    pub came: Instant,
}

/// That connections of proxies begin with a header.
#[derive(Debug)]
struct HeaderRule {
    /// It must be there within so long.
    patience: Duration,
    waiting: Places,
    refused: Arc<TurnedAway>,
}

impl Entrance {
    /// Nobody is believed to be a proxy.
    #[must_use]
    pub fn new(listener: TcpListener) -> Self {
        let (proxies, introductions) = (Proxies::default(), JoinSet::new());
        Self { listener, proxies, header: None, introductions, failures: Seldom::default() }
    }

    /// Believes these proxies. `header`: their connections must begin with a PROXY header, within so long.
    #[must_use]
    pub fn behind(self, proxies: Proxies, header: Option<Duration>) -> Self {
        let header = header.map(|patience| HeaderRule {
            patience,
            waiting: Places::new(INTRODUCTIONS, INTRODUCTIONS),
            refused: Arc::default(),
        });
        Self { proxies, header, ..self }
    }

    /// Counts in that counter those of proxies that are closed for want of a header.
    pub fn count(&mut self, turned_away: Counter) {
        if let Some(rule) = &mut self.header {
            rule.refused = Arc::new(TurnedAway::counting(turned_away));
        }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system can't say.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Waits for the next connection of which it is known whose it is. The caller's `places` are those that let it in: where files run
    /// out, whoever has them, of theirs some give way. Safe to cancel.
    pub async fn next(&mut self, places: &Places) -> Arrival {
        loop {
            places.settle().await;
            let accepted = tokio::select! {
                // First those that have been here for longer: so they never pile up.
                biased;
                Some(introduced) = self.introductions.join_next() => match introduced {
                    Ok(Some(arrival)) => return arrival,
                    _ => continue,
                },
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let by_proxy = self.proxies.contains(peer.ip());
                    let arrival = Arrival { stream, peer, by_proxy, came: Instant::now() };
                    match &self.header {
                        Some(rule) if by_proxy => {
                            // There is always a place: each one's holder waits.
                            let Some(place) = rule.waiting.take(peer.ip()) else { continue };
                            let (patience, refused) = (rule.patience, Arc::clone(&rule.refused));
                            self.introductions.spawn(introduce(arrival, patience, place, refused));
                            rule.waiting.settle().await;
                        }
                        _ => return arrival,
                    }
                }
                Err(error) => {
                    // Out of descriptors, most likely. Clients that have signed in go on; new ones wait in the backlog.
                    if let Some(left_out) = self.failures.permits() {
                        tracing::warn!(%error, left_out, "can't accept a connection");
                    }
                    places.make_room();
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// Reads the header of a proxy's connection.
async fn introduce(
    mut arrival: Arrival,
    patience: Duration,
    place: Place,
    refused: Arc<TurnedAway>,
) -> Option<Arrival> {
    let read = tokio::select! {
        read = timeout_at(arrival.came + patience, proxy_header::read(&mut arrival.stream)) => read,
        () = place.gone() => {
            refused.note(arrival.peer, "a proxy has opened too many connections without a PROXY header");
            return None;
        }
    };
    let why = match read {
        Ok(Ok(Header::Own)) => return Some(arrival),
        Ok(Ok(Header::Client(peer))) => {
            tracing::debug!(proxy = %arrival.peer, %peer, "passed on");
            return Some(Arrival { peer, ..arrival });
        }
        // Some look so whether we are there, every other second.
        Ok(Err(Fault::Silent)) => return None,
        Ok(Err(Fault::Missing)) => "it comes from proxies.networks and has no PROXY header",
        Ok(Err(Fault::Broken)) => "it comes from proxies.networks and its PROXY header is broken",
        Ok(Err(Fault::TooLong)) => "it comes from proxies.networks and its PROXY header is too long",
        Err(_) => "it comes from proxies.networks and its PROXY header did not come in time",
    };
    refused.note(arrival.peer, why);
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    const PATIENCE: Duration = Duration::from_secs(10);
    const V1: &[u8] = b"PROXY TCP6 2001:db8::1 2001:db8::2 7 8\r\n";

    /// An entrance whose proxies are those of `networks`, and how many it has refused.
    fn entrance(networks: &[&str], patience: Duration) -> (Entrance, Counter) {
        let listener = super::super::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let mut entrance = Entrance::new(listener).behind(Proxies::of(networks).unwrap(), Some(patience));
        let refused = Counter::default();
        entrance.count(refused.clone());
        (entrance, refused)
    }

    async fn next(entrance: &mut Entrance) -> Arrival {
        entrance.next(&Places::new(1, 1)).await
    }

    async fn connect(entrance: &Entrance, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(entrance.addr().unwrap()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// A reset is as good as an end here.
    async fn is_closed(stream: &mut TcpStream) {
        while stream.read_u8().await.is_ok() {}
    }

    #[tokio::test]
    async fn a_client_behind_a_proxy_is_the_client() {
        let (mut entrance, refused) = entrance(&["127.0.0.0/8"], PATIENCE);
        let mut client = connect(&entrance, &[V1, b"VER 1"].concat()).await;
        let mut arrival = timeout(PATIENCE, next(&mut entrance)).await.unwrap();
        assert_eq!((arrival.peer, arrival.by_proxy), ("[2001:db8::1]:7".parse().unwrap(), true));
        let mut rest = [0; 5];
        arrival.stream.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"VER 1");
        arrival.stream.write_all(b"!").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'!');

        let own = connect(&entrance, b"PROXY UNKNOWN\r\n").await;
        let arrival = timeout(PATIENCE, next(&mut entrance)).await.unwrap();
        assert_eq!((arrival.peer, arrival.by_proxy, refused.get()), (own.local_addr().unwrap(), true, 0));
    }

    /// One that says nothing holds up nobody.
    #[tokio::test]
    async fn a_proxy_without_a_header_is_closed_and_counted() {
        let (mut entrance, refused) = entrance(&["127.0.0.1"], PATIENCE);
        let _silent = connect(&entrance, b"").await;
        drop(connect(&entrance, b"").await);
        let mut refusals = 0;
        for bytes in [&b"VER 1 MSNP8 CVR0\r\n"[..], b"PROXY TCP4 1 2 3 4\r\n", &[b'\r'; 4]] {
            let mut bad = connect(&entrance, bytes).await;
            let good = connect(&entrance, V1).await;
            let arrival = timeout(PATIENCE, next(&mut entrance)).await.unwrap();
            assert_eq!(arrival.peer, "[2001:db8::1]:7".parse().unwrap());
            drop((good, arrival));
            tokio::select! {
                closed = timeout(PATIENCE, is_closed(&mut bad)) => closed.unwrap(),
                arrival = next(&mut entrance) => panic!("{arrival:?}"),
            }
            refusals += 1;
            assert_eq!(refused.get(), refusals, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_header_must_come_in_time() {
        let (mut entrance, refused) = entrance(&["127.0.0.1"], Duration::from_millis(20));
        let mut slow = connect(&entrance, b"PROXY").await;
        tokio::select! {
            end = timeout(PATIENCE, is_closed(&mut slow)) => end.unwrap(),
            arrival = next(&mut entrance) => panic!("{arrival:?}"),
        }
        assert_eq!(refused.get(), 1);
    }

    /// From anywhere else it is what the client says.
    #[tokio::test]
    async fn a_header_of_somebody_else_is_left_alone() {
        let (mut entrance, refused) = entrance(&["127.0.0.2", "::/0"], PATIENCE);
        let client = connect(&entrance, V1).await;
        let mut arrival = timeout(PATIENCE, next(&mut entrance)).await.unwrap();
        assert_eq!((arrival.peer, arrival.by_proxy), (client.local_addr().unwrap(), false));
        let mut said = vec![0; V1.len()];
        arrival.stream.read_exact(&mut said).await.unwrap();
        assert_eq!((&said[..], refused.get()), (V1, 0));
    }

    #[tokio::test]
    async fn the_oldest_without_a_header_goes_when_there_are_too_many() {
        let (mut entrance, refused) = entrance(&["127.0.0.1"], PATIENCE);
        if let Some(rule) = &mut entrance.header {
            rule.waiting = Places::new(2, 2);
        }
        let mut strangers = Vec::new();
        for _ in 0..3 {
            strangers.push(connect(&entrance, b"").await);
        }
        tokio::select! {
            closed = timeout(PATIENCE, is_closed(&mut strangers[0])) => closed.unwrap(),
            arrival = next(&mut entrance) => panic!("{arrival:?}"),
        }
        assert_eq!(refused.get(), 1);
        strangers[2].write_all(V1).await.unwrap();
        let arrival = timeout(PATIENCE, next(&mut entrance)).await.unwrap();
        assert_eq!(arrival.peer, "[2001:db8::1]:7".parse().unwrap());
    }
}
