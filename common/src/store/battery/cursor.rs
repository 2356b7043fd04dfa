use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Source;
use super::world::{channel, message_id, read_all, text, two};
use crate::clock;
use crate::model::{ChannelId, MessageId};
use crate::store::{Cursor, SharedStore, StoreError};

/// A message that is written after newer ones were read comes on the next page, and nothing comes again.
pub async fn late_messages_come_on_a_later_page(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (channel, now) = (channel(), clock::wall_ms());
    let old = message_id(now - 60_000);
    let late: Vec<_> = [4_900, 3_000, 50].map(|age| message_id(now - age)).into();
    let newest = message_id(now);
    one.append(text(channel, old)).await.unwrap();
    one.append(text(channel, newest)).await.unwrap();
    let (ids, mut cursor) = read_all(&other, channel, None, 10).await;
    assert_eq!(ids, [old, newest]);
    for id in late {
        one.append(text(channel, id)).await.unwrap();
        let (ids, next) = read_all(&other, channel, Some(cursor.clone()), 10).await;
        assert_eq!(ids, [id]);
        // The cursor before still is what it was.
        assert_eq!(read_all(&one, channel, Some(cursor), 10).await.0, [id]);
        assert_eq!(read_all(&one, channel, Some(next.clone()), 10).await.0, []);
        cursor = next;
    }
}

/// A reader that follows several writers, each of which is up to 300 ms late, gets every message exactly once.
pub async fn pages_are_exact_under_concurrent_writers(source: &dyn Source) {
    const WRITERS: usize = 6;
    const EACH: usize = 60;
    let (one, other) = two(source).await;
    let channel = channel();
    let writing = Arc::new(AtomicUsize::new(WRITERS));
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        let store = if n % 2 == 0 { one.clone() } else { other.clone() };
        let writing = Arc::clone(&writing);
        writers.spawn(async move {
            for turn in 0..EACH {
                let id = message_id(clock::wall_ms());
                // Every writer is late at other times than its neighbours.
                let late = if (turn * 7 + n * 3) % 10 == 0 { 300 } else { (turn + n) % 4 };
                sleep(Duration::from_millis(late as u64)).await;
                store.append(text(channel, id)).await.unwrap();
            }
            writing.fetch_sub(1, Ordering::AcqRel);
        });
    }
    let readers: Vec<_> = [(one, 1), (other.clone(), 7), (other, 1000)]
        .map(|(store, limit)| tokio::spawn(follow(store, channel, limit, Arc::clone(&writing))))
        .into();
    writers.join_all().await;
    for reader in readers {
        let seen = reader.await.unwrap();
        assert_eq!(seen.len(), WRITERS * EACH, "every message");
        assert!(seen.values().all(|times| *times == 1), "exactly once");
    }
}

/// Reads on and on until there is nothing more after the last writer's end.
async fn follow(
    store: SharedStore,
    channel: ChannelId,
    limit: usize,
    writing: Arc<AtomicUsize>,
) -> BTreeMap<MessageId, usize> {
    let (mut seen, mut cursor) = (BTreeMap::new(), None);
    loop {
        let last_turn = writing.load(Ordering::Acquire) == 0;
        let page = store.read(channel, cursor.as_ref(), limit).await.unwrap();
        for message in &page.messages {
            *seen.entry(message.id).or_default() += 1;
        }
        if last_turn && !page.more {
            return seen;
        }
        cursor = Some(page.cursor);
    }
}

/// One may read on from an empty channel, from its end, and from any cursor again.
pub async fn a_cursor_of_nothing_is_a_place(source: &dyn Source) {
    let (one, other) = two(source).await;
    let channel = channel();
    let empty = other.read(channel, None, 10).await.unwrap();
    assert!(empty.messages.is_empty() && !empty.more);
    let id = message_id(clock::wall_ms());
    one.append(text(channel, id)).await.unwrap();
    let (ids, end) = read_all(&other, channel, Some(empty.cursor.clone()), 10).await;
    assert_eq!(ids, [id]);
    assert_eq!(read_all(&one, channel, Some(end), 10).await.0, []);
    assert_eq!(read_all(&one, channel, Some(empty.cursor), 10).await.0, [id]);
}

/// Cursors do not grow with what was read, but only with what is recent.
pub async fn cursors_stay_small(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (channel, now) = (channel(), clock::wall_ms());
    let mut writes = JoinSet::new();
    for n in 0..500 {
        let store = one.clone();
        let id = message_id(now - 60_000 + n);
        writes.spawn(async move { store.append(text(channel, id)).await.unwrap() });
    }
    writes.join_all().await;
    let page = other.read(channel, None, 400).await.unwrap();
    assert!(page.more && page.cursor.0.len() < 100, "{}", page.cursor.0.len());
    let (rest, cursor) = read_all(&other, channel, Some(page.cursor), 400).await;
    assert!(rest.len() == 100 && cursor.0.len() < 100, "{}", cursor.0.len());
}

/// A page of large messages ends early and says that there is more.
pub async fn pages_are_bounded_in_bytes(source: &dyn Source) {
    let (one, other) = two(source).await;
    let channel = channel();
    let ids: Vec<_> = (0..6).map(|_| message_id(clock::wall_ms())).collect();
    for id in &ids {
        let mut write = text(channel, *id);
        write.message.payload = Bytes::from(vec![b'x'; 2 << 20]);
        one.append(write).await.unwrap();
    }
    let page = other.read(channel, None, 100).await.unwrap();
    assert!(page.more && (1..6).contains(&page.messages.len()), "{}", page.messages.len());
    let (rest, _) = read_all(&other, channel, Some(page.cursor), 100).await;
    assert_eq!(page.messages.len() + rest.len(), 6);
}

/// A cursor that no reading gave is an error and nothing worse.
pub async fn strange_cursors_are_refused(source: &dyn Source) {
    let store = source.open().await;
    for bytes in [vec![], vec![0], vec![255; 16], vec![1; 100_000], b"DROP TABLE".to_vec()] {
        let answer = store.read(channel(), Some(&Cursor(bytes)), 10).await;
        assert!(matches!(answer, Err(StoreError::Corrupt(_))));
    }
}
