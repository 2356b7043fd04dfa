//! What comes before hyper: requests of an HTTP older than 1.1 are rewritten to 1.1 with `Connection: close`.
//!
//! libpurple asks the nexus by a bare `GET /rdr/pprdr.asp`, and expects a full `HTTP/1.1` head all the same
//! (`CLIENTS.md`, Passport 1.4, points 1 and 4). Only the first request of a connection is looked at: whoever said
//! HTTP/1.1 does not go back.

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

/// The most bytes of a request's line and headers.
pub(super) const MAX_HEAD: usize = 16 * 1024;
/// They must come within so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// A request line without a version may be the whole request: nothing more in so long, and it is.
const SIMPLE_PATIENCE: Duration = Duration::from_millis(300);

/// What is known of a head from its first bytes.
#[derive(Debug, PartialEq, Eq)]
enum Head {
    /// Too little to tell.
    Open,
    /// The line has no version; headers may or may not follow.
    Simple,
    /// hyper reads it as it is: HTTP/1.1, or what hyper refuses better than we do.
    PassOn,
    /// To be sent to hyper instead.
    Rewritten(Vec<u8>),
}

/// Reads the beginning of a connection's first request, and returns what hyper is to read first. Nothing if the
/// client is gone or too slow, counted from `since`. `host` is named in requests that name none.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin), host: &str, since: Instant) -> Option<Vec<u8>> {
    let deadline = since + PATIENCE;
    let mut bytes = Vec::with_capacity(1024);
    loop {
        let simple = match look(&bytes, host) {
            Head::Rewritten(head) => return Some(head),
            Head::PassOn => return Some(bytes),
            Head::Simple => true,
            Head::Open => false,
        };
        let Some(room) = MAX_HEAD.checked_sub(bytes.len()).filter(|room| *room > 0) else {
            // hyper says that it is too large.
            return Some(bytes);
        };
        let mut more = (&mut *stream).take(room as u64);
        let until = if simple { deadline.min(Instant::now() + SIMPLE_PATIENCE) } else { deadline };
        match timeout_at(until, more.read_buf(&mut bytes)).await {
            Ok(Ok(count)) if count > 0 => {}
            // The end of the input, or of the wait, ends a line, and the next time round the request. TLS calls an end
            // without its `close_notify` an error.
            Ok(Ok(_)) | Err(_) if simple => bytes.extend_from_slice(b"\r\n"),
            Ok(Err(error)) if simple && error.kind() == ErrorKind::UnexpectedEof => {
                bytes.extend_from_slice(b"\r\n");
            }
            _ => return None,
        }
    }
}

/// What `bytes`, from the beginning of a connection, are.
fn look(bytes: &[u8], host: &str) -> Head {
    // Empty lines before a request are passed over (RFC 9112 §2.2).
    let start = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let Some((line, rest)) = bytes.get(start..).and_then(split_line) else { return Head::Open };
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let at_place = [&b"/"[..], b"http:", b"https:"].iter().any(|start| target.starts_with(start));
    let known = method.iter().all(u8::is_ascii_uppercase) && at_place;
    match (known, words.next(), words.next()) {
        (true, None, None) => headers(rest).map_or(Head::Simple, |all| rewrite(method, target, &all, host)),
        (true, Some(b"HTTP/1.0"), None) => {
            headers(rest).map_or(Head::Open, |all| rewrite(method, target, &all, host))
        }
        _ => Head::PassOn,
    }
}

/// The header lines, and what follows the empty line after them; nothing if that has not come yet.
struct Headers<'a> {
    lines: Vec<&'a [u8]>,
    body: &'a [u8],
}

fn headers(mut bytes: &[u8]) -> Option<Headers<'_>> {
    let mut lines = Vec::new();
    loop {
        let (line, rest) = split_line(bytes)?;
        if line.is_empty() {
            return Some(Headers { lines, body: rest });
        }
        lines.push(line);
        bytes = rest;
    }
}

/// A line without its end, and what follows it. A bare LF ends a line too.
fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = (bytes.get(..end)?, bytes.get(end + 1..)?);
    Some((line.strip_suffix(b"\r").unwrap_or(line), rest))
}

