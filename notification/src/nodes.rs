//! Mourning switchboards: a dead one can't say what it has not delivered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::cluster::{Role, View};
use common::model::{Generation, NodeId};

use crate::hub::Item;
use crate::services::Services;

type Lives = BTreeMap<NodeId, Generation>;

/// A switchboard counts as dead when gossip has not known it for so long.
const SILENCE: Duration = Duration::from_secs(7);
/// So many sessions a second ask for what a dead switchboard has left.
const ASKING: u32 = 500;

/// Watches the view until shutdown. Once a switchboard has been away, sessions ask for what it has left.
pub(crate) async fn mourn(services: Arc<Services>) {
    let mut views = services.cluster.watch();
    let mut known = lives(&views.borrow_and_update());
    loop {
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            () = services.shutdown.begun() => return,
        }
        let now = lives(&views.borrow_and_update());
        for (node, generation) in lost(&known, &now) {
            tracing::warn!(%node, "a switchboard is gone");
            tokio::spawn(tell(Arc::clone(&services), node, generation));
        }
        known = now;
    }
}

async fn tell(services: Arc<Services>, node: NodeId, generation: Generation) {
    tokio::time::sleep(SILENCE).await;
    if services.cluster.view().has(&node, generation) {
        return;
    }
    let mut told = 0;
    services.hub.tell_all(|| {
        told += 1;
        let after = Duration::from_secs(1) * told / ASKING;
        Item::SwitchboardLost { node: node.clone(), generation, after }
    });
}

fn lives(view: &View) -> Lives {
    view.of(Role::Switchboard).map(|node| (node.id.clone(), node.generation)).collect()
}

/// Those that were alive and are not, or live again: what they had is gone either way.
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
