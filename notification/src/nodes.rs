//! Mourning notification nodes: a dead one can't say that its users have gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::cluster::{Role, View};
use common::model::{Generation, NodeId};

use crate::hub::Item;
use crate::services::Services;

type Lives = BTreeMap<NodeId, Generation>;

/// Watches the view until shutdown. Once a node has been away for the grace period, sessions ask its users anew.
pub(crate) async fn mourn(services: Arc<Services>) {
    let mut views = services.cluster.watch();
    let mut known = lives(&views.borrow_and_update());
    let grace = Duration::from_secs(services.config.grace_secs);
    loop {
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            () = services.shutdown.begun() => return,
        }
        let now = lives(&views.borrow_and_update());
        for (node, generation) in lost(&known, &now) {
            tracing::warn!(%node, "a notification node is gone");
            let services = Arc::clone(&services);
            tokio::spawn(async move {
                tokio::time::sleep(grace).await;
                if !services.cluster.view().has(&node, generation) {
                    services.hub.tell_all(|| Item::NodeLost(node.clone()));
                }
            });
        }
        known = now;
    }
}

fn lives(view: &View) -> Lives {
    view.of(Role::Notification).map(|node| (node.id.clone(), node.generation)).collect()
}

/// Those that were alive and are not, or live again: their former users are gone either way.
fn lost(before: &Lives, now: &Lives) -> Vec<(NodeId, Generation)> {
    let gone = before.iter().filter(|(node, generation)| now.get(*node) != Some(*generation));
    gone.map(|(node, generation)| (node.clone(), *generation)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_lives_again_was_lost() {
        let lives = |all: &[(&str, u64)]| -> Lives {
            all.iter().map(|(node, life)| (NodeId::parse(node).unwrap(), Generation(*life))).collect()
        };
        let before = lives(&[("a", 1), ("b", 1), ("c", 1)]);
        let lost = lost(&before, &lives(&[("a", 1), ("b", 2), ("d", 1)]));
        assert_eq!(lost.into_iter().collect::<Lives>(), lives(&[("b", 1), ("c", 1)]));
    }
}
