//! argon2id, off the async threads, a few at a time.

use std::sync::Arc;

use argon2::password_hash::Error;
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Params, Version};

use super::arenas::Arenas;
use super::line::{Asker, Line};
use crate::config::AccountsConfig;

/// Computes and checks password hashes. Clones share the same places and the same waiting line.
///
/// One hash takes tens of milliseconds of a core and megabytes of memory, so only so many are computed at once, each in
/// memory that is used again; so many more may wait, and whoever then has no right to a place is told [`Busy`] at once.
#[derive(Debug, Clone)]
pub struct PasswordHasher {
    /// Who may compute next.
    line: Line,
    costs: Costs,
    /// What is checked where there is no hash, so that it takes as long.
    dummy: Arc<str>,
}

/// Too many wait for a hash already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many sign-ins at once")]
pub struct Busy;

impl PasswordHasher {
    /// A hasher with the configured cost and bounds. A cost below what argon2 can do is raised to it.
    ///
    /// Computes one hash: call it at start.
    ///
    /// # Panics
    /// When the system gives no random bytes.
    #[must_use]
    pub fn new(config: &AccountsConfig) -> Self {
        let memory = config.argon2_memory_kib.max(Params::MIN_M_COST);
        let passes = config.argon2_passes.max(Params::MIN_T_COST);
        let params = Params::new(memory, passes, Params::MIN_P_COST, None).unwrap_or_default();
        let parallel = match config.argon2_parallel {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            some => some,
        };
        let mut nobodys = [0; 32];
        getrandom::fill(&mut nobodys).expect("the system gives random bytes");
        let costs = Costs { arenas: Arenas::new(params.block_count(), parallel), params };
        let dummy = costs.hash(&nobodys).expect("the system gives random bytes");
        Self { line: Line::new(parallel, config.argon2_waiting), costs, dummy: dummy.into() }
    }

    /// The hash of a new password, in the PHC string form. Whoever sets one has shown that he may.
    ///
    /// # Errors
    /// [`Busy`]
    pub async fn hash(&self, password: String) -> Result<String, Busy> {
        let costs = self.costs.clone();
        let hash = self.run(Asker::HERE, move || costs.hash(password.as_bytes())).await?;
        hash.map_err(|error| {
            tracing::error!(%error, "a password can't be hashed");
            Busy
        })
    }

    /// Whether `password` is the one of `hash`. Without a hash (no such account) it takes as long, and is false.
    ///
    /// A hash that can't be read is logged, takes as long, and is false.
    ///
    /// # Errors
    /// [`Busy`]
    pub async fn verify(&self, hash: Option<String>, password: String, asker: Asker) -> Result<bool, Busy> {
        let (costs, dummy) = (self.costs.clone(), Arc::clone(&self.dummy));
        self.run(asker, move || {
            let known = hash.as_deref().and_then(|hash| match costs.verify(password.as_bytes(), hash) {
                Ok(right) => Some(right),
                Err(error) => {
                    tracing::error!(%error, "the store holds a password hash that can't be read");
                    None
                }
            });
            known.unwrap_or_else(|| {
                let _ = costs.verify(password.as_bytes(), &dummy);
                false
            })
        })
        .await
    }

    /// Runs `work` on a thread that may block, when its turn comes. If the caller goes away while waiting, the
    /// place in the line is free at once; if while computing, when the computation ends.
    async fn run<T: Send + 'static>(
        &self,
        asker: Asker,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let turn = self.line.turn(asker).await.ok_or(Busy)?;
        let task = tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop(turn);
            outcome
        });
        task.await.map_err(|error| {
            tracing::error!(%error, "hashing a password failed");
            Busy
        })
    }
}

/// What a hash costs, and the memory for it.
#[derive(Debug, Clone)]
struct Costs {
    params: Params,
    arenas: Arenas,
}

impl Costs {
    /// The hash of a new password, with a random salt.
    fn hash(&self, password: &[u8]) -> Result<String, Error> {
        let salt = Salt::generate();
        let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
        let output = self.compute(algorithm, version, &self.params, password, &salt)?;
        let params = ParamsString::try_from(&self.params)?;
        let (version, salt, hash) = (Some(version.into()), Some(salt), Some(output));
        Ok(PasswordHash { algorithm: algorithm.ident(), version, params, salt, hash }.to_string())
    }

