//! The sessions of this process: passport → mailboxes. What the router delivers to.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use common::cluster::{
    Audience, Deliver, Instruction, Invitation, Notice, Outcome, Question, Sighting, Tally, Told, Void, Watcher,
};
use common::model::{Bulletin, ClaimId, Edition, Endpoint, Epoch, Generation, NodeId, Passport, SignOut};
use common::net::{Full, Mailbox, Sender, mailbox};
use tokio::sync::oneshot;

use crate::gate::Gate;
use crate::repair::{Visible, Watchings};
use crate::session::Asked;

mod orders;

/// What a session finds in its mailbox.
#[derive(Debug)]
pub(crate) enum Item {
    /// Something happened to somebody.
    Notice(Notice),
    /// Somebody calls, and waits for the answer.
    Invite(Invitation, oneshot::Sender<Outcome>),
    /// A switchboard asks the session of that sign, and waits for the answer.
    Asked(u32, Question, oneshot::Sender<Outcome>),
    /// The principal has signed in elsewhere.
    Displaced,
    /// The directory had lost the session: it should say again how it looks.
    Reannounce,
    /// Something did not fit into the mailbox.
    Missed(Missed),
    /// What came of asking for what was kept.
    AskedForKept(Asked),
    /// That life of a switchboard is dead: what it has left may be asked for after that time.
    SwitchboardLost {
        /// Which.
        node: NodeId,
        /// Which of its lives.
        generation: Generation,
        /// Each session has another one, so that the store isn't asked by all at once.
        after: Duration,
    },
    /// What it should have heard from a switchboard may be lost: what was kept may be asked for after that time.
    MayBeKept {
        /// Each session has another one.
        after: Duration,
    },
    /// Operators have something to say.
    Bulletin(Bulletin),
    /// Operators end the session.
    SignOut(SignOut),
    /// This process shuts down.
    ShutDown,
}

/// What did not fit into a mailbox, and is to be found out in another way: nothing that others cause ends a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Missed {
    /// How contacts look: they are asked again.
    pub(crate) looks: bool,
    /// How contacts asked for the principal's looks: all who may see it are told.
    pub(crate) probes: bool,
    /// What others have changed in the principal's roster: the store has it.
    pub(crate) edits: bool,
    /// That something was kept, or brought: it is asked for again.
    pub(crate) kept: bool,
}

impl Missed {
    fn with(mut self, notice: &Notice) -> Self {
        match notice {
            Notice::Presence { .. } | Notice::ProbeAnswer { .. } | Notice::Absent { .. } => self.looks = true,
            Notice::Probe { .. } => self.probes = true,
            Notice::Added { .. } | Notice::Removed { .. } | Notice::Property { .. } => self.edits = true,
            Notice::Outstanding { .. } | Notice::PickedUp { .. } => self.kept = true,
            // What was delivered is counted for longer then.
            Notice::Delivered { .. } => {}
            // These are answered, or not for sessions.
            Notice::Invite(_) | Notice::Asked { .. } => {}
            Notice::PickUp { .. } | Notice::Holds | Notice::RingOver { .. } => {}
        }
        self
    }
}

/// The bytes of notices that may wait for one session. More means that it does not run at all.
const MAILBOX_BUDGET: usize = 256 * 1024;
/// How long a caller waits for the session's answer to an invitation.
const ANSWER_PATIENCE: Duration = Duration::from_secs(2);
/// Sessions are spread over so many tables, so that workers seldom meet at one lock.
const SHARDS: usize = 32;

type Shard = HashMap<Passport, Vec<Entry>>;

/// The sessions of this process.
#[derive(Debug)]
pub(crate) struct Hub {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    next_id: AtomicU64,
    sessions: AtomicU64,
    gate: OnceLock<Arc<Gate>>,
    /// Whom the sessions watch.
    pub(crate) watchings: Watchings,
    /// Who is to be seen here.
    pub(crate) visible: Visible,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    endpoint: Endpoint,
    access: Access,
    /// Nothing until the directory has given one: the session must be deliverable before that.
    epoch: Option<Epoch>,
    /// The greatest epoch that displaced this principal while this session had none yet.
    displaced_by: Option<Epoch>,
    sender: Sender<Item>,
}

/// Which account a session is of, and by which of its credentials it has signed in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Access {
    pub(crate) claim: ClaimId,
    pub(crate) edition: Edition,
}

#[cfg(test)]
impl Access {
    /// For tests in which it does not matter.
    pub(crate) const SOME: Self = Self { claim: ClaimId(uuid::Uuid::nil()), edition: Edition(7) };
}

