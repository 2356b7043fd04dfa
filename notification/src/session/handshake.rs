//! From the first byte to the proof of who it is: `VER`, `INF`, `CVR`, `USR` (protocol reference §4.2, §5).

use bytes::Bytes;
use common::model::{Passport, PassportError};
use common::msnp::dialect::SignInScheme;
use common::msnp::handshake::{self, Handshake as Request};
use common::msnp::verbs::{Phase, gate};
use common::msnp::{Command, Dialect, ErrorCode, Line, ParseError, Service, TrId, miscellany};

use super::{Closing, Surroundings};

/// Where a connection stands before sign-in.
#[derive(Debug, Default)]
pub(crate) struct Handshake {
    dialect: Option<&'static Dialect>,
    ready: bool,
    /// It speaks nothing that the suite knows, and may ask for a version that does.
    outdated: bool,
    challenged: Option<Claim>,
}

/// Who the client says it is, and what it was asked.
#[derive(Debug)]
struct Claim {
    passport: Passport,
    /// What it was asked with.
    asked: Asked,
}

/// How a client is asked to prove who it is.
#[derive(Debug)]
enum Asked {
    /// For its password.
    ClearText,
    /// For MD5 of this salt and its password.
    Md5 {
        /// Never the same twice.
        salt: String,
    },
    /// For a ticket.
    Tweener,
}

/// A client's attempt to prove who it is.
pub(crate) struct Proof {
    /// The transaction id of `USR … S`.
    pub(crate) trid: TrId,
    /// What it speaks.
    pub(crate) dialect: &'static Dialect,
    /// Who it says it is.
    pub(crate) passport: Passport,
    /// What it shows for it.
    pub(crate) evidence: Evidence,
}

/// What a client shows to prove who it is.
pub(crate) enum Evidence {
    /// MD5 of this salt and the password.
    Md5 {
        /// The salt of this attempt.
        salt: String,
        /// The client's answer.
        answer: Bytes,
    },
    /// The password, in the clear.
    Password(Bytes),
    /// A sign-in ticket.
    Ticket(Bytes),
}

impl Evidence {
    /// The word in metrics and logs.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Md5 { .. } => "md5",
            Self::Password(_) => "clear_text",
            Self::Ticket(_) => "ticket",
        }
    }
}

/// What is to be done after a command of the handshake.
pub(crate) enum Step {
    /// Write this and go on.
    Reply(Bytes),
    /// Write this and close.
    Close(Bytes, Closing),
    /// Check this.
    Check(Proof),
}

impl Handshake {
    /// Whether the client has said who it is.
    pub(crate) fn is_identified(&self) -> bool {
        self.challenged.is_some()
    }

    /// What the client speaks, once that is agreed on, and how far it has come.
    pub(crate) fn progress(&self) -> (Option<&'static Dialect>, Phase) {
        (self.dialect, self.phase())
    }

    fn phase(&self) -> Phase {
        match (self.dialect, &self.challenged) {
            (None, _) if self.outdated => Phase::Outdated,
            (None, _) => Phase::Start,
            (_, Some(_)) => Phase::Challenged,
            (_, None) if self.ready => Phase::Ready,
            _ => Phase::Versioned,
        }
    }

    /// Takes a command.
    pub(crate) fn command(&mut self, command: &Command, env: &dyn Surroundings) -> Result<Step, ParseError> {
        self.take(command, env).or_else(|error| command.answer_to_empty(error).map(Step::Reply).ok_or(error))
    }

    fn take(&mut self, command: &Command, env: &dyn Surroundings) -> Result<Step, ParseError> {
        gate(Service::Notification, self.dialect, self.phase(), command)?;
        match Request::parse(command)? {
            Some(request) => self.request(request, env),
            None => match (miscellany::Request::parse(command)?, self.dialect) {
                (Some(miscellany::Request::Ping), Some(dialect)) => {
                    Ok(Step::Reply(miscellany::pong(dialect, env.config().ping_secs)))
                }
                (Some(miscellany::Request::Out), _) => Ok(Step::Close(Bytes::new(), Closing::Out)),
                _ => Err(ParseError::OutOfOrder),
            },
        }
    }

