//! What contacts may see of a principal who is signed in.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A presence status (protocol reference §6.8). `FLN`, signed out, is the absence of a [`Presence`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    /// `NLN`
    Online,
    /// `BSY`
    Busy,
    /// `IDL`
    Idle,
    /// `BRB`
    BeRightBack,
    /// `AWY`
    Away,
    /// `PHN`
    OnThePhone,
    /// `LUN`
    OutToLunch,
    /// `HDN`: signed in, shown to nobody.
    Hidden,
}

impl Status {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Online, "NLN"),
        (Self::Busy, "BSY"),
        (Self::Idle, "IDL"),
        (Self::BeRightBack, "BRB"),
        (Self::Away, "AWY"),
        (Self::OnThePhone, "PHN"),
        (Self::OutToLunch, "LUN"),
        (Self::Hidden, "HDN"),
    ];

    /// The three letters on the wire.
    #[must_use]
    pub fn code(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// Reads the three letters of a `CHG`; `FLN` is no status that a client may ask for.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, c)| *c == code).map(|(status, _)| status)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// The personal message and current media of a principal: the XML of `UUX`, as the client sent it.
///
/// Opaque to the server but for its length.
pub type PersonalMessage = Arc<str>;

/// What a contact sees of a principal. Texts are decoded; each dialect's writer encodes what it shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// The status; never [`Status::Hidden`] in what leaves a session.
    pub status: Status,
    /// The friendly name, decoded.
    pub name: Arc<str>,
    /// The client's capability number, 0 when it gave none.
    pub capabilities: u64,
    /// The display picture's MSNObject, decoded and opaque.
    pub object: Option<Arc<str>>,
    /// The payload of the last `UUX`.
    pub personal_message: Option<PersonalMessage>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip() {
        for (status, code) in Status::ALL {
            assert_eq!(status.code(), code);
            assert_eq!(Status::from_code(code), Some(status));
        }
        assert_eq!(Status::from_code("FLN"), None);
        assert_eq!(Status::from_code("nln"), None);
    }
}
