//! Headers to the byte, whole, in parts, broken and hostile.

use std::pin::Pin;
use std::task::{Context, Poll};

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::ReadBuf;

use super::*;

/// What follows a header.
const CLIENT: &[u8] = b"VER 1 MSNP8 CVR0\r\n";

/// Gives its bytes in parts, and counts what was taken.
struct Parts {
    bytes: Vec<u8>,
    taken: usize,
    part: usize,
}

impl AsyncRead for Parts {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let left = self.bytes.len() - self.taken;
        let count = left.min(self.part).min(room.remaining());
        room.put_slice(&self.bytes[self.taken..self.taken + count]);
        self.taken += count;
        Poll::Ready(Ok(()))
    }
}

/// What `bytes` are, and how many were read; nothing ever waits.
fn read_parts(bytes: &[u8], part: usize) -> (Result<Header, Fault>, usize) {
    let mut stream = Parts { bytes: bytes.to_vec(), taken: 0, part };
    let mut reading = Box::pin(read(&mut stream));
    let Poll::Ready(outcome) = reading.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())) else {
        panic!("waits");
    };
    drop(reading);
    (outcome, stream.taken)
}

/// Version 2 with that command and kind.
fn binary(command: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, kind], &length, rest].concat()
}

#[track_caller]
fn check(header: &[u8], expected: Header) {
    let bytes = [header, CLIENT].concat();
    for part in [1, 7, usize::MAX] {
        assert_eq!(read_parts(&bytes, part), (Ok(expected), header.len()), "{header:?} in parts of {part}");
    }
    for end in 0..header.len() {
        let fault = if end == 0 { Fault::Silent } else { Fault::Broken };
        assert_eq!(read_parts(&header[..end], 5).0, Err(fault), "{header:?} up to {end}");
    }
}

#[track_caller]
fn refused(bytes: &[u8], expected: Fault) {
    for part in [1, usize::MAX] {
        assert_eq!(read_parts(bytes, part).0, Err(expected), "{bytes:?}");
    }
}

fn said(address: &str) -> Header {
    Header::Client(address.parse().unwrap())
}

