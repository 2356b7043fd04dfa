//! `/healthz`, `/readyz` and `/metrics`; and what a [`Desk`] takes.
//!
//! For operators and their machines, on loopback unless configured otherwise. One request a connection, few
//! connections, each with a deadline: nothing here can grow, whoever connects.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};

use super::Readiness;
use super::desk::{self, Desk};
use super::process::process_registry;
use crate::config::NodeConfig;
use crate::net::{self, Place, Places, Shutdown};

/// Connections served at once. For one more the oldest goes that has not asked anything whole yet; if all have, it is closed. As many
/// again are kept for the addresses of nodes that gossip knows.
const MAX_CONNECTIONS: usize = 64;
/// As many of them may come from one address.
const PER_ADDRESS: usize = 16;
/// From the connection to the end of the request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// From the connection to the last byte of the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);
/// What hyper may buffer of one connection; the least that it takes.
const MAX_BUFFER: usize = 8192;

const PLAIN: &str = "text/plain; charset=utf-8";
/// What `prometheus-client` writes: OpenMetrics 1.0, which Prometheus prefers.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The admin address of a process.
pub struct Admin {
    addr: SocketAddr,
    state: Arc<State>,
}

/// What the answers are made of.
struct State {
    /// The metrics of the process's own parts, once they are there.
    registry: OnceLock<Registry>,
    process: Registry,
    readiness: Readiness,
    /// The names by which it may be asked, besides IP addresses and `localhost`.
    names: Vec<String>,
    /// Where operators' orders go, once the process can carry them out.
    desk: OnceLock<Box<dyn Desk>>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Admin {
    /// Binds the admin address of a node and serves on it until shutdown: at once, so that a process can say what it waits for.
    ///
    /// # Errors
    /// When the address can't be bound.
    pub async fn of(node: &NodeConfig, readiness: Readiness, shutdown: &Shutdown) -> anyhow::Result<Self> {
        Self::serve(node.admin, &node.admin_names, readiness, shutdown).await
    }

    /// The same for an address that is asked by its IP address, by `localhost` or by one of these names.
    ///
    /// # Errors
    /// When the address can't be bound.
    pub async fn serve(
        listen: SocketAddr,
        names: &[String],
        readiness: Readiness,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
        let listener =
            net::listen(listen).with_context(|| format!("can't listen on the admin address {listen}"))?;
        let addr = listener.local_addr()?;
        let (registry, desk) = (OnceLock::new(), OnceLock::new());
        let state =
            Arc::new(State { registry, process: process_registry(), readiness, names: names.to_vec(), desk });
        let (until, served) = (shutdown.clone(), Arc::clone(&state));
        shutdown.spawn(async move {
            tokio::select! {
                () = accept(listener, served) => {}
                () = until.begun() => {}
            }
        });
        tracing::info!(%addr, "health and metrics");
        Ok(Self { addr, state })
    }

    /// Shows these metrics too, from now on. The first that are given stay.
    pub fn publish(&self, registry: Registry) {
        let _ = self.state.registry.set(registry);
    }

    /// Takes orders from now on, which the desk itself finds genuine or not. The first desk stays.
    pub fn take_orders(&self, desk: impl Desk) {
        let _ = self.state.desk.set(Box::new(desk));
    }

    /// Where it listens; the port that was chosen, where 0 was asked for.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let [strangers, nodes] = [(); 2].map(|()| Places::new(MAX_CONNECTIONS, PER_ADDRESS));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let is_node = state.desk.get().is_some_and(|desk| desk.knows(peer.ip()));
                let places = if is_node { &nodes } else { &strangers };
                let Some(place) = places.take(peer.ip()) else {
                    tracing::debug!(%peer, "too many connections to the admin address");
                    continue;
                };
                let state = Arc::clone(&state);
                // Not one that shutdown waits for: a scrape may be cut short.
                tokio::spawn(async move {
                    let place = Arc::new(place);
                    let serving = serve_connection(stream, state, Arc::clone(&place));
                    tokio::select! {
                        served = tokio::time::timeout(CONNECTION_TIMEOUT, serving) => if let Ok(Err(error)) = served {
                            tracing::debug!(%peer, %error, "admin connection");
                        },
                        () = place.gone() => tracing::debug!(%peer, "it has asked nothing, and another one needed its place"),
                    }
                });
                places.settle().await;
            }
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection to the admin address");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve_connection(stream: TcpStream, state: Arc<State>, place: Arc<Place>) -> hyper::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let (state, place) = (Arc::clone(&state), Arc::clone(&place));
        async move { Ok::<_, Infallible>(answer(request, &state, &place).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false)
        // Whoever has sent a whole request may close its side: the answer is still wanted.
        .half_close(true)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

async fn answer(request: Request<Incoming>, state: &State, place: &Place) -> Response<Full<Bytes>> {
    if !is_for_us(&request, &state.names) {
        // A web page whose name its owner lets point here would read all of it in an operator's browser.
        return response(StatusCode::MISDIRECTED_REQUEST, PLAIN, "not by this name (node.admin_names)\n".into());
    }
    let (method, path) = (request.method(), request.uri().path());
    let desk = state.desk.get().filter(|desk| desk.path() == path);
    if let (Some(desk), &Method::POST) = (desk, method) {
        let (status, text) = desk::answer(&**desk, request.into_body(), place).await;
        return response(status, PLAIN, text);
    }
    place.works();
    if !matches!(*method, Method::GET | Method::HEAD) || desk.is_some() {
        let allowed = if desk.is_some() { "POST" } else { "GET, HEAD" };
        let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, format!("{allowed}\n"));
        refused.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static(allowed));
        return refused;
    }
    match path {
        "/healthz" => response(StatusCode::OK, PLAIN, "ok\n".into()),
        "/readyz" => ready(&state.readiness),
        "/metrics" => metrics(state),
        _ => response(StatusCode::NOT_FOUND, PLAIN, "there are /healthz, /readyz and /metrics\n".into()),
    }
}

