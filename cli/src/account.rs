//! Making accounts, changing passwords and going through all accounts, for `user`, `scenario` and the demo accounts of `up`.

use common::clock;
use common::config::AccountsConfig;
use common::credentials::{PasswordHasher, SealingKey};
use common::model::{ClaimId, Edition, Limits, Passport};
use common::msnp::value::encoded_len;
use common::store::{Account, AccountSummary, Claimed, Credentials, KnownNetwork, NewAccount, Store, StoreError};
use uuid::Uuid;

use crate::Failure;
use crate::orders::no_randomness;

/// The longest password, in bytes.
const MAX_PASSWORD: usize = 256;

/// Accounts read from the store at once.
const PAGE: usize = 500;

/// What is needed to make credentials.
pub(crate) struct Passwords {
    hasher: PasswordHasher,
}

/// How an account signs in: by its hash alone, or also by MD5 with a copy that this key seals.
pub(crate) type Md5<'a> = Option<&'a SealingKey>;

impl Passwords {
    pub(crate) fn new(config: &AccountsConfig) -> Self {
        Self { hasher: PasswordHasher::new(config) }
    }

    /// Credentials with an epoch of their own; `replaced` is that of those before them.
    async fn credentials(
        &self,
        who: &Passport,
        claim: ClaimId,
        password: &str,
        md5: Md5<'_>,
        replaced: Option<u64>,
    ) -> Result<Credentials, Failure> {
        check_password(password)?;
        let password_hash = self.hasher.hash(password.to_owned()).await.map_err(Failure::failed)?;
        let random = getrandom::u64().map_err(no_randomness)?;
        let epoch = replaced.map_or(random, |replaced| Edition::next_epoch(replaced, random));
        let sealed_password = md5.map(|key| key.seal(who, claim, password));
        Ok(Credentials { epoch, password_hash, sealed_password })
    }

    /// Claims a passport.
    pub(crate) async fn create(
        &self,
        store: &dyn Store,
        who: &Passport,
        name: &str,
        password: &str,
        md5: Md5<'_>,
    ) -> Result<Claimed, Failure> {
        let claim = ClaimId(Uuid::new_v4());
        let credentials = self.credentials(who, claim, password, md5, None).await?;
        let new = NewAccount {
            passport: who.clone(),
            claim,
            credentials,
            friendly_name: name.to_owned(),
            created: clock::wall_ms(),
        };
        Ok(store.create_account(new).await?)
    }

    /// Gives an account another password, and returns the epoch of its credentials. Tickets made before open nothing any more, and from
    /// nowhere it is known that somebody has signed in with it.
    pub(crate) async fn change(
        &self,
        store: &dyn Store,
        account: &Account,
        password: &str,
        md5: Md5<'_>,
    ) -> Result<u64, Failure> {
        let (who, replaced) = (&account.passport, account.credentials.epoch);
        let credentials = self.credentials(who, account.claim, password, md5, Some(replaced)).await?;
        let epoch = credentials.epoch;
        match store.set_credentials(who, account.claim, replaced, credentials).await? {
            true => Ok(epoch),
            false => Err(Failure::failed(format!(
                "not changed: {who} was given another password, removed or registered anew just now"
            ))),
        }
    }
}

/// Does something with each account, in the order of their passports. Not all of them need fit into memory.
pub(crate) async fn for_each_account<E: From<StoreError>>(
    store: &dyn Store,
    mut act: impl FnMut(&AccountSummary) -> Result<(), E>,
) -> Result<(), E> {
    let mut after: Option<Passport> = None;
    loop {
        let page = store.accounts(after.as_ref(), PAGE).await?;
        page.iter().try_for_each(&mut act)?;
        after = match page.last() {
            Some(last) if page.len() == PAGE => Some(last.passport.clone()),
            _ => return Ok(()),
        };
    }
}

/// Lets the networks from which the credentials of epoch `before` were shown be those of the ones of epoch `now`.
pub(crate) async fn keep_networks(
    store: &dyn Store,
    who: &Passport,
    before: u64,
    now: u64,
) -> Result<(), Failure> {
    let mut known = store.known_networks(who).await?;
    known.retain(|known| known.epoch == before);
    let seen = (clock::wall_ms()..).zip(known.into_iter().rev());
    let kept = seen.map(|(seen, known)| (who.clone(), KnownNetwork { epoch: now, seen, ..known }));
    Ok(store.add_known_networks(kept.collect()).await?)
}

/// Whether people can type this password into a client, and the wire can carry it.
pub(crate) fn check_password(password: &str) -> Result<(), Failure> {
    let problem = if password.is_empty() {
        "a password can't be empty".to_owned()
    } else if password.len() > MAX_PASSWORD {
        format!("a password has {MAX_PASSWORD} bytes at most")
    } else if password.chars().any(char::is_control) {
        "a password can't hold control characters".to_owned()
    } else {
        return Ok(());
    };
    Err(Failure::failed(problem))
}

/// Whether a session could have set this friendly name.
pub(crate) fn check_name(name: &str, limits: &Limits) -> Result<(), Failure> {
    let problem = if name.trim().is_empty() {
        "a name can't be empty".to_owned()
    } else if name.chars().any(char::is_control) {
        "a name can't hold control characters".to_owned()
    } else if name.chars().count() > limits.friendly_name_chars || encoded_len(name) > limits.friendly_name {
        let (chars, bytes) = (limits.friendly_name_chars, limits.friendly_name);
        format!("a name has {chars} characters at most, and {bytes} bytes percent-encoded")
    } else {
        return Ok(());
    };
    Err(Failure::Usage(problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_names_are_bounded_and_clean() {
        for good in ["x", "wonderland", "pass word", "Grüße", &"x".repeat(MAX_PASSWORD)] {
            assert!(check_password(good).is_ok(), "{good}");
        }
        for bad in ["", "a\nb", "a\0", &"x".repeat(MAX_PASSWORD + 1)] {
            assert_eq!(check_password(bad).unwrap_err().code(), 1, "{bad:?}");
        }
        let limits = Limits::default();
        assert!(check_name("Alice A.", &limits).is_ok());
        for bad in ["", " ", "a\tb", &"x".repeat(130), &"ä".repeat(65)] {
            assert_eq!(check_name(bad, &limits).unwrap_err().code(), 2, "{bad:?}");
        }
    }
}
