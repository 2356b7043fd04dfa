use uuid::Uuid;

use super::Source;
use super::world::two;
use crate::model::{Generation, NodeId};
use crate::store::Heartbeat;

/// The later life of a node holds, and within one the greater count; other nodes have hearts of their own.
pub async fn hearts_beat(source: &dyn Source) {
    let (one, other) = two(source).await;
    let node = || NodeId::parse(&Uuid::new_v4().simple().to_string()).unwrap();
    let heart = |generation, count| Heartbeat { generation: Generation(generation), count };
    let (sb_1, sb_2) = (node(), node());
    assert_eq!(other.heartbeat(&sb_1).await.unwrap(), None);
    let (first, second) = (heart(u64::from(u32::MAX), 9), heart(u64::from(u32::MAX) + 1, 1));
    for beat in [heart(first.generation.0, 8), first] {
        one.beat(&sb_1, beat).await.unwrap();
        assert_eq!(other.heartbeat(&sb_1).await.unwrap(), Some(beat));
    }
    assert_eq!(other.heartbeat(&sb_2).await.unwrap(), None);
    other.beat(&sb_1, second).await.unwrap();
    other.beat(&sb_2, first).await.unwrap();
    // What the first life still has to say comes too late.
    one.beat(&sb_1, heart(first.generation.0, 10)).await.unwrap();
    assert_eq!(one.heartbeat(&sb_1).await.unwrap(), Some(second));
    assert_eq!(one.heartbeat(&sb_2).await.unwrap(), Some(first));
}
