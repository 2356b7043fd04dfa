//! Framing: bytes to commands (protocol reference §2).

use std::fmt;
use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use super::dialect::Dialect;
use super::line::Line;
use super::verbs::{Phase, Service, Verb, gate};
use super::{ErrorCode, ParseError};

/// A transaction id: chosen by the client, echoed by the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TrId(pub u32);

impl fmt::Display for TrId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A framed command: its line split at single spaces, and its payload. Points into the bytes that were read.
///
/// An argument may be empty: clients send an empty last one as a space with nothing behind it (`CLIENTS` 28).
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    line: Bytes,
    /// The arguments behind the verb, as ranges of `line`. A line is shorter than 64 KiB.
    args: Vec<Range<u16>>,
    payload: Option<Bytes>,
    /// The payload was longer than its verb's may be, and has been passed over.
    too_long: bool,
}

impl Command {
    /// The verb as it came; it may be one that nobody knows.
    #[must_use]
    pub fn verb(&self) -> Verb {
        let text = self.line.get(..3).unwrap_or_default();
        Verb(text.try_into().unwrap_or_default())
    }

    /// How many arguments follow the verb; the transaction id and the payload's length count.
    #[must_use]
    pub fn len(&self) -> usize {
        self.args.len()
    }

    /// How many arguments there are, of a command that takes `most`: empty ones at the end don't count beyond that, since some
    /// clients end a line with a space.
    #[must_use]
    pub fn len_up_to(&self, most: usize) -> usize {
        let empty = |index: &usize| self.args.get(*index).is_some_and(Range::is_empty);
        self.len() - (most..self.len()).rev().take_while(empty).count()
    }

    /// Whether an argument behind the transaction id is empty.
    #[must_use]
    pub fn has_empty_argument(&self) -> bool {
        self.args.iter().skip(1).any(Range::is_empty)
    }

    /// The answer to a command that could not be read since an argument is empty, if that is why: clients leave arguments empty by
    /// themselves, and it is no reason to close (`CLIENTS` 28).
    #[must_use]
    pub fn answer_to_empty(&self, error: ParseError) -> Option<Bytes> {
        let unread = matches!(error, ParseError::ArgumentCount | ParseError::BadArgument(_));
        let trid = self.trid().ok().filter(|_| unread && self.has_empty_argument())?;
        Some(Line::error(ErrorCode::InvalidParameter, trid))
    }

    /// Whether the verb stands alone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.args.is_empty()
    }

    /// Argument `index`; 0 is the one behind the verb: the transaction id, where there is one.
    #[must_use]
    pub fn arg(&self, index: usize) -> Option<&str> {
        let range = self.args.get(index)?;
        let bytes = self.line.get(usize::from(range.start)..usize::from(range.end))?;
        // The decoder has checked the whole line, and splits at ASCII only.
        std::str::from_utf8(bytes).ok()
    }

    /// The arguments from `index` on.
    pub fn args_from(&self, index: usize) -> impl Iterator<Item = &str> {
        (index..self.len()).filter_map(|index| self.arg(index))
    }

    /// Argument `index` as the bytes that came, to be echoed without a copy.
    #[must_use]
    pub fn raw(&self, index: usize) -> Option<Bytes> {
        let range = self.args.get(index)?;
        Some(self.line.slice(usize::from(range.start)..usize::from(range.end)))
    }

    /// The transaction id: the first argument.
    ///
    /// # Errors
    /// When there is none, or it is no decimal number below 2³².
    pub fn trid(&self) -> Result<TrId, ParseError> {
        let text = self.arg(0).ok_or(ParseError::ArgumentCount)?;
        parse_decimal(text).map(TrId).ok_or(ParseError::BadTrId)
    }

    /// Whether the payload was longer than its verb's may be. It was passed over then, and none is here.
    #[must_use]
    pub fn is_too_long(&self) -> bool {
        self.too_long
    }

    /// The payload, if the verb has one.
    #[must_use]
    pub fn payload(&self) -> Option<&Bytes> {
        self.payload.as_ref()
    }
}

impl fmt::Debug for Command {
    /// The verb and the transaction id only: arguments may be passwords and tickets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb(), self.arg(0).filter(|text| text.len() <= 10).unwrap_or("-"))
    }
}

