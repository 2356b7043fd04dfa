//! Sign-in tickets: what dispatch gives out after the password check, and any notification node verifies without a
//! lookup. Tickets for web services are the same with another audience.
//!
//! ```text
//! t=BASE64URL(postcard(version, key id, audience, passport, credential epoch, expiry))&p=BASE64URL(HMAC-SHA256)
//! ```

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac;
use serde::{Deserialize, Serialize};

use super::secrets::{KeyId, Keyring, Purpose, finish};
use crate::model::Passport;

/// What a sign-in ticket says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInTicket {
    /// Who was checked.
    pub passport: Passport,
    /// The credential epoch of the account when it was.
    pub credential_epoch: u64,
    /// Milliseconds since 1970 after which it opens nothing.
    pub expires: u64,
}

/// Why a ticket or a cookie opens nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Not of the form, of another deployment, tampered with, or bound to another principal, node or generation.
    #[error("not genuine")]
    NotGenuine,
    /// Too old.
    #[error("expired")]
    Expired,
    /// Presented before.
    #[error("used before")]
    Used,
}

const VERSION: u8 = 1;
/// Who takes a sign-in ticket: the notification tier, and nobody else.
const SIGN_IN: &str = "notification";
/// What stands before the address of a site that takes a ticket: no site has the audience of the sign-in.
const SITE: &str = "site ";
/// A ticket's text is shorter than this many bytes.
const MAX_LEN: usize = 1000;

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    version: u8,
    key: KeyId,
    audience: &'a str,
    passport: &'a str,
    credential_epoch: u64,
    expires: u64,
}

impl Keyring {
    /// The ticket's text: `t=…&p=…`, below 1,000 bytes, without comma and quote.
    #[must_use]
    pub fn seal_ticket(&self, ticket: &SignInTicket) -> String {
        self.seal(SIGN_IN, ticket)
    }

    /// The same for the web service at `site`, which clients name by an address of at most 255 bytes: it opens nothing
    /// else, and no session.
    #[must_use]
    pub fn seal_site_ticket(&self, site: &str, ticket: &SignInTicket) -> String {
        self.seal(&format!("{SITE}{site}"), ticket)
    }

    fn seal(&self, audience: &str, ticket: &SignInTicket) -> String {
        let (key, hasher) = self.signer(Purpose::Ticket);
        let body = Body {
            version: VERSION,
            key,
            audience,
            passport: ticket.passport.as_str(),
            credential_epoch: ticket.credential_epoch,
            expires: ticket.expires,
        };
        // Writing a structure of numbers and strings to memory has no way to fail.
        let body = postcard::to_stdvec(&body).unwrap_or_default();
        let code = finish(hasher.chain_update(&body));
        format!("t={}&p={}", URL_SAFE_NO_PAD.encode(&body), URL_SAFE_NO_PAD.encode(code))
    }

    /// What a ticket says. `now` in milliseconds since 1970.
    ///
    /// # Errors
    /// [`TicketError`]
    pub fn open_ticket(&self, text: &str, now: u64) -> Result<SignInTicket, TicketError> {
        self.open(SIGN_IN, text, now)
    }

    /// What a ticket for the web service at `site` says. `now` in milliseconds since 1970.
    ///
    /// # Errors
    /// [`TicketError`]
    pub fn open_site_ticket(&self, site: &str, text: &str, now: u64) -> Result<SignInTicket, TicketError> {
        self.open(&format!("{SITE}{site}"), text, now)
    }

    fn open(&self, audience: &str, text: &str, now: u64) -> Result<SignInTicket, TicketError> {
        let ticket = self.read_ticket(audience, text).ok_or(TicketError::NotGenuine)?;
        if now > ticket.expires { Err(TicketError::Expired) } else { Ok(ticket) }
    }

