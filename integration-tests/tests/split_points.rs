//! A client's bytes may be cut anywhere: a whole conversation in each tier, in two pieces, cut at every position
//! (protocol reference §2, §15). The way in is played in dialects of every kind of it; what is said afterwards in MSNP11, which
//! has payloads. Pieces of one byte, and many commands in one piece, are scenarios in all dialects.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use common::msnp::challenge::md5_answer;
use integration_tests::accounts::{self, PASSWORD};
use integration_tests::client::{Client, open_chat};
use integration_tests::{Plan, World};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Between two pieces: long enough for the server to have read the first one.
const PAUSE: Duration = Duration::from_millis(1);
/// How long any answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the principals speak who sign in at once: every way to sign in, and every form of `SYN`.
const DIALECTS: [u8; 8] = [2, 4, 5, 7, 8, 10, 11, 12];
/// Principals.
const PEOPLE: usize = DIALECTS.len();

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_split_point_of_every_tier() {
    // Nobody changes so often by hand.
    let often = ["status", "chat", "sign_in"].map(|what| format!("rates.{what}_burst=10000"));
    let settings = often.into();
    let plan = Plan { notification: 1, settings, ..Plan::default() };
    let world = World::start(plan).await.unwrap();
    let stories = async {
        let names: Vec<String> = (0..PEOPLE).map(|number| format!("p{number}")).collect();
        let people = accounts::create(world.config(), &names, &[(0, 1), (1, 0)]).await?;
        let people: Vec<String> = people.iter().map(|passport| passport.as_str().to_owned()).collect();
        redirect(&world, &people[0]).await.context("dispatch")?;
        sign_in(&world, &people).await.context("signing in")?;
        signed_in(&world, &people[0]).await.context("signed in")?;
        admission(&world, &people).await.context("joining a conversation")?;
        conversation(&world, &people[0], &people[1]).await.context("a conversation")
    };
    if let Err(error) = stories.await {
        panic!("{error:#}\n{}", world.logs());
    }
    world.shut_down().await.unwrap();
}

/// From `VER` to the redirect.
async fn redirect(world: &World, who: &str) -> Result<()> {
    let dispatch = world.process("dispatch-1")?.address("clients")?;
    for dialect in DIALECTS {
        let script = greeting(dialect, who);
        let whole = exchange(dispatch, script.as_bytes(), 0).await?;
        ensure!(
            String::from_utf8_lossy(&whole).contains("\r\nXFR 3 NS "),
            "{:?}",
            String::from_utf8_lossy(&whole)
        );
        for at in 1..script.len() {
            same(&whole, &exchange(dispatch, script.as_bytes(), at).await?, at)
                .with_context(|| format!("MSNP{dialect}"))?;
        }
    }
    Ok(())
}

/// From `VER` to the lists, and out again: each principal in a dialect of its own.
async fn sign_in(world: &World, people: &[String]) -> Result<()> {
    let server = world.process("notification-1")?.address("clients")?;
    let mut playing = JoinSet::new();
    for (dialect, who) in DIALECTS.into_iter().zip(people.iter().cloned()) {
        let ticket = if dialect > 7 { Some(ticket(world, &who).await?) } else { None };
        playing.spawn(async move {
            let way_in = WayIn { server, dialect, who, ticket };
            way_in.at_every_position().await.with_context(|| format!("MSNP{dialect}"))
        });
    }
    while let Some(played) = playing.join_next().await {
        played??;
    }
    Ok(())
}

/// How a principal gets in.
struct WayIn {
    server: SocketAddr,
    dialect: u8,
    who: String,
    /// None where an MD5 challenge must be answered.
    ticket: Option<String>,
}

impl WayIn {
    async fn at_every_position(&self) -> Result<()> {
        let (whole, length) = self.go(0).await?;
        let png = if self.dialect < 9 { "QNG" } else { "QNG 50" };
        ensure!(["USR 4", "SYN 5", png].iter().all(|line| whole.iter().any(|heard| heard == line)), "{whole:?}");
        for at in 1..length {
            let (got, _) = self.go(at).await?;
            ensure!(got == whole, "cut at {at}: {got:?} instead of {whole:?}");
        }
        Ok(())
    }