    fn request(&mut self, request: Request, env: &dyn Surroundings) -> Result<Step, ParseError> {
        if let Request::Version { trid, chosen, cvr0 } = request {
            self.dialect = chosen;
            let reply = handshake::version(trid, chosen, cvr0);
            self.outdated = chosen.is_none() && cvr0;
            let goes_on = chosen.is_some() || cvr0;
            return Ok(if goes_on { Step::Reply(reply) } else { Step::Close(reply, Closing::Final) });
        }
        if let Request::VersionQuery { trid, version } = request {
            let config = env.config();
            let reply =
                handshake::version_query(trid, version.as_ref(), config.download_page(), config.info_page());
            return Ok(Step::Close(reply, Closing::Final));
        }
        let dialect = self.dialect.ok_or(ParseError::OutOfOrder)?;
        let reply = match request {
            Request::Policy { trid } => {
                self.ready = true;
                handshake::policy(trid, dialect, env.clear_text())
            }
            Request::ClientVersion { trid, version } => {
                self.ready = true;
                let config = env.config();
                handshake::client_version(trid, version.as_ref(), config.download_page(), config.info_page())
            }
            Request::Identify { trid, scheme, passport, .. } => {
                return Ok(self.identify(trid, check_scheme(dialect, scheme, env)?, passport, env));
            }
            Request::Prove { trid, scheme, proof } => {
                return self.prove(trid, dialect, check_scheme(dialect, scheme, env)?, proof.0);
            }
            Request::Version { .. } | Request::VersionQuery { .. } => return Err(ParseError::OutOfOrder),
        };
        Ok(Step::Reply(reply))
    }

    /// `USR t scheme I handle`. Whether the account exists is not looked at here, so it can't be told by anyone.
    fn identify(
        &mut self,
        trid: TrId,
        scheme: SignInScheme,
        passport: Result<Passport, PassportError>,
        env: &dyn Surroundings,
    ) -> Step {
        let passport = match passport {
            Ok(passport) => passport,
            Err(PassportError::NoDomain) => return Step::Reply(Line::error(ErrorCode::DomainMissing, trid)),
            // No account can have such a name.
            Err(_) => {
                let refusal = Line::error(ErrorCode::AuthenticationFailed, trid);
                return Step::Close(refusal, Closing::Authentication);
            }
        };
        let (asked, challenge) = match scheme {
            SignInScheme::ClearText => (Asked::ClearText, None),
            SignInScheme::Md5 => {
                let salt = salt(env.random());
                (Asked::Md5 { salt: salt.clone() }, Some(salt))
            }
            SignInScheme::Tweener => (Asked::Tweener, Some(tweener_challenge(env.wall_ms() / 1000, env.random()))),
        };
        let reply = handshake::challenge(trid, scheme, challenge.as_deref());
        self.challenged = Some(Claim { passport, asked });
        Step::Reply(reply)
    }

    /// `USR t scheme S proof`, of the scheme that was asked for.
    fn prove(
        &mut self,
        trid: TrId,
        dialect: &'static Dialect,
        scheme: SignInScheme,
        proof: Bytes,
    ) -> Result<Step, ParseError> {
        let claim = self.challenged.take().ok_or(ParseError::OutOfOrder)?;
        let evidence = match (claim.asked, scheme) {
            (Asked::ClearText, SignInScheme::ClearText) => Evidence::Password(proof),
            (Asked::Md5 { salt }, SignInScheme::Md5) => Evidence::Md5 { salt, answer: proof },
            (Asked::Tweener, SignInScheme::Tweener) => Evidence::Ticket(proof),
            _ => return Err(ParseError::BadArgument("another way to sign in than was asked for")),
        };
        Ok(Step::Check(Proof { trid, dialect, passport: claim.passport, evidence }))
    }
}

