//! `ADD`, `ADC` and `REM`: who is on which list (§6.9, §6.10).

use bytes::Bytes;
use uuid::Uuid;

use super::dialect::{Dialect, RosterIds};
use super::frame::{Command, TrId};
use super::line::Line;
use super::{ParseError, Token, value};
use crate::model::{ContactId, List, Passport, PassportError, PhoneNumber};

/// Whom an edit names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// By handle: `bob@example.com`, or `N=bob@example.com` with the prefix taken off.
    Handle {
        /// As it was sent.
        token: Token,
        /// As it is understood.
        passport: Result<Passport, PassportError>,
    },
    /// A phone, by its handle: `N=tel:+15550100` (from MSNP11).
    Phone {
        /// As it was sent, without `N=`.
        token: Token,
        /// As it is understood.
        number: PhoneNumber,
    },
    /// By the GUID of a contact on the forward list (from MSNP10).
    Contact {
        /// As it was sent, without `C=`.
        token: Token,
        /// As it is understood; nothing if it is no GUID.
        id: Option<ContactId>,
    },
}

impl Who {
    fn handle(dialect: &Dialect, token: Token) -> Self {
        let number = dialect.phone_contacts.then(|| PhoneNumber::parse(token.as_str())).flatten();
        if let Some(number) = number {
            return Self::Phone { token, number };
        }
        let passport = Passport::parse(token.as_str());
        Self::Handle { token, passport }
    }

    fn contact(token: Token) -> Self {
        let id = Uuid::try_parse(token.as_str()).ok().map(ContactId);
        Self::Contact { token, id }
    }

    /// As it was sent, without its prefix.
    fn token(&self) -> &Token {
        let (Self::Handle { token, .. } | Self::Phone { token, .. } | Self::Contact { token, .. }) = self;
        token
    }
}

/// `ADD t LIST H N [g]`, `ADC t LIST N=H [F=N]` or `ADC t FL C=K G`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// Its transaction id.
    pub trid: TrId,
    /// To which list; it may be one that clients can't edit.
    pub list: List,
    /// Whom.
    pub who: Who,
    /// The name, as it was sent, without `F=`.
    pub name: Option<Token>,
    /// Into which group, as it was sent; only with [`List::Forward`].
    pub group: Option<Token>,
}

/// `REM t LIST H [g]` or `REM t FL K [G]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remove {
    /// Its transaction id.
    pub trid: TrId,
    /// From which list; it may be one that clients can't edit.
    pub list: List,
    /// Whom.
    pub who: Who,
    /// From which group only, as it was sent; only with [`List::Forward`].
    pub group: Option<Token>,
}

/// A request about lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListRequest {
    /// Put somebody on a list.
    Add(Add),
    /// Take somebody off.
    Remove(Remove),
    /// `ADD` from a dialect that has `ADC` for it: an error, and the session goes on (`CLIENTS` 32).
    Dropped {
        /// Its transaction id.
        trid: TrId,
    },
}

impl ListRequest {
    /// Reads an edit of a list; nothing if the verb is another.
    ///
    /// # Errors
    /// [`ParseError`] for unknown lists, missing arguments and missing prefixes.
    pub fn parse(command: &Command, dialect: &Dialect) -> Result<Option<Self>, ParseError> {
        let request = match &command.verb().0 {
            b"ADD" if dialect.roster_ids == RosterIds::Guids => Self::Dropped { trid: command.trid()? },
            b"ADD" => Self::Add(parse_add(command, dialect)?),
            b"ADC" => Self::Add(parse_adc(command, dialect)?),
            b"REM" => Self::Remove(parse_rem(command, dialect)?),
            _ => return Ok(None),
        };
        Ok(Some(request))
    }
}

fn list(command: &Command) -> Result<List, ParseError> {
    let code = command.arg(1).ok_or(ParseError::ArgumentCount)?;
    List::from_code(code).ok_or(ParseError::BadArgument("no such list"))
}

/// The last argument of an edit, which only the forward list has.
fn group(command: &Command, index: usize, list: List) -> Result<Option<Token>, ParseError> {
    let most = if list == List::Forward { index + 1 } else { index };
    if command.len_up_to(most) > most {
        return Err(ParseError::ArgumentCount);
    }
    Ok(command.token(index).filter(|group| !group.is_empty()))
}

