//! Switchboard cookies: what a notification node gives a client so that one switchboard lets it in, once.
//!
//! ```text
//! BASE64URL( version | key id | role | conversation | claim | edition | dialect | capabilities | session | expiry | nonce | code )
//! bytes          1        4      1        16          16       2         1           4           4        4       6      16
//! ```
//! 75 bytes, 100 characters. Principal, switchboard and generation are under the code and not in the text.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac;
use uuid::Uuid;

use super::secrets::{Hasher, KeyId, Keyring, Purpose, finish};
use super::ticket::TicketError;
use crate::model::{ClaimId, ConversationId, Edition, Generation, NodeId, Passport};

/// What part a cookie's bearer plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookieRole {
    /// Opens a new conversation (`XFR SB`, `USR`).
    Caller,
    /// Joins one (`RNG`, `ANS`).
    Callee,
}

/// To whom and where a cookie is bound. Under the MAC and not in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admittance {
    /// Who may present it.
    pub principal: Passport,
    /// At which switchboard.
    pub switchboard: NodeId,
    /// In which of its lives.
    pub generation: Generation,
}

/// What a switchboard cookie says; in its text, at most 100 characters without `%`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    /// Caller or callee.
    pub role: CookieRole,
    /// Which conversation; the caller's cookie names a new one.
    pub conversation: ConversationId,
    /// The bearer's claim: what the channel of two is made of.
    pub claim: ClaimId,
    /// By which of the account's credentials the bearer has signed in.
    pub edition: Edition,
    /// The number of the bearer's dialect.
    pub dialect: u8,
    /// The bearer's capability number.
    pub capabilities: u32,
    /// The [sign](crate::model::Epoch::sign) of the bearer's session.
    pub session: u32,
    /// The bearer is being brought what was kept for it: what others say now comes behind that.
    pub kept_first: bool,
    /// Seconds since 1970 after which it opens nothing.
    pub expires: u32,
    /// Random, of 48 bits: each is accepted once.
    pub nonce: u64,
}

const VERSION: u8 = 2;
const BODY: usize = 59;
const CODE: usize = 16;
/// A bit of the role.
const KEPT_FIRST: u8 = 2;
/// Seconds that the clocks of two nodes may differ when a cookie's longest life is checked.
const CLOCK_SLACK: u64 = 2;

impl Cookie {
    /// The longest life of a cookie, in seconds.
    pub const MAX_LIFE: u32 = 120;

    fn write(&self, key: KeyId) -> [u8; BODY] {
        let mut body = [0; BODY];
        let role = match self.role {
            CookieRole::Caller => 0,
            CookieRole::Callee => 1,
        };
        let role = role | if self.kept_first { KEPT_FIRST } else { 0 };
        let mut rest = &mut body[..];
        for part in [
            &[VERSION][..],
            &key,
            &[role],
            self.conversation.0.as_bytes(),
            self.claim.0.as_bytes(),
            &self.edition.0.to_be_bytes(),
            &[self.dialect],
            &self.capabilities.to_be_bytes(),
            &self.session.to_be_bytes(),
            &self.expires.to_be_bytes(),
            &self.nonce.to_be_bytes()[2..],
        ] {
            let (place, after) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        }
        debug_assert!(rest.is_empty());
        body
    }

    fn read(body: &[u8; BODY]) -> Option<(KeyId, Self)> {
        let mut reader = Reader(body);
        let [version] = reader.take()?;
        let key = reader.take()?;
        let [role] = reader.take()?;
        let kept_first = role & KEPT_FIRST != 0;
        let role = match role & !KEPT_FIRST {
            0 => CookieRole::Caller,
            1 => CookieRole::Callee,
            _ => return None,
        };
        let conversation = ConversationId(Uuid::from_bytes(reader.take()?));
        let claim = ClaimId(Uuid::from_bytes(reader.take()?));
        let edition = Edition(u16::from_be_bytes(reader.take()?));
        let [dialect] = reader.take()?;
        let capabilities = u32::from_be_bytes(reader.take()?);
        let session = u32::from_be_bytes(reader.take()?);
        let expires = u32::from_be_bytes(reader.take()?);
        let [a, b, c, d, e, f] = reader.take()?;
        let nonce = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        let cookie = Self {
            role,
            conversation,
            claim,
            edition,
            dialect,
            capabilities,
            session,
            kept_first,
            expires,
            nonce,
        };
        (version == VERSION).then_some((key, cookie))
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }
}

