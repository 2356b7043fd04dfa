//! A certificate for trying things out, signed by itself.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::Context;
use common::config::DispatchConfig;
use common::files;
use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

use super::files::{DEVELOPMENT, Pair, Unusable};

/// The names that clients have built in for the sign-in (`CLIENTS.md`, Passport 1.4, point 7).
const BUILT_IN: [&str; 3] = ["nexus.passport.com", "loginnet.passport.com", "login.live.com"];
const LOCAL: [&str; 2] = ["localhost", "127.0.0.1"];
/// A key has a few hundred bytes.
const MAX_LEN: u64 = 64 * 1024;

/// The names that the certificate is for.
pub(super) fn names(dispatch: &DispatchConfig) -> Vec<String> {
    let dns = &dispatch.dns;
    let configured = std::iter::once(&dns.domain).chain(&dns.names).map(String::as_str);
    let mut names: Vec<String> = Vec::new();
    for name in configured.chain(BUILT_IN).chain(LOCAL) {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The pair in `directory`; what is not there is made. Several processes may ask at once, and all get the same.
pub(super) fn make(directory: &Path, names: &[String]) -> anyhow::Result<Pair> {
    files::create_directory(directory)?;
    let (certificate, key_path) = (directory.join("development.crt"), directory.join("development.key"));
    let mut file = files::open_own(&key_path)?;
    // Held until both files are there, and released with the process if it dies before.
    file.lock()?;
    let key = own_key(&mut file).with_context(|| format!("{}", key_path.display()))?;
    files::is_ours(&certificate)?;
    if !certificate.exists() {
        files::replace(&certificate, files::PUBLIC, self_signed(&key, names)?.as_bytes())?;
    }
    Ok(Pair::development(certificate, key_path))
}

/// The pair in `directory` if it is there whole; nothing if it would be made.
///
/// # Errors
/// When it could not be.
pub(super) fn look(directory: &Path) -> Result<Option<Pair>, Unusable> {
    let (certificate, key) = (directory.join("development.crt"), directory.join("development.key"));
    if certificate.exists() && key.exists() {
        return Ok(Some(Pair::development(certificate, key)));
    }
    files::could_be_made(directory).map(|()| None).map_err(|error| Unusable {
        key: DEVELOPMENT,
        message: format!("no certificate can be made in {}: {error}", directory.display()),
    })
}

/// The key in the file; a new one if the file is empty.
fn own_key(file: &mut File) -> anyhow::Result<KeyPair> {
    let mut text = String::new();
    file.take(MAX_LEN).read_to_string(&mut text)?;
    if text.is_empty() {
        let key = KeyPair::generate()?;
        file.write_all(key.serialize_pem().as_bytes())?;
        file.sync_all()?;
        return Ok(key);
    }
    // The parser's error may quote the file.
    KeyPair::from_pem(&text).map_err(|_| anyhow::anyhow!("no private key; remove the file for a new one"))
}

fn self_signed(key: &KeyPair, names: &[String]) -> anyhow::Result<String> {
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name.push(DnType::CommonName, "Monarch development certificate");
    // Old clients live on machines whose clocks are anywhere. The last year of the time format that all of them read.
    (parameters.not_before, parameters.not_after) = (date_time_ymd(1999, 1, 1), date_time_ymd(2049, 12, 31));
    Ok(parameters.self_signed(key)?.pem())
}
