//! What operators order at the admin address of any node, sealed with a cluster secret.
//!
//! ```text
//! POST /orders     BASE64URL(postcard(version, key id, time, order)).BASE64URL(HMAC-SHA256)
//! ```
//! What is answered stands in `order_desk`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::secrets::{KeyId, Keyring, Purpose, finish};
use super::voids::Void;
use crate::model::{Bulletin, ClaimId, Edition, NodeId, Passport, SignOut};

/// Where orders are taken at an admin address.
pub const ORDERS: &str = "/orders";
/// A node's clock and that of whoever orders differ by no more.
const VALID: Duration = Duration::from_secs(60);
const VERSION: u8 = 2;
/// An order's text is shorter than this many bytes.
pub(super) const MAX_LEN: usize = 2000;

/// What operators want of those who are signed in at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Tells it from others; nodes carry out each once.
    pub id: Uuid,
    /// For whom.
    pub to: Audience,
    /// What is to be done.
    pub what: Instruction,
}

/// For whom an order is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Audience {
    /// Every session on every node.
    Everybody,
    /// The sessions of one notification node.
    Node(NodeId),
    /// The sessions of one principal, wherever they are.
    Principal(Passport),
}

/// What operators want done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Instruction {
    /// To be shown.
    Show(Bulletin),
    /// The sessions are to end.
    SignOut(SignOut),
    /// The principal's account has another password: what those before have opened is void. Only for a principal; see [`Void`].
    NewPassword {
        /// Which account of that name.
        claim: ClaimId,
        /// The credentials that it has now.
        edition: Edition,
    },
}

impl Order {
    /// What it makes void, if it is about a new password.
    pub(super) fn void(&self) -> Option<Void> {
        match (&self.to, &self.what) {
            (Audience::Principal(who), Instruction::NewPassword { claim, edition }) => {
                Some(Void { who: who.clone(), claim: *claim, before: *edition })
            }
            _ => None,
        }
    }
}

impl Instruction {
    /// The word in logs.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Show(Bulletin::Text { .. }) => "text",
            Self::Show(Bulletin::ShutDown { .. }) => "shutdown_is_near",
            Self::SignOut(why) => why.label(),
            Self::NewPassword { .. } => SignOut::NewPassword.label(),
        }
    }
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
    /// Sealed before this node began: it would not know whether it has carried it out.
    #[error("the order is older than this node's life: compare the clocks, or give it again")]
    OlderThanNode,
    /// Sealed by who may, but of another form.
    #[error(
        "the order says what this node can't take: another version of Monarch has made it, or its text is longer than {} \
         bytes as clients get it",
        crate::model::BulletinText::MAX_LEN
    )]
    NotTaken,
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

    /// What an order says, and when it was sealed. That and `now` are in milliseconds since 1970.
    ///
    /// # Errors
    /// [`OrderError`]
    pub fn open_order(&self, text: &[u8], now: u64) -> Result<(Order, u64), OrderError> {
        let bytes = self.unseal_order(text).ok_or(OrderError::NotGenuine)?;
        let (body, rest) = postcard::take_from_bytes::<Body>(&bytes).map_err(|_| OrderError::NotTaken)?;
        if body.version != VERSION || !rest.is_empty() {
            return Err(OrderError::NotTaken);
        }
        let apart = Duration::from_millis(now.abs_diff(body.time));
        if apart > VALID { Err(OrderError::OutOfTime) } else { Ok((body.order, body.time)) }
    }

    /// What was sealed, if it is genuine.
    fn unseal_order(&self, text: &[u8]) -> Option<Vec<u8>> {
        if text.len() >= MAX_LEN {
            return None;
        }
        let (body, code) = std::str::from_utf8(text).ok()?.trim_end().split_once('.')?;
        let (bytes, code) = (URL_SAFE_NO_PAD.decode(body).ok()?, URL_SAFE_NO_PAD.decode(code).ok()?);
        // The key's name is in what it seals: it is looked at first, and nothing else until the seal is found right.
        let (_, key): (u8, KeyId) = postcard::take_from_bytes(&bytes).ok()?.0;
        let hasher = self.subkey(key, Purpose::Order)?;
        hasher.chain_update(&bytes).verify_slice(&code).ok()?;
        Some(bytes)
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
        let to = Audience::Principal(Passport::parse(&format!("{}@example.com", "a".repeat(117))).unwrap());
        Order { id: Uuid::from_u128(u128::MAX), to, what: Instruction::Show(Bulletin::Text { number: 7, text }) }
    }

    #[test]
    fn an_order_is_good_for_a_minute_and_for_who_shares_the_secret() {
        let sealed = keys(1).seal_order(&order(), 1_000_000);
        assert!(sealed.len() < MAX_LEN, "{}", sealed.len());
        let open = |now| keys(1).open_order(sealed.as_bytes(), now);
        for now in [1_000_000, 1_060_000, 940_000] {
            assert_eq!(open(now), Ok((order(), 1_000_000)));
        }
        assert_eq!(open(1_060_001), Err(OrderError::OutOfTime));
        assert_eq!(open(939_999), Err(OrderError::OutOfTime));
        assert_eq!(keys(2).open_order(sealed.as_bytes(), 1_000_000), Err(OrderError::NotGenuine));
        let both = Keyring::from_secrets([[2; 32], [1; 32]]).unwrap();
        assert_eq!(both.open_order(format!("{sealed}\n").as_bytes(), 1_000_000), Ok((order(), 1_000_000)));
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
        let ticket = keys(1).seal_ticket(&crate::cluster::SignInTicket {
            passport: Passport::parse("a@b").unwrap(),
            credential_epoch: 1,
            expires: u64::MAX,
        });
        assert_eq!(keys(1).open_order(ticket.as_bytes(), 1_000_000), Err(OrderError::NotGenuine));
    }

    /// What is genuine and can't be taken is not said to be false.
    #[test]
    fn an_order_of_another_form_is_told_from_a_false_one() {
        let seal = |body: &[u8]| {
            let hasher = keys(1).signer(Purpose::Order).1;
            let code = finish(hasher.chain_update(body));
            format!("{}.{}", URL_SAFE_NO_PAD.encode(body), URL_SAFE_NO_PAD.encode(code))
        };
        let key = keys(1).signer(Purpose::Order).0;
        let body = Body { version: VERSION, key, time: 1_000_000, order: order() };
        let bytes = postcard::to_stdvec(&body).unwrap();
        let open = |bytes: &[u8]| keys(1).open_order(seal(bytes).as_bytes(), 1_000_000);
        assert_eq!(open(&bytes), Ok((order(), 1_000_000)));
        let other = postcard::to_stdvec(&Body { version: VERSION + 1, ..body }).unwrap();
        assert_eq!(open(&other), Err(OrderError::NotTaken));
        assert_eq!(open(&[&bytes[..], b"x"].concat()), Err(OrderError::NotTaken));
        // Two bytes each as the order has them, six as clients get them.
        let text = "é".repeat(200);
        let at = bytes.windows(text.len()).position(|part| part == text.as_bytes()).unwrap();
        let mut long = bytes.clone();
        long[at..at + text.len()].fill(b'"');
        assert_eq!(open(&long), Err(OrderError::NotTaken));
    }
}
