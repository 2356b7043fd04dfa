//! Which part of a channel's history a message goes to.
//!
//! A bucket is a partition of the servers, named by its start. It ends with its span of 30 days, the same spans for
//! every channel and process, so that all who write to a channel use one bucket without asking each other. A
//! channel that is written to so often that its partition would grow too large gets further buckets within the span,
//! each named by the time of its first message. Each process counts what it writes itself, and forgets the count with
//! its end: buckets of a span may overlap, and readers merge them.
//!
//! The list of a channel's buckets has a row for each that writes to one. Whoever goes on to another bucket notes in its
//! row when it stopped: a bucket where all have stopped is not looked into for what is newer.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::clock::made_ms;
use crate::model::{ChannelId, MessageId};

/// What a bucket spans at most, in milliseconds.
const SPAN: u64 = 30 * 24 * 60 * 60 * 1000;
/// Channels whose buckets a process remembers: about 6 MB. One that was forgotten is counted anew.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1 << 16).unwrap();

/// In the list of buckets: this writer has not stopped.
pub(super) const OPEN: i64 = i64::MAX;

/// The start of a bucket, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bucket(pub(super) u64);

impl Bucket {
    fn span_of(ms: u64) -> Self {
        Self(ms - ms % SPAN)
    }

    fn span(self) -> Self {
        Self::span_of(self.0)
    }

    /// The end of its span: no message in it was made at that millisecond or later.
    pub(super) fn end(self) -> u64 {
        self.span().0.saturating_add(SPAN)
    }

    pub(super) fn column(self) -> i64 {
        self.0.cast_signed()
    }

    pub(super) fn of_column(start: i64) -> Self {
        Self(start.cast_unsigned())
    }
}

/// Where a message goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) bucket: Bucket,
    /// What has to be durable with it in the list of the channel's buckets, where that is not surely so.
    pub(super) list: Option<Listing>,
    /// What is to be told of a bucket that was left.
    pub(super) left: Option<Listing>,
}

/// A row of the list of a channel's buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) bucket: Bucket,
    /// In the name of this process; otherwise of whoever writes what comes very late, and never says that it stops.
    pub(super) own: bool,
    /// In this name nothing is in it that was made at this millisecond or later; [`OPEN`]: it may.
    pub(super) stopped: i64,
}

/// The buckets that this process writes to.
pub(super) struct Buckets {
    current: Mutex<LruCache<ChannelId, Current>>,
    most_rows: u32,
}

struct Current {
    bucket: Bucket,
    rows: u32,
    /// Its row is in the list of the channel's buckets.
    listed: bool,
    /// When the newest message in it was made. They don't come in the order in which they were made.
    newest: u64,
    /// The bucket that this one follows within the span, as this process lists it.
    before: Option<Listing>,
}

impl Current {
    fn new(bucket: Bucket, before: Option<Listing>) -> Self {
        Self { bucket, rows: 0, listed: false, newest: bucket.0, before }
    }

    /// What this process says of the bucket when it goes on to one that begins at `next`. What is older than that may
    /// still be put here.
    fn leave(&self, next: u64) -> Listing {
        let stopped = self.newest.max(next).saturating_add(1).cast_signed();
        Listing { bucket: self.bucket, own: true, stopped }
    }
}

impl Buckets {
    /// Buckets of about `most_rows` rows of each process.
    pub(super) fn new(most_rows: u32) -> Self {
        Self { current: Mutex::new(LruCache::new(REMEMBERED)), most_rows: most_rows.max(1) }
    }

    /// The place of a message that is about to be written.
    pub(super) fn choose(&self, channel: ChannelId, message: MessageId) -> Place {
        let made = made_ms(message);
        let span = Bucket::span_of(made);
        let mut all = self.lock();
        let current = all.get_or_insert_mut(channel, || Current::new(span, None));
        if span > current.bucket.span() {
            *current = Current::new(span, None);
        }
        if made < current.bucket.0 {
            let straggler = Listing { bucket: span, own: false, stopped: OPEN };
            let list = current.before.filter(|before| before.bucket.0 <= made).unwrap_or(straggler);
            return Place { bucket: list.bucket, list: Some(list), left: None };
        }
        let full = current.rows >= self.most_rows && made > current.bucket.0;
        if full {
            *current = Current::new(Bucket(made), Some(current.leave(made)));
        }
        current.rows = current.rows.saturating_add(1);
        current.newest = current.newest.max(made);
        let bucket = current.bucket;
        let list = (!current.listed).then_some(Listing { bucket, own: true, stopped: OPEN });
        Place { bucket, list, left: current.before.filter(|_| full) }
    }

