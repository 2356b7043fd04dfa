use std::collections::BTreeSet;

use uuid::Uuid;

use super::Source;
use super::world::{channel, message_id, passport, row, text, two, usage};
use crate::clock;
use crate::model::ParticipationId;
use crate::store::{ParticipationUse, SharedStore};

/// A message that makes a participation's row.
async fn put(store: &SharedStore, used: &ParticipationUse) {
    let mut write = text(used.channel, message_id(clock::wall_ms()));
    write.message.meant_for.push(used.participation);
    write.participations.push(used.clone());
    store.append(write).await.unwrap();
}

/// The first use makes the row, others add their channels and change nothing else.
pub async fn a_use_makes_a_row_once(source: &dyn Source) {
    let (one, other) = two(source).await;
    let who = passport("who");
    assert_eq!(other.participations(&who).await.unwrap(), []);
    let used = usage(&who, channel());
    put(&one, &used).await;
    let mut expected = row(&used);
    assert_eq!(other.participations(&who).await.unwrap(), [expected.clone()]);

    let (seen, closed_at) = (message_id(clock::wall_ms()), message_id(clock::wall_ms()));
    one.set_offline_cursor(&who, used.participation, seen).await.unwrap();
    one.close_participation(&who, used.participation, Some(closed_at)).await.unwrap();
    let again = ParticipationUse { channel: channel(), ..used.clone() };
    put(&one, &again).await;
    put(&other, &used).await;
    expected.channels = BTreeSet::from([used.channel, again.channel]);
    (expected.live_cursor, expected.offline_cursor, expected.closed) = (Some(closed_at), Some(seen), true);
    assert_eq!(other.participations(&who).await.unwrap(), [expected]);

    // A rejoin is another one, and so is somebody else's.
    put(&one, &usage(&who, used.channel)).await;
    put(&one, &usage(&passport("other"), used.channel)).await;
    assert_eq!(other.participations(&who).await.unwrap().len(), 2);
}

/// The live cursor goes where the switchboard says, also back and to nothing; the offline cursor only forwards.
pub async fn cursors_move(source: &dyn Source) {
    let (one, other) = two(source).await;
    let (who, they) = (passport("who"), passport("they"));
    let (mine, theirs) = (usage(&who, channel()), usage(&they, channel()));
    put(&one, &mine).await;
    put(&one, &theirs).await;
    let ids: Vec<_> = (0..3).map(|_| message_id(clock::wall_ms())).collect();
    for live in [Some(ids[2]), Some(ids[1]), None, Some(ids[0])] {
        let moves =
            vec![(who.clone(), mine.participation, live), (they.clone(), theirs.participation, Some(ids[0]))];
        one.set_live_cursors(moves).await.unwrap();
        assert_eq!(other.participations(&who).await.unwrap()[0].live_cursor, live);
        assert_eq!(other.participations(&they).await.unwrap()[0].live_cursor, Some(ids[0]));
    }
    for (offline, at) in [(0, 0), (2, 2), (1, 2)] {
        other.set_offline_cursor(&who, mine.participation, ids[offline]).await.unwrap();
        assert_eq!(one.participations(&who).await.unwrap()[0].offline_cursor, Some(ids[at]));
    }
    let untouched = &other.participations(&they).await.unwrap()[0];
    assert_eq!((untouched.offline_cursor, untouched.closed), (None, false));
}

/// Closed with its last cursor, then gone; each may be repeated.
pub async fn a_closed_participation_is_removed_at_last(source: &dyn Source) {
    let (one, other) = two(source).await;
    let who = passport("who");
    let (used, kept) = (usage(&who, channel()), usage(&who, channel()));
    put(&one, &used).await;
    put(&one, &kept).await;
    let last = message_id(clock::wall_ms());
    one.set_live_cursors(vec![(who.clone(), used.participation, Some(last))]).await.unwrap();
    for live in [Some(last), None, None] {
        one.close_participation(&who, used.participation, live).await.unwrap();
        let rows = other.participations(&who).await.unwrap();
        let closed = rows.iter().find(|row| row.id == used.participation).unwrap();
        assert_eq!((closed.closed, closed.live_cursor), (true, live));
    }
    for _ in 0..2 {
        one.remove_participation(&who, used.participation).await.unwrap();
        assert_eq!(other.participations(&who).await.unwrap(), [row(&kept)]);
    }
}

/// What moves or closes a participation never makes one: not of one that was removed, nor of one that never was.
pub async fn what_is_not_recorded_is_passed_over(source: &dyn Source) {
    let (one, other) = two(source).await;
    let who = passport("who");
    let (removed, kept) = (usage(&who, channel()), usage(&who, channel()));
    put(&one, &removed).await;
    put(&one, &kept).await;
    one.remove_participation(&who, removed.participation).await.unwrap();
    let id = message_id(clock::wall_ms());
    for gone in [removed.participation, ParticipationId(Uuid::new_v4())] {
        one.set_live_cursors(vec![
            (who.clone(), gone, Some(id)),
            (who.clone(), kept.participation, Some(id)),
            (passport("nobody"), gone, None),
        ])
        .await
        .unwrap();
        one.set_offline_cursor(&who, gone, id).await.unwrap();
        one.close_participation(&who, gone, Some(id)).await.unwrap();
        one.remove_participation(&who, gone).await.unwrap();
        let mut expected = row(&kept);
        expected.live_cursor = Some(id);
        assert_eq!(other.participations(&who).await.unwrap(), [expected]);
    }
}
