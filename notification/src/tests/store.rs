//! A store that can be slow, or fail, when a test wants it to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use common::model::{ChannelId, ClaimId, InboxId, MessageId, NodeId, ParticipationId, Passport, Roster};
use common::store::{
    Account, AccountSummary, Beat, ChannelMember, ChannelOf, Claimed, Credentials, Cursor, Edit, Heartbeat,
    HistoryWrite, InboxMessage, InboxPage, KnownNetwork, NewAccount, Page, Participation, Result, SharedStore,
    Store, StoreError, StoredMessage,
};
use tokio::time::sleep;
use uuid::Uuid;

/// How the store behaves from now on.
#[derive(Debug, Clone, Default)]
pub(super) struct Mood {
    /// Accounts are read so late.
    pub(super) account_after: Duration,
    /// Rosters are read so late.
    pub(super) roster_after: Duration,
    /// Edits are made so late.
    pub(super) edit_after: Duration,
    /// Edits are confirmed.
    pub(super) edits: Edits,
}

/// What becomes of edits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Edits {
    /// They are made and confirmed.
    #[default]
    Made,
    /// They are made, and an error says that they may be.
    MadeInDoubt,
    /// They are not made, and the same error says that they may be.
    NotMade,
}

/// See the module.
pub(super) struct Moody {
    inner: SharedStore,
    mood: Mutex<Mood>,
    /// Edits that were asked for.
    edits: AtomicU64,
}

impl Moody {
    pub(super) fn new(inner: SharedStore) -> Self {
        Self { inner, mood: Mutex::default(), edits: AtomicU64::new(0) }
    }

    pub(super) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    pub(super) fn edits(&self) -> u64 {
        self.edits.load(Ordering::Relaxed)
    }

    fn mood(&self) -> Mood {
        self.mood.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Passes the calls on that no mood changes.
macro_rules! moody {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl Store for Moody {
            $(async fn $name(&self, $($argument: $type),*) -> Result<$answer> {
                self.inner.$name($($argument),*).await
            })*

            async fn account(&self, who: &Passport) -> Result<Option<Account>> {
                sleep(self.mood().account_after).await;
                self.inner.account(who).await
            }

            async fn roster(&self, owner: &Passport) -> Result<Option<Roster>> {
                sleep(self.mood().roster_after).await;
                self.inner.roster(owner).await
            }

            async fn edit(&self, owner: &Passport, edits: Vec<Edit>) -> Result<()> {
                let mood = self.mood();
                self.edits.fetch_add(1, Ordering::Relaxed);
                sleep(mood.edit_after).await;
                if mood.edits != Edits::NotMade {
                    self.inner.edit(owner, edits).await?;
                }
                let doubt = Err(StoreError::Unavailable("on purpose".into()));
                if mood.edits == Edits::Made { Ok(()) } else { doubt }
            }
        }
    };
}

moody! {
    id() -> Uuid;
    check() -> ();
    create_account(new: NewAccount) -> Claimed;
    set_credentials(who: &Passport, claim: ClaimId, replaced: u64, credentials: Credentials) -> bool;
    remove_account(who: &Passport, claim: ClaimId) -> bool;
    accounts(after: Option<&Passport>, limit: usize) -> Vec<AccountSummary>;
    touch(seen: Vec<(Passport, u64)>) -> ();
    known_networks(who: &Passport) -> Vec<KnownNetwork>;
    add_known_networks(known: Vec<(Passport, KnownNetwork)>) -> ();
    append(write: HistoryWrite) -> ();
    read(channel: ChannelId, after: Option<&Cursor>, limit: usize) -> Page;
    read_back(channel: ChannelId, before: Option<MessageId>, limit: usize) -> Vec<StoredMessage>;
    channels_of(who: &Passport) -> Vec<ChannelOf>;
    members(channel: ChannelId) -> Vec<ChannelMember>;
    set_last_read(who: &Passport, channel: ChannelId, message: MessageId) -> ();
    participations(who: &Passport) -> Vec<Participation>;
    set_live_cursors(cursors: Vec<(Passport, ParticipationId, Option<MessageId>)>) -> ();
    set_offline_cursor(who: &Passport, participation: ParticipationId, message: MessageId) -> ();
    close_participation(
        who: &Passport,
        participation: ParticipationId,
        live_cursor: Option<MessageId>
    ) -> ();
    remove_participation(who: &Passport, participation: ParticipationId) -> ();
    put_in_inbox(who: &Passport, message: InboxMessage) -> ();
    inbox(who: &Passport, after: Option<InboxId>, limit: usize) -> InboxPage;
    set_inbox_watermark(who: &Passport, id: InboxId) -> ();
    inbox_watermark(who: &Passport) -> Option<InboxId>;
    beat(beat: Beat) -> ();
    heartbeat(node: &NodeId) -> Option<Heartbeat>;
    heartbeats() -> Vec<Beat>;
}
