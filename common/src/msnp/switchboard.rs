//! The switchboard's commands: `USR`, `ANS`, `CAL`, `IRO`, `JOI`, `MSG`, `ACK`, `NAK`, `BYE`, `OUT` (protocol
//! reference §4.3, §9).

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::frame::{Command, TrId, parse_decimal};
use super::line::Line;
use super::{ParseError, value};
use crate::model::{Passport, PassportError};

/// What the sender of a `MSG` wants to hear of it (§9). Case-sensitive; anything else closes the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AckType {
    /// `U`: nothing.
    Never,
    /// `N`: `NAK` on failure, nothing on success.
    Failure,
    /// `A`: `ACK` or `NAK`.
    Always,
    /// `D`: as `A`, for P2P data.
    Data,
    /// `S`: `ACK` on success, nothing on failure.
    Success,
}

impl AckType {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Never, Self::Failure, Self::Always, Self::Data, Self::Success];

    /// The letter on the wire.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Never => "U",
            Self::Failure => "N",
            Self::Always => "A",
            Self::Data => "D",
            Self::Success => "S",
        }
    }

    /// Reads the letter.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ack| ack.code() == code)
    }

    /// Whether success is told.
    #[must_use]
    pub fn tells_success(self) -> bool {
        matches!(self, Self::Always | Self::Data | Self::Success)
    }

    /// Whether failure is told.
    #[must_use]
    pub fn tells_failure(self) -> bool {
        matches!(self, Self::Failure | Self::Always | Self::Data)
    }
}

/// Who knocks, with which cookie.
#[derive(Clone, PartialEq, Eq)]
pub struct Knock {
    /// The request's transaction id.
    pub trid: TrId,
    /// Who it says it is.
    pub passport: Result<Passport, PassportError>,
    /// The handle as it was sent, for the reply (§2.5).
    pub handle: Bytes,
    /// The cookie. Never printed.
    pub cookie: Bytes,
}

impl fmt::Debug for Knock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Knock").field("trid", &self.trid).field("passport", &self.passport).finish_non_exhaustive()
    }
}

/// A request to a switchboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `USR t H cookie`: opens a conversation.
    Open(Knock),
    /// `ANS t H cookie sessionid`: joins the one it was invited to.
    Answer {
        /// Who knocks.
        knock: Knock,
        /// The number that `RNG` told; nothing if it is no number.
        session: Option<u32>,
    },
    /// `CAL t H`: invites somebody.
    Call {
        /// Its transaction id.
        trid: TrId,
        /// Whom.
        callee: Result<Passport, PassportError>,
    },
    /// `MSG t U|N|A|D|S len` and a payload.
    Message {
        /// Its transaction id.
        trid: TrId,
        /// What the sender wants to hear of it.
        ack: AckType,
        /// What it says, byte for byte.
        payload: Bytes,
    },
    /// `OUT`, or `BYE` as some clients have it (CLIENTS 27), whatever follows it.
    Leave,
}

impl Request {
    /// Reads a command to a switchboard.
    ///
    /// # Errors
    /// [`ParseError`]; the connection is then closed (§2.7).
    pub fn parse(command: &Command) -> Result<Self, ParseError> {
        match &command.verb().0 {
            b"USR" => {
                exactly(command, 3)?;
                Ok(Self::Open(parse_knock(command)?))
            }
            b"ANS" => {
                exactly(command, 4)?;
                let session = command.arg(3).and_then(parse_decimal);
                Ok(Self::Answer { knock: parse_knock(command)?, session })
            }
            b"CAL" => {
                exactly(command, 2)?;
                let callee = Passport::parse(command.arg(1).unwrap_or_default());
                Ok(Self::Call { trid: command.trid()?, callee })
            }
            b"MSG" => parse_message(command),
            b"OUT" | b"BYE" => Ok(Self::Leave),
            _ => Err(ParseError::UnknownVerb),
        }
    }
}

