//! The store of many hosts: ScyllaDB or Apache Cassandra, by CQL.
//!
//! Nothing reads before it writes, and no row is rewritten: every cell that may change by itself is written by itself,
//! with a timestamp that says its place in the order (`stamps`), so that a repetition changes nothing and what is late
//! harms nothing. Accounts are the exception: a claim of a name, and a change of credentials, are lightweight
//! transactions.
//!
//! | file | what |
//! |---|---|
//! | `connect`, `keys`, `policy`, `server` | a session with the nodes; by what they know each other; when another is asked; ScyllaDB or Cassandra |
//! | `schema`, `migrate` | the tables, and `monarch store migrate` |
//! | `statements`, `db` | all that is asked, and how it is asked until it is answered |
//! | `calls`, `turns`, `flights` | bounds; order where timestamps don't give it; reads that are shared |
//! | `stamps` | the timestamps of cells |
//! | `accounts`, `names`, `settings`, `roster` | principals |
//! | `buckets`, `history`, `pages`, `participations`, `inbox` | conversations, and messages outside of them |

mod accounts;
mod buckets;
mod calls;
mod connect;
mod db;
mod errors;
mod flights;
mod heartbeat;
mod history;
mod inbox;
mod keys;
mod migrate;
mod names;
mod networks;
mod pages;
mod participations;
mod policy;
mod roster;
mod schema;
mod server;
mod settings;
mod stamps;
mod statements;
mod turns;

use std::sync::Arc;

use async_trait::async_trait;
use scylla::statement::bound::BoundStatement;
use uuid::Uuid;

use self::buckets::Buckets;
use self::calls::Calls;
use self::db::{Db, WAITING, bind};
use self::errors::{strange, unavailable};
use self::flights::Flights;
use self::keys::Keys;
use self::policy::Profiles;
use self::stamps::Stamps;
use self::statements::Statements;
use self::turns::Turns;
use super::cursor::{HELD_BACK, Reading};
use super::{
    Account, AccountSummary, Beat, ChannelMember, ChannelOf, Claimed, Credentials, Cursor, Edit, Heartbeat,
    HistoryWrite, InboxMessage, InboxPage, KnownNetwork, NewAccount, Page, Participation, Result, Store,
    StoredMessage,
};
use crate::clock::{self, HybridClock};
use crate::config::ScyllaConfig;
use crate::model::{ChannelId, ClaimId, InboxId, MessageId, NodeId, ParticipationId, Passport, Roster};
use crate::reload::Reload;

/// What the values of a small write take up.
const SMALL: usize = 1024;

/// What operators have no reason to change; tests and measurements have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Rows that one process writes to a bucket before it begins another.
    pub bucket_rows: u32,
    /// No nodes but the contact points are asked.
    pub only_contact_points: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { bucket_rows: 100_000, only_contact_points: false }
    }
}

type PageKey = (ChannelId, Option<Vec<u8>>, usize);
type BackKey = (ChannelId, Option<MessageId>, usize);

/// A store on CQL servers. See [the module](self).
pub struct CqlStore {
    db: Arc<Db>,
    calls: Arc<Calls>,
    turns: Turns,
    buckets: Arc<Buckets>,
    pages: Flights<PageKey, Page>,
    back: Flights<BackKey, Vec<StoredMessage>>,
    keys: Arc<Keys>,
}

impl CqlStore {
    /// Connects to the servers. The tables must be there: see [`migrate`](Self::migrate).
    ///
    /// # Errors
    /// [`Unavailable`](super::StoreError::Unavailable) if no server answers: it may later.
    /// [`Refused`](super::StoreError::Refused) if the tables aren't those that this program knows, or a file of the
    /// configuration can't be read; the error says what to do.
    pub async fn open(config: &ScyllaConfig) -> Result<Self> {
        Self::open_with(config, Tuning::default(), Arc::default()).await
    }

