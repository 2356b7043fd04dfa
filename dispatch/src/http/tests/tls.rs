//! The same over TLS.

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

/// A client that trusts the development certificate in `directory`, and nothing else.
fn connector(directory: &Path, version: &'static SupportedProtocolVersion) -> TlsConnector {
    let certificate = CertificateDer::from_pem_file(directory.join("development.crt")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth()).into()
}

impl World {
    pub(super) async fn connect(
        &self,
        name: &str,
        version: &'static SupportedProtocolVersion,
    ) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.secure).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        connector(self.directory.path(), version).connect(name, stream).await.unwrap()
    }

    async fn exchange_by_tls(&self, name: &str, request: &str) -> String {
        let mut stream = self.connect(name, &TLS13).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        until_closed(&mut stream).await
    }
}

fn nexus(login: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nPassportURLs: {}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        super::super::passport::urls(&format!("{login}/login2.srf?lc=1033"))
    )
}

#[tokio::test]
async fn the_nexus_names_the_host_that_was_asked() {
    let world = world().await;
    for (request, login) in [
        // Without a header: the name that the client looked up.
        ("GET /rdr/pprdr.asp\r\n\r\n", "nexus.passport.com"),
        ("GET /rdr/pprdr.asp HTTP/1.0\r\nHost: loginnet.passport.com\r\n\r\n", "loginnet.passport.com"),
        (
            "GET //rdr/pprdr.asp HTTP/1.1\r\nHost: login.example.com:443\r\nConnection: close\r\n\r\n",
            "login.example.com",
        ),
        ("GET /rdr/pprdr.asp HTTP/1.1\r\nHost: [::1]:8443\r\nConnection: close\r\n\r\n", "[::1]:8443"),
        ("GET https://login.live.com/rdr/pprdr.asp HTTP/1.0\r\n\r\n", "login.live.com"),
    ] {
        assert_eq!(world.exchange_by_tls("nexus.passport.com", request).await, nexus(login), "{request:?}");
    }
    let by_address = world.exchange_by_tls("127.0.0.1", "GET /rdr/pprdr.asp\r\n\r\n").await;
    assert_eq!(by_address, nexus(&world.secure.to_string()));
    for host in ["a,b", "a b", "\u{fc}", &"x".repeat(300)] {
        let request = format!("GET /rdr/pprdr.asp HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = world.exchange_by_tls("localhost", &request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{host}: {answer}");
    }
    let da_login = Some("login.example.com/login2.srf?lc=1033,".into());
    let world = world_with(AccountsConfig::default(), HttpConfig { da_login, ..HttpConfig::default() }).await;
    let configured = world.exchange_by_tls("localhost", "GET /rdr/pprdr.asp\r\n\r\n").await;
    assert_eq!(configured, nexus("login.example.com"));
}

#[tokio::test]
async fn signs_in_by_both_versions() {
    let world = world().await;
    world.account("alice@example.com", "wonderland", 7).await;
    for version in [&TLS12, &TLS13] {
        let mut stream = world.connect("login.live.com", version).await;
        let sign_in = "Authorization: Passport1.4 sign-in=alice@example.com,pwd=wonderland,lc=1033\r\n";
        let request = format!("GET /login2.srf HTTP/1.0\r\n{sign_in}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = until_closed(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\nAuthentication-Info: Passport1.4 "), "{answer}");
        assert!(answer.contains("from-PP='t=alice@example.com.7&p='"), "{answer}");
    }
}

/// The lengths of the records of application data in what a server has sent.
fn lengths_of_records(mut bytes: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if *kind == 23 {
            lengths.push(length);
        }
        bytes = &rest[length..];
    }
    lengths
}

#[tokio::test]
async fn clients_soap_4_records_are_short() {
    let world = world().await;
    world.account("alice@example.com", "wonderland", 7).await;
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (mut from_server, mut to_server) = TcpStream::connect(world.secure).await.unwrap().into_split();
    let (mut from_client, mut to_client) = tokio::io::split(far);
    tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let passed_on = tokio::spawn(async move {
        let mut seen = Vec::new();
        loop {
            let before = seen.len();
            if from_server.read_buf(&mut seen).await.unwrap_or(0) == 0 {
                return seen;
            }
            to_client.write_all(&seen[before..]).await.unwrap();
        }
    });
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = connector(world.directory.path(), &TLS12).connect(name, near).await.unwrap();
    let body = super::rst::body("alice@example.com", "wonderland", "lc=1033");
    let head = format!("POST /RST.srf HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    drop(stream);
    let lengths = lengths_of_records(&passed_on.await.unwrap());
    // A record is a little longer than what it holds.
    assert!(lengths.len() >= 3 && lengths.iter().all(|length| *length <= 1024 + 64), "{lengths:?}");
}

#[tokio::test]
async fn both_fronts_count_apart_and_a_stranger_to_tls_is_closed() {
    let few = HttpConfig { connections_per_address: 1, ..HttpConfig::default() };
    let world = world_with(AccountsConfig::default(), few).await;
    let gate = world.memory.gate.write().await;
    // The only place of the address at the plain front works, and stays taken.
    let mut plain = TcpStream::connect(world.addr).await.unwrap();
    plain
        .write_all(b"GET /login2.srf HTTP/1.0\r\nAuthorization: Passport1.4 sign-in=a@b,pwd=x\r\n\r\n")
        .await
        .unwrap();
    while world.memory.reads.load(Ordering::Relaxed) < 1 {
        tokio::task::yield_now().await;
    }
    let mut rest = Vec::new();
    let mut second = TcpStream::connect(world.addr).await.unwrap();
    assert_eq!(second.read_to_end(&mut rest).await.unwrap(), 0, "closed at once");
    let secure = world.exchange_by_tls("localhost", "GET /rdr/pprdr.asp\r\n\r\n").await;
    assert_eq!(secure, nexus("localhost"));
    drop(gate);
    assert!(until_closed(&mut plain).await.starts_with("HTTP/1.1 401 "));
    let mut stranger = TcpStream::connect(world.secure).await.unwrap();
    stranger.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut first = [0];
    stranger.read_exact(&mut first).await.unwrap();
    assert_eq!(first, [21], "an alert");
    let mut rest = Vec::new();
    let _ = stranger.read_to_end(&mut rest).await;
    world.shutdown.begin();
    assert_eq!(world.shutdown.finish(Duration::from_secs(5)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_not_finished_ends() {
    let world = world().await;
    // Nothing, and the head of a ClientHello that never comes.
    for said in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = TcpStream::connect(world.secure).await.unwrap();
        stream.write_all(said).await.unwrap();
        let start = Instant::now();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        let elapsed = start.elapsed();
        assert!((HANDSHAKE..HANDSHAKE + Duration::from_secs(1)).contains(&elapsed), "{elapsed:?}");
    }
}
