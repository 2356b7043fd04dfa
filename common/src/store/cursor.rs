//! Reading on, exactly, in a channel that several switchboards write to.
//!
//! Ids are made before their messages are written, so a message may appear below one that was read already. A
//! cursor therefore has an exact point, below which nothing can appear any more, and the ids that were given
//! above it.

use std::time::Duration;

use uuid::Uuid;

use super::{Cursor, Result, StoreError};
use crate::model::MessageId;

/// How far the exact point stays behind the time before a reading, in milliseconds: a write is confirmed within
/// 5 s of the making of its id, and the clocks of two nodes that serve differ by 1 s at most; 1 s to spare.
pub(super) const SETTLED_AFTER_MS: u64 = 7_000;

/// The most ids that a cursor holds above its point: 64 KiB, or 585 messages a second in one channel. What is
/// beyond waits until the point has risen.
pub(super) const MOST_GIVEN: usize = 4096;

/// A page ends at this many bytes of payload, so that what it takes is bounded whatever was written.
pub(super) const PAGE_BYTES: usize = 4 << 20;

/// How long a reading waits that found only messages its cursor can't hold yet, so that who reads on at once does
/// not spin.
pub(super) const HELD_BACK: Duration = Duration::from_millis(200);

/// The first byte of a cursor: how the rest is to be read.
const FORM: u8 = 1;
const ID_LEN: usize = 16;

impl Cursor {
    /// Behind a message, or before all that are made after an id. Not exact by itself: what is written later below it,
    /// by anybody, is not read. It is for what one conversation has said, whose ids rise.
    #[must_use]
    pub fn behind(message: MessageId) -> Self {
        let mut bytes = Vec::with_capacity(1 + ID_LEN);
        bytes.push(FORM);
        bytes.extend_from_slice(message.0.as_bytes());
        Self(bytes)
    }
}

/// One reading of a channel, from its cursor to the next.
#[derive(Debug)]
pub(super) struct Reading {
    /// All that is and ever will be at or below it was given.
    point: Uuid,
    /// Given above the point; sorted.
    given: Vec<Uuid>,
    /// No id at or below it can appear any more.
    settled: Uuid,
    /// Given by this reading, in order.
    taken: Vec<Uuid>,
    /// How many ids above `settled` the next cursor must hold.
    unsettled: usize,
}

impl Reading {
    /// Starts a reading at the beginning or behind a cursor. `now_ms` is the time, in milliseconds since 1970,
    /// before the store is asked.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if this module never wrote such a cursor.
    pub(super) fn start(after: Option<&Cursor>, now_ms: u64) -> Result<Self> {
        let (point, given) = after.map_or(Ok((Uuid::nil(), Vec::new())), parse)?;
        let settled = first_id_of(now_ms.saturating_sub(SETTLED_AFTER_MS));
        let unsettled = given.iter().filter(|id| **id > settled).count();
        Ok(Self { point, given, settled, taken: Vec::new(), unsettled })
    }

    /// Only messages above it are to be looked at.
    pub(super) fn point(&self) -> MessageId {
        MessageId(self.point)
    }

    /// How many messages above the point a page before this one had.
    pub(super) fn given_count(&self) -> usize {
        self.given.len()
    }

    /// Whether a page before this one had that message.
    pub(super) fn was_given(&self, id: MessageId) -> bool {
        self.given.binary_search(&id.0).is_ok()
    }

    /// Gives a message that was not given yet; to be called in the order of ids. False when the cursor can't
    /// hold it: the page ends before it.
    pub(super) fn take(&mut self, id: MessageId) -> bool {
        if id.0 > self.settled {
            if self.unsettled >= MOST_GIVEN {
                return false;
            }
            self.unsettled += 1;
        }
        self.taken.push(id.0);
        true
    }

    /// Where the next reading starts. `all`: everything that was visible is given now.
    pub(super) fn finish(mut self, all: bool) -> Cursor {
        let reached = if all { self.settled } else { self.taken.last().copied().unwrap_or_default() };
        let point = self.point.max(reached.min(self.settled));
        self.given.append(&mut self.taken);
        self.given.retain(|id| *id > point);
        self.given.sort_unstable();
        let mut bytes = Vec::with_capacity(1 + ID_LEN + self.given.len() * ID_LEN);
        bytes.push(FORM);
        bytes.extend_from_slice(point.as_bytes());
        self.given.iter().for_each(|id| bytes.extend_from_slice(id.as_bytes()));
        Cursor(bytes)
    }
}

/// Below every id made in that millisecond and above every one made before it.
fn first_id_of(ms: u64) -> Uuid {
    Uuid::from_u128(u128::from(ms) << 80)
}

/// The point and the ids given above it.
fn parse(cursor: &Cursor) -> Result<(Uuid, Vec<Uuid>)> {
    let (ids, rest) = match cursor.0.split_first() {
        Some((&FORM, rest)) => rest.as_chunks::<ID_LEN>(),
        _ => return Err(malformed()),
    };
    let mut ids = ids.iter().copied().map(Uuid::from_bytes);
    let (Some(point), true) = (ids.next(), rest.is_empty()) else { return Err(malformed()) };
    let given: Vec<Uuid> = ids.collect();
    let rising = given.first().is_none_or(|first| *first > point) && given.is_sorted_by(|a, b| a < b);
    if rising && given.len() <= MOST_GIVEN { Ok((point, given)) } else { Err(malformed()) }
}

