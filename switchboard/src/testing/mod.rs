//! A switchboard without cluster, store and sockets: what tests drive sessions with.

mod store;
mod wire;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::clock::MessageClock;
use common::cluster::{Cookie, CookieRole, Invitation, Outcome, TicketError};
use common::model::{
    ClaimId, ConversationId, Edition, Epoch, Generation, Limits, NodeId, ParticipationId, Passport, Rates,
};
use common::net::{BufferPool, Places, Shutdown, Stranger};
use common::store::HistoryWrite;
use common::telemetry::Registry;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::board::{Answer, Board, Doorman, Peers};
use crate::conversation::{Place, Rules};
use crate::conversations::Conversations;
use crate::cursors::Cursors;
use crate::disk::Disk;
use crate::history::History;
use crate::metrics::Metrics;
use crate::pickup::{Desk, Life, Pickups};
use crate::pulse::Pulse;
use crate::purse::{Allowance, Purses};
use crate::session;
use crate::telling::{PickedUp, Tellings};

pub(crate) use store::{Asked, FakeStore, Mood};
pub(crate) use wire::{Client, wire};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `alice` is alice@example.com.
pub(crate) fn passport(name: &str) -> Passport {
    Passport::parse(&format!("{name}@example.com")).unwrap()
}

/// The place of a connection that nobody makes give way.
pub(crate) fn stranger() -> Box<Stranger> {
    Stranger::at(&Places::new(1, 1), ([127, 0, 0, 1], 1).into(), &Arc::default()).unwrap()
}

/// The claim of a test account: the same at every look.
pub(crate) fn claim(who: &Passport) -> ClaimId {
    ClaimId(Uuid::new_v5(&Uuid::nil(), who.as_str().as_bytes()))
}

/// What sessions are not told in that time they are never told.
const TOLD: Duration = Duration::from_secs(2 * 60 * 60);

/// The sign of the sessions that make cookies.
const SESSION: u32 = 77;

/// Cookies by their text; each opens once.
#[derive(Default)]
pub(crate) struct FakeDoorman {
    cookies: Mutex<HashMap<String, (Passport, Cookie)>>,
    /// Those that are made from now on are of clients which are being brought what was kept.
    pub(crate) kept_first: AtomicBool,
    used: Mutex<BTreeSet<u64>>,
    /// Cookies are void when they have been looked at so often.
    pub(crate) void_after: Mutex<Option<usize>>,
}

impl FakeDoorman {
    /// Of the cookies that it makes.
    pub(crate) const EDITION: Edition = Edition(7);

    /// A cookie's text.
    pub(crate) fn cookie(&self, who: &Passport, role: CookieRole, conversation: ConversationId) -> String {
        let mut cookies = lock(&self.cookies);
        let nonce = cookies.len() as u64;
        let claim = claim(who);
        let kept_first = self.kept_first.load(Ordering::Relaxed);
        let (edition, dialect, capabilities, session, expires) = (Self::EDITION, 8, 0, SESSION, u32::MAX);
        let cookie = Cookie {
            role,
            conversation,
            claim,
            edition,
            dialect,
            capabilities,
            session,
            kept_first,
            expires,
            nonce,
        };
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
        Ok(cookie)
    }

    fn spend(&self, cookie: &Cookie) -> std::result::Result<(), TicketError> {
        if lock(&self.used).insert(cookie.nonce) { Ok(()) } else { Err(TicketError::Used) }
    }

    fn is_void(&self, _: &Cookie) -> bool {
        match &mut *lock(&self.void_after) {
            Some(0) => true,
            Some(looks) => {
                *looks -= 1;
                false
            }
            None => false,
        }
    }
}

