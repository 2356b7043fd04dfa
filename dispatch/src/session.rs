//! What a dispatch server says to a client (protocol reference §4.1): without sockets, clock or cluster.

#[cfg(test)]
mod corpus_tests;

use std::net::SocketAddr;

use bytes::Bytes;
use common::model::PassportError;
use common::msnp::handshake::{self, Handshake};
use common::msnp::verbs::{Phase, gate};
use common::msnp::{Command, Dialect, ErrorCode, Line, ParseError, Service, TrId};

/// How a conversation with a client ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It was told where to sign in.
    Redirected,
    /// 601: no notification node is alive.
    NoneAlive,
    /// It names no account that could exist.
    BadHandle,
    /// It wants to sign in in a way that its dialect doesn't know.
    WrongScheme,
    /// It speaks no dialect that the suite knows.
    NoDialect,
    /// `OUT`
    Out,
    /// It sent what makes no sense here.
    Refused(ParseError),
}

/// What the client gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A line, and the connection stays.
    Reply(Bytes),
    /// A line, and the connection is closed.
    Last(Bytes, End),
    /// The connection is closed.
    Close(End),
}

/// What a session knows of its surroundings.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    /// The own address, as clients know it.
    pub(crate) here: SocketAddr,
    /// The web address that `CVR` names for a download.
    pub(crate) download_url: String,
    /// The web address that `CVR` names for information.
    pub(crate) info_url: String,
    /// Whether MSNP2 clients may send their password in the clear.
    pub(crate) clear_text: bool,
}

/// One client's conversation with the dispatch server.
#[derive(Debug)]
pub(crate) struct Session {
    phase: Phase,
    dialect: Option<&'static Dialect>,
}

impl Session {
    /// Nothing has been said.
    pub(crate) fn new() -> Self {
        Self { phase: Phase::Start, dialect: None }
    }

    /// Answers one command. `assign` chooses a notification node, and is asked once at most.
    pub(crate) fn handle(
        &mut self,
        command: &Command,
        desk: &Desk,
        assign: impl FnOnce() -> Option<SocketAddr>,
    ) -> Step {
        self.answer(command, desk, assign).unwrap_or_else(|error| {
            command.answer_to_empty(error).map_or(Step::Close(End::Refused(error)), Step::Reply)
        })
    }

    fn answer(
        &mut self,
        command: &Command,
        desk: &Desk,
        assign: impl FnOnce() -> Option<SocketAddr>,
    ) -> Result<Step, ParseError> {
        gate(Service::Dispatch, self.dialect, self.phase, command)?;
        let Some(request) = Handshake::parse(command)? else { return Ok(Step::Close(End::Out)) };
        Ok(match request {
            Handshake::Version { trid, chosen, cvr0 } => self.version(trid, chosen, cvr0),
            Handshake::Policy { trid } => {
                self.phase = Phase::Ready;
                Step::Reply(handshake::policy(trid, self.dialect()?, desk.clear_text))
            }
            Handshake::ClientVersion { trid, version } => {
                self.phase = Phase::Ready;
                let (download, info) = (&desk.download_url, &desk.info_url);
                Step::Reply(handshake::client_version(trid, version.as_ref(), download, info))
            }
            Handshake::VersionQuery { trid, version } => {
                let (download, info) = (&desk.download_url, &desk.info_url);
                let reply = handshake::version_query(trid, version.as_ref(), download, info);
                Step::Last(reply, End::NoDialect)
            }
            Handshake::Identify { trid, handle, .. } if handle.is_empty() => {
                Step::Reply(Line::error(ErrorCode::DomainMissing, trid))
            }
            Handshake::Identify { trid, scheme, passport, .. } => {
                let dialect = self.dialect()?;
                if let Err(error) = passport {
                    bad_handle(trid, error)
                } else if !dialect.schemes(desk.clear_text).any(|known| Some(known) == scheme) {
                    Step::Last(Line::error(ErrorCode::AuthenticationFailed, trid), End::WrongScheme)
                } else if let Some(there) = assign() {
                    Step::Last(handshake::transfer(trid, dialect, there, desk.here), End::Redirected)
                } else {
                    Step::Last(Line::error(ErrorCode::ServerUnavailable, trid), End::NoneAlive)
                }
            }
            // Nothing was asked that could be proved.
            Handshake::Prove { .. } => return Err(ParseError::OutOfOrder),
        })
    }

