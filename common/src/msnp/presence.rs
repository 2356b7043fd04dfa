//! `CHG`, `ILN`, `NLN`, `FLN`, `UUX`, `UBX`, `CHL` and `QRY`: how principals look to each other, and whether
//! a client is what it says (§6.8, §6.12, §6.21, §8).

use bytes::Bytes;

use super::dialect::Dialect;
use super::frame::{Command, TrId};
use super::line::Line;
use super::value;
use super::{ErrorCode, ParseError};
use crate::model::{Limits, Passport, Presence, Status};

/// A request about presence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `CHG t status [capabilities ≥ 8] [object ≥ 9]`
    Change(Change),
    /// `UUX t length`
    PersonalMessage {
        /// Its transaction id.
        trid: TrId,
        /// The payload; nothing if it shows nothing.
        message: Option<String>,
    },
    /// `QRY t product-id 32`
    ChallengeAnswer {
        /// Its transaction id.
        trid: TrId,
        /// The product whose key was used.
        product: String,
        /// The payload: 32 hexadecimal digits, if it is right.
        answer: Bytes,
    },
    /// A request that makes sense and can't be granted.
    Refused(ErrorCode, TrId),
}

/// `CHG`: how the principal wants to look from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its transaction id.
    pub trid: TrId,
    /// The status.
    pub status: Status,
    /// The capability number; 0 where none was sent (`CLIENTS` 3).
    pub capabilities: u64,
    /// The display picture, decoded.
    pub object: Option<String>,
    /// The reply: the request, byte for byte; where the dialect has a capability number and the client named none, with 0
    /// (`CLIENTS` 30).
    pub echo: Bytes,
}

impl Request {
    /// Reads a request about presence; nothing if its verb is another.
    ///
    /// # Errors
    /// [`ParseError`] for a payload that is no text.
    pub fn parse(command: &Command, dialect: &Dialect, limits: &Limits) -> Result<Option<Self>, ParseError> {
        let request = match &command.verb().0 {
            b"CHG" => parse_change(command, dialect, limits)?,
            b"UUX" => parse_personal_message(command, limits)?,
            b"QRY" => Self::ChallengeAnswer {
                trid: command.trid()?,
                product: command.arg(1).unwrap_or_default().to_owned(),
                answer: command.payload().cloned().unwrap_or_default(),
            },
            _ => return Ok(None),
        };
        Ok(Some(request))
    }
}

fn parse_change(command: &Command, dialect: &Dialect, limits: &Limits) -> Result<Request, ParseError> {
    let trid = command.trid()?;
    let refused = Ok(Request::Refused(ErrorCode::InvalidParameter, trid));
    let Some(status) = command.arg(1).and_then(Status::from_code) else { return refused };
    let word = |index| command.arg(index).filter(|word| !word.is_empty());
    let number = word(2);
    let Some(capabilities) = number.map_or(Some(0), parse_number) else { return refused };
    let object = match word(3) {
        // Clients send 0 for "no picture", and so do some servers (§6.8).
        None | Some("0") => None,
        Some(token) if token.len() > limits.object => return refused,
        Some(token) => match value::decode(token) {
            Some(object) => Some(object.into_owned()),
            None => return refused,
        },
    };
    let echo = Line::new("CHG").arg(trid).arg(status);
    let echo = echo.maybe(number.or(dialect.capabilities.then_some("0"))).maybe(word(3)).end();
    Ok(Request::Change(Change { trid, status, capabilities, object, echo }))
}

/// Digits only, below 2⁶⁴.
fn parse_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn parse_personal_message(command: &Command, limits: &Limits) -> Result<Request, ParseError> {
    let trid = command.trid()?;
    let payload = command.payload().map(Bytes::as_ref).unwrap_or_default();
    if command.is_too_long() || payload.len() > limits.personal_message {
        return Ok(Request::Refused(ErrorCode::InvalidParameter, trid));
    }
    let message = std::str::from_utf8(payload).map_err(|_| ParseError::BadArgument("UUX is not UTF-8"))?;
    let message = (!is_blank(message)).then(|| message.to_owned());
    Ok(Request::PersonalMessage { trid, message })
}

/// Whether nothing stands between the tags.
fn is_blank(xml: &str) -> bool {
    xml.split('<').all(|part| part.rsplit('>').next().unwrap_or_default().trim().is_empty())
}

/// `ILN t status handle name [capabilities] [object]`: how a contact looked when its watcher came.
#[must_use]
pub fn initial(dialect: &Dialect, trid: TrId, who: &Passport, presence: &Presence) -> Bytes {
    looks(Line::new("ILN").arg(trid), dialect, who, presence)
}

/// `NLN status handle name [capabilities] [object]`: a contact has come, or looks different.
#[must_use]
pub fn online(dialect: &Dialect, who: &Passport, presence: &Presence) -> Bytes {
    looks(Line::new("NLN"), dialect, who, presence)
}