/// Sessions that answer invitations: `offline…` is not there, `hidden…` refuses, `slow…` never answers, `fed-up…` has been rung too
/// often, the rest ring, once in each conversation unless they are new.
#[derive(Default)]
pub(crate) struct FakePeers {
    pub(crate) invited: Mutex<Vec<(Passport, Invitation)>>,
    /// So many words to sessions are lost.
    pub(crate) lost: AtomicUsize,
    pub(crate) told: Mutex<Vec<Passport>>,
    pub(crate) picked_up: Mutex<Vec<(Passport, Epoch, bool)>>,
    /// Messages of which sessions were told that they are delivered.
    pub(crate) delivered: Mutex<Vec<Uuid>>,
    /// The last that a session was told of those whom it did not answer.
    pub(crate) unanswered: Mutex<Vec<Passport>>,
    /// Of switchboards, by generation; those that are not here are alive.
    pub(crate) lives: Mutex<HashMap<Generation, Life>>,
    /// Sessions know of no rings before.
    pub(crate) are_new: AtomicBool,
    /// When sessions have heard their clients; nothing: they are gone.
    pub(crate) heard: Mutex<Option<Instant>>,
    /// How often they were asked.
    pub(crate) asked: AtomicUsize,
    /// They never answer.
    pub(crate) is_mute: AtomicBool,
    /// Their sessions know of no ring.
    pub(crate) not_rung: Mutex<Vec<Passport>>,
    /// Who was asked whether it is rung.
    pub(crate) asked_rung: Mutex<Vec<Passport>>,
    /// What was kept is being brought.
    pub(crate) brings: AtomicBool,
    pub(crate) telling: Notify,
}

impl Peers for Arc<FakePeers> {
    fn invite(&self, callee: &Passport, invitation: Invitation, _: Duration) -> Answer<Outcome> {
        let again = invitation.again && !self.are_new.load(Ordering::Relaxed);
        lock(&self.invited).push((callee.clone(), invitation));
        let (name, mute) = (callee.as_str().to_owned(), self.is_mute.load(Ordering::Relaxed));
        Box::pin(async move {
            if mute || name.starts_with("slow") {
                std::future::pending::<()>().await;
            }
            match &name {
                name if name.starts_with("offline") => Outcome::NotHere,
                name if name.starts_with("hidden") => Outcome::Refused,
                name if name.starts_with("fed-up") => Outcome::TooOften,
                _ if again => Outcome::AlreadyRung,
                _ => Outcome::Accepted,
            }
        })
    }

    fn outstanding(&self, who: &Passport, _: ParticipationId, _: Duration) -> Answer<bool> {
        let hears = self.hears();
        if hears {
            lock(&self.told).push(who.clone());
            self.telling.notify_waiters();
        }
        Box::pin(std::future::ready(hears))
    }

    fn picked_up(&self, who: &Passport, how: PickedUp, _: Duration) -> Answer<bool> {
        let hears = self.hears();
        if hears {
            *lock(&self.unanswered) = how.unanswered;
            lock(&self.picked_up).push((who.clone(), how.epoch, how.complete));
            self.telling.notify_waiters();
        }
        Box::pin(std::future::ready(hears))
    }

    fn delivered(&self, _: &Passport, _: Epoch, messages: Arc<[Uuid]>) {
        lock(&self.delivered).extend(messages.iter());
        self.telling.notify_waiters();
    }

    fn last_heard(&self, _: &Passport, session: u32, _: Duration) -> Answer<Option<Duration>> {
        assert_eq!(session, SESSION);
        self.asked.fetch_add(1, Ordering::Relaxed);
        let (heard, mute) = (*lock(&self.heard), self.is_mute.load(Ordering::Relaxed));
        Box::pin(async move {
            if mute {
                std::future::pending::<()>().await;
            }
            heard.map(|heard| heard.elapsed())
        })
    }

    fn is_brought(&self, _: &Passport, session: u32, _: Duration) -> Answer<Option<bool>> {
        assert_eq!(session, SESSION);
        let (brought, mute) = (!self.brings.load(Ordering::Relaxed), self.is_mute.load(Ordering::Relaxed));
        Box::pin(async move {
            if mute {
                std::future::pending::<()>().await;
            }
            Some(brought)
        })
    }

    fn is_rung(&self, who: &Passport, _: ConversationId, _: Duration) -> Answer<Option<bool>> {
        lock(&self.asked_rung).push(who.clone());
        let (is, mute) = (!lock(&self.not_rung).contains(who), self.is_mute.load(Ordering::Relaxed));
        Box::pin(async move {
            if mute {
                std::future::pending::<()>().await;
            }
            Some(is)
        })
    }

    fn life(&self, _: &NodeId, generation: Generation) -> Life {
        lock(&self.lives).get(&generation).copied().unwrap_or(Life::Living)
    }
}

impl FakePeers {
    /// Whether the next word to a session is not lost.
    fn hears(&self) -> bool {
        let less = |lost: usize| lost.checked_sub(1);
        self.lost.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_err()
    }