    fn version(&mut self, trid: TrId, chosen: Option<&'static Dialect>, cvr0: bool) -> Step {
        let line = handshake::version(trid, chosen, cvr0);
        if chosen.is_none() && cvr0 {
            self.phase = Phase::Outdated;
            return Step::Reply(line);
        }
        if chosen.is_none() {
            return Step::Last(line, End::NoDialect);
        }
        (self.phase, self.dialect) = (Phase::Versioned, chosen);
        Step::Reply(line)
    }

    /// The gate lets nothing but `VER`, `CVQ` and `OUT` through before there is one.
    fn dialect(&self) -> Result<&'static Dialect, ParseError> {
        self.dialect.ok_or(ParseError::OutOfOrder)
    }
}

/// 206 for a name without a domain (§4.1); any other name that no account can have is as wrong as an unknown one.
fn bad_handle(trid: TrId, error: PassportError) -> Step {
    let code = match error {
        PassportError::NoDomain => ErrorCode::DomainMissing,
        PassportError::TooLong | PassportError::BadCharacter => ErrorCode::AuthenticationFailed,
    };
    Step::Last(Line::error(code, trid), End::BadHandle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use common::msnp::Decoder;

    /// Plays a transcript: `C:` lines in, `S:` lines expected, `close` where the server closes. What comes after
    /// that is not read.
    #[track_caller]
    fn check_with(node: Option<&str>, clear_text: bool, script: &str) {
        let desk = Desk {
            here: "192.0.2.1:1863".parse().unwrap(),
            download_url: "http://im.example.com/get".into(),
            info_url: "http://im.example.com/".into(),
            clear_text,
        };
        let (mut session, mut decoder) = (Session::new(), Decoder::new(Service::Dispatch, 0));
        let mut played = String::new();
        for line in script.lines().map(str::trim_start) {
            let Some(sent) = line.strip_prefix("C: ") else { continue };
            played += &format!("C: {sent}\n");
            let mut input = BytesMut::from(format!("{sent}\r\n").as_bytes());
            let command = decoder.decode(&mut input).unwrap().unwrap();
            let (reply, closes) = match session.handle(&command, &desk, || node.map(|node| node.parse().unwrap()))
            {
                Step::Reply(reply) => (Some(reply), false),
                Step::Last(reply, _) => (Some(reply), true),
                Step::Close(_) => (None, true),
            };
            if let Some(reply) = reply {
                played += &format!("S: {}\n", std::str::from_utf8(&reply).unwrap().strip_suffix("\r\n").unwrap());
            }
            if closes {
                played += "close\n";
                break;
            }
        }
        let expected: String = script.lines().map(|line| format!("{}\n", line.trim_start())).collect();
        assert_eq!(played.trim(), expected.trim());
    }

    #[track_caller]
    fn check(script: &str) {
        check_with(Some("192.0.2.10:1863"), false, script);
    }

    #[test]
    fn msnp7() {
        check(
            "C: VER 1 MSNP7 MSNP6 MSNP5 MSNP4 CVR0
             S: VER 1 MSNP7 CVR0
             C: INF 2
             S: INF 2 MD5
             C: USR 3 MD5 I alice@example.com
             S: XFR 3 NS 192.0.2.10:1863 0 192.0.2.1:1863
             close",
        );
    }

    /// §6.3
    #[test]
    fn older_dialects_hear_less_of_the_way() {
        for (dialect, tail) in [("MSNP2", ""), ("MSNP3", " 0"), ("MSNP6", " 0")] {
            check(&format!(
                "C: VER 0 {dialect} CVR0
                 S: VER 0 {dialect} CVR0
                 C: INF 1
                 S: INF 1 MD5
                 C: USR 2 MD5 I alice@example.com
                 S: XFR 2 NS 192.0.2.10:1863{tail}
                 close"
            ));
        }
    }

    /// §5.3
    #[test]
    fn in_the_clear_where_the_operator_lets_it() {
        let script = |dialect: &str, offer: &str, reply: &str| {
            format!(
                "C: VER 0 {dialect}
                 S: VER 0 {dialect}
                 C: INF 1
                 S: INF 1 {offer}
                 C: USR 2 CTP I alice@example.com
                 S: {reply}
                 close"
            )
        };
        let node = Some("192.0.2.10:1863");
        check_with(node, true, &script("MSNP2", "MD5 CTP", "XFR 2 NS 192.0.2.10:1863"));
        check_with(node, true, &script("MSNP3", "MD5", "911 2"));
        check_with(node, false, &script("MSNP2", "MD5", "911 2"));
    }

    #[test]
    fn msnp8_and_later() {
        for dialect in ["MSNP8", "MSNP9", "MSNP10", "MSNP11", "MSNP12"] {
            check(&format!(
                "C: VER 1 {dialect} CVR0
                 S: VER 1 {dialect} CVR0
                 C: CVR 2 0x0409 winnt 5.1 i386 MSNMSGR 5.0.0544 MSMSGS alice@example.com
                 S: CVR 2 5.0.0544 5.0.0544 5.0.0544 http://im.example.com/get http://im.example.com/
                 C: USR 3 TWN I alice@example.com
                 S: XFR 3 NS 192.0.2.10:1863 0 192.0.2.1:1863
                 close"
            ));
        }
    }

    #[test]
    fn steps_may_be_left_out_or_repeated() {
        check(
            "C: VER 1 MSNP8
             S: VER 1 MSNP8
             C: USR 3 TWN I nobody-knows-her@example.com
             S: XFR 3 NS 192.0.2.10:1863 0 192.0.2.1:1863
             close",
        );
        check(
            "C: VER 1 MSNP7
             S: VER 1 MSNP7
             C: CVR 2 0x0409
             S: 710 2
             C: INF 3
             S: INF 3 MD5
             C: INF 4
             S: INF 4 MD5
             C: OUT
             close",
        );
    }

    #[test]
    fn nobody_to_send_to() {
        check_with(
            None,
            false,
            "C: VER 1 MSNP7
             S: VER 1 MSNP7
             C: USR 3 MD5 I alice@example.com
             S: 601 3
             close",
        );
    }

    #[test]
    fn no_dialect_in_common() {
        check("C: VER 1 MSNP1 FOO\nS: VER 1 0\nclose");
        check(
            "C: VER 1 CVR0
             S: VER 1 CVR0
             C: CVQ 2 0x0409 win 4.10 i386 MSMSGS 1.0.0863
             S: CVQ 2 1.0.0863 1.0.0863 1.0.0863 http://im.example.com/get http://im.example.com/
             close",
        );
        check("C: VER 1 MSNP99 CVR0\nS: VER 1 CVR0\nC: USR 2 MD5 I alice@example.com\nclose");
        check("C: VER 1 MSNP8\nS: VER 1 MSNP8\nC: CVQ 2\nclose");
    }

    #[test]
    fn handles_that_no_account_can_have() {
        let long = format!("{}@example.com", "a".repeat(130));
        for (handle, code) in [("alice", 206), ("alice@", 206), (long.as_str(), 911), ("al%0D%0Aice@x.com", 911)] {
            check(&format!(
                "C: VER 1 MSNP7
                 S: VER 1 MSNP7
                 C: USR 2 MD5 I {handle}
                 S: {code} 2
                 close"
            ));
        }
    }

    /// `CLIENTS` 28: the client may do better.
    #[test]
    fn clients_28_empty_arguments_are_answered() {
        check(
            "C: VER 1 MSNP7 MSNP6
             S: VER 1 MSNP7
             C: USR 3  I x
             S: 201 3
             C: USR 4 MD5  alice@example.com
             S: 201 4
             C: USR 5 MD5 I  \x20
             S: 206 5
             C: CVR 6     \x20
             S: 710 6
             C: USR 7  \x20
             S: 201 7
             C: USR 8 MD5 I alice@example.com
             S: XFR 8 NS 192.0.2.10:1863 0 192.0.2.1:1863
             close",
        );
    }

    #[test]
    fn the_scheme_of_another_dialect() {
        for (dialect, scheme) in [("MSNP7", "TWN"), ("MSNP8", "MD5"), ("MSNP7", "CTP"), ("MSNP11", "SSO")] {
            check(&format!(
                "C: VER 1 {dialect}
                 S: VER 1 {dialect}
                 C: USR 2 {scheme} I alice@example.com
                 S: 911 2
                 close"
            ));
        }
    }

    #[test]
    fn anything_else_closes() {
        for first in ["INF 1", "USR 1 MD5 I alice@example.com", "SYN 1 0", "PNG", "VER 1", "VER x MSNP7", "OUT"] {
            check(&format!("C: {first}\nclose"));
        }
        for then in ["VER 2 MSNP7", "SYN 2 0", "USR 2 MD5 S 0123", "USR 2 MD5 X a@b.c", "USR 2 MD5", "MSG 2 A 0"] {
            check(&format!("C: VER 1 MSNP7\nS: VER 1 MSNP7\nC: {then}\nclose"));
        }
        check("C: VER 1 MSNP8\nS: VER 1 MSNP8\nC: INF 2\nclose");
    }
}