fn parse_add(command: &Command, dialect: &Dialect) -> Result<Add, ParseError> {
    let list = list(command)?;
    let token = |index| command.token(index).ok_or(ParseError::ArgumentCount);
    let who = Who::handle(dialect, token(2)?);
    Ok(Add { trid: command.trid()?, list, who, name: Some(token(3)?), group: group(command, 4, list)? })
}

fn parse_adc(command: &Command, dialect: &Dialect) -> Result<Add, ParseError> {
    const NO_PREFIX: ParseError = ParseError::BadArgument("N=, F= or C= is missing");
    let (trid, list) = (command.trid()?, list(command)?);
    let first = command.token(2).ok_or(ParseError::ArgumentCount)?;
    if let Some(handle) = first.strip_prefix("N=") {
        let name = command.token(3).filter(|name| !name.is_empty());
        let name = name.map(|token| token.strip_prefix("F=").ok_or(NO_PREFIX)).transpose()?;
        if command.len_up_to(4) > 4 {
            return Err(ParseError::ArgumentCount);
        }
        return Ok(Add { trid, list, who: Who::handle(dialect, handle), name, group: None });
    }
    // A contact that has a GUID is on the forward list: only a group can be added to it.
    let contact = first.strip_prefix("C=").filter(|_| list == List::Forward).ok_or(NO_PREFIX)?;
    let group = group(command, 3, list)?.ok_or(ParseError::ArgumentCount)?;
    Ok(Add { trid, list, who: Who::contact(contact), name: None, group: Some(group) })
}

fn parse_rem(command: &Command, dialect: &Dialect) -> Result<Remove, ParseError> {
    let list = list(command)?;
    let token = command.token(2).ok_or(ParseError::ArgumentCount)?;
    let by_id = list == List::Forward && dialect.roster_ids == RosterIds::Guids;
    let who = if by_id { Who::contact(token) } else { Who::handle(dialect, token) };
    Ok(Remove { trid: command.trid()?, list, who, group: group(command, 3, list)? })
}

/// The reply to [`Add`]: the client's own words, with the list version or, for a new contact on the forward list,
/// its GUID. In place of an empty name is the handle.
///
/// From MSNP10 the order is `N=` `F=` `C=`, and a new contact always has `F=` (`CLIENTS` 10).
#[must_use]
pub fn added(dialect: &Dialect, request: &Add, version: u64, new: Option<ContactId>) -> Bytes {
    let verb = match dialect.roster_ids {
        RosterIds::Numbers => "ADD",
        RosterIds::Guids => "ADC",
    };
    let line = Line::new(verb).arg(request.trid).arg(request.list);
    let token = request.who.token();
    match (dialect.roster_ids, &request.who) {
        (RosterIds::Numbers, _) => {
            let line = line.maybe(dialect.list_versions.then_some(version)).arg(token);
            let name = request.name.as_ref().map(|name| if name.is_empty() { token } else { name });
            line.maybe(name).maybe(request.group.as_ref())
        }
        (RosterIds::Guids, Who::Handle { .. } | Who::Phone { .. }) => {
            let name = request.name.as_ref().or(new.map(|_| token));
            let line = line.arg(format_args!("N={token}"));
            let line = line.maybe(name.map(|name| format!("F={name}")));
            line.maybe(new.map(|id| format!("C={id}")))
        }
        (RosterIds::Guids, Who::Contact { .. }) => {
            line.arg(format_args!("C={token}")).maybe(request.group.as_ref())
        }
    }
    .end()
}

/// The reply to [`Remove`]: the client's own words, with the list version.
#[must_use]
pub fn removed(dialect: &Dialect, request: &Remove, version: u64) -> Bytes {
    let line = Line::new("REM").arg(request.trid).arg(request.list);
    let line = line.maybe(dialect.list_versions.then_some(version)).arg(request.who.token());
    line.maybe(request.group.as_ref()).end()
}