    fn read_ticket(&self, audience: &str, text: &str) -> Option<SignInTicket> {
        if text.len() >= MAX_LEN {
            return None;
        }
        let (body, code) = text.strip_prefix("t=")?.split_once("&p=")?;
        let (bytes, code) = (URL_SAFE_NO_PAD.decode(body).ok()?, URL_SAFE_NO_PAD.decode(code).ok()?);
        let (body, rest) = postcard::take_from_bytes::<Body<'_>>(&bytes).ok()?;
        let hasher = self.subkey(body.key, Purpose::Ticket)?;
        hasher.chain_update(&bytes).verify_slice(&code).ok()?;
        if body.version != VERSION || body.audience != audience || !rest.is_empty() {
            return None;
        }
        let passport = Passport::parse(body.passport).ok()?;
        Some(SignInTicket { passport, credential_epoch: body.credential_epoch, expires: body.expires })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ring(secrets: &[u8]) -> Keyring {
        Keyring::from_secrets(secrets.iter().map(|byte| [*byte; 32])).unwrap()
    }

    fn ticket() -> SignInTicket {
        SignInTicket { passport: "alice@example.com".parse().unwrap(), credential_epoch: u64::MAX, expires: 5000 }
    }

    #[test]
    fn opens_until_it_expires() {
        let text = ring(&[1]).seal_ticket(&ticket());
        assert!(text.starts_with("t=") && text.contains("&p=") && text.is_ascii());
        assert!(!text.contains([',', '\'', '"', ' ', '%', '+', '/']), "{text}");
        assert_eq!(ring(&[1]).open_ticket(&text, 5000), Ok(ticket()));
        assert_eq!(ring(&[1]).open_ticket(&text, 5001), Err(TicketError::Expired));
    }

    #[test]
    fn clients_http_5_is_below_a_thousand_bytes_for_the_longest_passport_and_site() {
        let passport = Passport::parse(&format!("{}@x", "a".repeat(127))).unwrap();
        let ticket = SignInTicket { passport, ..ticket() };
        let site = "s".repeat(255);
        let text = ring(&[1]).seal_site_ticket(&site, &ticket);
        assert!(text.len() < MAX_LEN, "{}", text.len());
        assert!(ring(&[1]).open_site_ticket(&site, &text, 0).is_ok());
        assert!(ring(&[1]).open_ticket(&ring(&[1]).seal_ticket(&ticket), 0).is_ok());
    }

    #[test]
    fn a_ticket_opens_the_door_that_it_was_made_for() {
        let ring = ring(&[1]);
        for site in ["contacts.msn.com", "notification", ""] {
            let text = ring.seal_site_ticket(site, &ticket());
            assert_eq!(ring.open_site_ticket(site, &text, 0), Ok(ticket()));
            assert_eq!(ring.open_site_ticket("storage.msn.com", &text, 0), Err(TicketError::NotGenuine));
            assert_eq!(ring.open_ticket(&text, 0), Err(TicketError::NotGenuine));
            let sign_in = ring.seal_ticket(&ticket());
            assert_eq!(ring.open_site_ticket(site, &sign_in, 0), Err(TicketError::NotGenuine));
        }
    }

    #[test]
    fn secrets_rotate_without_a_gap() {
        let (old, both, swapped, new) = (ring(&[1]), ring(&[1, 2]), ring(&[2, 1]), ring(&[2]));
        for (seals, opens, ok) in [
            (&old, &both, true),
            (&both, &old, true),
            (&swapped, &both, true),
            (&old, &swapped, true),
            (&old, &new, false),
            (&swapped, &old, false),
        ] {
            let opened = opens.open_ticket(&seals.seal_ticket(&ticket()), 0);
            assert_eq!(opened, if ok { Ok(ticket()) } else { Err(TicketError::NotGenuine) });
        }
    }

    #[test]
    fn no_byte_can_be_changed_or_cut() {
        let (ring, text) = (ring(&[1]), ring(&[1]).seal_ticket(&ticket()));
        for place in 0..text.len() {
            assert_eq!(ring.open_ticket(&text[..place], 0), Err(TicketError::NotGenuine));
            for other in [b'A', b'z', b'-', b'&'] {
                let mut bytes = text.clone().into_bytes();
                if bytes[place] != other {
                    bytes[place] = other;
                    let changed = String::from_utf8(bytes).unwrap();
                    assert_eq!(ring.open_ticket(&changed, 0), Err(TicketError::NotGenuine), "{changed}");
                }
            }
        }
        assert_eq!(ring.open_ticket(&format!("{text}A"), 0), Err(TicketError::NotGenuine));
    }

    proptest! {
        #[test]
        fn garbage_opens_nothing(text in ".{0,200}", tail in "[A-Za-z0-9_-]{0,120}") {
            prop_assert_eq!(ring(&[1]).open_ticket(&text, 0), Err(TicketError::NotGenuine));
            let text = format!("t={tail}&p={tail}");
            prop_assert_eq!(ring(&[1]).open_ticket(&text, 0), Err(TicketError::NotGenuine));
        }

        #[test]
        fn what_was_sealed_is_opened(name in "[a-z0-9.]{1,60}", credential_epoch: u64, expires: u64) {
            let passport = Passport::parse(&format!("{name}@example.com")).unwrap();
            let ticket = SignInTicket { passport, credential_epoch, expires };
            let text = ring(&[1]).seal_ticket(&ticket);
            prop_assert_eq!(ring(&[3, 1]).open_ticket(&text, expires), Ok(ticket));
        }
    }
}
