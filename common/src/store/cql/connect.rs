//! A session with the servers, as configured.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::NewSessionError;
use scylla::policies::host_filter::AllowListHostFilter;

use super::errors::unavailable;
use super::policy::Profiles;
use crate::config::ScyllaConfig;
use crate::store::{Result, StoreError};

/// From the first packet to a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Between two signs of life on a connection, and how long the second may take: a node that is gone without a word is
/// noticed within both.
const SIGN_OF_LIFE: Duration = Duration::from_secs(4);
/// The most that opening takes; whoever opens tries again.
const OPEN: Duration = Duration::from_secs(15);
/// Within which all nodes must know a change of the schema.
const AGREEMENT: Duration = Duration::from_secs(60);
/// The longest password file, in bytes.
const MAX_PASSWORD: usize = 1024;

/// Connects to the nodes. `keyspaces` are those whose layout is asked for, so that statements go to the right nodes.
/// With `only_these` no nodes but the contact points are asked.
pub(super) async fn connect(config: &ScyllaConfig, profiles: &Profiles, only_these: bool) -> Result<Session> {
    let points = config.contact_points.join(", ");
    let mut builder = SessionBuilder::new()
        .known_nodes(&config.contact_points)
        .default_execution_profile_handle(profiles.schema.clone().into_handle())
        .keyspaces_to_fetch([config.keyspace.clone(), config.accounts_keyspace()])
        .fetch_full_schema_metadata(false)
        .connection_timeout(CONNECT)
        .keepalive_interval(SIGN_OF_LIFE)
        .keepalive_timeout(SIGN_OF_LIFE)
        .schema_agreement_timeout(AGREEMENT)
        // `migrate` does, after each change.
        .auto_await_schema_agreement(false);
    if let (Some(user), Some(file)) = (&config.user, &config.password_file) {
        builder = builder.user(user, password(file)?);
    }
    if let Some(tls) = tls(config)? {
        builder = builder.tls_context(Some(Arc::new(tls)));
    }
    if only_these {
        let only = AllowListHostFilter::new(&config.contact_points).map_err(unavailable)?;
        builder = builder.host_filter(Arc::new(only));
    }
    match tokio::time::timeout(OPEN, builder.build()).await {
        Ok(Ok(session)) => {
            let state = session.get_cluster_state();
            let datacenters = state.get_nodes_info().iter().filter_map(|node| node.datacenter.as_deref());
            one_is_meant(config, &datacenters.collect())?;
            Ok(session)
        }
        Ok(Err(NewSessionError::IllegalConfig(text))) => Err(StoreError::Refused(text.into())),
        Ok(Err(error)) => Err(unavailable(format_args!("no CQL server at {points}: {error}"))),
        Err(_) => {
            Err(unavailable(format_args!("no CQL server at {points}: no answer within {} s", OPEN.as_secs())))
        }
    }
}

/// Whether it is known of which datacenter a majority is to answer: if a write had it in one and the next read in
/// another, the read would not see the write.
fn one_is_meant(config: &ScyllaConfig, datacenters: &BTreeSet<&str>) -> Result<()> {
    if datacenters.len() < 2 || !config.needs_datacenter() {
        return Ok(());
    }
    let names: Vec<_> = datacenters.iter().copied().collect();
    Err(StoreError::Refused(format!(
        "the nodes are in several datacenters, {}: say in store.scylla.datacenter whose are asked, the same for all \
         processes that share accounts, or set store.scylla.consistency to \"quorum\"",
        names.join(", ")
    )))
}

/// A file that the configuration names and that can't be used.
#[derive(Debug)]
struct Unusable {
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
        unusable.extend(tls(config).err());
    }
    unusable.into_iter().map(|Unusable { key, why }| (format!("store.scylla.{key}"), why)).collect()
}

/// The first line of a file.
fn password(file: &Path) -> std::result::Result<String, Unusable> {
    let unusable = |why: &dyn std::fmt::Display| Unusable::new("password_file", file, why);
    let text = fs::read_to_string(file).map_err(|error| unusable(&error))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() && line.len() <= MAX_PASSWORD => Ok(line.to_owned()),
        _ => Err(unusable(&format_args!("expected a password in its first line, {MAX_PASSWORD} bytes at most"))),
    }
}

