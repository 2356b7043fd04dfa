//! Header names in exactly the case that old clients compare them with (`CLIENTS.md`, Passport 1.4, point 2).
//!
//! hyper writes names in lower or in title case. It keeps a name's own case only where it forwards a message it has
//! read, by an extension of a private type. So a request with the names we send is read once, and its extensions
//! are put on every response.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::http::Extensions;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

/// The names that title case would get wrong, and those that must stay right whatever hyper's title case becomes.
const TEMPLATE: &[u8] = b"GET / HTTP/1.1\r\n\
    PassportURLs: x\r\n\
    Authentication-Info: x\r\n\
    WWW-Authenticate: x\r\n\
    Location: x\r\n\
    Connection: close\r\n\r\n";

/// The extensions that make hyper write header names as they must be. For a server with
/// `preserve_header_case(true)` and `title_case_headers(true)`.
///
/// # Errors
/// When hyper does not read the template; it does.
pub(super) async fn learn() -> anyhow::Result<Extensions> {
    let (mut client, server) = tokio::io::duplex(1024);
    client.write_all(TEMPLATE).await?;
    let learnt = Arc::new(Mutex::new(None));
    let service = service_fn(|request: Request<Incoming>| {
        *learnt.lock().unwrap_or_else(PoisonError::into_inner) = Some(request.extensions().clone());
        async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
    });
    let mut builder = http1::Builder::new();
    builder.preserve_header_case(true).serve_connection(TokioIo::new(server), service).await?;
    let learnt = learnt.lock().unwrap_or_else(PoisonError::into_inner).take();
    learnt.context("the template of header names was not read")
}
