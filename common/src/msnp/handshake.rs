//! `VER`, `INF`, `CVR`, `USR` and `XFR … NS`: what dispatch and notification servers have in common (§5, §6.2, §6.3).

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;

use super::dialect::{Dialect, SignInScheme, TransferTail};
use super::frame::{Command, TrId};
use super::line::Line;
use super::{ErrorCode, ParseError};
use crate::model::{Passport, PassportError};

/// What a client proves by who it is, as it was sent. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Bytes);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// A request of the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handshake {
    /// `VER t D1 D2 … [CVR0]`
    Version {
        /// Its transaction id.
        trid: TrId,
        /// The newest dialect that both sides know.
        chosen: Option<&'static Dialect>,
        /// `CVR0` was offered: it is echoed, since aMSN aborts without it.
        cvr0: bool,
    },
    /// `INF t`
    Policy {
        /// Its transaction id.
        trid: TrId,
    },
    /// `CVR t lcid ostype osver arch library clientver [codebase] [handle]`
    ClientVersion {
        /// Its transaction id.
        trid: TrId,
        /// The client's version, as it was sent; nothing if there were too few parameters.
        version: Option<Bytes>,
    },
    /// `CVQ t …`, as `CVR`, from a client that shares no dialect with the server.
    VersionQuery {
        /// Its transaction id.
        trid: TrId,
        /// As with `CVR`.
        version: Option<Bytes>,
    },
    /// `USR t scheme I handle`
    Identify {
        /// Its transaction id.
        trid: TrId,
        /// The scheme, if it is one that the suite knows.
        scheme: Option<SignInScheme>,
        /// Who it says it is.
        passport: Result<Passport, PassportError>,
        /// The handle as it was sent, for replies.
        handle: Bytes,
    },
    /// `USR t scheme S proof`
    Prove {
        /// Its transaction id.
        trid: TrId,
        /// The scheme, if it is one that the suite knows.
        scheme: Option<SignInScheme>,
        /// The hash, the ticket or the password.
        proof: Secret,
    },
}

impl Handshake {
    /// Reads a command of the handshake; nothing if its verb is another.
    ///
    /// # Errors
    /// [`ParseError`] for a `USR` without its parts.
    pub fn parse(command: &Command) -> Result<Option<Self>, ParseError> {
        let request = match &command.verb().0 {
            b"VER" => {
                let trid = command.trid()?;
                let chosen = Dialect::negotiate(command.args_from(1));
                let cvr0 = command.args_from(1).any(|offer| offer.eq_ignore_ascii_case("CVR0"));
                Self::Version { trid, chosen, cvr0 }
            }
            b"INF" => Self::Policy { trid: command.trid()? },
            b"CVR" => Self::ClientVersion { trid: command.trid()?, version: command.raw(6) },
            b"CVQ" => Self::VersionQuery { trid: command.trid()?, version: command.raw(6) },
            b"USR" => parse_usr(command)?,
            _ => return Ok(None),
        };
        Ok(Some(request))
    }
}

fn parse_usr(command: &Command) -> Result<Handshake, ParseError> {
    let trid = command.trid()?;
    if command.arg(1) == Some("") {
        return Err(ParseError::BadArgument("USR names a way to sign in"));
    }
    let scheme = command.arg(1).and_then(SignInScheme::from_word);
    let value = command.raw(3).ok_or(ParseError::ArgumentCount)?;
    match command.arg(2) {
        Some("I") => {
            let passport = Passport::parse(command.arg(3).unwrap_or_default());
            Ok(Handshake::Identify { trid, scheme, passport, handle: value })
        }
        Some("S") => Ok(Handshake::Prove { trid, scheme, proof: Secret(value) }),
        _ => Err(ParseError::BadArgument("USR is I or S")),
    }
}

/// The answer to `VER`: one dialect, and `CVR0` if it was offered; `0` when there is nothing in common (§5.1).
/// Without a dialect the connection is then closed, or after one `CVQ` if `CVR0` was offered (§4.1).
#[must_use]
pub fn version(trid: TrId, chosen: Option<&Dialect>, cvr0: bool) -> Bytes {
    let line = Line::new("VER").arg(trid);
    match (chosen, cvr0) {
        (Some(dialect), true) => line.arg(dialect.number).arg("CVR0"),
        (Some(dialect), false) => line.arg(dialect.number),
        (None, true) => line.arg("CVR0"),
        (None, false) => line.arg("0"),
    }
    .end()
}

