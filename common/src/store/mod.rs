//! Durable data: accounts, rosters, history and who still waits for which part of it.
//!
//! One trait, several implementations, one [battery] of tests that each must pass, so that callers see
//! the same behaviour whichever an operator chose. The store knows no verbs and no sockets.
//!
//! Every write here is idempotent: repeating it after an unknown outcome changes nothing more. No write on the
//! message path reads first. A write that was asked for (its future polled once) happens also when nobody waits
//! for it any more. One process's writes about the same thing happen in the order in which it asked for them.

mod account;
pub mod battery;
pub mod cql;
mod cursor;
mod heartbeat;
mod history;
mod inbox;
mod look;
mod networks;
mod open;
mod roster;
pub mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

pub use account::{Account, AccountSummary, Claimed, Credentials, NewAccount};
pub use heartbeat::{Beat, Heartbeat};
pub use history::{
    ChannelMember, ChannelOf, Cursor, HistoryWrite, MessageKind, Page, Participation, ParticipationUse,
    StoredMessage,
};
pub use inbox::{InboxMessage, InboxPage, KEPT_FOR, SETTLED_AFTER};
pub use look::look;
pub use networks::KnownNetwork;
pub use open::{create, is_missing, migrate, missing, open, open_when_there};
pub use roster::Edit;

use crate::model::{ChannelId, ClaimId, InboxId, MessageId, NodeId, ParticipationId, Passport, Roster};

/// A store that tasks share.
pub type SharedStore = Arc<dyn Store>;

/// Why the store did not do what it was asked. Nothing here is the caller's fault.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The store can't be reached, is full, or did not answer in time; the write may or may not have happened.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The store answered something that the suite never wrote.
    #[error("the store holds what it should not: {0}")]
    Corrupt(String),
    /// Somebody has to do something before the store can be used; the text says what.
    #[error("the store can't be used: {0}")]
    Refused(String),
}

