//! Scenarios played against a server that does what a test tells it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::accounts::Accounts;
use super::deployment::Deployment;
use super::failure::{Failure, FailureKind};
use super::parse::parse;
use super::play::Player;
use super::suite::prelude;

/// One connection of the server: for each of its lines, what must come first and what it then says. It closes at
/// the end.
type Talk = Vec<(String, String)>;

fn talk(lines: &[(&str, &str)]) -> Talk {
    let crlf = |text: &str| text.replace('\n', "\r\n");
    lines.iter().map(|(got, said)| (crlf(got), crlf(said))).collect()
}

async fn serve(listener: TcpListener, talks: Vec<Talk>) {
    for talk in talks {
        let (mut stream, _) = listener.accept().await.unwrap();
        for (expected, said) in talk {
            let mut got = vec![0; expected.len()];
            if stream.read_exact(&mut got).await.is_err() {
                return;
            }
            assert_eq!(String::from_utf8_lossy(&got), expected);
            stream.write_all(said.as_bytes()).await.unwrap();
        }
    }
}

fn deployment(address: SocketAddr) -> Deployment {
    Deployment {
        dispatch: address,
        http: address,
        notification: vec![address],
        switchboard: vec![address],
        accounts: None,
        orders: None,
        timeout: Duration::from_secs(5),
    }
}

/// Plays a scenario whose every connection goes to a server of these talks, one after another.
async fn play_in(text: &str, talks: Vec<Talk>, dialect: Option<&str>) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut deployment = deployment(listener.local_addr().unwrap());
    deployment.timeout = Duration::from_millis(400);
    let address = deployment.dispatch.to_string();
    let talks = talks
        .into_iter()
        .map(|talk| talk.into_iter().map(|(got, said)| (got, said.replace("ADDR", &address))).collect::<Talk>());
    let server = tokio::spawn(serve(listener, talks.collect()));
    let script = parse(Path::new("test.txt"), text, &prelude().macros).unwrap();
    let player = Player::new(&script, prelude(), &deployment, "t", dialect);
    let result = player.with_accounts(Accounts::invented(&["alice", "bob"])).play().await;
    if result.is_ok() {
        // The server has its own expectations.
        server.await.unwrap();
    }
    result
}

async fn play(text: &str, talks: &[&[(&str, &str)]]) -> Result<(), Failure> {
    play_in(text, talks.iter().map(|lines| talk(lines)).collect(), None).await
}

