//! What strangers wrote, made harmless for a terminal.

use std::fmt::Write;

/// The text with everything escaped that would move the cursor, colour the screen, start a line, or turn the
/// direction of what follows.
pub(crate) fn harmless(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if is_dangerous(c) {
            // Writing to a string can't fail.
            let _ = write!(clean, "{}", c.escape_default());
        } else {
            clean.push(c);
        }
    }
    clean
}

fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            // Marks, embeddings, overrides and isolates of direction; line and paragraph separators.
            '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_and_control_shows() {
        assert_eq!(harmless("Grüße, 世界 👋"), "Grüße, 世界 👋");
        assert_eq!(harmless("\x1b[2Jgone\r\n\u{9b}1m\u{202e}x"), "\\u{1b}[2Jgone\\r\\n\\u{9b}1m\\u{202e}x");
    }
}
