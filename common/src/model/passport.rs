//! The account name of a principal.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

/// An account name: an e-mail address, ASCII, compared without regard to case and kept in lower case.
///
/// At most [`Passport::MAX_LEN`] bytes (protocol reference §2.6). Its domain may be of one label: a deployment within one
/// house has accounts like `alice@lan`. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Passport(Arc<str>);

/// Why a text is not a [`Passport`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PassportError {
    /// No `@`, or nothing before or after it.
    #[error("an account name has the form name@domain")]
    NoDomain,
    /// Longer than [`Passport::MAX_LEN`].
    #[error("an account name is at most {} bytes long", Passport::MAX_LEN)]
    TooLong,
    /// A character that no account name may hold.
    #[error("an account name holds only printable ASCII without space, comma, semicolon, quotes, brackets or %")]
    BadCharacter,
}

impl Passport {
    /// The most bytes an account name may have.
    pub const MAX_LEN: usize = 129;

    /// Reads an account name as a client or an operator writes it.
    ///
    /// # Errors
    /// [`PassportError`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, PassportError> {
        if text.len() > Self::MAX_LEN {
            return Err(PassportError::TooLong);
        }
        let allowed = |b: u8| b.is_ascii_graphic() && !b",;:'\"<>()[]\\%/&=".contains(&b);
        if !text.bytes().all(allowed) {
            return Err(PassportError::BadCharacter);
        }
        match text.split_once('@') {
            Some((local, domain)) if !local.is_empty() && is_domain(domain) => {
                Ok(Self(text.to_ascii_lowercase().into()))
            }
            _ => Err(PassportError::NoDomain),
        }
    }

    /// The name, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Labels of letters, digits and hyphens, separated by single dots.
fn is_domain(domain: &str) -> bool {
    domain.split('.').all(|label| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    })
}

impl fmt::Display for Passport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Passport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl std::str::FromStr for Passport {
    type Err = PassportError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl<'de> Deserialize<'de> for Passport {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_kept_in_lower_case() {
        assert_eq!(Passport::parse("Alice@lan").unwrap().as_str(), "alice@lan");
        assert_eq!(Passport::parse("Alice@Example.COM").unwrap().as_str(), "alice@example.com");
    }

    #[test]
    fn refuses_what_is_no_address() {
        for (text, error) in [
            ("alice", PassportError::NoDomain),
            ("@example.com", PassportError::NoDomain),
            ("alice@", PassportError::NoDomain),
            ("a@b@c", PassportError::NoDomain),
            ("a@b..c", PassportError::NoDomain),
            ("al ice@example.com", PassportError::BadCharacter),
            ("alice\r\n@example.com", PassportError::BadCharacter),
            ("al%20ice@example.com", PassportError::BadCharacter),
            ("älice@example.com", PassportError::BadCharacter),
        ] {
            assert_eq!(Passport::parse(text), Err(error), "{text:?}");
        }
        assert_eq!(Passport::parse(&format!("{}@x", "a".repeat(128))), Err(PassportError::TooLong));
        assert!(Passport::parse(&format!("{}@x", "a".repeat(127))).is_ok());
    }
}