#[test]
fn version_1_is_a_line() {
    check(b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", said("192.0.2.1:56324"));
    check(b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n", said("[2001:db8::1]:56324"));
    check(b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n", said("192.0.2.1:1"));
    check(b"PROXY UNKNOWN\r\n", Header::Own);
    check(b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", Header::Own);
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
    assert_eq!(longest.len(), 107);
    check(longest.as_bytes(), Header::Own);
}

#[test]
fn version_2_is_binary() {
    let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb];
    check(&binary(0x21, 0x11, &v4), said("192.0.2.1:56324"));
    let more = [&v4[..], &[0x01, 0, 2, b'h', b'2'], &[0x04; 700]].concat();
    check(&binary(0x21, 0x11, &more), said("192.0.2.1:56324"));
    let from: Ipv6Addr = "2001:db8::1".parse().unwrap();
    let v6 = [&from.octets()[..], &[0; 16], &[0xdc, 4, 1, 0xbb]].concat();
    check(&binary(0x21, 0x21, &v6), said("[2001:db8::1]:56324"));
    let mapped = [&Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().octets()[..], &[0; 16], &[0, 1, 0, 2]].concat();
    check(&binary(0x21, 0x21, &mapped), said("192.0.2.1:1"));
}

#[test]
fn what_is_the_proxys_own() {
    // LOCAL, with whatever stands behind it.
    check(&binary(0x20, 0x00, &[]), Header::Own);
    check(&binary(0x20, 0x11, &[192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb]), Header::Own);
    check(&binary(0x20, 0x11, &[1]), Header::Own);
    check(&binary(0x20, 0xff, &[0; REST]), Header::Own);
    // An unspecified kind, and a socket in a file system.
    check(&binary(0x21, 0x00, &[]), Header::Own);
    check(&binary(0x21, 0x00, &[9; 100]), Header::Own);
    check(&binary(0x21, 0x31, &[0; 216]), Header::Own);
}

#[test]
fn what_is_none() {
    for bytes in
        [CLIENT, b"GET / HTTP/1.1\r\n\r\n", b"\r\n\r\nVER", b"PROXIED", b"proxy TCP4", b"\x16\x03\x01\x02"]
    {
        refused(bytes, Fault::Missing);
    }
    for line in [
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n",
        "PROXY UNKNOWN\n.",
        "PROXY TCP4\r\nVER 1",
        "PROXY  TCP4 192.0.2.1 198.51.100.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 65536\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1  443\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.1 1 443\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 443\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.1 1 443\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.1 1 443\r\n",
        "PROXY TCP4 192.0.2.1\0 198.51.100.1 1 443\r\n",
    ] {
        refused(line.as_bytes(), Fault::Broken);
    }
    refused(&[b"PROXY UNKNOWN ", &[b'f'; 200][..]].concat(), Fault::TooLong);
    let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb];
    // Another version, another command, no TCP, no such kind, no room for the addresses.
    for (command, kind, rest) in [
        (0x11, 0x11, &v4[..]),
        (0x22, 0x11, &v4),
        (0x21, 0x12, &v4),
        (0x21, 0x10, &v4),
        (0x21, 0x41, &v4),
        (0x21, 0x11, &v4[..11]),
        (0x21, 0x21, &v4),
    ] {
        refused(&binary(command, kind, rest), Fault::Broken);
    }
    // Refused by its length: of the rest nothing is read.
    let long = binary(0x21, 0x11, &vec![0; REST + 1]);
    assert_eq!(read_parts(&long, usize::MAX), (Err(Fault::TooLong), HEAD));
}

proptest! {
    /// No bytes make it panic, and none are read beyond the longest header.
    #[test]
    fn any_bytes(start in 0..4_usize, bytes in vec(any::<u8>(), 0..200), part in 1..300_usize) {
        let start: &[u8] = [&b""[..], b"PROXY TCP", &SIGNATURE[..], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00"][start];
        let (_, taken) = read_parts(&[start, &bytes].concat(), part);
        prop_assert!(taken <= HEAD + REST);
    }

    /// What any proxy says of any client is read as it is, to the byte, however it comes.
    #[test]
    fn any_client(address: IpAddr, port: u16, text: bool, more in vec(any::<u8>(), 0..300), part in 1..300_usize) {
        let header = match (address, text) {
            (IpAddr::V4(_), true) => format!("PROXY TCP4 {address} 192.0.2.9 {port} 80\r\n").into_bytes(),
            (IpAddr::V6(_), true) => format!("PROXY TCP6 {address} 2001:db8::9 {port} 80\r\n").into_bytes(),
            (IpAddr::V4(from), false) => {
                binary(0x21, 0x11, &[&from.octets()[..], &[0; 4], &port.to_be_bytes(), &[0; 2], &more].concat())
            }
            (IpAddr::V6(from), false) => {
                binary(0x21, 0x21, &[&from.octets()[..], &[0; 16], &port.to_be_bytes(), &[0; 2], &more].concat())
            }
        };
        let expected = Header::Client(SocketAddr::new(address.to_canonical(), port));
        prop_assert_eq!(read_parts(&[&header, CLIENT].concat(), part), (Ok(expected), header.len()));
    }

    /// A byte that is another makes no header of it that takes more than it says.
    #[test]
    fn any_change(at in 0..28_usize, byte: u8, part in 1..60_usize) {
        let mut header = binary(0x21, 0x11, &[192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb]);
        header[at] = byte;
        let length = HEAD + usize::from(u16::from_be_bytes([header[14], header[15]]));
        let (outcome, taken) = read_parts(&[&header, &[b'x'; REST][..]].concat(), part);
        prop_assert!(outcome.is_err() || taken == length);
    }
}
