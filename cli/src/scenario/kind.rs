//! What a placeholder of an expected line may stand for.

/// A kind of text. The names in a scenario are those of [`Kind::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// One or more characters without a space.
    Any,
    /// An IPv4 address and a port: `XFR` and `RNG` never carry another (old clients can't read it).
    Addr,
    /// Decimal digits.
    Number,
    /// A GUID in lower-case hex.
    Guid,
    /// Lower-case hex digits.
    Hex,
    /// At most 100 characters without `%`: a switchboard cookie or the salt of an MD5 sign-in.
    Opaque,
    /// A list version of MSNP10 and later (protocol reference §6.5).
    Timestamp,
    /// The rest of the line, perhaps nothing.
    Rest,
    /// Anything, line ends too: what `|*` stands for in a payload.
    Skip,
}

impl Kind {
    const ALL: [(&'static str, Self); 9] = [
        ("any", Self::Any),
        ("token", Self::Any),
        ("addr", Self::Addr),
        ("number", Self::Number),
        ("guid", Self::Guid),
        ("hex", Self::Hex),
        ("opaque", Self::Opaque),
        ("timestamp", Self::Timestamp),
        ("rest", Self::Rest),
    ];

    pub(super) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, kind)| kind)
    }

    pub(super) fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, kind)| *kind == self).map_or("|*", |(name, _)| name)
    }

    /// The fewest bytes it takes.
    pub(super) fn fewest(self) -> usize {
        match self {
            Self::Rest | Self::Skip => 0,
            _ => 1,
        }
    }

    /// Whether a byte may stand anywhere in it.
    pub(super) fn takes(self, byte: u8) -> bool {
        match self {
            Self::Any | Self::Addr | Self::Timestamp => !byte.is_ascii_whitespace() && byte != 0,
            Self::Opaque => byte.is_ascii_graphic() && byte != b'%',
            Self::Number => byte.is_ascii_digit(),
            Self::Guid => byte.is_ascii_hexdigit() || byte == b'-',
            Self::Hex => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            Self::Rest => !matches!(byte, b'\r' | b'\n'),
            Self::Skip => true,
        }
    }

    /// Whether a whole text is of this kind, all of whose bytes may stand in it.
    pub(super) fn accepts(self, text: &[u8]) -> bool {
        match self {
            Self::Addr => is_address(text),
            Self::Guid => fits(text, b"hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh"),
            Self::Timestamp => {
                fits(text, b"dddd-dd-ddTdd:dd:dd.dddddddZ") || fits(text, b"dddd-dd-ddTdd:dd:dd.dddddddsdd:dd")
            }
            Self::Opaque => text.len() <= 100,
            _ => true,
        }
    }
}

fn is_address(text: &[u8]) -> bool {
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse::<std::net::SocketAddrV4>().ok());
    parsed.is_some_and(|address| address.port() != 0)
}

/// Compares with a form in which `h` is a lower-case hex digit, `d` a decimal digit and `s` a sign.
fn fits(text: &[u8], form: &[u8]) -> bool {
    let fits = |(byte, form): (&u8, &u8)| match form {
        b'h' => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        b'd' => byte.is_ascii_digit(),
        b's' => matches!(byte, b'+' | b'-'),
        literal => byte == literal,
    };
    text.len() == form.len() && text.iter().zip(form).all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (kind, good, bad) in [
            (Kind::Addr, "127.0.0.1:1863", "127.0.0.1"),
            (Kind::Addr, "1.2.3.4:1", "[::1]:1863"),
            (Kind::Guid, "2a6a0f0e-7b0d-4a5d-9b0a-0d0f5f0c1a01", "2A6A0F0E-7B0D-4A5D-9B0A-0D0F5F0C1A01"),
            (Kind::Timestamp, "2025-06-15T10:00:00.0000000-07:00", "2025-06-15T10:00:00-07:00"),
            (Kind::Timestamp, "2025-06-15T10:00:00.0000000Z", "0"),
        ] {
            assert!(kind.accepts(good.as_bytes()), "{good}");
            assert!(!kind.accepts(bad.as_bytes()), "{bad}");
        }
        assert!(!Kind::Opaque.accepts(&[b'x'; 101]));
        assert!(!Kind::Opaque.takes(b'%') && !Kind::Number.takes(b'-') && !Kind::Any.takes(b' '));
    }
}
