//! What operators see of the cluster.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::node::{Role, View};
use crate::telemetry::Registry;

/// A tier.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RoleLabel {
    role: &'static str,
}

/// A cause.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct WhyLabel {
    why: &'static str,
}

/// The metrics of the cluster. Clones are the same ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Metrics {
    nodes: Family<RoleLabel, Gauge>,
    open_nodes: Family<RoleLabel, Gauge>,
    pub(super) sent: Counter,
    pub(super) received: Counter,
    pub(super) links: Gauge,
    pub(super) refused_links: Counter,
    dropped_datagrams: Family<WhyLabel, Counter>,
    pub(super) dropped_notices: Counter,
    pub(super) told_guesses: Counter,
    pub(super) heard_guesses: Counter,
    pub(super) dropped_guesses: Counter,
    pub(super) directory_entries: Gauge,
}

impl Metrics {
    /// Makes them and registers them under `cluster_…`, behind the prefix that every tier's registry has: `monarch_`.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let (metrics, registry) = (Self::default(), registry.sub_registry_with_prefix("cluster"));
        registry.register("nodes", "Live nodes, by tier", metrics.nodes.clone());
        registry.register("open_nodes", "Live nodes that take clients, by tier", metrics.open_nodes.clone());
        registry.register("sent_messages", "Messages written to peer links", metrics.sent.clone());
        registry.register("received_messages", "Messages read from peer links", metrics.received.clone());
        registry.register("links", "Peer links that this node dialed and that are up", metrics.links.clone());
        registry.register("refused_links", "Peer links that were refused", metrics.refused_links.clone());
        let dropped = "Gossip datagrams dropped: of no secret of ours, from elsewhere, untimely or repeated";
        registry.register("dropped_datagrams", dropped, metrics.dropped_datagrams.clone());
        let dropped = "Notices dropped: a queue was full, or their way was gone";
        registry.register("dropped_notices", dropped, metrics.dropped_notices.clone());
        registry.register(
            "told_guesses",
            "Wrong passwords that other nodes were told of",
            metrics.told_guesses.clone(),
        );
        let heard = "Wrong passwords counted here of which other nodes have told";
        registry.register("heard_guesses", heard, metrics.heard_guesses.clone());
        let dropped = "Wrong passwords of which a node was not told: too many at once, or it was out of reach";
        registry.register("dropped_guesses", dropped, metrics.dropped_guesses.clone());
        let entries = "Sessions in this node's part of the directory";
        registry.register("directory_entries", entries, metrics.directory_entries.clone());
        metrics
    }

    /// Counts a datagram that was not taken.
    pub(super) fn dropped_datagram(&self, why: &'static str) {
        self.dropped_datagrams.get_or_create(&WhyLabel { why }).inc();
    }

    pub(super) fn view(&self, view: &View) {
        for role in [Role::Dispatch, Role::Notification, Role::Switchboard] {
            let label = RoleLabel { role: role.as_str() };
            let count = |nodes: usize| i64::try_from(nodes).unwrap_or(i64::MAX);
            self.nodes.get_or_create(&label).set(count(view.of(role).count()));
            self.open_nodes.get_or_create(&label).set(count(view.open(role).count()));
        }
    }
}

#[cfg(test)]
impl Metrics {
    pub(super) fn dropped_datagrams(&self, why: &'static str) -> u64 {
        self.dropped_datagrams.get_or_create(&WhyLabel { why }).get()
    }
}