/// The answer to a command that could not be read since an argument is empty, if that is why (`CLIENTS` 28): a message is one that is
/// not delivered.
#[must_use]
pub fn unread(command: &Command, error: ParseError) -> Option<Bytes> {
    let answer = command.answer_to_empty(error)?;
    if &command.verb().0 == b"MSG" { command.trid().ok().map(nak) } else { Some(answer) }
}

fn exactly(command: &Command, count: usize) -> Result<(), ParseError> {
    if command.len() == count { Ok(()) } else { Err(ParseError::ArgumentCount) }
}

fn parse_knock(command: &Command) -> Result<Knock, ParseError> {
    let trid = command.trid()?;
    let (Some(handle), Some(cookie)) = (command.raw(1), command.raw(2)) else {
        return Err(ParseError::ArgumentCount);
    };
    let passport = Passport::parse(command.arg(1).unwrap_or_default());
    Ok(Knock { trid, passport, handle, cookie })
}

fn parse_message(command: &Command) -> Result<Request, ParseError> {
    exactly(command, 3)?;
    let trid = command.trid()?;
    let ack = command.arg(1).and_then(AckType::from_code);
    let ack = ack.ok_or(ParseError::BadArgument("MSG is U, N, A, D or S"))?;
    let payload = command.payload().cloned().unwrap_or_default();
    Ok(Request::Message { trid, ack, payload })
}

/// `USR t OK H N`: the conversation is open. `handle` is echoed as the client wrote it.
#[must_use]
pub fn opened(trid: TrId, handle: &Bytes, name: &str) -> Bytes {
    let handle = String::from_utf8_lossy(handle);
    Line::new("USR").arg(trid).arg("OK").arg(handle).text(name).end()
}

/// `IRO t i n H N [cap]`: who is there already, the `index`th of `count`, from 1. The capability number goes to
/// dialects with network ids only.
#[must_use]
pub fn present(
    trid: TrId,
    (index, count): (usize, usize),
    who: &Passport,
    name: &str,
    capabilities: Option<u32>,
) -> Bytes {
    Line::new("IRO").arg(trid).arg(index).arg(count).arg(who).text(name).maybe(capabilities).end()
}

/// `ANS t OK`: joined; behind all `IRO`.
#[must_use]
pub fn answered(trid: TrId) -> Bytes {
    Line::new("ANS").arg(trid).arg("OK").end()
}

/// `JOI H N [cap]`: somebody has joined. The capability number goes to dialects with network ids only.
#[must_use]
pub fn joined(who: &Passport, name: &str, capabilities: Option<u32>) -> Bytes {
    Line::new("JOI").arg(who).text(name).maybe(capabilities).end()
}

/// `CAL t RINGING sessionid`: the invitation is under way.
#[must_use]
pub fn ringing(trid: TrId, session: u32) -> Bytes {
    Line::new("CAL").arg(trid).arg("RINGING").arg(session).end()
}

/// `BYE H [1]`: somebody has left; `idle`: was dropped for inactivity.
#[must_use]
pub fn left(who: &Passport, idle: bool) -> Bytes {
    Line::new("BYE").arg(who).maybe(idle.then_some(1)).end()
}

/// `ACK t`
#[must_use]
pub fn ack(trid: TrId) -> Bytes {
    short(b"ACK ", trid)
}

/// `NAK t`
#[must_use]
pub fn nak(trid: TrId) -> Bytes {
    short(b"NAK ", trid)
}

/// The two most frequent lines, without the detour of [`Line`].
fn short(verb: &'static [u8], trid: TrId) -> Bytes {
    let mut line = BytesMut::with_capacity(16);
    line.put_slice(verb);
    put_decimal(&mut line, trid.0);
    line.put_slice(b"\r\n");
    line.freeze()
}

fn put_decimal(out: &mut BytesMut, mut number: u32) {
    let mut digits = [0; 10];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
}

/// One who speaks in a conversation: the part of `MSG H N len` that is the same in all of its messages, encoded
/// once.
#[derive(Debug, Clone)]
pub struct Speaker {
    prefix: Box<[u8]>,
}

