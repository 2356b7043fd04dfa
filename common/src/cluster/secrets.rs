//! The cluster secrets: the first signs, all verify.

use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::files;
use crate::reload::Reload;

/// HMAC-SHA256, ready to be fed.
pub(super) type Hasher = Hmac<Sha256>;

/// By what the parties name a secret on the wire: a fingerprint, so that nodes agree whatever an operator calls it.
pub(super) type KeyId = [u8; 4];

/// What a subkey is for: a signature made for one purpose is worth nothing for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Ticket,
    Cookie,
    Gossip,
    Link,
    Order,
}

impl Purpose {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Ticket, "monarch sign-in ticket v1"),
        (Self::Cookie, "monarch switchboard cookie v1"),
        (Self::Gossip, "monarch gossip v1"),
        (Self::Link, "monarch peer link v2"),
        (Self::Order, "monarch operator's order v1"),
    ];
}

/// The secrets of a deployment. Never printed. Clones are the same one: what is [read again](Keyring::read_again) holds for all
/// of them.
///
/// The file holds one secret a line, in hexadecimal or base64, at least [`Keyring::MIN_LEN`] bytes long, if wanted with
/// a name for people before it; `#` begins a comment. The first signs, all verify: a new secret is added last on every
/// node before it is put first.
#[derive(Clone)]
pub struct Keyring {
    secrets: Arc<RwLock<Arc<[Secret]>>>,
}

struct Secret {
    id: KeyId,
    /// The subkeys, in the order of [`Purpose::ALL`].
    subkeys: [Hasher; Purpose::ALL.len()],
}

/// Why the secrets can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The file can't be read; the process refuses to start.
    #[error(
        "the cluster secrets can't be read from {0}: {1}; copy the file of another node of this deployment, or let \
         `monarch up` make one"
    )]
    Unreadable(PathBuf, std::io::Error),
    /// Others may read the file.
    #[error("the cluster secrets in {0} can be read by others than their owner (mode {1:o}): chmod 600 {0}")]
    Exposed(PathBuf, u32),
    /// A line is not a secret.
    #[error("{path}, line {line}: {why}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong, and what to do.
        why: &'static str,
    },
    /// There is no secret in the file.
    #[error("{0} holds no cluster secret; write one a line: at least 32 random bytes in hexadecimal or base64")]
    Empty(PathBuf),
    /// The new file can't be written, or there is one already.
    #[error("the cluster secrets can't be written to {0}: {1}")]
    Unwritable(PathBuf, std::io::Error),
    /// Fewer bytes than [`Keyring::MIN_LEN`], or none at all.
    #[error("a cluster secret has at least {} bytes", Keyring::MIN_LEN)]
    TooShort,
}

impl Keyring {
    /// The fewest bytes of a secret.
    pub const MIN_LEN: usize = 32;
    /// The most bytes of a file of secrets.
    const MAX_FILE: u64 = 64 * 1024;

    /// Reads the file of secrets.
    ///
    /// # Errors
    /// [`SecretsError`]; it says what to do.
    pub fn load(path: &Path) -> Result<Self, SecretsError> {
        Ok(Self::of(Self::read(path)?))
    }

    /// Reads the file of secrets again, for this keyring and all its clones.
    ///
    /// # Errors
    /// [`SecretsError`]; the secrets that were there before stay.
    pub fn read_again(&self, path: &Path) -> Result<(), SecretsError> {
        let secrets = Self::read(path)?;
        *self.secrets.write().unwrap_or_else(PoisonError::into_inner) = secrets.into();
        Ok(())
    }

    /// Reads the file again at SIGHUP.
    pub fn follow(&self, reload: &Reload) {
        let keys = self.clone();
        reload.add("cluster secrets", &["cluster.secrets"], move |config| {
            Ok(keys.read_again(&config.cluster.secrets)?)
        });
    }

    fn read(path: &Path) -> Result<Vec<Secret>, SecretsError> {
        let unreadable = |error| SecretsError::Unreadable(path.into(), error);
        let (file, mode) = files::open_secret(path).map_err(unreadable)?;
        if mode & 0o077 != 0 {
            return Err(SecretsError::Exposed(path.into(), mode));
        }
        let mut text = String::new();
        file.take(Self::MAX_FILE).read_to_string(&mut text).map_err(unreadable)?;
        Self::parse(path, &text)
    }

    fn of(secrets: Vec<Secret>) -> Self {
        Self { secrets: Arc::new(RwLock::new(secrets.into())) }
    }

