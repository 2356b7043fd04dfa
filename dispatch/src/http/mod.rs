//! The HTTP front, with and without TLS: sign-in for clients from MSN Messenger 5 on (protocol reference §5.5).
//!
//! | file | what |
//! |---|---|
//! | `routes` | what is answered to which request |
//! | `passport` | the headers of Passport 1.4 |
//! | `rst` | tickets by SOAP |
//! | `sign_in`, `recent` | whether a password is right, and the tickets for it |
//! | `forwarded` | whose requests a proxy passes on |
//! | `tls` | the certificate, configured or made for development |
//! | `prelude`, `header_case` | what old clients need and hyper does not do |

mod forwarded;
mod header_case;
mod passport;
mod prelude;
mod recent;
mod routes;
mod rst;
mod sign_in;
mod tls;

use std::convert::Infallible;
use std::io::Cursor;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use common::config::{ForwardedHeader, HttpConfig, HttpsConfig};
use common::net::{Arrival, Place, Proxies, Shutdown};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::Instrument;

pub(crate) use routes::Routes;
pub(crate) use sign_in::{Outcome as SignInOutcome, SignIn};
pub(crate) use tls::{Teller, Tls, look as look_at_certificate};

use crate::door::Door;
use forwarded::Forwarding;
use routes::Client;

/// Header lines of a request.
const MAX_HEADERS: usize = 64;
/// A TLS handshake must be over within so long, with the header of a proxy before it.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A connection lives so long at most, however busy it is: whoever still wants something connects again.
const LIFE: Duration = Duration::from_secs(60);
/// A request that is being answered when the connection's time is over may take so long.
const GRACE: Duration = Duration::from_secs(10);

/// An address at which requests come.
#[derive(Debug)]
pub(crate) struct Port {
    door: Door,
    proxies: Proxies,
    forwarded: ForwardedHeader,
}

/// Opens the HTTP address for up to `most` connections at once.
///
/// # Errors
/// When passwords would cross a network in the clear without having been allowed to, or when the address can't be
/// bound; the error names the key.
pub(crate) async fn bind(config: &HttpConfig, most: usize, proxies: &Proxies) -> anyhow::Result<Port> {
    let listen = config.listen;
    anyhow::ensure!(
        listen.ip().to_canonical().is_loopback() || config.allow_plain_beyond_loopback,
        "dispatch.http.listen is {listen}, where passwords would cross a network in the clear: listen on a loopback \
         address behind a proxy that speaks TLS, or set dispatch.http.allow_plain_beyond_loopback = true"
    );
    let listener =
        common::net::listen(listen).with_context(|| format!("dispatch.http.listen: can't listen on {listen}"))?;
    let door = Door::new(listener, most, config.connections_per_address);
    Ok(Port::new(door, proxies, config.proxy_protocol, config.forwarded))
}

/// Opens the HTTPS address for up to `most` connections at once: what fills the one address leaves the other alone.
///
/// # Errors
/// When the address can't be bound; the error names the key.
pub(crate) async fn bind_tls(
    config: &HttpsConfig,
    per_address: usize,
    most: usize,
    proxies: &Proxies,
) -> anyhow::Result<Port> {
    let listen = config.listen;
    let listener =
        common::net::listen(listen).with_context(|| format!("dispatch.https.listen: can't listen on {listen}"))?;
    let door = Door::new(listener, most, per_address);
    Ok(Port::new(door, proxies, config.proxy_protocol, config.forwarded))
}

impl Port {
    fn new(door: Door, proxies: &Proxies, header: bool, forwarded: ForwardedHeader) -> Self {
        let proxies = proxies.clone();
        let door = door.behind(proxies.clone(), header.then_some(HANDSHAKE));
        let door = match forwarded {
            ForwardedHeader::None => door,
            _ => door.for_many(proxies.clone()),
        };
        Self { door, proxies, forwarded }
    }