/// TLS as configured; nothing without certificate authorities.
fn tls(config: &ScyllaConfig) -> std::result::Result<Option<ClientConfig>, Unusable> {
    let Some(authorities) = &config.tls_ca else { return Ok(None) };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("tls_ca", authorities)? {
        roots.add(certificate).map_err(|error| Unusable::new("tls_ca", authorities, error))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Unusable::new("tls_ca", authorities, error))?
        .with_root_certificates(roots);
    Ok(Some(match (&config.tls_certificate, &config.tls_key) {
        (Some(certificate), Some(key)) => {
            let chain = certificates("tls_certificate", certificate)?;
            client
                .with_client_auth_cert(chain, private_key(key)?)
                .map_err(|error| Unusable::new("tls_certificate", certificate, error))?
        }
        _ => client.with_no_client_auth(),
    }))
}

fn certificates(key: &'static str, file: &Path) -> std::result::Result<Vec<CertificateDer<'static>>, Unusable> {
    let all: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| Unusable::new(key, file, error))?;
    if all.is_empty() { Err(Unusable::new(key, file, "no certificate in it")) } else { Ok(all) }
}

fn private_key(file: &Path) -> std::result::Result<PrivateKeyDer<'static>, Unusable> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| Unusable::new("tls_key", file, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StoreConsistency;

    #[test]
    fn secrets_that_cannot_be_read_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        for (text, right) in
            [("secret\r\nmore\n", true), ("", false), ("\nsecret", false), (&*"x".repeat(2000), false)]
        {
            fs::write(&file, text).unwrap();
            let read = password(&file);
            assert_eq!(read.as_deref().ok(), right.then_some("secret"));
            let told = read.err().map(|error| StoreError::from(error).to_string()).unwrap_or_default();
            assert!(right || (told.contains("store.scylla.password_file") && !told.contains("xx")), "{told}");
        }
        let config = ScyllaConfig { tls_ca: Some(file), ..ScyllaConfig::default() };
        let error = StoreError::from(tls(&config).unwrap_err()).to_string();
        assert!(error.contains("store.scylla.tls_ca"), "{error}");
        assert!(tls(&ScyllaConfig::default()).unwrap().is_none());
    }

    #[test]
    fn all_files_that_cannot_be_used_are_named() {
        let file = |name: &str| Some(std::path::PathBuf::from(format!("/no/such/{name}")));
        let config = ScyllaConfig {
            password_file: file("password"),
            tls_ca: file("ca"),
            tls_certificate: file("certificate"),
            tls_key: file("key"),
            ..ScyllaConfig::default()
        };
        let unusable = unusable_files(&config);
        let keys: Vec<_> = unusable.iter().filter_map(|(key, _)| key.strip_prefix("store.scylla.")).collect();
        assert_eq!(keys, ["password_file", "tls_ca", "tls_certificate", "tls_key"]);
        assert!(unusable.iter().all(|(_, why)| why.starts_with("/no/such/")), "{unusable:?}");
        assert!(unusable_files(&ScyllaConfig::default()).is_empty());
    }

    #[test]
    fn several_datacenters_need_a_choice() {
        let config = ScyllaConfig::default();
        let [one, two] = [BTreeSet::from(["dc1"]), BTreeSet::from(["dc1", "dc2"])];
        one_is_meant(&config, &one).unwrap();
        let error = one_is_meant(&config, &two).unwrap_err().to_string();
        assert!(error.contains("store.scylla.datacenter") && error.contains("dc1, dc2"), "{error}");
        let chosen = ScyllaConfig { datacenter: Some("dc1".into()), ..config.clone() };
        let quorum = ScyllaConfig { consistency: StoreConsistency::Quorum, ..config };
        one_is_meant(&chosen, &two).and(one_is_meant(&quorum, &two)).unwrap();
    }
}