    /// Waits until so many sessions were told that they have been brought what was kept.
    pub(crate) async fn have_picked_up(&self, count: usize) -> Vec<(Passport, Epoch, bool)> {
        loop {
            let telling = self.telling.notified();
            let told = lock(&self.picked_up).clone();
            if told.len() >= count {
                return told;
            }
            timeout(TOLD, telling).await.unwrap_or_else(|_| panic!("only {told:?}"));
        }
    }

    /// Waits until a principal was told that something is outstanding.
    pub(crate) async fn has_told(&self, who: &Passport) {
        loop {
            let telling = self.telling.notified();
            if lock(&self.told).contains(who) {
                return;
            }
            timeout(TOLD, telling).await.expect("it is told");
        }
    }
}

/// A switchboard under test.
pub(crate) struct World {
    pub(crate) board: Arc<Board>,
    pub(crate) store: Arc<FakeStore>,
    pub(crate) doorman: Arc<FakeDoorman>,
    pub(crate) peers: Arc<FakePeers>,
    pub(crate) desk: Desk,
}

impl Drop for World {
    /// What is under way when a test ends is owed to nobody.
    fn drop(&mut self) {
        self.board.shutdown.begin();
        self.board.is_over.store(true, Ordering::Relaxed);
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_rates(&Rates { call_burst: 100, call_per_minute: 60, ..Self::unbounded() })
    }

    /// Everybody may say as much as it wants.
    fn unbounded() -> Rates {
        Rates { message_burst: 0, message_kib_burst: 0, stored_burst: 0, ..Rates::default() }
    }

    pub(crate) fn with_rates(rates: &Rates) -> Self {
        Self::bounded(rates, &Limits { stored_kib_per_day: 0, ..Limits::default() })
    }

    pub(crate) fn bounded(rates: &Rates, limits: &Limits) -> Self {
        let store = Arc::new(FakeStore::default());
        let (doorman, peers) = (Arc::new(FakeDoorman::default()), Arc::new(FakePeers::default()));
        let metrics = Arc::new(Metrics::new(&mut Registry::default()));
        let shutdown = Shutdown::default();
        let rules = Rules { participants: 5, ring: Duration::from_secs(120) };
        let board = Arc::new(Board {
            place: Place { node: NodeId::parse("sb-1").unwrap(), generation: Generation(1) },
            addr: ([127, 0, 0, 1], 1865).into(),
            authenticate: Duration::from_secs(60),
            max_message: 1664,
            failed_calls: 5,
            calls: rates.call(),
            store: Arc::clone(&store) as _,
            doorman: Box::new(Arc::clone(&doorman)),
            peers: Box::new(Arc::clone(&peers)),
            conversations: Conversations::new(rules, Arc::clone(&metrics)),
            history: History::new(Arc::clone(&store) as _, Arc::clone(&metrics), shutdown.clone()),
            purses: Purses::new(Allowance::of(rates, limits)),
            disk: Disk::default(),
            cursors: Cursors::new(Arc::clone(&store) as _),
            pickups: Pickups::new(Duration::from_secs(60)),
            tellings: Tellings::default(),
            clock: MessageClock::new().unwrap(),
            metrics,
            pool: Arc::new(BufferPool::default()),
            shutdown: shutdown.clone(),
            pulse: Pulse::default(),
            is_over: AtomicBool::new(false),
        });
        shutdown.spawn(crate::heart::look(Arc::clone(&board)));
        shutdown.spawn({
            let board = Arc::clone(&board);
            async move { board.cursors.run(&board.shutdown).await }
        });
        let desk = Desk::default();
        desk.open(&board);
        Self { board, store, doorman, peers, desk }
    }

    pub(crate) fn store_is(&self, mood: Mood) {
        *lock(&self.store.mood) = mood;
    }

    pub(crate) fn conversation_id(&self) -> ConversationId {
        ConversationId(self.board.clock.uuid())
    }

    /// A connection that has said nothing yet.
    pub(crate) fn connect(&self) -> Client {
        let (client, transport) = wire();
        self.board.shutdown.spawn(session::serve(Arc::clone(&self.board), transport, stranger(), Instant::now()));
        client
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

pub(crate) fn payload(content_type: &str, body: &str) -> String {
    format!("MIME-Version: 1.0\r\nContent-Type: {content_type}\r\n\r\n{body}")
}
