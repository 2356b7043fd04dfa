//! `URL`, `PNG`, `GCF`, `SND`, `SDC`, `FND`, `PAG`, `PGD`, `LKP`, `OUT` and `SBS` (§5.6, §6.4, §6.16, §6.17, §6.19,
//! §6.22–6.24).

use bytes::Bytes;

use super::ParseError;
use super::dialect::Dialect;
use super::error_code::ErrorCode;
use super::frame::{Command, TrId};
use super::line::Line;
use crate::model::{Passport, SignOut};

/// A request that touches neither lists, presence nor chats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// `PNG`
    Ping,
    /// `OUT`
    Out,
    /// `URL t service [argument]`
    Url(TrId),
    /// `GCF t name`
    Policy(TrId, String),
    /// `SND t address …` or `SDC t address …`: tell somebody about the service.
    Recommend(TrId, &'static str),
    /// A request that makes sense and can't be granted.
    Refused(ErrorCode, TrId),
    /// Like [`Request::Refused`], and the connection is closed.
    RefusedForGood(ErrorCode, TrId),
}

/// The one policy file that clients ask for.
const SHIELDS: &str = "Shields.xml";

impl Request {
    /// Reads one of these requests; nothing if its verb is another.
    ///
    /// # Errors
    /// [`ParseError`] for a transaction id that can't be read.
    pub fn parse(command: &Command) -> Result<Option<Self>, ParseError> {
        let request = match &command.verb().0 {
            b"PNG" => Self::Ping,
            b"OUT" => Self::Out,
            b"URL" => Self::Url(command.trid()?),
            b"GCF" => match command.arg(1) {
                Some(name) if name.eq_ignore_ascii_case(SHIELDS) => Self::Policy(command.trid()?, name.to_owned()),
                _ => Self::Refused(ErrorCode::InvalidParameter, command.trid()?),
            },
            b"SND" => recommend(command, "SND")?,
            b"SDC" => recommend(command, "SDC")?,
            // A search of the member directory was switched off in 2003, `LKP` was never described.
            b"FND" | b"LKP" => Self::Refused(ErrorCode::CommandDisabled, command.trid()?),
            b"PAG" | b"PGD" => Self::Refused(ErrorCode::PagingUnavailable, command.trid()?),
            _ => return Ok(None),
        };
        Ok(Some(request))
    }
}

/// The address may be an index into the last result of `FND` (§6.17). None at all is no reason to close (`CLIENTS` 28), nor is too
/// long a letter.
fn recommend(command: &Command, verb: &'static str) -> Result<Request, ParseError> {
    let trid = command.trid()?;
    let address = command.arg(1).unwrap_or_default();
    if address.is_empty() || command.is_too_long() {
        return Ok(Request::Refused(ErrorCode::InvalidParameter, trid));
    }
    let index = address.bytes().all(|b| b.is_ascii_digit());
    if index || Passport::parse(address).is_ok() {
        Ok(Request::Recommend(trid, verb))
    } else {
        Ok(Request::RefusedForGood(ErrorCode::ServiceUnavailable, trid))
    }
}

/// `QNG` or `QNG seconds`: the client should ping again after so many seconds, more than 5 (`CLIENTS` 5).
#[must_use]
pub fn pong(dialect: &Dialect, seconds: u64) -> Bytes {
    Line::new("QNG").maybe(dialect.ping_interval.then_some(seconds.max(6))).end()
}

/// `URL t path login-URL [site]`. There is no web mail here, so the least that clients accept.
#[must_use]
pub fn url(dialect: &Dialect, trid: TrId) -> Bytes {
    Line::new("URL").arg(trid).arg("/unused1").arg("/unused2").maybe(dialect.site_id.then_some(1)).end()
}

/// `GCF t name length`: a policy that denies nothing. Its length is needed (`CLIENTS` 6).
#[must_use]
pub fn policy(trid: TrId, name: &str) -> Bytes {
    const NOTHING_DENIED: &str = "<?xml version=\"1.0\" encoding=\"utf-8\" ?><config><shield><cli maj=\"7\" min=\"0\" \
                                  minbld=\"0\" maxbld=\"9999\" deny=\" \" /></shield><block></block></config>";
    Line::new("GCF").arg(trid).arg(name).payload(NOTHING_DENIED.as_bytes())
}

/// `SND t OK` or `SDC t OK`.
#[must_use]
pub fn recommended(trid: TrId, verb: &str) -> Bytes {
    Line::new(verb).arg(trid).arg("OK").end()
}

/// Why a server ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutReason {
    /// `OTH`: signed in at another place.
    Elsewhere,
    /// `SSD`: the server shuts down.
    ShuttingDown,
    /// `MIG`: the account has moved.
    Migrated,
    /// `TOU`: terms of use are to be accepted.
    TermsOfUse,
    /// `RCT n`: the client is to come back by itself.
    Reconnect {
        /// After so many minutes.
        minutes: u16,
    },
}

