//! A line as a scenario writes it: text with `{…}` in it.

use super::kind::Kind;

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// Stands for itself.
    Text(Vec<u8>),
    /// `{name}`, `{alice.password}`, `{version+1}`: the value, with a number added to it.
    Name(String, Option<u64>),
    /// `{name=kind}`, or `{kind}` without a name.
    Wild(Option<String>, Kind),
    /// `{length}`
    Length,
    /// `{function(argument, …)}`
    Call(String, Vec<Argument>),
}

/// An argument of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Argument {
    /// In quotes: itself.
    Quoted(Vec<u8>),
    /// A name if there is one, otherwise itself.
    Bare(String),
}

/// Text with `{…}` in it, read once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Template {
    pub(super) pieces: Vec<Piece>,
    /// As it was written, for reports.
    pub(super) source: String,
}

/// The most bytes that one quoted text or `repeat` may produce.
pub(super) const MAX_TEXT: usize = 1024 * 1024;

impl Template {
    /// Reads a line.
    pub(super) fn parse(source: &str) -> Result<Self, String> {
        let mut template = Self { pieces: Vec::new(), source: source.to_owned() };
        let mut rest = source;
        while let Some(at) = rest.find('{') {
            template.push_text(&rest.as_bytes()[..at]);
            match parse_braces(&rest[at..])? {
                Some((piece, used)) => {
                    template.push(piece);
                    rest = &rest[at + used..];
                }
                // A brace that starts nothing, such as the one in `PROD0090YUAUV{2B`.
                None => {
                    template.push_text(b"{");
                    rest = &rest[at + 1..];
                }
            }
        }
        template.push_text(rest.as_bytes());
        Ok(template)
    }

    /// Reads what follows `>>`: texts in quotes and `{…}`, with spaces between that mean nothing, and perhaps a note.
    pub(super) fn parse_raw(source: &str) -> Result<Self, String> {
        let mut template = Self { pieces: Vec::new(), source: source.to_owned() };
        let mut rest = source.trim_start();
        // In parentheses outside of quotes there can only be a note.
        let is_note = |rest: &str| rest.starts_with('(') && rest.ends_with(')');
        while !rest.is_empty() && !is_note(rest) {
            let used = if rest.starts_with('"') {
                let (text, used) = parse_quoted(rest)?;
                template.push_text(&text);
                used
            } else {
                let (piece, used) = parse_braces(rest)?.ok_or("after >> come texts in quotes and {…}")?;
                template.push(piece);
                used
            };
            rest = rest[used..].trim_start();
        }
        Ok(template)
    }

    /// One that stands for itself.
    #[cfg(test)]
    pub(super) fn literal(text: &str) -> Self {
        Self { pieces: vec![Piece::Text(text.as_bytes().to_vec())], source: text.to_owned() }
    }

    pub(super) fn push(&mut self, piece: Piece) {
        match piece {
            Piece::Text(text) => self.push_text(&text),
            other => self.pieces.push(other),
        }
    }

    pub(super) fn push_text(&mut self, text: &[u8]) {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(last)) => last.extend_from_slice(text),
            _ => self.pieces.push(Piece::Text(text.to_vec())),
        }
    }

    /// Puts `other` behind this.
    pub(super) fn append(&mut self, other: Self) {
        other.pieces.into_iter().for_each(|piece| self.push(piece));
        self.source.push_str(&other.source);
    }

    /// Whether it ends in `{length}`.
    pub(super) fn has_length(&self) -> bool {
        self.pieces.contains(&Piece::Length)
    }

    /// Whether it holds a placeholder, and so can only be expected and not sent.
    pub(super) fn is_pattern(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Wild(..)))
    }
}

/// Whether a text is a name: a lower-case letter, then letters, digits, `-`, `_`, and `.` for attributes.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// Reads the `{…}` at the start of `text` and says how many bytes it takes; nothing if it is only a brace.
fn parse_braces(text: &str) -> Result<Option<(Piece, usize)>, String> {
    let Some(inner) = text.strip_prefix('{') else { return Ok(None) };
    if inner.starts_with('"') {
        let (literal, used) = parse_quoted(inner)?;
        let closed = inner[used..].starts_with('}');
        return if closed { Ok(Some((Piece::Text(literal), used + 2))) } else { Err("{\"…\" without }".into()) };
    }
    let length = inner.find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c)).unwrap_or(inner.len());
    let (name, rest) = inner.split_at(length);
    if !is_name(name) {
        return Ok(None);
    }
    if let Some(arguments) = rest.strip_prefix('(') {
        let (arguments, used) = parse_arguments(arguments)?;
        return Ok(Some((Piece::Call(name.to_owned(), arguments), 1 + length + 1 + used)));
    }
    let end = rest.find('}').ok_or_else(|| format!("{{{name} without }}: write {{\"{{\"}} for a brace"))?;
    let piece = simple_piece(name, &rest[..end])?;
    Ok(Some((piece, 1 + length + end + 1)))
}

