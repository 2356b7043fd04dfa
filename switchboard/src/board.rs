//! What all connections of this process share.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use common::clock::{MessageClock, wall_ms};
use common::cluster::{
    Admittance, Cluster, Cookie, CookieRole, Invitation, Keyring, Nonces, Notice, Outcome, Question, TicketError,
};
use common::model::{ConversationId, Epoch, Generation, NodeId, ParticipationId, Passport, Rate};
use common::net::{BufferPool, Shutdown};
use common::store::SharedStore;
use uuid::Uuid;

use crate::conversation::Place;
use crate::conversations::Conversations;
use crate::cursors::Cursors;
use crate::disk::Disk;
use crate::history::History;
use crate::metrics::Metrics;
use crate::pickup::{Life, Pickups};
use crate::pulse::Pulse;
use crate::purse::Purses;
use crate::telling::{PickedUp, Tellings};

/// What all connections of this process share.
pub(crate) struct Board {
    /// This process, as history and cookies name it.
    pub(crate) place: Place,
    /// Where clients reach it.
    pub(crate) addr: SocketAddr,
    /// From the connection to `USR` or `ANS`.
    pub(crate) authenticate: Duration,
    /// The most bytes of a `MSG`'s payload.
    pub(crate) max_message: usize,
    /// Failing calls in a row that are answered; the next one is 713 (§11).
    pub(crate) failed_calls: u32,
    /// How often a participant may call; one more is 713.
    pub(crate) calls: Rate,
    pub(crate) store: SharedStore,
    pub(crate) doorman: Box<dyn Doorman>,
    pub(crate) peers: Box<dyn Peers>,
    pub(crate) conversations: Conversations,
    pub(crate) history: Arc<History>,
    pub(crate) purses: Arc<Purses>,
    pub(crate) disk: Disk,
    pub(crate) cursors: Cursors,
    pub(crate) pickups: Pickups,
    pub(crate) tellings: Tellings,
    pub(crate) clock: MessageClock,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) pool: Arc<BufferPool>,
    pub(crate) shutdown: Shutdown,
    pub(crate) pulse: Pulse,
    /// The process has waited for its tasks and ends without those that are left.
    pub(crate) is_over: AtomicBool,
}

/// Who looks at cookies.
pub(crate) trait Doorman: Send + Sync + 'static {
    /// What a cookie says, if `who` may present it here, now and in this role.
    fn admit(&self, cookie: &str, who: &Passport, role: CookieRole) -> Result<Cookie, TicketError>;

    /// Takes a cookie that fits, once. Not before everything else has been found right: a mistake must not cost
    /// its owner the cookie.
    fn spend(&self, cookie: &Cookie) -> Result<(), TicketError>;

    /// Whether its bearer's account has another password than when it was given. Ask once its bearer is in the conversation, too.
    fn is_void(&self, cookie: &Cookie) -> bool;
}

/// An answer that is waited for.
pub(crate) type Answer<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The sessions of principals, wherever they are.
pub(crate) trait Peers: Send + Sync + 'static {
    /// Invites a principal, and says what became of it.
    fn invite(&self, callee: &Passport, invitation: Invitation, patience: Duration) -> Answer<Outcome>;

    /// Tells a principal that one of its participations was closed with something outstanding. Whether it has heard, or is signed in
    /// nowhere; takes `patience` at most.
    fn outstanding(&self, who: &Passport, participation: ParticipationId, patience: Duration) -> Answer<bool>;

    /// Tells a session that it has been brought what was kept. Whether it has heard, or is no more; takes `patience` at most.
    fn picked_up(&self, who: &Passport, how: PickedUp, patience: Duration) -> Answer<bool>;

    /// Tells the session of that epoch which of the messages that it was brought have been delivered.
    fn delivered(&self, who: &Passport, epoch: Epoch, messages: Arc<[Uuid]>);

    /// How long ago the session of that sign has heard its client; nothing if that can't be known. Takes `patience` at most.
    fn last_heard(&self, who: &Passport, session: u32, patience: Duration) -> Answer<Option<Duration>>;

    /// Whether the session of that sign is being brought nothing, or is gone. Takes `patience` at most; nothing: it can't be known.
    fn is_brought(&self, who: &Passport, session: u32, patience: Duration) -> Answer<Option<bool>>;

    /// Whether a session knows that it is rung to that conversation. Takes `patience` at most; nothing: it can't be known.
    fn is_rung(&self, who: &Passport, conversation: ConversationId, patience: Duration) -> Answer<Option<bool>>;

    /// What is known of a life of a switchboard.
    fn life(&self, node: &NodeId, generation: Generation) -> Life;
}

