//! A session with the servers, as configured.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::NewSessionError;
use scylla::policies::host_filter::AllowListHostFilter;

use super::errors::unavailable;
use super::keys::Keys;
use super::policy::Profiles;
use crate::config::ScyllaConfig;
use crate::store::{Result, StoreError};

/// From the first packet to a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Between two signs of life on a connection, and how long the second may take: a node that is gone without a word is
/// noticed within both.
const SIGN_OF_LIFE: Duration = Duration::from_secs(4);
/// The most that opening takes; whoever opens tries again.
const OPEN: Duration = Duration::from_secs(15);
/// Within which all nodes must know a change of the schema.
const AGREEMENT: Duration = Duration::from_secs(60);

/// Connects to the nodes. `keyspaces` are those whose layout is asked for, so that statements go to the right nodes.
/// `keys` may be read again while the session lives. With `only_these` no nodes but the contact points are asked.
pub(super) async fn connect(
    config: &ScyllaConfig,
    keys: Arc<Keys>,
    profiles: &Profiles,
    only_these: bool,
) -> Result<Session> {
    let points = config.contact_points.join(", ");
    let mut builder = SessionBuilder::new()
        .known_nodes(&config.contact_points)
        .default_execution_profile_handle(profiles.schema.clone().into_handle())
        .keyspaces_to_fetch([config.keyspace.clone(), config.accounts_keyspace()])
        .fetch_full_schema_metadata(false)
        .connection_timeout(CONNECT)
        .keepalive_interval(SIGN_OF_LIFE)
        .keepalive_timeout(SIGN_OF_LIFE)
        .schema_agreement_timeout(AGREEMENT)
        // `migrate` does, after each change.
        .auto_await_schema_agreement(false);
    if let Some(tls) = keys.tls()? {
        builder = builder.tls_context(Some(tls));
    }
    // Asked only where the server wants to know who this is.
    builder = builder.authenticator_provider(keys);
    if only_these {
        let only = AllowListHostFilter::new(&config.contact_points).map_err(unavailable)?;
        builder = builder.host_filter(Arc::new(only));
    }
    match tokio::time::timeout(OPEN, builder.build()).await {
        Ok(Ok(session)) => {
            let state = session.get_cluster_state();
            let datacenters = state.get_nodes_info().iter().filter_map(|node| node.datacenter.as_deref());
            one_is_meant(config, &datacenters.collect())?;
            Ok(session)
        }
        Ok(Err(NewSessionError::IllegalConfig(text))) => Err(StoreError::Refused(text.into())),
        Ok(Err(error)) => Err(unavailable(format_args!("no CQL server at {points}: {error}"))),
        Err(_) => {
            Err(unavailable(format_args!("no CQL server at {points}: no answer within {} s", OPEN.as_secs())))
        }
    }
}

/// Whether it is known of which datacenter a majority is to answer: if a write had it in one and the next read in
/// another, the read would not see the write.
fn one_is_meant(config: &ScyllaConfig, datacenters: &BTreeSet<&str>) -> Result<()> {
    if datacenters.len() < 2 || !config.needs_datacenter() {
        return Ok(());
    }
    let names: Vec<_> = datacenters.iter().copied().collect();
    Err(StoreError::Refused(format!(
        "the nodes are in several datacenters, {}: say in store.scylla.datacenter whose are asked, the same for all \
         processes that share accounts, or set store.scylla.consistency to \"quorum\"",
        names.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StoreConsistency;

    #[test]
    fn several_datacenters_need_a_choice() {
        let config = ScyllaConfig::default();
        let [one, two] = [BTreeSet::from(["dc1"]), BTreeSet::from(["dc1", "dc2"])];
        one_is_meant(&config, &one).unwrap();
        let error = one_is_meant(&config, &two).unwrap_err().to_string();
        assert!(error.contains("store.scylla.datacenter") && error.contains("dc1, dc2"), "{error}");
        let chosen = ScyllaConfig { datacenter: Some("dc1".into()), ..config.clone() };
        let quorum = ScyllaConfig { consistency: StoreConsistency::Quorum, ..config };
        one_is_meant(&chosen, &two).and(one_is_meant(&quorum, &two)).unwrap();
    }
}
