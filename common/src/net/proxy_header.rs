//! The header that a proxy writes before what a client says: the PROXY protocol of HAProxy, versions 1 and 2.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Version 2 begins with what makes any other protocol close.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2 up to the length of the rest.
const HEAD: usize = 16;
/// The rest of version 2 at most: two addresses, and what else the proxy says of the connection (a name in a certificate, say).
const REST: usize = 4096;
/// Version 1 begins so.
const WORD: &[u8; 6] = b"PROXY ";
/// Version 1 with its line end: `PROXY UNKNOWN` is the shortest.
const LINE: std::ops::RangeInclusive<usize> = 15..=107;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// The connection is the proxy's own, such as a look whether we are there, or it does not know whose it is.
    Own,
    /// The client's address.
    Client(SocketAddr),
}

/// Why there is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The proxy has closed without a word, as some do that look whether we are there.
    Silent,
    /// It begins in another way.
    Missing,
    /// It begins like a header, and goes on as none.
    Broken,
    /// It is longer than a header needs to be.
    TooLong,
}

/// Reads a header, and not one byte of what follows it. Safe to drop, not to go on with.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Header, Fault> {
    let mut bytes = [0; *LINE.end()];
    let mut have = 0;
    let (header, mut rest) = loop {
        match look(&bytes[..have])? {
            Look::Whole { header, rest } => break (header, rest),
            Look::More(more) => {
                let room = bytes.get_mut(have..have + more).ok_or(Fault::Broken)?;
                have += some(&stream.read(room).await, have == 0)?;
            }
        }
    };
    while rest > 0 {
        let part = rest.min(bytes.len());
        rest -= some(&stream.read(&mut bytes[..part]).await, false)?;
    }
    Ok(header)
}

/// How much was read; the end of the connection is a fault.
fn some(outcome: &io::Result<usize>, is_first: bool) -> Result<usize, Fault> {
    match outcome {
        Ok(count) if *count > 0 => Ok(*count),
        _ if is_first => Err(Fault::Silent),
        _ => Err(Fault::Broken),
    }
}

/// What is known of a header from its first bytes.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// So many more bytes, at least, are part of it.
    More(usize),
    /// All that is needed is there; so many bytes that follow are part of it.
    Whole { header: Header, rest: usize },
}

fn look(bytes: &[u8]) -> Result<Look, Fault> {
    let may_be = |start: &[u8]| bytes.iter().zip(start).all(|(one, other)| one == other);
    if !may_be(SIGNATURE) && !may_be(WORD) {
        return Err(Fault::Missing);
    }
    if bytes.len() < *LINE.start() {
        return Ok(Look::More(LINE.start() - bytes.len()));
    }
    if may_be(WORD) { version_1(bytes) } else { version_2(bytes) }
}

/// A line of text. Where it ends shows only there, so that it is read byte by byte towards its end.
fn version_1(bytes: &[u8]) -> Result<Look, Fault> {
    match bytes.iter().position(|byte| *byte == b'\n') {
        None if bytes.len() >= *LINE.end() => return Err(Fault::TooLong),
        None => return Ok(Look::More(1)),
        Some(end) if end + 1 < bytes.len() => return Err(Fault::Broken),
        Some(_) => {}
    }
    let line = bytes.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok()).ok_or(Fault::Broken)?;
    let mut words = line.split(' ').skip(1);
    let header = match words.next() {
        Some("UNKNOWN") => Header::Own,
        Some("TCP4") => in_words::<Ipv4Addr>(words).ok_or(Fault::Broken)?,
        Some("TCP6") => in_words::<Ipv6Addr>(words).ok_or(Fault::Broken)?,
        _ => return Err(Fault::Broken),
    };
    Ok(Look::Whole { header, rest: 0 })
}

/// Source and destination, then their ports.
fn in_words<'a, A: FromStr + Into<IpAddr>>(mut words: impl Iterator<Item = &'a str>) -> Option<Header> {
    let address: A = words.next()?.parse().ok()?;
    let _: A = words.next()?.parse().ok()?;
    let (port, _) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then(|| client(address, port))
}

fn port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Binary: the command, the kind of addresses, the length of all that follows, the addresses, and things that are passed over.
fn version_2(bytes: &[u8]) -> Result<Look, Fault> {
    let Some(&[.., command, kind, high, low]) = bytes.first_chunk::<HEAD>() else {
        return Ok(Look::More(HEAD - bytes.len()));
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > REST {
        return Err(Fault::TooLong);
    }
    let own = Ok(Look::Whole { header: Header::Own, rest: length });
    match (command, kind) {
        // LOCAL: whatever it says of addresses is to be passed over.
        (0x20, _) => own,
        // TCP over IPv4 and IPv6: twice an address, then twice a port.
        (0x21, 0x11) => in_bytes::<4>(bytes, length),
        (0x21, 0x21) => in_bytes::<16>(bytes, length),
        // Nobody knows, or a socket in the proxy's file system.
        (0x21, 0x00 | 0x31 | 0x32) => own,
        _ => Err(Fault::Broken),
    }
}

fn in_bytes<const N: usize>(bytes: &[u8], length: usize) -> Result<Look, Fault>
where
    [u8; N]: Into<IpAddr>,
{
    let needed = 2 * N + 4;
    let rest = length.checked_sub(needed).ok_or(Fault::Broken)?;
    let missing = (HEAD + needed).saturating_sub(bytes.len());
    if missing > 0 {
        return Ok(Look::More(missing));
    }
    let source = bytes.get(HEAD..).and_then(<[u8]>::first_chunk::<N>).copied();
    let port = bytes.get(HEAD + 2 * N..).and_then(<[u8]>::first_chunk::<2>).copied();
    let (source, port) = source.zip(port).ok_or(Fault::Broken)?;
    Ok(Look::Whole { header: client(source, u16::from_be_bytes(port)), rest })
}

fn client(address: impl Into<IpAddr>, port: u16) -> Header {
    Header::Client(SocketAddr::new(address.into().to_canonical(), port))
}

#[cfg(test)]
mod tests;
