//! Passwords that must be had in the clear, for MD5 sign-in: sealed with a key kept outside the store.
//!
//! The key file holds one key a line, `id hex`: a name of up to 32 letters, digits and hyphens, and 32 bytes as 64
//! hexadecimal digits. The first seals, all open, so that a new key is put first and old ones stay as long as
//! something is sealed with them. Empty lines and lines that begin with `#` are passed over.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Nonce};

use crate::files;
use crate::model::{ClaimId, Passport};

/// The form of what is sealed: version, length of the key's id, id, nonce, ciphertext with its tag.
const VERSION: u8 = 1;
const NONCE_LEN: usize = 12;
const KEY_LEN: usize = 32;
const MAX_ID_LEN: usize = 32;
/// More than any sensible number of keys.
const MAX_FILE_LEN: u64 = 64 * 1024;

/// The key that seals them, and the older ones that still open. Never printed.
#[derive(Clone)]
pub struct SealingKey {
    /// Never empty; the first seals.
    keys: Arc<[Key]>,
}

struct Key {
    id: String,
    cipher: ChaCha20Poly1305,
}

/// Why the key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SealingKeyError {
    /// The file can't be read or written.
    #[error("the key for MD5 passwords, {0}: {1}")]
    File(std::path::PathBuf, std::io::Error),
    /// The file does not hold keys.
    #[error("the key for MD5 passwords, {0}, line {1}: not a key of the form `id hex` with 64 digits")]
    Malformed(std::path::PathBuf, usize),
    /// Others than its owner may read the file.
    #[error("the key for MD5 passwords, {0}: others may read it; do `chmod 600 {0}`")]
    Exposed(std::path::PathBuf),
}

impl SealingKey {
    /// Reads the key file; nothing if there is none: MD5 sign-in is off then.
    ///
    /// # Errors
    /// [`SealingKeyError`]
    pub fn load(path: &Path) -> Result<Option<Self>, SealingKeyError> {
        let in_file = |error| SealingKeyError::File(path.to_owned(), error);
        let (file, mode) = match files::open_secret(path) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(in_file(error)),
        };
        if mode & 0o077 != 0 {
            return Err(SealingKeyError::Exposed(path.to_owned()));
        }
        let mut text = String::new();
        file.take(MAX_FILE_LEN).read_to_string(&mut text).map_err(in_file)?;
        parse(&text).map(Some).map_err(|line| SealingKeyError::Malformed(path.to_owned(), line))
    }

    /// Writes a new key file, readable by its owner only; fails if there is one.
    ///
    /// # Errors
    /// [`SealingKeyError`]
    pub fn create(path: &Path) -> Result<Self, SealingKeyError> {
        let in_file = |error| SealingKeyError::File(path.to_owned(), error);
        let (mut id, mut key) = ([0; 4], [0; KEY_LEN]);
        getrandom::fill(&mut id).and_then(|()| getrandom::fill(&mut key)).map_err(|e| in_file(e.into()))?;
        let text = format!("{} {}\n", to_hex(&id), to_hex(&key));
        let mut file = files::create_new(path, files::PRIVATE).map_err(in_file)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(in_file)?;
        // A key that a power cut takes away would take every sealed password with it.
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(parent).and_then(|directory| directory.sync_all()).map_err(in_file)?;
        parse(&text).map_err(|line| SealingKeyError::Malformed(path.to_owned(), line))
    }

    /// Seals a password to one account, and to the one claim of it.
    ///
    /// # Panics
    /// When the system gives no random bytes.
    #[must_use]
    pub fn seal(&self, who: &Passport, claim: ClaimId, password: &str) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).expect("the system gives random bytes");
        let key = &self.keys[0];
        let bound_to = bound_to(who, claim);
        let payload = Payload { msg: password.as_bytes(), aad: &bound_to };
        let sealed = key.cipher.encrypt(&Nonce::from(nonce), payload).expect("a password is below 256 GiB");
        let id = key.id.as_bytes();
        [&[VERSION, id.len() as u8], id, &nonce, &sealed].concat()
    }

    /// The password; nothing if it was sealed by another key or for another account.
    #[must_use]
    pub fn open(&self, who: &Passport, claim: ClaimId, sealed: &[u8]) -> Option<String> {
        let (&[version, id_len], rest) = sealed.split_first_chunk()?;
        if version != VERSION {
            return None;
        }
        let (id, rest) = rest.split_at_checked(usize::from(id_len))?;
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_LEN>()?;
        let key = self.keys.iter().find(|key| key.id.as_bytes() == id)?;
        let bound_to = bound_to(who, claim);
        let payload = Payload { msg: ciphertext, aad: &bound_to };
        let password = key.cipher.decrypt(&Nonce::from(*nonce), payload).ok()?;
        String::from_utf8(password).ok()
    }
}

