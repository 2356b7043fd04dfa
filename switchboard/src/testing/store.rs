//! A store in memory, as much of it as a switchboard uses.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use common::model::{
    AddPrompt, ChannelId, ClaimId, Contact, ContactId, InboxId, List, MessageId, NodeId, ParticipationId,
    Passport, Roster, Settings, StrangerPolicy,
};
use common::store::{
    Account, AccountSummary, Beat, ChannelMember, ChannelOf, Claimed, Credentials, Cursor, Edit, Heartbeat,
    HistoryWrite, InboxMessage, InboxPage, KnownNetwork, NewAccount, Page, Participation, Result, Store,
    StoreError,
};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{claim, lock, passport};

/// How the store behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mood {
    Well,
    Failing,
    Slow(Duration),
    Panicking,
}

/// What the store was asked for, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Cursor(Passport, Option<MessageId>),
    Close(Passport, Option<MessageId>),
    Remove(Passport),
    Offline(Passport, MessageId),
    Watermark(Passport, InboxId),
}

/// A store in memory, as much of it as a switchboard uses.
pub(crate) struct FakeStore {
    pub(crate) mood: Mutex<Mood>,
    pub(crate) written: Mutex<Vec<HistoryWrite>>,
    pub(crate) asked: Mutex<Vec<Asked>>,
    /// The rows of participations, by whoever they are read.
    pub(crate) rows: Mutex<Vec<Participation>>,
    /// What everybody's inbox holds.
    pub(crate) letters: Mutex<Vec<InboxMessage>>,
    /// The last beats of switchboards' hearts.
    pub(crate) hearts: Mutex<HashMap<NodeId, Heartbeat>>,
    /// The most pages of history that were read at the same time.
    pub(crate) most_pages: AtomicUsize,
    pages: AtomicUsize,
    /// Something was written or asked.
    pub(crate) changed: Notify,
}

impl Default for FakeStore {
    fn default() -> Self {
        let (mood, changed) = (Mutex::new(Mood::Well), Notify::new());
        let (written, asked, rows, letters, hearts) = Default::default();
        let (most_pages, pages) = Default::default();
        Self { mood, written, asked, rows, letters, hearts, most_pages, pages, changed }
    }
}

impl FakeStore {
    async fn mood(&self) -> Result<()> {
        let mood = *lock(&self.mood);
        match mood {
            Mood::Well => Ok(()),
            Mood::Failing => Err(StoreError::Unavailable("a test wants it so".into())),
            Mood::Panicking => panic!("a test wants it so"),
            Mood::Slow(time) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
        }
    }

