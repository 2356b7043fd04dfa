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
    /// Splits a payload into head and body. Without a blank line all of it is head.
    #[must_use]
    pub fn split(payload: &'a [u8]) -> (Self, &'a [u8]) {
        let end = payload.windows(4).position(|four| four == b"\r\n\r\n");
        match end {
            Some(end) => (Self { head: &payload[..end] }, &payload[end + 4..]),
            None => (Self { head: payload }, &[]),
        }
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
    fn takes_anything() {
        for payload in [&b""[..], b"\r\n\r\n", b":", b"\xff: \xff", b"Content-Type"] {
            assert_eq!(Head::split(payload).0.content_type(), None);
        }
    }
}
