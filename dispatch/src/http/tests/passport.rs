//! Passport 1.4, and HTTP as old clients speak it.

use tokio::time::Instant;

use super::*;

const ACCEPTED: &str = "HTTP/1.1 200 OK\r\n\
    Authentication-Info: Passport1.4 da-status=success,tname=MSPAuth,tname=MSPProf,tname=MSPSec,\
    ru=http://messenger.msn.com,from-PP='t=alice@example.com.7&p='\r\n\
    Cache-Control: no-store\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn the_nexus_answers_every_http_there_was() {
    let world = world().await;
    for request in [
        "GET /rdr/pprdr.asp\r\n\r\n",
        "GET /rdr/pprdr.asp\r\n",
        "GET /rdr/pprdr.asp HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
        "GET //rdr//pprdr.asp?x HTTP/1.1\r\nHost: nexus.passport.com\r\nConnection: close\r\n\r\n",
        "GET http://nexus.passport.com/rdr/pprdr.asp HTTP/1.0\r\n\r\n",
    ] {
        assert_eq!(world.exchange(request).await, world.nexus(), "{request:?}");
    }
    let mut slow = TcpStream::connect(world.addr).await.unwrap();
    slow.set_nodelay(true).unwrap();
    for byte in b"GET /rdr/pprdr.asp HTTP/1.0\r\nUser-Agent: x\r\n\r\n" {
        slow.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(until_closed(&mut slow).await, world.nexus());
    for configured in ["login.example.com/login2.srf?lc=1033", "login.example.com/login2.srf?lc=1033,"] {
        let configured = HttpConfig { da_login: Some(configured.into()), ..HttpConfig::default() };
        let world = world_with(AccountsConfig::default(), configured).await;
        let answer = world.exchange("GET /rdr/pprdr.asp\r\n\r\n").await;
        let urls = super::super::passport::urls("login.example.com/login2.srf?lc=1033");
        assert!(answer.contains(&format!("\r\nPassportURLs: {urls}\r\n")), "{answer}");
    }
}

#[tokio::test]
async fn the_right_password_gets_a_ticket() {
    let world = world().await;
    world.account("alice@example.com", "a%20b,c", 7).await;
    assert_eq!(world.sign_in("alice%40example.com", "a%2520b%2Cc").await, ACCEPTED, "encoded");
    assert_eq!(world.sign_in("Alice@Example.com", "a%20b,c").await, ACCEPTED, "raw");
    let by_1_0 =
        "GET /login2.srf HTTP/1.0\r\nauthorization: Passport1.4 sign-in=alice@example.com,pwd=a%20b,c\r\n\r\n";
    assert_eq!(world.exchange(by_1_0).await, ACCEPTED);
    assert_eq!(world.metrics.sign_ins("ok"), 3);
}

#[tokio::test]
async fn all_that_is_wrong_looks_the_same() {
    let world = world().await;
    world.account("alice@example.com", "wonderland", 7).await;
    for (name, password) in [
        ("alice@example.com", "Wonderland"),
        ("alice@example.com", ""),
        ("nobody@example.com", "wonderland"),
        ("no-address", "wonderland"),
    ] {
        assert_eq!(world.sign_in(name, password).await, world.refused(), "{name} {password}");
    }
    for header in ["", "Authorization: Basic x\r\n", "Authorization: Passport1.4 x\r\n", "Authorization: \r\n"] {
        let answer = world.exchange(&format!("GET /login2.srf HTTP/1.0\r\n{header}\r\n")).await;
        assert_eq!(answer, world.refused(), "{header:?}");
    }
    assert_eq!((world.metrics.sign_ins("wrong"), world.metrics.sign_ins("malformed")), (3, 5));
}

#[tokio::test]
async fn ten_wrong_passwords_shut_out_strangers_but_not_the_owners_address() {
    let world = world().await;
    for (name, known) in [("alice@example.com", true), ("bob@example.com", false)] {
        world.account(name, "wonderland", 7).await;
        if known {
            assert!(world.sign_in(name, "wonderland").await.starts_with("HTTP/1.1 200 OK\r\n"));
        }
        for _ in 0..10 {
            let begun = std::time::Instant::now();
            assert_eq!(world.sign_in(name, "guess").await, world.refused());
            assert!(begun.elapsed() >= Duration::from_millis(50), "it leaves as soon as it is known");
        }
        let answer = world.sign_in(name, "wonderland").await;
        if known {
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        } else {
            assert_eq!(answer, world.refused());
            assert_eq!(world.metrics.refusals("http", Refusal::TooMany), 1, "unchecked");
            assert_eq!(world.metrics.refusals("http", Refusal::WrongPassword), 20);
        }
    }
}

