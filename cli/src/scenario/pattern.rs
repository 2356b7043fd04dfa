//! Comparing what was got with what was expected.

use std::collections::HashSet;

use super::kind::Kind;

/// A part of an expected text once all names in it have their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Exactly these bytes.
    Text(Vec<u8>),
    /// Something of this kind, to be bound to this name.
    Wild(Option<String>, Kind),
}

/// What was captured, in the order of the text.
pub(super) type Captures = Vec<(String, String)>;

/// An expected text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pattern(pub(super) Vec<Part>);

impl Pattern {
    /// Exactly these bytes.
    pub(super) fn exactly(text: &[u8]) -> Self {
        Self(vec![Part::Text(text.to_vec())])
    }

    /// What the placeholders stand for if `text` is the one expected.
    pub(super) fn matches(&self, text: &[u8]) -> Option<Captures> {
        let mut search = Search { parts: &self.0, text, failed: HashSet::new(), captures: Vec::new() };
        search.run(0, 0).then(|| {
            search.captures.reverse();
            search.captures
        })
    }

    /// The bytes, if there is nothing in it but text.
    pub(super) fn as_text(&self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        for part in &self.0 {
            let Part::Text(text) = part else { return None };
            out.extend_from_slice(text);
        }
        Some(out)
    }

    /// As a report shows it.
    pub(super) fn show(&self) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => show(text),
            Part::Wild(Some(name), kind) => format!("{{{name}={}}}", kind.name()),
            Part::Wild(None, Kind::Skip) => "|*".to_owned(),
            Part::Wild(None, kind) => format!("{{{}}}", kind.name()),
        });
        parts.collect()
    }
}

/// Bytes as a report shows them: one line, control bytes escaped.
pub(super) fn show(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\r' => out.push_str("\\r"),
                '\n' => out.push_str("\\n"),
                c if c.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(c))),
                c => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out
}

/// A search with memory, so that several placeholders side by side don't cost exponentially.
struct Search<'a> {
    parts: &'a [Part],
    text: &'a [u8],
    failed: HashSet<(usize, usize)>,
    /// From the last to the first.
    captures: Captures,
}

impl Search<'_> {
    /// Whether the parts from `part` on match the text from `at` on.
    fn run(&mut self, part: usize, at: usize) -> bool {
        if self.failed.contains(&(part, at)) {
            return false;
        }
        let found = match self.parts.get(part) {
            None => at == self.text.len(),
            Some(Part::Text(text)) => self.text[at..].starts_with(text) && self.run(part + 1, at + text.len()),
            Some(Part::Wild(name, kind)) => self.wild(part, at, name.as_deref(), *kind),
        };
        if !found {
            self.failed.insert((part, at));
        }
        found
    }

    /// Tries the longest text first.
    fn wild(&mut self, part: usize, at: usize, name: Option<&str>, kind: Kind) -> bool {
        let rest = &self.text[at..];
        let most = rest.iter().position(|byte| !kind.takes(*byte)).unwrap_or(rest.len());
        for length in (kind.fewest()..=most).rev() {
            if !kind.accepts(&rest[..length]) || !self.run(part + 1, at + length) {
                continue;
            }
            let Some(name) = name else { return true };
            let Ok(value) = std::str::from_utf8(&rest[..length]) else { return false };
            self.captures.push((name.to_owned(), value.to_owned()));
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wild(name: &str, kind: Kind) -> Part {
        Part::Wild((!name.is_empty()).then(|| name.to_owned()), kind)
    }

    fn text(text: &str) -> Part {
        Part::Text(text.as_bytes().to_vec())
    }

    #[test]
    fn captures_in_order() {
        let pattern =
            Pattern(vec![text("XFR 3 NS "), wild("ns", Kind::Addr), text(" 0 "), wild("here", Kind::Any)]);
        let captures = pattern.matches(b"XFR 3 NS 127.0.0.1:5 0 x").unwrap();
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(captures, [pair("ns", "127.0.0.1:5"), pair("here", "x")]);
        for bad in ["XFR 3 NS 127.0.0.1:5 0", "XFR 3 NS x 0 x", "XFR 3 NS 127.0.0.1:5 0 x y", "xfr"] {
            assert_eq!(pattern.matches(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn nothing_may_be_left_over() {
        assert_eq!(Pattern::exactly(b"QNG").matches(b"QNG 50"), None);
        assert_eq!(Pattern::exactly(b"QNG").matches(b"QNG"), Some(vec![]));
        assert_eq!(Pattern(vec![text("QNG"), wild("", Kind::Rest)]).matches(b"QNG 50"), Some(vec![]));
    }

    #[test]
    fn placeholders_side_by_side_end() {
        let pattern = Pattern((0..12).map(|_| wild("", Kind::Skip)).chain([text("!")]).collect());
        assert_eq!(pattern.matches(&[b'x'; 500]), None);
    }

    #[test]
    fn control_bytes_are_shown() {
        assert_eq!(show(b"a\r\n\0\xff\xc3\xa4"), "a\\r\\n\\x00\\xff\u{e4}");
    }
}
