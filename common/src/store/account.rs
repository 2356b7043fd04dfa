//! Accounts as the store keeps them.

use std::fmt;

use crate::model::{AddPrompt, ClaimId, Edition, Passport, Settings, StrangerPolicy};

/// What proves that somebody owns an account. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Random at each change, so that tickets made before it open nothing, but for the [`Edition`] in it.
    pub epoch: u64,
    /// argon2id, in the PHC string form.
    pub password_hash: String,
    /// The password itself, sealed with the MD5 key of the deployment, for accounts that sign in by MD5.
    pub sealed_password: Option<Vec<u8>>,
}

impl Credentials {
    /// Which of the account's credentials these are.
    #[must_use]
    pub fn edition(&self) -> Edition {
        Edition::of(self.epoch)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("md5", &self.sealed_password.is_some()).finish_non_exhaustive()
    }
}

/// An account to be created.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// The passport to claim.
    pub passport: Passport,
    /// Random; the same at every repetition of this one claim.
    pub claim: ClaimId,
    /// Its password.
    pub credentials: Credentials,
    /// The name that contacts see, decoded.
    pub friendly_name: String,
    /// Milliseconds since 1970.
    pub created: u64,
}

/// An account.
#[derive(Debug, Clone)]
pub struct Account {
    /// Whose.
    pub passport: Passport,
    /// The claim that won the passport.
    pub claim: ClaimId,
    /// Its password.
    pub credentials: Credentials,
    /// The owner's wishes.
    pub settings: Settings,
    /// Milliseconds since 1970.
    pub created: u64,
}

/// An account in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSummary {
    /// Whose.
    pub passport: Passport,
    /// The name that contacts see, decoded.
    pub friendly_name: String,
    /// Whether it may sign in by MD5.
    pub md5: bool,
    /// Milliseconds since 1970.
    pub created: u64,
    /// Milliseconds since 1970, if it ever signed in.
    pub last_active: Option<u64>,
}

/// Who won a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// This claim did.
    Won,
    /// Another did, now or long ago.
    Taken,
}

/// The number that stores keep for a policy.
pub(super) fn strangers_code(policy: StrangerPolicy) -> u8 {
    match policy {
        StrangerPolicy::Allow => 0,
        StrangerPolicy::Block => 1,
    }
}

/// Reads that number.
pub(super) fn strangers_from(code: u8) -> Option<StrangerPolicy> {
    [StrangerPolicy::Allow, StrangerPolicy::Block].into_iter().find(|policy| strangers_code(*policy) == code)
}

/// The number that stores keep for a wish.
pub(super) fn add_prompt_code(prompt: AddPrompt) -> u8 {
    match prompt {
        AddPrompt::Ask => 0,
        AddPrompt::Never => 1,
    }
}

/// Reads that number.
pub(super) fn add_prompt_from(code: u8) -> Option<AddPrompt> {
    [AddPrompt::Ask, AddPrompt::Never].into_iter().find(|prompt| add_prompt_code(*prompt) == code)
}
