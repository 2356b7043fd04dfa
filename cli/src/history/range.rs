//! Spans of time.

use std::str::FromStr;

use common::model::MessageId;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use uuid::Uuid;

/// Messages may be listed so much later than their ids say (ids of several switchboards, each by its own clock).
const DISORDER_MS: u64 = 10_000;

/// A point of time, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let midnight = |date: Date| date.to_zoned(TimeZone::UTC).map(|midnight| midnight.timestamp());
        let read = text.parse::<Timestamp>().or_else(|_| text.parse::<Date>().and_then(midnight));
        let ms = read.ok().and_then(|time| u64::try_from(time.as_millisecond()).ok());
        ms.map(Self).ok_or_else(|| "expected a date or a time in UTC: 2026-11-22 or 2026-11-22T15:04:05Z".into())
    }
}

impl Moment {
    /// The least id that a message of that millisecond may have: ids are UUIDs v7, which begin with the milliseconds since 1970
    /// (RFC 9562 §5.7).
    pub(super) fn first_id(self) -> MessageId {
        MessageId(Uuid::from_u128(u128::from(self.0) << 80))
    }
}

/// From `since` on and before `until`, where given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub(super) since: Option<Moment>,
    pub(super) until: Option<Moment>,
}

impl Range {
    pub(super) fn is_bounded(self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    /// Whether a message was said in it.
    pub(super) fn contains(self, id: MessageId) -> bool {
        self.since.is_none_or(|since| id >= since.first_id())
            && self.until.is_none_or(|until| id < until.first_id())
    }

    /// Whether nothing of it comes behind that message.
    pub(super) fn is_over_at(self, id: MessageId) -> bool {
        self.until.is_some_and(|until| id >= Moment(until.0.saturating_add(DISORDER_MS)).first_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_read() {
        let at = |text: &str| text.parse::<Moment>();
        assert_eq!(at("1970-01-02"), Ok(Moment(86_400_000)));
        assert_eq!(at("1970-01-01T00:00:01.5Z"), Ok(Moment(1_500)));
        assert_eq!(at("1970-01-01T01:00:00+01:00"), Ok(Moment(0)));
        for bad in ["", "yesterday", "2026-13-01", "1969-12-31", "15:04"] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_range_has_its_first_moment_and_not_its_last() {
        let id = |ms: u64, rest: u128| MessageId(Uuid::from_u128((u128::from(ms) << 80) | rest));
        let range = Range { since: Some(Moment(10)), until: Some(Moment(20)) };
        let inside = [(9, u128::MAX >> 48, false), (10, 0, true), (19, 7, true), (20, 0, false)];
        for (ms, rest, expected) in inside {
            assert_eq!(range.contains(id(ms, rest)), expected, "{ms}");
        }
        assert!(!range.is_over_at(id(21, 0)) && range.is_over_at(id(20 + DISORDER_MS, 0)));
        let all = Range { since: None, until: None };
        assert!(all.contains(id(0, 0)) && !all.is_over_at(id(1 << 40, 0)) && !all.is_bounded());
    }
}