#[tokio::test]
async fn many_guesses_at_once_are_worth_ten() {
    let world = Arc::new(
        world_with(AccountsConfig { argon2_parallel: 1, ..AccountsConfig::default() }, HttpConfig::default())
            .await,
    );
    world.account("alice@example.com", "right", 7).await;
    // All are let in before the first is checked, and the right one is the last of them.
    let gate = world.memory.gate.write().await;
    let mut guesses = Vec::new();
    for guess in 1..=20 {
        let (client, password) = (Arc::clone(&world), if guess == 20 { "right" } else { "wrong" });
        guesses.push(tokio::spawn(async move { client.sign_in("alice@example.com", password).await }));
        while world.memory.reads.load(Ordering::Relaxed) < guess {
            tokio::task::yield_now().await;
        }
    }
    drop(gate);
    for guess in guesses {
        assert_eq!(guess.await.unwrap(), world.refused());
    }
}

#[tokio::test]
async fn a_repeat_costs_no_hash_until_the_password_is_changed() {
    let dear = AccountsConfig { argon2_waiting: 0, argon2_parallel: 1, ..AccountsConfig::default() };
    let world = world_with(dear, HttpConfig::default()).await;
    world.account("alice@example.com", "wonderland", 7).await;
    assert_eq!(world.sign_in("alice@example.com", "wonderland").await, ACCEPTED);
    // A hash that nothing opens: only what is remembered can say yes now.
    let alice = Passport::parse("alice@example.com").unwrap();
    let spoil = |epoch| {
        let mut accounts = world.memory.accounts.lock().unwrap();
        let credentials = &mut accounts.get_mut(&alice).unwrap().credentials;
        (credentials.password_hash, credentials.epoch) = ("$argon2id$spoilt".into(), epoch);
    };
    spoil(7);
    assert_eq!(world.sign_in("alice@example.com", "wonderland").await, ACCEPTED);
    assert_eq!(world.sign_in("alice@example.com", "wonder").await, world.refused());
    spoil(8);
    assert_eq!(world.sign_in("alice@example.com", "wonderland").await, world.refused());
    world.memory.accounts.lock().unwrap().clear();
    assert_eq!(world.sign_in("alice@example.com", "wonderland").await, world.refused(), "the account is gone");
}

#[tokio::test]
async fn too_busy_and_without_the_store_it_is_503() {
    let later = "HTTP/1.1 503 Service Unavailable\r\nCache-Control: no-store\r\nRetry-After: 5\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let dear = AccountsConfig { argon2_waiting: 0, argon2_parallel: 1, ..AccountsConfig::default() };
    let world = world_with(dear, HttpConfig::default()).await;
    world.memory.down.store(true, Ordering::Relaxed);
    assert_eq!(world.sign_in("alice@example.com", "x").await, later);
    assert_eq!(world.metrics.sign_ins("unavailable"), 1);
    world.memory.down.store(false, Ordering::Relaxed);
    // The only place is taken by a hash of 256 MiB, several hundred milliseconds of work.
    let big = PasswordHasher::new(&AccountsConfig { argon2_memory_kib: 256 * 1024, ..world.costs.clone() });
    world.account("slow@example.com", "x", 1).await;
    let slow = Passport::parse("slow@example.com").unwrap();
    let password_hash = big.hash("x".into()).await.unwrap();
    world.memory.accounts.lock().unwrap().get_mut(&slow).unwrap().credentials.password_hash = password_hash;
    let busy = async {
        while world.memory.reads.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        world.sign_in("alice@example.com", "x").await
    };
    let (slow, busy) = tokio::join!(world.sign_in("slow@example.com", "x"), busy);
    assert_eq!((slow.starts_with("HTTP/1.1 200 OK\r\n"), busy.as_str()), (true, later));
    assert_eq!(world.metrics.sign_ins("busy"), 1);
}

