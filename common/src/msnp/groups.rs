//! `ADG`, `REG` and `RMG`: groups of contacts (§6.13).

use bytes::Bytes;
use uuid::Uuid;

use super::dialect::{Dialect, RosterIds};
use super::frame::{Command, TrId};
use super::line::Line;
use super::{ParseError, Token, value};
use crate::model::{Group, Roster};

/// The name of group 0, where contacts are that are in no other; dialects from MSNP10 have no such group.
pub const OTHER_CONTACTS: &str = "Other Contacts";

/// A request about groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupRequest {
    /// `ADG t N [0]`
    Add {
        /// Its transaction id.
        trid: TrId,
        /// The name, as it was sent.
        name: Token,
    },
    /// `REG t g N [0]`, from MSNP10 `REG t G N`
    Rename {
        /// Its transaction id.
        trid: TrId,
        /// Which group, as it was sent.
        group: Token,
        /// The name, as it was sent.
        name: Token,
    },
    /// `RMG t g`, from MSNP10 `RMG t G`
    Remove {
        /// Its transaction id.
        trid: TrId,
        /// Which group, as it was sent.
        group: Token,
    },
}

impl GroupRequest {
    /// Reads a request about groups; nothing if the verb is another.
    ///
    /// # Errors
    /// [`ParseError`] when an argument is missing.
    pub fn parse(command: &Command) -> Result<Option<Self>, ParseError> {
        let token = |index| command.token(index).ok_or(ParseError::ArgumentCount);
        let request = match &command.verb().0 {
            b"ADG" => Self::Add { trid: command.trid()?, name: token(1)? },
            b"REG" => Self::Rename { trid: command.trid()?, group: token(1)?, name: token(2)? },
            b"RMG" => Self::Remove { trid: command.trid()?, group: token(1)? },
            _ => return Ok(None),
        };
        Ok(Some(request))
    }
}

/// What a group argument points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupRef<'a> {
    /// Group 0 of the dialects that have numbers: being in none.
    Zero,
    /// A group of the roster.
    Group(&'a Group),
}

/// Finds the group that an argument points at: by number or by GUID, as the dialect does it.
#[must_use]
pub fn find<'a>(dialect: &Dialect, roster: &'a Roster, token: &Token) -> Option<GroupRef<'a>> {
    match dialect.roster_ids {
        RosterIds::Numbers => match super::frame::parse_decimal(token.as_str())? {
            0 => Some(GroupRef::Zero),
            _ if !dialect.groups => None,
            number => roster.groups.get(&u16::try_from(number).ok()?).map(GroupRef::Group),
        },
        RosterIds::Guids => {
            let id = Uuid::try_parse(token.as_str()).ok()?;
            roster.groups.values().find(|group| group.id.0 == id).map(GroupRef::Group)
        }
    }
}

/// As [`find`], for `RMG`: MSN 7.0 may name the group there instead of giving its GUID (§6.13).
#[must_use]
pub fn find_to_remove<'a>(dialect: &Dialect, roster: &'a Roster, token: &Token) -> Option<GroupRef<'a>> {
    find(dialect, roster, token).or_else(|| match dialect.roster_ids {
        RosterIds::Numbers => None,
        RosterIds::Guids => roster.group_by_name(&value::decode(token.as_str())?).map(GroupRef::Group),
    })
}

/// `ADG t v N g 0`, from MSNP10 `ADG t N G`
#[must_use]
pub fn added(dialect: &Dialect, trid: TrId, version: u64, name: &Token, group: &Group) -> Bytes {
    let line = Line::new("ADG").arg(trid).maybe(dialect.list_versions.then_some(version)).arg(name);
    match dialect.roster_ids {
        RosterIds::Numbers => line.arg(group.number).arg(0),
        RosterIds::Guids => line.arg(group.id),
    }
    .end()
}

/// `REG t v g N 0`, from MSNP10 `REG t G N`
#[must_use]
pub fn renamed(dialect: &Dialect, trid: TrId, version: u64, group: &Token, name: &Token) -> Bytes {
    let line = Line::new("REG").arg(trid).maybe(dialect.list_versions.then_some(version));
    line.arg(group).arg(name).maybe((dialect.roster_ids == RosterIds::Numbers).then_some(0)).end()
}

/// `RMG t v g`, from MSNP10 `RMG t G`
#[must_use]
pub fn removed(dialect: &Dialect, trid: TrId, version: u64, group: &Token) -> Bytes {
    Line::new("RMG").arg(trid).maybe(dialect.list_versions.then_some(version)).arg(group).end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::GroupId;
    use crate::msnp::token::testing::command;

    fn group() -> Group {
        Group { id: GroupId(Uuid::from_u128(0xbbbb)), number: 2, name: "Work".into() }
    }

    #[track_caller]
    fn check(line: &str, dialect: &Dialect, reply: &str) {
        let written = match GroupRequest::parse(&command(line)).unwrap().unwrap() {
            GroupRequest::Add { trid, name } => added(dialect, trid, 31, &name, &group()),
            GroupRequest::Rename { trid, group, name } => renamed(dialect, trid, 31, &group, &name),
            GroupRequest::Remove { trid, group } => removed(dialect, trid, 31, &group),
        };
        assert_eq!(written, format!("{reply}\r\n"));
    }

    #[test]
    fn numbers() {
        for dialect in [&Dialect::MSNP7, &Dialect::MSNP8, &Dialect::MSNP9] {
            check("ADG 8 Work 0", dialect, "ADG 8 31 Work 2 0");
            check("ADG 8 W%6Frk", dialect, "ADG 8 31 W%6Frk 2 0");
            check("REG 11 2 Colleagues 0", dialect, "REG 11 31 2 Colleagues 0");
            check("REG 11 2 Colleagues", dialect, "REG 11 31 2 Colleagues 0");
            check("RMG 13 1", dialect, "RMG 13 31 1");
        }
    }

    #[test]
    fn guids() {
        let guid = "00000000-0000-0000-0000-00000000bbbb";
        for dialect in [&Dialect::MSNP10, &Dialect::MSNP11, &Dialect::MSNP12] {
            check("ADG 16 Work", dialect, &format!("ADG 16 Work {guid}"));
            check(&format!("REG 17 {guid} W%20"), dialect, &format!("REG 17 {guid} W%20"));
            check(&format!("RMG 18 {guid}"), dialect, &format!("RMG 18 {guid}"));
        }
    }

    #[test]
    fn missing_arguments() {
        for line in ["ADG 1", "REG 1", "REG 1 2", "RMG 1"] {
            assert_eq!(GroupRequest::parse(&command(line)), Err(ParseError::ArgumentCount), "{line}");
        }
    }
}
