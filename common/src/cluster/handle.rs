//! A process's part in the cluster.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use super::{Deliver, Keyring, Load, Location, Notice, Outcome, Role, View};
use crate::clock::HybridClock;
use crate::config::{ClusterConfig, NodeConfig};
use crate::model::{Endpoint, Epoch, Generation, NodeId, Passport};
use crate::net::Shutdown;
use crate::telemetry::Registry;

/// Who this process is.
#[derive(Debug, Clone)]
pub struct Me {
    /// Its tier.
    pub role: Role,
    /// Its addresses.
    pub node: NodeConfig,
    /// Where clients reach it.
    pub client_addr: SocketAddr,
    /// The store it uses.
    pub store: Uuid,
    /// Its burden at the start.
    pub load: Load,
}

/// Why a process can't take part.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// An address can't be bound.
    #[error("can't listen on {0}: {1}")]
    Bind(SocketAddr, std::io::Error),
}

/// A process's part in the cluster. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Cluster {}

impl Cluster {
    /// Binds the gossip and peer addresses and takes part until shutdown. `deliver` is the hub of a notification
    /// node, and absent elsewhere.
    ///
    /// # Errors
    /// [`ClusterError`]
    pub async fn start(
        config: &ClusterConfig,
        me: Me,
        keys: Keyring,
        clock: Arc<HybridClock>,
        deliver: Option<Arc<dyn Deliver>>,
        registry: &mut Registry,
        shutdown: &Shutdown,
    ) -> Result<Self, ClusterError> {
        let _ = (config, me, keys, clock, deliver, registry, shutdown);
        unimplemented!()
    }

    /// Where gossip listens: the port that was chosen, where 0 was asked for.
    #[must_use]
    pub fn gossip_addr(&self) -> SocketAddr {
        unimplemented!()
    }

    /// Where peer links are accepted: the port that was chosen, where 0 was asked for.
    #[must_use]
    pub fn peer_addr(&self) -> SocketAddr {
        unimplemented!()
    }

    /// The own node's name.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        unimplemented!()
    }

    /// In which of its lives the own node is.
    #[must_use]
    pub fn generation(&self) -> Generation {
        unimplemented!()
    }

    /// The live nodes at this moment.
    #[must_use]
    pub fn view(&self) -> Arc<View> {
        unimplemented!()
    }

    /// Changes of the view.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<View>> {
        unimplemented!()
    }

    /// Publishes the own burden. Cheap; call it about once a second.
    pub fn publish(&self, load: Load) {
        let _ = load;
        unimplemented!()
    }

    /// Publishes whether the own listeners are open and the store answers.
    pub fn publish_ready(&self, ready: bool) {
        let _ = ready;
        unimplemented!()
    }

    /// Makes an epoch for a new sign-in and registers the session at its owners; if it is beaten, once more with
    /// the next. The session must be deliverable in the hub before this is called.
    pub async fn register(&self, who: &Passport, endpoint: Endpoint) -> Epoch {
        let _ = (who, endpoint);
        unimplemented!()
    }

    /// Forgets a session, if it is still the one registered.
    pub async fn unregister(&self, who: &Passport, endpoint: Endpoint, epoch: Epoch) {
        let _ = (who, endpoint, epoch);
        unimplemented!()
    }

    /// Sends a notice to the sessions of a principal and says what became of it, after `patience` at the latest.
    pub async fn route(&self, to: &Passport, notice: Notice, patience: Duration) -> Outcome {
        let _ = (to, notice, patience);
        unimplemented!()
    }

    /// Sends notices to many without waiting: grouped by owner node, one batch each. Notices from one task to one
    /// principal arrive in order.
    pub fn post(&self, notices: Vec<(Passport, Notice)>) {
        let _ = notices;
        unimplemented!()
    }

    /// Sends a notice straight to a session whose place is known, without waiting.
    pub fn post_to(&self, place: &Location, to: Passport, notice: Notice) {
        let _ = (place, to, notice);
        unimplemented!()
    }
}
