use bytes::Bytes;
use uuid::Uuid;

use super::Source;
use super::world::{channel, member, message_id, passport, read_all, text, two, usage};
use crate::clock;
use crate::model::{ConversationId, ParticipationId};
use crate::store::{ChannelOf, HistoryWrite, MessageKind, StoredMessage};

/// Any bytes, any length, any number of recipients.
pub async fn messages_come_back_byte_for_byte(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (channel, now) = (channel(), clock::wall_ms());
    let every_byte: Vec<u8> = (0..=255).collect();
    let payloads = [Bytes::new(), Bytes::from(every_byte), Bytes::from(vec![0; 1 << 20])];
    let kinds = [MessageKind::Text, MessageKind::Ink, MessageKind::Nudge];
    let mut expected = Vec::new();
    for ((payload, kind), many) in payloads.into_iter().zip(kinds).zip([0, 1, 50]) {
        let members: Vec<_> = (0..many).map(|n| passport(&format!("m{n}"))).collect();
        let id = message_id(now - 60_000);
        let participations: Vec<_> = members.iter().map(|who| usage(who, channel)).collect();
        let message = StoredMessage {
            channel,
            id,
            conversation: ConversationId(Uuid::new_v4()),
            sender: passport("sender"),
            kind,
            payload,
            meant_for: participations.iter().map(|used| used.participation).collect::<Vec<ParticipationId>>(),
        };
        let members = members.iter().map(|who| member(channel, who, id)).collect();
        one.append(HistoryWrite { message: message.clone(), participations, members }).await.unwrap();
        expected.push(message);
    }
    let page = other.read(channel, None, 10).await.unwrap();
    assert!(page.messages == expected && !page.more);
    assert!(other.read_back(channel, None, 10).await.unwrap() == expected);
    assert_eq!(other.members(channel).await.unwrap().len(), 51);
}

/// Appending is idempotent, also when two do it at once.
pub async fn appending_twice_is_appending_once(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (channel, who) = (channel(), passport("who"));
    for _ in 0..8 {
        let id = message_id(clock::wall_ms());
        let used = usage(&who, channel);
        let mut write = text(channel, id);
        write.participations.push(used);
        write.members.push(member(channel, &who, id));
        let (a, b) = tokio::join!(one.append(write.clone()), other.append(write.clone()));
        a.and(b).and(one.append(write).await).unwrap();
    }
    assert_eq!(read_all(&other, channel, None, 100).await.0.len(), 8);
    assert_eq!(other.participations(&who).await.unwrap().len(), 8);
    assert_eq!(other.members(channel).await.unwrap().len(), 1);
}

/// The order is that of ids, not that of writing, and pages of any size hold each message once.
pub async fn history_is_in_the_order_of_ids(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (channel, now) = (channel(), clock::wall_ms());
    let ids: Vec<_> = (0..25).map(|n| message_id(now - 60_000 + n / 5)).collect();
    for (n, id) in ids.iter().enumerate().rev() {
        let store = if n % 2 == 0 { &one } else { &other };
        store.append(text(channel, *id)).await.unwrap();
    }
    for limit in [1, 2, 24, 25, 26, usize::MAX] {
        assert_eq!(read_all(&other, channel, None, limit).await.0, ids, "{limit}");
    }
    let page = one.read(channel, None, 25).await.unwrap();
    assert!(!page.more && page.messages.iter().all(|message| message.payload == message.id.to_string()));
    let page = one.read(channel, None, 24).await.unwrap();
    assert!(page.more && page.messages.len() == 24);
}

/// The newest first, so to speak, but each page in order.
pub async fn history_is_read_back_from_the_end(source: &dyn Source) {
    let (one, other) = two(source).await;
    let channel = channel();
    let ids: Vec<_> = (0..10).map(|_| message_id(clock::wall_ms())).collect();
    for id in &ids {
        one.append(text(channel, *id)).await.unwrap();
    }
    let back = async |before, limit| {
        let messages = other.read_back(channel, before, limit).await.unwrap();
        messages.into_iter().map(|message| message.id).collect::<Vec<_>>()
    };
    assert_eq!(back(None, 3).await, ids[7..]);
    assert_eq!(back(Some(ids[7]), 3).await, ids[4..7]);
    assert_eq!(back(Some(ids[2]), 30).await, ids[..2]);
    assert_eq!(back(Some(ids[0]), 3).await, []);
    assert_eq!(back(None, 0).await, []);
    assert_eq!(back(None, usize::MAX).await, ids);
}

/// Each channel has its own history, also where ids are shared.
pub async fn channels_do_not_mix(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (a, b) = (channel(), channel());
    let id = message_id(clock::wall_ms());
    one.append(text(a, id)).await.unwrap();
    one.append(text(b, id)).await.unwrap();
    let only_b = message_id(clock::wall_ms());
    one.append(text(b, only_b)).await.unwrap();
    assert_eq!(read_all(&other, a, None, 10).await.0, [id]);
    assert_eq!(read_all(&other, b, None, 10).await.0, [id, only_b]);
    assert_eq!(read_all(&other, channel(), None, 10).await.0, []);
}

/// Both sides of a membership show the earliest message, whoever wrote it last.
pub async fn the_earliest_membership_stays(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (channel, who, now) = (channel(), passport("who"), clock::wall_ms());
    let ids: Vec<_> = (0..3).map(|n| message_id(now + n)).collect();
    for (store, since, earliest) in [(&one, 1, 1), (&other, 2, 1), (&other, 0, 0), (&one, 1, 0)] {
        let mut write = text(channel, ids[since]);
        write.members.push(member(channel, &who, ids[since]));
        store.append(write).await.unwrap();
        assert_eq!(one.members(channel).await.unwrap(), [member(channel, &who, ids[earliest])]);
        let expected = ChannelOf { channel, since: ids[earliest], last_read: None };
        assert_eq!(other.channels_of(&who).await.unwrap(), [expected]);
    }
    assert_eq!(one.channels_of(&passport("stranger")).await.unwrap(), []);
}

/// What was read stays read; whoever is no member has read nothing.
pub async fn the_last_message_read_moves_forwards(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (channel, who, now) = (channel(), passport("who"), clock::wall_ms());
    let ids: Vec<_> = (0..3).map(|n| message_id(now + n)).collect();
    let mut write = text(channel, ids[0]);
    write.members.push(member(channel, &who, ids[0]));
    one.append(write).await.unwrap();
    for (read, last) in [(0, 0), (2, 2), (1, 2)] {
        other.set_last_read(&who, channel, ids[read]).await.unwrap();
        assert_eq!(one.channels_of(&who).await.unwrap()[0].last_read, Some(ids[last]));
    }
    let stranger = passport("stranger");
    one.set_last_read(&stranger, channel, ids[0]).await.unwrap();
    assert_eq!(other.channels_of(&stranger).await.unwrap(), []);
    assert_eq!(other.members(channel).await.unwrap().len(), 1);
}
