//! From which address a datagram is sent.
//!
//! A socket that is bound to all addresses of its host sends from whichever the system's routes choose. Others take gossip only from
//! the address that its sender tells, so that is the one it is sent from, whatever the routes say.

use std::ffi::c_int;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};

use socket2::{MsgHdr, SockAddr, SockRef};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// A bound socket, and the address of this host that it sends from.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) socket: UdpSocket,
    /// Nothing: the one that it is bound to.
    source: Option<IpAddr>,
}

impl Sending {
    /// Sends from the IP address of `told`, what the others are told, if the socket is bound to all addresses.
    pub(super) fn new(socket: UdpSocket, told: SocketAddr) -> Self {
        let bound = socket.local_addr().ok();
        let (own, to_all) = (told.ip().to_canonical(), bound.is_some_and(|bound| bound.ip().is_unspecified()));
        let is_here = std::net::UdpSocket::bind((own, 0)).is_ok();
        if !is_here || bound.is_some_and(|bound| !is_from(bound, told)) {
            tracing::warn!(
                gossip_advertise = %told,
                "this node does not send gossip from the address that the others are told, and they pass over what does not come from \
                 there"
            );
        }
        Self { socket, source: to_all.then_some(own) }
    }

    /// Sends a datagram. An address that this host does not have, or not any more, is left to the routes, and to the others to say.
    pub(super) async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        if let Some(control) = self.source.and_then(|source| from(source, to.ip().to_canonical())) {
            let (buffers, addr) = ([IoSlice::new(datagram)], SockAddr::from(to));
            let send = || {
                let message = MsgHdr::new().with_addr(&addr).with_buffers(&buffers).with_control(&control);
                SockRef::from(&self.socket).sendmsg(&message, 0)
            };
            // Each kernel, and each route, has its own error for an address that is not of this host.
            if let Ok(sent) = self.socket.async_io(Interest::WRITABLE, send).await {
                return Ok(sent);
            }
        }
        self.socket.send_to(datagram, to).await
    }
}

/// Whether what is sent from a socket bound so can have the address that the others are told.
fn is_from(bound: SocketAddr, told: SocketAddr) -> bool {
    let (ip, own) = (bound.ip().to_canonical(), told.ip().to_canonical());
    bound.port() == told.port() && (bound.ip().is_unspecified() || ip == own)
}

/// The control message that names the source (`IP_PKTINFO` in `ip(7)`, `IPV6_PKTINFO` in `ipv6(7)`), where both are of one kind.
fn from(source: IpAddr, to: IpAddr) -> Option<Vec<u8>> {
    let (level, kind, info) = match (source, to) {
        // An interface, the source, and what is of use to receivers only.
        (IpAddr::V4(source), IpAddr::V4(_)) => {
            (libc::IPPROTO_IP, libc::IP_PKTINFO, [[0; 4], source.octets(), [0; 4]].concat())
        }
        // The source, and an interface.
        (IpAddr::V6(source), IpAddr::V6(_)) => {
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, [&source.octets()[..], &[0; 4]].concat())
        }
        _ => return None,
    };
    // A `cmsghdr`: its length, level and kind.
    let len = size_of::<usize>() + 2 * size_of::<c_int>() + info.len();
    let mut control = [&len.to_ne_bytes()[..], &level.to_ne_bytes(), &kind.to_ne_bytes(), &info].concat();
    control.resize(len.next_multiple_of(size_of::<usize>()), 0);
    Some(control)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From where a datagram comes that is sent so.
    async fn comes_from(bound: &str, told: &str, to: &str) -> IpAddr {
        let receiver = UdpSocket::bind((to, 0)).await.unwrap();
        let sending =
            Sending::new(UdpSocket::bind((bound, 0)).await.unwrap(), SocketAddr::new(told.parse().unwrap(), 7));
        sending.send_to(b"gossip", receiver.local_addr().unwrap()).await.unwrap();
        let mut buffer = [0; 16];
        let (len, source) = receiver.recv_from(&mut buffer).await.unwrap();
        assert_eq!((&buffer[..len], source.port()), (&b"gossip"[..], sending.socket.local_addr().unwrap().port()));
        source.ip()
    }

    #[test]
    fn an_address_that_is_told_must_be_the_bound_one() {
        let is_from = |bound: &str, told: &str| is_from(bound.parse().unwrap(), told.parse().unwrap());
        assert!(is_from("0.0.0.0:7", "192.0.2.1:7") && is_from("[::]:7", "192.0.2.1:7"));
        assert!(is_from("192.0.2.1:7", "[::ffff:192.0.2.1]:7"));
        assert!(!is_from("192.0.2.1:7", "192.0.2.2:7") && !is_from("0.0.0.0:7", "192.0.2.1:8"));
    }

    #[tokio::test]
    async fn it_is_the_address_that_others_are_told_where_this_host_has_it() {
        // The routes would choose the first.
        let [routed, told] = ["127.0.0.1", "127.0.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
        assert_eq!(comes_from("0.0.0.0", "127.0.0.2", "127.0.0.1").await, told);
        assert_eq!(comes_from("0.0.0.0", "192.0.2.1", "127.0.0.1").await, routed);
        assert_eq!(comes_from("127.0.0.1", "127.0.0.2", "127.0.0.1").await, routed, "it is bound");
        if UdpSocket::bind("[::1]:0").await.is_ok() {
            assert_eq!(comes_from("::", "127.0.0.2", "127.0.0.1").await, told);
            assert_eq!(comes_from("::", "::1", "::1").await, "::1".parse::<IpAddr>().unwrap());
            assert_eq!(comes_from("::", "::1", "127.0.0.1").await, routed, "of another kind");
            assert_eq!(comes_from("::", "2001:db8::1", "::1").await, "::1".parse::<IpAddr>().unwrap());
        }
    }
}
