//! The embedded store: files on one host, shared by its processes.
//!
//! `accounts.db` and `history.db` are separate files, so that chat never blocks a sign-in. In each process one
//! thread writes to each file, and groups what waits into one transaction with one fsync; a few threads read. The
//! write-ahead log lets readers and the one writer of the moment work side by side, across processes too.
//!
//! The shape is that of the suite's tables everywhere; buckets, which bound the partitions of the CQL store, are
//! left out, since a B-tree has no partitions.

mod accounts;
mod columns;
mod connection;
mod database;
mod heartbeat;
mod history;
mod inbox;
mod look;
mod mark;
mod networks;
mod participations;
mod queue;
mod readers;
mod roster;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;

use async_trait::async_trait;
use rusqlite::Connection;
use uuid::Uuid;

use self::database::Database;
use super::cursor::{HELD_BACK, Reading};
use super::{
    Account, AccountSummary, Beat, ChannelMember, ChannelOf, Claimed, Credentials, Cursor, Edit, Heartbeat,
    HistoryWrite, InboxMessage, InboxPage, KnownNetwork, NewAccount, Page, Participation, Result, Store,
    StoreError, StoredMessage,
};
use crate::clock;
use crate::model::{ChannelId, ClaimId, InboxId, MessageId, NodeId, ParticipationId, Passport, Roster};

/// What a small write takes up while it waits.
const SMALL: usize = 512;

/// A store in a directory of this host. See [the module](self).
pub struct SqliteStore {
    id: Uuid,
    accounts: Database,
    history: Database,
}

impl SqliteStore {
    /// Whether there is one in `directory`.
    #[must_use]
    pub fn is_in(directory: &Path) -> bool {
        directory.join(schema::ACCOUNTS.file).exists()
    }

    /// Opens the store in `directory`, creating it (0700, its files 0600) and bringing its tables up to date.
    /// Several processes may do so at once. Blocks, up to half a minute when another process is migrating.
    ///
    /// Its calls are bounded by tokio's clock: under a paused one a call times out at once when nothing else runs.
    ///
    /// # Errors
    /// The error names the file and says what to do.
    pub fn open(directory: &Path) -> Result<Self> {
        let (accounts, id) = Database::open(directory, &schema::ACCOUNTS, Uuid::new_v4())?;
        let (history, history_id) = Database::open(directory, &schema::HISTORY, id)?;
        if id == history_id {
            return Ok(Self { id, accounts, history });
        }
        Err(different_stores(directory))
    }

    /// Whether the store in `directory` could be opened, and of which versions its files are, in words. Changes nothing.
    ///
    /// # Errors
    /// As those of [`open`](Self::open).
    pub(super) fn look(directory: &Path) -> Result<Vec<String>> {
        look::look(directory)
    }
}

fn different_stores(directory: &Path) -> StoreError {
    StoreError::Refused(format!(
        "accounts.db and history.db in {} belong to different stores; restore both from one backup",
        directory.display()
    ))
}

/// A write that fails when the disk can't take one.
fn check_writing(connection: &Connection) -> Result<()> {
    connection.prepare_cached("UPDATE store SET checked = ?")?.execute([clock::wall_ms().cast_signed()])?;
    Ok(())
}

fn check_reading(connection: &Connection) -> Result<()> {
    Ok(connection.prepare_cached("SELECT checked FROM store")?.query_row([], |_| Ok(()))?)
}

#[async_trait]
impl Store for SqliteStore {
    async fn id(&self) -> Result<Uuid> {
        Ok(self.id)
    }

    async fn check(&self) -> Result<()> {
        let (a, b, c, d) = tokio::join!(
            self.accounts.read(check_reading),
            self.history.read(check_reading),
            self.accounts.write(SMALL, check_writing),
            self.history.write(SMALL, check_writing),
        );
        a.and(b).and(c).and(d)
    }

    async fn create_account(&self, new: NewAccount) -> Result<Claimed> {
        self.accounts.write(SMALL, move |c| accounts::create(c, &new)).await
    }

    async fn account(&self, who: &Passport) -> Result<Option<Account>> {
        let who = who.clone();
        self.accounts.read(move |c| accounts::read(c, &who)).await
    }

    async fn set_credentials(
        &self,
        who: &Passport,
        claim: ClaimId,
        replaced: u64,
        credentials: Credentials,
    ) -> Result<bool> {
        let who = who.clone();
        self.accounts
            .write(SMALL, move |c| accounts::set_credentials(c, &who, claim, replaced, &credentials))
            .await
    }

    async fn remove_account(&self, who: &Passport, claim: ClaimId) -> Result<bool> {
        if self.account(who).await?.is_none_or(|found| found.claim != claim) {
            return Ok(false);
        }
        let (kept_for, who) = (who.clone(), who.clone());
        // First: what is cut short leaves an account that can be removed again.
        let kept = move |c: &Connection| {
            inbox::remove(c, &kept_for).and_then(|()| participations::remove_all(c, &kept_for))
        };
        self.history.write(SMALL, kept).await?;
        self.accounts.write(SMALL, move |c| accounts::remove(c, &who, claim)).await
    }

    async fn accounts(&self, after: Option<&Passport>, limit: usize) -> Result<Vec<AccountSummary>> {
        let after = after.cloned();
        self.accounts.read(move |c| accounts::list(c, after.as_ref(), limit)).await
    }

