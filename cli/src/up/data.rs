//! The data directory: whose it is at this moment, and what a first start puts there.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::cluster::Keyring;
use common::config::{Config, StoreKind};
use common::credentials::SealingKey;
use common::files;
use common::store::{self, Store};
use rustix::fs::{FlockOperation, flock};

use super::demo::{self, Demo, People};
use crate::terminal::say;
use crate::{Again, Failure};

/// Held by the `monarch up` that runs on the directory.
pub(super) const LOCK: &str = "up.lock";

/// As many times it is tried to take it, so far apart: who holds it for longer runs.
const LOOKS: u32 = 25;
const AGAIN: Duration = Duration::from_millis(20);

/// A data directory that this process holds. The lock goes with the process, however that ends.
#[derive(Debug)]
pub(super) struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the directory where there is none, and locks it against a second `monarch up`.
    #[expect(
        clippy::disallowed_methods,
        reason = "half a second at most, before anything runs that could be kept waiting"
    )]
    pub(super) fn take(path: &Path) -> Result<Self, Failure> {
        let unusable = |error| Failure::failed(format!("the data directory {}: {error}", path.display()));
        // Secrets and conversations will be in it.
        files::create_directory(path).map_err(unusable)?;
        let mut lock = files::open_own(&path.join(LOCK)).map_err(unusable)?;
        // Commands that ask whether somebody runs here have it for a moment.
        let mut looks = 1;
        while flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            if looks < LOOKS {
                looks += 1;
                std::thread::sleep(AGAIN);
                continue;
            }
            let mut holder = String::new();
            let _ = (&mut lock).take(20).read_to_string(&mut holder);
            return Err(Failure::failed(format!(
                "another `monarch up` (process {}) runs on {} already",
                holder.trim(),
                path.display()
            )));
        }
        lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(unusable)?;
        Ok(Self { path: path.to_path_buf(), _lock: lock })
    }

    /// Makes what a start needs and is not there: secrets, and with a new store the MD5 key and the demo accounts.
    /// Says who is there then. Refuses where others could sign in with the demo accounts' password and nobody has asked for that.
    pub(super) async fn prepare(&self, config: &Config, demo: Demo, monarch: &Again) -> Result<People, Failure> {
        if !config.cluster.secrets.exists() {
            make_parent(&config.cluster.secrets)?;
            Keyring::create(&config.cluster.secrets).map_err(Failure::failed)?;
            say(format!("monarch: made cluster secrets, {}", config.cluster.secrets.display()));
        }
        if config.store.kind != StoreKind::Sqlite {
            // Opening a file makes its tables; servers have theirs made once, by whoever comes first.
            store::migrate(&config.store, &mut |step| say(format!("monarch: {step}"))).await?;
        }
        let is_new = store::is_missing(&config.store);
        let store = store::open(&config.store).await?;
        if is_new {
            say(format!("monarch: made a new store in {}", config.store.path.display()));
        }
        if let Demo::Exposed { .. } = demo {
            // Made by an earlier start, when the addresses were this machine's own.
            demo::refuse_known_password(&*store, config, monarch).await?;
        }
        if !self.is_first_start(&*store).await? {
            return demo::people(&*store).await;
        }
        // A store that has accounts keeps the key it had: a new one in the place of one that was lost would look
        // like MD5 sign-in at work, and refuse everybody.
        let key = &config.accounts.md5_key;
        if !key.exists() {
            make_parent(key)?;
            SealingKey::create(key).map_err(Failure::failed)?;
            say(format!("monarch: made the key for MD5 passwords, {}", key.display()));
        }
        match demo {
            Demo::Made => demo::create(&*store, config).await?,
            Demo::Unwanted | Demo::Exposed { declined: true } => {}
            Demo::Exposed { declined: false } => say(
                "monarch: no demo accounts, whose password everybody knows: others can reach these addresses. \
                 `monarch user add` makes accounts; `--demo` at a first start makes those all the same",
            ),
        }
        fs::remove_file(self.marker())?;
        Ok(if demo == Demo::Made { People::Made } else { People::Others })
    }

    /// Whether the store has no accounts, or a first start was cut short. Leaves a mark until it is complete.
    async fn is_first_start(&self, store: &dyn Store) -> Result<bool, Failure> {
        let first = self.marker().exists() || store.accounts(None, 1).await?.is_empty();
        if first {
            files::open_own(&self.marker())?;
        }
        Ok(first)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn marker(&self) -> PathBuf {
        self.path.join("first-start")
    }
}

fn make_parent(file: &Path) -> Result<(), Failure> {
    match file.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => Ok(files::create_directory(parent)?),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_second_one_is_told_who_has_the_directory() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/data");
        let first = DataDir::take(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let second = DataDir::take(&path).unwrap_err().to_string();
        assert!(second.contains(&format!("(process {})", std::process::id())), "{second}");
        drop(first);
        assert!(DataDir::take(&path).is_ok());
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "no runtime")]
    fn who_only_asks_keeps_nobody_from_it() {
        let root = tempfile::tempdir().unwrap();
        drop(DataDir::take(root.path()).unwrap());
        let asks = File::open(root.path().join(LOCK)).unwrap();
        flock(&asks, FlockOperation::NonBlockingLockShared).unwrap();
        let asking = std::thread::spawn(move || {
            std::thread::sleep(AGAIN * 3);
            drop(asks);
        });
        assert!(DataDir::take(root.path()).is_ok());
        asking.join().unwrap();
    }
}
