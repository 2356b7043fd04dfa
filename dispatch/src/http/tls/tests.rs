use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::config::{Given, Sources, load};

use super::*;

/// A dispatch whose development certificate is in `directory`.
fn dispatch(directory: &Path) -> DispatchConfig {
    let mut dispatch = DispatchConfig::default();
    dispatch.https.development = directory.to_path_buf();
    dispatch
}

/// Makes a pair of files there, for this name.
fn made(directory: &Path, name: &str) -> (PathBuf, PathBuf) {
    development::make(directory, &[name.to_owned()]).unwrap();
    (directory.join("development.crt"), directory.join("development.key"))
}

#[test]
fn a_development_certificate_is_made_once() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("a/data");
    let tls = Tls::open(&dispatch(&directory)).unwrap();
    let first = fingerprint(&tls.source.lock().unwrap().pair.load().unwrap());
    assert_eq!((first.len(), first.matches(':').count()), (95, 31), "{first}");
    let mode = |name: &str| fs::metadata(directory.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("development.key"), mode("development.crt")), (0o600, 0o644));
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    let again = Tls::open(&dispatch(&directory)).unwrap();
    assert_eq!(fingerprint(&again.source.lock().unwrap().pair.load().unwrap()), first);
    // Without its certificate the key gets another one; cut short in the making, there is no key yet.
    fs::remove_file(directory.join("development.crt")).unwrap();
    let key = fs::read(directory.join("development.key")).unwrap();
    Tls::open(&dispatch(&directory)).unwrap();
    assert_eq!(fs::read(directory.join("development.key")).unwrap(), key);
    fs::write(directory.join("development.key"), "").unwrap();
    fs::remove_file(directory.join("development.crt")).unwrap();
    Tls::open(&dispatch(&directory)).unwrap();
    fs::write(directory.join("development.key"), "nonsense").unwrap();
    let error = Tls::open(&dispatch(&directory)).err().unwrap().to_string();
    assert!(error.starts_with("dispatch.https.development: ") && error.contains("development.key"), "{error}");
}

#[test]
fn processes_that_start_at_once_share_one() {
    let root = tempfile::tempdir().unwrap();
    let all: Vec<_> = std::thread::scope(|scope| {
        let one = || {
            fingerprint(&Tls::open(&dispatch(root.path())).unwrap().source.lock().unwrap().pair.load().unwrap())
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(all.iter().all(|fingerprint| *fingerprint == all[0]), "{all:?}");
}

#[test]
fn it_is_for_the_login_host_and_what_clients_have_built_in() {
    let mut dispatch = DispatchConfig::default();
    dispatch.dns.names = vec!["Gateway.messenger.hotmail.com.".into(), "messenger.hotmail.com".into()];
    assert_eq!(
        development::names(&dispatch),
        [
            "messenger.hotmail.com",
            "gateway.messenger.hotmail.com",
            "nexus.passport.com",
            "loginnet.passport.com",
            "login.live.com",
            "localhost",
            "127.0.0.1",
        ]
    );
}

/// What the configuration is refused for.
fn refused(certificate: &Path, key: &Path) -> String {
    let given = |name: &str, path: &Path| Given {
        flag: "--set".into(),
        key: format!("dispatch.https.{name}"),
        value: path.display().to_string(),
    };
    let given = vec![given("certificate", certificate), given("key", key)];
    let loaded = load(&Sources { given, ..Sources::default() }).unwrap();
    super::look(&loaded, Wish::Start).problems.iter().map(ToString::to_string).collect()
}

#[test]
fn files_that_cannot_be_used_are_named_with_their_key() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    let (certificate, key) = made(&path("one"), "a.example.com");
    let (other, other_key) = made(&path("two"), "b.example.com");
    assert_eq!(refused(&certificate, &key), "");
    assert_eq!(refused(&other, &other_key), "");

    let blames_certificate = |file: &Path, part: &str| {
        let found = refused(file, &key);
        assert!(found.starts_with("--set: dispatch.https.certificate: ") && found.contains(part), "{found}");
    };
    let write = |name: &str, text: &str| {
        fs::write(path(name), text).unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o600)).unwrap();
        path(name)
    };
    blames_certificate(&path("none"), "can't be read");
    blames_certificate(&write("empty", ""), "holds no certificate in PEM");
    blames_certificate(&key, "holds no certificate in PEM");
    let wrapped = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    blames_certificate(&write("wrapped", wrapped), "holds no certificate for a server");

    let blames_key = |file: &Path, part: &str| {
        let found = refused(&certificate, file);
        assert!(found.starts_with("--set: dispatch.https.key: ") && found.contains(part), "{found}");
    };
    blames_key(&path("none"), "can't be read");
    blames_key(&write("empty.key", ""), "holds no private key");
    blames_key(&other_key, "is not the key of");
    let secret = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    let quoted = refused(&certificate, &write("bad.key", secret));
    assert!(quoted.contains("not RSA, ECDSA or Ed25519") && !quoted.contains("c2VjcmV0"), "{quoted}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    blames_key(&key, "chmod o= ");
    let both = refused(&path("none"), &path("none"));
    assert_eq!(both.matches("can't be read").count(), 2, "{both}");
}

#[test]
fn a_check_looks_at_the_development_certificate_and_makes_none() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("a/data");
    let look = |wish| {
        let set = |key: &str, value: String| Given { flag: "--set".into(), key: key.into(), value };
        let given = vec![set("dispatch.https.development", directory.display().to_string())];
        let found = super::look(&load(&Sources { given, ..Sources::default() }).unwrap(), wish);
        found.problems.iter().map(ToString::to_string).collect::<String>()
    };
    assert_eq!(look(Wish::Check), "");
    assert!(!root.path().join("a").exists());
    fs::create_dir_all(&directory).unwrap();
    for name in ["development.crt", "development.key"] {
        fs::write(directory.join(name), "").unwrap();
    }
    assert_eq!(look(Wish::Start), "", "one that is being made at this moment is no fault");
    assert!(look(Wish::Check).contains("dispatch.https.development: "), "{}", look(Wish::Check));
    fs::remove_dir_all(root.path().join("a")).unwrap();
    fs::write(root.path().join("a"), "").unwrap();
    assert!(look(Wish::Check).contains("no certificate can be made in "), "{}", look(Wish::Check));
}