impl OutReason {
    /// What operators ordered, as the dialect knows it (§6.24). Where it does not know the reason the client hears that the
    /// server shuts down, and may come back at once.
    #[must_use]
    pub fn ordered(dialect: &Dialect, order: SignOut) -> Self {
        match order {
            SignOut::Migrated if dialect.out_for_the_account => Self::Migrated,
            SignOut::TermsOfUse if dialect.out_for_the_account => Self::TermsOfUse,
            SignOut::Reconnect { minutes } if dialect.out_for_a_while => Self::Reconnect { minutes },
            _ => Self::ShuttingDown,
        }
    }
}

/// `OUT reason` or `OUT RCT minutes`
#[must_use]
pub fn out(reason: OutReason) -> Bytes {
    let line = Line::new("OUT");
    match reason {
        OutReason::Elsewhere => line.arg("OTH"),
        OutReason::ShuttingDown => line.arg("SSD"),
        OutReason::Migrated => line.arg("MIG"),
        OutReason::TermsOfUse => line.arg("TOU"),
        OutReason::Reconnect { minutes } => line.arg("RCT").arg(minutes),
    }
    .end()
}

/// `SBS 0 null`, of unknown meaning (§5.6); only where the dialect has personal messages.
#[must_use]
pub fn service_start() -> Bytes {
    Line::new("SBS").arg(0).arg("null").end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msnp::{Decoder, Service};
    use bytes::BytesMut;

    #[track_caller]
    fn parse(bytes: &str) -> Option<Request> {
        let mut input = BytesMut::from(bytes.as_bytes());
        Request::parse(&Decoder::new(Service::Notification, 0).decode(&mut input).unwrap().unwrap()).unwrap()
    }

    #[test]
    fn requests() {
        let refused = |code, trid| Some(Request::Refused(code, TrId(trid)));
        for (bytes, request) in [
            ("PNG\r\n", Some(Request::Ping)),
            ("OUT\r\n", Some(Request::Out)),
            ("URL 11 INBOX\r\n", Some(Request::Url(TrId(11)))),
            ("GCF 6 Shields.xml\r\n", Some(Request::Policy(TrId(6), SHIELDS.into()))),
            ("GCF 6 passwd\r\n", refused(ErrorCode::InvalidParameter, 6)),
            ("FND 1 fname=a\r\n", refused(ErrorCode::CommandDisabled, 1)),
            ("PAG 2 bob@example.com 2\r\nhi", refused(ErrorCode::PagingUnavailable, 2)),
            ("PGD 2 bob@example.com 1 2\r\nhi", refused(ErrorCode::PagingUnavailable, 2)),
            ("SND 10 dave@example.com 0x0409 MSMSGS MSMSGS\r\n", Some(Request::Recommend(TrId(10), "SND"))),
            ("SND 10 3\r\n", Some(Request::Recommend(TrId(10), "SND"))),
            (
                "SDC 4 dave@example.com 0x0409 MSMSGS MSMSGS X X Al 2\r\nhi",
                Some(Request::Recommend(TrId(4), "SDC")),
            ),
            ("SND 10 dave\r\n", Some(Request::RefusedForGood(ErrorCode::ServiceUnavailable, TrId(10)))),
            ("CHG 1 NLN\r\n", None),
        ] {
            assert_eq!(parse(bytes), request, "{bytes:?}");
        }
    }

    #[test]
    fn replies() {
        assert_eq!(&pong(&Dialect::MSNP8, 50)[..], b"QNG\r\n");
        assert_eq!(&pong(&Dialect::MSNP11, 50)[..], b"QNG 50\r\n");
        assert_eq!(&pong(&Dialect::MSNP11, 0)[..], b"QNG 6\r\n");
        assert_eq!(&pong(&Dialect::MSNP9, 50)[..], b"QNG 50\r\n");
        assert_eq!(&url(&Dialect::MSNP2, TrId(1))[..], b"URL 1 /unused1 /unused2\r\n");
        assert_eq!(&url(&Dialect::MSNP3, TrId(1))[..], b"URL 1 /unused1 /unused2 1\r\n");
        assert!(policy(TrId(6), SHIELDS).starts_with(b"GCF 6 Shields.xml 145\r\n<?xml"));
        assert_eq!(&recommended(TrId(4), "SDC")[..], b"SDC 4 OK\r\n");
        assert_eq!(&out(OutReason::Elsewhere)[..], b"OUT OTH\r\n");
        assert_eq!(&out(OutReason::ShuttingDown)[..], b"OUT SSD\r\n");
        assert_eq!(&service_start()[..], b"SBS 0 null\r\n");
    }

    #[test]
    fn operators_reasons_where_they_are_known() {
        let orders =
            [SignOut::ShutDown, SignOut::Migrated, SignOut::TermsOfUse, SignOut::Reconnect { minutes: 5 }];
        for dialect in Dialect::ALL {
            let expected = match dialect.number.0 {
                ..10 => ["SSD", "SSD", "SSD", "SSD"],
                10 => ["SSD", "MIG", "TOU", "SSD"],
                _ => ["SSD", "MIG", "TOU", "RCT 5"],
            };
            let said = orders.map(|order| out(OutReason::ordered(dialect, order)));
            assert_eq!(said, expected.map(|word| Bytes::from(format!("OUT {word}\r\n"))), "{dialect:?}");
        }
    }
}
