//! Accounts made straight in the store, many at once.

use std::iter::zip;

use anyhow::{Context, Result, anyhow, bail};
use common::clock;
use common::config::Config;
use common::credentials::{PasswordHasher, SealingKey};
use common::model::{ClaimId, List, Passport};
use common::store::{self, Claimed, Credentials, Edit, NewAccount};
use uuid::Uuid;

use crate::World;

/// The password of every account made here.
pub const PASSWORD: &str = "wonderland";

/// Creates an account for each name, able to sign in by MD5. `contacts` says who has whom on forward and allow list, by their
/// places in `names`.
///
/// # Errors
/// When the store refuses, or a name is taken.
pub async fn create(config: &Config, names: &[String], contacts: &[(usize, usize)]) -> Result<Vec<Passport>> {
    let store = store::open(&config.store).await?;
    let key = SealingKey::load(&config.accounts.md5_key)?.context("no key for MD5 passwords")?;
    // One hash serves all: it is the same password, and hashing is slow by intention.
    let hash = PasswordHasher::new(&config.accounts).hash(PASSWORD.to_owned()).await?;
    let passports: Vec<Passport> =
        names.iter().map(|name| Passport::parse(&format!("{name}@example.com"))).collect::<Result<_, _>>()?;
    for (passport, name) in zip(&passports, names) {
        let claim = ClaimId(Uuid::new_v4());
        let sealed_password = Some(key.seal(passport, claim, PASSWORD));
        let credentials = Credentials { epoch: 1, password_hash: hash.clone(), sealed_password };
        let friendly_name = name.clone();
        let new = NewAccount {
            passport: passport.clone(),
            claim,
            credentials,
            friendly_name,
            created: clock::wall_ms(),
        };
        if store.create_account(new).await? != Claimed::Won {
            bail!("{passport} is taken");
        }
    }
    for &(owner, contact) in contacts {
        let edit = |list| Edit::List { contact: passports[contact].clone(), list, on: true };
        store.edit(&passports[owner], vec![edit(List::Forward), edit(List::Allow)]).await?;
    }
    Ok(passports)
}

/// Accounts of these names in a deployment; `contacts` as in [`create`].
///
/// # Errors
/// When they can't be made.
pub async fn people<const N: usize>(
    world: &World,
    names: [&str; N],
    contacts: &[(usize, usize)],
) -> Result<[String; N]> {
    let names = names.map(str::to_owned);
    let made = create(world.config(), &names, contacts).await?;
    let made: Vec<String> = made.iter().map(|passport| passport.as_str().to_owned()).collect();
    made.try_into().map_err(|made| anyhow!("not as many accounts as names: {made:?}"))
}

/// Puts people on others' block lists: who blocks whom, by their places in `passports`.
///
/// # Errors
/// When the store refuses.
pub async fn block(config: &Config, passports: &[Passport], pairs: &[(usize, usize)]) -> Result<()> {
    let store = store::open(&config.store).await?;
    for &(owner, contact) in pairs {
        let edit = |list, on| Edit::List { contact: passports[contact].clone(), list, on };
        store.edit(&passports[owner], vec![edit(List::Allow, false), edit(List::Block, true)]).await?;
    }
    Ok(())
}
