//! A client's own word, kept to be echoed.

use std::fmt;

use bytes::Bytes;

use super::Command;

/// One argument as it came. Direct replies repeat it byte for byte: some clients match it literally and hang
/// otherwise (§2.5). Cheap to clone: it points into the line that was read.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Token(Bytes);

impl Token {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Lines are checked to be UTF-8 when they are framed, and are cut at ASCII only.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whether it is empty: a space with nothing behind it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What follows `prefix`, if the token starts with it.
    #[must_use]
    pub fn strip_prefix(&self, prefix: &str) -> Option<Self> {
        self.as_str().starts_with(prefix).then(|| Self(self.0.slice(prefix.len()..)))
    }
}

impl Command {
    /// Argument `index`, to be echoed.
    #[must_use]
    pub fn token(&self, index: usize) -> Option<Token> {
        self.raw(index).map(Token)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
pub(super) mod testing {
    use bytes::BytesMut;

    use crate::msnp::{Command, Decoder, Service};

    /// Frames one line.
    #[track_caller]
    pub(in crate::msnp) fn command(line: &str) -> Command {
        let mut input = BytesMut::from(format!("{line}\r\n").as_bytes());
        Decoder::new(Service::Notification, 0).decode(&mut input).unwrap().unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::command;

    #[test]
    fn keeps_what_came() {
        let token = command("ADC 1 AL N=Bob@Example.COM").token(2).unwrap();
        assert_eq!(token.strip_prefix("N=").unwrap().as_str(), "Bob@Example.COM");
        assert_eq!(token.strip_prefix("F="), None);
    }
}
