//! What is answered to which request.

use std::borrow::Cow;
use std::net::SocketAddr;

use anyhow::Context;
use bytes::Bytes;
use common::config::HttpConfig;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::http::Extensions;
use hyper::{Method, Request, Response, StatusCode};

use super::sign_in::{Outcome, SignIn};
use super::{header_case, passport};
use crate::metrics::Metrics;

const PASSPORT_URLS: HeaderName = HeaderName::from_static("passporturls");
const AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("authentication-info");

const PAGE: &str = include_str!("page.html");

/// Answers requests.
pub(crate) struct Routes {
    sign_in: SignIn,
    passport_urls: HeaderValue,
    refused: HeaderValue,
    /// The case of header names.
    case: Extensions,
    metrics: Metrics,
}

impl Routes {
    /// For a server that clients reach at `addr`.
    ///
    /// # Errors
    /// When `dispatch.http.da_login` can't stand in a header, or is needed and missing.
    pub(crate) async fn new(
        config: &HttpConfig,
        addr: SocketAddr,
        sign_in: SignIn,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let da_login = match &config.da_login {
            Some(da_login) => da_login.clone(),
            None => {
                let known = !addr.ip().is_unspecified();
                anyhow::ensure!(known, "dispatch.http.da_login must be set: {addr} is no address to connect to");
                format!("http://{addr}/login2.srf?lc=1033,")
            }
        };
        let passport_urls = HeaderValue::try_from(format!("DALogin={da_login}"))
            .with_context(|| format!("dispatch.http.da_login: {da_login:?} can't stand in a header"))?;
        let refused = HeaderValue::try_from(passport::failure(&format!("http://{addr}/")))?;
        Ok(Self { sign_in, passport_urls, refused, case: header_case::learn().await?, metrics })
    }

    /// Answers one request of a client.
    pub(super) async fn answer<B>(&self, request: &Request<B>, peer: SocketAddr) -> Response<Full<Bytes>> {
        let mut response = match (request.method(), &*single_slashes(request.uri().path())) {
            (&Method::GET, "/rdr/pprdr.asp") => {
                let mut response = empty(StatusCode::OK);
                response.headers_mut().insert(PASSPORT_URLS, self.passport_urls.clone());
                response
            }
            (&Method::GET, "/login2.srf") => {
                self.login(request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes), peer).await
            }
            (&Method::GET, "/") => {
                let mut response = Response::new(Full::from(PAGE));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
                response
            }
            _ => empty(StatusCode::NOT_FOUND),
        };
        *response.extensions_mut() = self.case.clone();
        response
    }

    async fn login(&self, authorization: Option<&[u8]>, peer: SocketAddr) -> Response<Full<Bytes>> {
        let Some(attempt) = authorization.and_then(passport::parse) else {
            self.metrics.signed_in("malformed");
            return self.refuse();
        };
        match self.sign_in.check(attempt, peer.ip().to_canonical()).await {
            Outcome::Ticket(ticket) => match HeaderValue::try_from(passport::success(&ticket)) {
                Ok(info) => {
                    self.metrics.signed_in("ok");
                    let mut response = empty(StatusCode::OK);
                    response.headers_mut().insert(AUTHENTICATION_INFO, info);
                    response
                }
                Err(_) => {
                    self.metrics.signed_in("failed");
                    tracing::error!("a ticket can't stand in a header");
                    empty(StatusCode::INTERNAL_SERVER_ERROR)
                }
            },
            Outcome::Wrong => {
                self.metrics.signed_in("wrong");
                self.refuse()
            }
            Outcome::Busy => {
                self.metrics.signed_in("busy");
                later()
            }
            Outcome::Unavailable => {
                self.metrics.signed_in("unavailable");
                later()
            }
        }
    }

    fn refuse(&self) -> Response<Full<Bytes>> {
        let mut response = empty(StatusCode::UNAUTHORIZED);
        response.headers_mut().insert(WWW_AUTHENTICATE, self.refused.clone());
        response
    }
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

fn later() -> Response<Full<Bytes>> {
    let mut response = empty(StatusCode::SERVICE_UNAVAILABLE);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
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
