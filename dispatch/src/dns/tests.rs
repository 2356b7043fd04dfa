//! The authority over real sockets.

use std::time::Duration;

use common::cluster::View;
use common::config::DnsConfig;
use hickory_server::proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_server::proto::rr::{DNSClass, Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;
use crate::testing::{dispatcher, notifier};

struct World {
    addr: SocketAddr,
    view: watch::Sender<Arc<View>>,
    shutdown: Shutdown,
}

const OWN: &str = "192.0.2.99:1863";

async fn world() -> World {
    let (view, watch) = watch::channel(Arc::default());
    let config = DnsConfig {
        domain: "im.example.com".into(),
        names: vec!["gateway.a.im.example.com".into()],
        nameservers: vec!["ns1.im.example.com".into(), "ns.elsewhere.example".into()],
        hostmaster: "hostmaster.example.com".into(),
        ..DnsConfig::default()
    };
    let zone = Zone::new(&config, OWN.parse().unwrap(), watch, 7).unwrap();
    let sockets = Sockets::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (addr, shutdown) = (sockets.addr(), Shutdown::default());
    shutdown.spawn(sockets.serve(zone, Metrics::default(), shutdown.clone()));
    World { addr, view, shutdown }
}

fn question(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    let name = Name::from_ascii(format!("{}.", name.trim_end_matches('.'))).unwrap();
    message.add_query(Query::query(name, kind));
    message
}

/// Asks by UDP; nothing if no answer comes.
async fn udp(addr: SocketAddr, query: &[u8]) -> Option<Message> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(query, addr).await.unwrap();
    let mut answer = [0; 4096];
    let length = timeout(Duration::from_secs(2), socket.recv(&mut answer)).await.ok()?.unwrap();
    Some(Message::from_vec(&answer[..length]).unwrap())
}

async fn tcp(stream: &mut TcpStream, query: &Message) -> Message {
    let query = query.to_vec().unwrap();
    stream.write_u16(query.len() as u16).await.unwrap();
    stream.write_all(&query).await.unwrap();
    let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut answer).await.unwrap();
    Message::from_vec(&answer).unwrap()
}

impl World {
    /// Asks by UDP and by TCP and expects the same but for rotation. `answers/authorities/additionals`, and the code.
    async fn ask(&self, name: &str, kind: RecordType) -> (ResponseCode, Vec<String>, Vec<String>) {
        let query = question(name, kind);
        let by_udp = udp(self.addr, &query.to_vec().unwrap()).await.unwrap();
        let by_tcp = tcp(&mut TcpStream::connect(self.addr).await.unwrap(), &query).await;
        let (code, metadata) = (by_udp.metadata.response_code, by_udp.metadata);
        let within = matches!(code, ResponseCode::NoError | ResponseCode::NXDomain);
        assert_eq!((query.metadata.id, &query.queries), (metadata.id, &by_udp.queries));
        assert!(!metadata.recursion_available && (metadata.authoritative || !within), "{name} {kind} {code}");
        let shown = |message: &Message| {
            let (mut answers, mut authorities) = (show(&message.answers), show(&message.authorities));
            answers.sort();
            authorities.sort();
            (message.metadata.response_code, answers, authorities)
        };
        assert_eq!(shown(&by_udp), shown(&by_tcp));
        shown(&by_udp)
    }
}

fn show(records: &[hickory_server::proto::rr::Record]) -> Vec<String> {
    records
        .iter()
        .map(|record| format!("{} {} {} {}", record.name, record.ttl, record.record_type(), record.data))
        .collect()
}

fn first_address(message: &Message) -> String {
    match &message.answers[0].data {
        RData::A(address) => address.to_string(),
        other => panic!("{other}"),
    }
}

const SOA: &str = "im.example.com. 10 SOA ns1.im.example.com. hostmaster.example.com. 7 3600 600 86400 10";

