//! A store in memory, as much of it as a switchboard uses.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use common::model::{
    AddPrompt, ChannelId, ClaimId, MessageId, ParticipationId, Passport, Roster, Settings, StrangerPolicy,
};
use common::store::{
    Account, AccountSummary, ChannelMember, ChannelOf, Claimed, Credentials, Cursor, Edit, HistoryWrite,
    NewAccount, Page, Participation, Result, Store, StoreError,
};
use tokio::sync::Notify;
use uuid::Uuid;

use super::{claim, lock};

/// How the store behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mood {
    Well,
    Failing,
    Slow(Duration),
}

/// What the store was asked for, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Cursor(Passport, Option<MessageId>),
    Close(Passport, Option<MessageId>),
    Remove(Passport),
}

/// A store in memory, as much of it as a switchboard uses.
pub(crate) struct FakeStore {
    pub(crate) mood: Mutex<Mood>,
    pub(crate) written: Mutex<Vec<HistoryWrite>>,
    pub(crate) asked: Mutex<Vec<Asked>>,
    /// Something was written or asked.
    pub(crate) changed: Notify,
}

impl Default for FakeStore {
    fn default() -> Self {
        let mood = Mutex::new(Mood::Well);
        Self { mood, written: Mutex::default(), asked: Mutex::default(), changed: Notify::new() }
    }
}

impl FakeStore {
    async fn mood(&self) -> Result<()> {
        let mood = *lock(&self.mood);
        match mood {
            Mood::Well => Ok(()),
            Mood::Failing => Err(StoreError::Unavailable("a test wants it so".into())),
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
    async fn set_credentials(&self, _: &Passport, _: ClaimId, _: Credentials) -> Result<bool> {
        unused()
    }
    async fn accounts(&self, _: Option<&Passport>, _: usize) -> Result<Vec<AccountSummary>> {
        unused()
    }
    async fn touch(&self, _: Vec<(Passport, u64)>) -> Result<()> {
        unused()
    }
    async fn roster(&self, _: &Passport) -> Result<Option<Roster>> {
        unused()
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
    async fn read(&self, _: ChannelId, _: Option<&Cursor>, _: usize) -> Result<Page> {
        unused()
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
    async fn participations(&self, _: &Passport) -> Result<Vec<Participation>> {
        unused()
    }
    async fn set_live_cursors(&self, cursors: Vec<(Passport, ParticipationId, Option<MessageId>)>) -> Result<()> {
        self.ask(cursors.into_iter().map(|(who, _, to)| Asked::Cursor(who, to))).await
    }
    async fn set_offline_cursor(&self, _: &Passport, _: ParticipationId, _: MessageId) -> Result<()> {
        unused()
    }
    async fn close_participation(
        &self,
        who: &Passport,
        _: ParticipationId,
        live_cursor: Option<MessageId>,
    ) -> Result<()> {
        self.ask([Asked::Close(who.clone(), live_cursor)]).await
    }
    async fn remove_participation(&self, who: &Passport, _: ParticipationId) -> Result<()> {
        self.ask([Asked::Remove(who.clone())]).await
    }
}