    /// Whether `password` is the one of `hash`, whatever that has cost.
    fn verify(&self, password: &[u8], hash: &str) -> Result<bool, Error> {
        let hash = PasswordHash::new(hash)?;
        let (Some(salt), Some(expected)) = (&hash.salt, &hash.hash) else { return Err(Error::PasswordInvalid) };
        let algorithm = Algorithm::try_from(hash.algorithm.as_str())?;
        let version = hash.version.map(Version::try_from).transpose()?.unwrap_or_default();
        let output = self.compute(algorithm, version, &Params::try_from(&hash)?, password, salt)?;
        // The comparison takes the same time wherever they differ.
        Ok(output == *expected)
    }

    fn compute(
        &self,
        algorithm: Algorithm,
        version: Version,
        params: &Params,
        password: &[u8],
        salt: &[u8],
    ) -> Result<Output, Error> {
        let mut bytes = [0; Output::MAX_LENGTH];
        let len = params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
        let bytes = bytes.get_mut(..len).ok_or(Error::OutputSize)?;
        let mut arena = self.arenas.take(params.block_count());
        let argon2 = Argon2::new(algorithm, version, params.clone());
        argon2.hash_password_into_with_memory(password, salt, bytes, &mut *arena)?;
        Ok(Output::new(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn config() -> AccountsConfig {
        AccountsConfig { argon2_memory_kib: 64, argon2_passes: 1, argon2_parallel: 1, ..AccountsConfig::default() }
    }

    #[tokio::test]
    async fn a_password_opens_its_own_hash_only() {
        let hasher = PasswordHasher::new(&config());
        let hash = hasher.hash("wonderland".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "{hash}");
        assert_ne!(hash, hasher.hash("wonderland".into()).await.unwrap(), "each has a salt of its own");
        assert_eq!(hasher.verify(Some(hash.clone()), "wonderland".into(), Asker::HERE).await, Ok(true));
        assert_eq!(hasher.verify(Some(hash), "Wonderland".into(), Asker::HERE).await, Ok(false));
        assert_eq!(
            hasher.verify(Some("$argon2id$nonsense".into()), "wonderland".into(), Asker::HERE).await,
            Ok(false)
        );
        assert_eq!(hasher.verify(None, "wonderland".into(), Asker::HERE).await, Ok(false));
    }

    #[tokio::test]
    async fn an_old_hash_of_another_cost_still_opens() {
        let hash = PasswordHasher::new(&config()).hash("wonderland".into()).await.unwrap();
        let dearer = PasswordHasher::new(&AccountsConfig { argon2_memory_kib: 128, ..config() });
        assert_eq!(dearer.verify(Some(hash), "wonderland".into(), Asker::HERE).await, Ok(true));
    }

    /// What is hashed without an account costs what a new account's hash costs.
    #[tokio::test]
    async fn no_account_takes_as_long_as_a_wrong_password() {
        let hasher =
            PasswordHasher::new(&AccountsConfig { argon2_memory_kib: 4096, argon2_passes: 3, ..config() });
        let hash = hasher.hash("wonderland".into()).await.unwrap();
        let known = PasswordHash::new(&hash).unwrap();
        let dummy = PasswordHash::new(&hasher.dummy).unwrap();
        assert_eq!((known.algorithm, known.version), (dummy.algorithm, dummy.version));
        assert_eq!(known.params, dummy.params);
        let len = |hash: &PasswordHash| hash.hash.as_ref().map(|output| output.as_ref().len());
        assert_eq!(len(&known), len(&dummy));
        for hash in [Some(hash), None] {
            assert_eq!(hasher.verify(hash, "guess".into(), Asker::HERE).await, Ok(false));
        }
    }

    #[tokio::test]
    async fn the_line_is_bounded_and_frees_its_places() {
        let hasher = PasswordHasher::new(&AccountsConfig { argon2_waiting: 1, ..config() });
        let turn = hasher.line.turn(Asker::HERE).await;
        let mut first = Box::pin(hasher.hash("a".into()));
        assert!(tokio::time::timeout(Duration::from_millis(1), &mut first).await.is_err());
        assert_eq!(hasher.hash("b".into()).await, Err(Busy));
        drop(first);
        let mut second = Box::pin(hasher.hash("c".into()));
        assert!(tokio::time::timeout(Duration::from_millis(1), &mut second).await.is_err());
        drop(turn);
        let (second, third) = (second.await, hasher.hash("d".into()).await);
        assert!(second.is_ok() && third.is_ok());
    }
}
