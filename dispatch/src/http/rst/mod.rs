//! Tickets by SOAP, `RST.srf`, for clients of MSNP12 and some of MSNP8 (`MSNP13-18.md` §2, `CLIENTS.md`, SOAP).
//!
//! A refusal is a SOAP fault in an HTTP 200, as these clients expect it, but where another try may help: that is a 503
//! with the fault in it.

mod answer;
mod request;

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use common::clock;
use common::model::Passport;
use common::net::Place;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::time::timeout;

use self::request::TokenRequest;
use super::sign_in::{Attempt, Checked, Outcome, SignIn};
use crate::metrics::Metrics;
use answer::{Fault, Token};

/// The most bytes of a request's body. Clients send about 3 KiB for seven tokens.
const MAX_BODY: usize = 16 * 1024;
/// It must come within so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// The site whose tokens sign in to the notification tier.
const MESSENGER: &str = "messenger.msn.com";
/// The entry that stands for the password in later requests to this service.
const PASSPORT: &str = "http://Passport.NET/tb";

/// Answers a request for tokens that came from an address, by a connection that keeps its place once the whole request is there.
pub(super) async fn serve(
    body: Incoming,
    from: IpAddr,
    place: &Place,
    sign_in: &SignIn,
    metrics: &Metrics,
) -> Response<Full<Bytes>> {
    // Said beforehand, or found out while reading.
    if body.size_hint().lower() > MAX_BODY as u64 {
        return too_large();
    }
    let asked = match timeout(PATIENCE, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => request::parse(&body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return too_large();
        }
        // The client is gone, or as good as gone.
        Ok(Err(_)) => None,
        Err(_) => return soap(StatusCode::REQUEST_TIMEOUT, answer::fault(Fault::Invalid, clock::wall_ms())),
    };
    place.works();
    let Some(asked) = asked else {
        metrics.signed_in("malformed");
        return soap(StatusCode::OK, answer::fault(Fault::Invalid, clock::wall_ms()));
    };
    // A name that nobody can have is as wrong as one that nobody has.
    let Ok(passport) = Passport::parse(asked.username.trim()) else {
        metrics.signed_in("malformed");
        return soap(StatusCode::OK, answer::fault(Fault::Wrong, clock::wall_ms()));
    };
    let outcome = sign_in.check(Attempt { passport, passwords: vec![asked.password] }, from, "soap").await;
    metrics.checked("soap", &outcome);
    let now = clock::wall_ms();
    match outcome {
        Outcome::Right(who) => match tokens(&asked.tokens, &who, sign_in) {
            Ok(tokens) => soap(StatusCode::OK, answer::tokens(&who, &tokens, now)),
            Err(error) => {
                tracing::error!(%error, "no random bytes");
                soap(StatusCode::SERVICE_UNAVAILABLE, answer::fault(Fault::Busy, now))
            }
        },
        Outcome::Wrong(_) => soap(StatusCode::OK, answer::fault(Fault::Wrong, now)),
        Outcome::Busy | Outcome::Unavailable => {
            soap(StatusCode::SERVICE_UNAVAILABLE, answer::fault(Fault::Busy, now))
        }
    }
}

/// A token for each request, in their order.
fn tokens<'a>(
    asked: &'a [TokenRequest],
    who: &Checked,
    sign_in: &SignIn,
) -> Result<Vec<Token<'a>>, getrandom::Error> {
    let token = |TokenRequest { number, site }: &'a TokenRequest| {
        if site.eq_ignore_ascii_case(PASSPORT) {
            let mut secret = [0; 24];
            getrandom::fill(&mut secret)?;
            return Ok(Token::Passport { site, ticket: sign_in.site_ticket(who, PASSPORT), secret });
        }
        // Hosts are the same in either case, and what takes the ticket knows one.
        let host = site.to_ascii_lowercase();
        let ticket = if host == MESSENGER { sign_in.ticket(who) } else { sign_in.site_ticket(who, &host) };
        Ok(Token::Site { site, ticket, number: *number })
    };
    asked.iter().map(token).collect()
}

fn too_large() -> Response<Full<Bytes>> {
    soap(StatusCode::PAYLOAD_TOO_LARGE, answer::fault(Fault::Invalid, clock::wall_ms()))
}

fn soap(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"));
    response
}
