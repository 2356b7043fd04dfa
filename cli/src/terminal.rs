//! What is written for people to read.

use std::fmt::Write as _;
use std::io::{self, Write};

/// A line on standard error. It may be closed: that is no reason to end what we tend.
pub(crate) fn say(line: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{}", harmless_lines(&line.to_string()));
}

/// A text on standard output, which may be closed as well.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(harmless_lines(text).as_bytes()).and_then(|()| out.flush());
}

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

/// The same for a text of several lines, whose line ends stay: whatever paths and answers it quotes, it does not command the
/// terminal.
fn harmless_lines(text: &str) -> String {
    text.split('\n').map(harmless).collect::<Vec<_>>().join("\n")
}

/// JSON text with the same escaped as JSON has it: readers get what was there, terminals don't obey it.
pub(crate) fn harmless_json(json: &str) -> String {
    let mut clean = String::with_capacity(json.len());
    for c in json.chars() {
        if is_dangerous(c) {
            // Only within texts: what stands around them is ASCII. All of these are in the first plane.
            let _ = write!(clean, "\\u{:04x}", u32::from(c));
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
        assert_eq!(harmless_lines("one\n  two\x07\n"), "one\n  two\\u{7}\n");
        assert_eq!(harmless("Grüße, 世界 👋"), "Grüße, 世界 👋");
        assert_eq!(harmless("\x1b[2Jgone\r\n\u{9b}1m\u{202e}x"), "\\u{1b}[2Jgone\\r\\n\\u{9b}1m\\u{202e}x");
    }
}
