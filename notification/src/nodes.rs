//! Mourning nodes: a dead notification node can't say that its users have gone, nor a dead switchboard what it has not
//! delivered.

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

/// Watches the view until shutdown. Once a notification node has been away for the grace period, sessions ask its users
/// anew; once a switchboard has been away, they ask for what it has left.
pub(crate) async fn mourn(services: Arc<Services>) {
    let mut views = services.cluster.watch();
    let of = |view: &View| [Role::Notification, Role::Switchboard].map(|role| (role, lives(view, role)));
    let mut known = of(&views.borrow_and_update());
    loop {
        tokio::select! {
            changed = views.changed() => if changed.is_err() { return },
            () = services.shutdown.begun() => return,
        }
        let now = of(&views.borrow_and_update());
        for ((role, known), (_, now)) in known.iter().zip(&now) {
            for (node, generation) in lost(known, now) {
                tracing::warn!(%node, "a {} is gone", role.as_str());
                tokio::spawn(tell(Arc::clone(&services), *role, node, generation));
            }
        }
        known = now;
    }
}

async fn tell(services: Arc<Services>, role: Role, node: NodeId, generation: Generation) {
    let switchboard = role == Role::Switchboard;
    let silence = if switchboard { SILENCE } else { Duration::from_secs(services.config.grace_secs) };
    tokio::time::sleep(silence).await;
    if services.cluster.view().has(&node, generation) {
        return;
    }
    if !switchboard {
        return services.hub.tell_all(|| Item::NodeLost(node.clone()));
    }
    let mut told = 0;
    services.hub.tell_all(|| {
        told += 1;
        let after = Duration::from_secs(1) * told / ASKING;
        Item::SwitchboardLost { node: node.clone(), generation, after }
    });
}

fn lives(view: &View, role: Role) -> Lives {
    view.of(role).map(|node| (node.id.clone(), node.generation)).collect()
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
