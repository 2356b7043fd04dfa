//! What operators tell users.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

/// What operators tell users. How it looks depends on the dialect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bulletin {
    /// A text, and a number that tells it from others: clients may show each number once.
    Text {
        /// Below 2³¹.
        number: u32,
        /// What is shown.
        text: BulletinText,
    },
    /// The service goes down.
    ShutDown {
        /// In so many minutes.
        minutes: u16,
    },
}

/// A text for users: one line of at most [`BulletinText::MAX_LEN`] bytes as XML has it. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct BulletinText(Arc<str>);

/// Why a text can't be shown to users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BulletinError {
    /// Nothing but white space.
    #[error("there is no text")]
    Empty,
    /// Longer than [`BulletinText::MAX_LEN`].
    #[error(
        "the text is longer than {} bytes as clients get it: there & takes 5, < and > take 4, and \" takes 6",
        BulletinText::MAX_LEN
    )]
    TooLong,
    /// A character that can't be shown, or that no XML may hold.
    #[error("the text holds a control character")]
    BadCharacter,
}

impl BulletinText {
    /// The most bytes, [as XML has it](xml_len). What clients show is small, and the whole command stays below what the weakest
    /// of them reads at once (`CLIENTS` 2).
    pub const MAX_LEN: usize = 400;

    /// Reads a text as an operator writes it: white space around it is dropped, line ends and tabs become spaces.
    ///
    /// # Errors
    /// [`BulletinError`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, BulletinError> {
        // A long run of white space may become short; but nothing without bound is looked at.
        let words: Vec<&str> = text.split_whitespace().take(Self::MAX_LEN).collect();
        let text = words.join(" ");
        if text.is_empty() {
            Err(BulletinError::Empty)
        } else if xml_len(&text) > Self::MAX_LEN {
            Err(BulletinError::TooLong)
        } else if text.chars().any(|c| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}')) {
            Err(BulletinError::BadCharacter)
        } else {
            Ok(Self(text.into()))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How many bytes a text takes within XML, where `&`, `<`, `>` and `"` have names.
#[must_use]
pub fn xml_len(text: &str) -> usize {
    let len = |byte| match byte {
        b'&' => "&amp;".len(),
        b'<' | b'>' => "&lt;".len(),
        b'"' => "&quot;".len(),
        _ => 1,
    };
    text.bytes().map(len).sum()
}

impl fmt::Debug for BulletinText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl std::str::FromStr for BulletinText {
    type Err = BulletinError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl<'de> Deserialize<'de> for BulletinText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_one_short_line() {
        for (text, read) in [
            ("Back at 5", Ok("Back at 5")),
            (" Back \r\n at\t5\n", Ok("Back at 5")),
            ("Grüße, 世界 👋 <b>&", Ok("Grüße, 世界 👋 <b>&")),
            (" \n ", Err(BulletinError::Empty)),
            ("a\0b", Err(BulletinError::BadCharacter)),
            ("a\u{ffff}", Err(BulletinError::BadCharacter)),
        ] {
            assert_eq!(
                BulletinText::parse(text).as_ref().map(BulletinText::as_str),
                read.as_ref().copied(),
                "{text:?}"
            );
        }
        assert!(BulletinText::parse(&"x".repeat(400)).is_ok());
        assert_eq!(BulletinText::parse(&"x".repeat(401)), Err(BulletinError::TooLong));
        assert_eq!(BulletinText::parse(&"x ".repeat(1000)), Err(BulletinError::TooLong));
        // As clients get it.
        for (special, most) in [("&", 80), ("<", 100), (">", 100), ("\"", 66), ("é", 200)] {
            assert!(BulletinText::parse(&special.repeat(most)).is_ok(), "{special}");
            assert_eq!(BulletinText::parse(&special.repeat(most + 1)), Err(BulletinError::TooLong), "{special}");
        }
    }
}
