//! Requests that a proxy passes on, over real sockets.

use common::config::ForwardedHeader;

use super::*;

const ALICE: &str = "alice@example.com";

/// One where 127.0.0.1 is a proxy, and whoever guesses wrong twice at an account is shut out unless he has signed in there.
async fn world_behind_a_proxy(http: HttpConfig) -> World {
    let accounts = AccountsConfig { wrong_passwords: 2, ..AccountsConfig::default() };
    let world = world_behind(accounts, http, Arc::new(Open), Proxies::of(&["127.0.0.1"]).unwrap()).await;
    world.account(ALICE, "secret", 1).await;
    world
}

impl World {
    /// The status that an attempt comes to.
    async fn attempt(&self, header: &str, password: &str, lines: &str) -> String {
        let answer = self.exchange(&(header.to_owned() + &login(ALICE, password, lines))).await;
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn the_client_behind_a_proxy_is_known_by_its_own_address() {
    let world =
        world_behind_a_proxy(HttpConfig { forwarded: ForwardedHeader::XForwardedFor, ..HttpConfig::default() })
            .await;
    let (home, guesser) = ("X-Forwarded-For: 192.0.2.1\r\n", "X-Forwarded-For: 198.51.100.1\r\n");
    assert_eq!(world.attempt("", "secret", home).await, "200");
    for _ in 0..2 {
        assert_eq!(world.attempt("", "guess", guesser).await, "401");
    }
    assert_eq!(world.attempt("", "secret", guesser).await, "401", "shut out");
    // Whatever he writes, the proxy writes his address behind it.
    assert_eq!(world.attempt("", "secret", &(home.to_owned() + guesser)).await, "401");
    assert_eq!(world.attempt("", "secret", "X-Forwarded-For: 192.0.2.1, 198.51.100.1\r\n").await, "401");
    assert_eq!(world.attempt("", "secret", "Forwarded: for=192.0.2.1\r\n").await, "401");
    assert_eq!(world.attempt("", "secret", home).await, "200", "at home");
}

/// Where the same is said by a header before TLS or HTTP, lines of the request are a client's.
#[tokio::test]
async fn a_proxy_that_knows_no_http_says_it_before() {
    let http =
        HttpConfig { proxy_protocol: true, forwarded: ForwardedHeader::XForwardedFor, ..HttpConfig::default() };
    let world = world_behind_a_proxy(http).await;
    let (home, guesser) = ("PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\n", "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n");
    assert_eq!(world.attempt(home, "secret", "").await, "200");
    for _ in 0..2 {
        assert_eq!(world.attempt(guesser, "guess", "").await, "401");
    }
    assert_eq!(world.attempt(guesser, "secret", "X-Forwarded-For: 192.0.2.1\r\n").await, "401");
    assert_eq!(world.attempt(home, "secret", "").await, "200");
    // Its own connection, which carries what others ask.
    let own = "PROXY UNKNOWN\r\n";
    assert_eq!(world.attempt(own, "secret", "X-Forwarded-For: 192.0.2.1\r\n").await, "200");
    assert_eq!(world.attempt(own, "secret", "").await, "401");
    // Without one it is closed, with TLS and without.
    let mut stream = TcpStream::connect(world.addr).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, b"");
    let mut stream = TcpStream::connect(world.secure).await.unwrap();
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
    let _ = timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, b"");
}

/// The proxy has as many connections as all together may, and each of its clients asks as much at once as it may have connections.
#[tokio::test]
async fn a_proxy_is_not_bounded_like_a_client_and_its_clients_are() {
    let http =
        HttpConfig { forwarded: ForwardedHeader::Forwarded, connections_per_address: 1, ..HttpConfig::default() };
    let world = world_behind_a_proxy(http).await;
    let gate = world.memory.gate.write().await;
    let mut waiting = Vec::new();
    for number in 1..=5 {
        let mut stream = TcpStream::connect(world.addr).await.unwrap();
        let request = login(ALICE, "secret", &format!("Forwarded: for=192.0.2.{number}\r\n"));
        stream.write_all(request.as_bytes()).await.unwrap();
        waiting.push(stream);
    }
    while world.memory.reads.load(Ordering::Relaxed) < 5 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let busy = world.exchange(&login(ALICE, "secret", "Forwarded: for=192.0.2.5\r\n")).await;
    assert!(busy.starts_with("HTTP/1.1 503 ") && busy.contains("\r\nRetry-After: 5\r\n"), "{busy}");
    drop(gate);
    for mut stream in waiting {
        let answer = until_closed(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert_eq!(world.attempt("", "secret", "Forwarded: for=192.0.2.5\r\n").await, "200");
}
