//! The client's end of one connection: bytes out, commands in, all of it bounded.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::pattern::show;

/// The longest line that a server may send.
const MAX_LINE: usize = 16 * 1024;
/// The longest payload that a server may send.
const MAX_PAYLOAD: usize = 64 * 1024;
/// How many lines of the past a report shows for each connection.
const REMEMBERED: usize = 8;
/// How much of a line a report shows.
const SHOWN: usize = 240;

/// A command from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Received {
    /// Without its line end.
    pub(super) line: Bytes,
    pub(super) payload: Option<Bytes>,
}

impl Received {
    fn verb(&self) -> &[u8] {
        self.line.split(|byte| *byte == b' ').next().unwrap_or_default()
    }
}

/// Why no command came.
#[derive(Debug)]
pub(super) enum Nothing {
    /// The server closed the connection; the bytes of an unfinished command.
    Closed(Bytes),
    /// Nothing, or no whole command, came in time; what there is of it.
    Late(Bytes),
    /// What came is no command.
    Malformed(String),
    /// The scenario itself has closed the connection, or never opened it.
    NotOpen,
}

/// One connection of a scenario.
#[derive(Debug, Default)]
pub(super) struct Connection {
    stream: Option<TcpStream>,
    input: BytesMut,
    /// A write failed: the other side has gone.
    gone: bool,
    pub(super) ignored: BTreeSet<String>,
    pub(super) split: Option<usize>,
    held: Option<Vec<u8>>,
    recent: VecDeque<String>,
    /// The first line sent: it tells a switchboard from a notification server.
    first: Option<Bytes>,
}

impl Connection {
    /// Connects; what was said on an earlier connection of this name is forgotten.
    pub(super) async fn open(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = timeout(patience, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        let mut connection = Self { stream: Some(stream), ..Self::default() };
        connection.remember('-', &format!("connected to {address}"));
        Ok(connection)
    }

    /// Sends bytes, or keeps them while held. A server that has gone shows at the next expectation.
    pub(super) async fn send(&mut self, bytes: &[u8], shown: &str, patience: Duration) -> Result<(), Nothing> {
        if self.stream.is_none() {
            return Err(Nothing::NotOpen);
        }
        self.remember('>', shown);
        if self.first.is_none() {
            let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
            self.first = Some(Bytes::copy_from_slice(&line[..line.len().min(SHOWN)]));
        }
        match &mut self.held {
            Some(held) => {
                held.extend_from_slice(bytes);
                Ok(())
            }
            None => self.write(bytes, patience).await,
        }
    }

    async fn write(&mut self, bytes: &[u8], patience: Duration) -> Result<(), Nothing> {
        let Some(stream) = &mut self.stream else { return Err(Nothing::NotOpen) };
        let size = self.split.unwrap_or(bytes.len().max(1));
        let pieces = async {
            for piece in bytes.chunks(size) {
                stream.write_all(piece).await?;
                // Lets the other side run, so that pieces are likely to be read one by one.
                tokio::task::yield_now().await;
            }
            Ok::<_, io::Error>(())
        };
        match timeout(patience, pieces).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => self.gone = true,
            Err(_) => return Err(Nothing::Malformed("the server reads nothing more".into())),
        }
        Ok(())
    }

    /// What is sent waits from now on.
    pub(super) fn hold(&mut self) {
        self.held.get_or_insert_default();
    }

    /// What waits leaves in one write.
    pub(super) async fn flush(&mut self, patience: Duration) -> Result<(), Nothing> {
        let held = self.held.take().unwrap_or_default();
        self.write(&held, patience).await
    }

    /// The next command that is not ignored.
    pub(super) async fn next(&mut self, deadline: Instant) -> Result<Received, Nothing> {
        loop {
            let received = self.read(deadline).await?;
            let mut shown = show(&received.line);
            if let Some(payload) = &received.payload {
                shown.push_str(&format!("  + {}", show(payload)));
            }
            let ignored = std::str::from_utf8(received.verb()).is_ok_and(|verb| self.ignored.contains(verb));
            self.remember(if ignored { '~' } else { '<' }, &shown);
            if !ignored {
                return Ok(received);
            }
        }
    }

    async fn read(&mut self, deadline: Instant) -> Result<Received, Nothing> {
        loop {
            if let Some(received) = take(&mut self.input).map_err(Nothing::Malformed)? {
                return Ok(received);
            }
            let Some(stream) = &mut self.stream else { return Err(Nothing::NotOpen) };
            match timeout_at(deadline, stream.read_buf(&mut self.input)).await {
                Err(_) => return Err(Nothing::Late(self.input.clone().freeze())),
                Ok(Ok(0) | Err(_)) => {
                    self.stream = None;
                    self.remember('-', "closed by the server");
                    return Err(Nothing::Closed(self.input.split().freeze()));
                }
                Ok(Ok(_)) => {}
            }
        }
    }

