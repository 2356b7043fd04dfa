//! History, and who still waits for which part of it.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::model::{ChannelId, ConversationId, Generation, MessageId, NodeId, ParticipationId, Passport};

/// Why a message is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MessageKind {
    /// `text/plain`
    Text = 1,
    /// Handwriting.
    Ink = 2,
    /// `text/x-msnmsgr-datacast`, `ID: 1`.
    Nudge = 3,
}

impl MessageKind {
    /// The number that stores keep.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Reads that number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Text, Self::Ink, Self::Nudge].into_iter().find(|kind| kind.code() == code)
    }
}

/// A message in history; immutable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// The line of history it belongs to.
    pub channel: ChannelId,
    /// Its place there.
    pub id: MessageId,
    /// The switchboard session in which it was said.
    pub conversation: ConversationId,
    /// Who said it.
    pub sender: Passport,
    /// What it is.
    pub kind: MessageKind,
    /// The payload of the `MSG`, headers included, byte for byte.
    pub payload: Bytes,
    /// The admissions of those it was said to.
    pub meant_for: Vec<ParticipationId>,
}

/// That a participation is used by a message: its row exists and names the channel from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParticipationUse {
    /// Whose.
    pub passport: Passport,
    /// Which.
    pub participation: ParticipationId,
    /// In which conversation.
    pub conversation: ConversationId,
    /// On which switchboard.
    pub switchboard: NodeId,
    /// And in which of its lives.
    pub generation: Generation,
    /// A channel that the conversation wrote to.
    pub channel: ChannelId,
}

/// The row of a participation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Participation {
    /// Whose.
    pub passport: Passport,
    /// Which.
    pub id: ParticipationId,
    /// In which conversation.
    pub conversation: ConversationId,
    /// On which switchboard.
    pub switchboard: NodeId,
    /// And in which of its lives.
    pub generation: Generation,
    /// The channels that the conversation wrote to while it was there.
    pub channels: BTreeSet<ChannelId>,
    /// The last message known to have reached it at the switchboard.
    pub live_cursor: Option<MessageId>,
    /// The last message known to have reached it as an offline message.
    pub offline_cursor: Option<MessageId>,
    /// It has left, and something is outstanding.
    pub closed: bool,
}

/// Who may read a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelMember {
    /// Which channel.
    pub channel: ChannelId,
    /// Who.
    pub passport: Passport,
    /// From which message on.
    pub since: MessageId,
}

/// A channel of a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelOf {
    /// Which channel.
    pub channel: ChannelId,
    /// From which message on it may be read.
    pub since: MessageId,
    /// How far it was read.
    pub last_read: Option<MessageId>,
}

/// One message with all that must be durable before it is acknowledged.
#[derive(Debug, Clone)]
pub struct HistoryWrite {
    /// The message.
    pub message: StoredMessage,
    /// The recipients' participations that this writer has not yet written for this channel.
    pub participations: Vec<ParticipationUse>,
    /// The members of the channel that this writer has not yet written. An earlier `since` that is there stays.
    pub members: Vec<ChannelMember>,
}

/// Where reading stopped. Opaque to whoever keeps it; given back as it was got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(pub Vec<u8>);

/// Messages in order, and where to read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Oldest first within the page. A message that was written late may be older than what earlier pages had.
    pub messages: Vec<StoredMessage>,
    /// From here the next page follows, also when nothing was found.
    pub cursor: Cursor,
    /// More is there already: read on at once.
    pub more: bool,
}
