//! What operators order at the admin address of any node, sealed with a cluster secret.
//!
//! ```text
//! POST /orders     BASE64URL(postcard(version, key id, time, order)).BASE64URL(HMAC-SHA256)
//! ```
//! The answer is a line for each notification node, `NODE SESSIONS` or `NODE -` if it did not answer; for a bulletin to one
//! principal a line that says what became of it.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hmac::Mac;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::secrets::{KeyId, Keyring, Purpose, finish};
use super::{Cluster, Outcome};
use crate::clock;
use crate::model::{Bulletin, Passport};
use crate::telemetry::{Answered, Desk};

/// Where orders are taken at an admin address.
pub const ORDERS: &str = "/orders";
/// A node's clock and that of whoever orders differ by no more.
const VALID: Duration = Duration::from_secs(60);
/// The sessions of all nodes are told in that time, or the node counts as not reached.
const PATIENCE: Duration = Duration::from_secs(10);
const VERSION: u8 = 1;
/// An order's text is shorter than this many bytes.
const MAX_LEN: usize = 2000;

/// A bulletin for everybody who is signed in, or for one principal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Tells it from others; nodes carry out each once.
    pub id: Uuid,
    /// For whom; nobody means everybody.
    pub to: Option<Passport>,
    /// What is shown.
    pub bulletin: Bulletin,
}

/// Why an order is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Not of the form, tampered with, or sealed with a secret that is not known here.
    #[error("the order is not sealed with a cluster secret of this node: compare the files of cluster secrets")]
    NotGenuine,
    /// Sealed too long ago, or in the future.
    #[error("the order is not of this minute: compare the clocks")]
    OutOfTime,
}

#[derive(Serialize, Deserialize)]
struct Body {
    version: u8,
    key: KeyId,
    /// Milliseconds since 1970.
    time: u64,
    order: Order,
}

impl Keyring {
    /// The order's text. `now` in milliseconds since 1970; it is good for a minute.
    #[must_use]
    pub fn seal_order(&self, order: &Order, now: u64) -> String {
        let (key, hasher) = self.signer(Purpose::Order);
        let body = Body { version: VERSION, key, time: now, order: order.clone() };
        // Writing a structure of numbers and strings to memory has no way to fail.
        let body = postcard::to_stdvec(&body).unwrap_or_default();
        let code = finish(hasher.chain_update(&body));
        format!("{}.{}", URL_SAFE_NO_PAD.encode(&body), URL_SAFE_NO_PAD.encode(code))
    }

    /// What an order says. `now` in milliseconds since 1970.
    ///
    /// # Errors
    /// [`OrderError`]
    pub fn open_order(&self, text: &[u8], now: u64) -> Result<Order, OrderError> {
        let body = self.read_order(text).ok_or(OrderError::NotGenuine)?;
        let apart = Duration::from_millis(now.abs_diff(body.time));
        if apart > VALID { Err(OrderError::OutOfTime) } else { Ok(body.order) }
    }

    fn read_order(&self, text: &[u8]) -> Option<Body> {
        if text.len() >= MAX_LEN {
            return None;
        }
        let (body, code) = std::str::from_utf8(text).ok()?.trim_end().split_once('.')?;
        let (bytes, code) = (URL_SAFE_NO_PAD.decode(body).ok()?, URL_SAFE_NO_PAD.decode(code).ok()?);
        // The key's name is in what it seals: it is looked at first, and nothing else until the seal is found right.
        let (_, key): (u8, KeyId) = postcard::take_from_bytes(&bytes).ok()?.0;
        let hasher = self.subkey(key, Purpose::Order)?;
        hasher.chain_update(&bytes).verify_slice(&code).ok()?;
        let (body, rest) = postcard::take_from_bytes::<Body>(&bytes).ok()?;
        (body.version == VERSION && rest.is_empty()).then_some(body)
    }
}

