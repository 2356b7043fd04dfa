//! Passwords in the clear, for MD5 sign-in (protocol reference §5.4).

use common::credentials::SealingKey;
use common::model::{ClaimId, Passport};
use common::store::Account;
use uuid::Uuid;

/// Opens sealed passwords, and takes as long where there is none to open.
#[derive(Debug)]
pub(crate) struct Passwords {
    key: SealingKey,
    /// Sealed to an account that can't exist here: whoever it is opened for, it doesn't open.
    decoy: Vec<u8>,
}

impl Passwords {
    /// With the key of this deployment.
    ///
    /// # Errors
    /// Never, as long as the decoy's name is an account name.
    pub(crate) fn new(key: SealingKey) -> anyhow::Result<Self> {
        let nobody = Passport::parse("nobody@invalid")?;
        let decoy = key.seal(&nobody, ClaimId(Uuid::max()), "sixteen letters!");
        Ok(Self { key, decoy })
    }

    /// The account's password; nothing if there is no such account, or it has none that opens.
    pub(crate) fn open(&self, who: &Passport, account: Option<&Account>) -> Option<String> {
        let sealed = account.and_then(|account| account.credentials.sealed_password.as_deref());
        let claim = account.map_or(ClaimId(Uuid::nil()), |account| account.claim);
        self.key.open(who, claim, sealed.unwrap_or(&self.decoy))
    }
}