/// `name`, `name=kind`, `name+1`, `kind` or `length`.
fn simple_piece(name: &str, tail: &str) -> Result<Piece, String> {
    if let Some(kind) = tail.strip_prefix('=') {
        let kind = Kind::by_name(kind).ok_or_else(|| format!("there is no kind {kind:?}"))?;
        if name.contains('.') || name == "length" || Kind::by_name(name).is_some() {
            return Err(format!("{name:?} can't be the name of a capture"));
        }
        return Ok(Piece::Wild(Some(name.to_owned()), kind));
    }
    if let Some(add) = tail.strip_prefix('+') {
        let add = add.parse().map_err(|_| format!("{add:?} is no number"))?;
        return Ok(Piece::Name(name.to_owned(), Some(add)));
    }
    match (tail, Kind::by_name(name)) {
        ("", _) if name == "length" => Ok(Piece::Length),
        ("", Some(kind)) => Ok(Piece::Wild(None, kind)),
        ("", None) => Ok(Piece::Name(name.to_owned(), None)),
        _ => Err(format!("{{{name}{tail}}} can't be read: write {{\"{{\"}} for a brace")),
    }
}

/// Reads `a, "b", c)}` and says how many bytes that takes.
fn parse_arguments(text: &str) -> Result<(Vec<Argument>, usize), String> {
    let mut arguments = Vec::new();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start().len();
        let rest = &text[at..];
        if rest.starts_with('"') {
            let (quoted, used) = parse_quoted(rest)?;
            arguments.push(Argument::Quoted(quoted));
            at += used;
        } else {
            let comma = rest.find(',').unwrap_or(rest.len());
            let end = rest.find(")}").unwrap_or(rest.len()).min(comma);
            arguments.push(Argument::Bare(rest[..end].trim().to_owned()));
            at += end;
        }
        if text[at..].starts_with(")}") {
            return Ok((arguments, at + 2));
        }
        if !text[at..].starts_with(',') {
            return Err("a function's arguments end in )}".into());
        }
        at += 1;
    }
}

/// Reads the text in quotes at the start of `text`, with the escapes `\r \n \t \0 \" \\ \xNN`, and says how many
/// bytes it takes with its quotes.
pub(super) fn parse_quoted(text: &str) -> Result<(Vec<u8>, usize), String> {
    let mut out = Vec::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((out, at + 1)),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('r') => out.push(b'\r'),
                Some('n') => out.push(b'\n'),
                Some('t') => out.push(b'\t'),
                Some('0') => out.push(0),
                Some('"') => out.push(b'"'),
                Some('\\') => out.push(b'\\'),
                Some('x') => {
                    let digits = text.get(at + 2..at + 4).unwrap_or_default();
                    out.push(u8::from_str_radix(digits, 16).map_err(|_| "\\x wants two hex digits".to_owned())?);
                    chars.nth(1);
                }
                _ => return Err("the escapes are \\r \\n \\t \\0 \\\" \\\\ \\xNN".into()),
            },
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Err("a quote that doesn't end".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.as_bytes().to_vec())
    }

    fn name(name: &str) -> Piece {
        Piece::Name(name.to_owned(), None)
    }

    #[track_caller]
    fn check(source: &str, pieces: &[Piece]) {
        assert_eq!(Template::parse(source).unwrap().pieces, pieces, "{source}");
    }

    #[test]
    fn names_captures_and_kinds() {
        check("USR 3 {alice}", &[text("USR 3 "), name("alice")]);
        check(
            "XFR 3 NS {ns=addr} 0 {any}",
            &[
                text("XFR 3 NS "),
                Piece::Wild(Some("ns".into()), Kind::Addr),
                text(" 0 "),
                Piece::Wild(None, Kind::Any),
            ],
        );
        check("{v+1} {length}", &[Piece::Name("v".into(), Some(1)), text(" "), Piece::Length]);
        check("{alice.password}", &[name("alice.password")]);
    }

    #[test]
    fn functions() {
        let bare = |text: &str| Argument::Bare(text.into());
        check(
            "{md5(salt, alice.password)}",
            &[Piece::Call("md5".into(), vec![bare("salt"), bare("alice.password")])],
        );
        check(
            "{challenge(chl, PROD0090YUAUV{2B, MSNP11)}",
            &[Piece::Call("challenge".into(), vec![bare("chl"), bare("PROD0090YUAUV{2B"), bare("MSNP11")])],
        );
        check(
            "{ticket(alice, \"a, )} b\")}!",
            &[Piece::Call("ticket".into(), vec![bare("alice"), Argument::Quoted(b"a, )} b".to_vec())]), text("!")],
        );
    }

    #[test]
    fn a_brace_of_the_protocol_stays_a_brace() {
        check("QRY 9 PROD0090YUAUV{2B 32", &[text("QRY 9 PROD0090YUAUV{2B 32")]);
        check("Message-ID: {0B7E1C2A-1}", &[text("Message-ID: {0B7E1C2A-1}")]);
        check("a{\"{\"}b", &[text("a{b")]);
    }

    #[test]
    fn raw_bytes() {
        let raw = Template::parse_raw(r#""VER 1\r\n\0\xff" {alice} "\"""#).unwrap();
        assert_eq!(raw.pieces, [Piece::Text(b"VER 1\r\n\0\xff".to_vec()), name("alice"), text("\"")]);
        assert_eq!(Template::parse_raw("\"x\"  (a note)").unwrap().pieces, [text("x")]);
        assert!(Template::parse_raw("VER").is_err());
    }

    #[test]
    fn mistakes_are_named() {
        for bad in ["{alice", "{x=thing}", "{number=number}", "{a b}", "{md5(a", "{\"x", "{v+x}", "{\"\\q\"}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }
}
