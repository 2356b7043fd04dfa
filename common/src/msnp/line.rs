//! Writing commands.

use std::fmt::{Display, Write};

use bytes::Bytes;

use super::error_code::ErrorCode;
use super::frame::TrId;
use super::value;

/// A command being written, from its verb to its end. Arguments are single tokens by construction.
#[derive(Debug)]
pub struct Line {
    text: String,
}

impl Line {
    /// Starts a command.
    #[must_use]
    pub fn new(verb: &str) -> Self {
        let mut text = String::with_capacity(96);
        text.push_str(verb);
        Self { text }
    }

    /// The reply to a request that is refused: `<code> <TrID>`.
    #[must_use]
    pub fn error(code: ErrorCode, trid: TrId) -> Bytes {
        let mut line = Self { text: String::with_capacity(16) };
        let _ = write!(line.text, "{code}");
        line.arg(trid).end()
    }

    /// Adds an argument that is a token already: a number, a passport, a code, or a client's own token echoed.
    #[must_use]
    pub fn arg(mut self, token: impl Display) -> Self {
        self.text.push(' ');
        let start = self.text.len();
        let _ = write!(self.text, "{token}");
        // Nothing that a peer or the store supplied may end the line early.
        if self.text[start..].bytes().any(|b| b.is_ascii_control() || b == b' ') {
            let clean = value::encode(&self.text[start..]).to_string();
            self.text.truncate(start);
            self.text.push_str(&clean);
        }
        self
    }

    /// Adds a text, percent-encoded. An empty text leaves a trailing space, as an empty value does on this wire.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.text.push(' ');
        let _ = write!(self.text, "{}", value::encode(text));
        self
    }

    /// Adds an argument if there is one.
    #[must_use]
    pub fn maybe(self, token: Option<impl Display>) -> Self {
        match token {
            Some(token) => self.arg(token),
            None => self,
        }
    }

    /// Ends a command without a payload.
    #[must_use]
    pub fn end(mut self) -> Bytes {
        self.text.push_str("\r\n");
        self.text.into()
    }

    /// Ends a command with its payload and the payload's length.
    #[must_use]
    pub fn payload(self, payload: &[u8]) -> Bytes {
        let line = self.arg(payload.len());
        let mut bytes = line.text.into_bytes();
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(payload);
        bytes.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_line_early() {
        let line = Line::new("NLN").arg("x\r\nOUT").text("a b%\r\n").end();
        assert_eq!(&line[..], b"NLN x%0D%0AOUT a%20b%25%0D%0A\r\n");
    }

    #[test]
    fn payloads_are_counted_in_bytes() {
        let line = Line::new("UBX").arg("bob@example.com").payload("é".as_bytes());
        assert_eq!(&line[..], "UBX bob@example.com 2\r\né".as_bytes());
    }
}
