//! Whose request it is that a proxy passes on: `X-Forwarded-For`, and `Forwarded` (RFC 7239).
//!
//! Each proxy on the way adds the address that it was asked from behind those that were there. What stands before the first
//! address that is no proxy's, from the end, is of that client's own invention, and not looked at.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use common::config::ForwardedHeader;
use common::net::{Admission, Places, Proxies, TurnedAway};
use hyper::HeaderMap;
use hyper::header::{FORWARDED, HeaderName};

/// Of so many addresses the last are looked at.
const HOPS: usize = 16;

/// Knows whose requests come over a connection.
#[derive(Debug)]
pub(super) struct Forwarding {
    proxies: Proxies,
    header: ForwardedHeader,
    places: Arc<Places>,
    turned_away: Arc<TurnedAway>,
}

impl Forwarding {
    /// Believes what these proxies write in that header. Clients get places among `places`.
    pub(super) fn new(
        proxies: Proxies,
        header: ForwardedHeader,
        places: Arc<Places>,
        turned_away: Arc<TurnedAway>,
    ) -> Self {
        Self { proxies, header, places, turned_away }
    }

    /// Whose a request from `peer` is, if it is not its own.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> Option<IpAddr> {
        const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
        if !self.proxies.contains(peer) {
            return None;
        }
        match self.header {
            ForwardedHeader::None => None,
            ForwardedHeader::XForwardedFor => {
                let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
                let all = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
                self.last_client(all.filter_map(element).map(node))
            }
            ForwardedHeader::Forwarded => {
                let lines = headers.get_all(FORWARDED).iter().rev();
                let all = lines.flat_map(|line| FromTheEnd(Some(line.as_bytes())));
                self.last_client(all.filter_map(element).map(named))
            }
        }
    }

    /// The last address that is no proxy's; of proxies only the first. What can't be read ends the search: it was the last one
    /// behind it that wrote it.
    fn last_client(&self, from_the_end: impl Iterator<Item = Option<IpAddr>>) -> Option<IpAddr> {
        let mut last = None;
        for address in from_the_end.take(HOPS) {
            let Some(address) = address else { break };
            last = Some(address);
            if !self.proxies.contains(address) {
                break;
            }
        }
        last
    }

    /// A place for one request of a client that a proxy stands before. Nothing if its address has as many as it may.
    pub(super) fn admit(&self, client: IpAddr) -> Option<Admission> {
        let admission = self.places.admit(client);
        if admission.is_none() {
            self.turned_away
                .note(client, "behind its proxy, its address asks as much at once as it may have connections");
        }
        admission
    }
}

/// The elements of a list, the last one first. A comma between quotes is none; the quotes are counted from the end, so that one
/// that a client has left open hides nothing of what a proxy has written behind it.
struct FromTheEnd<'a>(Option<&'a [u8]>);

impl<'a> Iterator for FromTheEnd<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let left = self.0?;
        let mut quoted = false;
        let comma = left.iter().rposition(|byte| {
            quoted ^= *byte == b'"';
            *byte == b',' && !quoted
        });
        let (before, after) = match comma {
            Some(comma) => (left.get(..comma), left.get(comma + 1..)),
            None => (None, Some(left)),
        };
        self.0 = before;
        after
    }
}

/// An element as a text; one without a text, as a comma too many makes it, is none.
fn element(bytes: &[u8]) -> Option<&str> {
    // What is no UTF-8 is no address either.
    let text = std::str::from_utf8(bytes).unwrap_or("?").trim();
    (!text.is_empty()).then_some(text)
}