/// What the store's calls return.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Durable data. All calls may be made by many tasks at once; none holds a lock across an await, and each ends
/// within 4 s, as an error if need be. A write that has returned `Ok` survives a crash and a power cut,
/// where the servers of a CQL store write their logs before they answer (docs/store-cql.md).
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The random id that this store got when it was created. Nodes on another store are refused by their peers.
    async fn id(&self) -> Result<Uuid>;

    /// Whether the store answers reads and takes writes at this moment. Costs a durable write.
    async fn check(&self) -> Result<()>;

    /// Waits, 4 s at most, until what was asked for has ended. To be called before the process ends; a store that
    /// needs nothing of the kind does it when it is dropped.
    async fn flush(&self) {}

    // Accounts.

    /// Claims a passport. Of several claims at once exactly one wins; one's own claim, repeated, wins again and
    /// changes nothing. Settings start at list version 1, with both times those of the creation.
    async fn create_account(&self, new: NewAccount) -> Result<Claimed>;

    /// The account of that passport, without its roster.
    async fn account(&self, who: &Passport) -> Result<Option<Account>>;

    /// Replaces the credentials of that epoch, of the account that `claim` won. False if there is none such: of several changes at
    /// once one wins. One's own change, repeated, wins again.
    async fn set_credentials(
        &self,
        who: &Passport,
        claim: ClaimId,
        replaced: u64,
        credentials: Credentials,
    ) -> Result<bool>;

    /// Removes the account that `claim` won, with its settings, lists and groups, what others have written there, and what was kept
    /// for it. What others have of it on their own lists stays, and so does history. To be called when nobody is signed in to it:
    /// SQLite takes nothing that a session writes later, but on CQL servers that leaves rows. False if there is none such.
    async fn remove_account(&self, who: &Passport, claim: ClaimId) -> Result<bool>;

    /// Up to `limit` accounts in the order of their passports, from the one behind `after`.
    async fn accounts(&self, after: Option<&Passport>, limit: usize) -> Result<Vec<AccountSummary>>;

    /// Notes when principals were last signed in, in milliseconds since 1970. An earlier time than the one noted
    /// changes nothing. May be lost in a crash.
    async fn touch(&self, seen: Vec<(Passport, u64)>) -> Result<()>;

    /// From where somebody has signed in to the account of that passport, the last network first: [`KnownNetwork::MOST`] at most. Some
    /// may be of other credentials than those that the account has now.
    async fn known_networks(&self, who: &Passport) -> Result<Vec<KnownNetwork>>;

    /// Adds networks to those that are known of accounts: what several processes add at the same time stays, and so does what was
    /// seen last of what is too much. On CQL servers one in 256 takes the place of another. What is of other credentials than those
    /// that the account has may be left out.
    async fn add_known_networks(&self, known: Vec<(Passport, KnownNetwork)>) -> Result<()>;

    // Rosters.

    /// Settings, contacts and groups of an account; nothing if there is no such account.
    async fn roster(&self, owner: &Passport) -> Result<Option<Roster>>;

    /// Applies all of `edits` or none, but that a CQL store writes more than 20 KiB of them in several parts: of these an
    /// error may leave the first, and to repeat the edits completes them. Called by the owner's session only.
    ///
    /// An edit of the forward list also edits the other side's reverse and pending lists, in the same transaction.
    /// Without an account of `owner` nothing is to be seen of it.
    async fn edit(&self, owner: &Passport, edits: Vec<Edit>) -> Result<()>;

    // History.

    /// Makes one message durable, with every participation and membership that it needs. When this returns,
    /// a crash or a power cut loses nothing of it.
    async fn append(&self, write: HistoryWrite) -> Result<()>;

    /// Up to `limit` messages of a channel, oldest first, from the beginning or from behind a cursor.
    ///
    /// Reading on from a cursor is exact: whatever is written later, by any switchboard whose write is confirmed
    /// within 5 s of the making of its id, comes exactly once on some later page. A page may hold fewer than `limit`
    /// messages, even none, and still say that there is more; large payloads end it early.
    async fn read(&self, channel: ChannelId, after: Option<&Cursor>, limit: usize) -> Result<Page>;

    /// The last `limit` messages before `before` (or of all), oldest first; fewer only where history begins.
    async fn read_back(
        &self,
        channel: ChannelId,
        before: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<StoredMessage>>;

    /// The channels that a principal may read.
    async fn channels_of(&self, who: &Passport) -> Result<Vec<ChannelOf>>;

    /// Who may read a channel.
    async fn members(&self, channel: ChannelId) -> Result<Vec<ChannelMember>>;

    /// Notes up to which message a principal has read a channel; never moves back. Passed over if the principal is
    /// no member.
    async fn set_last_read(&self, who: &Passport, channel: ChannelId, message: MessageId) -> Result<()>;

    // Participations: what each admission to a conversation still waits for.

    /// The participations of a principal that are recorded.
    async fn participations(&self, who: &Passport) -> Result<Vec<Participation>>;

    /// Moves live cursors; only the switchboard of the participation calls it, and only forwards or, on a reset,
    /// back to what was confirmed before. A participation that is not recorded is passed over.
    async fn set_live_cursors(&self, cursors: Vec<(Passport, ParticipationId, Option<MessageId>)>) -> Result<()>;

    /// Moves the offline cursor, forwards only; only the switchboard that brings the principal what was kept calls it.
    /// A participation that is not recorded is passed over.
    async fn set_offline_cursor(
        &self,
        who: &Passport,
        participation: ParticipationId,
        message: MessageId,
    ) -> Result<()>;

    /// Marks a participation closed, with the final place of its live cursor: its principal has left, something
    /// is outstanding. One that is not recorded is passed over.
    async fn close_participation(
        &self,
        who: &Passport,
        participation: ParticipationId,
        live_cursor: Option<MessageId>,
    ) -> Result<()>;

    /// Removes a participation that waits for nothing more. A message that the same process appended before does
    /// not bring it back; one appended later would.
    async fn remove_participation(&self, who: &Passport, participation: ParticipationId) -> Result<()>;

    // The inbox: messages to principals who were away, sent by nobody in a conversation.

    /// Puts a message into somebody's inbox. Its id must be made just before: who reads relies on this to return within
    /// 5 s of that, or not to count as done. It is gone after [`KEPT_FOR`] by itself.
    async fn put_in_inbox(&self, who: &Passport, message: InboxMessage) -> Result<()>;

    /// Up to `limit` messages of an inbox, oldest first, from behind the watermark or behind `after`, whichever is later;
    /// large payloads end the page early. None that is older than [`KEPT_FOR`].
    async fn inbox(&self, who: &Passport, after: Option<InboxId>, limit: usize) -> Result<InboxPage>;

    /// Notes that all up to this message are delivered: they are not read again. Never moves back. To be called only for
    /// what is older than [`SETTLED_AFTER`], since others may still put in what is younger.
    async fn set_inbox_watermark(&self, who: &Passport, id: InboxId) -> Result<()>;

    /// The message up to which all of an inbox are delivered: what is put in at or below it is never read.
    async fn inbox_watermark(&self, who: &Passport) -> Result<Option<InboxId>>;

    // Heartbeats: whether a node that cannot be heard is alive.

    /// Notes a beat of a node's heart. Of two lives the later holds, within one the greater count.
    async fn beat(&self, beat: Beat) -> Result<()>;

    /// The last beat that was noted; nothing if there never was one in the last 90 days.
    async fn heartbeat(&self, node: &NodeId) -> Result<Option<Heartbeat>>;

    /// The last beat of each node, as [`heartbeat`](Self::heartbeat) has it; of more than 10,000 nodes only of so many. Costs more
    /// than one of them: to be called seldom.
    async fn heartbeats(&self) -> Result<Vec<Beat>>;
}