#[test]
fn a_changed_certificate_is_taken_up_and_a_broken_one_is_not() {
    let root = tempfile::tempdir().unwrap();
    let (certificate, key) = made(&root.path().join("own"), "a.example.com");
    let (other, other_key) = made(&root.path().join("next"), "b.example.com");
    let mut config = dispatch(root.path());
    (config.https.certificate, config.https.key) = (Some(certificate.clone()), Some(key.clone()));
    let tls = Tls::open(&config).unwrap();
    let in_use = || Arc::clone(&tls.config.lock().unwrap());
    // 2049-12-31, and no chain that says otherwise.
    assert_eq!(tls.end(), Some(2_524_521_600));
    let first = in_use();
    tls.look();
    assert!(Arc::ptr_eq(&first, &in_use()), "nothing has changed");
    // As most tools do it: a new file takes the place of the old one, the certificate before the key.
    fs::rename(&other, &certificate).unwrap();
    tls.look();
    assert!(Arc::ptr_eq(&first, &in_use()), "half of a change is not used");
    fs::rename(&other_key, &key).unwrap();
    tls.look();
    assert!(!Arc::ptr_eq(&first, &in_use()));
    let second = in_use();
    fs::remove_file(&key).unwrap();
    tls.look();
    assert!(Arc::ptr_eq(&second, &in_use()));
    // At SIGHUP other files may be configured, and those that can't be used change nothing either.
    assert!(tls.read_again(&config).unwrap_err().to_string().starts_with("dispatch.https.key: "));
    assert!(Arc::ptr_eq(&second, &in_use()));
    let (third, third_key) = made(&root.path().join("third"), "c.example.com");
    (config.https.certificate, config.https.key) = (Some(third), Some(third_key.clone()));
    tls.read_again(&config).unwrap();
    let third = in_use();
    assert!(!Arc::ptr_eq(&second, &third));
    tls.look();
    assert!(Arc::ptr_eq(&third, &in_use()), "it is the new files that are followed");
    fs::set_permissions(&third_key, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&third_key, "").unwrap();
    tls.look();
    assert!(Arc::ptr_eq(&third, &in_use()));
}
