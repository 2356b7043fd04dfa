//! The DNS authority for the login host, UDP and TCP on one port: clients find a live dispatch node by it.

mod tcp;
mod zone;

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use common::net::Shutdown;
use hickory_server::net::runtime::Time;
use hickory_server::proto::op::ResponseCode;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo, Server};
use hickory_server::zone_handler::{Catalog, ZoneHandler};
use tokio::net::{TcpListener, UdpSocket};

pub(crate) use zone::Zone;

use crate::door::Door;
use crate::metrics::Metrics;

/// TCP connections at once, and of one address. Resolvers ask by TCP only where UDP was cut short.
const CONNECTIONS: usize = 512;
const CONNECTIONS_PER_ADDRESS: usize = 16;
/// Where the system chooses the port: how often one that is free for TCP is tried for UDP.
const TRIES: usize = 32;

/// The sockets of a DNS server.
#[derive(Debug)]
pub(crate) struct Sockets {
    udp: UdpSocket,
    tcp: TcpListener,
    addr: SocketAddr,
}

impl Sockets {
    /// Binds an address for UDP and TCP; port 0 chooses one that is free for both.
    ///
    /// # Errors
    /// When the address can't be bound; the error says which.
    pub(crate) async fn bind(listen: SocketAddr) -> anyhow::Result<Self> {
        let mut tries = if listen.port() == 0 { TRIES } else { 1 };
        loop {
            let error = match bind_both(listen).await {
                Ok(sockets) => return Ok(sockets),
                Err(error) => error,
            };
            tries -= 1;
            if tries == 0 {
                anyhow::bail!("dispatch.dns.listen: can't listen on {listen}: {error}");
            }
        }
    }

    /// Where they listen.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Answers for `zone` until shutdown, and begins the shutdown if it can't go on.
    pub(crate) async fn serve(self, zone: Zone, metrics: Metrics, shutdown: Shutdown) {
        let mut catalog = Catalog::new();
        catalog.upsert(zone.origin().clone(), vec![Arc::new(zone)]);
        let authority = Arc::new(Authority { catalog, metrics });
        let door = Door::new(self.tcp, CONNECTIONS, CONNECTIONS_PER_ADDRESS);
        shutdown.spawn(tcp::serve(door, Arc::clone(&authority), shutdown.clone()));
        let mut server = Server::new(Shared(authority));
        server.register_socket(self.udp);
        let ended = tokio::select! {
            ended = server.block_until_done() => ended,
            () = shutdown.begun() => server.shutdown_gracefully().await,
        };
        if let Err(error) = ended {
            tracing::error!(%error, "DNS has failed");
        }
        shutdown.begin();
    }
}

async fn bind_both(listen: SocketAddr) -> std::io::Result<Sockets> {
    let tcp = common::net::listen(listen)?;
    let addr = tcp.local_addr()?;
    let udp = UdpSocket::bind(addr).await?;
    Ok(Sockets { udp, tcp, addr })
}

/// The zone as hickory's catalog serves it: EDNS, truncation, and REFUSED for what is outside the zone are its work.
struct Authority {
    catalog: Catalog,
    metrics: Metrics,
}

/// The handler that UDP and TCP share.
struct Shared(Arc<Authority>);

#[async_trait]
impl RequestHandler for Authority {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, reply: R) -> ResponseInfo {
        let info = self.catalog.handle_request::<R, T>(request, reply).await;
        self.metrics.dns_answer(match info.response_code {
            ResponseCode::NoError => "noerror",
            ResponseCode::NXDomain => "nxdomain",
            ResponseCode::Refused => "refused",
            ResponseCode::FormErr => "formerr",
            ResponseCode::NotImp => "notimp",
            _ => "other",
        });
        info
    }
}

#[async_trait]
impl RequestHandler for Shared {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, reply: R) -> ResponseInfo {
        self.0.handle_request::<R, T>(request, reply).await
    }
}

#[cfg(test)]
mod tests;