    /// The same, tuned, and with the clock of the process: where there is one for epochs, it must be the same.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn open_with(config: &ScyllaConfig, tuning: Tuning, clock: Arc<HybridClock>) -> Result<Self> {
        let (profiles, keys) = (Profiles::new(config), Arc::new(Keys::load(config)?));
        let session = connect::connect(config, Arc::clone(&keys), &profiles, tuning.only_contact_points).await?;
        migrate::check_version(&session, config).await?;
        let statements = Statements::prepare(&session, config, &profiles).await?;
        let stamps = Stamps::new(clock);
        let mut db = Db { session, statements, stamps, process: Uuid::new_v4(), id: Uuid::nil() };
        db.id = read_id(&db).await?;
        Ok(Self {
            db: Arc::new(db),
            calls: Arc::new(Calls::new()),
            turns: Turns::default(),
            buckets: Arc::new(Buckets::new(tuning.bucket_rows)),
            pages: Flights::new(),
            back: Flights::new(),
            keys,
        })
    }

    /// Reads the password and the certificates again at SIGHUP, for connections that are made later.
    pub(super) fn follow(&self, reload: &Reload) {
        self.keys.follow(reload);
    }

    /// Creates what is missing of keyspaces and tables and brings the rest up to date; `told` hears of each step. Safe at
    /// any time, also for several at once. Returns the version of the tables before and after.
    ///
    /// # Errors
    /// When servers can't be reached, don't agree, or refuse; it may be repeated.
    pub async fn migrate(
        config: &ScyllaConfig,
        told: &mut (dyn FnMut(String) + Send + Sync),
    ) -> Result<(i32, i32)> {
        migrate::migrate(config, told).await
    }

    /// Whether the tables are those that this program knows, and of which version. Nothing is changed.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub async fn look(config: &ScyllaConfig) -> Result<i32> {
        let keys = Arc::new(Keys::load(config)?);
        let session = connect::connect(config, keys, &Profiles::new(config), false).await?;
        migrate::check_version(&session, config).await.map(|()| schema::VERSION)
    }

    /// Small writes, asked for together.
    async fn write(&self, statements: Result<Vec<BoundStatement>>) -> Result<()> {
        let (db, statements) = (Arc::clone(&self.db), statements?);
        let cost = statements.len() * WAITING;
        self.calls.write(cost, async move { db.write_all(&statements).await }).await
    }
}

/// The keys of the configuration whose files can't be used, each with which file that is and why.
#[must_use]
pub fn unusable_files(config: &ScyllaConfig) -> Vec<(String, String)> {
    keys::unusable_files(config)
}

async fn read_id(db: &Db) -> Result<Uuid> {
    let id = db.row::<(Option<Uuid>,)>(&db.statements.store_id, ()).await?;
    id.and_then(|(id,)| id).ok_or_else(|| strange("store.id"))
}

#[async_trait]
impl Store for CqlStore {
    async fn id(&self) -> Result<Uuid> {
        Ok(self.db.id)
    }

    async fn check(&self) -> Result<()> {
        let (stamp, now) = (self.db.stamps.next(), clock::wall_ms().cast_signed());
        let write = bind(&self.db.statements.check, &(stamp, now, self.db.process));
        let read = self.calls.read(read_id(&self.db));
        let (written, read) = tokio::join!(self.write(write.map(|write| vec![write])), read);
        written?;
        if read? == self.db.id { Ok(()) } else { Err(unavailable("it has become another store")) }
    }

    async fn flush(&self) {
        self.calls.flush().await;
    }

    async fn create_account(&self, new: NewAccount) -> Result<Claimed> {
        let (db, mut turn, stamp) = (Arc::clone(&self.db), self.turns.take(&new.passport), self.db.stamps.next());
        self.calls.write(WAITING, async move { accounts::create(&db, &new, &mut turn, stamp).await }).await
    }

    async fn account(&self, who: &Passport) -> Result<Option<Account>> {
        self.calls.read(accounts::read(&self.db, who)).await
    }

    async fn set_credentials(
        &self,
        who: &Passport,
        claim: ClaimId,
        replaced: u64,
        credentials: Credentials,
    ) -> Result<bool> {
        let (db, mut turn, who) = (Arc::clone(&self.db), self.turns.take(who), who.clone());
        let work =
            async move { accounts::set_credentials(&db, &who, claim, replaced, &credentials, &mut turn).await };
        self.calls.write(WAITING, work).await
    }

    async fn remove_account(&self, who: &Passport, claim: ClaimId) -> Result<bool> {
        if self.account(who).await?.is_none_or(|found| found.claim != claim) {
            return Ok(false);
        }
        // First: what is cut short leaves an account that can be removed again.
        for participation in self.participations(who).await? {
            self.remove_participation(who, participation.id).await?;
        }
        let now = clock::MessageClock::new().map_err(unavailable)?.uuid();
        self.set_inbox_watermark(who, InboxId(now)).await?;
        let (db, mut turn, stamp, who) =
            (Arc::clone(&self.db), self.turns.take(who), self.db.stamps.next(), who.clone());
        let work = async move { accounts::remove(&db, &who, claim, &mut turn, stamp).await };
        self.calls.write(WAITING, work).await
    }

    async fn accounts(&self, after: Option<&Passport>, limit: usize) -> Result<Vec<AccountSummary>> {
        self.calls.read(accounts::list(&self.db, after, limit)).await
    }

    async fn touch(&self, seen: Vec<(Passport, u64)>) -> Result<()> {
        self.write(accounts::touch(&self.db, &seen)).await
    }

    async fn known_networks(&self, who: &Passport) -> Result<Vec<KnownNetwork>> {
        self.calls.read(networks::read(&self.db, who)).await
    }

    async fn add_known_networks(&self, known: Vec<(Passport, KnownNetwork)>) -> Result<()> {
        self.write(networks::add(&self.db, &known)).await
    }

    async fn roster(&self, owner: &Passport) -> Result<Option<Roster>> {
        self.calls.read(roster::read(&self.db, owner)).await
    }

