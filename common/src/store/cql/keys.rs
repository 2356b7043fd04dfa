//! By what the servers know this program, and it knows them: a password, and certificates. What is read again holds for the
//! connections that are made from then on; those that there are stay.

use std::fs;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use scylla::authentication::{AuthError, AuthenticatorProvider, AuthenticatorSession, PlainTextAuthenticator};

use crate::config::ScyllaConfig;
use crate::reload::Reload;
use crate::store::StoreError;

/// The longest password file, in bytes.
const MAX_PASSWORD: usize = 1024;
/// What is followed where there was TLS at the start.
const ALL: &[&str] = &[
    "store.scylla.user",
    "store.scylla.password_file",
    "store.scylla.tls_ca",
    "store.scylla.tls_certificate",
    "store.scylla.tls_key",
];
/// What is followed where there was none: a session can't begin to use it.
const LOGIN: &[&str] = &["store.scylla.user", "store.scylla.password_file"];

/// The user and its password. Never printed.
struct Login {
    user: String,
    password: String,
}

/// Whose certificates of servers are believed, and this program's own.
#[derive(Debug)]
struct Tls {
    servers: Arc<WebPkiServerVerifier>,
    own: Option<Arc<CertifiedKey>>,
}

/// What a session presents to servers and asks of them, as it was read last.
pub(super) struct Keys {
    login: RwLock<Option<Arc<Login>>>,
    /// Nothing where the session began without TLS.
    tls: Option<Arc<CurrentTls>>,
}

/// What rustls asks at each handshake.
struct CurrentTls {
    provider: Arc<CryptoProvider>,
    tls: RwLock<Arc<Tls>>,
}

/// A file that the configuration names and that can't be used.
#[derive(Debug)]
pub(super) struct Unusable {
    /// The name of its key.
    key: &'static str,
    /// Which file, and why.
    why: String,
}

impl Unusable {
    fn new(key: &'static str, file: &Path, why: impl std::fmt::Display) -> Self {
        Self { key, why: format!("{}: {why}", file.display()) }
    }
}

impl From<Unusable> for StoreError {
    fn from(Unusable { key, why }: Unusable) -> Self {
        Self::Refused(format!("store.scylla.{key}, {why}"))
    }
}

impl Keys {
    /// What the files hold now.
    ///
    /// # Errors
    /// With the first that can't be used.
    pub(super) fn load(config: &ScyllaConfig) -> Result<Self, Unusable> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = tls(config, &provider)?;
        let current = tls.map(|tls| Arc::new(CurrentTls { provider, tls: RwLock::new(Arc::new(tls)) }));
        Ok(Self { login: RwLock::new(login(config)?.map(Arc::new)), tls: current })
    }

    /// Takes up what the files hold now, all of it or nothing.
    ///
    /// # Errors
    /// When a file can't be used, or the configuration has no TLS any more; what was there before stays.
    pub(super) fn read_again(&self, config: &ScyllaConfig) -> Result<(), StoreError> {
        let login = login(config)?;
        if let Some(current) = &self.tls {
            let Some(tls) = tls(config, &current.provider)? else {
                let why = "store.scylla.tls_ca is not set any more; TLS ends with the next start only";
                return Err(StoreError::Refused(why.to_owned()));
            };
            *current.tls.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tls);
        }
        *self.login.write().unwrap_or_else(PoisonError::into_inner) = login.map(Arc::new);
        Ok(())
    }

    /// Reads the files again at SIGHUP.
    pub(super) fn follow(self: &Arc<Self>, reload: &Reload) {
        let followed = if self.tls.is_some() { ALL } else { LOGIN };
        let keys = Arc::clone(self);
        reload.add("password and certificates for the store", followed, move |config| {
            Ok(keys.read_again(&config.store.scylla)?)
        });
    }

    /// The TLS of a session that follows these keys; nothing where it has none.
    pub(super) fn tls(&self) -> Result<Option<Arc<ClientConfig>>, StoreError> {
        let Some(current) = &self.tls else { return Ok(None) };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&current.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| StoreError::Refused(format!("TLS for the store: {error}")))?;
        let mut client = builder
            .dangerous()
            .with_custom_certificate_verifier(current.clone())
            .with_client_cert_resolver(current.clone());
        // A resumed session would be one of the certificates before.
        client.resumption = Resumption::disabled();
        Ok(Some(Arc::new(client)))
    }
}