/// The answer to `INF`: the ways to sign in. `clear_text`: the operator lets passwords come in the clear (§5.2).
#[must_use]
pub fn policy(trid: TrId, dialect: &Dialect, clear_text: bool) -> Bytes {
    let schemes = dialect.schemes(clear_text);
    schemes.fold(Line::new("INF").arg(trid), |line, scheme| line.arg(scheme.as_str())).end()
}

/// Stands for a web address where there is none: clients count on one, and open it when they are told of a newer version, which none
/// is here, or on a click. It opens an empty page, and nobody's.
pub const NO_PAGE: &str = "about:blank";

/// The answer to `CVR`: the client's own version three times, so that no client is forced to upgrade (§6.2);
/// 710 if it named none.
#[must_use]
pub fn client_version(trid: TrId, version: Option<&Bytes>, download_url: &str, info_url: &str) -> Bytes {
    recommend("CVR", trid, version, download_url, info_url)
}

/// The answer to `CVQ`, of the same form.
#[must_use]
pub fn version_query(trid: TrId, version: Option<&Bytes>, download_url: &str, info_url: &str) -> Bytes {
    recommend("CVQ", trid, version, download_url, info_url)
}

fn recommend(verb: &str, trid: TrId, version: Option<&Bytes>, download_url: &str, info_url: &str) -> Bytes {
    let version = version.and_then(|version| std::str::from_utf8(version).ok());
    let Some(version) = version.filter(|version| !version.is_empty()) else {
        return Line::error(ErrorCode::BadCvr, trid);
    };
    let line = Line::new(verb).arg(trid).arg(version).arg(version).arg(version);
    line.arg(download_url).arg(info_url).end()
}

/// `XFR t NS address …`: sign in there. `here` is the address of the server that answers.
#[must_use]
pub fn transfer(trid: TrId, dialect: &Dialect, there: SocketAddr, here: SocketAddr) -> Bytes {
    let line = Line::new("XFR").arg(trid).arg("NS").arg(there);
    match dialect.transfer_tail {
        TransferTail::None => line,
        TransferTail::Zero => line.arg("0"),
        TransferTail::ZeroAndHere => line.arg("0").arg(here),
    }
    .end()
}

/// `USR t scheme S [challenge]`: prove it. A password in the clear answers no challenge.
#[must_use]
pub fn challenge(trid: TrId, scheme: SignInScheme, challenge: Option<&str>) -> Bytes {
    Line::new("USR").arg(trid).arg(scheme.as_str()).arg("S").maybe(challenge).end()
}

