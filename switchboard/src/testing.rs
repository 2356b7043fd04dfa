//! A switchboard without cluster, store and sockets: what tests drive sessions with.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use common::clock::MessageClock;
use common::cluster::{Cookie, CookieRole, Invitation, Outcome, TicketError};
use common::model::{
    AddPrompt, ChannelId, ClaimId, ConversationId, Generation, MessageId, NodeId, ParticipationId, Passport,
    Roster, Settings, StrangerPolicy,
};
use common::net::{BufferPool, Ready, Shutdown, Transport};
use common::store::{
    Account, AccountSummary, ChannelMember, ChannelOf, Claimed, Credentials, Cursor, Edit, HistoryWrite,
    NewAccount, Page, Participation, Result, Store, StoreError,
};
use common::telemetry::Registry;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::board::{Answer, Board, Doorman, Peers};
use crate::conversation::{Place, Rules};
use crate::conversations::Conversations;
use crate::cursors::Cursors;
use crate::history::History;
use crate::metrics::Metrics;
use crate::session;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `alice` is alice@example.com.
pub(crate) fn passport(name: &str) -> Passport {
    Passport::parse(&format!("{name}@example.com")).unwrap()
}

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

/// The claim of a test account: the same at every look.
pub(crate) fn claim(who: &Passport) -> ClaimId {
    ClaimId(Uuid::new_v5(&Uuid::nil(), who.as_str().as_bytes()))
}

/// Cookies by their text; each opens once.
#[derive(Default)]
pub(crate) struct FakeDoorman {
    cookies: Mutex<HashMap<String, (Passport, Cookie)>>,
    used: Mutex<BTreeSet<u64>>,
}

impl FakeDoorman {
    /// A cookie's text.
    pub(crate) fn cookie(&self, who: &Passport, role: CookieRole, conversation: ConversationId) -> String {
        let mut cookies = lock(&self.cookies);
        let nonce = cookies.len() as u64;
        let claim = claim(who);
        let cookie = Cookie { role, conversation, claim, dialect: 8, capabilities: 0, expires: u32::MAX, nonce };
        let text = format!("{nonce}.cookie");
        cookies.insert(text.clone(), (who.clone(), cookie));
        text
    }
}

impl Doorman for Arc<FakeDoorman> {
    fn admit(&self, cookie: &str, who: &Passport, role: CookieRole) -> std::result::Result<Cookie, TicketError> {
        let (bearer, cookie) = lock(&self.cookies).get(cookie).cloned().ok_or(TicketError::NotGenuine)?;
        if bearer != *who || cookie.role != role {
            return Err(TicketError::NotGenuine);
        }
        if lock(&self.used).insert(cookie.nonce) { Ok(cookie) } else { Err(TicketError::Used) }
    }
}

/// Sessions that answer invitations: `offline…` is not there, `slow…` never answers, the rest ring.
#[derive(Default)]
pub(crate) struct FakePeers {
    pub(crate) invited: Mutex<Vec<(Passport, Invitation)>>,
    pub(crate) told: Mutex<Vec<Passport>>,
    pub(crate) telling: Notify,
}

impl Peers for Arc<FakePeers> {
    fn invite(&self, callee: &Passport, invitation: Invitation, _: Duration) -> Answer<Outcome> {
        lock(&self.invited).push((callee.clone(), invitation));
        let name = callee.as_str().to_owned();
        Box::pin(async move {
            if name.starts_with("slow") {
                std::future::pending::<()>().await;
            }
            if name.starts_with("offline") { Outcome::NotHere } else { Outcome::Accepted }
        })
    }

    fn outstanding(&self, who: &Passport, _: ParticipationId) {
        lock(&self.told).push(who.clone());
        self.telling.notify_waiters();
    }
}

impl FakePeers {
    /// Waits until a principal was told that something is outstanding.
    pub(crate) async fn has_told(&self, who: &Passport) {
        loop {
            let telling = self.telling.notified();
            if lock(&self.told).contains(who) {
                return;
            }
            telling.await;
        }
    }
}

/// A switchboard under test.
pub(crate) struct World {
    pub(crate) board: Arc<Board>,
    pub(crate) store: Arc<FakeStore>,
    pub(crate) doorman: Arc<FakeDoorman>,
    pub(crate) peers: Arc<FakePeers>,
}

