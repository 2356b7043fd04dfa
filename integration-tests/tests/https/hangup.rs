//! SIGHUP with another certificate and another key for MD5 passwords, for programs that run alone and for `monarch up`: whoever
//! comes then meets the new ones, and whoever is there stays.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use common::credentials::SealingKey;
use integration_tests::accounts::{PASSWORD, people};
use integration_tests::client::Client;
use integration_tests::{Plan, World};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::PATIENCE;
use crate::suite::{self, Up};

const NAME: &str = "nexus.example.com";
const REQUEST: &[u8] = b"GET /rdr/pprdr.asp HTTP/1.1\r\nHost: nexus.example.com\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_tier_reads_again_is_for_those_who_come_then() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let pair = Pair::make(directory.path(), "first")?;
    let [certificate, key] = [&pair.certificate, &pair.key].map(|path| path.display().to_string());
    let settings = vec![format!("dispatch.https.certificate={certificate}"), format!("dispatch.https.key={key}")];
    let world = World::start(Plan { notification: 1, settings, ..Plan::default() }).await?;
    let [alice] = people(&world, ["alice"], &[]).await?;
    let place = Place {
        https: world.process("dispatch-1")?.address("https")?,
        clients: world.process("notification-1")?.address("clients")?,
        passport: alice.as_str().to_owned(),
        md5_key: world.config().accounts.md5_key.clone(),
        pair,
    };
    let hang_up = async |time: usize| {
        for process in world.processes() {
            process.hang_up()?;
        }
        for process in world.processes() {
            has_read_again(process.name(), time, || process.log()).await?;
        }
        Ok(())
    };
    let played = place.play(hang_up).await;
    played.with_context(|| world.logs())?;
    world.shut_down().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_up_passes_on_is_for_those_who_come_then() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("data");
    let pair = Pair::make(directory.path(), "first")?;
    let mut arguments = suite::any_ports();
    arguments.extend([
        format!("--data={}", data.display()),
        format!("--dispatch-https-certificate={}", pair.certificate.display()),
        format!("--dispatch-https-key={}", pair.key.display()),
    ]);
    let up = Up::start_in(directory.path(), &arguments).await?;
    let https = up.greeting.split("https://").nth(1).and_then(|rest| rest.split('/').next());
    let mut at_dispatch = Client::connect(up.dispatch).await?;
    at_dispatch.request("VER", "MSNP7 CVR0").await?;
    at_dispatch.request("INF", "").await?;
    let sent = at_dispatch.request("USR", "MD5 I alice@example.com").await?;
    let place = Place {
        https: https.with_context(|| up.greeting.clone())?.parse()?,
        clients: sent.token(3).parse().with_context(|| format!("{:?}", sent.tokens))?,
        passport: "alice@example.com".to_owned(),
        md5_key: data.join("md5.key"),
        pair,
    };
    let id = Pid::from_raw(up.child.id().context("it has ended")?.try_into()?).context("no process id")?;
    let hang_up = async |time: usize| {
        kill_process(id, Signal::HUP)?;
        for tier in ["dispatch", "notification", "switchboard"] {
            let log = data.join(format!("logs/{tier}.log"));
            has_read_again(tier, time, || std::fs::read_to_string(&log).unwrap_or_default()).await?;
        }
        Ok(())
    };
    let played = place.play(hang_up).await;
    played.with_context(|| suite::log_of(directory.path()))?;
    up.ctrl_c().await
}

/// A deployment at work.
struct Place {
    https: SocketAddr,
    clients: SocketAddr,
    /// Of somebody who can sign in with [`PASSWORD`] by MD5.
    passport: String,
    md5_key: PathBuf,
    /// What it serves.
    pair: Pair,
}

impl Place {
    /// Changes both, and `hang_up` sends SIGHUP for the time that it is given, and waits until all have read again.
    async fn play(&self, hang_up: impl AsyncFn(usize) -> Result<()>) -> Result<()> {
        let first = self.pair.trusted()?;
        let mut there = connect(self.https, &first).await?;
        ask(&mut there).await.context("before")?;
        let mut alice = Client::sign_in(self.clients, &self.passport, PASSWORD).await?;

        self.pair.replace()?;
        let second = self.pair.trusted()?;
        let kept = self.md5_key.with_extension("kept");
        std::fs::rename(&self.md5_key, &kept)?;
        SealingKey::create(&self.md5_key)?;
        hang_up(1).await?;

        let mut newcomer = connect(self.https, &second).await.context("the new certificate")?;
        ask(&mut newcomer).await.context("whoever comes then")?;
        ensure!(connect(self.https, &first).await.is_err(), "the certificate before is still shown");
        ask(&mut there).await.context("whoever was there")?;
        ensure!(alice.request("CHG", "BSY").await?.verb() == "CHG", "whoever is signed in stays");
        ensure!(self.knock().await? == "911", "what is sealed with the key before does not open");

        std::fs::rename(&kept, &self.md5_key)?;
        hang_up(2).await?;
        ensure!(self.knock().await? == "USR", "with its key it opens again");
        ask(&mut there).await.context("whoever was there, again")
    }

    /// The verb of the answer to the right password.
    async fn knock(&self) -> Result<String> {
        let mut client = Client::connect(self.clients).await?;
        Ok(client.authenticate(&self.passport, PASSWORD).await?.verb().to_owned())
    }
}

/// A certificate and its key, in files.
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn make(directory: &Path, name: &str) -> Result<Self> {
        let path = |extension| directory.join(name).with_extension(extension);
        let pair = Self { certificate: path("crt"), key: path("key") };
        pair.replace()?;
        Ok(pair)
    }

    /// Writes another pair to the same files.
    fn replace(&self) -> Result<()> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
        std::fs::write(&self.certificate, made.cert.pem())?;
        std::fs::write(&self.key, made.signing_key.serialize_pem())?;
        std::fs::set_permissions(&self.key, Permissions::from_mode(0o600))?;
        Ok(())
    }

    /// Only who shows this certificate is believed.
    fn trusted(&self) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.certificate)?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    }
}

async fn connect(address: SocketAddr, trusted: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>> {
    let connected = async {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from(NAME)?;
        anyhow::Ok(TlsConnector::from(Arc::clone(trusted)).connect(name, stream).await?)
    };
    timeout(PATIENCE, connected).await.context("no handshake in time")?
}

/// One request on a connection that stays, and the head of its answer.
async fn ask(stream: &mut TlsStream<TcpStream>) -> Result<()> {
    let answered = async {
        stream.write_all(REQUEST).await?;
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).await?;
            head.extend(byte);
        }
        let head = String::from_utf8(head)?;
        ensure!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let mut body = vec![0; length.unwrap_or("0").parse()?];
        stream.read_exact(&mut body).await?;
        Ok(())
    };
    timeout(PATIENCE, answered).await.context("no answer in time")?
}

/// Waits until a log says for the time that is given that it has read again, and that nothing failed.
async fn has_read_again(name: &str, time: usize, log: impl Fn() -> String) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let log = log();
        if log.lines().filter(|line| line.contains("SIGHUP: read again")).count() >= time {
            ensure!(!log.contains("what was there before stays"), "{name}: {log}");
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{name} has not read again");
        }
        sleep(std::time::Duration::from_millis(50)).await;
    }
}
