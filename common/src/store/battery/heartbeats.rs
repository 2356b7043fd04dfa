use uuid::Uuid;

use super::Source;
use super::world::two;
use crate::model::{Generation, NodeId};
use crate::store::{Beat, Heartbeat, SharedStore};

fn node() -> NodeId {
    NodeId::parse(&Uuid::new_v4().simple().to_string()).unwrap()
}

fn heart(generation: u64, count: u64) -> Heartbeat {
    Heartbeat { generation: Generation(generation), count }
}

async fn beat(store: &SharedStore, node: &NodeId, heart: Heartbeat, secrets: &[u8]) {
    store.beat(Beat { node: node.clone(), heart, secrets: secrets.into() }).await.unwrap();
}

/// The later life of a node holds, and within one the greater count; other nodes have hearts of their own.
pub async fn hearts_beat(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (sb_1, sb_2) = (node(), node());
    assert_eq!(other.heartbeat(&sb_1).await.unwrap(), None);
    let (first, second) = (heart(u64::from(u32::MAX), 9), heart(u64::from(u32::MAX) + 1, 1));
    for at in [heart(first.generation.0, 8), first] {
        beat(&one, &sb_1, at, b"").await;
        assert_eq!(other.heartbeat(&sb_1).await.unwrap(), Some(at));
    }
    assert_eq!(other.heartbeat(&sb_2).await.unwrap(), None);
    beat(&other, &sb_1, second, b"").await;
    beat(&other, &sb_2, first, b"").await;
    // What the first life still has to say comes too late.
    beat(&one, &sb_1, heart(first.generation.0, 10), b"").await;
    assert_eq!(one.heartbeat(&sb_1).await.unwrap(), Some(second));
    assert_eq!(one.heartbeat(&sb_2).await.unwrap(), Some(first));
}

/// All hearts are listed, each once and with what its node said last beside it.
pub async fn hearts_are_listed(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (ns_1, ns_2) = (node(), node());
    beat(&one, &ns_1, heart(7, 1), b"old!").await;
    beat(&one, &ns_1, heart(7, 2), b"old!new!").await;
    beat(&other, &ns_2, heart(8, 5), b"").await;
    beat(&other, &ns_2, heart(9, 1), b"new!").await;
    beat(&other, &ns_2, heart(8, 6), b"late").await;
    let mut listed = one.heartbeats().await.unwrap();
    // Other checks have nodes of theirs.
    listed.retain(|beat| [&ns_1, &ns_2].contains(&&beat.node));
    listed.sort_by_key(|beat| beat.heart);
    let last = |node: &NodeId, heart, secrets: &[u8]| Beat { node: node.clone(), heart, secrets: secrets.into() };
    assert_eq!(listed, [last(&ns_1, heart(7, 2), b"old!new!"), last(&ns_2, heart(9, 1), b"new!")]);
}