/// Dialects that know the capability number always get it: bitlbee counts tokens (`CLIENTS` 16). An object that is
/// absent is no token (§14).
fn looks(line: Line, dialect: &Dialect, who: &Passport, presence: &Presence) -> Bytes {
    let name = if presence.name.is_empty() { who.as_str() } else { &presence.name };
    let mut line = line.arg(presence.status).arg(who).text(name);
    if dialect.capabilities {
        line = line.arg(presence.capabilities);
    }
    match &presence.object {
        Some(object) if dialect.objects => line.text(object),
        _ => line,
    }
    .end()
}

/// Whether a client of this dialect can see a difference in `ILN` or `NLN`.
#[must_use]
pub fn look_alike(dialect: &Dialect, a: &Presence, b: &Presence) -> bool {
    a.status == b.status
        && a.name == b.name
        && (!dialect.capabilities || a.capabilities == b.capabilities)
        && (!dialect.objects || a.object == b.object)
}

/// `FLN handle`: a contact has gone, or can't be seen any more.
#[must_use]
pub fn offline(who: &Passport) -> Bytes {
    Line::new("FLN").arg(who).end()
}

/// What clears a personal message: msn-pecan ignores a length of 0 (§6.21).
const NO_PERSONAL_MESSAGE: &str = "<Data><PSM></PSM><CurrentMedia></CurrentMedia></Data>";

/// `UBX handle length`: a contact's personal message, or that it has none any more.
#[must_use]
pub fn personal_message(who: &Passport, message: Option<&str>) -> Bytes {
    Line::new("UBX").arg(who).payload(message.unwrap_or(NO_PERSONAL_MESSAGE).as_bytes())
}

/// `UUX t 0`: the own personal message is set.
#[must_use]
pub fn personal_message_set(trid: TrId) -> Bytes {
    Line::new("UUX").arg(trid).arg(0).end()
}

/// `CHL 0 challenge`
#[must_use]
pub fn challenge(challenge: &str) -> Bytes {
    Line::new("CHL").arg(0).arg(challenge).end()
}