impl World {
    pub(crate) fn new() -> Self {
        let store = Arc::new(FakeStore {
            mood: Mutex::new(Mood::Well),
            written: Mutex::default(),
            asked: Mutex::default(),
            changed: Notify::new(),
        });
        let (doorman, peers) = (Arc::new(FakeDoorman::default()), Arc::new(FakePeers::default()));
        let metrics = Arc::new(Metrics::new(&mut Registry::default()));
        let shutdown = Shutdown::default();
        let rules = Rules { participants: 5, ring: Duration::from_secs(120) };
        let board = Arc::new(Board {
            place: Place { node: NodeId::parse("sb-1").unwrap(), generation: Generation(1) },
            addr: ([127, 0, 0, 1], 1865).into(),
            authenticate: Duration::from_secs(60),
            max_message: 1664,
            store: Arc::clone(&store) as _,
            doorman: Box::new(Arc::clone(&doorman)),
            peers: Box::new(Arc::clone(&peers)),
            conversations: Conversations::new(rules, Arc::clone(&metrics)),
            history: History::new(Arc::clone(&store) as _, Arc::clone(&metrics), shutdown.clone()),
            cursors: Cursors::new(Arc::clone(&store) as _),
            clock: MessageClock::new().unwrap(),
            metrics,
            pool: Arc::new(BufferPool::default()),
            shutdown: shutdown.clone(),
        });
        shutdown.spawn({
            let board = Arc::clone(&board);
            async move { board.cursors.run(&board.shutdown).await }
        });
        Self { board, store, doorman, peers }
    }

    pub(crate) fn store_is(&self, mood: Mood) {
        *lock(&self.store.mood) = mood;
    }

    pub(crate) fn conversation_id(&self) -> ConversationId {
        ConversationId(self.board.clock.uuid())
    }

    /// A connection that has said nothing yet.
    pub(crate) fn connect(&self) -> Client {
        let wire = Arc::new(Wire::default());
        lock(&wire.state).room = 16 * 1024;
        let transport = MemoryTransport(Arc::clone(&wire));
        self.board.shutdown.spawn(session::serve(Arc::clone(&self.board), transport));
        Client { wire }
    }

    /// `who` opens a conversation.
    pub(crate) async fn open(&self, who: &str) -> (ConversationId, Client) {
        let (id, who) = (self.conversation_id(), passport(who));
        let client = self.connect();
        client.say(&format!("USR 1 {who} {}\n", self.doorman.cookie(&who, CookieRole::Caller, id)));
        client.skip("USR 1 OK").await;
        (id, client)
    }

    /// The line by which `who` answers an invitation to a conversation.
    pub(crate) fn answer(&self, who: &str, id: ConversationId) -> String {
        let who = passport(who);
        let session = self.board.conversations.find(id).unwrap().session;
        format!("ANS 1 {who} {} {session}\n", self.doorman.cookie(&who, CookieRole::Callee, id))
    }

    /// `who` joins a conversation, and has seen `ANS 1 OK`.
    pub(crate) async fn join(&self, who: &str, id: ConversationId) -> Client {
        let client = self.connect();
        client.say(&self.answer(who, id));
        while client.line().await != "ANS 1 OK" {}
        client
    }

    /// A conversation of the first, who called, and the others; all have seen all join.
    pub(crate) async fn chat(&self, names: &[&str]) -> Vec<Client> {
        let (id, caller) = self.open(names[0]).await;
        let mut clients = vec![caller];
        for name in &names[1..] {
            let joined = self.join(name, id).await;
            for client in &clients {
                client.skip("JOI").await;
            }
            clients.push(joined);
        }
        clients
    }

    pub(crate) fn written(&self) -> Vec<HistoryWrite> {
        lock(&self.store.written).clone()
    }
}

/// Both directions between a client and its session.
#[derive(Default)]
struct Wire {
    state: Mutex<WireState>,
    changed: Notify,
}

#[derive(Default)]
struct WireState {
    to_server: BytesMut,
    to_client: BytesMut,
    /// So much may wait for the client.
    room: usize,
    written: u64,
    /// Bytes that count as confirmed; all that are written, if absent.
    confirmed: Option<u64>,
    client_closed: bool,
    reset: bool,
    server_closed: bool,
    waker: Option<Waker>,
}

/// A transport that nobody is at the other end of.
pub(crate) fn transport() -> impl Transport {
    MemoryTransport(Arc::default())
}

/// A session's end of a [`Wire`].
struct MemoryTransport(Arc<Wire>);