/// A relayed `MSG`, ready for the wire: shared by all who hear it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoken {
    /// The line; a short payload follows in it.
    pub first: Bytes,
    /// A long payload, as it was received; otherwise empty.
    pub rest: Bytes,
    payload: u32,
}

impl Speaker {
    /// Payloads up to this length are put behind their line. They would otherwise hold the whole buffer that they
    /// were read into (4 KiB) for as long as they wait for a slow listener or the store, and a queue's bound in
    /// bytes would be none. Copying them is also cheaper than a second piece in every listener's queue.
    pub const COPIED: usize = 512;

    /// Prepares the messages of `who`, called `name` (decoded).
    #[must_use]
    pub fn new(who: &Passport, name: &str) -> Self {
        let prefix = format!("MSG {who} {} ", value::encode(name));
        Self { prefix: prefix.into_bytes().into() }
    }

    /// `MSG H N len` and the payload, byte for byte.
    #[must_use]
    pub fn says(&self, payload: &Bytes) -> Spoken {
        let copied = payload.len() <= Self::COPIED;
        let room = if copied { payload.len() } else { 0 };
        let mut first = BytesMut::with_capacity(self.prefix.len() + 12 + room);
        first.put_slice(&self.prefix);
        let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        put_decimal(&mut first, len);
        first.put_slice(b"\r\n");
        if copied {
            first.put_slice(payload);
        }
        let rest = if copied { Bytes::new() } else { payload.clone() };
        Spoken { first: first.freeze(), rest, payload: len }
    }
}