impl Admittance {
    fn feed(&self, hasher: Hasher, body: &[u8; BODY]) -> Hasher {
        let mut hasher = hasher.chain_update(body);
        for text in [self.principal.as_str(), self.switchboard.as_str()] {
            hasher.update(&(text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.chain_update(self.generation.0.to_be_bytes())
    }
}

impl Keyring {
    /// A cookie's text.
    #[must_use]
    pub fn seal_cookie(&self, cookie: &Cookie, bound_to: &Admittance) -> String {
        let (key, hasher) = self.signer(Purpose::Cookie);
        let body = cookie.write(key);
        let code = finish(bound_to.feed(hasher, &body));
        let mut text = [0; BODY + CODE];
        text[..BODY].copy_from_slice(&body);
        text[BODY..].copy_from_slice(&code[..CODE]);
        URL_SAFE_NO_PAD.encode(text)
    }

    /// What a cookie says, if it is bound to `bound_to` and not too old. Whether it was used is for [`Nonces`].
    /// `now` in milliseconds since 1970.
    ///
    /// # Errors
    /// [`TicketError`]; also [`TicketError::NotGenuine`] for a life of more than [`Cookie::MAX_LIFE`].
    pub fn open_cookie(&self, text: &str, bound_to: &Admittance, now: u64) -> Result<Cookie, TicketError> {
        let cookie = self.read_cookie(text, bound_to).ok_or(TicketError::NotGenuine)?;
        let (now, expires) = (now / 1000, u64::from(cookie.expires));
        if expires < now {
            return Err(TicketError::Expired);
        }
        if expires > now + u64::from(Cookie::MAX_LIFE) + CLOCK_SLACK {
            return Err(TicketError::NotGenuine);
        }
        Ok(cookie)
    }

    fn read_cookie(&self, text: &str, bound_to: &Admittance) -> Option<Cookie> {
        let mut bytes = [0; BODY + CODE];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        let (body, code) = bytes.get(..length)?.split_first_chunk::<BODY>()?;
        let (key, cookie) = Cookie::read(body)?;
        let hasher = bound_to.feed(self.subkey(key, Purpose::Cookie)?, body);
        if code.len() != CODE {
            return None;
        }
        hasher.verify_truncated_left(code).ok()?;
        Some(cookie)
    }
}

/// The nonces of cookies that were used and have not yet expired: bounded by the cookies' life.
#[derive(Debug, Default)]
pub struct Nonces {
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    nonces: HashSet<u64>,
    by_expiry: BTreeMap<u32, Vec<u64>>,
    /// Up to this expiry nonces have been forgotten: if the wall clock steps back, no such cookie is taken again.
    forgotten: Option<u32>,
}

impl Nonces {
    /// Takes a cookie once. `now` in milliseconds since 1970.
    ///
    /// # Errors
    /// [`TicketError::Used`]
    pub fn take(&self, cookie: &Cookie, now: u64) -> Result<(), TicketError> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let now = u32::try_from(now / 1000).unwrap_or(u32::MAX);
        while let Some(oldest) = used.by_expiry.first_entry()
            && *oldest.key() < now
        {
            let (expiry, nonces) = oldest.remove_entry();
            used.forgotten = used.forgotten.max(Some(expiry));
            for nonce in nonces {
                used.nonces.remove(&nonce);
            }
        }
        if used.forgotten >= Some(cookie.expires) || !used.nonces.insert(cookie.nonce) {
            return Err(TicketError::Used);
        }
        used.by_expiry.entry(cookie.expires).or_default().push(cookie.nonce);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: u64 = 1_000_000_000;

    fn ring(secrets: &[u8]) -> Keyring {
        Keyring::from_secrets(secrets.iter().map(|byte| [*byte; 32])).unwrap()
    }

    fn bound() -> Admittance {
        Admittance {
            principal: "alice@example.com".parse().unwrap(),
            switchboard: NodeId::parse("sb-1").unwrap(),
            generation: Generation(7),
        }
    }

    fn cookie() -> Cookie {
        Cookie {
            role: CookieRole::Callee,
            conversation: ConversationId(Uuid::from_u128(1)),
            claim: ClaimId(Uuid::from_u128(2)),
            edition: Edition(0xabcd),
            dialect: 11,
            capabilities: 0x1000_0020,
            session: 0x8000_0001,
            kept_first: true,
            expires: (NOW / 1000) as u32 + 60,
            nonce: 99,
        }
    }

    #[test]
    fn opens_at_its_place_for_its_bearer_in_its_time() {
        let text = ring(&[1]).seal_cookie(&cookie(), &bound());
        assert!(text.len() <= 100 && text.is_ascii() && !text.contains(['%', ' ']), "{text}");
        let open = |bound: &Admittance, now| ring(&[1]).open_cookie(&text, bound, now);
        assert_eq!(open(&bound(), NOW), Ok(cookie()));
        assert_eq!(open(&bound(), NOW + 60_999), Ok(cookie()));
        assert_eq!(open(&bound(), NOW + 61_000), Err(TicketError::Expired));
        let stranger = Admittance { principal: "mallory@example.com".parse().unwrap(), ..bound() };
        let elsewhere = Admittance { switchboard: NodeId::parse("sb-2").unwrap(), ..bound() };
        let later = Admittance { generation: Generation(8), ..bound() };
        for other in [stranger, elsewhere, later] {
            assert_eq!(open(&other, NOW), Err(TicketError::NotGenuine), "{other:?}");
        }
    }

    #[test]
    fn never_lives_longer_than_two_minutes() {
        let open = |life: u32| {
            let cookie = Cookie { expires: (NOW / 1000) as u32 + life, ..cookie() };
            ring(&[1]).open_cookie(&ring(&[1]).seal_cookie(&cookie, &bound()), &bound(), NOW)
        };
        assert!(open(120).is_ok());
        assert_eq!(open(123), Err(TicketError::NotGenuine));
    }

    #[test]
    fn is_taken_once_and_forgotten_when_it_has_expired() {
        let (nonces, other) = (Nonces::default(), Cookie { nonce: 100, ..cookie() });
        assert_eq!(nonces.take(&cookie(), NOW), Ok(()));
        assert_eq!(nonces.take(&cookie(), NOW), Err(TicketError::Used));
        assert_eq!(nonces.take(&other, NOW), Ok(()));
        let later = Cookie { expires: cookie().expires + 120, nonce: 101, ..cookie() };
        assert_eq!(nonces.take(&later, NOW + 120_000), Ok(()));
        assert_eq!(nonces.used.lock().unwrap().nonces.len(), 1, "bounded by the cookies' life");
        assert_eq!(nonces.take(&cookie(), NOW), Err(TicketError::Used), "even when the clock steps back");
    }

    #[test]
    fn secrets_rotate_without_a_gap() {
        let text = ring(&[1, 2]).seal_cookie(&cookie(), &bound());
        assert!(ring(&[2, 1]).open_cookie(&text, &bound(), NOW).is_ok());
        assert_eq!(ring(&[2]).open_cookie(&text, &bound(), NOW), Err(TicketError::NotGenuine));
    }

    #[test]
    fn no_byte_can_be_changed_or_cut() {
        let (ring, text) = (ring(&[1]), ring(&[1]).seal_cookie(&cookie(), &bound()));
        for place in 0..text.len() {
            assert!(ring.open_cookie(&text[..place], &bound(), NOW).is_err());
            for other in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=%" {
                let mut bytes = text.clone().into_bytes();
                if bytes[place] != *other {
                    bytes[place] = *other;
                    let changed = String::from_utf8(bytes).unwrap();
                    assert!(ring.open_cookie(&changed, &bound(), NOW).is_err(), "{changed}");
                }
            }
        }
        assert!(ring.open_cookie(&format!("{text}A"), &bound(), NOW).is_err());
    }

    proptest! {
        #[test]
        fn garbage_opens_nothing(text in ".{0,150}", form in "[A-Za-z0-9_-]{100}") {
            prop_assert_eq!(ring(&[1]).open_cookie(&text, &bound(), NOW), Err(TicketError::NotGenuine));
            prop_assert_eq!(ring(&[1]).open_cookie(&form, &bound(), NOW), Err(TicketError::NotGenuine));
        }

        #[test]
        fn what_was_sealed_is_opened(
            caller: bool, ids: (u128, u128), edition: u16, dialect: u8, capabilities: u32, session: u32,
            kept_first: bool, life in 0u32..=120, nonce in 0u64..1 << 48,
        ) {
            let cookie = Cookie {
                role: if caller { CookieRole::Caller } else { CookieRole::Callee },
                conversation: ConversationId(Uuid::from_u128(ids.0)),
                claim: ClaimId(Uuid::from_u128(ids.1)),
                edition: Edition(edition),
                dialect,
                capabilities,
                session,
                kept_first,
                expires: (NOW / 1000) as u32 + life,
                nonce,
            };
            let text = ring(&[1]).seal_cookie(&cookie, &bound());
            prop_assert!(text.len() <= 100);
            prop_assert_eq!(ring(&[1]).open_cookie(&text, &bound(), NOW), Ok(cookie));
        }
    }
}