    async fn touch(&self, seen: Vec<(Passport, u64)>) -> Result<()> {
        self.accounts.write(seen.len() * SMALL, move |c| accounts::touch(c, &seen)).await
    }

    async fn known_networks(&self, who: &Passport) -> Result<Vec<KnownNetwork>> {
        let who = who.clone();
        self.accounts.read(move |c| networks::read(c, &who)).await
    }

    async fn add_known_networks(&self, known: Vec<(Passport, KnownNetwork)>) -> Result<()> {
        self.accounts.write(known.len() * SMALL, move |c| networks::add(c, &known)).await
    }

    async fn roster(&self, owner: &Passport) -> Result<Option<Roster>> {
        let owner = owner.clone();
        self.accounts.read(move |c| roster::read(c, &owner)).await
    }

    async fn edit(&self, owner: &Passport, edits: Vec<Edit>) -> Result<()> {
        let owner = owner.clone();
        self.accounts.write(edits.len() * SMALL, move |c| roster::edit(c, &owner, &edits)).await
    }

    async fn append(&self, write: HistoryWrite) -> Result<()> {
        self.history.write(history::cost(&write), move |c| history::append(c, &write)).await
    }

    async fn read(&self, channel: ChannelId, after: Option<&Cursor>, limit: usize) -> Result<Page> {
        let reading = Reading::start(after, clock::wall_ms())?;
        let page = self.history.read(move |c| history::read(c, channel, reading, limit)).await?;
        if page.more && page.messages.is_empty() {
            tokio::time::sleep(HELD_BACK).await;
        }
        Ok(page)
    }

    async fn read_back(
        &self,
        channel: ChannelId,
        before: Option<MessageId>,
        limit: usize,
    ) -> Result<Vec<StoredMessage>> {
        self.history.read(move |c| history::read_back(c, channel, before, limit)).await
    }

    async fn channels_of(&self, who: &Passport) -> Result<Vec<ChannelOf>> {
        let who = who.clone();
        self.history.read(move |c| history::channels_of(c, &who)).await
    }

    async fn members(&self, channel: ChannelId) -> Result<Vec<ChannelMember>> {
        self.history.read(move |c| history::members(c, channel)).await
    }

    async fn set_last_read(&self, who: &Passport, channel: ChannelId, message: MessageId) -> Result<()> {
        let who = who.clone();
        self.history.write(SMALL, move |c| history::set_last_read(c, &who, channel, message)).await
    }

    async fn participations(&self, who: &Passport) -> Result<Vec<Participation>> {
        let who = who.clone();
        self.history.read(move |c| participations::of(c, &who)).await
    }

    async fn set_live_cursors(&self, cursors: Vec<(Passport, ParticipationId, Option<MessageId>)>) -> Result<()> {
        let cost = cursors.len() * SMALL;
        self.history.write(cost, move |c| participations::set_live_cursors(c, &cursors)).await
    }

    async fn set_offline_cursor(
        &self,
        who: &Passport,
        participation: ParticipationId,
        message: MessageId,
    ) -> Result<()> {
        let who = who.clone();
        let work = move |c: &Connection| participations::set_offline_cursor(c, &who, participation, message);
        self.history.write(SMALL, work).await
    }

    async fn close_participation(
        &self,
        who: &Passport,
        participation: ParticipationId,
        live_cursor: Option<MessageId>,
    ) -> Result<()> {
        let who = who.clone();
        self.history.write(SMALL, move |c| participations::close(c, &who, participation, live_cursor)).await
    }

    async fn remove_participation(&self, who: &Passport, participation: ParticipationId) -> Result<()> {
        let who = who.clone();
        self.history.write(SMALL, move |c| participations::remove(c, &who, participation)).await
    }

    async fn put_in_inbox(&self, who: &Passport, message: InboxMessage) -> Result<()> {
        let (who, now) = (who.clone(), clock::wall_ms());
        self.history.write(SMALL + message.payload.len(), move |c| inbox::put(c, &who, &message, now)).await
    }

    async fn inbox(&self, who: &Passport, after: Option<InboxId>, limit: usize) -> Result<InboxPage> {
        let (who, now) = (who.clone(), clock::wall_ms());
        self.history.read(move |c| inbox::read(c, &who, after, limit, now)).await
    }

    async fn set_inbox_watermark(&self, who: &Passport, id: InboxId) -> Result<()> {
        let who = who.clone();
        self.history.write(SMALL, move |c| inbox::set_watermark(c, &who, id)).await
    }

    async fn inbox_watermark(&self, who: &Passport) -> Result<Option<InboxId>> {
        let who = who.clone();
        self.history.read(move |c| inbox::watermark(c, &who)).await
    }

    async fn beat(&self, beat: Beat) -> Result<()> {
        self.history.write(SMALL + beat.secrets.len(), move |c| heartbeat::beat(c, &beat)).await
    }

    async fn heartbeat(&self, node: &NodeId) -> Result<Option<Heartbeat>> {
        let node = node.clone();
        self.history.read(move |c| heartbeat::of(c, &node)).await
    }

    async fn heartbeats(&self) -> Result<Vec<Beat>> {
        self.history.read(heartbeat::all).await
    }
}