impl Spoken {
    /// What was said, without the line.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        if self.rest.is_empty() {
            let start = self.first.len().saturating_sub(self.payload as usize);
            self.first.slice(start..)
        } else {
            self.rest.clone()
        }
    }

    /// Bytes on the wire.
    #[must_use]
    pub fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    /// Never: there is a line at least.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msnp::{Decoder, Service};
    use proptest::prelude::*;

    #[track_caller]
    fn parse(text: &[u8]) -> Result<Request, ParseError> {
        let mut input = BytesMut::from(text);
        let command = Decoder::new(Service::Switchboard, 1664).decode(&mut input).unwrap().unwrap();
        Request::parse(&command)
    }

    fn bob() -> Passport {
        Passport::parse("bob@example.com").unwrap()
    }

    #[test]
    fn usr_and_ans() {
        let Ok(Request::Open(knock)) = parse(b"USR 1 Alice@Example.com 17262740.1050826919.32308\r\n") else {
            panic!()
        };
        assert_eq!(knock.passport.unwrap().as_str(), "alice@example.com");
        assert_eq!(&knock.cookie[..], b"17262740.1050826919.32308");
        assert_eq!(&opened(TrId(1), &knock.handle, "Alice A.")[..], b"USR 1 OK Alice@Example.com Alice%20A.\r\n");

        let Ok(Request::Answer { knock, session }) = parse(b"ANS 1 bob@example.com 849.52 11752013\r\n") else {
            panic!()
        };
        assert_eq!((knock.passport, session), (Ok(bob()), Some(11_752_013)));
        assert_eq!(&answered(TrId(1))[..], b"ANS 1 OK\r\n");
        let Ok(Request::Answer { session, .. }) = parse(b"ANS 1 bob@example.com 849.52 -1\r\n") else { panic!() };
        assert_eq!(session, None);
    }

    #[test]
    fn a_knock_prints_no_cookie() {
        let request = parse(b"USR 1 alice@example.com sesame\r\n").unwrap();
        assert!(!format!("{request:?}").contains("sesame"));
    }

    #[test]
    fn cal() {
        assert_eq!(parse(b"CAL 2 BOB@example.com\r\n"), Ok(Request::Call { trid: TrId(2), callee: Ok(bob()) }));
        let Ok(Request::Call { callee, .. }) = parse(b"CAL 2 bob\r\n") else { panic!() };
        assert_eq!(callee, Err(PassportError::NoDomain));
        assert_eq!(parse(b"CAL 2\r\n"), Err(ParseError::ArgumentCount));
        assert_eq!(&ringing(TrId(2), 11_752_013)[..], b"CAL 2 RINGING 11752013\r\n");
    }

    #[test]
    fn msg() {
        let payload = Bytes::from_static(b"a\r\n\0b");
        for ack in AckType::ALL {
            let text = [b"MSG 4 ", ack.code().as_bytes(), b" 5\r\na\r\n\0b"].concat();
            let request = Request::Message { trid: TrId(4), ack, payload: payload.clone() };
            assert_eq!(parse(&text), Ok(request));
        }
        for bad in [&b"MSG 4 a 1\r\nx"[..], b"MSG 4 X 1\r\nx", b"MSG 4 AA 1\r\nx"] {
            assert!(matches!(parse(bad), Err(ParseError::BadArgument(_))));
        }
        assert_eq!(parse(b"MSG 4 1\r\nx"), Err(ParseError::ArgumentCount));
        assert_eq!(parse(b"MSG x A 1\r\nx"), Err(ParseError::BadTrId));
        assert_eq!((&ack(TrId(0))[..], &nak(TrId(u32::MAX))[..]), (&b"ACK 0\r\n"[..], &b"NAK 4294967295\r\n"[..]));
    }

    #[test]
    fn out_takes_anything_and_the_rest_nothing() {
        assert_eq!(parse(b"OUT\n"), Ok(Request::Leave));
        assert_eq!(parse(b"OUT 1 2\r\n"), Ok(Request::Leave));
        for bye in [&b"BYE\r\n"[..], b"BYE 9\r\n", b"BYE 9 bob@example.com\r\n", b"BYE bob@example.com\n"] {
            assert_eq!(parse(bye), Ok(Request::Leave));
        }
        assert_eq!(parse(b"PNG\r\n"), Err(ParseError::UnknownVerb));
        assert_eq!(parse(b"JOI bob@example.com Bob\r\n"), Err(ParseError::UnknownVerb));
    }

    #[test]
    fn who_comes_and_goes() {
        assert_eq!(&present(TrId(1), (1, 2), &bob(), "Bob", None)[..], b"IRO 1 1 2 bob@example.com Bob\r\n");
        let newer = present(TrId(1), (2, 2), &bob(), "Bob", Some(1_342_177_316));
        assert_eq!(&newer[..], b"IRO 1 2 2 bob@example.com Bob 1342177316\r\n");
        assert_eq!(&joined(&bob(), "B\r\nOUT", None)[..], b"JOI bob@example.com B%0D%0AOUT\r\n");
        assert_eq!(&joined(&bob(), "Bob", Some(0))[..], b"JOI bob@example.com Bob 0\r\n");
        assert_eq!(&left(&bob(), false)[..], b"BYE bob@example.com\r\n");
        assert_eq!(&left(&bob(), true)[..], b"BYE bob@example.com 1\r\n");
    }

    proptest! {
        /// parse ∘ write: whatever is said arrives byte for byte behind its line, in one piece or two.
        #[test]
        fn what_is_said_is_relayed_byte_for_byte(
            payload in proptest::collection::vec(any::<u8>(), 0..1664),
            name in "\\PC{0,20}",
        ) {
            let payload = Bytes::from(payload);
            let spoken = Speaker::new(&bob(), &name).says(&payload);
            let mut wire = BytesMut::from(&[&spoken.first[..], &spoken.rest[..]].concat()[..]);
            prop_assert_eq!(wire.len(), spoken.len());
            prop_assert_eq!(spoken.payload(), payload.clone());
            prop_assert_eq!(spoken.rest.is_empty(), payload.len() <= Speaker::COPIED);
            let end = wire.iter().position(|b| *b == b'\n').unwrap();
            let line = wire.split_to(end + 1);
            let expected = format!("MSG bob@example.com {} {}\r\n", value::encode(&name), payload.len());
            prop_assert_eq!(&line[..], expected.as_bytes());
            prop_assert_eq!(wire.freeze(), payload);
        }
    }
}
