//! Sign-in over TLS with the real binaries, by a client that trusts the development certificate and nothing else; and what it
//! is shown after SIGHUP.

mod expiry;
mod hangup;
#[path = "../suite/mod.rs"]
mod suite;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::accounts::{self, PASSWORD};
use integration_tests::{Plan, World, binaries};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// How long each single thing may take.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tickets_got_over_tls_open_a_session() -> Result<()> {
    let world = World::start(Plan { notification: 1, ..Plan::default() }).await?;
    let alice = accounts::create(world.config(), &["alice".to_owned()], &[]).await?.remove(0);
    for version in [&TLS12, &TLS13] {
        let by_header = by_passport(&world, version, alice.as_str()).await?;
        let by_soap = by_soap(&world, version, alice.as_str()).await?;
        for ticket in [by_header, by_soap] {
            let answer = sign_in(&world, alice.as_str(), &ticket).await?;
            ensure!(answer == format!("USR 4 OK {alice} alice 1 0"), "{answer}\n{}", world.logs());
        }
    }
    let other = sign_in(&world, alice.as_str(), "t=AAAA&p=AAAA").await?;
    ensure!(other == "911 4", "{other}");
    world.shut_down().await
}

/// The nexus, and the login that it names.
async fn by_passport(world: &World, version: &'static SupportedProtocolVersion, who: &str) -> Result<String> {
    let nexus = exchange(world, version, "GET /rdr/pprdr.asp\r\n\r\n").await?;
    let told = "\r\nPassportURLs: DALogin=nexus.passport.com/login2.srf?lc=1033,DARealm=Passport.Net,DAReg=";
    ensure!(nexus.starts_with("HTTP/1.1 200 OK\r\n") && nexus.contains(told), "{nexus}");
    let authorization = format!("Authorization: Passport1.4 sign-in={who},pwd={PASSWORD},lc=1033,id=507");
    let request = format!("GET /login2.srf?lc=1033 HTTP/1.0\r\n{authorization}\r\n\r\n");
    let answer = exchange(world, version, &request).await?;
    let ticket = answer.split("from-PP='").nth(1).and_then(|rest| rest.split('\'').next());
    Ok(ticket.with_context(|| answer.clone())?.to_owned())
}

/// `RST.srf`.
async fn by_soap(world: &World, version: &'static SupportedProtocolVersion, who: &str) -> Result<String> {
    let body = format!(
        "<Envelope><Header><Security><UsernameToken><Username>{who}</Username><Password>{PASSWORD}</Password>\
         </UsernameToken></Security></Header><Body><RequestSecurityToken Id=\"RST1\"><AppliesTo><EndpointReference>\
         <Address>messenger.msn.com</Address></EndpointReference></AppliesTo></RequestSecurityToken></Body></Envelope>"
    );
    let length = body.len();
    let request = format!("POST //RST.srf HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}");
    let answer = exchange(world, version, &request).await?;
    let token = answer.split("<wsse:BinarySecurityToken Id=\"Compact1\">").nth(1);
    let token = token.and_then(|rest| rest.split('<').next()).with_context(|| answer.clone())?;
    Ok(token.replace("&amp;", "&"))
}

/// One request over TLS, to a name that the certificate must be for.
async fn exchange(world: &World, version: &'static SupportedProtocolVersion, request: &str) -> Result<String> {
    let address = world.process("dispatch-1")?.address("https")?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(world.directory().join("data/development.crt"))?)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version])?;
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("nexus.passport.com")?;
    let exchange = async {
        let stream = TcpStream::connect(address).await?;
        let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    timeout(PATIENCE, exchange).await.context("no answer over TLS")?
}

/// What the notification server says to a ticket.
async fn sign_in(world: &World, who: &str, ticket: &str) -> Result<String> {
    let address = world.process("notification-1")?.address("clients")?;
    let said = format!(
        "VER 1 MSNP8 CVR0\r\nCVR 2 0x0409 winnt 5.1 i386 MSNMSGR 5.0.0544 MSMSGS {who}\r\nUSR 3 TWN I {who}\r\nUSR 4 TWN S {ticket}\r\n"
    );
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(said.as_bytes()).await?;
        let mut lines = BufReader::new(stream).lines();
        loop {
            let line = lines.next_line().await?.context("closed without an answer")?;
            if line.starts_with("USR 4 ") || line.ends_with(" 4") {
                return anyhow::Ok(line);
            }
        }
    };
    timeout(PATIENCE, exchange).await.context("no answer to the ticket")?
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_refused_at_the_start() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("a.crt"), "no certificate")?;
    let (certificate, key) = (path("a.crt"), path("a.key"));
    let lines =
        format!("[dispatch.https]\nlisten = \"127.0.0.1:0\"\ncertificate = {certificate:?}\nkey = {key:?}\n");
    std::fs::write(path("m.toml"), lines)?;
    for flags in [&["--check"][..], &[]] {
        let text = refusal(&path("m.toml"), flags).await?;
        let expected = format!("{}:3: dispatch.https.certificate: ", path("m.toml").display());
        ensure!(text.contains(&expected) && text.contains("holds no certificate"), "{text}");
    }
    Ok(())
}

/// What dispatch says when it does not start, with exit code 2.
async fn refusal(config: &Path, flags: &[&str]) -> Result<String> {
    let mut command = Command::new(binaries::directory()?.join("dispatch"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MONARCH_")) {
        command.env_remove(name);
    }
    let output = command.arg("--config").arg(config).args(flags).kill_on_drop(true).output();
    let output = timeout(PATIENCE, output).await.context("it goes on")??;
    ensure!(output.status.code() == Some(2), "{output:?}");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}
