use bytes::Bytes;

use super::Source;
use super::world::{channel, message_id, passport, read_all, text, two};
use crate::clock;
use crate::model::{InboxId, Passport};
use crate::store::{Cursor, InboxMessage, KEPT_FOR, SharedStore};

/// A message that is put in at that millisecond.
fn letter(ms: u64, payload: impl Into<Bytes>) -> InboxMessage {
    InboxMessage {
        id: InboxId(message_id(ms).0),
        message: message_id(ms),
        sender: Passport::parse("sender@example.com").expect("the form is right"),
        payload: payload.into(),
    }
}

/// The first messages of an inbox.
async fn read(store: &SharedStore, who: &Passport, limit: usize) -> Vec<InboxMessage> {
    store.inbox(who, None, limit).await.unwrap().messages
}

async fn put_all(store: &SharedStore, who: &Passport, letters: &[InboxMessage]) {
    for letter in letters {
        store.put_in_inbox(who, letter.clone()).await.unwrap();
    }
}

/// Byte for byte, oldest first, across weeks, each once, and nobody else's.
pub async fn an_inbox_is_read_in_the_order_of_putting(source: &dyn Source) {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    let (one, other) = two(source).await;
    let (who, now) = (passport("who"), clock::wall_ms());
    assert_eq!(read(&other, &who, 10).await, []);
    let every_byte: Vec<u8> = (0..=255).collect();
    let mut letters: Vec<_> =
        [29, 16, 9, 2, 0].into_iter().map(|days| letter(now - days * DAY_MS, every_byte.clone())).collect();
    letters.push(letter(now, Bytes::new()));
    for letter in letters.iter().rev() {
        let (a, b) =
            tokio::join!(one.put_in_inbox(&who, letter.clone()), other.put_in_inbox(&who, letter.clone()));
        a.and(b).unwrap();
    }
    assert_eq!(read(&other, &who, 10).await, letters);
    assert_eq!(read(&other, &who, 3).await, letters[..3]);
    assert_eq!(read(&other, &passport("other"), 10).await, []);
}

/// A page says whether there is more, and where it ended reading goes on; never below the watermark.
pub async fn an_inbox_is_read_page_by_page(source: &dyn Source) {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    let (one, other) = two(source).await;
    let (who, now) = (passport("who"), clock::wall_ms());
    let letters: Vec<_> = (0..7).rev().map(|n| letter(now - n * 2 * DAY_MS, "x")).collect();
    put_all(&one, &who, &letters).await;
    for limit in [1, 3, 7, 8] {
        let (mut got, mut after) = (Vec::new(), None);
        loop {
            let page = other.inbox(&who, after, limit).await.unwrap();
            assert!(page.messages.len() <= limit && !page.messages.is_empty());
            got.extend(page.messages);
            after = got.last().map(|last| last.id);
            assert_eq!(page.more, got.len() < letters.len(), "{limit}");
            if !page.more {
                break;
            }
        }
        assert_eq!(got, letters, "{limit}");
    }
    one.set_inbox_watermark(&who, letters[4].id).await.unwrap();
    let page = other.inbox(&who, Some(letters[1].id), 10).await.unwrap();
    assert_eq!((page.messages, page.more), (letters[5..].to_vec(), false));
}

/// What is at or below the watermark is not read again, whoever asks, and what is put in above it is.
pub async fn a_watermark_moves_forwards(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (who, they, now) = (passport("who"), passport("they"), clock::wall_ms());
    let letters: Vec<_> = (0..4).map(|n| letter(now - 60_000 + n, "x")).collect();
    put_all(&one, &who, &letters[..3]).await;
    put_all(&one, &they, &letters).await;
    for (watermark, left) in [(0, 1), (1, 2), (0, 2), (1, 2)] {
        other.set_inbox_watermark(&who, letters[watermark].id).await.unwrap();
        assert_eq!(read(&one, &who, 10).await, letters[left..3]);
    }
    put_all(&other, &who, &letters[3..]).await;
    assert_eq!(read(&one, &who, 10).await, letters[2..]);
    assert_eq!(other.inbox_watermark(&who).await.unwrap(), Some(letters[1].id));
    assert_eq!(other.inbox_watermark(&they).await.unwrap(), None);
    one.set_inbox_watermark(&who, letters[3].id).await.unwrap();
    assert_eq!(read(&other, &who, 10).await, []);
    // A late repetition of a write brings nothing back.
    put_all(&other, &who, &letters[..1]).await;
    assert_eq!(read(&one, &who, 10).await, []);
    assert_eq!(read(&one, &they, 10).await, letters);
}

/// A page is bounded in bytes, and nothing is older than 30 days.
pub async fn inboxes_are_bounded_and_end_by_themselves(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (who, now) = (passport("who"), clock::wall_ms());
    let kept_for = u64::try_from(KEPT_FOR.as_millis()).unwrap();
    let letters = [
        letter(now - kept_for - 60_000, "too old"),
        letter(now - kept_for + 60_000, "just in time"),
        letter(now, vec![b'x'; 3 << 20]),
        letter(now, vec![b'x'; 3 << 20]),
        letter(now, "y"),
    ];
    put_all(&one, &who, &letters).await;
    let page = other.inbox(&who, None, 10).await.unwrap();
    assert!(page.messages == letters[1..4] && page.more, "the bytes have ended it");
    let rest = other.inbox(&who, Some(letters[3].id), 10).await.unwrap();
    assert!(rest.messages == letters[4..] && !rest.more);
}

/// It begins behind that message, in any channel, and goes on as cursors do.
pub async fn a_cursor_behind_a_message_reads_on_from_there(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (channel, now) = (channel(), clock::wall_ms());
    let ids: Vec<_> = (0..10).map(|n| message_id(now - 60_000 + n)).collect();
    for id in &ids {
        one.append(text(channel, *id)).await.unwrap();
    }
    for behind in [0, 4, 9] {
        let (read, _) = read_all(&other, channel, Some(Cursor::behind(ids[behind])), 2).await;
        assert_eq!(read, ids[behind + 1..]);
    }
}