/// Takes orders for a node: give it to [`Admin::take_orders`](crate::telemetry::Admin::take_orders).
pub struct OrderDesk {
    /// What the orders are carried out by.
    pub cluster: Cluster,
    /// Opens them.
    pub keys: Keyring,
}

#[async_trait]
impl Desk for OrderDesk {
    fn path(&self) -> &'static str {
        ORDERS
    }

    fn max_body(&self) -> usize {
        MAX_LEN
    }

    async fn answer(&self, body: Bytes) -> Answered {
        let Order { id, to, bulletin } = match self.keys.open_order(&body, clock::wall_ms()) {
            Ok(order) => order,
            Err(error) => {
                tracing::warn!(%error, "refused an order");
                return Answered::Refused(error.to_string());
            }
        };
        let Some(to) = to else {
            let reached = self.cluster.broadcast(id, bulletin, PATIENCE).await;
            let lines = reached.into_iter().map(|reached| {
                let sessions = reached.sessions.map_or_else(|| "-".to_owned(), |sessions| sessions.to_string());
                format!("{} {sessions}\n", reached.node)
            });
            return Answered::Done(lines.collect());
        };
        match self.cluster.tell(id, &to, bulletin, PATIENCE).await {
            Outcome::Accepted | Outcome::Refused => Answered::Done(format!("{to} has it\n")),
            Outcome::NotHere => Answered::Failed(format!("{to} is not signed in")),
            Outcome::Unknown => Answered::Failed(format!("no node could say in time where {to} is")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BulletinText;

    fn keys(byte: u8) -> Keyring {
        Keyring::from_secrets([[byte; 32]]).unwrap()
    }

    fn order() -> Order {
        let text = BulletinText::parse(&"é".repeat(200)).unwrap();
        let to = Passport::parse(&format!("{}@example.com", "a".repeat(117))).ok();
        Order { id: Uuid::from_u128(u128::MAX), to, bulletin: Bulletin::Text { number: 7, text } }
    }

    #[test]
    fn an_order_is_good_for_a_minute_and_for_who_shares_the_secret() {
        let sealed = keys(1).seal_order(&order(), 1_000_000);
        assert!(sealed.len() < MAX_LEN, "{}", sealed.len());
        let open = |now| keys(1).open_order(sealed.as_bytes(), now);
        assert_eq!(open(1_000_000), Ok(order()));
        assert_eq!(open(1_060_000), Ok(order()));
        assert_eq!(open(940_000), Ok(order()));
        assert_eq!(open(1_060_001), Err(OrderError::OutOfTime));
        assert_eq!(open(939_999), Err(OrderError::OutOfTime));
        assert_eq!(keys(2).open_order(sealed.as_bytes(), 1_000_000), Err(OrderError::NotGenuine));
        let both = Keyring::from_secrets([[2; 32], [1; 32]]).unwrap();
        assert_eq!(both.open_order(format!("{sealed}\n").as_bytes(), 1_000_000), Ok(order()));
    }

    #[test]
    fn what_was_changed_opens_nothing() {
        let sealed = keys(1).seal_order(&order(), 1_000_000).into_bytes();
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            // The last digit of a base64 text may hold bits that count for nothing.
            if changed != sealed && keys(1).open_order(&changed, 1_000_000) != Err(OrderError::NotGenuine) {
                let last = place + 1 == sealed.len() || sealed[place + 1] == b'.';
                assert!(last, "{place}");
            }
        }
        let long = [b'A'; MAX_LEN];
        for wrong in [&b""[..], b".", b"A.A", b"\xff", &sealed[..sealed.len() - 4], &long] {
            assert_eq!(keys(1).open_order(wrong, 1_000_000), Err(OrderError::NotGenuine));
        }
        let cookie_key = keys(1).seal_ticket(&crate::cluster::SignInTicket {
            passport: Passport::parse("a@b").unwrap(),
            credential_epoch: 1,
            expires: u64::MAX,
        });
        assert_eq!(keys(1).open_order(cookie_key.as_bytes(), 1_000_000), Err(OrderError::NotGenuine));
    }
}
