//! A certificate and its key in PEM files.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use common::config::HttpsConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error, InconsistentKeys};

/// More than any chain has.
const MAX_LEN: u64 = 1024 * 1024;

const CERTIFICATE: &str = "dispatch.https.certificate";
const KEY: &str = "dispatch.https.key";
pub(super) const DEVELOPMENT: &str = "dispatch.https.development";

/// Where a certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    certificate: PathBuf,
    key: PathBuf,
    /// The keys of the configuration by which the operator named them.
    blame: [&'static str; 2],
}

/// Why they can't be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{key}: {message}")]
pub(crate) struct Unusable {
    /// The key of the configuration that names the culprit.
    pub(super) key: &'static str,
    /// What is wrong.
    pub(super) message: String,
}

/// By which a change of the files is noticed.
pub(super) type Stamp = [Option<(SystemTime, u64, u64)>; 2];

impl Pair {
    /// Those that the operator has set.
    pub(super) fn configured(https: &HttpsConfig) -> Option<Self> {
        let (certificate, key) = (https.certificate.clone()?, https.key.clone()?);
        Some(Self { certificate, key, blame: [CERTIFICATE, KEY] })
    }

    /// Those that we have made.
    pub(super) fn development(certificate: PathBuf, key: PathBuf) -> Self {
        Self { certificate, key, blame: [DEVELOPMENT, DEVELOPMENT] }
    }

    /// Whether the operator has set them.
    pub(super) fn is_configured(&self) -> bool {
        self.blame == [CERTIFICATE, KEY]
    }

    /// The file of the certificate.
    pub(super) fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// What changes when a file is written or another one is put in its place.
    pub(super) fn stamp(&self) -> Stamp {
        [&self.certificate, &self.key].map(|path| {
            let about = fs::metadata(path).ok()?;
            Some((about.modified().ok()?, about.len(), about.ino()))
        })
    }

    /// Reads both, and makes sure that they belong together.
    ///
    /// # Errors
    /// [`Unusable`]
    pub(super) fn load(&self) -> Result<CertifiedKey, Unusable> {
        let provider = super::provider();
        let (chain, key) = (self.chain()?, self.private_key(&provider)?);
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
            Err(Error::InconsistentKeys(_)) => {
                let (key, certificate) = (self.key.display(), self.certificate.display());
                Err(self.key_unusable(format!("{key} is not the key of {certificate}")))
            }
            Err(error) => {
                let place = self.certificate.display();
                Err(self.certificate_unusable(format!("{place} holds no certificate for a server: {error}")))
            }
        }
    }

    /// All that keeps them from being used; otherwise what [`Pair::load`] gives.
    pub(super) fn look(&self) -> Result<CertifiedKey, Vec<Unusable>> {
        let errors = [self.chain().err(), self.private_key(&super::provider()).err()];
        let errors: Vec<Unusable> = errors.into_iter().flatten().collect();
        if errors.is_empty() { self.load().map_err(|error| vec![error]) } else { Err(errors) }
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, Unusable> {
        let (bytes, _) = read(&self.certificate).map_err(|message| self.certificate_unusable(message))?;
        let place = self.certificate.display();
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match chain {
            Ok(chain) if !chain.is_empty() => Ok(chain),
            Ok(_) => Err(self.certificate_unusable(format!("{place} holds no certificate in PEM"))),
            Err(error) => Err(self.certificate_unusable(format!("{place} is not in PEM: {error}"))),
        }
    }

    fn private_key(&self, provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, Unusable> {
        let (bytes, mode) = read(&self.key).map_err(|message| self.key_unusable(message))?;
        let place = self.key.display();
        if mode & 0o007 != 0 {
            return Err(self.key_unusable(format!("everybody may read {place}; do `chmod o= {place}`")));
        }
        // What the parser says may quote the file: it is left out.
        let key = PrivateKeyDer::from_pem_slice(&bytes)
            .map_err(|_| self.key_unusable(format!("{place} holds no private key in PEM without a passphrase")))?;
        let unknown =
            |_| self.key_unusable(format!("{place} holds a private key that is not RSA, ECDSA or Ed25519"));
        provider.key_provider.load_private_key(key).map_err(unknown)
    }

    fn certificate_unusable(&self, message: String) -> Unusable {
        Unusable { key: self.blame[0], message }
    }

    fn key_unusable(&self, message: String) -> Unusable {
        Unusable { key: self.blame[1], message }
    }
}

/// A file's bytes and its mode, which is asked of the open file: the name may point elsewhere a moment later.
fn read(path: &Path) -> Result<(Vec<u8>, u32), String> {
    let read = || {
        let file = File::open(path)?;
        let mode = file.metadata()?.permissions().mode();
        let mut bytes = Vec::new();
        file.take(MAX_LEN).read_to_end(&mut bytes)?;
        std::io::Result::Ok((bytes, mode))
    };
    read().map_err(|error| format!("{} can't be read: {error}", path.display()))
}