/// `QRY t`: the challenge is answered.
#[must_use]
pub fn challenge_passed(trid: TrId) -> Bytes {
    Line::new("QRY").arg(trid).end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msnp::{Decoder, Service};
    use bytes::BytesMut;
    use std::sync::Arc;

    #[track_caller]
    fn parse(bytes: &str) -> Request {
        let mut input = BytesMut::from(bytes.as_bytes());
        let command = Decoder::new(Service::Notification, 0).decode(&mut input).unwrap().unwrap();
        Request::parse(&command, &Dialect::MSNP11, &Limits::default()).unwrap().unwrap()
    }

    #[track_caller]
    fn change(line: &str) -> Change {
        let Request::Change(change) = parse(&format!("{line}\r\n")) else { panic!("{line} is refused") };
        change
    }

    fn bob() -> (Passport, Presence) {
        let presence = Presence {
            status: Status::Busy,
            name: "Bob B.".into(),
            capabilities: 268_435_492,
            object: Some(Arc::from("<msnobj Creator=\"bob@example.com\"/>")),
            personal_message: None,
        };
        (Passport::parse("bob@example.com").unwrap(), presence)
    }

    #[test]
    fn chg_in_all_its_forms() {
        let plain = change("CHG 9 NLN");
        assert_eq!(
            (plain.trid, plain.status, plain.capabilities, plain.object),
            (TrId(9), Status::Online, 0, None)
        );
        for line in ["CHG 9 NLN 0", "CHG 9 HDN 268435492", "CHG 8 NLN 1 0", "CHG 8 NLN 1 %3cmsnobj%2F%3e"] {
            assert_eq!(change(line).echo, format!("{line}\r\n"));
        }
        assert_eq!(change("CHG 9 HDN 268435492").capabilities, 268_435_492);
        assert_eq!(change("CHG 8 NLN 1073741860 0").object, None);
        assert_eq!(change("CHG 8 NLN 1 %3Cmsnobj%2F%3E").object.as_deref(), Some("<msnobj/>"));
    }

    /// `CLIENTS` 28, 30
    #[test]
    fn the_echo_of_chg_has_a_number_where_the_dialect_has_one() {
        let echo = |dialect: &Dialect, line: &str| {
            let mut input = BytesMut::from(format!("{line}\r\n").as_bytes());
            let command = Decoder::new(Service::Notification, 0).decode(&mut input).unwrap().unwrap();
            match Request::parse(&command, dialect, &Limits::default()).unwrap().unwrap() {
                Request::Change(change) => change.echo,
                other => panic!("{other:?}"),
            }
        };
        for dialect in Dialect::ALL {
            let with = if dialect.capabilities { "CHG 6 NLN 0\r\n" } else { "CHG 6 NLN\r\n" };
            for line in ["CHG 6 NLN", "CHG 6 NLN ", "CHG 6 NLN  "] {
                assert_eq!(echo(dialect, line), with, "{line:?}");
            }
        }
        assert_eq!(echo(&Dialect::MSNP9, "CHG 6 NLN 5 "), "CHG 6 NLN 5\r\n");
    }

    #[test]
    fn chg_that_is_refused() {
        let long = format!("CHG 1 NLN 0 {}", "x".repeat(2049));
        for line in
            ["CHG 1 FLN", "CHG 1 nln", "CHG 1 XXX 0", "CHG 1 NLN -1", "CHG 1 NLN 0 %0D", "CHG 1 NLN x", &long]
        {
            let refused = Request::Refused(ErrorCode::InvalidParameter, TrId(1));
            assert_eq!(parse(&format!("{line}\r\n")), refused, "{line}");
        }
    }

    #[test]
    fn uux() {
        let xml = "<Data><PSM>at work</PSM><CurrentMedia></CurrentMedia></Data>";
        let message = |payload: &str| match parse(&format!("UUX 7 {}\r\n{payload}", payload.len())) {
            Request::PersonalMessage { trid: TrId(7), message } => message,
            other => panic!("{other:?}"),
        };
        assert_eq!(message(xml).as_deref(), Some(xml));
        for blank in ["", NO_PERSONAL_MESSAGE, "<Data> <PSM/></Data>\r\n"] {
            assert_eq!(message(blank), None, "{blank:?}");
        }
        assert_eq!(&personal_message_set(TrId(7))[..], b"UUX 7 0\r\n");
    }

    /// §11
    #[test]
    fn what_is_too_long_is_201() {
        let limits = Limits { object: 6, personal_message: 10, ..Limits::default() };
        let parse = |bytes: &str| {
            let mut input = BytesMut::from(bytes.as_bytes());
            let command = Decoder::new(Service::Notification, 0).decode(&mut input).unwrap().unwrap();
            Request::parse(&command, &Dialect::MSNP11, &limits).unwrap().unwrap()
        };
        let too_long = |trid| Request::Refused(ErrorCode::InvalidParameter, TrId(trid));
        assert!(matches!(parse("CHG 8 NLN 0 %3Ca/>\r\n"), Request::Change(_)));
        assert_eq!(parse("CHG 8 NLN 0 %3Cab/>\r\n"), too_long(8));
        assert!(matches!(parse("UUX 9 10\r\n<Data>xxxx"), Request::PersonalMessage { .. }));
        assert_eq!(parse("UUX 9 11\r\n<Data>xxxxx"), too_long(9));
    }

    #[test]
    fn qry() {
        let answer = "8f2f5a91b72102cd28355e9fc9000d6e";
        let parsed = parse(&format!("QRY 10 msmsgs@msnmsgr.com 32\r\n{answer}"));
        let product = "msmsgs@msnmsgr.com".to_owned();
        assert_eq!(parsed, Request::ChallengeAnswer { trid: TrId(10), product, answer: answer.into() });
        assert_eq!(&challenge_passed(TrId(10))[..], b"QRY 10\r\n");
        assert_eq!(&challenge("15570131571988941333")[..], b"CHL 0 15570131571988941333\r\n");
    }

    #[test]
    fn each_dialect_sees_what_it_knows() {
        let (who, presence) = bob();
        let check = |dialect, line: &str| {
            assert_eq!(online(dialect, &who, &presence), format!("NLN {line}\r\n"));
            assert_eq!(initial(dialect, TrId(9), &who, &presence), format!("ILN 9 {line}\r\n"));
        };
        check(&Dialect::MSNP2, "BSY bob@example.com Bob%20B.");
        check(&Dialect::MSNP7, "BSY bob@example.com Bob%20B.");
        check(&Dialect::MSNP8, "BSY bob@example.com Bob%20B. 268435492");
        let object = "%3Cmsnobj%20Creator%3D%22bob@example.com%22/%3E";
        for dialect in [&Dialect::MSNP9, &Dialect::MSNP10, &Dialect::MSNP11, &Dialect::MSNP12] {
            check(dialect, &format!("BSY bob@example.com Bob%20B. 268435492 {object}"));
        }
        let plain = Presence { capabilities: 0, object: None, name: "".into(), ..presence };
        let line = online(&Dialect::MSNP11, &who, &plain);
        assert_eq!(&line[..], b"NLN BSY bob@example.com bob@example.com 0\r\n");
        assert_eq!(&offline(&who)[..], b"FLN bob@example.com\r\n");
    }

    #[test]
    fn differences_count_where_they_can_be_seen() {
        let (_, a) = bob();
        let b = Presence { object: None, ..a.clone() };
        assert!(look_alike(&Dialect::MSNP8, &a, &b) && !look_alike(&Dialect::MSNP9, &a, &b));
        let c = Presence { capabilities: 0, ..a.clone() };
        assert!(look_alike(&Dialect::MSNP7, &a, &c) && !look_alike(&Dialect::MSNP8, &a, &c));
        assert!(!look_alike(&Dialect::MSNP7, &a, &Presence { status: Status::Away, ..a.clone() }));
    }

    #[test]
    fn ubx() {
        let (who, _) = bob();
        assert_eq!(&personal_message(&who, Some("<a/>"))[..], b"UBX bob@example.com 4\r\n<a/>");
        assert!(personal_message(&who, None).starts_with(b"UBX bob@example.com 53\r\n<Data>"));
    }
}
