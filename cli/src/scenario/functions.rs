//! What stands in `{…(…)}`.

use std::time::Duration;

use common::msnp::{Dialect, challenge};

use super::deployment::Deployment;
use super::passport;
use super::template::MAX_TEXT;

/// Why a function has no value.
#[derive(Debug)]
pub(super) enum CallError {
    /// The scenario is wrong.
    Usage(String),
    /// A server did not play along.
    Failed(anyhow::Error),
}

/// A call with its arguments' values.
pub(super) struct Call<'a> {
    pub(super) name: &'a str,
    pub(super) arguments: &'a [String],
    pub(super) deployment: &'a Deployment,
    /// The password of the first argument, if that is a passport of this run.
    pub(super) password: Option<&'a str>,
    pub(super) patience: Duration,
}

impl Call<'_> {
    pub(super) async fn value(&self) -> Result<String, CallError> {
        let usage = |problem: &str| Err(CallError::Usage(format!("{}: {problem}", self.name)));
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        match (self.name, arguments.as_slice()) {
            ("md5", [salt, password]) => Ok(challenge::md5_answer(salt, password)),
            ("challenge", [text, product, dialect]) => {
                let kind = Dialect::by_name(dialect).and_then(|dialect| dialect.challenge);
                match kind.and_then(|kind| challenge::answer(kind, text, product)) {
                    Some(answer) => Ok(answer),
                    None => usage("an unknown product, or a dialect without challenges"),
                }
            }
            ("ticket" | "rst", [passport, rest @ ..]) if rest.len() <= 2 => {
                let Some(password) = rest.first().copied().or(self.password) else {
                    return usage("whose password?");
                };
                let (http, challenge, patience) = (self.deployment.http, rest.get(1).copied(), self.patience);
                let ticket = match self.name {
                    "rst" => passport::soap_ticket(http, passport, password, challenge, patience).await,
                    _ => passport::ticket(http, passport, password, challenge, patience).await,
                };
                ticket.map_err(CallError::Failed)
            }
            ("repeat", [text, count]) => match count.parse::<usize>() {
                Ok(count) if count.saturating_mul(text.len()) <= MAX_TEXT => Ok(text.repeat(count)),
                _ => usage("wants a text and a count, a mebibyte in all"),
            },
            ("upper", [text]) => Ok(text.to_ascii_uppercase()),
            ("encode", [text]) => Ok(common::msnp::value::encode(text).to_string()),
            _ => usage("no such function, or not with so many arguments"),
        }
    }
}