#[tokio::test]
async fn answers_carry_the_letters_of_the_question() {
    let world = world().await;
    for name in ["iM.eXAmple.coM", "IM.EXAMPLE.COM", "gateWay.a.im.EXAMPLE.com"] {
        let (_, answers, _) = world.ask(name, RecordType::A).await;
        assert_eq!(answers, [format!("{name}. 10 A 192.0.2.99")]);
    }
    for kind in [RecordType::SOA, RecordType::NS] {
        let (_, answers, _) = world.ask("Im.Example.cOm", kind).await;
        assert!(
            !answers.is_empty() && answers.iter().all(|answer| answer.starts_with("Im.Example.cOm. ")),
            "{answers:?}"
        );
    }
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&question("Im.ExAmple.COM", RecordType::A).to_vec().unwrap(), world.addr).await.unwrap();
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).await.unwrap();
    let letters = b"\x02Im\x07ExAmple\x03COM";
    let question = &answer[12..12 + letters.len()];
    assert_eq!(question, letters);
    // Whatever stands for the name in the answer points at the question, or has the same letters.
    let owner = &answer[12 + letters.len() + 5..length];
    assert!(owner.starts_with(&[0xc0, 12]) || owner.starts_with(letters), "{owner:?}");
}

#[tokio::test]
async fn answers_with_the_live_dispatch_nodes() {
    let world = world().await;
    let a = |name: &str, last: u8| format!("{name}. 10 A 192.0.2.{last}");
    let name = "im.example.com";
    let alone = world.ask(name, RecordType::A).await;
    assert_eq!(alone, (ResponseCode::NoError, vec![a(name, 99)], vec![]), "at least itself");

    let mut draining = dispatcher("d4", "192.0.2.4:1863");
    draining.load.draining = true;
    let mut unready = dispatcher("d5", "192.0.2.5:1863");
    unready.ready = false;
    let nodes = [
        dispatcher("d1", "192.0.2.1:1863"),
        dispatcher("d2", "192.0.2.2:1863"),
        dispatcher("d3", "192.0.2.2:1864"),
        draining,
        unready,
        dispatcher("d6", "[2001:db8::1]:1863"),
        notifier("ns", 0, 10),
    ];
    world.view.send_replace(Arc::new(View::new(nodes)));
    for name in ["im.example.com", "gateway.a.im.example.com", "ns1.im.example.com", "IM.Example.COM"] {
        for kind in [RecordType::A, RecordType::ANY] {
            let (code, answers, authorities) = world.ask(name, kind).await;
            let expected = [a(name, 1), a(name, 2)];
            assert_eq!(
                (code, &answers[..], authorities),
                (ResponseCode::NoError, &expected[..], vec![]),
                "{name}"
            );
        }
    }
    let query = question("im.example.com", RecordType::A).to_vec().unwrap();
    let mut firsts = Vec::new();
    for _ in 0..4 {
        firsts.push(first_address(&udp(world.addr, &query).await.unwrap()));
    }
    assert_eq!((&firsts[..2], firsts[0] != firsts[1]), (&firsts[2..], true), "rotated: {firsts:?}");
}

#[tokio::test]
async fn soa_and_ns_are_right() {
    let world = world().await;
    let (code, answers, authorities) = world.ask("im.example.com", RecordType::SOA).await;
    let servers = ["im.example.com. 10 NS ns.elsewhere.example.", "im.example.com. 10 NS ns1.im.example.com."];
    assert_eq!((code, &answers[..]), (ResponseCode::NoError, &[SOA.to_owned()][..]));
    assert_eq!(authorities, servers);
    let query = question("im.example.com", RecordType::NS);
    let answer = udp(world.addr, &query.to_vec().unwrap()).await.unwrap();
    let mut answers = show(&answer.answers);
    answers.sort();
    assert_eq!(answers, servers);
    assert_eq!(show(&answer.additionals), ["ns1.im.example.com. 10 A 192.0.2.99"]);
}

#[tokio::test]
async fn what_is_not_there_is_said_with_the_soa() {
    let world = world().await;
    let soa = vec![SOA.to_owned()];
    let none = |code| (code, Vec::<String>::new(), soa.clone());
    for (name, kind) in [
        ("im.example.com", RecordType::AAAA),
        ("im.example.com", RecordType::MX),
        ("gateway.a.im.example.com", RecordType::SOA),
        ("ns1.im.example.com", RecordType::NS),
        // Nothing but a name below it.
        ("a.im.example.com", RecordType::A),
    ] {
        assert_eq!(world.ask(name, kind).await, none(ResponseCode::NoError), "{name} {kind}");
    }
    for name in ["www.im.example.com", "x.gateway.a.im.example.com"] {
        assert_eq!(world.ask(name, RecordType::A).await, none(ResponseCode::NXDomain), "{name}");
    }
}