    /// Counts in that counter the connections and requests that find no place.
    pub(crate) fn counting(self, turned_away: Counter) -> Self {
        Self { door: self.door.counting(turned_away), ..self }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system can't say.
    pub(crate) fn addr(&self) -> std::io::Result<SocketAddr> {
        self.door.addr()
    }

    /// Serves until shutdown, with TLS if there is a certificate.
    pub(crate) async fn serve(self, tls: Option<Arc<Tls>>, routes: Arc<Routes>, shutdown: Shutdown) {
        let Self { mut door, proxies, forwarded } = self;
        let forwarding = Forwarding::new(proxies, forwarded, door.places(), door.turned_away());
        let visitors = Arc::new(Visitors { forwarding, routes });
        loop {
            let (arrival, place) = tokio::select! {
                accepted = door.accept() => accepted,
                () = shutdown.begun() => return,
            };
            let (tls, visitors, until) = (tls.clone(), Arc::clone(&visitors), shutdown.clone());
            let span = tracing::info_span!("http", peer = %arrival.peer, tls = tls.is_some());
            let serve = async move {
                let ended = tokio::select! {
                    ended = connection(arrival, tls.as_deref(), &visitors, &place, &until) => ended,
                    () = place.gone() => Err(anyhow::anyhow!("it waited for a request, and another one needed its place")),
                };
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection failed");
                }
            };
            shutdown.spawn(serve.instrument(span));
        }
    }
}

/// Those who ask, and what answers them.
struct Visitors {
    forwarding: Forwarding,
    routes: Arc<Routes>,
}

impl Visitors {
    /// Answers a request that came over the connection of `asker`.
    async fn answer(&self, request: Request<Incoming>, asker: Asker, place: &Place) -> Response<Full<Bytes>> {
        let Asker { peer, secure, .. } = asker;
        let Some(address) = self.forwarding.client(peer, request.headers()) else {
            return self.routes.answer(request, Client { address: peer, secure }, place).await;
        };
        let Some(_admission) = self.forwarding.admit(address) else { return self.routes.busy() };
        let span = tracing::info_span!("forwarded", client = %address);
        self.routes.answer(request, Client { address, secure }, place).instrument(span).await
    }
}

async fn connection(
    arrival: Arrival,
    tls: Option<&Tls>,
    visitors: &Visitors,
    place: &Place,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let Arrival { stream, peer, came, .. } = arrival;
    let peer = peer.ip().to_canonical();
    stream.set_nodelay(true)?;
    let here = stream.local_addr()?.to_string();
    let Some(tls) = tls else {
        let asker = Asker { peer, secure: false, since: came };
        return exchange(stream, asker, &here, visitors, place, shutdown).await;
    };
    let stream = tokio::select! {
        stream = timeout_at(came + HANDSHAKE, tls.acceptor().accept(stream)) => stream??,
        () = shutdown.begun() => return Ok(()),
    };
    // The name that the client has looked up, if it says so.
    let named = stream.get_ref().1.server_name().map(str::to_owned);
    let asker = Asker { peer, secure: true, since: Instant::now() };
    exchange(stream, asker, &named.unwrap_or(here), visitors, place, shutdown).await
}

/// Whose connection it is.
#[derive(Clone, Copy)]
struct Asker {
    peer: IpAddr,
    /// It speaks TLS.
    secure: bool,
    /// Since when its first request may come.
    since: Instant,
}

/// Answers the requests of a connection. `host` is whom those are for that do not say.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    asker: Asker,
    host: &str,
    visitors: &Visitors,
    place: &Place,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let first = tokio::select! {
        first = prelude::read(&mut stream, host, asker.since) => first,
        () = shutdown.begun() => None,
    };
    let Some(first) = first else { return Ok(()) };
    let (reader, writer) = tokio::io::split(stream);
    let io = tokio::io::join(Cursor::new(first).chain(reader), writer);
    let service = service_fn(|request| async move {
        let answer = visitors.answer(request, asker, place).await;
        place.waits();
        Ok::<_, Infallible>(answer)
    });
    let mut connection = pin!(server().serve_connection(TokioIo::new(io), service));
    tokio::select! {
        ended = connection.as_mut() => return Ok(ended?),
        () = tokio::time::sleep(LIFE) => {}
        () = shutdown.begun() => {}
    }
    connection.as_mut().graceful_shutdown();
    Ok(timeout(GRACE, connection).await??)
}

/// hyper, so that it writes names in the case that [`header_case`] has learnt.
fn server() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(prelude::PATIENCE)
        .max_headers(MAX_HEADERS)
        .max_buf_size(prelude::MAX_HEAD)
        // Whoever has sent a whole request may close its side: the answer is still wanted.
        .half_close(true)
        .preserve_header_case(true)
        .title_case_headers(true);
    builder
}

#[cfg(test)]
mod tests;
