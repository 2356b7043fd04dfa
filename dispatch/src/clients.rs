//! The client connections: each is a task that drives one [`Session`].

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use common::cluster::View;
use common::msnp::{Decoder, Service};
use common::net::{Accepted, BufferPool, Connection, Ended, Event, Listener, Shutdown, Stranger, Transport};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument;

use crate::balance::Balance;
use crate::metrics::Metrics;
use crate::session::{Desk, End, Session, Step};

/// `USR` must come within so long of the connection, and a proxy's header before it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// After the last line the client has so long to read it and close.
const GRACE: Duration = Duration::from_secs(2);
/// What a client may still send in that time before the connection is cut.
const MAX_UNHEARD: u64 = 16 * 1024;

/// What all client connections share.
pub(crate) struct Clients {
    desk: Desk,
    view: watch::Receiver<Arc<View>>,
    balance: Mutex<Balance>,
    pool: Arc<BufferPool>,
    metrics: Metrics,
}

/// Why a connection ended: what the session says, or what only the driver sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Session(End),
    /// Nothing that ends the session came in time.
    TimedOut,
    /// The client closed first.
    Gone,
    /// It sent what is no command.
    Malformed,
    /// It had not been answered, and another one needed its place.
    GaveWay,
    /// The process is being stopped.
    Shutdown,
}

impl Over {
    fn label(self) -> &'static str {
        match self {
            Self::Session(End::Redirected) => "redirected",
            Self::Session(End::NoneAlive) => "none_alive",
            Self::Session(End::BadHandle) => "bad_handle",
            Self::Session(End::WrongScheme) => "wrong_scheme",
            Self::Session(End::NoDialect) => "no_dialect",
            Self::Session(End::Out) => "out",
            Self::Session(End::Refused(_)) => "refused",
            Self::TimedOut => "timed_out",
            Self::Gone => "gone",
            Self::Malformed => "malformed",
            Self::GaveWay => "gave_way",
            Self::Shutdown => "shutdown",
        }
    }
}

impl Clients {
    /// Nobody is connected. Notification nodes are chosen from `view`.
    pub(crate) fn new(desk: Desk, view: watch::Receiver<Arc<View>>, metrics: Metrics) -> Arc<Self> {
        let balance = Balance::new(Instant::now()).counting(metrics.passed_over.clone());
        let (balance, pool) = (Mutex::new(balance), Arc::default());
        Arc::new(Self { desk, view, balance, pool, metrics })
    }

    /// Serves clients until shutdown. All of them are strangers to the end: none signs in here.
    pub(crate) async fn serve(self: Arc<Self>, mut listener: Listener, shutdown: Shutdown) {
        let mut id = 0_u64;
        loop {
            let Accepted { transport, admission, stranger, came } = tokio::select! {
                accepted = listener.accept() => accepted,
                () = shutdown.begun() => return,
            };
            id += 1;
            let span = tracing::info_span!("conn", id, peer = %transport.peer());
            let (clients, until) = (Arc::clone(&self), shutdown.clone());
            let talk = async move {
                clients.metrics.connections.inc();
                clients.talk(transport, &stranger, came, &until).await;
                clients.metrics.connections.dec();
                drop((stranger, admission));
            };
            shutdown.spawn(talk.instrument(span));
        }
    }

    /// How many clients are connected.
    pub(crate) fn count(&self) -> u64 {
        u64::try_from(self.metrics.connections.get()).unwrap_or_default()
    }

    async fn talk(&self, transport: impl Transport, stranger: &Stranger, came: Instant, shutdown: &Shutdown) {
        let decoder = Decoder::new(Service::Dispatch, 0);
        let mut connection = Connection::new(transport, decoder, Arc::clone(&self.pool));
        let deadline = came + PATIENCE;
        let over = stranger.until_gone(pin!(self.converse(&mut connection, deadline, shutdown))).await;
        let over = over.unwrap_or(Over::GaveWay);
        self.metrics.ended(over.label());
        tracing::debug!(?over, "closing");
        if !matches!(over, Over::Gone | Over::GaveWay) {
            // Who has been answered goes behind those who have not. It gives way too, or whoever asks and never closes would shut
            // the port.
            stranger.waits();
            stranger.until_gone(pin!(timeout(GRACE, hang_up(&mut connection)))).await;
        }
    }

    async fn converse<T: Transport>(
        &self,
        connection: &mut Connection<T>,
        deadline: Instant,
        shutdown: &Shutdown,
    ) -> Over {
        let mut session = Session::new();
        loop {
            let event = tokio::select! {
                event = timeout_at(deadline, connection.event()) => event,
                () = shutdown.begun() => {
                    let _ = connection.send(Bytes::from_static(b"OUT SSD\r\n"));
                    return Over::Shutdown;
                }
            };
            let (line, over) = match event {
                Err(_) => return Over::TimedOut,
                Ok(Event::Written) => continue,
                Ok(Event::Ended(Ended::Malformed(_))) => return Over::Malformed,
                Ok(Event::Ended(_)) => return Over::Gone,
                Ok(Event::Command(command)) => match session.handle(&command, &self.desk, || self.assign()) {
                    Step::Reply(line) => (Some(line), None),
                    Step::Last(line, end) => (Some(line), Some(end)),
                    Step::Close(end) => (None, Some(end)),
                },
            };
            if line.is_some_and(|line| connection.send(line).is_err()) {
                return Over::Gone;
            }
            if let Some(end) = over {
                return Over::Session(end);
            }
        }
    }