/// Digits only: no sign, no space; leading zeros are harmless.
#[must_use]
pub(super) fn parse_decimal(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.len() <= 10 && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// What knocks at a port by mistake, and would wait there for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// A client that wants TLS.
    #[error("a TLS hello")]
    Tls,
    /// A browser, or whoever looks for one.
    #[error("an HTTP request")]
    Http,
    /// A proxy that nobody has said anything of, or somebody who plays one.
    #[error("a PROXY header")]
    Proxy,
}

impl Foreign {
    /// What a connection is that begins so. No command begins like either.
    fn beginning(input: &[u8]) -> Option<Self> {
        const METHODS: [&[u8]; 8] = [b"GET ", b"HEAD", b"POST", b"OPTI", b"CONN", b"DELE", b"TRAC", b"PRI "];
        match input {
            // A record of a handshake, and the hello of SSL 2 that old clients begin with.
            [0x16, ..] | [0x80..=0xff, _, 0x01, ..] => Some(Self::Tls),
            // Version 1, and 2.
            [b'P', b'R', b'O', b'X', b'Y', b' ', ..] | [b'\r', b'\n', b'\r', b'\n', 0, ..] => Some(Self::Proxy),
            _ => METHODS.iter().any(|method| input.starts_with(method)).then_some(Self::Http),
        }
    }
}

/// Why bytes are no command. The connection is closed: there is no place to read on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The line has no end within the bound.
    #[error("line too long")]
    LineTooLong,
    /// An empty line, or no verb of three letters.
    #[error("malformed line")]
    Malformed,
    /// A control character or a NUL within the line; a TAB is none (`CLIENTS` 29).
    #[error("control character in a line")]
    ControlCharacter,
    /// The connection began as one of another protocol.
    #[error("{0}")]
    Foreign(Foreign),
    /// The line is not UTF-8.
    #[error("line is not UTF-8")]
    NotUtf8,
    /// The payload's length is no number, or beyond the bound of its verb and not worth passing over.
    #[error("bad payload length")]
    BadLength,
    /// A command that would have a payload, and may not come now.
    #[error("refused before its payload: {0}")]
    Refused(ParseError),
}

/// Reads commands of the clients of one kind of server.
#[derive(Debug, Clone)]
pub struct Decoder {
    service: Service,
    max_message: usize,
    /// So many bytes at the front hold no line end: they are not searched again.
    searched: usize,
    /// A line that waits for its payload.
    waiting: Option<(Bytes, Length)>,
    /// A line has come: what follows is not looked at as the beginning of another protocol.
    begun: bool,
    /// Empty lines since the last command.
    empty_lines: u8,
    /// What the client speaks and how far it has come, once somebody has said so.
    admits: Option<(Option<&'static Dialect>, Phase)>,
}

/// How much of a payload is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    /// So many bytes, all of which are waited for.
    Fits(usize),
    /// So many bytes, which are passed over as they come.
    TooLong(usize),
}

impl Decoder {
    /// So many empty lines in a row are passed over: whoever types a `MSG` in a terminal ends its payload by a line end.
    pub const MOST_EMPTY_LINES: u8 = 16;

    /// A decoder for clients of `service`. `max_message` bounds the payload of a switchboard `MSG`, in bytes;
    /// the other bounds are the service's and the verb's own.
    #[must_use]
    pub fn new(service: Service, max_message: usize) -> Self {
        Self { service, max_message, searched: 0, waiting: None, begun: false, empty_lines: 0, admits: None }
    }

    /// From now on a command that may not come now is refused by its line, and its payload not waited for. Without
    /// this, commands are only framed, and whoever gets them gates them.
    pub fn admit(&mut self, dialect: Option<&'static Dialect>, phase: Phase) {
        self.admits = Some((dialect, phase));
    }

