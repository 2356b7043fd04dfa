//! `URL`, `PNG`, `GCF`, `SND`, `SDC`, `FND`, `PAG`, `PGD`, `LKP`, `OUT`, and what a notification server says right
//! after sign-in (§5.6, §6.4, §6.16, §6.17, §6.19, §6.22–6.24).

use std::net::SocketAddr;

use bytes::Bytes;

use super::ParseError;
use super::dialect::{Dialect, SyncShape};
use super::error_code::ErrorCode;
use super::frame::{Command, TrId};
use super::line::Line;
use crate::model::Passport;

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

/// The address may be an index into the last result of `FND` (§6.17).
fn recommend(command: &Command, verb: &'static str) -> Result<Request, ParseError> {
    let trid = command.trid()?;
    let address = command.arg(1).unwrap_or_default();
    let index = !address.is_empty() && address.bytes().all(|b| b.is_ascii_digit());
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
}

/// `OUT reason`
#[must_use]
pub fn out(reason: OutReason) -> Bytes {
    let reason = match reason {
        OutReason::Elsewhere => "OTH",
        OutReason::ShuttingDown => "SSD",
    };
    Line::new("OUT").arg(reason).end()
}

/// `SBS 0 null`, of unknown meaning (§5.6); only where the dialect has personal messages.
#[must_use]
pub fn service_start() -> Bytes {
    Line::new("SBS").arg(0).arg("null").end()
}

/// What the profile message says.
#[derive(Debug, Clone)]
pub struct Profile<'a> {
    /// Seconds since 1970.
    pub login_time: u64,
    /// A number for the account; its halves are shown as signed numbers.
    pub member_id: u64,
    /// Whose.
    pub passport: &'a Passport,
    /// The client's address as the server sees it.
    pub client: SocketAddr,
}

/// `MSG Hotmail Hotmail length`: the profile, right after sign-in. Each line of it ends with CRLF, and an empty line
/// ends it (§5.6).
#[must_use]
pub fn profile(dialect: &Dialect, profile: &Profile<'_>) -> Bytes {
    use std::fmt::Write;
    let mut text = String::with_capacity(512);
    text.push_str("MIME-Version: 1.0\r\nContent-Type: text/x-msmsgsprofile; charset=UTF-8\r\n");
    let _ = write!(text, "LoginTime: {}\r\n", profile.login_time);
    if dialect.full_profile {
        let (high, low) = ((profile.member_id >> 32) as u32 as i32, profile.member_id as u32 as i32);
        let _ = write!(
            text,
            "EmailEnabled: 0\r\nMemberIdHigh: {high}\r\nMemberIdLow: {low}\r\nlang_preference: 1033\r\n\
             preferredEmail: {}\r\ncountry: US\r\nPostalCode: \r\nGender: \r\nKid: 0\r\nAge: \r\nBDayPre: \r\n\
             Birthday: \r\nWallet: \r\nFlags: 1027\r\nsid: 507\r\nkv: 11\r\nMSPAuth: {WEB_TICKET}\r\n",
            profile.passport
        );
    }
    if dialect.client_address_in_profile {
        let ip = profile.client.ip().to_canonical();
        let _ = write!(text, "ClientIP: {ip}\r\nClientPort: {}\r\n", profile.client.port().swap_bytes());
    }
    if dialect.sync == SyncShape::Tagged {
        text.push_str("ABCHMigrated: 1\r\n");
    }
    text.push_str("\r\n");
    Line::new("MSG").arg("Hotmail").arg("Hotmail").payload(text.as_bytes())
}

/// It would sign the user in to web sites of the service; there are none, so it opens nothing.
const WEB_TICKET: &str = "2AAAAAAAAAAAAAAAAAAAAAAA$$";

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
    fn profiles_have_the_lengths_of_the_reference() {
        let alice = Passport::parse("alice@example.com").unwrap();
        let member_id = u64::from(84_736_u32) << 32 | u64::from(-1_434_729_391_i32 as u32);
        let client = "198.51.100.7:1711".parse().unwrap();
        let facts = Profile { login_time: 1_750_000_000, member_id, passport: &alice, client };
        let text = |dialect| String::from_utf8(profile(dialect, &facts).to_vec()).unwrap();
        // §13.1
        let msnp2 = "MSG Hotmail Hotmail 95\r\nMIME-Version: 1.0\r\n\
                     Content-Type: text/x-msmsgsprofile; charset=UTF-8\r\nLoginTime: 1750000000\r\n\r\n";
        assert_eq!(text(&Dialect::MSNP2), msnp2);
        // §13.2
        for dialect in [&Dialect::MSNP3, &Dialect::MSNP4, &Dialect::MSNP5, &Dialect::MSNP6] {
            assert_eq!(text(dialect), text(&Dialect::MSNP7));
        }
        let msnp7 = text(&Dialect::MSNP7);
        assert!(msnp7.starts_with("MSG Hotmail Hotmail 370\r\nMIME-Version: 1.0\r\n"), "{msnp7}");
        assert!(msnp7.contains("\r\nMemberIdLow: -1434729391\r\n") && msnp7.ends_with("$$\r\n\r\n"), "{msnp7}");
        // §13.5, whose preferredEmail is empty
        let msnp8 = text(&Dialect::MSNP8);
        let expected = format!("MSG Hotmail Hotmail {}\r\n", 396 + alice.as_str().len());
        assert!(msnp8.starts_with(&expected), "{msnp8}");
        assert!(msnp8.ends_with("\r\nClientIP: 198.51.100.7\r\nClientPort: 44806\r\n\r\n"), "{msnp8}");
        assert_eq!(text(&Dialect::MSNP9), msnp8);
        for dialect in [&Dialect::MSNP10, &Dialect::MSNP11, &Dialect::MSNP12] {
            assert!(text(dialect).ends_with("\r\nClientPort: 44806\r\nABCHMigrated: 1\r\n\r\n"));
        }
    }
}