    /// This process has listed the bucket, durably.
    pub(super) fn listed(&self, channel: ChannelId, bucket: Bucket) {
        if let Some(current) = self.lock().get_mut(&channel).filter(|current| current.bucket == bucket) {
            current.listed = true;
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<ChannelId, Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn id(ms: u64) -> MessageId {
        MessageId(Uuid::from_u128((u128::from(ms) << 80) | (7 << 76) | (2 << 62)))
    }

    fn open(bucket: Bucket) -> Listing {
        Listing { bucket, own: true, stopped: OPEN }
    }

    #[test]
    fn processes_agree_on_the_bucket_of_a_span() {
        let (one, other) = (Buckets::new(100), Buckets::new(100));
        let channel = ChannelId(Uuid::new_v4());
        let place = |bucket, list| Place { bucket, list, left: None };
        let first = one.choose(channel, id(NOW));
        let bucket = first.bucket;
        assert_eq!(first, place(bucket, Some(open(bucket))));
        assert!(bucket.0 <= NOW && NOW < bucket.end() && bucket.end() - bucket.0 == SPAN);
        assert_eq!(other.choose(channel, id(bucket.end() - 1)).bucket, bucket);
        one.listed(channel, bucket);
        assert_eq!(one.choose(channel, id(NOW + 1)), place(bucket, None));
        let next = Bucket(bucket.end());
        assert_eq!(one.choose(channel, id(bucket.end())), place(next, Some(open(next))));
        let straggler = one.choose(channel, id(bucket.end() - 1));
        assert_eq!(straggler, place(bucket, Some(Listing { own: false, ..open(bucket) })));
        one.listed(channel, bucket);
        assert_eq!(one.choose(channel, id(bucket.end() + 1)), place(next, Some(open(next))));
    }

    #[test]
    fn a_full_bucket_is_followed_by_another() {
        let buckets = Buckets::new(3);
        let channel = ChannelId(Uuid::new_v4());
        let places: Vec<_> = (0..8).map(|n| buckets.choose(channel, id(NOW + n))).collect();
        let first = Bucket::span_of(NOW);
        let (second, third) = (Bucket(NOW + 3), Bucket(NOW + 6));
        let chosen: Vec<_> = places.iter().map(|place| place.bucket).collect();
        assert_eq!(chosen, [first, first, first, second, second, second, third, third]);
        assert_eq!(third.end(), first.end());
        let stopped = |bucket: Bucket, at: Bucket| Listing { bucket, own: true, stopped: at.column() + 1 };
        let left: Vec<_> = places.iter().filter_map(|place| place.left).collect();
        assert_eq!(left, [stopped(first, second), stopped(second, third)]);
        // Stragglers: no bucket holds what is older than its name, or newer than its writer says.
        let straggler = |ms| {
            let place = buckets.choose(channel, id(ms));
            (place.bucket, place.list, place.left)
        };
        assert_eq!(straggler(NOW + 5), (second, Some(stopped(second, third)), None));
        assert_eq!(straggler(NOW + 2), (first, Some(Listing { own: false, ..open(first) }), None));
        assert_eq!(buckets.choose(ChannelId(Uuid::new_v4()), id(NOW)).bucket, first);
        // The newest came first.
        let (buckets, channel) = (Buckets::new(1), ChannelId(Uuid::new_v4()));
        buckets.choose(channel, id(NOW + 9));
        assert_eq!(
            buckets.choose(channel, id(NOW)).left,
            Some(Listing { stopped: Bucket(NOW + 10).column(), ..open(first) })
        );
        // All of one millisecond stay together.
        let one = Buckets::new(1);
        assert_eq!([(); 3].map(|()| one.choose(channel, id(NOW)).bucket), [first, Bucket(NOW), Bucket(NOW)]);
    }
}