/// The doorman of a running switchboard.
pub(crate) struct Keys {
    pub(crate) keyring: Keyring,
    pub(crate) nonces: Nonces,
    pub(crate) place: Place,
    pub(crate) cluster: Cluster,
}

impl Doorman for Keys {
    fn admit(&self, cookie: &str, who: &Passport, role: CookieRole) -> Result<Cookie, TicketError> {
        let bound_to = Admittance {
            principal: who.clone(),
            switchboard: self.place.node.clone(),
            generation: self.place.generation,
        };
        let now = wall_ms();
        let cookie = self.keyring.open_cookie(cookie, &bound_to, now)?;
        if cookie.role != role {
            return Err(TicketError::NotGenuine);
        }
        Ok(cookie)
    }

    fn spend(&self, cookie: &Cookie) -> Result<(), TicketError> {
        self.nonces.take(cookie, wall_ms())
    }

    fn is_void(&self, cookie: &Cookie) -> bool {
        self.cluster.is_void(cookie.claim, cookie.edition)
    }
}

impl Peers for Cluster {
    fn invite(&self, callee: &Passport, invitation: Invitation, patience: Duration) -> Answer<Outcome> {
        let (cluster, callee) = (self.clone(), callee.clone());
        Box::pin(async move { cluster.route(&callee, Notice::Invite(invitation), patience).await })
    }

    fn outstanding(&self, who: &Passport, participation: ParticipationId, patience: Duration) -> Answer<bool> {
        tell(self, who, Notice::Outstanding { participation }, patience)
    }

    fn picked_up(&self, who: &Passport, how: PickedUp, patience: Duration) -> Answer<bool> {
        let PickedUp { epoch, complete, unanswered } = how;
        tell(self, who, Notice::PickedUp { epoch, complete, unanswered }, patience)
    }

    fn delivered(&self, who: &Passport, epoch: Epoch, messages: Arc<[Uuid]>) {
        self.post(vec![(who.clone(), Notice::Delivered { epoch, messages })]);
    }

    fn last_heard(&self, who: &Passport, session: u32, patience: Duration) -> Answer<Option<Duration>> {
        let answer = ask(self, who, session, Question::LastHeard, patience);
        Box::pin(async move {
            match answer.await {
                Outcome::Heard { ms_ago } => Some(Duration::from_millis(ms_ago.into())),
                _ => None,
            }
        })
    }

    fn is_brought(&self, who: &Passport, session: u32, patience: Duration) -> Answer<Option<bool>> {
        let answer = ask(self, who, session, Question::Brought, patience);
        Box::pin(async move {
            match answer.await {
                Outcome::Accepted | Outcome::NotHere => Some(true),
                Outcome::Refused => Some(false),
                _ => None,
            }
        })
    }

    fn is_rung(&self, who: &Passport, conversation: ConversationId, patience: Duration) -> Answer<Option<bool>> {
        // Of whichever session: the ring itself does not name one.
        let answer = ask(self, who, 0, Question::Rung(conversation), patience);
        Box::pin(async move {
            match answer.await {
                Outcome::Accepted => Some(true),
                Outcome::Refused | Outcome::NotHere => Some(false),
                _ => None,
            }
        })
    }

    fn life(&self, node: &NodeId, generation: Generation) -> Life {
        match self.view().node(node) {
            Some(known) if known.generation == generation => Life::Living,
            Some(known) if known.generation > generation => Life::Superseded,
            _ => Life::Absent,
        }
    }
}

/// Whether a session has taken it, or there is none.
fn tell(cluster: &Cluster, who: &Passport, notice: Notice, patience: Duration) -> Answer<bool> {
    let (cluster, who) = (cluster.clone(), who.clone());
    Box::pin(async move { cluster.route(&who, notice, patience).await != Outcome::Unknown })
}

fn ask(
    cluster: &Cluster,
    who: &Passport,
    session: u32,
    question: Question,
    patience: Duration,
) -> impl Future<Output = Outcome> + Send + use<> {
    let (cluster, who) = (cluster.clone(), who.clone());
    async move { cluster.route(&who, Notice::Asked { session, question }, patience).await }
}
