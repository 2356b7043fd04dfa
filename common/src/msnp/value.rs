//! Texts within a line: percent-encoded UTF-8 (protocol reference §2.5).

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, PercentEncode, percent_decode_str, utf8_percent_encode};

/// What can't stand in a token as it is. Letters of other scripts are always encoded by the library.
const RESERVED: &AsciiSet =
    &CONTROLS.add(b' ').add(b'%').add(b'"').add(b'<').add(b'>').add(b'&').add(b'=').add(b'+');

/// Encodes a text as a token.
pub fn encode(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, RESERVED)
}

/// The length of a text once encoded, in bytes: what the limits of the reference count.
#[must_use]
pub fn encoded_len(text: &str) -> usize {
    encode(text).map(str::len).sum()
}

/// Decodes a token. Nothing if it is not UTF-8, or holds a control character, also an encoded one: `%0D%0A` in a
/// name would end another user's line early.
#[must_use]
pub fn decode(token: &str) -> Option<Cow<'_, str>> {
    let text = percent_decode_str(token).decode_utf8().ok()?;
    let clean = !text.chars().any(char::is_control);
    clean.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn decodes_no_line_ends() {
        assert_eq!(decode("Alice%20A."), Some("Alice A.".into()));
        for bad in ["a%0D%0AOUT", "a%00", "%ff", "%7F"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(text in "\\PC{0,40}") {
            let token = encode(&text).to_string();
            prop_assert!(token.bytes().all(|b| b.is_ascii_graphic()));
            prop_assert_eq!(token.len(), encoded_len(&text));
            let decoded = decode(&token);
            prop_assert_eq!(decoded.as_deref(), Some(text.as_str()));
        }
    }
}