/// The scheme, if the dialect has it and the operator lets it be used.
fn check_scheme(
    dialect: &Dialect,
    scheme: Option<SignInScheme>,
    env: &dyn Surroundings,
) -> Result<SignInScheme, ParseError> {
    let known = scheme.filter(|scheme| dialect.schemes(env.clear_text()).any(|known| known == *scheme));
    known.ok_or(ParseError::BadArgument("not the dialect's way to sign in"))
}

/// A new salt for each attempt, in the historic shape (§5.4): 30 digits and more, so that no answer fits twice.
fn salt(random: u128) -> String {
    format!("{}.{:020}", random as u32, (random >> 64) as u64)
}

/// Opaque to us; the client sends it back with its password over HTTP. libpurple rebuilds it from the keys it knows
/// and crashes without `ct`, so all keys of §5.5 are there.
fn tweener_challenge(now: u64, random: u128) -> String {
    format!(
        "lc=1033,id=507,tw=40,fs=1,ru=http%3A%2F%2Fmessenger%2Emsn%2Ecom,ct={now},kpp=1,kv=4,\
         ver=2.1.0173.1,tpf={random:032x}"
    )
}

#[cfg(test)]
mod tests {
    use super::super::transcript::{World, command};
    use super::*;

    /// Plays a script of `C:` and `S:` lines; ends at the proof, a close, or a bad line, which it returns as text.
    #[track_caller]
    fn check(script: &str) -> String {
        check_in(&World::default(), script)
    }

    #[track_caller]
    fn check_in(world: &World, script: &str) -> String {
        let mut handshake = Handshake::default();
        let mut replies = Vec::new();
        for line in script.lines().map(str::trim) {
            if let Some(expected) = line.strip_prefix("S: ") {
                let reply: Bytes = replies.pop().expect(line);
                assert_eq!(reply, format!("{expected}\r\n"));
                continue;
            }
            assert!(replies.is_empty(), "before {line}: {replies:?}");
            let sent = line.strip_prefix("C: ").expect(line);
            match handshake.command(&command(&format!("{sent}\r\n")), world) {
                Ok(Step::Reply(reply)) => replies.push(reply),
                Ok(Step::Close(reply, why)) => {
                    return format!("{} {}", String::from_utf8_lossy(&reply), why.label());
                }
                Ok(Step::Check(proof)) => {
                    let evidence = match proof.evidence {
                        Evidence::Md5 { salt, answer } => format!("{salt} {answer:?}"),
                        Evidence::Password(proof) | Evidence::Ticket(proof) => format!("{proof:?}"),
                    };
                    return format!("{} {} {evidence}", proof.trid, proof.passport);
                }
                Err(error) => return error.to_string(),
            }
        }
        assert!(replies.is_empty(), "{replies:?}");
        String::new()
    }

    #[test]
    fn md5() {
        let proof = check(
            "C: VER 3 MSNP7 CVR0
             S: VER 3 MSNP7 CVR0
             C: PNG
             S: QNG
             C: INF 4
             S: INF 4 MD5
             C: USR 5 MD5 I Alice@Example.com
             S: USR 5 MD5 S 1.00000000000000000000
             C: USR 6 MD5 S ca119f98ef5b826b095287c249ca8e87",
        );
        let answer = "b\"ca119f98ef5b826b095287c249ca8e87\"";
        assert_eq!(proof, format!("6 alice@example.com 1.00000000000000000000 {answer}"));
    }