    async fn edit(&self, owner: &Passport, edits: Vec<Edit>) -> Result<()> {
        let (db, planned) = (Arc::clone(&self.db), roster::plan(&self.db, owner, &edits)?);
        let cost = WAITING + edits.len() * SMALL;
        self.calls.write(cost, async move { roster::edit(&db, &planned).await }).await
    }

    async fn append(&self, write: HistoryWrite) -> Result<()> {
        let (db, buckets) = (Arc::clone(&self.db), Arc::clone(&self.buckets));
        let append = history::plan(&db, &buckets, &write)?;
        self.calls.write(history::cost(&write), async move { history::append(&db, &buckets, append).await }).await
    }

    async fn read(&self, channel: ChannelId, after: Option<&Cursor>, limit: usize) -> Result<Page> {
        let (db, calls) = (Arc::clone(&self.db), Arc::clone(&self.calls));
        let read = move |(channel, after, limit): PageKey| {
            let (db, calls) = (Arc::clone(&db), Arc::clone(&calls));
            async move {
                // The time is noted before the list of buckets is read.
                let reading = Reading::start(after.map(Cursor).as_ref(), clock::wall_ms())?;
                calls.read(pages::read(&db, channel, reading, limit)).await
            }
        };
        let key = (channel, after.map(|cursor| cursor.0.clone()), limit);
        let page = self.calls.bounded(self.pages.share(key, read)).await?;
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
        let (db, calls) = (Arc::clone(&self.db), Arc::clone(&self.calls));
        let read = move |(channel, before, limit): BackKey| {
            let (db, calls) = (Arc::clone(&db), Arc::clone(&calls));
            async move { calls.read(pages::read_back(&db, channel, before, limit)).await }
        };
        self.calls.bounded(self.back.share((channel, before, limit), read)).await
    }

    async fn channels_of(&self, who: &Passport) -> Result<Vec<ChannelOf>> {
        self.calls.read(history::channels_of(&self.db, who)).await
    }

    async fn members(&self, channel: ChannelId) -> Result<Vec<ChannelMember>> {
        self.calls.read(history::members(&self.db, channel)).await
    }

    async fn set_last_read(&self, who: &Passport, channel: ChannelId, message: MessageId) -> Result<()> {
        let write = history::last_read(&self.db, who, channel, message);
        self.write(write.map(|write| vec![write])).await
    }

    async fn participations(&self, who: &Passport) -> Result<Vec<Participation>> {
        self.calls.read(participations::of(&self.db, who)).await
    }

    async fn set_live_cursors(&self, cursors: Vec<(Passport, ParticipationId, Option<MessageId>)>) -> Result<()> {
        self.write(participations::live_cursors(&self.db, &cursors)).await
    }

    async fn set_offline_cursor(
        &self,
        who: &Passport,
        participation: ParticipationId,
        message: MessageId,
    ) -> Result<()> {
        let write = participations::offline_cursor(&self.db, who, participation, message);
        self.write(write.map(|write| vec![write])).await
    }

    async fn close_participation(
        &self,
        who: &Passport,
        participation: ParticipationId,
        live_cursor: Option<MessageId>,
    ) -> Result<()> {
        let write = participations::close(&self.db, who, participation, live_cursor);
        self.write(write.map(|write| vec![write])).await
    }

    async fn remove_participation(&self, who: &Passport, participation: ParticipationId) -> Result<()> {
        let write = participations::remove(&self.db, who, participation);
        self.write(write.map(|write| vec![write])).await
    }

    async fn put_in_inbox(&self, who: &Passport, message: InboxMessage) -> Result<()> {
        let (db, cost) = (Arc::clone(&self.db), SMALL + message.payload.len());
        let row = inbox::put(&db, who, &message)?;
        self.calls.write(cost, async move { db.write(&row).await }).await
    }

    async fn inbox(&self, who: &Passport, after: Option<InboxId>, limit: usize) -> Result<InboxPage> {
        self.calls.read(inbox::read(&self.db, who, after, limit, clock::wall_ms())).await
    }

    async fn set_inbox_watermark(&self, who: &Passport, id: InboxId) -> Result<()> {
        let write = inbox::set_watermark(&self.db, who, id);
        self.write(write.map(|write| vec![write])).await
    }

    async fn inbox_watermark(&self, who: &Passport) -> Result<Option<InboxId>> {
        self.calls.read(inbox::watermark(&self.db, who)).await
    }

    async fn beat(&self, beat: Beat) -> Result<()> {
        let write = heartbeat::beat(&self.db, &beat);
        self.write(write.map(|write| vec![write])).await
    }

    async fn heartbeat(&self, node: &NodeId) -> Result<Option<Heartbeat>> {
        self.calls.read(heartbeat::of(&self.db, node)).await
    }

    async fn heartbeats(&self) -> Result<Vec<Beat>> {
        self.calls.read(heartbeat::all(&self.db)).await
    }
}
