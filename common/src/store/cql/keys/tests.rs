use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConnection, ServerConfig, ServerConnection};

use super::*;

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
    let error = StoreError::from(Keys::load(&config).err().unwrap()).to_string();
    assert!(error.contains("store.scylla.tls_ca"), "{error}");
    assert!(Keys::load(&ScyllaConfig::default()).unwrap().tls().unwrap().is_none());
}

#[test]
fn all_files_that_cannot_be_used_are_named() {
    let file = |name: &str| Some(PathBuf::from(format!("/no/such/{name}")));
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

#[tokio::test]
async fn the_next_connection_presents_the_password_that_was_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    fs::write(&file, "first").unwrap();
    let mut config =
        ScyllaConfig { user: Some("me".into()), password_file: Some(file.clone()), ..ScyllaConfig::default() };
    let keys = Keys::load(&config).unwrap();
    let presented =
        async || keys.start_authentication_session("plain").await.map(|(first, _)| first.unwrap()).ok();
    assert_eq!(presented().await.unwrap(), b"\0me\0first");
    fs::write(&file, "second").unwrap();
    assert_eq!(presented().await.unwrap(), b"\0me\0first", "nobody has asked for it");
    keys.read_again(&config).unwrap();
    assert_eq!(presented().await.unwrap(), b"\0me\0second");
    fs::remove_file(&file).unwrap();
    let told = keys.read_again(&config).unwrap_err().to_string();
    assert!(told.contains("store.scylla.password_file"), "{told}");
    assert_eq!(presented().await.unwrap(), b"\0me\0second", "what was there before stays");
    (config.user, config.password_file) = (None, None);
    keys.read_again(&config).unwrap();
    assert!(presented().await.is_none(), "there is no user any more");
}

/// An authority, and somebody whom it vouches for.
struct House {
    authority: rcgen::Certificate,
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl House {
    fn new() -> Self {
        let mut parameters = CertificateParams::new([]).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let (own, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let authority = parameters.self_signed(&own).unwrap();
        let issuer = Issuer::new(parameters, own);
        let certificate =
            CertificateParams::new(["node.example".into()]).unwrap().signed_by(&key, &issuer).unwrap();
        Self { authority, certificate, key }
    }

    fn write(&self, config: &ScyllaConfig) {
        let write = |file: &Option<PathBuf>, text: String| fs::write(file.as_ref().unwrap(), text).unwrap();
        write(&config.tls_ca, self.authority.pem());
        write(&config.tls_certificate, self.certificate.pem());
        write(&config.tls_key, self.key.serialize_pem());
    }

    /// A server that shows this certificate and wants one of this house.
    fn server(&self) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der());
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![self.certificate.der().clone()], key.into())
            .unwrap()
    }
}

/// Whether both sides are content.
fn shake_hands(client: &Arc<ClientConfig>, server: ServerConfig) -> Result<(), rustls::Error> {
    let mut client = ClientConnection::new(Arc::clone(client), "node.example".try_into().unwrap())?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    while client.is_handshaking() || server.is_handshaking() || client.wants_write() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut &*bytes).unwrap();
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut &*bytes).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn the_next_handshake_is_by_the_certificates_that_were_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| Some(dir.path().join(name));
    let mut config = ScyllaConfig {
        tls_ca: file("ca"),
        tls_certificate: file("certificate"),
        tls_key: file("key"),
        ..ScyllaConfig::default()
    };
    let (old, new) = (House::new(), House::new());
    old.write(&config);
    let keys = Keys::load(&config).unwrap();
    // What a session keeps for as long as it lives.
    let session = keys.tls().unwrap().unwrap();
    shake_hands(&session, old.server()).unwrap();
    shake_hands(&session, new.server()).unwrap_err();

    new.write(&config);
    keys.read_again(&config).unwrap();
    shake_hands(&session, new.server()).unwrap();
    shake_hands(&session, old.server()).unwrap_err();

    // What can't be used leaves all as it was: a key of another certificate, and no TLS at all.
    fs::write(config.tls_key.as_ref().unwrap(), old.key.serialize_pem()).unwrap();
    keys.read_again(&config).unwrap_err();
    config.tls_ca = None;
    let told = keys.read_again(&config).unwrap_err().to_string();
    assert!(told.contains("store.scylla.tls_ca"), "{told}");
    shake_hands(&session, new.server()).unwrap();
}