    /// Those of this moment; never none.
    fn all(&self) -> Arc<[Secret]> {
        Arc::clone(&self.secrets.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn parse(path: &Path, text: &str) -> Result<Vec<Secret>, SecretsError> {
        let mut secrets: Vec<Secret> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let malformed = |why| SecretsError::Malformed { path: path.into(), line: number + 1, why };
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            let word = match words[..] {
                [] => continue,
                [secret] | [_, secret] => secret,
                _ => return Err(malformed("more than a name and a secret stand on this line")),
            };
            let bytes = decode(word).ok_or_else(|| malformed("this is neither hexadecimal nor base64"))?;
            if bytes.len() < Self::MIN_LEN {
                return Err(malformed("this secret is too short; at least 32 random bytes are needed"));
            }
            let secret = Secret::new(&bytes);
            if secrets.iter().any(|known| known.id == secret.id) {
                return Err(malformed("this secret stands here twice; remove one of them"));
            }
            secrets.push(secret);
        }
        if secrets.is_empty() {
            return Err(SecretsError::Empty(path.into()));
        }
        Ok(secrets)
    }

    /// Writes a new file with one random secret, readable by its owner only; fails if there is one already.
    ///
    /// # Errors
    /// [`SecretsError::Unwritable`]
    pub fn create(path: &Path) -> Result<Self, SecretsError> {
        let unwritable = |error| SecretsError::Unwritable(path.into(), error);
        let mut secret = [0; Self::MIN_LEN];
        getrandom::fill(&mut secret).map_err(|error| unwritable(std::io::Error::other(error)))?;
        let mut file = files::create_new(path, files::PRIVATE).map_err(unwritable)?;
        let text = format!(
            "# The cluster secrets, one a line: the first signs, all verify. The same on every node; keep it private.\n\
             {}\n",
            URL_SAFE_NO_PAD.encode(secret)
        );
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(unwritable)?;
        Self::from_secrets([secret])
    }

    /// A keyring of these secrets, without a file.
    ///
    /// # Errors
    /// [`SecretsError::TooShort`], also when there is none.
    pub fn from_secrets<S: AsRef<[u8]>>(secrets: impl IntoIterator<Item = S>) -> Result<Self, SecretsError> {
        let secrets: Vec<S> = secrets.into_iter().collect();
        if secrets.is_empty() || secrets.iter().any(|secret| secret.as_ref().len() < Self::MIN_LEN) {
            return Err(SecretsError::TooShort);
        }
        Ok(Self::of(secrets.iter().map(|secret| Secret::new(secret.as_ref())).collect()))
    }

    /// The names of all secrets, the signing one first.
    pub(super) fn ids(&self) -> Vec<KeyId> {
        self.all().iter().map(|secret| secret.id).collect()
    }

    /// By what a node tells others, through the store, which secrets it knows: [`shares`](Self::shares) compares them.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<u8> {
        self.ids().concat()
    }

    /// Whether one of the secrets of another node, by its fingerprints, is one of these.
    #[must_use]
    pub fn shares(&self, fingerprints: &[u8]) -> bool {
        let (others, _) = fingerprints.as_chunks();
        self.ids().iter().any(|id| others.contains(id))
    }

    /// The signing secret's name, and its subkey for a purpose.
    pub(super) fn signer(&self, purpose: Purpose) -> (KeyId, Hasher) {
        // No keyring is empty: `parse` and `from_secrets` see to it.
        let first = &self.all()[0];
        (first.id, first.subkey(purpose))
    }

    /// The subkey of a secret for a purpose, if that secret is known here.
    pub(super) fn subkey(&self, id: KeyId, purpose: Purpose) -> Option<Hasher> {
        self.all().iter().find(|secret| secret.id == id).map(|secret| secret.subkey(purpose))
    }
}

impl Secret {
    fn new(secret: &[u8]) -> Self {
        let id = derive(secret, "monarch key id v1");
        let subkeys = Purpose::ALL.map(|(_, label)| hasher(&derive(secret, label)));
        Self { id: [id[0], id[1], id[2], id[3]], subkeys }
    }

    fn subkey(&self, purpose: Purpose) -> Hasher {
        self.subkeys[purpose as usize].clone()
    }
}

fn derive(secret: &[u8], label: &str) -> [u8; 32] {
    finish(hasher(secret).chain_update(label))
}

