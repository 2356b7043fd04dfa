//! The head of a payload: MIME-like header lines, a blank line, a body (protocol reference §9.1). Read only as far
//! as the server needs; payloads are relayed byte for byte.

/// The most header lines that are looked at.
const MAX_HEADERS: usize = 32;

/// The head of a payload.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    head: &'a [u8],
}

impl<'a> Head<'a> {
    /// Splits a payload into head and body at the first blank line, whether lines end in CRLF or in LF alone. Without a blank
    /// line all of it is head.
    #[must_use]
    pub fn split(payload: &'a [u8]) -> (Self, &'a [u8]) {
        let mut start = 0;
        for line in payload.split_inclusive(|b| *b == b'\n') {
            if matches!(line, b"\n" | b"\r\n") {
                let (head, rest) = payload.split_at(start);
                return (Self { head }, &rest[line.len()..]);
            }
            start += line.len();
        }
        (Self { head: payload }, &[])
    }

    /// What somebody has typed: the body, or all of a payload that has no head.
    #[must_use]
    pub fn typed(payload: &'a [u8]) -> &'a [u8] {
        let (head, body) = Self::split(payload);
        let known = ["MIME-Version", "Content-Type", "Message-ID"];
        if known.iter().any(|name| head.header(name).is_some()) { body } else { payload }
    }

    /// The value of a header, without regard to the name's case; nothing if it is absent or no UTF-8.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.head.split(|b| *b == b'\n').take(MAX_HEADERS).find_map(|line| {
            let colon = line.iter().position(|b| *b == b':')?;
            let (key, value) = (line.get(..colon)?, line.get(colon + 1..)?);
            let found = key.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
            found.then(|| std::str::from_utf8(value.trim_ascii()).ok()).flatten()
        })
    }

    /// The content type without its parameters; nothing if there is none.
    #[must_use]
    pub fn content_type(&self) -> Option<&'a str> {
        let value = self.header("Content-Type")?;
        Some(value.split(';').next().unwrap_or(value).trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_headers() {
        let payload = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\nType: x\r\n";
        let (head, body) = Head::split(payload);
        assert_eq!(head.content_type(), Some("text/plain"));
        assert_eq!(head.header("mime-version"), Some("1.0"));
        assert_eq!(head.header("Type"), None);
        assert_eq!(body, b"Type: x\r\n");
    }

    #[test]
    fn lines_end_in_crlf_or_lf() {
        for payload in [
            "MIME-Version: 1.0\nContent-Type: text/plain\n\nhi\n\nthere",
            "Content-Type: text/plain\r\n\nhi\n\nthere",
        ] {
            let (head, body) = Head::split(payload.as_bytes());
            assert_eq!((head.content_type(), body), (Some("text/plain"), &b"hi\n\nthere"[..]));
        }
        let mixed = Head::split(b"A: b\r\n\r\n\n\nc");
        assert_eq!(mixed.1, b"\n\nc");
    }

    #[test]
    fn what_has_no_head_was_typed_as_it_is() {
        for typed in ["hello", "hello\r\n\r\nthere", "note: milk\n\nand bread", ""] {
            assert_eq!(Head::typed(typed.as_bytes()), typed.as_bytes());
        }
        assert_eq!(Head::typed(b"MIME-Version: 1.0\r\n\r\nhello"), b"hello");
        assert_eq!(Head::typed(b"Content-Type: text/plain"), b"");
    }

    #[test]
    fn takes_anything() {
        for payload in [&b""[..], b"\r\n\r\n", b":", b"\xff: \xff", b"Content-Type"] {
            assert_eq!(Head::split(payload).0.content_type(), None);
        }
    }
}
