//! Passwords in the clear, for MD5 sign-in (protocol reference §5.4).

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use common::credentials::{Refusal, SealingKey};
use common::model::{ClaimId, Passport};
use common::store::Account;
use uuid::Uuid;

/// Opens sealed passwords with the key of this deployment. Without one nobody can sign in by MD5.
#[derive(Debug)]
pub(crate) struct Passwords {
    opener: RwLock<Option<Arc<Opener>>>,
}

/// Opens sealed passwords, and takes as long where there is none to open.
#[derive(Debug)]
struct Opener {
    key: SealingKey,
    /// Sealed to an account that can't exist here: whoever it is opened for, it doesn't open.
    decoy: Vec<u8>,
}

impl Passwords {
    /// With that key.
    ///
    /// # Errors
    /// Never, as long as the decoy's name is an account name.
    #[cfg(test)]
    pub(crate) fn new(key: SealingKey) -> anyhow::Result<Self> {
        Ok(Self { opener: RwLock::new(Some(Arc::new(Opener::new(key)?))) })
    }

    /// With the key in that file, if it is there.
    ///
    /// # Errors
    /// When the file can't be used.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let opener = SealingKey::load(path)?.map(Opener::new).transpose()?;
        Ok(Self { opener: RwLock::new(opener.map(Arc::new)) })
    }

    /// Takes up the file as it is now.
    ///
    /// # Errors
    /// When it can't be used, or has gone; the key that was there before stays.
    pub(crate) fn read_again(&self, path: &Path) -> anyhow::Result<()> {
        let opener = SealingKey::load(path)?.map(Opener::new).transpose()?;
        let mut current = self.opener.write().unwrap_or_else(PoisonError::into_inner);
        anyhow::ensure!(opener.is_some() || current.is_none(), "there is no {} any more", path.display());
        *current = opener.map(Arc::new);
        Ok(())
    }

    /// The account's password, or why there is none: no such account, or it has none that opens.
    ///
    /// # Errors
    /// See there.
    pub(crate) fn open(&self, who: &Passport, account: Option<&Account>) -> Result<String, Refusal> {
        let opener = self.opener.read().unwrap_or_else(PoisonError::into_inner).clone();
        opener.ok_or(Refusal::Md5KeyMissing)?.open(who, account)
    }
}

impl Opener {
    fn new(key: SealingKey) -> anyhow::Result<Self> {
        let nobody = Passport::parse("nobody@invalid")?;
        let decoy = key.seal(&nobody, ClaimId(Uuid::max()), "sixteen letters!");
        Ok(Self { key, decoy })
    }

    fn open(&self, who: &Passport, account: Option<&Account>) -> Result<String, Refusal> {
        let sealed = account.and_then(|account| account.credentials.sealed_password.as_deref());
        let claim = account.map_or(ClaimId(Uuid::nil()), |account| account.claim);
        let password = self.key.open(who, claim, sealed.unwrap_or(&self.decoy));
        password.ok_or(match (account, sealed) {
            (None, _) => Refusal::NoAccount,
            (Some(_), None) => Refusal::NoMd5Password,
            (Some(_), Some(_)) => Refusal::Md5KeyOther,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_comes_later_is_taken_up_and_one_that_goes_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("md5.key");
        let passwords = Passwords::load(&path).unwrap();
        let has_key = || passwords.opener.read().unwrap().is_some();
        passwords.read_again(&path).unwrap();
        assert!(!has_key());
        SealingKey::create(&path).unwrap();
        passwords.read_again(&path).unwrap();
        assert!(has_key());
        std::fs::remove_file(&path).unwrap();
        assert!(passwords.read_again(&path).is_err() && has_key());
    }
}