impl Transport for MemoryTransport {
    fn poll_ready(&mut self, cx: &mut Context<'_>, write: bool) -> Poll<io::Result<Ready>> {
        let mut state = lock(&self.0.state);
        let readable = !state.to_server.is_empty() || state.client_closed || state.reset;
        let writable = write && (state.to_client.len() < state.room || state.reset);
        if readable || writable {
            return Poll::Ready(Ok(Ready { readable, writable }));
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn try_read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let mut state = lock(&self.0.state);
        if state.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if state.to_server.is_empty() {
            return if state.client_closed { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let count = state.to_server.len().min(buffer.capacity() - buffer.len());
        buffer.extend_from_slice(&state.to_server.split_to(count));
        Ok(count)
    }

    fn try_write(&mut self, pieces: &mut dyn Iterator<Item = &Bytes>) -> io::Result<usize> {
        let mut state = lock(&self.0.state);
        if state.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let mut count = 0;
        for piece in pieces {
            let part = piece.len().min(state.room.saturating_sub(state.to_client.len()));
            state.to_client.extend_from_slice(&piece[..part]);
            count += part;
            if part < piece.len() {
                break;
            }
        }
        state.written += count as u64;
        drop(state);
        self.0.changed.notify_waiters();
        if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    fn confirmed(&self) -> u64 {
        let state = lock(&self.0.state);
        state.confirmed.unwrap_or(state.written)
    }

    fn close_write(&mut self) {
        lock(&self.0.state).server_closed = true;
        self.0.changed.notify_waiters();
    }

    fn peer(&self) -> SocketAddr {
        ([127, 0, 0, 1], 1).into()
    }
}

impl Drop for MemoryTransport {
    fn drop(&mut self) {
        self.close_write();
    }
}

/// A client in a test.
pub(crate) struct Client {
    wire: Arc<Wire>,
}

impl Client {
    fn change(&self, change: impl FnOnce(&mut WireState)) {
        let mut state = lock(&self.wire.state);
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Sends commands; line ends become CRLF.
    pub(crate) fn say(&self, text: &str) {
        self.send(text.replace('\n', "\r\n").as_bytes());
    }

    pub(crate) fn send(&self, bytes: &[u8]) {
        self.change(|state| state.to_server.extend_from_slice(bytes));
    }

    /// `MSG trid ack` with a payload of that type.
    pub(crate) fn msg(&self, trid: u32, ack: &str, content_type: &str, body: &str) -> String {
        let payload = payload(content_type, body);
        self.send(format!("MSG {trid} {ack} {}\r\n{payload}", payload.len()).as_bytes());
        payload
    }

    /// Waits for so many bytes; panics after a minute of (usually paused) time, or when the server closes first.
    async fn take(&self, enough: impl Fn(&[u8]) -> Option<usize>) -> Vec<u8> {
        let taken = async {
            loop {
                let changed = self.wire.changed.notified();
                let mut taken = None;
                let mut closed = false;
                self.change(|state| {
                    taken = enough(&state.to_client).map(|count| state.to_client.split_to(count).to_vec());
                    closed = state.server_closed;
                });
                if let Some(taken) = taken {
                    return taken;
                }
                assert!(!closed, "closed after {:?}", lock(&self.wire.state).to_client);
                changed.await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(50), taken).await;
        waited.unwrap_or_else(|_| panic!("only {:?} came", lock(&self.wire.state).to_client))
    }

    /// The next line, without its end.
    pub(crate) async fn line(&self) -> String {
        let end = |bytes: &[u8]| bytes.iter().position(|b| *b == b'\n').map(|at| at + 1);
        String::from_utf8(self.take(end).await).unwrap().trim_end().to_owned()
    }

    /// Expects exactly these bytes next; line ends are CRLF.
    pub(crate) async fn hears(&self, text: &str) {
        let text = text.replace('\n', "\r\n");
        let next = self.take(|bytes| (bytes.len() >= text.len()).then_some(text.len())).await;
        assert_eq!(String::from_utf8_lossy(&next), text);
    }

    /// Expects a `MSG` of that sender with exactly this payload next.
    pub(crate) async fn hears_msg(&self, from: &str, name: &str, payload: &str) {
        let head = format!("MSG {} {name} {}", passport(from), payload.len());
        assert_eq!(self.line().await, head);
        let next = self.take(|bytes| (bytes.len() >= payload.len()).then_some(payload.len())).await;
        assert_eq!(String::from_utf8_lossy(&next), payload);
    }

    /// Expects a line that begins so next.
    pub(crate) async fn skip(&self, start: &str) {
        let line = self.line().await;
        assert!(line.starts_with(start), "{start}… expected, got {line}");
    }

    /// Expects that nothing came before a call that can't succeed is answered: the marker behind which silence is
    /// proved.
    pub(crate) async fn hears_nothing(&self) {
        self.say("CAL 999 nobody\n");
        assert_eq!(self.line().await, "208 999");
    }

    /// Expects that the server closes, with nothing more said before.
    pub(crate) async fn is_closed(&self) {
        let closed = async {
            loop {
                let changed = self.wire.changed.notified();
                let (closed, left) = {
                    let state = lock(&self.wire.state);
                    (state.server_closed, state.to_client.clone())
                };
                if closed {
                    assert!(left.is_empty(), "{left:?} came first");
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(500), closed).await.expect("still open");
    }

    /// FIN.
    pub(crate) fn close(&self) {
        self.change(|state| state.client_closed = true);
    }

    /// RST.
    pub(crate) fn reset(&self) {
        self.change(|state| state.reset = true);
    }

    /// From now on so many bytes may wait unread.
    pub(crate) fn reads_at_most(&self, room: usize) {
        self.change(|state| state.room = room);
    }

    /// From now on so many of the bytes written count as confirmed, besides those that are now.
    pub(crate) fn confirms(&self, more: u64) {
        self.change(|state| state.confirmed = Some(state.confirmed.unwrap_or(state.written) + more));
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reset();
    }
}

pub(crate) fn payload(content_type: &str, body: &str) -> String {
    format!("MIME-Version: 1.0\r\nContent-Type: {content_type}\r\n\r\n{body}")
}