    /// §5.3
    #[test]
    fn in_the_clear_where_the_operator_lets_it() {
        let mut clear = World::default();
        clear.clear_text = true;
        let ver = |dialect: &str| format!("C: VER 1 {dialect} CVR0\nS: VER 1 {dialect} CVR0\n");
        let ask = "C: USR 3 CTP I alice@example.com\n";
        let prove = format!("{}C: INF 2\nS: INF 2 MD5 CTP\n{ask}S: USR 3 CTP S\n", ver("MSNP2"));
        assert_eq!(check_in(&clear, &format!("{prove}C: USR 4 CTP S secret")), "4 alice@example.com b\"secret\"");
        let mixed = check_in(&clear, &format!("{prove}C: USR 4 MD5 S 0123"));
        assert_eq!(mixed, "bad argument: another way to sign in than was asked for");
        let refused = "bad argument: not the dialect's way to sign in";
        assert_eq!(check_in(&clear, &format!("{}{ask}", ver("MSNP3"))), refused);
        assert_eq!(check(&format!("{}C: INF 2\nS: INF 2 MD5\n{ask}", ver("MSNP2"))), refused);
    }

    #[test]
    fn tweener_with_cvr_or_without() {
        let tail = "C: USR 6 TWN I alice@example.com
             S: USR 6 TWN S lc=1033,id=507,tw=40,fs=1,ru=http%3A%2F%2Fmessenger%2Emsn%2Ecom,ct=1750000000,kpp=1,kv=4,ver=2.1.0173.1,tpf=00000000000000000000000000000001
             C: USR 7 TWN S t=EwDgAAAA&p=";
        let cvr = "C: CVR 5 0x0409 winnt 5.1 i386 MSNMSGR 5.0.0544 MSMSGS alice@example.com
             S: CVR 5 5.0.0544 5.0.0544 5.0.0544 about:blank about:blank";
        for cvr in [cvr, "C: CVR 5\nS: 710 5", ""] {
            let script = format!("C: VER 4 MSNP8 CVR0\nS: VER 4 MSNP8 CVR0\n{cvr}\n{tail}");
            let script: Vec<_> = script.lines().filter(|line| !line.is_empty()).collect();
            assert_eq!(check(&script.join("\n")), "7 alice@example.com b\"t=EwDgAAAA&p=\"");
        }
    }

    #[test]
    fn refusals() {
        let ver = "C: VER 1 MSNP7 CVR0\nS: VER 1 MSNP7 CVR0\n";
        for (script, end) in [
            ("C: VER 1 MSNP99", "VER 1 0\r\n final"),
            ("C: VER 1 MSNP99 CVR0\nS: VER 1 CVR0\nC: CVQ 2", "710 2\r\n final"),
            ("C: VER 1 MSNP99 CVR0\nS: VER 1 CVR0\nC: INF 2", "verb out of order"),
            ("C: VER 1 MSNP8\nS: VER 1 MSNP8\nC: CVQ 2", "verb out of order"),
            ("C: INF 1", "verb out of order"),
            ("C: OUT", " out"),
            ("C: USR 1 MD5 I alice@example.com", "verb out of order"),
            (&format!("{ver}C: VER 2 MSNP7"), "verb out of order"),
            (&format!("{ver}C: CHG 2 NLN"), "verb out of order"),
            (&format!("{ver}C: XXX 2"), "unknown verb"),
            (&format!("{ver}C: USR 2 MD5 S x"), "verb out of order"),
            (&format!("{ver}C: USR 2 TWN I alice@example.com"), "bad argument: not the dialect's way to sign in"),
            (&format!("{ver}C: USR 2 MD5 I al,ice@example.com"), "911 2\r\n authentication"),
            (&format!("{ver}C: USR 2 MD5 I alice\nS: 206 2\nC: OUT"), " out"),
            // CLIENTS 28
            (
                &format!("{ver}C: USR 2  I x\nS: 201 2\nC: USR 3 MD5  x\nS: 201 3\nC: USR 4  x\nS: 201 4\nC: OUT"),
                " out",
            ),
            (&format!("{ver}C: USR 2 MD5 I  x\nS: 206 2\nC: CVR 3    a\nS: 710 3\nC: OUT"), " out"),
            ("C: VER 1 MSNP8\nS: VER 1 MSNP8\nC: INF 2", "unknown verb"),
        ] {
            assert_eq!(check(script), end, "{script}");
        }
    }
}