    /// Goes in and out again, with a cut after that many bytes; what was heard, and how many bytes were sent.
    async fn go(&self, at: usize) -> Result<(Vec<String>, usize)> {
        let greeting = greeting(self.dialect, &self.who);
        let version = if self.dialect < 10 { "0" } else { "0 0" };
        let errands = format!("SYN 5 {version}\r\nPNG\r\nOUT\r\n");
        let mut stream = connect(self.server).await?;
        let (mut answer, sent) = (Vec::new(), greeting.len());
        let (script, at) = if let Some(ticket) = &self.ticket {
            (format!("{greeting}USR 4 TWN S {ticket}\r\n{errands}"), at)
        } else {
            // The answer to the challenge can't be sent with the rest: the cut lies before it or behind.
            split(&mut stream, greeting.as_bytes(), if at < sent { at } else { 0 }).await?;
            let asked = read_until(&mut stream, " MD5 S ", "\r\n").await?;
            let (before, salt) = asked.rsplit_once(' ').context("a challenge")?;
            answer.extend_from_slice(format!("{before}\r\n").as_bytes());
            let proof = md5_answer(salt.trim_end(), PASSWORD);
            (format!("USR 4 MD5 S {proof}\r\n{errands}"), at.saturating_sub(sent))
        };
        split(&mut stream, script.as_bytes(), at).await?;
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.context("no end")??;
        let sent = if self.ticket.is_some() { script.len() } else { sent + script.len() };
        Ok((outline(&answer), sent))
    }
}

/// Requests with and without payloads, over and over on one connection.
async fn signed_in(world: &World, who: &str) -> Result<()> {
    let server = world.process("notification-1")?.address("clients")?;
    let mut stream = connect(server).await?;
    let (greeting, ticket) = (greeting(11, who), ticket(world, who).await?);
    let start = format!("{greeting}USR 4 TWN S {ticket}\r\nSYN 5 0 0\r\nCHG 6 NLN 0\r\nPNG\r\n");
    stream.write_all(start.as_bytes()).await?;
    read_until(&mut stream, "", "QNG 50\r\n").await?;
    let message = "<Data><PSM>\r\nOUT\r\nPNG\r\n</PSM><CurrentMedia></CurrentMedia></Data>";
    let length = message.len();
    let script = format!(
        "PNG\r\nUUX 10 {length}\r\n{message}LST 11 FL\r\nUUX 12 {length}\r\n{message}UUX 13 {length}\r\n{message}PNG\r\n\
         XFR 14 SB\n"
    );
    // The line feed alone is forgiven, and the cookie differs each time.
    let expected = "QNG 50\r\nUUX 10 0\r\n502 11\r\nUUX 12 0\r\nUUX 13 0\r\nQNG 50\r\nXFR 14 SB ";
    for at in 1..script.len() {
        split(&mut stream, script.as_bytes(), at).await?;
        let mut got = vec![0; expected.len()];
        timeout(PATIENCE, stream.read_exact(&mut got)).await.with_context(|| format!("cut at {at}"))??;
        same(expected.as_bytes(), &got, at)?;
        read_until(&mut stream, "", "\r\n").await?;
    }
    Ok(())
}

/// `USR` at a switchboard, each time with a new cookie, and out again.
async fn admission(world: &World, people: &[String]) -> Result<()> {
    let server = world.process("notification-1")?.address("clients")?;
    let mut playing = JoinSet::new();
    for (turn, who) in people.iter().cloned().enumerate() {
        playing.spawn(async move {
            let mut client = Client::sign_in(server, &who, PASSWORD).await?;
            for at in (1..).skip(turn).step_by(PEOPLE) {
                let xfr = client.request("XFR", "SB").await?;
                let script = format!("USR 1 {who} {}\r\nCAL 2 {who}\r\nOUT\r\n", xfr.token(5));
                if at >= script.len() {
                    return Ok(());
                }
                let got = exchange(xfr.token(3).parse()?, script.as_bytes(), at).await?;
                let name = who.split('@').next().unwrap_or_default();
                same(format!("USR 1 OK {who} {name}\r\n215 2\r\n").as_bytes(), &got, at)?;
            }
            Ok::<(), anyhow::Error>(())
        });
    }
    while let Some(played) = playing.join_next().await {
        played??;
    }
    Ok(())
}

