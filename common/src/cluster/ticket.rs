//! Sign-in tickets and switchboard cookies.

use super::secrets::Keyring;
use crate::model::{ClaimId, ConversationId, Generation, NodeId, Passport};

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
    /// The number of the bearer's dialect.
    pub dialect: u8,
    /// The bearer's capability number.
    pub capabilities: u32,
    /// Seconds since 1970 after which it opens nothing.
    pub expires: u32,
    /// Random: each is accepted once.
    pub nonce: u64,
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

impl Keyring {
    /// The ticket's text: `t=…&p=…`, below 1,000 bytes, without comma and quote.
    #[must_use]
    pub fn seal_ticket(&self, ticket: &SignInTicket) -> String {
        let _ = ticket;
        unimplemented!()
    }

    /// What a ticket says. `now` in milliseconds since 1970.
    ///
    /// # Errors
    /// [`TicketError`]
    pub fn open_ticket(&self, text: &str, now: u64) -> Result<SignInTicket, TicketError> {
        let _ = (text, now);
        unimplemented!()
    }

    /// A cookie's text.
    #[must_use]
    pub fn seal_cookie(&self, cookie: &Cookie, bound_to: &Admittance) -> String {
        let _ = (cookie, bound_to);
        unimplemented!()
    }

    /// What a cookie says, if it is bound to `bound_to` and not too old. Whether it was used is for [`Nonces`].
    /// `now` in milliseconds since 1970.
    ///
    /// # Errors
    /// [`TicketError`]
    pub fn open_cookie(&self, text: &str, bound_to: &Admittance, now: u64) -> Result<Cookie, TicketError> {
        let _ = (text, bound_to, now);
        unimplemented!()
    }
}

/// The nonces of cookies that were used and have not yet expired: bounded by the cookies' life.
#[derive(Debug, Default)]
pub struct Nonces {}

impl Nonces {
    /// Takes a cookie once. `now` in milliseconds since 1970.
    ///
    /// # Errors
    /// [`TicketError::Used`]
    pub fn take(&self, cookie: &Cookie, now: u64) -> Result<(), TicketError> {
        let _ = (cookie, now);
        unimplemented!()
    }
}