/// `USR t OK handle [name] bits…`: signed in.
#[must_use]
pub fn accepted(trid: TrId, dialect: &Dialect, passport: &Passport, name: &str) -> Bytes {
    let mut line = Line::new("USR").arg(trid).arg("OK").arg(passport);
    if dialect.name_in_ok {
        line = line.text(name);
    }
    // Verified, and not restricted.
    for bit in ["1", "0"].iter().take(usize::from(dialect.ok_bits)) {
        line = line.arg(bit);
    }
    line.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msnp::{Decoder, Service};
    use bytes::BytesMut;

    #[track_caller]
    fn parse(line: &str) -> Handshake {
        let mut input = BytesMut::from(format!("{line}\r\n").as_bytes());
        let command = Decoder::new(Service::Notification, 0).decode(&mut input).unwrap().unwrap();
        Handshake::parse(&command).unwrap().unwrap()
    }

    #[test]
    fn ver() {
        let Handshake::Version { trid, chosen, cvr0 } = parse("VER 1 MSNP8 MSNP7 CVR0") else { panic!() };
        assert_eq!(&version(trid, chosen, cvr0)[..], b"VER 1 MSNP8 CVR0\r\n");
        let Handshake::Version { trid, chosen, cvr0 } = parse("VER 1 MSNP99") else { panic!() };
        assert_eq!(&version(trid, chosen, cvr0)[..], b"VER 1 0\r\n");
        assert_eq!(&version(trid, None, true)[..], b"VER 1 CVR0\r\n");
    }

    #[test]
    fn cvr() {
        let line = "CVR 2 0x0409 winnt 5.1 i386 MSNMSGR 5.0.0544 MSMSGS alice@example.com";
        let Handshake::ClientVersion { trid, version } = parse(line) else { panic!() };
        let reply = client_version(trid, version.as_ref(), "http://a/", "http://b/");
        assert_eq!(&reply[..], b"CVR 2 5.0.0544 5.0.0544 5.0.0544 http://a/ http://b/\r\n");
        let Handshake::ClientVersion { trid, version } = parse("CVR 2 0x0409") else { panic!() };
        assert_eq!(&client_version(trid, version.as_ref(), "", "")[..], b"710 2\r\n");
    }

    #[test]
    fn usr() {
        let Handshake::Identify { passport, handle, scheme, .. } = parse("USR 3 MD5 I Alice@Example.com") else {
            panic!()
        };
        assert_eq!((passport.unwrap().as_str(), &handle[..]), ("alice@example.com", &b"Alice@Example.com"[..]));
        assert_eq!(scheme, Some(SignInScheme::Md5));
        let Handshake::Identify { passport, .. } = parse("USR 3 TWN I alice") else { panic!() };
        assert_eq!(passport, Err(PassportError::NoDomain));
        let Handshake::Prove { proof, .. } = parse("USR 4 TWN S t=a&p=b") else { panic!() };
        assert_eq!(&proof.0[..], b"t=a&p=b");
        let clear = parse("USR 4 CTP S sesame");
        assert!(!format!("{clear:?}").contains("sesame"));
        let Handshake::Prove { scheme, proof, .. } = clear else { panic!() };
        assert_eq!((scheme, &proof.0[..]), (Some(SignInScheme::ClearText), &b"sesame"[..]));
    }

    #[test]
    fn ways_to_sign_in() {
        assert_eq!(&policy(TrId(1), &Dialect::MSNP2, false)[..], b"INF 1 MD5\r\n");
        assert_eq!(&policy(TrId(1), &Dialect::MSNP2, true)[..], b"INF 1 MD5 CTP\r\n");
        assert_eq!(&policy(TrId(1), &Dialect::MSNP3, true)[..], b"INF 1 MD5\r\n");
        assert_eq!(&challenge(TrId(3), SignInScheme::ClearText, None)[..], b"USR 3 CTP S\r\n");
        assert_eq!(&challenge(TrId(3), SignInScheme::Md5, Some("1.2"))[..], b"USR 3 MD5 S 1.2\r\n");
    }

    #[test]
    fn replies_by_dialect() {
        let (there, here) = ("192.0.2.10:1863".parse().unwrap(), "192.0.2.1:1863".parse().unwrap());
        let alice = Passport::parse("alice@example.com").unwrap();
        let check = |dialects: &[&Dialect], tail: &str, rest: &str| {
            for dialect in dialects {
                let xfr = transfer(TrId(3), dialect, there, here);
                assert_eq!(xfr, format!("XFR 3 NS 192.0.2.10:1863{tail}\r\n"), "{}", dialect.number);
                let ok = accepted(TrId(4), dialect, &alice, "Alice A.");
                assert_eq!(ok, format!("USR 4 OK alice@example.com{rest}\r\n"), "{}", dialect.number);
            }
        };
        let here = " 0 192.0.2.1:1863";
        check(&[&Dialect::MSNP2], "", " Alice%20A.");
        check(&[&Dialect::MSNP3, &Dialect::MSNP4, &Dialect::MSNP5], " 0", " Alice%20A.");
        check(&[&Dialect::MSNP6], " 0", " Alice%20A. 1");
        check(&[&Dialect::MSNP7], here, " Alice%20A. 1");
        check(&[&Dialect::MSNP8, &Dialect::MSNP9], here, " Alice%20A. 1 0");
        check(&[&Dialect::MSNP10, &Dialect::MSNP11, &Dialect::MSNP12], here, " 1 0");
    }
}
