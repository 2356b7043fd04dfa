//! A client that has closed its side behind a whole request still gets its answer.

use rustls::version::{TLS12, TLS13};

use super::*;

const LOGIN: &str = "Authorization: Passport1.4 sign-in=alice@example.com,pwd=wonderland,lc=1033\r\n";

/// A request for each route, and how its answer begins.
fn requests() -> Vec<(String, &'static str)> {
    let soap = rst::body("alice@example.com", "wonderland", "lc=1033");
    let length = soap.len();
    vec![
        ("GET /rdr/pprdr.asp\r\n".into(), "HTTP/1.1 200 OK\r\nPassportURLs: "),
        ("GET /rdr/pprdr.asp HTTP/1.1\r\nHost: x\r\n\r\n".into(), "HTTP/1.1 200 OK\r\nPassportURLs: "),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".into(), "HTTP/1.1 200 OK\r\nContent-Type: text/html"),
        ("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n".into(), "HTTP/1.1 404 Not Found\r\n"),
        (
            format!("GET /login2.srf HTTP/1.1\r\nHost: x\r\n{LOGIN}\r\n"),
            "HTTP/1.1 200 OK\r\nAuthentication-Info: Passport1.4 da-status=success,",
        ),
        (format!("GET /login2.srf HTTP/1.0\r\n{LOGIN}\r\n"), "HTTP/1.1 200 OK\r\nAuthentication-Info: "),
        (
            format!("POST /RST.srf HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{soap}"),
            "HTTP/1.1 200 OK\r\nContent-Type: text/xml",
        ),
    ]
}

/// Asks, closes its side, and reads the answer. Where the account is read the store answers only when the server has seen
/// the whole request: what closed the client's side lies behind it.
async fn ask(world: &World, stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> String {
    let before = world.memory.reads.load(Ordering::Relaxed);
    let gate = world.memory.gate.write().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    if request.contains("wonderland") {
        let read = async {
            while world.memory.reads.load(Ordering::Relaxed) == before {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(30), read).await.unwrap();
    }
    drop(gate);
    let mut answer = String::new();
    let _ = timeout(Duration::from_secs(30), stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn every_route_answers_without_tls() {
    let world = world().await;
    world.account("alice@example.com", "wonderland", 7).await;
    for (request, begins) in requests() {
        let mut stream = TcpStream::connect(world.addr).await.unwrap();
        let answer = ask(&world, &mut stream, &request).await;
        assert!(answer.starts_with(begins), "{request}: {answer:?}");
    }
}

#[tokio::test]
async fn every_route_answers_over_tls() {
    let world = world().await;
    world.account("alice@example.com", "wonderland", 7).await;
    for version in [&TLS12, &TLS13] {
        for (request, begins) in requests() {
            // `close_notify`, and the end of the connection's own half behind it.
            let mut stream = world.connect("localhost", version).await;
            let answer = ask(&world, &mut stream, &request).await;
            assert!(answer.starts_with(begins), "{version:?}: {request}: {answer:?}");
            // Without `close_notify`.
            let mut stream = world.connect("localhost", version).await;
            stream.write_all(request.as_bytes()).await.unwrap();
            let _ = stream.get_mut().0.shutdown().await;
            let mut answer = String::new();
            let _ = timeout(Duration::from_secs(30), stream.read_to_string(&mut answer)).await.unwrap();
            assert!(answer.starts_with(begins), "{version:?}, cut: {request}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn half_a_request_gets_none() {
    let world = world().await;
    for request in ["", "GET / HTTP/1.1\r\nHost: x\r\n", "GET /login2.srf HTTP/1.0\r\nAuthoriz"] {
        let mut stream = TcpStream::connect(world.addr).await.unwrap();
        let answer = ask(&world, &mut stream, request).await;
        assert!(!answer.contains("200 OK"), "{request}: {answer:?}");
    }
}