    async fn ask(&self, asked: impl IntoIterator<Item = Asked>) -> Result<()> {
        self.mood().await?;
        lock(&self.asked).extend(asked);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Waits until the store was asked for something that `wanted` accepts.
    pub(crate) async fn was_asked(&self, wanted: impl Fn(&Asked) -> bool) -> Asked {
        loop {
            let changed = self.changed.notified();
            if let Some(found) = lock(&self.asked).iter().find(|asked| wanted(asked)) {
                return found.clone();
            }
            changed.await;
        }
    }
}

fn unused<T>() -> Result<T> {
    Err(StoreError::Unavailable("no switchboard asks this".into()))
}

#[async_trait]
impl Store for FakeStore {
    async fn id(&self) -> Result<Uuid> {
        unused()
    }
    async fn check(&self) -> Result<()> {
        self.mood().await
    }
    async fn create_account(&self, _: NewAccount) -> Result<Claimed> {
        unused()
    }
    async fn account(&self, who: &Passport) -> Result<Option<Account>> {
        self.mood().await?;
        let name = who.as_str().split('@').next().unwrap_or_default();
        if name == "ghost" {
            return Ok(None);
        }
        let mut friendly_name = name[..1].to_uppercase();
        friendly_name.push_str(&name[1..]);
        if name == "nameless" {
            friendly_name.clear();
        }
        let settings = Settings {
            friendly_name,
            strangers: StrangerPolicy::Allow,
            add_prompt: AddPrompt::Ask,
            properties: Default::default(),
            list_version: 1,
            lists_changed: 0,
            settings_changed: 0,
            reverse_digest: 0,
        };
        let credentials = Credentials { epoch: 0, password_hash: String::new(), sealed_password: None };
        Ok(Some(Account { passport: who.clone(), claim: claim(who), credentials, settings, created: 0 }))
    }
    async fn set_credentials(&self, _: &Passport, _: ClaimId, _: u64, _: Credentials) -> Result<bool> {
        unused()
    }
    async fn remove_account(&self, _: &Passport, _: ClaimId) -> Result<bool> {
        unused()
    }
    async fn accounts(&self, _: Option<&Passport>, _: usize) -> Result<Vec<AccountSummary>> {
        unused()
    }
    async fn touch(&self, _: Vec<(Passport, u64)>) -> Result<()> {
        unused()
    }
    /// Everybody has blocked `blocked@example.com`.
    async fn known_networks(&self, _: &Passport) -> Result<Vec<KnownNetwork>> {
        unused()
    }
    async fn add_known_networks(&self, _: Vec<(Passport, KnownNetwork)>) -> Result<()> {
        unused()
    }
    async fn roster(&self, owner: &Passport) -> Result<Option<Roster>> {
        let Some(account) = self.account(owner).await? else { return Ok(None) };
        let blocked = passport("blocked");
        let contact = Contact {
            id: ContactId::of(account.claim, &blocked),
            passport: blocked.clone(),
            name: String::new(),
            is_named: false,
            lists: [List::Block].into_iter().collect(),
            groups: Default::default(),
            properties: Default::default(),
        };
        let contacts = [(blocked, contact)].into();
        Ok(Some(Roster {
            settings: account.settings,
            contacts,
            phones: Default::default(),
            groups: Default::default(),
            copies_owed: None,
        }))
    }
    async fn edit(&self, _: &Passport, _: Vec<Edit>) -> Result<()> {
        unused()
    }
    async fn append(&self, write: HistoryWrite) -> Result<()> {
        self.mood().await?;
        lock(&self.written).push(write);
        self.changed.notify_waiters();
        Ok(())
    }
    /// What was written to the channel behind the point of the cursor.
    async fn read(&self, channel: ChannelId, after: Option<&Cursor>, limit: usize) -> Result<Page> {
        let pages = self.pages.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_pages.fetch_max(pages, Ordering::Relaxed);
        let mood = self.mood().await;
        self.pages.fetch_sub(1, Ordering::Relaxed);
        mood?;
        let point = after.and_then(|cursor| Uuid::from_slice(&cursor.0[1..17]).ok()).unwrap_or_default();
        let mut messages: Vec<_> = lock(&self.written).iter().map(|write| write.message.clone()).collect();
        messages.retain(|message| message.channel == channel && message.id.0 > point);
        messages.sort_by_key(|message| message.id);
        let more = messages.len() > limit;
        messages.truncate(limit);
        let last = messages.last().map_or(MessageId(point), |message| message.id);
        Ok(Page { messages, cursor: Cursor::behind(last), more })
    }
    async fn read_back(
        &self,
        _: ChannelId,
        _: Option<MessageId>,
        _: usize,
    ) -> Result<Vec<common::store::StoredMessage>> {
        unused()
    }
    async fn channels_of(&self, _: &Passport) -> Result<Vec<ChannelOf>> {
        unused()
    }
    async fn members(&self, _: ChannelId) -> Result<Vec<ChannelMember>> {
        unused()
    }
    async fn set_last_read(&self, _: &Passport, _: ChannelId, _: MessageId) -> Result<()> {
        unused()
    }
    async fn participations(&self, who: &Passport) -> Result<Vec<Participation>> {
        self.mood().await?;
        Ok(lock(&self.rows).iter().filter(|row| row.passport == *who).cloned().collect())
    }
    async fn set_live_cursors(&self, cursors: Vec<(Passport, ParticipationId, Option<MessageId>)>) -> Result<()> {
        self.ask(cursors.into_iter().map(|(who, _, to)| Asked::Cursor(who, to))).await
    }
    async fn set_offline_cursor(
        &self,
        who: &Passport,
        participation: ParticipationId,
        message: MessageId,
    ) -> Result<()> {
        self.ask([Asked::Offline(who.clone(), message)]).await?;
        lock(&self.rows)
            .iter_mut()
            .filter(|row| row.id == participation)
            .for_each(|row| row.offline_cursor = Some(message));
        Ok(())
    }
    async fn close_participation(
        &self,
        who: &Passport,
        _: ParticipationId,
        live_cursor: Option<MessageId>,
    ) -> Result<()> {
        self.ask([Asked::Close(who.clone(), live_cursor)]).await
    }
    async fn remove_participation(&self, who: &Passport, participation: ParticipationId) -> Result<()> {
        self.ask([Asked::Remove(who.clone())]).await?;
        lock(&self.rows).retain(|row| row.id != participation);
        Ok(())
    }
    async fn put_in_inbox(&self, _: &Passport, _: InboxMessage) -> Result<()> {
        unused()
    }
    async fn inbox(&self, _: &Passport, after: Option<InboxId>, limit: usize) -> Result<InboxPage> {
        /// As the other stores do, but that theirs is greater.
        const PAGE_BYTES: usize = 64 * 1024;
        self.mood().await?;
        let (mut messages, mut bytes) = (Vec::new(), 0);
        for letter in lock(&self.letters).iter().filter(|letter| Some(letter.id) > after) {
            if messages.len() == limit || bytes >= PAGE_BYTES {
                return Ok(InboxPage { messages, more: true });
            }
            bytes += letter.payload.len();
            messages.push(letter.clone());
        }
        Ok(InboxPage { messages, more: false })
    }
    async fn set_inbox_watermark(&self, who: &Passport, id: InboxId) -> Result<()> {
        self.ask([Asked::Watermark(who.clone(), id)]).await?;
        lock(&self.letters).retain(|letter| letter.id > id);
        Ok(())
    }
    async fn inbox_watermark(&self, _: &Passport) -> Result<Option<InboxId>> {
        unused()
    }
    async fn beat(&self, beat: Beat) -> Result<()> {
        self.mood().await?;
        lock(&self.hearts).insert(beat.node, beat.heart);
        Ok(())
    }
    async fn heartbeat(&self, node: &NodeId) -> Result<Option<Heartbeat>> {
        self.mood().await?;
        Ok(lock(&self.hearts).get(node).copied())
    }
    async fn heartbeats(&self) -> Result<Vec<Beat>> {
        unused()
    }
}
