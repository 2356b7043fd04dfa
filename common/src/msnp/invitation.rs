//! `XFR … SB`, `RNG` and `IMS`: opening chats from a notification server (§6.15, §6.18).

use std::net::SocketAddr;

use bytes::Bytes;

use super::ParseError;
use super::frame::{Command, TrId};
use super::line::Line;
use crate::model::Passport;

/// A request about chats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// `XFR t SB`: where can I open a conversation?
    Switchboard {
        /// Its transaction id.
        trid: TrId,
    },
    /// `IMS t ON|OFF`: whether I take and send invitations.
    Invitations {
        /// Its transaction id.
        trid: TrId,
        /// Whether it does.
        on: bool,
    },
}

impl Request {
    /// Reads a request about chats; nothing if its verb is another.
    ///
    /// # Errors
    /// [`ParseError`] for another tier than `SB`, or neither `ON` nor `OFF`.
    pub fn parse(command: &Command) -> Result<Option<Self>, ParseError> {
        let request = match (&command.verb().0, command.arg(1)) {
            (b"XFR", Some("SB")) => Self::Switchboard { trid: command.trid()? },
            (b"XFR", _) => return Err(ParseError::BadArgument("XFR asks for SB")),
            (b"IMS", Some("ON")) => Self::Invitations { trid: command.trid()?, on: true },
            (b"IMS", Some("OFF")) => Self::Invitations { trid: command.trid()?, on: false },
            (b"IMS", _) => return Err(ParseError::BadArgument("IMS is ON or OFF")),
            _ => return Ok(None),
        };
        Ok(Some(request))
    }
}

/// `XFR t SB address CKI cookie`
#[must_use]
pub fn switchboard(trid: TrId, addr: SocketAddr, cookie: &str) -> Bytes {
    Line::new("XFR").arg(trid).arg("SB").arg(addr).arg("CKI").arg(cookie).end()
}

/// `IMS t 0 ON|OFF`
#[must_use]
pub fn invitations(trid: TrId, on: bool) -> Bytes {
    Line::new("IMS").arg(trid).arg(0).arg(if on { "ON" } else { "OFF" }).end()
}

/// `RNG session address CKI cookie caller name`. `session` is decimal and below 2³¹ (`CLIENTS` 7).
#[must_use]
pub fn ring(session: u32, addr: SocketAddr, cookie: &str, caller: &Passport, name: &str) -> Bytes {
    let name = if name.is_empty() { caller.as_str() } else { name };
    Line::new("RNG").arg(session).arg(addr).arg("CKI").arg(cookie).arg(caller).text(name).end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msnp::{Decoder, Service};
    use bytes::BytesMut;

    fn parse(line: &str) -> Result<Option<Request>, ParseError> {
        let mut input = BytesMut::from(format!("{line}\r\n").as_bytes());
        Request::parse(&Decoder::new(Service::Notification, 0).decode(&mut input).unwrap().unwrap())
    }

    #[test]
    fn requests() {
        assert_eq!(parse("XFR 16 SB"), Ok(Some(Request::Switchboard { trid: TrId(16) })));
        assert_eq!(parse("IMS 12 OFF"), Ok(Some(Request::Invitations { trid: TrId(12), on: false })));
        assert_eq!(parse("IMS 13 ON"), Ok(Some(Request::Invitations { trid: TrId(13), on: true })));
        assert!(parse("XFR 16 NS").is_err());
        assert!(parse("IMS 12 off").is_err());
        assert_eq!(parse("CHG 1 NLN"), Ok(None));
    }

    #[test]
    fn replies() {
        let addr = "192.0.2.20:1864".parse().unwrap();
        let xfr = switchboard(TrId(16), addr, "17262740.1050826919.32308");
        assert_eq!(&xfr[..], b"XFR 16 SB 192.0.2.20:1864 CKI 17262740.1050826919.32308\r\n");
        assert_eq!(&invitations(TrId(12), false)[..], b"IMS 12 0 OFF\r\n");
        let alice = Passport::parse("alice@example.com").unwrap();
        let rng = ring(11_752_013, addr, "849102291.520491113", &alice, "Alice A.");
        let expected = "RNG 11752013 192.0.2.20:1864 CKI 849102291.520491113 alice@example.com Alice%20A.\r\n";
        assert_eq!(rng, expected);
    }
}