    /// Closes it from this side.
    pub(super) fn close(&mut self) {
        self.stream = None;
        self.remember('-', "closed by the scenario");
    }

    /// Resets it.
    pub(super) fn abort(&mut self) -> io::Result<()> {
        if let Some(stream) = self.stream.take() {
            stream.set_zero_linger()?;
        }
        self.remember('-', "reset by the scenario");
        Ok(())
    }

    /// Sends the end, and goes on reading.
    pub(super) async fn half_close(&mut self) {
        if let Some(stream) = &mut self.stream {
            self.gone |= stream.shutdown().await.is_err();
        }
        self.remember('-', "half closed by the scenario");
    }

    /// Whether it was opened and not closed by either side, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// The principal, if this is a switchboard's connection: who it is said in `USR` or `ANS`.
    pub(super) fn switchboard_principal(&self) -> Option<&str> {
        let line = std::str::from_utf8(self.first.as_ref()?).ok()?;
        let mut words = line.split(' ');
        let verb = words.next()?;
        let who = words.nth(1)?;
        matches!(verb, "USR" | "ANS").then_some(who)
    }

    /// The last lines, each marked `>` sent, `<` received, `~` ignored or `-` for what happened to the connection.
    pub(super) fn recent(&self) -> impl Iterator<Item = &str> {
        self.recent.iter().map(String::as_str)
    }

    fn remember(&mut self, mark: char, text: &str) {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        let end = text.char_indices().nth(SHOWN).map_or(text.len(), |(at, _)| at);
        let more = if end < text.len() { "…" } else { "" };
        self.recent.push_back(format!("{mark} {}{more}", &text[..end]));
    }
}

/// Takes a whole command off the front of what was read.
fn take(input: &mut BytesMut) -> Result<Option<Received>, String> {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
        return if input.len() > MAX_LINE { Err("a line without end".into()) } else { Ok(None) };
    };
    let Some(line) = input[..end].strip_suffix(b"\r") else {
        return Err(format!("a line that ends in LF alone: {:?}", show(&input[..end])));
    };
    let length = payload_length(line)?;
    let (text, head) = (line.len(), end + 1);
    let Some(length) = length else {
        let line = input.split_to(text).freeze();
        input.advance(2);
        return Ok(Some(Received { line, payload: None }));
    };
    if input.len() < head + length {
        return Ok(None);
    }
    let line = input.split_to(text).freeze();
    input.advance(2);
    let payload = input.split_to(length).freeze();
    Ok(Some(Received { line, payload: Some(payload) }))
}

/// How long the payload is that follows a line from a server (protocol reference §2.4).
fn payload_length(line: &[u8]) -> Result<Option<usize>, String> {
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let fewest = match words.first() {
        Some(&b"NOT" | &b"IPG") => 2,
        Some(&b"UBX") => 3,
        // Only a MSG or GCF with its length has four words.
        Some(&b"MSG" | &b"GCF") => 4,
        _ => return Ok(None),
    };
    let last = words.last().and_then(|word| std::str::from_utf8(word).ok()).unwrap_or_default();
    if words.len() < fewest || last.is_empty() || !last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match last.parse() {
        Ok(length) if length <= MAX_PAYLOAD => Ok(Some(length)),
        _ => Err(format!("a payload of {last} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, line: &str, payload: Option<&str>, rest: &str) {
        let mut input = BytesMut::from(input);
        let received = take(&mut input).unwrap().unwrap();
        assert_eq!(
            (&received.line[..], received.payload.as_deref()),
            (line.as_bytes(), payload.map(str::as_bytes))
        );
        assert_eq!(&input[..], rest.as_bytes());
    }

    #[test]
    fn frames_what_servers_send() {
        check("QNG 50\r\nx", "QNG 50", None, "x");
        check("MSG a@b A 5\r\nhelloUBX", "MSG a@b A 5", Some("hello"), "UBX");
        check("GCF 6 Shields.xml 2\r\nab", "GCF 6 Shields.xml 2", Some("ab"), "");
        check("UUX 7 0\r\n", "UUX 7 0", None, "");
        check("UBX a@b 0\r\nx", "UBX a@b 0", Some(""), "x");
        check("NOT 1\r\nxy", "NOT 1", Some("x"), "y");
        for part in ["", "QNG", "QNG\r", "NOT 3\r\nab"] {
            assert_eq!(take(&mut BytesMut::from(part)).unwrap(), None, "{part}");
        }
        for bad in ["QNG\n", "NOT 70000\r\n", "NOT 99999999999999999999\r\n"] {
            assert!(take(&mut BytesMut::from(bad)).is_err(), "{bad}");
        }
        assert!(take(&mut BytesMut::from(&[b'x'; MAX_LINE + 1][..])).is_err());
    }
}