/// HMAC-SHA256 takes keys of every length (RFC 2104 §2), so that nothing can fail here.
pub(super) fn hasher(key: &[u8]) -> Hasher {
    #[expect(clippy::expect_used, reason = "see above")]
    Hasher::new_from_slice(key).expect("HMAC takes keys of every length")
}

/// The whole code.
pub(super) fn finish(hasher: Hasher) -> [u8; 32] {
    hasher.finalize().into_bytes().into()
}

fn decode(word: &str) -> Option<Vec<u8>> {
    if word.len().is_multiple_of(2) && word.bytes().all(|b| b.is_ascii_hexdigit()) {
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        return word.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect();
    }
    let word = word.trim_end_matches('=');
    STANDARD_NO_PAD.decode(word).or_else(|_| URL_SAFE_NO_PAD.decode(word)).ok()
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn write(text: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.secrets");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_new_file_is_private_and_can_be_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.secrets");
        let made = Keyring::create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Keyring::load(&path).unwrap().ids(), made.ids());
        assert!(matches!(Keyring::create(&path), Err(SecretsError::Unwritable(..))), "never written over");
    }

    #[test]
    fn what_is_read_again_holds_for_all_clones() {
        let (_dir, path) = write(&"0f".repeat(32), 0o600);
        let ring = Keyring::load(&path).unwrap();
        let (clone, before) = (ring.clone(), ring.ids());
        std::fs::write(&path, format!("{}\n{}\n", "0e".repeat(32), "0f".repeat(32))).unwrap();
        ring.read_again(&path).unwrap();
        let after = clone.ids();
        assert_eq!((after.len(), after[1]), (2, before[0]));
        assert_eq!(clone.signer(Purpose::Order).0, after[0], "the first signs");
        std::fs::write(&path, "nonsense").unwrap();
        assert!(ring.read_again(&path).is_err());
        assert_eq!(clone.ids(), after, "what was good stays");
    }

    #[test]
    fn a_secret_in_common_is_known_by_its_fingerprint() {
        let ring = |secrets: &[u8]| Keyring::from_secrets(secrets.iter().map(|byte| [*byte; 32])).unwrap();
        assert!(ring(&[1, 2]).shares(&ring(&[3, 2]).fingerprints()));
        assert!(!ring(&[1, 2]).shares(&ring(&[3, 4]).fingerprints()));
        assert!(!ring(&[1]).shares(b"") && !ring(&[1]).shares(&ring(&[1]).fingerprints()[..3]));
    }

    #[test]
    fn reads_names_comments_hexadecimal_and_base64() {
        let hex = "0f".repeat(32);
        let base64 = STANDARD_NO_PAD.encode([0xfb; 33]);
        let (_dir, path) = write(&format!("# ours\n\nspring {hex} # first\n{base64}==\n"), 0o600);
        let ring = Keyring::load(&path).unwrap();
        let same = Keyring::from_secrets([&[0x0f; 32][..], &[0xfb; 33][..]]).unwrap();
        assert_eq!(ring.ids(), same.ids());
    }

    #[test]
    fn says_which_line_is_wrong_and_never_what_stands_there() {
        for (text, part) in [
            ("deadbeef", "line 1: this secret is too short"),
            ("\nname umlaut-ö-is-no-digit", "line 2: this is neither"),
            ("a b c", "line 1: more than"),
            ("", "holds no cluster secret"),
            (&format!("{0}\n{0}", "0f".repeat(32)), "line 2: this secret stands here twice"),
        ] {
            let (_dir, path) = write(text, 0o600);
            let error = Keyring::load(&path).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
            assert!(!error.contains("deadbeef") && !error.contains("umlaut"), "{error}");
        }
    }

    #[test]
    fn refuses_a_file_that_others_may_read() {
        let (_dir, path) = write(&"0f".repeat(32), 0o640);
        assert!(Keyring::load(&path).unwrap_err().to_string().contains("chmod 600"));
        let missing = Keyring::load(&path.with_extension("none")).unwrap_err();
        assert!(matches!(missing, SecretsError::Unreadable(..)));
    }

    #[test]
    fn subkeys_differ_by_purpose_and_secret() {
        let ring = Keyring::from_secrets([[1; 32], [2; 32]]).unwrap();
        let mut seen = std::collections::HashSet::new();
        for id in ring.ids() {
            for (purpose, _) in Purpose::ALL {
                assert!(seen.insert(finish(ring.subkey(id, purpose).unwrap())));
            }
        }
        assert_eq!(seen.len(), 2 * Purpose::ALL.len());
        assert_eq!(format!("{ring:?}"), "Keyring");
    }
}