/// Whether the request names this address: by an IP address, which no name service can change, by `localhost`, by one of its
/// names, or not at all, as no browser does.
fn is_for_us<B>(request: &Request<B>, names: &[String]) -> bool {
    let host = match (request.uri().authority(), request.headers().get(HOST)) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => match host.to_str() {
            Ok(host) => host,
            Err(_) => return false,
        },
        (None, None) => return true,
    };
    let name = match host.strip_prefix('[') {
        Some(literal) => literal.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let is = |known: &str| known.trim_end_matches('.').eq_ignore_ascii_case(name.trim_end_matches('.'));
    name.parse::<IpAddr>().is_ok() || is("localhost") || names.iter().any(|known| is(known))
}

fn ready(readiness: &Readiness) -> Response<Full<Bytes>> {
    let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    response(status, PLAIN, readiness.report())
}

fn metrics(state: &State) -> Response<Full<Bytes>> {
    let mut text = String::with_capacity(MAX_BUFFER);
    let parts = state.registry.get().map_or(Ok(()), |registry| encode_registry(&mut text, registry));
    let encoded =
        parts.and_then(|()| encode_registry(&mut text, &state.process)).and_then(|()| encode_eof(&mut text));
    match encoded {
        Ok(()) => response(StatusCode::OK, OPEN_METRICS, text),
        Err(error) => {
            tracing::error!(%error, "metrics can't be written");
            response(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "see the log\n".into())
        }
    }
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::telemetry::Answered;

    struct World {
        admin: Admin,
        addr: SocketAddr,
        readiness: Readiness,
        shutdown: Shutdown,
    }

    async fn world() -> World {
        let mut registry = Registry::default();
        let pings = Counter::<u64>::default();
        registry.register("pings", "Pings", pings.clone());
        pings.inc();
        let (readiness, shutdown) = (Readiness::default(), Shutdown::default());
        let loopback = ([127, 0, 0, 1], 0).into();
        let admin =
            Admin::serve(loopback, &["ns.example.com".into()], readiness.clone(), &shutdown).await.unwrap();
        admin.publish(registry);
        World { addr: admin.addr(), admin, readiness, shutdown }
    }

    async fn ask(addr: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn get(addr: SocketAddr, path: &str) -> (String, String) {
        let answer = ask(addr, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        (head.to_owned(), body.to_owned())
    }

    #[tokio::test]
    async fn readiness_lists_all_conditions() {
        let world = world().await;
        let store = world.readiness.require("store", "opening it");
        let gossip = world.readiness.want("gossip", "no neighbour");
        let (head, body) = get(world.addr, "/readyz").await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert_eq!(body, "gossip: waiting: no neighbour\nstore: waiting: opening it\n");
        assert!(get(world.addr, "/healthz").await.0.starts_with("HTTP/1.1 200 "));

        store.met();
        let (head, body) = get(world.addr, "/readyz").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "what is only wanted keeps nobody away: {head}");
        assert_eq!(body, "gossip: waiting: no neighbour\nstore: ok\n");
        gossip.met();
        store.missing("gone");
        let (head, body) = get(world.addr, "/readyz").await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert_eq!(body, "gossip: ok\nstore: waiting: gone\n");
    }

    #[tokio::test]
    async fn metrics_are_open_metrics_with_those_of_the_process() {
        let world = world().await;
        let (head, body) = get(world.addr, "/metrics").await;
        assert!(head.to_ascii_lowercase().contains(&format!("content-type: {OPEN_METRICS}")), "{head}");
        assert!(body.contains("\npings_total 1\n"), "{body}");
        assert!(body.ends_with("# EOF\n") && body.matches("# EOF").count() == 1, "{body}");
        let value = |name: &str| -> f64 {
            let line = body.lines().find(|line| line.starts_with(&format!("{name} "))).expect(name);
            line.split(' ').nth(1).and_then(|value| value.parse().ok()).expect(name)
        };
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_open_fds") > 3.0);
        assert!(value("process_max_fds") >= value("process_open_fds"));
        assert!(value("process_cpu_seconds_total") > 0.0);
    }

    #[tokio::test]
    async fn names_of_others_are_refused() {
        let world = world().await;
        let status = async |host: &str| {
            let answer = ask(world.addr, &format!("GET /metrics HTTP/1.1\r\n{host}\r\n")).await;
            answer.get(9..12).unwrap_or_default().to_owned()
        };
        let port = world.addr.port();
        for own in
            ["localhost", "LocalHost.", "127.0.0.1", "192.0.2.7", "[::1]", "ns.example.com", "NS.example.com."]
        {
            assert_eq!(status(&format!("Host: {own}\r\n")).await, "200", "{own}");
            assert_eq!(status(&format!("Host: {own}:{port}\r\n")).await, "200", "{own}");
        }
        for foreign in
            ["evil.example", "evil.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "x", ""]
        {
            assert_eq!(status(&format!("Host: {foreign}\r\n")).await, "421", "{foreign}");
        }
        let absolute =
            ask(world.addr, "GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert!(absolute.starts_with("HTTP/1.1 421 "), "{absolute}");
        assert!(ask(world.addr, "GET /healthz HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200 "));
        let order =
            ask(world.addr, "POST /orders HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n").await;
        assert!(order.starts_with("HTTP/1.1 421 "), "{order}");
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let world = world().await;
        assert!(get(world.addr, "/").await.0.starts_with("HTTP/1.1 404 "));
        let answer =
            ask(world.addr, "POST /readyz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(2 * MAX_BUFFER));
        assert!(!ask(world.addr, &long).await.starts_with("HTTP/1.1 200"));
    }

    struct Echo;

    #[async_trait::async_trait]
    impl Desk for Echo {
        fn path(&self) -> &'static str {
            "/echo"
        }

        fn max_body(&self) -> usize {
            10
        }

        fn knows(&self, address: IpAddr) -> bool {
            address == IpAddr::from([127, 0, 0, 1])
        }

        async fn answer(&self, body: Bytes) -> Answered {
            match &body[..] {
                b"no" => Answered::Refused("no".into()),
                b"can't" => Answered::Failed("can't".into()),
                _ => Answered::Done(String::from_utf8_lossy(&body).into_owned()),
            }
        }
    }

    #[tokio::test]
    async fn strangers_take_no_place_of_a_node_that_is_slow_to_ask() {
        let world = world().await;
        world.admin.take_orders(Echo);
        let mut node = TcpStream::connect(world.addr).await.unwrap();
        let mut strangers = Vec::new();
        for number in 0..MAX_CONNECTIONS * 2 {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            let last = u8::try_from(number % 100).unwrap();
            socket.bind((IpAddr::from([127, 0, 1, last + 1]), 0).into()).unwrap();
            strangers.push(socket.connect(world.addr).await.unwrap());
        }
        node.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        node.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let mut byte = [0];
        assert_eq!(strangers[0].read(&mut byte).await.unwrap(), 0, "the oldest of them has gone");
    }

    #[tokio::test]
    async fn a_desk_takes_what_is_posted_and_no_more_than_it_wants() {
        let world = world().await;
        let post = async |body: &str| {
            let length = body.len();
            let head = format!("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
            let answer = ask(world.addr, &format!("{head}{body}")).await;
            let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
            (head[9..12].to_owned(), body.to_owned())
        };
        let said = |status: &str, body: &str| (status.to_owned(), body.to_owned());
        assert_eq!(post("hello").await.0, "405", "before there is a desk");
        world.admin.take_orders(Echo);
        assert_eq!(post("hello").await, said("200", "hello"));
        assert_eq!(post("no").await, said("403", "no"));
        assert_eq!(post("can't").await, said("409", "can't"));
        assert_eq!(post("12345678901").await.0, "413");
        assert!(get(world.addr, "/echo").await.0.starts_with("HTTP/1.1 405 "));
        // A body that never ends is bounded like one that says how long it is.
        let chunked =
            "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n";
        assert!(ask(world.addr, chunked).await.starts_with("HTTP/1.1 413 "));
    }

    #[tokio::test]
    async fn whoever_has_not_asked_anything_whole_gives_way() {
        let world = world().await;
        world.admin.take_orders(Echo);
        for beginning in
            ["", "GET /heal", "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhell"]
        {
            let mut crowd = Vec::new();
            for _ in 0..PER_ADDRESS {
                let mut stream = TcpStream::connect(world.addr).await.unwrap();
                stream.write_all(beginning.as_bytes()).await.unwrap();
                crowd.push(stream);
            }
            for _ in 0..2 * PER_ADDRESS {
                assert!(get(world.addr, "/healthz").await.0.starts_with("HTTP/1.1 200 "), "after {beginning:?}");
            }
        }
    }

    #[tokio::test]
    async fn an_order_that_does_not_come_is_not_waited_for() {
        let world = world().await;
        world.admin.take_orders(Echo);
        let mut slow = TcpStream::connect(world.addr).await.unwrap();
        slow.write_all(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhell").await.unwrap();
        tokio::task::yield_now().await;
        tokio::time::pause();
        let mut answer = String::new();
        slow.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }

    #[tokio::test]
    async fn a_slow_head_ends_the_connection() {
        let world = world().await;
        let mut slow = TcpStream::connect(world.addr).await.unwrap();
        slow.write_all(b"GET /healthz HTT").await.unwrap();
        tokio::task::yield_now().await;
        tokio::time::pause();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(HEAD_TIMEOUT * 2, slow.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "still open after twice the time");
    }

    #[tokio::test]
    async fn shutdown_closes_the_address() {
        let world = world().await;
        world.shutdown.begin();
        assert_eq!(world.shutdown.finish(Duration::from_secs(5)).await, 0);
        assert!(TcpStream::connect(world.addr).await.is_err());
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let world = world().await;
        let again = Admin::serve(world.addr, &[], Readiness::default(), &world.shutdown).await;
        assert!(again.unwrap_err().to_string().contains(&world.addr.to_string()));
    }
}
