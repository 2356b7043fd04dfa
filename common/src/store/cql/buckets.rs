//! Which part of a channel's history a message goes to.
//!
//! A bucket is a partition of the servers, named by its start. It ends with its span of 30 days, the same spans for
//! every channel and process, so that all who write to a channel use one bucket without asking each other. A
//! channel that is written to so often that its partition would grow too large gets further buckets within the span,
//! each named by the time of its first message. Each process counts what it writes itself, and forgets the count with
//! its end: buckets of a span may overlap, and readers merge them.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::clock::made_ms;
use crate::model::{ChannelId, MessageId};

/// What a bucket spans at most, in milliseconds.
const SPAN: u64 = 30 * 24 * 60 * 60 * 1000;
/// Channels whose buckets a process remembers: about 6 MB. One that was forgotten is counted anew.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1 << 16).unwrap();

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

    /// No message in it was made at that millisecond or later.
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
}

impl Buckets {
    /// Buckets of about `most_rows` rows of each process.
    pub(super) fn new(most_rows: u32) -> Self {
        Self { current: Mutex::new(LruCache::new(REMEMBERED)), most_rows: most_rows.max(1) }
    }

    /// The bucket of a message that is about to be written, and whether it is surely listed.
    pub(super) fn choose(&self, channel: ChannelId, message: MessageId) -> (Bucket, bool) {
        let made = made_ms(message);
        let span = Bucket::span_of(made);
        let mut all = self.lock();
        let current = all.get_or_insert_mut(channel, || Current { bucket: span, rows: 0, listed: false });
        if span > current.bucket.span() {
            *current = Current { bucket: span, rows: 0, listed: false };
        }
        if made < current.bucket.0 {
            // A straggler of the bucket before.
            return (span, false);
        }
        if current.rows >= self.most_rows && made > current.bucket.0 {
            *current = Current { bucket: Bucket(made), rows: 0, listed: false };
        }
        current.rows = current.rows.saturating_add(1);
        (current.bucket, current.listed)
    }

    /// The bucket is in the list, durably.
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

    #[test]
    fn processes_agree_on_the_bucket_of_a_span() {
        let (one, other) = (Buckets::new(100), Buckets::new(100));
        let channel = ChannelId(Uuid::new_v4());
        let (bucket, listed) = one.choose(channel, id(NOW));
        assert!(!listed && bucket.0 <= NOW && NOW < bucket.end() && bucket.end() - bucket.0 == SPAN);
        assert_eq!(other.choose(channel, id(bucket.end() - 1)).0, bucket);
        one.listed(channel, bucket);
        assert_eq!(one.choose(channel, id(NOW + 1)), (bucket, true));
        let next = Bucket(bucket.end());
        assert_eq!(one.choose(channel, id(bucket.end())), (next, false));
        assert_eq!(one.choose(channel, id(bucket.end() - 1)), (bucket, false), "a straggler");
        one.listed(channel, bucket);
        assert_eq!(one.choose(channel, id(bucket.end() + 1)), (next, false));
    }

    #[test]
    fn a_full_bucket_is_followed_by_another() {
        let buckets = Buckets::new(3);
        let channel = ChannelId(Uuid::new_v4());
        let chosen: Vec<_> = (0..8).map(|n| buckets.choose(channel, id(NOW + n)).0).collect();
        let first = Bucket::span_of(NOW);
        let (second, third) = (Bucket(NOW + 3), Bucket(NOW + 6));
        assert_eq!(chosen, [first, first, first, second, second, second, third, third]);
        assert_eq!(third.end(), first.end());
        assert_eq!(buckets.choose(channel, id(NOW + 5)).0, first, "no bucket holds what is older than its name");
        assert_eq!(buckets.choose(ChannelId(Uuid::new_v4()), id(NOW)).0, first);
        // All of one millisecond stay together.
        let one = Buckets::new(1);
        assert_eq!([(); 3].map(|()| one.choose(channel, id(NOW)).0), [first, Bucket(NOW), Bucket(NOW)]);
    }
}
