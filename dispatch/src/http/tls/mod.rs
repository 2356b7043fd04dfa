//! TLS for the HTTP front: the certificate in use, taken from files and followed as they change.
//!
//! The provider of cryptography is named wherever rustls would look for one: a build with two of them (tests have
//! such) would make it panic.

mod development;
mod expiry;
mod files;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::check::Findings;
use common::clock::wall;
use common::config::{DispatchConfig, HttpsConfig, Loaded, Wish};
use common::net::Shutdown;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

pub(crate) use expiry::Teller;
use files::{Pair, Stamp, Unusable};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(30);
/// The most plain bytes of a record. bitlbee reads 2 KiB when its socket has something, and forgets what TLS still
/// holds of the record (`CLIENTS.md`, SOAP, point 4).
const MAX_RECORD: usize = 1024;

/// What is wrong with the certificate and the key that the configuration names, with the place where it names them. For a check also
/// what there is to say of the development certificate, which is not made for that.
pub(crate) fn look(loaded: &Loaded, wish: Wish) -> Findings {
    let (https, mut found) = (&loaded.config.dispatch.https, Findings::default());
    if !https.enabled {
        return found;
    }
    let pair = match Pair::configured(https) {
        Some(pair) => Ok(Some(pair)),
        None if wish == Wish::Check => development::look(&https.development).map_err(|error| vec![error]),
        None => Ok(None),
    };
    match pair.and_then(|pair| pair.map(|pair| pair.look()).transpose()) {
        Ok(Some(certified)) => {
            found.remarks.extend(expiry::end(&certified).and_then(|end| expiry::remark(end, wall().as_secs())));
        }
        Ok(None) => {}
        Err(unusable) => {
            let problem = |Unusable { key, message }| loaded.problem(key, message);
            found.problems.extend(unusable.into_iter().map(problem));
        }
    }
    found
}

/// The certificate in use.
pub(crate) struct Tls {
    source: Mutex<Source>,
    config: Mutex<Arc<ServerConfig>>,
    /// Until when it is good, in seconds since 1970, as far as that is known.
    end: Mutex<Option<u64>>,
    /// It was read again by order: operators wait to hear that all is well.
    read: Notify,
}

/// Where it was read.
struct Source {
    pair: Pair,
    /// How the files were when they were read last.
    seen: Stamp,
}

impl Tls {
    /// The configured certificate; otherwise the development certificate, which is made if it is not there.
    ///
    /// # Errors
    /// When the files can't be used, or those of a development certificate can't be made; the error names the key of
    /// the configuration.
    pub(crate) fn open(dispatch: &DispatchConfig) -> anyhow::Result<Self> {
        let pair = pair(dispatch)?;
        let seen = pair.stamp();
        let certified = pair.load()?;
        let (path, sha256) = (pair.certificate().display(), fingerprint(&certified));
        if pair.is_configured() {
            tracing::info!(%path, sha256, "certificate");
        } else {
            tracing::warn!(
                %path,
                sha256,
                "a development certificate, which clients trust only when they are told to; for others set \
                 dispatch.https.certificate and dispatch.https.key"
            );
        }
        let end = Mutex::new(expiry::end(&certified));
        let config = Mutex::new(server_config(certified)?);
        Ok(Self { end, source: Mutex::new(Source { pair, seen }), config, read: Notify::new() })
    }

    /// What makes a TLS connection of an accepted one, with the certificate of this moment.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.config.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }

    /// Takes up changed files, until shutdown, and tells when the certificate ends soon.
    pub(crate) async fn follow(self: Arc<Self>, mut teller: Teller, shutdown: Shutdown) {
        loop {
            teller.tell(self.end(), wall().as_secs());
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                // It was looked at just now.
                () = self.read.notified() => continue,
                () = shutdown.begun() => return,
            }
            let tls = Arc::clone(&self);
            // It ends early only together with the runtime.
            if tokio::task::spawn_blocking(move || tls.look()).await.is_err() {
                return;
            }
        }
    }

    /// Takes up the files if they have changed. Files that can't be used are logged, and the certificate that was good
    /// stays.
    fn look(&self) {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let now = source.pair.stamp();
        if now == source.seen {
            return;
        }
        source.seen = now;
        if let Err(error) = self.take_up(&source.pair) {
            tracing::error!(%error, "the new certificate can't be used; the old one stays");
        }
    }

    /// Takes up the files that are configured now, changed or not.
    ///
    /// # Errors
    /// As those of [`Tls::open`]; the certificate that was good stays.
    pub(crate) fn read_again(&self, dispatch: &DispatchConfig) -> anyhow::Result<()> {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = pair(dispatch)?;
        let seen = pair.stamp();
        self.take_up(&pair)?;
        *source = Source { pair, seen };
        self.read.notify_one();
        Ok(())
    }

    fn end(&self) -> Option<u64> {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_up(&self, pair: &Pair) -> anyhow::Result<()> {
        let certified = pair.load()?;
        let (path, sha256) = (pair.certificate().display(), fingerprint(&certified));
        let end = expiry::end(&certified);
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = server_config(certified)?;
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = end;
        tracing::info!(%path, sha256, "a new certificate");
        Ok(())
    }
}

/// The files that are configured; otherwise those of a development certificate, which is made if it is not there.
fn pair(dispatch: &DispatchConfig) -> anyhow::Result<Pair> {
    match Pair::configured(&dispatch.https) {
        Some(pair) => Ok(pair),
        None => development_pair(&dispatch.https, &development::names(dispatch)),
    }
}

fn development_pair(https: &HttpsConfig, names: &[String]) -> anyhow::Result<Pair> {
    let directory: &Path = &https.development;
    development::make(directory, names).map_err(|error| {
        let place = directory.display();
        anyhow::anyhow!("dispatch.https.development: no certificate can be made in {place}: {error:#}")
    })
}

fn server_config(certified: CertifiedKey) -> anyhow::Result<Arc<ServerConfig>> {
    let builder = ServerConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(&[&TLS13, &TLS12])?.with_no_client_auth();
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.max_fragment_size = Some(MAX_RECORD);
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The SHA-256 of the server's own certificate, as other tools print it: `AB:CD:…`.
fn fingerprint(certified: &CertifiedKey) -> String {
    let own = certified.cert.first().map(AsRef::as_ref).unwrap_or_default();
    let bytes = Sha256::digest(own);
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests;