#[tokio::test]
async fn http_1_1_is_kept_alive_and_other_things_are_not_found() {
    let world = world().await;
    let mut stream = TcpStream::connect(world.addr).await.unwrap();
    for (request, status) in [
        ("GET /rdr/pprdr.asp", "200 OK"),
        ("GET /", "200 OK"),
        ("GET /login2.srfx", "404 Not Found"),
        ("POST /login2.srf", "404 Not Found"),
        ("GET /../etc/passwd", "404 Not Found"),
        ("OPTIONS *", "404 Not Found"),
    ] {
        stream.write_all(format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer).await.unwrap();
        let answer = std::str::from_utf8(&answer[..length]).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
        assert!(!answer.contains("Connection: close") && answer.contains("\r\nContent-Length: "), "{answer}");
    }
}

#[tokio::test]
async fn nonsense_and_excess_are_bounded() {
    let world = world().await;
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(100));
    let old = format!("GET / HTTP/1.0\r\nX: {}", "x".repeat(20_000));
    for (request, status) in
        [("\0\0\r\n\r\n", "400"), ("GET / HTTP/9\r\n\r\n", "400"), (&long, "431"), (&many, "431"), (&old, "431")]
    {
        let mut stream = TcpStream::connect(world.addr).await.unwrap();
        // The server may close before all is written, and reset then: what it said before that counts.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        let expected = answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status} "));
        assert!(expected, "{:?}: {answer}", &request[..request.len().min(30)]);
    }
    world.shutdown.begin();
    assert_eq!(world.shutdown.finish(Duration::from_secs(5)).await, 0);
}

#[tokio::test]
async fn the_oldest_connection_without_a_request_goes_when_places_run_out() {
    let few = HttpConfig { connections_per_address: 2, ..HttpConfig::default() };
    let world = Arc::new(world_with(AccountsConfig::default(), few).await);
    let [mut oldest, _second] =
        [TcpStream::connect(world.addr).await.unwrap(), TcpStream::connect(world.addr).await.unwrap()];
    assert_eq!(world.exchange("GET /rdr/pprdr.asp\r\n\r\n").await, world.nexus());
    let mut rest = Vec::new();
    assert_eq!(oldest.read_to_end(&mut rest).await.unwrap(), 0, "it waited longest");
    // So do those of whose request the end does not come.
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(world.addr).await.unwrap();
        stream.write_all(b"POST /RST.srf HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n<").await.unwrap();
        slow.push(stream);
    }
    for _ in 0..3 {
        assert_eq!(world.exchange("GET /rdr/pprdr.asp\r\n\r\n").await, world.nexus());
    }
    drop(slow);
    // Those whose request is being answered stay, and one more is closed.
    world.account("alice@example.com", "wonderland", 7).await;
    let gate = world.memory.gate.write().await;
    let mut answered = Vec::new();
    for number in 1..=2 {
        let client = Arc::clone(&world);
        answered.push(tokio::spawn(async move { client.sign_in("alice@example.com", "wonderland").await }));
        while world.memory.reads.load(Ordering::Relaxed) < number {
            tokio::task::yield_now().await;
        }
    }
    let mut third = TcpStream::connect(world.addr).await.unwrap();
    assert_eq!(third.read_to_end(&mut rest).await.unwrap(), 0, "closed at once");
    drop(gate);
    for answer in answered {
        assert_eq!(answer.await.unwrap(), ACCEPTED);
    }
    world.shutdown.begin();
    assert_eq!(world.shutdown.finish(Duration::from_secs(5)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_connection() {
    let world = world().await;
    for said in ["", "GET / HTTP/1.0\r\n", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        let mut stream = TcpStream::connect(world.addr).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        let start = Instant::now();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        assert!(start.elapsed() <= LIFE + GRACE, "{said:?}: {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn passwords_cross_no_network_in_the_clear_unless_allowed() {
    let open = |allow| HttpConfig {
        listen: "0.0.0.0:0".parse().unwrap(),
        allow_plain_beyond_loopback: allow,
        ..HttpConfig::default()
    };
    let error = bind(&open(false), 1, &Proxies::default()).await.unwrap_err().to_string();
    assert!(error.contains("dispatch.http.allow_plain_beyond_loopback"), "{error}");
    let door = bind(&open(true), 1, &Proxies::default()).await.unwrap();
    let sign_in = SignIn::new(&AccountsConfig::default(), &open(true), Arc::<Memory>::default(), Arc::new(Open));
    let routes = Routes::new(&open(true), door.addr().unwrap(), sign_in.unwrap(), Metrics::default()).await;
    assert!(routes.err().unwrap().to_string().starts_with("dispatch.http.da_login must be set"));
}