/// What a sealed password belongs to: moved to another row it opens nothing.
fn bound_to(who: &Passport, claim: ClaimId) -> Vec<u8> {
    let mut data = vec![VERSION];
    for part in [who.as_str().as_bytes(), claim.0.as_bytes()] {
        data.extend_from_slice(&(part.len() as u64).to_be_bytes());
        data.extend_from_slice(part);
    }
    data
}

/// Reads the key file, or says which line is wrong.
fn parse(text: &str) -> Result<SealingKey, usize> {
    let mut keys: Vec<Key> = Vec::new();
    let lines = text.lines().map(str::trim).zip(1..);
    for (line, number) in lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#')) {
        let key = parse_key(line).ok_or(number)?;
        if keys.iter().any(|known| known.id == key.id) {
            return Err(number);
        }
        keys.push(key);
    }
    if keys.is_empty() { Err(1) } else { Ok(SealingKey { keys: keys.into() }) }
}

fn parse_key(line: &str) -> Option<Key> {
    let (id, hex) = line.split_once(' ')?;
    let id_fits = (1..=MAX_ID_LEN).contains(&id.len());
    let id_legal = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let key = from_hex(hex.trim())?;
    (id_fits && id_legal).then(|| Key { id: id.into(), cipher: ChaCha20Poly1305::new(&key.into()) })
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(hex: &str) -> Option<[u8; KEY_LEN]> {
    if hex.len() != 2 * KEY_LEN || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = [0; KEY_LEN];
    for (byte, at) in key.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?;
    }
    Some(key)
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use uuid::Uuid;

    use super::*;

    fn alice() -> (Passport, ClaimId) {
        (Passport::parse("alice@example.com").unwrap(), ClaimId(Uuid::from_u128(1)))
    }

    fn line(id: &str, byte: u8) -> String {
        format!("{id} {}\n", to_hex(&[byte; KEY_LEN]))
    }

    #[test]
    fn opens_for_its_own_account_and_claim_only() {
        let key = parse(&line("one", 1)).unwrap();
        let (alice, claim) = alice();
        let sealed = key.seal(&alice, claim, "correct horse");
        assert_ne!(sealed, key.seal(&alice, claim, "correct horse"), "each has a nonce of its own");
        assert_eq!(key.open(&alice, claim, &sealed).as_deref(), Some("correct horse"));
        let bob = Passport::parse("bob@example.com").unwrap();
        assert_eq!(key.open(&bob, claim, &sealed), None);
        assert_eq!(key.open(&alice, ClaimId(Uuid::from_u128(2)), &sealed), None);
        for at in 0..sealed.len() {
            let mut tampered = sealed.clone();
            tampered[at] ^= 1;
            assert_eq!(key.open(&alice, claim, &tampered), None, "byte {at}");
            assert_eq!(key.open(&alice, claim, &sealed[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn a_new_key_seals_while_old_ones_open() {
        let (alice, claim) = alice();
        let old = parse(&line("old", 1)).unwrap();
        let sealed = old.seal(&alice, claim, "secret");
        let both = parse(&(line("new", 2) + &line("old", 1))).unwrap();
        assert_eq!(both.open(&alice, claim, &sealed).as_deref(), Some("secret"));
        assert_eq!(old.open(&alice, claim, &both.seal(&alice, claim, "secret")), None);
    }

    #[test]
    fn the_file_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("md5.key");
        assert!(SealingKey::load(&path).unwrap().is_none());
        let (alice, claim) = alice();
        let sealed = SealingKey::create(&path).unwrap().seal(&alice, claim, "secret");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = SealingKey::load(&path).unwrap().unwrap();
        assert_eq!(again.open(&alice, claim, &sealed).as_deref(), Some("secret"));
        assert!(matches!(SealingKey::create(&path), Err(SealingKeyError::File(_, _))), "never overwritten");
        for mode in [0o640, 0o604] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(SealingKey::load(&path), Err(SealingKeyError::Exposed(_))), "{mode:o}");
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        let good = line("one", 1);
        let bad_at = |text: &str| parse(text).err();
        assert_eq!(bad_at(""), Some(1));
        assert_eq!(bad_at(&format!("# keys\n\n{good}")), None);
        assert_eq!(bad_at(&format!("{good}two 00ff\n")), Some(2));
        assert_eq!(bad_at(&format!("{good}\n{good}")), Some(3), "the same name twice");
        assert_eq!(bad_at(&good.replace("01", "0g")), Some(1));
        assert_eq!(bad_at(&good.replace("one", "o/e")), Some(1));
        assert_eq!(format!("{:?}", parse(&good).unwrap()), "SealingKey");
    }
}
