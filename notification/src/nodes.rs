//! Watching switchboards: a dead one can't say what it has not delivered, and what one has said that was cut off may be lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::cluster::{Role, View};
use common::model::{Generation, NodeId};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::hub::{Hub, Item};
use crate::services::Services;

type Lives = BTreeMap<NodeId, Generation>;

/// A switchboard counts as dead when gossip has not known it for so long.
const SILENCE: Duration = Duration::from_secs(7);
/// So many sessions a second ask for what a dead switchboard has left.
const ASKING: u32 = 500;

/// Watches the view until shutdown. Once a switchboard has been away, sessions ask for what it has left, or has told them in vain.
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
    let is_dead = is_dead(services.cluster.watch(), &node, generation).await;
    tell_sessions(&services.hub, &node, generation, is_dead);
}

fn tell_sessions(hub: &Hub, node: &NodeId, generation: Generation, is_dead: bool) {
    let mut told = 0;
    hub.tell_all(|| {
        told += 1;
        let after = Duration::from_secs(1) * told / ASKING;
        if is_dead {
            Item::SwitchboardLost { node: node.clone(), generation, after }
        } else {
            // Where it was, sessions of this side may have counted as signed in nowhere, and it does not tell them again.
            Item::MayBeKept { after }
        }
    });
}

/// Whether a life of a switchboard that gossip does not know is over: it may only have been cut off. One that has begun anew has no
/// earlier life, so that what is said after its restart finds what was kept before it on its way.
async fn is_dead(mut views: watch::Receiver<Arc<View>>, node: &NodeId, generation: Generation) -> bool {
    let lives_anew = |view: &Arc<View>| view.node(node).is_some_and(|known| known.generation > generation);
    let anew = timeout(SILENCE, views.wait_for(lives_anew)).await.is_ok_and(|changed| changed.is_ok());
    anew || !views.borrow().has(node, generation)
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
    use common::cluster::Node;
    use common::model::{Endpoint, Passport};
    use tokio::time::{Instant, advance};

    use super::*;
    use crate::hub::Access;
    use crate::session::transcript::switchboard;

    fn view(lives: &[u64]) -> Arc<View> {
        let life = |life: &u64| Node { generation: Generation(*life), ..switchboard("sb-1", 0, 100) };
        Arc::new(View::new(lives.iter().map(life)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_switchboard_is_dead_after_seven_seconds_or_when_it_lives_anew() {
        // What is known of it once it has been away for two seconds; it had its fifth life.
        for (then, dead, after) in [(&[][..], true, 7), (&[6], true, 2), (&[5], false, 7), (&[4], true, 7)] {
            let (views, begun) = (watch::Sender::new(view(&[])), Instant::now());
            let node = NodeId::parse("sb-1").unwrap();
            let seen = views.subscribe();
            let asked = tokio::spawn(async move { is_dead(seen, &node, Generation(5)).await });
            tokio::task::yield_now().await;
            advance(Duration::from_secs(2)).await;
            views.send_replace(view(then));
            assert_eq!(asked.await.unwrap(), dead, "{then:?}");
            assert_eq!(begun.elapsed().as_secs(), after, "{then:?}");
        }
    }

    #[test]
    fn sessions_ask_also_when_a_switchboard_was_only_cut_off() {
        for is_dead in [true, false] {
            let (hub, node) = (Arc::new(Hub::new()), NodeId::parse("sb-1").unwrap());
            let names = ["1@example.com", "2@example.com"].map(|name| Passport::parse(name).unwrap());
            let mut sessions = names.map(|who| hub.enter(&who, Endpoint::SOLE, Access::SOME));
            tell_sessions(&hub, &node, Generation(5), is_dead);
            let mut turns: Vec<Duration> = sessions
                .iter_mut()
                .map(|(_, mailbox)| match mailbox.now().expect("it is told") {
                    Item::SwitchboardLost { after, .. } if is_dead => after,
                    Item::MayBeKept { after } if !is_dead => after,
                    other => panic!("{other:?}"),
                })
                .collect();
            turns.sort();
            assert_eq!(turns, [1, 2].map(|turn| Duration::from_secs(turn) / ASKING), "each in its turn");
        }
    }

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