/// The address in an element of `Forwarded`: `for=192.0.2.1;proto=https`, `For="[2001:db8::1]:4711"`.
fn named(element: &str) -> Option<IpAddr> {
    let (_, value) = element
        .split(';')
        .filter_map(|pair| pair.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    let value = value.trim();
    node(value.strip_prefix('"').map_or(Some(value), |quoted| quoted.strip_suffix('"'))?)
}

/// An address, with or without a port.
fn node(text: &str) -> Option<IpAddr> {
    let address = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let fits = port.is_empty() || port.starts_with(':');
            IpAddr::V6(address.parse::<Ipv6Addr>().ok().filter(|_| fits)?)
        }
        None => match text.split_once(':') {
            Some((address, port)) if !port.contains(':') => address.parse().ok()?,
            _ => text.parse().ok()?,
        },
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    const PROXIES: [&str; 3] = ["10.0.0.0/8", "2001:db8:f::/64", "127.0.0.1"];

    fn forwarding(header: ForwardedHeader) -> Forwarding {
        let places = Arc::new(Places::new(10, 1));
        Forwarding::new(Proxies::of(&PROXIES).unwrap(), header, places, Arc::default())
    }

    fn found(header: ForwardedHeader, peer: &str, lines: &[&[u8]]) -> Option<IpAddr> {
        let name = match header {
            ForwardedHeader::Forwarded => "forwarded",
            _ => "x-forwarded-for",
        };
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_bytes(line).unwrap());
        }
        forwarding(header).client(peer.parse().unwrap(), &headers)
    }

    #[track_caller]
    fn check(header: ForwardedHeader, lines: &[&str], expected: Option<&str>) {
        let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
        let expected = expected.map(|address| address.parse().unwrap());
        assert_eq!(found(header, "10.0.0.1", &lines), expected, "{lines:?}");
        assert_eq!(found(header, "::ffff:10.0.0.1", &lines), expected, "{lines:?}");
        for stranger in ["192.0.2.66", "2001:db8:e::1"] {
            assert_eq!(found(header, stranger, &lines), None, "from a stranger: {lines:?}");
        }
    }

    #[test]
    fn x_forwarded_for() {
        let check = |lines: &[&str], expected| check(ForwardedHeader::XForwardedFor, lines, expected);
        check(&["192.0.2.1"], Some("192.0.2.1"));
        check(&["2001:db8::1"], Some("2001:db8::1"));
        check(&["::ffff:192.0.2.1"], Some("192.0.2.1"));
        check(&["192.0.2.1:4711"], Some("192.0.2.1"));
        check(&["[2001:db8::1]:4711"], Some("2001:db8::1"));
        check(&["[2001:db8::1]"], Some("2001:db8::1"));
        // What the client has written before counts for nothing, in the same line or another.
        check(&["203.0.113.1, 192.0.2.1"], Some("192.0.2.1"));
        check(&["203.0.113.1", "192.0.2.1"], Some("192.0.2.1"));
        check(&["127.0.0.1,10.0.0.9 ,192.0.2.1"], Some("192.0.2.1"));
        // Proxies behind it are passed over.
        check(&["203.0.113.1, 192.0.2.1, 10.0.0.2, 2001:db8:f::7"], Some("192.0.2.1"));
        check(&["192.0.2.1", "10.0.0.2", "10.0.0.3, ,"], Some("192.0.2.1"));
        check(&["10.0.0.2, 10.0.0.3"], Some("10.0.0.2"));
        // Nobody knows.
        for line in
            ["unknown", "", ",,", "192.0.2.1, unknown", "192.0.2.1, _hidden", "192.0.2.1, x", "[192.0.2.1]"]
        {
            check(&[line], None);
        }
        check(&["192.0.2.1, unknown, 10.0.0.2"], Some("10.0.0.2"));
        check(&[&("192.0.2.1".to_owned() + &",10.0.0.2".repeat(HOPS))], Some("10.0.0.2"));
        check(&[], None);
    }

    #[test]
    fn forwarded() {
        let check = |lines: &[&str], expected| check(ForwardedHeader::Forwarded, lines, expected);
        check(&["for=192.0.2.1"], Some("192.0.2.1"));
        check(&["For=\"192.0.2.1:47011\";proto=https; by=203.0.113.43"], Some("192.0.2.1"));
        check(&["proto=https; FOR = \"[2001:db8::1]:4711\""], Some("2001:db8::1"));
        check(&["for=203.0.113.1, for=192.0.2.1;host=\"a,b\", for=10.0.0.2"], Some("192.0.2.1"));
        check(&["for=203.0.113.1", "for=192.0.2.1", "for=\"[2001:db8:f::1]\""], Some("192.0.2.1"));
        check(&["for=\"192.0.2.1:_port\""], Some("192.0.2.1"));
        // A quote that a client has left open.
        check(&["for=\"203.0.113.1, for=192.0.2.1"], Some("192.0.2.1"));
        check(&["for=203.0.113.1;host=\", for=192.0.2.1;proto=\"https\""], Some("192.0.2.1"));
        for line in ["for=unknown", "for=_hidden", "proto=https", "192.0.2.1", "for=\"192.0.2.1", "for=", "", ";"]
        {
            check(&[line], None);
        }
        check(&["for=203.0.113.1, proto=https"], None);
    }

    #[test]
    fn only_the_line_that_is_set_counts() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", HeaderValue::from_static("192.0.2.1"));
        headers.append("forwarded", HeaderValue::from_static("for=192.0.2.2"));
        let by = |header| forwarding(header).client([10, 0, 0, 1].into(), &headers).map(|found| found.to_string());
        assert_eq!(by(ForwardedHeader::None), None);
        assert_eq!(by(ForwardedHeader::XForwardedFor).as_deref(), Some("192.0.2.1"));
        assert_eq!(by(ForwardedHeader::Forwarded).as_deref(), Some("192.0.2.2"));
    }

    fn line() -> impl Strategy<Value = Vec<u8>> {
        let bytes = prop::sample::select(b"for=,;\" \\1.2:[]abc_\t\x80\xff".to_vec());
        prop::collection::vec(bytes, 0..60)
    }

    proptest! {
        /// Whatever a client writes, what the proxy writes behind it counts.
        #[test]
        fn a_client_chooses_nothing(said in line(), joined: bool, address: std::net::IpAddr) {
            let last = address.to_canonical();
            let proxies = Proxies::of(&PROXIES).unwrap();
            prop_assume!(!proxies.contains(last));
            let quoted = match last {
                IpAddr::V4(last) => format!("for={last}"),
                IpAddr::V6(last) => format!("for=\"[{last}]\";proto=\"a,b\""),
            };
            for (header, own) in
                [(ForwardedHeader::XForwardedFor, last.to_string()), (ForwardedHeader::Forwarded, quoted)]
            {
                let one = [&said[..], b", ", own.as_bytes()].concat();
                let lines: &[&[u8]] = if joined { &[&one] } else { &[&said, own.as_bytes()] };
                prop_assert_eq!(found(header, "10.0.0.1", lines), Some(last), "{:?}", lines);
            }
        }
    }
}