/// A session's place in the hub; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place {
    hub: Arc<Hub>,
    who: Passport,
    id: u64,
}

impl Hub {
    /// A hub without sessions.
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            next_id: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
            gate: OnceLock::new(),
            watchings: Watchings::default(),
            visible: Visible::default(),
        }
    }

    /// From now on closes that gate when operators send all sessions of this node away. The first stays.
    pub(crate) fn keep_gate(&self, gate: Arc<Gate>) {
        let _ = self.gate.set(gate);
    }

    /// A place for a session that signs in, and its mailbox. What is delivered before the session is ready waits
    /// there.
    pub(crate) fn enter(
        self: &Arc<Self>,
        who: &Passport,
        endpoint: Endpoint,
        access: Access,
    ) -> (Place, Mailbox<Item>) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, mailbox) = mailbox(MAILBOX_BUDGET);
        let entry = Entry { id, endpoint, access, epoch: None, displaced_by: None, sender };
        self.shard(who).entry(who.clone()).or_insert_with(|| Vec::with_capacity(1)).push(entry);
        self.sessions.fetch_add(1, Ordering::Relaxed);
        (Place { hub: Arc::clone(self), who: who.clone(), id }, mailbox)
    }

    /// How many sessions there are.
    pub(crate) fn len(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// How many sessions there have been.
    pub(crate) fn entered(&self) -> u64 {
        self.next_id.load(Ordering::Relaxed)
    }

    /// Tells every session something.
    pub(crate) fn tell_all(&self, mut item: impl FnMut() -> Item) {
        for shard in &self.shards {
            for entry in lock(shard).values().flatten() {
                // A closed mailbox belongs to a session that is ending anyway.
                let _ = entry.sender.send(item(), 0);
            }
        }
    }

    /// Tells one session something.
    pub(crate) fn tell(&self, who: &Passport, epoch: Epoch, item: Item) {
        let shard = self.shard(who);
        let session = shard.get(who).into_iter().flatten().find(|entry| entry.epoch == Some(epoch));
        if let Some(session) = session {
            // A closed mailbox belongs to a session that is ending anyway.
            let _ = session.sender.send(item, 0);
        }
    }

    fn shard(&self, who: &Passport) -> MutexGuard<'_, Shard> {
        let at = usize::try_from(self.hasher.hash_one(who) % SHARDS as u64).unwrap_or_default();
        lock(&self.shards[at])
    }

    fn send(&self, to: &Passport, epoch: Option<Epoch>, notice: &Notice) -> Outcome {
        let mut outcome = Outcome::NotHere;
        for entry in self.shard(to).get(to).into_iter().flatten().filter(|entry| entry.is(epoch)) {
            let (item, cost) = (Item::Notice(notice.clone()), cost(notice));
            let sent = entry.sender.send_or(item, cost, |before| match before {
                Some(Item::Missed(missed)) => Item::Missed(missed.with(notice)),
                _ => Item::Missed(Missed::default().with(notice)),
            });
            outcome = match (sent, outcome) {
                (Ok(()), _) | (_, Outcome::Accepted) => Outcome::Accepted,
                // It is there, and ends without having taken it.
                (Err(Full::Overflow), _) => Outcome::Unknown,
                (Err(Full::Closed), before) => before,
            };
        }
        outcome
    }

    /// Hands the newest session what it is to answer.
    fn call(
        &self,
        to: &Passport,
        epoch: Option<Epoch>,
        cost: usize,
        item: impl FnOnce(oneshot::Sender<Outcome>) -> Item,
    ) -> Result<oneshot::Receiver<Outcome>, Outcome> {
        let shard = self.shard(to);
        let there = shard.get(to).into_iter().flatten().filter(|entry| entry.is(epoch));
        let newest = there.max_by_key(|entry| entry.id).ok_or(Outcome::NotHere)?;
        let (sender, receiver) = oneshot::channel();
        match newest.sender.offer(item(sender), size_of::<Item>() + cost) {
            Ok(()) => Ok(receiver),
            Err(Full::Overflow) => Err(Outcome::Unknown),
            Err(Full::Closed) => Err(Outcome::NotHere),
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Entry {
    /// Whether this is the session meant. One without an epoch may be it.
    fn is(&self, epoch: Option<Epoch>) -> bool {
        match (epoch, self.epoch) {
            (Some(meant), Some(own)) => meant == own,
            _ => true,
        }
    }

    /// Ends the session if its epoch is at most `by`; of two equal ones the other node's has won.
    fn displace(&mut self, by: Epoch) {
        match self.epoch {
            None => self.displaced_by = self.displaced_by.max(Some(by)),
            Some(own) if own <= by => {
                let _ = self.sender.send(Item::Displaced, 0);
            }
            Some(_) => {}
        }
    }
}

/// About the bytes that a notice holds while it waits.
fn cost(notice: &Notice) -> usize {
    let texts = match notice {
        Notice::Presence { presence: Some(presence), .. }
        | Notice::ProbeAnswer { presence: Some(presence), .. } => {
            presence.name.len()
                + presence.object.as_ref().map_or(0, |object| object.len())
                + presence.personal_message.as_ref().map_or(0, |message| message.len())
        }
        Notice::Added { name, .. } => name.len(),
        Notice::Property { value, .. } => value.len(),
        Notice::Probe { watchers, .. } => watchers.len() * size_of::<Watcher>(),
        _ => 0,
    };
    size_of::<Item>() + Passport::MAX_LEN + texts
}

impl Place {
    /// The directory has registered the session. Earlier ones of the same principal and place end here at once.
    pub(crate) fn settle(&self, epoch: Epoch) {
        let mut shard = self.hub.shard(&self.who);
        let entries = shard.get_mut(&self.who).map(Vec::as_mut_slice).unwrap_or_default();
        let Some(own) = entries.iter_mut().find(|entry| entry.id == self.id) else { return };
        own.epoch = Some(epoch);
        let endpoint = own.endpoint;
        if let Some(by) = own.displaced_by.take() {
            own.displace(by);
        }
        for other in entries.iter_mut().filter(|other| other.id != self.id && other.endpoint == endpoint) {
            other.displace(epoch);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut shard = self.hub.shard(&self.who);
        if let Some(entries) = shard.get_mut(&self.who) {
            entries.retain(|entry| entry.id != self.id);
            if entries.is_empty() {
                shard.remove(&self.who);
            }
        }
        drop(shard);
        self.hub.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Deliver for Hub {
    async fn deliver(&self, to: &Passport, epoch: Option<Epoch>, notice: Notice) -> Outcome {
        let called = match notice {
            Notice::Invite(invitation) => {
                let listed = invitation.kept.as_ref().map_or(0, |kept| size_of_val(&*kept.messages));
                self.call(to, epoch, listed, |answer| Item::Invite(invitation, answer))
            }
            Notice::Asked { session, question } => {
                self.call(to, epoch, 0, |answer| Item::Asked(session, question, answer))
            }
            notice => return self.send(to, epoch, &notice),
        };
        let answer = match called {
            Ok(answer) => answer,
            Err(outcome) => return outcome,
        };
        match tokio::time::timeout(ANSWER_PATIENCE, answer).await {
            Ok(Ok(outcome)) => outcome,
            // It ended before it could answer.
            Ok(Err(_)) => Outcome::NotHere,
            Err(_) => Outcome::Unknown,
        }
    }

    fn displaced(&self, who: &Passport, endpoint: Endpoint, by: Epoch) {
        let mut shard = self.shard(who);
        let entries = shard.get_mut(who).into_iter().flatten();
        for entry in entries.filter(|entry| entry.endpoint == endpoint) {
            entry.displace(by);
        }
    }

    fn sessions(&self) -> Vec<(Passport, Endpoint, Epoch)> {
        let mut all = Vec::new();
        for shard in &self.shards {
            for (who, entries) in &*lock(shard) {
                let settled = entries.iter().filter_map(|entry| Some((who.clone(), entry.endpoint, entry.epoch?)));
                all.extend(settled);
            }
        }
        all
    }

    fn reannounce(&self, who: &Passport, epoch: Epoch) {
        for entry in self.shard(who).get(who).into_iter().flatten().filter(|entry| entry.epoch == Some(epoch)) {
            let _ = entry.sender.send(Item::Reannounce, 0);
        }
    }

    async fn carry_out(&self, to: &Audience, what: &Instruction) -> Told {
        self.hand_out(to, what).await
    }

    fn void(&self, void: &Void) -> u64 {
        let shard = self.shard(&void.who);
        let there = shard.get(&void.who).into_iter().flatten();
        let meant = there.filter(|entry| void.holds(entry.access.claim, entry.access.edition));
        // There is always room for the end. A closed mailbox belongs to a session that is ending anyway.
        meant.filter(|entry| entry.sender.send(Item::SignOut(SignOut::NewPassword), 0).is_ok()).count() as u64
    }

    fn tallies(&self) -> Vec<Tally> {
        self.visible.tallies()
    }

    fn sightings(&self, bucket: u8) -> Vec<Sighting> {
        self.visible.sightings(bucket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Asking;

    /// What looks may take of a mailbox.
    const FOR_LOOKS: usize = MAILBOX_BUDGET - MAILBOX_BUDGET / 8;

    fn alice() -> Passport {
        Passport::parse("alice@example.com").unwrap()
    }

    fn removed() -> Notice {
        Notice::Removed { by: Passport::parse("bob@example.com").unwrap() }
    }

    fn invite() -> Notice {
        Notice::Invite(Invitation {
            conversation: common::model::ConversationId(uuid::Uuid::nil()),
            session: 100_000,
            switchboard: NodeId::parse("sb-1").unwrap(),
            generation: common::model::Generation(1),
            addr: ([127, 0, 0, 1], 1865).into(),
            caller: Passport::parse("bob@example.com").unwrap(),
            caller_name: "Bob".into(),
            again: false,
            ring: 1,
            kept: None,
        })
    }

    #[tokio::test]
    async fn delivers_to_the_session_that_is_meant() {
        let hub = Arc::new(Hub::new());
        assert_eq!(hub.deliver(&alice(), None, removed()).await, Outcome::NotHere);
        let (place, mut mailbox) = hub.enter(&alice(), Endpoint::SOLE, Access::SOME);
        // The directory may know the epoch before the session does.
        assert_eq!(hub.deliver(&alice(), Some(Epoch(5)), removed()).await, Outcome::Accepted);
        assert!(hub.sessions().is_empty());
        place.settle(Epoch(5));
        assert_eq!(hub.sessions(), [(alice(), Endpoint::SOLE, Epoch(5))]);
        assert_eq!(hub.deliver(&alice(), Some(Epoch(4)), removed()).await, Outcome::NotHere);
        assert!(matches!(mailbox.now(), Some(Item::Notice(Notice::Removed { .. }))));
        assert!(mailbox.now().is_none());
        assert_eq!(hub.len(), 1);
        drop(place);
        assert_eq!((hub.len(), hub.deliver(&alice(), None, removed()).await), (0, Outcome::NotHere));
    }

    #[tokio::test]
    async fn a_new_password_ends_sessions_of_those_before() {
        let hub = Arc::new(Hub::new());
        let of = |edition| Access { edition: Edition(edition), ..Access::SOME };
        let mut sessions = [6, 7, 8].map(|edition| hub.enter(&alice(), Endpoint::SOLE, of(edition)));
        let void = Void { who: alice(), claim: Access::SOME.claim, before: Edition(7) };
        let another = Void { claim: ClaimId(uuid::Uuid::max()), ..void.clone() };
        assert_eq!((hub.void(&another), hub.void(&void)), (0, 1));
        let ends = sessions
            .each_mut()
            .map(|(_, mailbox)| matches!(mailbox.now(), Some(Item::SignOut(SignOut::NewPassword))));
        assert_eq!(ends, [true, false, false]);
    }

    #[tokio::test]
    async fn greater_epochs_are_not_displaced() {
        let hub = Arc::new(Hub::new());
        let (first, mut first_mail) = hub.enter(&alice(), Endpoint::SOLE, Access::SOME);
        first.settle(Epoch(5));
        hub.displaced(&alice(), Endpoint::SOLE, Epoch(4));
        hub.displaced(&alice(), Endpoint(uuid::Uuid::max()), Epoch(9));
        assert!(first_mail.now().is_none());
        hub.displaced(&alice(), Endpoint::SOLE, Epoch(5));
        assert!(matches!(first_mail.now(), Some(Item::Displaced)));
        let (second, mut second_mail) = hub.enter(&alice(), Endpoint::SOLE, Access::SOME);
        // Word of another node's session comes while this one does not know its epoch.
        hub.displaced(&alice(), Endpoint::SOLE, Epoch(6));
        assert!(matches!(first_mail.now(), Some(Item::Displaced)));
        second.settle(Epoch(7));
        assert!(second_mail.now().is_none());
        assert!(matches!(first_mail.now(), Some(Item::Displaced)));
        let (third, mut third_mail) = hub.enter(&alice(), Endpoint::SOLE, Access::SOME);
        hub.displaced(&alice(), Endpoint::SOLE, Epoch(9));
        third.settle(Epoch(8));
        assert!(matches!(third_mail.now(), Some(Item::Displaced)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_invitation_waits_for_its_answer_but_not_for_ever() {
        let hub = Arc::new(Hub::new());
        assert_eq!(hub.deliver(&alice(), None, invite()).await, Outcome::NotHere);
        let (place, mut mailbox) = hub.enter(&alice(), Endpoint::SOLE, Access::SOME);
        let calls = || {
            let hub = Arc::clone(&hub);
            tokio::spawn(async move { hub.deliver(&alice(), None, invite()).await })
        };
        let call = calls();
        let Some(Item::Invite(_, answer)) = mailbox.recv().await else { panic!() };
        answer.send(Outcome::Refused).unwrap();
        assert_eq!(call.await.unwrap(), Outcome::Refused);
        assert_eq!(calls().await.unwrap(), Outcome::Unknown);
        let call = calls();
        tokio::task::yield_now().await;
        drop((mailbox, place));
        assert_eq!(call.await.unwrap(), Outcome::NotHere);
    }

    #[test]
    fn the_answers_of_all_that_are_asked_at_a_time_fit_into_a_mailbox() {
        let limits = common::model::Limits::default();
        let text = |bytes| -> Arc<str> { "x".repeat(bytes).into() };
        let presence = common::model::Presence {
            status: common::model::Status::Online,
            name: text(limits.friendly_name),
            capabilities: 0,
            object: Some(text(limits.object)),
            personal_message: Some(text(limits.personal_message)),
        };
        let node = NodeId::parse("ns-1").unwrap();
        let stamp = common::cluster::Stamp { epoch: Epoch(1), node, count: 1, version: 1 };
        let presence = Some(presence);
        let longest = cost(&Notice::ProbeAnswer { from: alice(), stamp, presence, properties: 0 });
        assert!(Asking::AT_ONCE * longest <= FOR_LOOKS, "{longest} bytes each");
    }

    #[tokio::test]
    async fn looks_that_do_not_fit_are_asked_for_again() {
        let hub = Arc::new(Hub::new());
        let (_place, mut mailbox) = hub.enter(&alice(), Endpoint::SOLE, Access::SOME);
        let node = NodeId::parse("ns-1").unwrap();
        let stamp = common::cluster::Stamp { epoch: Epoch(1), node, count: 1, version: 1 };
        let gone = || Notice::Presence { from: alice(), stamp: stamp.clone(), presence: None, properties: 0 };
        let fitting = FOR_LOOKS / cost(&gone());
        for _ in 0..fitting + 10 {
            assert_eq!(hub.deliver(&alice(), None, gone()).await, Outcome::Accepted);
        }
        for _ in 0..fitting {
            assert!(matches!(mailbox.now(), Some(Item::Notice(Notice::Presence { .. }))));
        }
        let looks = Missed { looks: true, ..Missed::default() };
        assert!(matches!(mailbox.now(), Some(Item::Missed(missed)) if missed == looks));
        assert!(mailbox.now().is_none());
    }

    #[tokio::test]
    async fn nothing_that_others_cause_closes_the_mailbox_of_a_session_that_does_not_run() {
        let hub = Arc::new(Hub::new());
        let (_place, mut mailbox) = hub.enter(&alice(), Endpoint::SOLE, Access::SOME);
        let node = NodeId::parse("ns-2").unwrap();
        let stamp = common::cluster::Stamp { epoch: Epoch(1), node: node.clone(), count: 1, version: 1 };
        let (watchers, generation) = (Vec::new(), common::model::Generation(1));
        let property = common::model::Property::HomePhone;
        let all = [
            removed(),
            Notice::Added { by: alice(), name: "Alice".into() },
            Notice::Property { of: alice(), stamp, repeated: false, property, value: "555".into() },
            Notice::Probe { watchers, node, generation },
            Notice::Outstanding { participation: common::model::ParticipationId(uuid::Uuid::nil()) },
            Notice::PickedUp { epoch: Epoch(1), complete: true, unanswered: Vec::new() },
        ];
        for _ in 0..MAILBOX_BUDGET / size_of::<Item>() {
            for notice in &all {
                assert_eq!(hub.deliver(&alice(), None, notice.clone()).await, Outcome::Accepted);
            }
        }
        assert_eq!(hub.deliver(&alice(), None, invite()).await, Outcome::Unknown, "its caller is told");
        let mut taken = 0;
        let missed = loop {
            match mailbox.now() {
                Some(Item::Notice(_)) => taken += 1,
                Some(Item::Missed(missed)) => break missed,
                other => panic!("{other:?}"),
            }
        };
        assert!(taken > 100 && taken * cost(&removed()) <= MAILBOX_BUDGET, "{taken}");
        assert_eq!(missed, Missed { looks: false, probes: true, edits: true, kept: true });
        assert_eq!(hub.deliver(&alice(), None, removed()).await, Outcome::Accepted);
        assert!(matches!(mailbox.now(), Some(Item::Notice(Notice::Removed { .. }))), "there is room again");
    }
}
