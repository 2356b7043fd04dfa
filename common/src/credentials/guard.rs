//! A guard against guessing passwords.

use std::net::IpAddr;

use crate::config::AccountsConfig;
use crate::model::Passport;

/// Wrong passwords per account, counted by this process. Bounded; unknown accounts count like others.
#[derive(Debug)]
pub struct AttemptGuard {}

impl AttemptGuard {
    /// A guard with the configured bounds.
    #[must_use]
    pub fn new(config: &AccountsConfig) -> Self {
        let _ = config;
        unimplemented!()
    }

    /// Whether an attempt may be checked: there were few wrong ones lately, or `from` has signed in to this
    /// account before. Otherwise it gets the wrong-password answer unchecked.
    #[must_use]
    pub fn allows(&self, who: &Passport, from: IpAddr) -> bool {
        let _ = (who, from);
        unimplemented!()
    }

    /// A right password came from `from`.
    pub fn succeeded(&self, who: &Passport, from: IpAddr) {
        let _ = (who, from);
        unimplemented!()
    }

    /// A wrong password came.
    pub fn failed(&self, who: &Passport) {
        let _ = who;
        unimplemented!()
    }
}