    /// Takes the next command off the front of `input`, or nothing until more has been read.
    ///
    /// # Errors
    /// [`FrameError`]; the connection is then to be closed.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Command>, FrameError> {
        if self.waiting.is_none() {
            let Some(line) = self.take_command_line(input)? else { return Ok(None) };
            let command = self.command(line.clone(), None)?;
            let Some(len) = self.payload_len(&command)? else { return Ok(Some(command)) };
            if let Some((dialect, phase)) = self.admits {
                match gate(self.service, dialect, phase, &command) {
                    // Whoever gets it answers.
                    Err(error) if command.answer_to_empty(error).is_some() => {}
                    outcome => {
                        outcome.map_err(FrameError::Refused)?;
                    }
                }
            }
            self.waiting = Some((line, len));
        }
        match self.waiting.take() {
            Some((line, Length::Fits(len))) if input.len() >= len => {
                let payload = input.split_to(len).freeze();
                self.command(line, Some(payload)).map(Some)
            }
            Some((line, Length::TooLong(len))) => {
                let come = len.min(input.len());
                input.advance(come);
                if come < len {
                    self.waiting = Some((line, Length::TooLong(len - come)));
                    return Ok(None);
                }
                let command = self.command(line, Some(Bytes::new()))?;
                Ok(Some(Command { too_long: true, ..command }))
            }
            waiting => {
                self.waiting = waiting;
                Ok(None)
            }
        }
    }

    /// The next line that is not empty.
    fn take_command_line(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        if !self.begun
            && let Some(foreign) = Foreign::beginning(input)
        {
            return Err(FrameError::Foreign(foreign));
        }
        loop {
            match self.take_line(input)? {
                Some(line) if line.is_empty() && self.empty_lines < Self::MOST_EMPTY_LINES => {
                    self.empty_lines += 1;
                }
                Some(line) if line.is_empty() => return Err(FrameError::Malformed),
                Some(line) => {
                    self.empty_lines = 0;
                    return Ok(Some(line));
                }
                None => return Ok(None),
            }
        }
    }

    /// A line without its end: CRLF, or a bare LF, which aMSN sends (`CLIENTS` 23).
    fn take_line(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let max = self.service.max_line();
        let end = input[self.searched..].iter().position(|b| *b == b'\n').map(|at| at + self.searched);
        let Some(end) = end else {
            self.searched = input.len();
            return if self.searched > max { Err(FrameError::LineTooLong) } else { Ok(None) };
        };
        (self.searched, self.begun) = (0, true);
        if end > max {
            return Err(FrameError::LineTooLong);
        }
        let mut line = input.split_to(end);
        input.advance(1);
        if line.last() == Some(&b'\r') {
            line.truncate(end - 1);
        }
        check_text(&line)?;
        Ok(Some(line.freeze()))
    }

    /// Splits a line at single spaces. Empty arguments at its end are dropped where no dialect has so many: aMSN sends `INF 2 `.
    fn command(&self, line: Bytes, payload: Option<Bytes>) -> Result<Command, FrameError> {
        let verb: [u8; 3] = line.get(..3).and_then(|verb| verb.try_into().ok()).ok_or(FrameError::Malformed)?;
        let most = Verb(verb).most_arguments(self.service);
        let mut args: Vec<Range<u16>> = Vec::new();
        let mut start = 0;
        for part in line.split(|b| *b == b' ') {
            let end = start + part.len();
            if start > 0 {
                let bound = |at: usize| u16::try_from(at).map_err(|_| FrameError::LineTooLong);
                args.push(bound(start)?..bound(end)?);
            } else if part.len() != 3 || !part.iter().all(u8::is_ascii_uppercase) {
                return Err(FrameError::Malformed);
            }
            start = end + 1;
        }
        while args.len() > most && args.last().is_some_and(Range::is_empty) {
            args.pop();
        }
        Ok(Command { line, args, payload, too_long: false })
    }

    /// The payload's length, if the verb has a payload: the last argument.
    fn payload_len(&self, command: &Command) -> Result<Option<Length>, FrameError> {
        let verb = command.verb();
        let Some((max, passed_over)) = verb.max_payload(self.service, self.max_message) else { return Ok(None) };
        let len = match command.args.len().checked_sub(1).and_then(|last| command.arg(last)) {
            // Left empty: then there is none.
            Some("") if command.len() > 1 => 0,
            last => last.and_then(parse_decimal).ok_or(FrameError::BadLength)?,
        };
        match usize::try_from(len) {
            Ok(len) if len <= max => Ok(Some(Length::Fits(len))),
            // However many: they are counted, and kept nowhere. For how long is the session's business.
            Ok(len) if passed_over => Ok(Some(Length::TooLong(len))),
            _ => Err(FrameError::BadLength),
        }
    }
}

