//! The HTTP front: Passport 1.4 sign-in for clients from MSN Messenger 5 on (protocol reference §5.5).

mod header_case;
mod passport;
mod prelude;
mod recent;
mod routes;
mod sign_in;

use std::convert::Infallible;
use std::io::Cursor;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use common::config::HttpConfig;
use common::net::Shutdown;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tracing::Instrument;

pub(crate) use routes::Routes;
pub(crate) use sign_in::SignIn;

use crate::door::Door;

/// Header lines of a request.
const MAX_HEADERS: usize = 64;
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
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| anyhow::anyhow!("dispatch.http.listen: can't listen on {listen}: {error}"))?;
    Ok(Door::new(listener, most, config.connections_per_address))
}

/// Serves until shutdown.
pub(crate) async fn serve(door: Door, routes: Arc<Routes>, shutdown: Shutdown) {
    loop {
        let (stream, peer, place) = tokio::select! {
            accepted = door.accept() => accepted,
            () = shutdown.begun() => return,
        };
        let (routes, until) = (Arc::clone(&routes), shutdown.clone());
        let serve = async move {
            if let Err(error) = connection(stream, peer, &routes, &until).await {
                tracing::debug!(%error, "connection failed");
            }
            drop(place);
        };
        shutdown.spawn(serve.instrument(tracing::info_span!("http", %peer)));
    }
}

async fn connection(
    mut stream: TcpStream,
    peer: SocketAddr,
    routes: &Routes,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let host = stream.local_addr()?.to_string();
    let first = tokio::select! {
        first = prelude::read(&mut stream, &host) => first,
        () = shutdown.begun() => None,
    };
    let Some(first) = first else { return Ok(()) };
    let (reader, writer) = stream.into_split();
    let io = tokio::io::join(Cursor::new(first).chain(reader), writer);
    let service = service_fn(|request| async move { Ok::<_, Infallible>(routes.answer(&request, peer).await) });
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
        .preserve_header_case(true)
        .title_case_headers(true);
    builder
}

#[cfg(test)]
mod tests;
