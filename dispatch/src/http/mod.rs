//! The HTTP front, with and without TLS: sign-in for clients from MSN Messenger 5 on (protocol reference §5.5).
//!
//! | file | what |
//! |---|---|
//! | `routes` | what is answered to which request |
//! | `passport` | the headers of Passport 1.4 |
//! | `rst` | tickets by SOAP |
//! | `sign_in`, `recent` | whether a password is right, and the tickets for it |
//! | `tls` | the certificate, configured or made for development |
//! | `prelude`, `header_case` | what old clients need and hyper does not do |

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
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use common::config::{HttpConfig, HttpsConfig};
use common::net::{Place, Shutdown};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::Instrument;

pub(crate) use routes::Routes;
pub(crate) use sign_in::{Outcome as SignInOutcome, SignIn};
pub(crate) use tls::{Teller, Tls, look as look_at_certificate};

use crate::door::Door;
use routes::Client;

/// Header lines of a request.
const MAX_HEADERS: usize = 64;
/// A TLS handshake must be over within so long.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A connection lives so long at most, however busy it is: whoever still wants something connects again.
const LIFE: Duration = Duration::from_secs(60);
/// A request that is being answered when the connection's time is over may take so long.
const GRACE: Duration = Duration::from_secs(10);

/// Opens the HTTP address for up to `most` connections at once.
///
/// # Errors
/// When passwords would cross a network in the clear without having been allowed to, or when the address can't be
/// bound; the error names the key.
pub(crate) async fn bind(config: &HttpConfig, most: usize) -> anyhow::Result<Door> {
    let listen = config.listen;
    anyhow::ensure!(
        listen.ip().to_canonical().is_loopback() || config.allow_plain_beyond_loopback,
        "dispatch.http.listen is {listen}, where passwords would cross a network in the clear: listen on a loopback \
         address behind a proxy that speaks TLS, or set dispatch.http.allow_plain_beyond_loopback = true"
    );
    let listener = common::net::listen(listen)
        .map_err(|error| anyhow::anyhow!("dispatch.http.listen: can't listen on {listen}: {error}"))?;
    Ok(Door::new(listener, most, config.connections_per_address))
}

/// Opens the HTTPS address for up to `most` connections at once: what fills the one address leaves the other alone.
///
/// # Errors
/// When the address can't be bound; the error names the key.
pub(crate) async fn bind_tls(config: &HttpsConfig, per_address: usize, most: usize) -> anyhow::Result<Door> {
    let listen = config.listen;
    let listener = common::net::listen(listen)
        .map_err(|error| anyhow::anyhow!("dispatch.https.listen: can't listen on {listen}: {error}"))?;
    Ok(Door::new(listener, most, per_address))
}

/// Serves until shutdown, with TLS if there is a certificate.
pub(crate) async fn serve(door: Door, tls: Option<Arc<Tls>>, routes: Arc<Routes>, shutdown: Shutdown) {
    loop {
        let (stream, peer, place) = tokio::select! {
            accepted = door.accept() => accepted,
            () = shutdown.begun() => return,
        };
        let (tls, routes, until) = (tls.clone(), Arc::clone(&routes), shutdown.clone());
        let span = tracing::info_span!("http", %peer, tls = tls.is_some());
        let serve = async move {
            let ended = tokio::select! {
                ended = connection(stream, peer, tls.as_deref(), &routes, &place, &until) => ended,
                () = place.gone() => Err(anyhow::anyhow!("it waited for a request, and another one needed its place")),
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "connection failed");
            }
        };
        shutdown.spawn(serve.instrument(span));
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<&Tls>,
    routes: &Routes,
    place: &Place,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let here = stream.local_addr()?.to_string();
    let client = Client { peer, secure: tls.is_some() };
    let Some(tls) = tls else { return exchange(stream, client, &here, routes, place, shutdown).await };
    let stream = tokio::select! {
        stream = timeout(HANDSHAKE, tls.acceptor().accept(stream)) => stream??,
        () = shutdown.begun() => return Ok(()),
    };
    // The name that the client has looked up, if it says so.
    let named = stream.get_ref().1.server_name().map(str::to_owned);
    exchange(stream, client, &named.unwrap_or(here), routes, place, shutdown).await
}

/// Answers the requests of a connection. `host` is whom those are for that do not say.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    client: Client,
    host: &str,
    routes: &Routes,
    place: &Place,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let first = tokio::select! {
        first = prelude::read(&mut stream, host) => first,
        () = shutdown.begun() => None,
    };
    let Some(first) = first else { return Ok(()) };
    let (reader, writer) = tokio::io::split(stream);
    let io = tokio::io::join(Cursor::new(first).chain(reader), writer);
    let service = service_fn(|request| async move {
        let answer = routes.answer(request, client, place).await;
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