/// The same request in HTTP/1.1, the only one of its connection.
fn rewrite(method: &[u8], target: &[u8], headers: &Headers<'_>, host: &str) -> Head {
    let mut head = [method, b" ", target, b" HTTP/1.1\r\n"].concat();
    let is = |line: &[u8], name: &str| {
        line.split(|byte| *byte == b':').next().is_some_and(|own| own.eq_ignore_ascii_case(name.as_bytes()))
    };
    for line in &headers.lines {
        if !["Connection", "Keep-Alive", "Proxy-Connection"].iter().any(|name| is(line, name)) {
            head.extend_from_slice(line);
            head.extend_from_slice(b"\r\n");
        }
    }
    if !headers.lines.iter().any(|line| is(line, "Host")) {
        head.extend_from_slice(format!("Host: {host}\r\n").as_bytes());
    }
    head.extend_from_slice(b"Connection: close\r\n\r\n");
    head.extend_from_slice(headers.body);
    Head::Rewritten(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    const HOST: &str = "127.0.0.1:8080";

    #[track_caller]
    fn check(bytes: &str, expected: &str) {
        match look(bytes.as_bytes(), HOST) {
            Head::Rewritten(head) => assert_eq!(String::from_utf8(head).unwrap(), expected),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn older_requests_become_1_1_and_the_last_of_their_connection() {
        let rewritten = "GET /rdr/pprdr.asp HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n\r\n";
        for bytes in [
            "GET /rdr/pprdr.asp\r\n\r\n",
            "GET /rdr/pprdr.asp\n\n",
            "\r\n\r\nGET /rdr/pprdr.asp \r\n\r\n",
            "GET /rdr/pprdr.asp HTTP/1.0\r\n\r\n",
            "GET /rdr/pprdr.asp HTTP/1.0\r\nconnection: Keep-Alive\r\nKeep-Alive: 300\r\n\r\n",
        ] {
            check(bytes, rewritten);
        }
        check(
            "GET /login2.srf HTTP/1.0\r\nHOST: x\r\nAuthorization: Passport1.4 a=b\r\n\r\nrest",
            "GET /login2.srf HTTP/1.1\r\nHOST: x\r\nAuthorization: Passport1.4 a=b\r\nConnection: close\r\n\r\nrest",
        );
    }

    #[test]
    fn all_else_is_for_hyper() {
        for bytes in ["GET / HTTP/1.1\r\n", "GET / HTTP/2.0\r\n", "GET\r\n", "get /\r\n", "\0\n", "GET / a b\r\n"]
        {
            assert_eq!(look(bytes.as_bytes(), HOST), Head::PassOn, "{bytes:?}");
        }
        for bytes in ["", "\r\n", "GET / HTTP/1.1", "GET / HTTP/1.0\r\nHost: x\r\n"] {
            assert_eq!(look(bytes.as_bytes(), HOST), Head::Open, "{bytes:?}");
        }
        assert_eq!(look(b"GET /\r\nHost: x\r\n", HOST), Head::Simple);
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_line_may_be_all() {
        let (mut client, mut server) = tokio::io::duplex(100);
        client.write_all(b"GET /\r\n").await.unwrap();
        let head = read(&mut server, "x", Instant::now()).await.unwrap();
        assert_eq!(head, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        client.write_all(b"GET / HTTP/1.0\r\n").await.unwrap();
        let start = Instant::now();
        assert_eq!(read(&mut server, "x", Instant::now()).await, None, "but not of HTTP/1.0");
        assert_eq!(start.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_and_room_have_an_end() {
        let (mut client, mut server) = tokio::io::duplex(2 * MAX_HEAD);
        let start = Instant::now();
        let slowly = async {
            for _ in 0.. {
                if client.write_all(b"G").await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = slowly => panic!(),
            head = read(&mut server, "x", Instant::now()) => assert_eq!((head, start.elapsed()), (None, PATIENCE)),
        }
        let (mut client, mut server) = tokio::io::duplex(2 * MAX_HEAD);
        client.write_all(&vec![b'G'; MAX_HEAD + 1]).await.unwrap();
        assert_eq!(read(&mut server, "x", Instant::now()).await.map(|head| head.len()), Some(MAX_HEAD));
    }
}
