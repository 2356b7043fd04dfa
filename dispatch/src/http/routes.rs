//! What is answered to which request.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use anyhow::Context;
use bytes::Bytes;
use common::config::HttpConfig;
use common::net::Place;
use common::store::Store;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::http::Extensions;
use hyper::{Method, Request, Response, StatusCode};

use super::sign_in::{Outcome, SignIn};
use super::{header_case, passport, rst};
use crate::metrics::Metrics;

const PASSPORT_URLS: HeaderName = HeaderName::from_static("passporturls");
const AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("authentication-info");

/// Seconds.
const RETRY: HeaderValue = HeaderValue::from_static("5");

const PAGE: &str = include_str!("page.html");

/// The longest host with its port that the nexus repeats, in bytes.
const MAX_HOST: usize = 260;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client {
    /// Its address, IPv4 in IPv6 as IPv4.
    pub(super) address: IpAddr,
    /// It speaks TLS.
    pub(super) secure: bool,
}

/// Answers requests.
pub(crate) struct Routes {
    sign_in: SignIn,
    /// What the nexus tells all clients.
    configured: Option<HeaderValue>,
    /// What it tells those without TLS otherwise.
    plain: HeaderValue,
    refused: HeaderValue,
    /// The case of header names.
    case: Extensions,
    metrics: Metrics,
}

impl Routes {
    /// For a server that clients reach at `addr`, without TLS.
    ///
    /// # Errors
    /// When `dispatch.http.da_login` can't stand in a header, or is needed and missing.
    pub(crate) async fn new(
        config: &HttpConfig,
        addr: SocketAddr,
        sign_in: SignIn,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let known = config.da_login.is_some() || !addr.ip().is_unspecified();
        anyhow::ensure!(known, "dispatch.http.da_login must be set: {addr} is no address to connect to");
        let plain = passport_urls(&format!("http://{addr}/login2.srf?lc=1033"))?;
        let configured = config.da_login.as_deref().map(passport_urls).transpose()?;
        let refused = HeaderValue::try_from(passport::failure(&format!("http://{addr}/")))?;
        Ok(Self { sign_in, configured, plain, refused, case: header_case::learn().await?, metrics })
    }

    /// Writes what sign-ins have taught since the last time.
    pub(crate) async fn flush(&self, store: &dyn Store) {
        self.sign_in.flush(store).await;
    }

    /// Answers one request. Its connection keeps its place while it waits for us, but not while we wait for more of it.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        client: Client,
        place: &Place,
    ) -> Response<Full<Bytes>> {
        let path = single_slashes(request.uri().path()).into_owned();
        let mut response = match (request.method(), path.as_str()) {
            (&Method::GET, "/rdr/pprdr.asp") => self.nexus(&request, client),
            (&Method::GET, "/login2.srf") => {
                place.works();
                self.login(request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes), client).await
            }
            (&Method::POST, "/RST.srf") => {
                rst::serve(request.into_body(), client.address, place, &self.sign_in, &self.metrics).await
            }
            (&Method::GET, "/") => {
                let mut response = Response::new(Full::from(PAGE));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
                response
            }
            _ => empty(StatusCode::NOT_FOUND),
        };
        // Tickets are in these.
        if matches!(path.as_str(), "/login2.srf" | "/RST.srf") {
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, RETRY);
        }
        *response.extensions_mut() = self.case.clone();
        response
    }

    /// Tells somebody who asks too much at once to come back.
    pub(super) fn busy(&self) -> Response<Full<Bytes>> {
        let mut response = empty(StatusCode::SERVICE_UNAVAILABLE);
        response.headers_mut().insert(RETRY_AFTER, RETRY);
        *response.extensions_mut() = self.case.clone();
        response
    }

    /// Where to sign in. Whoever has come by TLS stays at the name that it came by: that one leads here, and the
    /// certificate is for it.
    fn nexus(&self, request: &Request<Incoming>, client: Client) -> Response<Full<Bytes>> {
        let here = || host(request).and_then(|host| passport_urls(&format!("{host}/login2.srf?lc=1033")).ok());
        let urls = match &self.configured {
            Some(configured) => Some(configured.clone()),
            None if client.secure => here(),
            None => Some(self.plain.clone()),
        };
        let Some(urls) = urls else { return empty(StatusCode::BAD_REQUEST) };
        let mut response = empty(StatusCode::OK);
        response.headers_mut().insert(PASSPORT_URLS, urls);
        response
    }

    async fn login(&self, authorization: Option<&[u8]>, client: Client) -> Response<Full<Bytes>> {
        let Some(attempt) = authorization.and_then(passport::parse) else {
            self.metrics.signed_in("malformed");
            return self.refuse();
        };
        let outcome = self.sign_in.check(attempt, client.address, "http").await;
        self.metrics.checked("http", &outcome);
        match outcome {
            Outcome::Right(who) => match HeaderValue::try_from(passport::success(&self.sign_in.ticket(&who))) {
                Ok(info) => {
                    let mut response = empty(StatusCode::OK);
                    response.headers_mut().insert(AUTHENTICATION_INFO, info);
                    response
                }
                Err(_) => {
                    tracing::error!("a ticket can't stand in a header");
                    empty(StatusCode::INTERNAL_SERVER_ERROR)
                }
            },
            Outcome::Wrong(_) => self.refuse(),
            Outcome::Busy | Outcome::Unavailable => empty(StatusCode::SERVICE_UNAVAILABLE),
        }
    }

    fn refuse(&self) -> Response<Full<Bytes>> {
        let mut response = empty(StatusCode::UNAUTHORIZED);
        response.headers_mut().insert(WWW_AUTHENTICATE, self.refused.clone());
        response
    }
}

/// The value of `PassportURLs`.
fn passport_urls(address: &str) -> anyhow::Result<HeaderValue> {
    HeaderValue::try_from(passport::urls(address))
        .with_context(|| format!("dispatch.http.da_login: {address:?} can't stand in a header"))
}

/// The host that a request is for, with its port if that is not the one of HTTPS: libpurple takes none. Nothing if it
/// is no host.
fn host<B>(request: &Request<B>) -> Option<&str> {
    let host = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => request.headers().get(HOST)?.to_str().ok()?,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    let fits = (1..=MAX_HOST).contains(&host.len()) && host.bytes().all(plain);
    fits.then(|| host.strip_suffix(":443").unwrap_or(host))
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// Old clients write `//rdr/pprdr.asp`.
fn single_slashes(path: &str) -> Cow<'_, str> {
    if !path.contains("//") {
        return path.into();
    }
    let mut single = String::with_capacity(path.len());
    for letter in path.chars() {
        if letter != '/' || !single.ends_with('/') {
            single.push(letter);
        }
    }
    single.into()
}
