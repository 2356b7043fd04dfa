//! Messages to principals who were away, sent by nobody in a conversation.

use std::time::Duration;

use bytes::Bytes;

use super::cursor::SETTLED_AFTER_MS;
use crate::clock::made_ms;
use crate::model::{InboxId, MessageId, Passport};

/// How long a message waits for somebody who is away: 30 days.
pub const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// So long after the making of an id nothing can appear at or below it any more: a write is confirmed within 5 s of it,
/// and the clocks of two machines differ by 1 s at most; 1 s to spare.
pub const SETTLED_AFTER: Duration = Duration::from_millis(SETTLED_AFTER_MS);

/// A message in an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxMessage {
    /// Its place there, by the time at which it was put there.
    pub id: InboxId,
    /// The message in history.
    pub message: MessageId,
    /// Who said it.
    pub sender: Passport,
    /// The payload of the `MSG`, headers included, byte for byte.
    pub payload: Bytes,
}

/// A part of an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxPage {
    /// Oldest first.
    pub messages: Vec<InboxMessage>,
    /// There is more behind the last of them.
    pub more: bool,
}

/// The weeks since 1970 by which stores keep inboxes apart.
pub(super) fn week_of(ms: u64) -> i64 {
    const WEEK_MS: u64 = 7 * 24 * 60 * 60 * 1000;
    i64::try_from(ms / WEEK_MS).unwrap_or(i64::MAX)
}

impl InboxId {
    /// When it was made, in milliseconds since 1970.
    #[must_use]
    pub fn made_ms(self) -> u64 {
        made_ms(MessageId(self.0))
    }
}

/// When a message that is put in at an id is too old, in milliseconds since 1970.
pub(super) fn expires(id: InboxId) -> u64 {
    id.made_ms().saturating_add(u64::try_from(KEPT_FOR.as_millis()).unwrap_or(u64::MAX))
}