#[track_caller]
fn assert_shows(failure: &Failure, parts: &[&str]) {
    let shown = failure.to_string();
    for part in parts {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
}

#[tokio::test]
async fn the_form_of_a_transcript() {
    let text = "
        connect A dispatch
        A> VER 1 MSNP7 CVR0
        A< VER 1 MSNP7 CVR0
        A> USR 3 MD5 I {alice}
        A< XFR 3 NS {ns=addr} 0 {dispatch}
        A closed
        connect A {ns}                      (where dispatch sent us)
        A> USR 5 MD5 I {alice}
        A< USR 5 MD5 S {salt=token}
        A> USR 6 MD5 S {md5(salt, alice.password)}
        A< USR 6 OK {alice} {any} 1
        same {salt} 12.3
        differ {ns} {alice}
        A> CHG {salt} NLN
    ";
    let proof = common::msnp::challenge::md5_answer("12.3", "wonderland");
    let usr = format!("USR 6 MD5 S {proof}\n");
    let dispatch: &[(&str, &str)] = &[
        ("VER 1 MSNP7 CVR0\n", "VER 1 MSNP7 CVR0\n"),
        ("USR 3 MD5 I alice-t@example.com\n", "XFR 3 NS ADDR 0 ADDR\n"),
    ];
    let notification: &[(&str, &str)] = &[
        ("USR 5 MD5 I alice-t@example.com\n", "USR 5 MD5 S 12.3\n"),
        (&usr, "USR 6 OK alice-t@example.com Alice 1\n"),
        ("CHG 12.3 NLN\n", ""),
    ];
    play(text, &[dispatch, notification]).await.unwrap();
}

#[tokio::test]
async fn a_mismatch_says_what_and_where() {
    let text = "connect A dispatch\nA> CHG 1 NLN\nA< CHG {n=number} NLN\nA> XFR 2 SB\n\nA< XFR 2 SB {bob} {n}\n";
    let talk: &[(&str, &str)] = &[("CHG 1 NLN\n", "CHG 1 NLN\n"), ("XFR 2 SB\n", "913 2\n")];
    let failure = play(text, &[talk]).await.unwrap_err();
    assert_eq!((failure.kind, failure.place.1), (FailureKind::Failed, 6));
    assert_shows(
        &failure,
        &[
            "test.txt:6",
            "expected  XFR 2 SB {bob} {n}",
            "that  XFR 2 SB bob-t@example.com 1",
            "got  913 2",
            "bound: n=1",
            "A > CHG 1 NLN",
            "A < 913 2",
        ],
    );
}

#[tokio::test]
async fn payloads_are_compared_byte_for_byte() {
    let text = "
        connect A dispatch
        A> MSG 4 A {length}
        | Content-Type: text/plain
        |
        |~ hello
        A< MSG bob B {length}               (the one just sent)
        A< MSG bob B 5
        |~ a{x=any}c
        A< MSG bob B {length}
        | x
        |*
        |~ {x}
        A> PNG
    ";
    let message = "Content-Type: text/plain\n\nhello";
    let sent = format!("MSG 4 A 33\n{message}");
    let said =
        format!("MSG bob B 33\n{message}MSG bob B 5\nabbbcMSG bob B 10\nx\ny\nz\n   bbb").replace("   ", "");
    let said = said.replace("MSG bob B 10", "MSG bob B 12");
    let first: &[(&str, &str)] = &[(&sent, &said), ("PNG\n", "")];
    play(text, &[first]).await.unwrap();
    let wrong = said.replacen("hello", "hellO", 1);
    let failure = play(text, &[&[(&sent, &wrong)]]).await.unwrap_err();
    assert_shows(&failure, &["the payloads don't", "| hello", "| hellO", "| Content-Type: text/plain\\r\\n"]);
}

#[tokio::test]
async fn nothing_in_time_and_the_end_of_a_connection() {
    let failure = play("connect A dispatch\nA> X\nA< Y", &[&[("X\n", "part"), ("never", "")]]).await.unwrap_err();
    assert_shows(&failure, &["test.txt:3", "only \"part\" in time"]);
    let failure = play("connect A dispatch\nA> X\nA< Y", &[&[("X\n", "")]]).await.unwrap_err();
    assert_shows(&failure, &["got  the server closed the connection"]);
    let failure = play("connect A dispatch\nA> X\nA closed", &[&[("X\n", "OUT\n")]]).await.unwrap_err();
    assert_shows(&failure, &["expected  the server to close the connection", "got  OUT"]);
    let failure = play("connect A dispatch\nA> X\nA closed", &[&[("X\n", ""), ("never", "")]]).await.unwrap_err();
    assert_shows(&failure, &["nothing in time"]);
}

#[tokio::test]
async fn any_order_takes_each_line_once() {
    let text = "
        connect A dispatch
        A> SYN
        any order
          A< ILN 1 {first=any}
          A< ILN 1 bob
          A< PRP
        end
        same {first} alice
    ";
    play(text, &[&[("SYN\n", "PRP\nILN 1 alice\nILN 1 bob\n")]]).await.unwrap();
    let failure = play(text, &[&[("SYN\n", "PRP\nPRP\nILN 1 alice\n")]]).await.unwrap_err();
    assert_shows(&failure, &["none of the lines expected", "ILN 1 bob", "got  PRP"]);
}

#[tokio::test]
async fn quiet_and_ignored_verbs() {
    let text = "connect A notification\nA ignore UBX CHL\nA> CHG\nA< CHG\nA quiet\nA heed CHL\nA quiet";
    let said = "CHL 0 1\nCHG\nUBX a 1\nx";
    play(text, &[&[("CHG\n", said), ("PNG\n", "CHL 0 2\nQNG 50\n"), ("PNG\n", "QNG\n")]]).await.unwrap();
    let late: &[(&str, &str)] = &[("CHG\n", said), ("PNG\n", "QNG\nCHL 0 1\n"), ("PNG\n", "QNG\n")];
    let failure = play(text, &[late]).await.unwrap_err();
    assert_shows(&failure, &["test.txt:7", "got  CHL 0 1", "A ~ UBX a 1  + x"]);
    let text = "connect S switchboard\nS> ANS 1 {alice} c 5\nS quiet";
    let talk: &[(&str, &str)] =
        &[("ANS 1 alice-t@example.com c 5\n", ""), ("CAL 4294967295 alice-t@example.com\n", "215 4294967295\n")];
    play(text, &[talk]).await.unwrap();
}

#[tokio::test]
async fn bytes_pieces_and_bursts() {
    let text = "
        connect A notification
        A split 1
        A>> \"A\\0\" {repeat(x, 3)} \"\\r\\n\"
        A split off
        A hold
        times 3
          A> {turn}
        end
        A flush
        A< ok
        A half-close
        A closed
    ";
    play(text, &[&[("A\0xxx\n1\n2\n3\n", "ok\n")]]).await.unwrap();
}

fn md5_sign_in(scheme: &str, profile: &str) -> Vec<Talk> {
    let who = "alice-t@example.com";
    let proof = common::msnp::challenge::md5_answer("1.2", "wonderland");
    let dispatch = [
        ("VER 1 MSNP7 CVR0\n".to_owned(), "VER 1 MSNP7 CVR0\n".to_owned()),
        ("INF 2\n".to_owned(), format!("INF 2 {scheme}\n")),
        (format!("USR 3 MD5 I {who}\n"), "XFR 3 NS ADDR 0 ADDR\n".to_owned()),
    ];
    let notification = [
        ("VER 4 MSNP7 CVR0\n".to_owned(), "VER 4 MSNP7 CVR0\n".to_owned()),
        ("INF 5\n".to_owned(), "INF 5 MD5\n".to_owned()),
        (format!("USR 6 MD5 I {who}\n"), "USR 6 MD5 S 1.2\n".to_owned()),
        (
            format!("USR 7 MD5 S {proof}\n"),
            format!(
                "USR 7 OK {who} Alice 1\nMSG Hotmail Hotmail {}\n{profile}",
                profile.replace('\n', "\r\n").len()
            ),
        ),
        ("SYN 8 0\n".to_owned(), "SYN 8 17\nGTC 8 17 A\nCHL 0 1\n".to_owned()),
        ("PNG\n".to_owned(), "LST 8 RL 17 0 0\nQNG\n".to_owned()),
        ("CHG 9 AWY\n".to_owned(), "CHG 9 AWY\n".to_owned()),
        ("BLP 10 BL\n".to_owned(), "BLP 10 18 BL\n".to_owned()),
    ];
    let crlf = |(got, said): (String, String)| (got.replace('\n', "\r\n"), said.replace('\n', "\r\n"));
    [dispatch.to_vec(), notification.to_vec()].map(|talk| talk.into_iter().map(crlf).collect()).to_vec()
}

const PROFILE: &str = "MIME-Version: 1.0\nContent-Type: text/x-msmsgsprofile; charset=UTF-8\nLoginTime: 1\n\n";

#[tokio::test]
async fn sign_in_is_written_in_the_language() {
    let text = "sign-in A alice MSNP7 away\nA> BLP 10 BL\nA< BLP 10 {version+1} BL";
    play_in(text, md5_sign_in("MD5", PROFILE), None).await.unwrap();
    let failure = play_in(text, md5_sign_in("CTP", PROFILE), None).await.unwrap_err();
    assert_shows(&failure, &["prelude.txt:", "in redirect, at ", "in sign-in, at test.txt:1", "got  INF 2 CTP"]);
}

#[tokio::test]
async fn lines_for_one_dialect() {
    let text = "
        for dialect in MSNP7 MSNP8
        connect A dispatch
        [MSNP7] A> INF 1
        [MSNP8] A> CVR 1
        if {dialect} is MSNP7 MSNP6
          A> old
        else
          A> new {dialect}
        end
        A< ok
    ";
    let old = vec![talk(&[("INF 1\nold\n", "ok\n")])];
    play_in(text, old, Some("MSNP7")).await.unwrap();
    let new = vec![talk(&[("CVR 1\nnew MSNP8\n", "ok\n")])];
    play_in(text, new, Some("MSNP8")).await.unwrap();
}

#[tokio::test]
async fn lines_for_a_range_of_dialects() {
    let text = "
        for dialect in MSNP7..
        connect A dispatch
        [..MSNP7] A> INF 1
        [MSNP8..MSNP9] A> CVR 1 old
        [MSNP10..] A> CVR 1 new
        if {dialect} is ..MSNP7 MSNP11
          A> either
        end
        A< ok
    ";
    for (dialect, sent) in
        [("MSNP7", "INF 1\neither\n"), ("MSNP9", "CVR 1 old\n"), ("MSNP11", "CVR 1 new\neither\n")]
    {
        play_in(text, vec![talk(&[(sent, "ok\n")])], Some(dialect)).await.unwrap();
    }
}

#[tokio::test]
async fn macros_keep_their_names_to_themselves() {
    let text = "
        macro hello C who what
          C> {who.name} {what}
          C< {secret=any} {greeting=any}
          give greeting
        end
        connect A dispatch
        hello A bob \"you there\"
        same {greeting} y
        A> {secret}
    ";
    let failure = play(text, &[&[("Bob you there\n", "x y\n")]]).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Usage);
    assert_shows(&failure, &["test.txt:10", "{secret} is not bound"]);
}

#[tokio::test]
async fn mistakes_and_servers_that_are_not_there() {
    let kind = |text: &'static str| async move { play(text, &[&[]]).await.unwrap_err().kind };
    assert_eq!(kind("A> x").await, FailureKind::Usage);
    assert_eq!(kind("connect A dispatch\nA> {md5(slat, alice.password)}").await, FailureKind::Usage);
    assert_eq!(kind("connect A dispatch\nA> MSG 1 N 3\n|~ four").await, FailureKind::Usage);
    assert_eq!(kind("connect A notification 2").await, FailureKind::Usage);
    assert_eq!(kind("accounts carol").await, FailureKind::Failed);
    assert_eq!(kind("connect A 127.0.0.1:1").await, FailureKind::Unreachable);
}