/// `ADD 0 RL v H N`, from MSNP10 `ADC 0 RL N=H F=N`: somebody has put the reader on its forward list.
#[must_use]
pub fn reverse_added(dialect: &Dialect, version: u64, by: &Passport, name: &str) -> Bytes {
    let name = if name.is_empty() { by.as_str() } else { name };
    match dialect.roster_ids {
        RosterIds::Numbers => {
            let line = Line::new("ADD").arg(0).arg(List::Reverse);
            line.maybe(dialect.list_versions.then_some(version)).arg(by).text(name)
        }
        RosterIds::Guids => {
            let line = Line::new("ADC").arg(0).arg(List::Reverse);
            line.arg(format_args!("N={by}")).arg(format_args!("F={}", value::encode(name)))
        }
    }
    .end()
}

/// `REM 0 RL v H`, from MSNP10 `REM 0 RL H`: somebody has taken the reader off its forward list.
#[must_use]
pub fn reverse_removed(dialect: &Dialect, version: u64, by: &Passport) -> Bytes {
    let line = Line::new("REM").arg(0).arg(List::Reverse);
    line.maybe(dialect.list_versions.then_some(version)).arg(by).end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msnp::token::testing::command;

    const K: &str = "9b8a7c6d-0000-4000-8000-00000000aaaa";
    const G: &str = "2a6a0f0e-7b0d-4a5d-9b0a-0d0f5f0c1a01";

    #[track_caller]
    fn parse(dialect: &Dialect, line: &str) -> Result<ListRequest, ParseError> {
        ListRequest::parse(&command(line), dialect).map(Option::unwrap)
    }

    #[track_caller]
    fn check(dialect: &Dialect, line: &str, reply: &str) {
        let new = |add: &Add| {
            let fresh = add.list == List::Forward && !matches!(add.who, Who::Contact { .. });
            fresh.then(|| ContactId(Uuid::try_parse(K).unwrap()))
        };
        let written = match parse(dialect, line).unwrap() {
            ListRequest::Add(add) => added(dialect, &add, 36, new(&add)),
            ListRequest::Remove(remove) => removed(dialect, &remove, 36),
            ListRequest::Dropped { trid } => Line::error(crate::msnp::ErrorCode::CommandDisabled, trid),
        };
        assert_eq!(written, format!("{reply}\r\n"));
    }

    #[test]
    fn by_handle() {
        for dialect in [&Dialect::MSNP2, &Dialect::MSNP6, &Dialect::MSNP7, &Dialect::MSNP8, &Dialect::MSNP9] {
            check(dialect, "ADD 11 FL Dave@Example.com D%61ve 0", "ADD 11 FL 36 Dave@Example.com D%61ve 0");
            check(dialect, "ADD 11 FL dave@example.com D", "ADD 11 FL 36 dave@example.com D");
            check(dialect, "ADD 12 AL dave@example.com D", "ADD 12 AL 36 dave@example.com D");
            check(dialect, "REM 13 AL bob@example.com", "REM 13 AL 36 bob@example.com");
            check(dialect, "REM 10 FL bob@example.com 1", "REM 10 FL 36 bob@example.com 1");
            check(dialect, "ADD 11 FL dave@example.com  0", "ADD 11 FL 36 dave@example.com dave@example.com 0");
            check(dialect, "ADD 11 FL dave@example.com D ", "ADD 11 FL 36 dave@example.com D");
            check(dialect, "ADD 12 AL dave@example.com ", "ADD 12 AL 36 dave@example.com dave@example.com");
            check(dialect, "ADD 12 AL dave@example.com D ", "ADD 12 AL 36 dave@example.com D");
            check(dialect, "REM 10 FL bob@example.com ", "REM 10 FL 36 bob@example.com");
        }
    }

    #[test]
    fn by_guid() {
        for (line, reply) in [
            ("ADC 12 FL N=Erin@x.org F=Erin", format!("ADC 12 FL N=Erin@x.org F=Erin C={K}")),
            ("ADC 12 FL N=erin@x.org", format!("ADC 12 FL N=erin@x.org F=erin@x.org C={K}")),
            ("ADC 13 AL N=erin@x.org", "ADC 13 AL N=erin@x.org".into()),
            ("ADC 13 AL N=erin@x.org  ", "ADC 13 AL N=erin@x.org".into()),
            ("ADC 10 RL N=erin@x.org F=E", "ADC 10 RL N=erin@x.org F=E".into()),
            (&format!("ADC 14 FL C={K} {G}"), format!("ADC 14 FL C={K} {G}")),
            (&format!("REM 17 FL {K}"), format!("REM 17 FL {K}")),
            (&format!("REM 17 FL {K} {G}"), format!("REM 17 FL {K} {G}")),
            ("REM 11 PL Erin@x.org", "REM 11 PL Erin@x.org".into()),
        ] {
            for dialect in [&Dialect::MSNP10, &Dialect::MSNP11, &Dialect::MSNP12] {
                check(dialect, line, &reply);
            }
        }
    }

    #[test]
    fn phones() {
        for dialect in [&Dialect::MSNP11, &Dialect::MSNP12] {
            check(dialect, "ADC 12 FL N=tel:+1-555 F=D", &format!("ADC 12 FL N=tel:+1-555 F=D C={K}"));
            check(dialect, "ADC 12 FL N=tel:+1", &format!("ADC 12 FL N=tel:+1 F=tel:+1 C={K}"));
            check(dialect, "ADC 13 AL N=tel:+1", "ADC 13 AL N=tel:+1");
            check(dialect, "REM 14 AL tel:+1", "REM 14 AL tel:+1");
        }
        let who = |dialect, line: &str| match parse(dialect, line).unwrap() {
            ListRequest::Add(Add { who, .. }) | ListRequest::Remove(Remove { who, .. }) => who,
            ListRequest::Dropped { .. } => panic!("{line}"),
        };
        let number = PhoneNumber::parse("tel:+1555").unwrap();
        let phone = who(&Dialect::MSNP11, "ADC 1 FL N=tel:+1-555");
        assert!(matches!(&phone, Who::Phone { number: read, .. } if *read == number), "{phone:?}");
        for (dialect, line) in [
            (&Dialect::MSNP9, "ADD 1 FL tel:+1555 D"),
            (&Dialect::MSNP10, "ADC 1 FL N=tel:+1555 F=D"),
            (&Dialect::MSNP11, "ADC 1 FL N=tel:1555 F=D"),
        ] {
            let handle = who(dialect, line);
            assert!(matches!(handle, Who::Handle { passport: Err(_), .. }), "{line}: {handle:?}");
        }
    }

    #[test]
    fn malformed() {
        let prefix = ParseError::BadArgument("N=, F= or C= is missing");
        for (dialect, line, error) in [
            (&Dialect::MSNP7, "ADD 1 XL a@b c", ParseError::BadArgument("no such list")),
            (&Dialect::MSNP7, "ADD 1 FL a@b", ParseError::ArgumentCount),
            (&Dialect::MSNP7, "ADD 1 AL a@b c 1", ParseError::ArgumentCount),
            (&Dialect::MSNP7, "REM 1 AL a@b 1", ParseError::ArgumentCount),
            (&Dialect::MSNP7, "REM 1 AL", ParseError::ArgumentCount),
            (&Dialect::MSNP11, "ADC 1 FL a@b F=c", prefix),
            (&Dialect::MSNP11, "ADC 1 FL N=a@b c", prefix),
            (&Dialect::MSNP11, "ADC 1 FL N=a@b F=c G", ParseError::ArgumentCount),
            (&Dialect::MSNP11, "ADC 1 AL a@b", prefix),
            (&Dialect::MSNP11, "ADC 1 AL C=a", prefix),
            (&Dialect::MSNP11, "ADC 1 FL C=a", ParseError::ArgumentCount),
        ] {
            assert_eq!(parse(dialect, line), Err(error), "{line}");
        }
    }

    #[test]
    fn notices() {
        let alice = Passport::parse("alice@example.com").unwrap();
        let (old, new) = (&Dialect::MSNP9, &Dialect::MSNP10);
        assert_eq!(reverse_added(old, 5, &alice, "Alice A"), "ADD 0 RL 5 alice@example.com Alice%20A\r\n");
        assert_eq!(reverse_added(new, 5, &alice, "Al\r\n"), "ADC 0 RL N=alice@example.com F=Al%0D%0A\r\n");
        assert_eq!(reverse_added(new, 5, &alice, ""), "ADC 0 RL N=alice@example.com F=alice@example.com\r\n");
        assert_eq!(reverse_removed(old, 6, &alice), "REM 0 RL 6 alice@example.com\r\n");
        assert_eq!(reverse_removed(new, 6, &alice), "REM 0 RL alice@example.com\r\n");
    }
}