#[async_trait]
impl AuthenticatorProvider for Keys {
    async fn start_authentication_session(
        &self,
        authenticator: &str,
    ) -> Result<(Option<Vec<u8>>, Box<dyn AuthenticatorSession>), AuthError> {
        let login = self.login.read().unwrap_or_else(PoisonError::into_inner).clone();
        let login = login.ok_or("the server asks for a user and a password, and store.scylla.user is not set")?;
        let plain = PlainTextAuthenticator::new(login.user.clone(), login.password.clone());
        plain.start_authentication_session(authenticator).await
    }
}

impl CurrentTls {
    fn now(&self) -> Arc<Tls> {
        Arc::clone(&self.tls.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl std::fmt::Debug for CurrentTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CurrentTls").finish_non_exhaustive()
    }
}

/// As rustls' own for the authorities of this moment, which does all of the work.
impl ServerCertVerifier for CurrentTls {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.now().servers.verify_server_cert(end_entity, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.now().servers.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.now().servers.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.now().servers.supported_verify_schemes()
    }
}

impl ResolvesClientCert for CurrentTls {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.now().own.clone()
    }

    fn has_certs(&self) -> bool {
        self.now().own.is_some()
    }
}

/// The keys of the files that can't be used, each with which file that is and why.
pub(super) fn unusable_files(config: &ScyllaConfig) -> Vec<(String, String)> {
    let mut unusable: Vec<Unusable> = Vec::new();
    unusable.extend(config.password_file.as_deref().and_then(|file| password(file).err()));
    let (authorities, own) = (config.tls_ca.as_deref(), config.tls_certificate.as_deref());
    unusable.extend(authorities.and_then(|file| certificates("tls_ca", file).err()));
    unusable.extend(own.and_then(|file| certificates("tls_certificate", file).err()));
    unusable.extend(config.tls_key.as_deref().and_then(|file| private_key(file).err()));
    if unusable.is_empty() {
        // Whether they go together.
        unusable.extend(Keys::load(config).err());
    }
    unusable.into_iter().map(|Unusable { key, why }| (format!("store.scylla.{key}"), why)).collect()
}

fn login(config: &ScyllaConfig) -> Result<Option<Login>, Unusable> {
    let (Some(user), Some(file)) = (&config.user, &config.password_file) else { return Ok(None) };
    Ok(Some(Login { user: user.clone(), password: password(file)? }))
}

/// The first line of a file.
fn password(file: &Path) -> Result<String, Unusable> {
    let unusable = |why: &dyn std::fmt::Display| Unusable::new("password_file", file, why);
    let text = fs::read_to_string(file).map_err(|error| unusable(&error))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() && line.len() <= MAX_PASSWORD => Ok(line.to_owned()),
        _ => Err(unusable(&format_args!("expected a password in its first line, {MAX_PASSWORD} bytes at most"))),
    }
}

/// TLS as configured; nothing without certificate authorities.
fn tls(config: &ScyllaConfig, provider: &Arc<CryptoProvider>) -> Result<Option<Tls>, Unusable> {
    let Some(authorities) = &config.tls_ca else { return Ok(None) };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls_ca", authorities)? {
        roots.add(certificate).map_err(|error| Unusable::new("tls_ca", authorities, error))?;
    }
    let servers = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| Unusable::new("tls_ca", authorities, error))?;
    let own = match (&config.tls_certificate, &config.tls_key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates("tls_certificate", certificate)?;
            let certified = CertifiedKey::from_der(chain, private_key(key)?, provider)
                .map_err(|error| Unusable::new("tls_certificate", certificate, error))?;
            Some(Arc::new(certified))
        }
        _ => None,
    };
    Ok(Some(Tls { servers, own }))
}

fn certificates(key: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let all: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| Unusable::new(key, file, error))?;
    if all.is_empty() { Err(Unusable::new(key, file, "no certificate in it")) } else { Ok(all) }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, Unusable> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| Unusable::new("tls_key", file, error))
}

#[cfg(test)]
mod tests;
