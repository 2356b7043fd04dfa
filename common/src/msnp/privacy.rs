//! `GTC` and `BLP`: the privacy switches (§6.7).

use bytes::Bytes;

use super::dialect::Dialect;
use super::frame::{Command, TrId};
use super::line::Line;
use super::{ParseError, Token};
use crate::model::{AddPrompt, StrangerPolicy};

/// A request to turn a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrivacyRequest {
    /// `BLP t AL|BL`: how to treat people on neither list.
    Strangers {
        /// Its transaction id.
        trid: TrId,
        /// The wish; nothing if it is no value of this switch.
        policy: Option<StrangerPolicy>,
    },
    /// `GTC t A|N`: whether the client asks its user when somebody adds them.
    Prompt {
        /// Its transaction id.
        trid: TrId,
        /// The wish; nothing if it is no value of this switch.
        prompt: Option<AddPrompt>,
    },
}

impl PrivacyRequest {
    /// Reads a switch; nothing if the verb is another.
    ///
    /// # Errors
    /// [`ParseError`] when an argument is missing.
    pub fn parse(command: &Command) -> Result<Option<Self>, ParseError> {
        let value = || command.token(1).ok_or(ParseError::ArgumentCount);
        let request = match &command.verb().0 {
            b"BLP" => Self::Strangers { trid: command.trid()?, policy: read_policy(&value()?) },
            b"GTC" => Self::Prompt { trid: command.trid()?, prompt: read_prompt(&value()?) },
            _ => return Ok(None),
        };
        Ok(Some(request))
    }
}

fn read_policy(token: &Token) -> Option<StrangerPolicy> {
    match token.as_str() {
        "AL" => Some(StrangerPolicy::Allow),
        "BL" => Some(StrangerPolicy::Block),
        _ => None,
    }
}

fn read_prompt(token: &Token) -> Option<AddPrompt> {
    match token.as_str() {
        "A" => Some(AddPrompt::Ask),
        "N" => Some(AddPrompt::Never),
        _ => None,
    }
}

/// The word for a policy.
#[must_use]
pub fn policy_code(policy: StrangerPolicy) -> &'static str {
    match policy {
        StrangerPolicy::Allow => "AL",
        StrangerPolicy::Block => "BL",
    }
}

/// The word for a prompt.
#[must_use]
pub fn prompt_code(prompt: AddPrompt) -> &'static str {
    match prompt {
        AddPrompt::Ask => "A",
        AddPrompt::Never => "N",
    }
}

/// `BLP t [v] AL|BL`
#[must_use]
pub fn strangers(dialect: &Dialect, trid: TrId, version: u64, policy: StrangerPolicy) -> Bytes {
    let line = Line::new("BLP").arg(trid).maybe(dialect.list_versions.then_some(version));
    line.arg(policy_code(policy)).end()
}

/// `GTC t [v] A|N`
#[must_use]
pub fn prompt(dialect: &Dialect, trid: TrId, version: u64, prompt: AddPrompt) -> Bytes {
    let line = Line::new("GTC").arg(trid).maybe(dialect.list_versions.then_some(version));
    line.arg(prompt_code(prompt)).end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msnp::token::testing::command;

    #[track_caller]
    fn check(line: &str, dialect: &Dialect, reply: &str) {
        let written = match PrivacyRequest::parse(&command(line)).unwrap().unwrap() {
            PrivacyRequest::Strangers { trid, policy } => strangers(dialect, trid, 31, policy.unwrap()),
            PrivacyRequest::Prompt { trid, prompt: wish } => prompt(dialect, trid, 31, wish.unwrap()),
        };
        assert_eq!(written, format!("{reply}\r\n"));
    }

    #[test]
    fn switches_by_dialect() {
        for (line, old, new) in [
            ("BLP 5 AL", "BLP 5 31 AL", "BLP 5 AL"),
            ("BLP 5 BL", "BLP 5 31 BL", "BLP 5 BL"),
            ("GTC 5 A", "GTC 5 31 A", "GTC 5 A"),
            ("GTC 5 N", "GTC 5 31 N", "GTC 5 N"),
        ] {
            for dialect in Dialect::ALL {
                check(line, dialect, if dialect.list_versions { old } else { new });
            }
        }
    }

    #[test]
    fn other_values_are_seen_as_such() {
        let parse = |line: &str| PrivacyRequest::parse(&command(line));
        assert_eq!(parse("BLP 5 FL"), Ok(Some(PrivacyRequest::Strangers { trid: TrId(5), policy: None })));
        assert_eq!(parse("GTC 5 a"), Ok(Some(PrivacyRequest::Prompt { trid: TrId(5), prompt: None })));
        assert_eq!(parse("GTC 5"), Err(ParseError::ArgumentCount));
        assert_eq!(parse("CHG 5 NLN"), Ok(None));
    }
}
