//! What operators order at the admin address.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::net::Place;

/// An order must come within so long of its head.
const PATIENCE: Duration = Duration::from_secs(2);

/// Takes what is sent to one path of the admin address by `POST`. It must find out itself whether who sends it may: the
/// address asks for no password.
#[async_trait]
pub trait Desk: Send + Sync + 'static {
    /// The path: `/orders`.
    fn path(&self) -> &'static str;

    /// The most bytes that it takes.
    fn max_body(&self) -> usize;

    /// Whether a node of the cluster has that address: places are kept for it.
    fn knows(&self, address: IpAddr) -> bool;

    /// Carries out what was sent. May take 10 s.
    async fn answer(&self, body: Bytes) -> Answered;
}

/// What became of it, with a text for whoever has sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// It was done (200).
    Done(String),
    /// It must not be done: it is not genuine (403).
    Refused(String),
    /// It could not be done (409).
    Failed(String),
}

/// Status and text of the answer. The connection keeps its place once the whole order is there.
pub(super) async fn answer(desk: &dyn Desk, body: Incoming, place: &Place) -> (StatusCode, String) {
    let body = match timeout(PATIENCE, Limited::new(body, desk.max_body()).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return (StatusCode::PAYLOAD_TOO_LARGE, "too long\n".into());
        }
        Ok(Err(_)) => return (StatusCode::BAD_REQUEST, "cut off\n".into()),
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "the order did not come\n".into()),
    };
    place.works();
    match desk.answer(body).await {
        Answered::Done(text) => (StatusCode::OK, text),
        Answered::Refused(text) => (StatusCode::FORBIDDEN, text),
        Answered::Failed(text) => (StatusCode::CONFLICT, text),
    }
}