/// Messages of each type, binary ones too, over and over in one conversation.
async fn conversation(world: &World, alice: &str, bob: &str) -> Result<()> {
    let server = world.process("notification-1")?.address("clients")?;
    let mut at_alice = Client::sign_in(server, alice, PASSWORD).await?;
    let mut at_bob = Client::sign_in(server, bob, PASSWORD).await?;
    let (mut hers, mut his) = open_chat((&mut at_alice, alice), (&mut at_bob, bob)).await?;
    let text = b"Content-Type: text/plain\r\n\r\nMSG 9 A 3\r\nOUT\r\n";
    let binary = b"Content-Type: application/x-msnmsgrp2p\r\n\r\n\0\0\x01\xff\r\n\0\nOUT\r\n\0";
    let mut script = Vec::new();
    for (trid, ack, payload) in
        [(20, "A", &text[..]), (21, "U", text), (22, "D", binary), (23, "N", text), (24, "A", b"x")]
    {
        script.extend_from_slice(format!("MSG {trid} {ack} {}\r\n", payload.len()).as_bytes());
        script.extend_from_slice(payload);
    }
    for at in 1..script.len() {
        hers.raw(&script[..at]).await?;
        sleep(PAUSE).await;
        hers.raw(&script[at..]).await?;
        for payload in [&text[..], text, binary, text, b"x"] {
            let heard = timeout(PATIENCE, his.receive()).await.with_context(|| format!("cut at {at}"))??;
            ensure!(heard.verb() == "MSG" && heard.token(1) == alice, "cut at {at}: {:?}", heard.tokens);
            same(payload, &heard.payload, at)?;
        }
        let mut told = Vec::new();
        for _ in 0..3 {
            told.push(
                timeout(PATIENCE, hers.receive()).await.with_context(|| format!("cut at {at}"))??.tokens.join(" "),
            );
        }
        // Acknowledgements come when each is due, in whatever order.
        told.sort_unstable();
        ensure!(told == ["ACK 20", "ACK 22", "ACK 24"], "cut at {at}: {told:?}");
    }
    Ok(())
}

/// From `VER` to `USR … I`, in one as clients may send it.
fn greeting(dialect: u8, who: &str) -> String {
    if dialect < 8 {
        return format!("VER 1 MSNP{dialect} CVR0\r\nINF 2\r\nUSR 3 MD5 I {who}\r\n");
    }
    format!(
        "VER 1 MSNP{dialect} CVR0\r\nCVR 2 0x0409 winnt 5.1 i386 MSNMSGR 7.0.0777 MSMSGS {who}\r\nUSR 3 TWN I {who}\r\n"
    )
}

/// A new ticket, by Passport 1.4.
async fn ticket(world: &World, who: &str) -> Result<String> {
    let http = world.process("dispatch-1")?.address("http")?;
    let request = format!(
        "GET /login2.srf HTTP/1.0\r\nAuthorization: Passport1.4 OrgVerb=GET,OrgURL=http%3A%2F%2Fmessenger%2Emsn%2Ecom,\
         sign-in={who},pwd={PASSWORD},lc=1033,id=507\r\n\r\n"
    );
    let answer = exchange(http, request.as_bytes(), 0).await?;
    let answer = String::from_utf8(answer)?;
    let ticket = answer.split("from-PP='").nth(1).and_then(|rest| rest.split('\'').next());
    Ok(ticket.with_context(|| format!("no ticket in {answer}"))?.to_owned())
}

async fn connect(server: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends bytes in two pieces; in one if the first were empty.
async fn split(stream: &mut TcpStream, bytes: &[u8], at: usize) -> Result<()> {
    if at > 0 {
        stream.write_all(&bytes[..at]).await?;
        sleep(PAUSE).await;
    }
    Ok(stream.write_all(&bytes[at..]).await?)
}

/// A connection of its own: what the server says until it closes.
async fn exchange(server: SocketAddr, bytes: &[u8], at: usize) -> Result<Vec<u8>> {
    let mut stream = connect(server).await?;
    split(&mut stream, bytes, at).await?;
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.with_context(|| format!("cut at {at}"))??;
    Ok(answer)
}

/// Reads until what came has that in it, and ends so.
async fn read_until(stream: &mut TcpStream, has: &str, end: &str) -> Result<String> {
    let mut got = String::new();
    while !(got.contains(has) && got.ends_with(end)) {
        let byte = timeout(PATIENCE, stream.read_u8()).await;
        got.push(char::from(byte.with_context(|| got.clone())??));
    }
    Ok(got)
}

/// The lines without what differs from one sign-in to the next: names of headers, and of lines with times or lengths in
/// them the verb and the transaction id.
fn outline(answer: &[u8]) -> Vec<String> {
    let answer = String::from_utf8_lossy(answer);
    let short = |line: &str| match line.split_once(": ") {
        Some((header, _)) => header.to_owned(),
        None if ["USR", "SYN", "MSG"].iter().any(|verb| line.starts_with(verb)) => {
            line.split(' ').take(2).collect::<Vec<_>>().join(" ")
        }
        None => line.to_owned(),
    };
    answer.split("\r\n").map(short).collect()
}

fn same(expected: &[u8], got: &[u8], at: usize) -> Result<()> {
    let (expected, got) = (String::from_utf8_lossy(expected), String::from_utf8_lossy(got));
    ensure!(expected == got, "cut at {at}: {got:?} instead of {expected:?}");
    Ok(())
}
