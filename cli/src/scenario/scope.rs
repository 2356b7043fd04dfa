//! The names of a scenario and of the macros it is in.

use std::collections::BTreeMap;

use super::accounts::Accounts;
use super::deployment::Deployment;

/// The names of a scenario, or of one call of a macro.
#[derive(Debug, Default)]
pub(super) struct Frame {
    /// A macro's parameters and what was given for them: a name of an account, or a text.
    pub(super) parameters: BTreeMap<String, String>,
    /// What was captured or set.
    pub(super) names: BTreeMap<String, String>,
    /// What the caller gets when the macro ends.
    pub(super) given: Vec<String>,
}

/// All that a name can mean.
pub(super) struct Scope<'a> {
    pub(super) frame: &'a Frame,
    pub(super) accounts: &'a Accounts,
    pub(super) deployment: &'a Deployment,
    pub(super) run: &'a str,
    pub(super) dialect: Option<&'a str>,
}

impl Scope<'_> {
    /// The value of `name` or `name.attribute`.
    pub(super) fn value(&self, path: &str) -> Option<String> {
        let (head, attribute) = match path.split_once('.') {
            Some((head, attribute)) => (head, Some(attribute)),
            None => (path, None),
        };
        if let Some(given) = self.frame.parameters.get(head) {
            return match (self.accounts.get(given), attribute) {
                (Some(account), attribute) => account.attribute(attribute),
                (None, None) => Some(given.clone()),
                (None, Some(_)) => None,
            };
        }
        if let Some(value) = self.frame.names.get(path) {
            return Some(value.clone());
        }
        if let Some(account) = self.accounts.get(head) {
            return account.attribute(attribute);
        }
        match path {
            "run" => Some(self.run.to_owned()),
            "dialect" => self.dialect.map(str::to_owned),
            tier => self.deployment.address(tier).map(|address| address.to_string()),
        }
    }
}