fn malformed() -> StoreError {
    StoreError::Corrupt("a cursor that no reading gave".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn id(ms: u64, n: u128) -> MessageId {
        MessageId(Uuid::from_u128((u128::from(ms) << 80) | (7 << 76) | (2 << 62) | n))
    }

    /// One page of `visible` (sorted).
    fn page(
        visible: &[MessageId],
        after: Option<&Cursor>,
        now: u64,
        limit: usize,
    ) -> (Vec<MessageId>, Cursor, bool) {
        let mut reading = Reading::start(after, now).unwrap();
        let (point, mut got) = (reading.point(), Vec::new());
        for &id in visible.iter().filter(|id| **id > point) {
            if reading.was_given(id) {
                continue;
            }
            if got.len() == limit || !reading.take(id) {
                return (got, reading.finish(false), true);
            }
            got.push(id);
        }
        (got, reading.finish(true), false)
    }

    #[test]
    fn a_late_message_below_a_newer_one_comes_once() {
        let (early, late, newer) = (id(NOW - 9_000, 1), id(NOW - 4_500, 2), id(NOW - 10, 3));
        let (got, cursor, more) = page(&[early, newer], None, NOW, 10);
        assert_eq!((got, more), (vec![early, newer], false));
        let (got, cursor, _) = page(&[early, late, newer], Some(&cursor), NOW + 400, 10);
        assert_eq!(got, [late]);
        let (got, cursor, _) = page(&[early, late, newer], Some(&cursor), NOW + 500, 10);
        assert_eq!(got, []);
        assert_eq!(cursor.0.len(), 1 + 3 * ID_LEN);
        let (got, cursor, _) = page(&[early, late, newer], Some(&cursor), NOW + 8_000, 10);
        assert_eq!((got.len(), cursor.0.len()), (0, 1 + ID_LEN));
    }

    #[test]
    fn the_point_stays_where_a_full_page_ended() {
        let all: Vec<_> = (0..10).map(|n| id(NOW - 60_000 + n, 0)).collect();
        let (mut cursor, mut seen) = (None, Vec::new());
        loop {
            let (got, next, more) = page(&all, cursor.as_ref(), NOW, 3);
            assert_eq!(next.0.len(), 1 + ID_LEN);
            seen.extend(got);
            cursor = Some(next);
            if !more {
                break;
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_page_of_none_stays_where_it_was() {
        let all = [id(NOW - 60_000, 0), id(NOW - 1, 0)];
        let (_, cursor, _) = page(&all[..1], None, NOW, 1);
        let (got, same, more) = page(&all, Some(&cursor), NOW, 0);
        assert_eq!((got.len(), same, more), (0, cursor, true));
    }

    #[test]
    fn a_clock_that_steps_back_never_moves_the_point_back() {
        let old = id(NOW - 60_000, 0);
        let (_, cursor, _) = page(&[old], None, NOW, 10);
        let (got, same, _) = page(&[old], Some(&cursor), NOW - 600_000, 10);
        assert_eq!((got.len(), same), (0, cursor));
    }

    #[test]
    fn a_cursor_is_bounded_and_nothing_is_lost_by_it() {
        let count = MOST_GIVEN as u128 + 500;
        let all: Vec<_> = (0..count).map(|n| id(NOW - 1_000, n)).collect();
        let (mut seen, cursor, more) = page(&all, None, NOW, usize::MAX);
        assert_eq!((seen.len(), more), (MOST_GIVEN, true));
        let (held_back, cursor, more) = page(&all, Some(&cursor), NOW + 100, usize::MAX);
        assert_eq!((held_back.len(), more), (0, true));
        assert_eq!(cursor.0.len(), 1 + ID_LEN + MOST_GIVEN * ID_LEN);
        let (rest, cursor, more) = page(&all, Some(&cursor), NOW + 6_500, usize::MAX);
        seen.extend(rest);
        assert_eq!((seen, more, cursor.0.len()), (all, false, 1 + ID_LEN));
    }

    #[test]
    fn what_no_reading_gave_is_refused() {
        let good = page(&[id(NOW, 1), id(NOW, 2)], None, NOW, 10).1.0;
        assert!(parse(&Cursor(good.clone())).is_ok());
        let mut swapped = good.clone();
        swapped[17..].rotate_left(ID_LEN);
        let mut too_many = good[..17].to_vec();
        (0..=MOST_GIVEN as u128).for_each(|n| too_many.extend_from_slice(id(NOW, n).0.as_bytes()));
        for bad in [vec![], vec![FORM], vec![9; 17], good[..40].to_vec(), swapped, too_many] {
            assert!(parse(&Cursor(bad)).is_err());
        }
    }
}