#[tokio::test]
async fn everything_else_is_refused() {
    let world = world().await;
    for name in ["example.com", "im.example.net", "xim.example.com", "com", "."] {
        let (code, answers, authorities) = world.ask(name, RecordType::A).await;
        assert_eq!((code, answers, authorities), (ResponseCode::Refused, vec![], vec![]), "{name}");
    }
    let mut chaos = question("im.example.com", RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    let answer = udp(world.addr, &chaos.to_vec().unwrap()).await.unwrap();
    assert_eq!((answer.metadata.response_code, answer.answers.len()), (ResponseCode::Refused, 0));
    for (op_code, code) in [(OpCode::Update, ResponseCode::FormErr), (OpCode::Notify, ResponseCode::NotImp)] {
        let mut message = question("im.example.com", RecordType::A);
        message.metadata.op_code = op_code;
        assert_eq!(udp(world.addr, &message.to_vec().unwrap()).await.unwrap().metadata.response_code, code);
    }
    for kind in [RecordType::AXFR, RecordType::IXFR] {
        assert_eq!(world.ask("im.example.com", kind).await, (ResponseCode::Refused, vec![], vec![]), "{kind}");
    }
}

#[tokio::test]
async fn too_large_an_answer_is_cut_and_comes_whole_by_tcp_or_edns() {
    let world = world().await;
    let nodes = (1..=60).map(|at| dispatcher(&format!("d{at}"), &format!("192.0.2.{at}:1863")));
    world.view.send_replace(Arc::new(View::new(nodes)));
    let mut query = question("im.example.com", RecordType::A);
    let bytes = query.to_vec().unwrap();
    let cut = udp(world.addr, &bytes).await.unwrap();
    assert!(cut.metadata.truncation && cut.answers.len() < 60 && cut.edns.is_none());
    let mut stream = TcpStream::connect(world.addr).await.unwrap();
    for _ in 0..2 {
        let whole = tcp(&mut stream, &query).await;
        assert!(!whole.metadata.truncation && whole.answers.len() == 60);
    }
    let mut edns = Edns::new();
    edns.set_max_payload(4096);
    query.set_edns(edns);
    let whole = udp(world.addr, &query.to_vec().unwrap()).await.unwrap();
    assert!(!whole.metadata.truncation && whole.answers.len() == 60 && whole.edns.is_some());
}

#[tokio::test]
async fn nonsense_harms_nobody() {
    let world = world().await;
    let query = question("im.example.com", RecordType::A);
    let mut answer = query.clone();
    answer.metadata.message_type = MessageType::Response;
    let bytes = query.to_vec().unwrap();
    let many = [&bytes[..4], &[0xff; 8], &bytes[12..]].concat();
    for nonsense in [&b""[..], b"\0", &bytes[..11], &answer.to_vec().unwrap(), &many, &[0xff; 600], &[0; 12]] {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(nonsense, world.addr).await.unwrap();
        let mut stream = TcpStream::connect(world.addr).await.unwrap();
        stream.write_u16(nonsense.len() as u16).await.unwrap();
        stream.write_all(nonsense).await.unwrap();
    }
    let mut endless = TcpStream::connect(world.addr).await.unwrap();
    endless.write_u16(u16::MAX).await.unwrap();
    assert!(endless.read_u8().await.is_err(), "a query of 64 KiB is not waited for");
    assert_eq!(udp(world.addr, &bytes).await.unwrap().answers.len(), 1);
    world.shutdown.begin();
    assert_eq!(world.shutdown.finish(Duration::from_secs(5)).await, 0);
}

#[test]
fn a_bad_name_in_the_configuration_is_named() {
    let zone = |config: DnsConfig| {
        let (_, watch) = watch::channel(Arc::default());
        Zone::new(&config, OWN.parse().unwrap(), watch, 1)
            .err()
            .map(|error| format!("{error:#}"))
            .unwrap_or_default()
    };
    assert_eq!(zone(DnsConfig::default()), "");
    let default = DnsConfig::default;
    assert!(zone(DnsConfig { domain: "a..b".into(), ..default() }).starts_with("dispatch.dns.domain: \"a..b\""));
    assert!(zone(DnsConfig { domain: String::new(), ..default() }).starts_with("dispatch.dns.domain"));
    let outside = DnsConfig { names: vec!["login.live.com".into()], ..default() };
    assert!(zone(outside).starts_with("dispatch.dns.names: login.live.com is not within"));
    assert!(zone(DnsConfig { nameservers: vec![], ..default() }).starts_with("dispatch.dns.nameservers"));
}