    /// The address of the notification node that the next client is sent to.
    fn assign(&self) -> Option<SocketAddr> {
        let view = Arc::clone(&self.view.borrow());
        // Without randomness the first of equals is taken: loads still even out.
        let random = getrandom::u64().unwrap_or_default();
        let mut balance = self.balance.lock().unwrap_or_else(PoisonError::into_inner);
        balance.assign(&view, Instant::now(), random).map(|node| node.client_addr)
    }
}

/// Writes what is left, says that no more comes, and reads until the client has closed too: closing with input
/// unread would reset the connection, and the client might never read its last line.
async fn hang_up<T: Transport>(connection: &mut Connection<T>) {
    connection.drain().await;
    connection.close_write();
    while connection.bytes_in() < MAX_UNHEARD {
        if let Event::Ended(_) = connection.event().await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::notifier;
    use common::net::AddressLimiter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    struct World {
        clients: Arc<Clients>,
        addr: SocketAddr,
        shutdown: Shutdown,
        view: watch::Sender<Arc<View>>,
    }

    async fn world(most: usize) -> World {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), AddressLimiter::new(100)).await.unwrap();
        let listener = listener.with_strangers(most);
        let addr = listener.addr().unwrap();
        let (view, watch) = watch::channel(Arc::new(View::new([notifier("ns", 0, 10)])));
        let (download_url, info_url) = ("http://a/".into(), "http://b/".into());
        let desk = Desk { here: addr, download_url, info_url, clear_text: false };
        let (clients, shutdown) = (Clients::new(desk, watch, Metrics::default()), Shutdown::default());
        shutdown.spawn(Arc::clone(&clients).serve(listener, shutdown.clone()));
        World { clients, addr, shutdown, view }
    }

    async fn rest(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        timeout(Duration::from_secs(60), stream.read_to_string(&mut text)).await.unwrap().unwrap();
        text
    }

    #[tokio::test]
    async fn redirects_whether_commands_come_at_once_or_byte_by_byte() {
        let world = world(10).await;
        let script = b"VER 1 MSNP7 CVR0\r\nINF 2\r\nUSR 3 MD5 I alice@example.com\r\nSYN 4 0\r\n";
        let replies = format!("VER 1 MSNP7 CVR0\r\nINF 2 MD5\r\nXFR 3 NS 192.0.2.10:1863 0 {}\r\n", world.addr);
        for size in [1, script.len()] {
            let mut stream = TcpStream::connect(world.addr).await.unwrap();
            stream.set_nodelay(true).unwrap();
            for piece in script.chunks(size) {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            assert_eq!(rest(&mut stream).await, replies);
        }
        assert_eq!(world.clients.metrics.ends("redirected"), 2);
        world.view.send_replace(Arc::default());
        let mut stream = TcpStream::connect(world.addr).await.unwrap();
        stream.write_all(&script[..script.len() - 9]).await.unwrap();
        assert!(rest(&mut stream).await.ends_with("\r\n601 3\r\n"));
        assert_eq!(world.clients.metrics.ends("none_alive"), 1);
    }

    #[tokio::test]
    async fn nonsense_is_closed_without_a_word() {
        let world = world(10).await;
        let long = "VER 1 ".to_owned() + &"x".repeat(3000);
        let empty = "\r\n".repeat(17);
        for nonsense in [empty.as_str(), "GET / HTTP/1.1\r\n", "ver 1 MSNP7\r\n", "VER 1 MSNP7\0\r\n", &long] {
            let mut stream = TcpStream::connect(world.addr).await.unwrap();
            stream.write_all(nonsense.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            // A reset is as good as an end here.
            let _ = timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap();
            assert_eq!(answer, b"", "{nonsense:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_closed_after_fifteen_seconds() {
        let world = world(10).await;
        let (start, mut stream) = (Instant::now(), TcpStream::connect(world.addr).await.unwrap());
        stream.write_all(b"VER 1 MSNP7\r\n").await.unwrap();
        let mut line = [0; 13];
        stream.read_exact(&mut line).await.unwrap();
        assert_eq!(rest(&mut stream).await, "");
        assert!((14..=17).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        assert_eq!(world.clients.metrics.ends("timed_out"), 1);
    }

    #[tokio::test]
    async fn the_oldest_gives_way_to_one_too_many_and_shutdown_says_so() {
        let world = world(1).await;
        let mut line = [0; 13];
        let mut silent = TcpStream::connect(world.addr).await.unwrap();
        let mut slow = TcpStream::connect(world.addr).await.unwrap();
        slow.write_all(b"VER 1 MSNP7\r\n").await.unwrap();
        slow.read_exact(&mut line).await.unwrap();
        assert_eq!(rest(&mut silent).await, "");
        // It has all that it asked for, and does not close.
        slow.write_all(b"INF 2\r\nUSR 3 MD5 I alice@example.com\r\n").await.unwrap();
        assert!(rest(&mut slow).await.contains("XFR 3 NS"));
        let mut last = TcpStream::connect(world.addr).await.unwrap();
        last.write_all(b"VER 1 MSNP7\r\n").await.unwrap();
        last.read_exact(&mut line).await.unwrap();
        let metrics = &world.clients.metrics;
        assert_eq!((metrics.ends("gave_way"), metrics.ends("redirected")), (1, 1));
        world.shutdown.begin();
        assert_eq!(rest(&mut last).await, "OUT SSD\r\n");
        drop((slow, last));
        assert_eq!(world.shutdown.finish(Duration::from_secs(5)).await, 0);
        assert_eq!(world.clients.count(), 0);
    }
}