fn check_text(line: &[u8]) -> Result<(), FrameError> {
    // msnlib has a TAB in its CVR. It is part of an argument, and texts that are decoded don't hold one.
    if line.iter().any(|b| b.is_ascii_control() && *b != b'\t') {
        return Err(FrameError::ControlCharacter);
    }
    std::str::from_utf8(line).map(drop).map_err(|_| FrameError::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All commands of `bytes`, arriving in pieces that end at `cuts`, as text; and the error that ended it.
    fn decode(service: Service, bytes: &[u8], cuts: &[usize]) -> (Vec<String>, Option<FrameError>) {
        let mut decoder = Decoder::new(service, 1664);
        let mut input = BytesMut::new();
        let mut seen = Vec::new();
        let mut from = 0;
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            input.extend_from_slice(&bytes[from..cut]);
            from = cut;
            loop {
                match decoder.decode(&mut input) {
                    Ok(Some(command)) => {
                        let args: Vec<_> = command.args_from(0).collect();
                        seen.push(format!("{} {args:?} {:?}", command.verb(), command.payload()));
                    }
                    Ok(None) => break,
                    Err(error) => return (seen, Some(error)),
                }
            }
        }
        (seen, None)
    }

    #[track_caller]
    fn refused(service: Service, bytes: &[u8], error: FrameError) {
        assert_eq!(decode(service, bytes, &[]).1, Some(error), "{:?}", Bytes::copy_from_slice(bytes));
    }

    const TALK: &[u8] = b"INF 2 \r\nMSG 3 U 5\r\na\r\n\0bMSG 4 N 0\r\nOUT\nUSR 5 a@b caf\xc3\xa9\r\n";

    #[test]
    fn reads_lines_and_payloads() {
        let (seen, error) = decode(Service::Switchboard, TALK, &[]);
        assert_eq!(error, None);
        assert_eq!(
            seen,
            [
                r#"INF ["2"] None"#,
                r#"MSG ["3", "U", "5"] Some(b"a\r\n\0b")"#,
                r#"MSG ["4", "N", "0"] Some(b"")"#,
                r#"OUT [] None"#,
                r#"USR ["5", "a@b", "café"] None"#,
            ]
        );
    }

    #[test]
    fn knows_what_knocks_by_mistake() {
        let hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01];
        let old = [0x80, 0x2e, 0x01, 0x03, 0x00];
        for service in [Service::Dispatch, Service::Notification, Service::Switchboard] {
            for bytes in [&hello[..], &hello[..1], &old] {
                refused(service, bytes, FrameError::Foreign(Foreign::Tls));
            }
            for request in
                ["GET / HTTP/1.1\r\n", "GET ", "POST /gateway/", "HEAD", "CONNECT a:1", "PRI * HTTP/2.0\r\n"]
            {
                refused(service, request.as_bytes(), FrameError::Foreign(Foreign::Http));
            }
            for header in
                ["PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY ", "\r\n\r\n\0\r\nQUIT\n!", "\r\n\r\n\0"]
            {
                refused(service, header.as_bytes(), FrameError::Foreign(Foreign::Proxy));
            }
            // What begins alike, or comes later, is none.
            for other in ["GET", "GTC 1 A\r\n", "VER 1 MSNP8\r\nGET "] {
                assert_eq!(decode(service, other.as_bytes(), &[]).1, None, "{other}");
            }
        }
    }

    #[test]
    fn passes_over_empty_lines() {
        let most = usize::from(Decoder::MOST_EMPTY_LINES);
        for end in ["\r\n", "\n"] {
            let typed = format!("{0}MSG 3 A 5\r\nhello{0}INF 2{end}{0}INF 3{0}", end.repeat(most));
            for service in [Service::Dispatch, Service::Notification] {
                let (seen, error) = decode(service, format!("{}INF 2{end}", end.repeat(most)).as_bytes(), &[]);
                assert_eq!((seen.len(), error), (1, None));
            }
            let (seen, error) = decode(Service::Switchboard, typed.as_bytes(), &[]);
            assert_eq!((seen.len(), error), (3, None), "{seen:?}");
            refused(
                Service::Switchboard,
                format!("INF 2\r\n{}", end.repeat(most + 1)).as_bytes(),
                FrameError::Malformed,
            );
        }
    }

    #[test]
    fn reads_the_same_split_at_every_byte() {
        let whole = decode(Service::Switchboard, TALK, &[]);
        for cut in 0..TALK.len() {
            assert_eq!(decode(Service::Switchboard, TALK, &[cut]), whole, "cut at {cut}");
        }
        let every: Vec<_> = (0..TALK.len()).collect();
        assert_eq!(decode(Service::Switchboard, TALK, &every), whole);
    }

    #[test]
    fn refuses_what_is_no_command() {
        use FrameError::{BadLength, ControlCharacter, LineTooLong, Malformed, NotUtf8};
        for (bytes, error) in [
            (&b" VER 1\r\n"[..], Malformed),
            (b" \r\n", Malformed),
            (b" \r\n", Malformed),
            (b"ver 1\r\n", Malformed),
            (b"VERY 1\r\n", Malformed),
            (b"V\r\n", Malformed),
            (b"VER 1\0\r\n", ControlCharacter),
            (b"VER 1 \x0b\r\n", ControlCharacter),
            (b"VER\t1\r\n", Malformed),
            (b"VER \xff\r\n", NotUtf8),
            (b"MSG 1 N 1665\r\n", BadLength),
            (b"MSG 1 N 99999999999999999999\r\n", BadLength),
            (b"MSG 1 N -1\r\n", BadLength),
            (b"MSG 1 N +1\r\n", BadLength),
            (b"MSG 1 N x\r\n", BadLength),
            (b"MSG\r\n", BadLength),
        ] {
            refused(Service::Switchboard, bytes, error);
        }
        for service in [Service::Dispatch, Service::Notification, Service::Switchboard] {
            refused(service, &vec![b'A'; service.max_line() + 2], LineTooLong);
        }
    }

    /// `CLIENTS` 28, 29
    #[test]
    fn empty_arguments_and_tabs() {
        for (line, read) in [
            ("REA 7 a@b ", r#"REA ["7", "a@b", ""] None"#),
            ("REA 7  x", r#"REA ["7", "", "x"] None"#),
            ("ADG 90  0", r#"ADG ["90", "", "0"] None"#),
            ("INF 2  ", r#"INF ["2"] None"#),
            ("PNG ", "PNG [] None"),
            ("XYZ 1  ", r#"XYZ ["1"] None"#),
            ("UUX 7 0 ", r#"UUX ["7", "0"] Some(b"")"#),
            ("UUX 7 ", r#"UUX ["7", ""] Some(b"")"#),
            ("UUX 7  ", r#"UUX ["7", ""] Some(b"")"#),
            ("UUX 7  0", r#"UUX ["7", "", "0"] Some(b"")"#),
            ("QRY 7 x ", r#"QRY ["7", "x", ""] Some(b"")"#),
            ("SDC 7 a b c d e f 0 ", r#"SDC ["7", "a", "b", "c", "d", "e", "f", "0"] Some(b"")"#),
            ("CVR 2 0x0409 winnt\t5.1 i386", r#"CVR ["2", "0x0409", "winnt\t5.1", "i386"] None"#),
        ] {
            assert_eq!(
                decode(Service::Notification, format!("{line}\r\n").as_bytes(), &[]),
                (vec![read.into()], None)
            );
        }
        refused(Service::Notification, b"UUX \r\n", FrameError::BadLength);
        // It may come, though it can't be read: its payload is no command.
        let mut decoder = Decoder::new(Service::Switchboard, 1664);
        decoder.admit(None, Phase::SignedIn);
        let mut input = BytesMut::from(&b"MSG 3  N 5\r\nhelloMSG 4 N \r\nMSG 5 N\r\n"[..]);
        for trid in ["3", "4"] {
            let command = decoder.decode(&mut input).unwrap().unwrap();
            let answer = command.answer_to_empty(ParseError::ArgumentCount).unwrap();
            assert_eq!(&answer[..], format!("201 {trid}\r\n").as_bytes());
            assert_eq!(command.answer_to_empty(ParseError::OutOfOrder), None);
        }
        assert_eq!(decoder.decode(&mut input).unwrap_err(), FrameError::BadLength);
        let mut input = BytesMut::from(&b"SYN 1 0  \r\nREA 1 a\r\n"[..]);
        let mut decoder = Decoder::new(Service::Notification, 0);
        let command = decoder.decode(&mut input).unwrap().unwrap();
        assert_eq!([0, 1, 2, 3, 9].map(|most| command.len_up_to(most)), [2, 2, 2, 3, 3]);
        assert!(command.has_empty_argument());
        assert!(!decoder.decode(&mut input).unwrap().unwrap().has_empty_argument());
    }

    /// §11: too long a personal message is an error, and no end.
    #[test]
    fn a_payload_that_is_too_long_is_passed_over() {
        let bytes =
            [&b"UUX 7 4097\r\n"[..], &[b'\n'; 4097], b"PNG\r\nUUX 8 4096\r\n", &[b'x'; 4096], b"PNG\r\n"].concat();
        for step in [1, 7, 1000, bytes.len()] {
            let (mut decoder, mut input) = (Decoder::new(Service::Notification, 0), BytesMut::new());
            let mut seen = Vec::new();
            for piece in bytes.chunks(step) {
                input.extend_from_slice(piece);
                while let Some(command) = decoder.decode(&mut input).unwrap() {
                    seen.push((format!("{command:?}"), command.is_too_long(), command.payload().map(Bytes::len)));
                }
                assert!(seen.len() > 1 || input.len() <= step.max(16), "nothing of it is kept");
            }
            let plain = |text: &str| (text.to_owned(), false, None);
            let seven = ("UUX 7".to_owned(), true, Some(0));
            assert_eq!(seen, [seven, plain("PNG -"), ("UUX 8".to_owned(), false, Some(4096)), plain("PNG -")]);
        }
        for verb in ["UUX 7", "QRY 7 x", "PAG 7 a", "PGD 7 a b", "SDC 7 a b c d e f"] {
            let mut decoder = Decoder::new(Service::Notification, 0);
            let mut input = BytesMut::from(format!("{verb} {}\r\n", u32::MAX).as_bytes());
            for _ in 0..100 {
                assert_eq!(decoder.decode(&mut input), Ok(None), "{verb}");
                assert!(input.is_empty(), "nothing of it is kept");
                input.extend_from_slice(&[b'x'; 4096]);
            }
            let more = u64::from(u32::MAX) + 1;
            refused(Service::Notification, format!("{verb} {more}\r\n").as_bytes(), FrameError::BadLength);
        }
        refused(Service::Switchboard, b"MSG 1 N 1665\r\n", FrameError::BadLength);
    }

    #[test]
    fn a_payload_that_may_not_come_is_not_waited_for() {
        let mut decoder = Decoder::new(Service::Notification, 0);
        let decode = |decoder: &mut Decoder| {
            let line = "UUX 7 5\r\n";
            decoder.decode(&mut BytesMut::from(line.as_bytes())).map(|command| command.is_some())
        };
        decoder.admit(Some(&Dialect::MSNP7), Phase::SignedIn);
        assert_eq!(decode(&mut decoder), Err(FrameError::Refused(ParseError::UnknownVerb)));
        decoder.admit(Some(&Dialect::MSNP11), Phase::Ready);
        assert_eq!(decode(&mut decoder), Err(FrameError::Refused(ParseError::OutOfOrder)));
        decoder.admit(Some(&Dialect::MSNP11), Phase::SignedIn);
        assert_eq!(decode(&mut decoder), Ok(false));
    }

    #[test]
    fn a_debug_print_shows_no_argument_but_the_transaction_id() {
        let mut input = BytesMut::from(&b"USR 7 TWN S t=secret&p=\r\n"[..]);
        let command = Decoder::new(Service::Notification, 0).decode(&mut input).unwrap().unwrap();
        assert_eq!(format!("{command:?}"), "USR 7");
    }

    proptest! {
        #[test]
        fn never_panics_and_never_cares_for_segments(
            bytes in proptest::collection::vec(prop_oneof![
                Just(b' '), Just(b'\r'), Just(b'\n'), Just(b'1'), Just(b'M'), Just(b'S'), Just(b'G'), any::<u8>()
            ], 0..300),
            cut in any::<prop::sample::Index>(),
        ) {
            let whole = decode(Service::Switchboard, &bytes, &[]);
            let cut = cut.index(bytes.len() + 1);
            prop_assert_eq!(decode(Service::Switchboard, &bytes, &[cut]), whole);
        }
    }
}
