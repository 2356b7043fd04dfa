//! Asking a switchboard for what was kept for the principal (offline messages).
//!
//! A session asks once its client may be rung, again when it hears of something new, and a little later when that has
//! failed. One switchboard at a time serves it, the same as long as that lives: it knows what is under way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::cluster::{Node, Notice, Outcome, Role, View};
use common::model::{Epoch, Generation, NodeId, Passport};
use common::store::{Participation, StoreError};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::brought::Brought;
use super::out::Out;
use super::{Session, Surroundings};
use crate::hub::Item;
use crate::services::Services;

/// The pauses before a session asks again after a failure, the first and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));
/// After so many senders in whose names the client was rung in vain it takes no kept messages before its next sign-in.
const MOST_UNANSWERED: usize = 32;
/// Who is served for so long asks whether it still is: the word that it is not may be lost.
const REMINDER: Duration = Duration::from_secs(30);
/// What is asked for so soon is as good as under way.
const SOON: Duration = Duration::from_secs(1);
/// How long it may take to say whether it has served an earlier session.
const HOLDER: Duration = Duration::from_millis(500);
/// How long a switchboard may take to say that it serves.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sessions that the directory had lost ask within so many milliseconds.
const MISSING_MS: u64 = 10_000;

/// A life of a switchboard.
type Life = (NodeId, Generation);

/// Where a session stands.
#[derive(Debug, Default)]
pub(crate) struct PickUp {
    /// When to ask. Passed over while the client can't be rung.
    due: Option<Instant>,
    /// A switchboard is dead, and what it has left is not asked for yet: so many sessions are told of that at once that they take
    /// turns.
    mourns: bool,
    state: State,
    /// Something new has been heard of while it was asking.
    again: bool,
    /// While it was asking, a switchboard said that something is left: of the run before, or of this one, faster than
    /// the answer came.
    overtaken: bool,
    /// The switchboard that served last.
    known: Option<Life>,
    /// Senders in whose names the client was rung in vain, or too often: what they have sent waits for the next sign-in,
    /// whatever is heard of meanwhile.
    unanswered: Vec<Passport>,
    brought: Brought,
    failures: u32,
    /// It has heard of nothing new since it was served, and only wonders.
    reminds: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    /// It is being found out whether something was kept, and who brings it.
    Asking,
    /// A switchboard serves: it has said so last at that time.
    Served(Instant),
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Nothing was kept.
    Nothing,
    /// That switchboard brings it.
    Of(NodeId, Generation),
    /// That switchboard may bring it: it did not say. No other is asked while it lives.
    Perhaps(NodeId, Generation),
    /// The store or all switchboards are away.
    Failed,
}

impl PickUp {
    /// Something may have been kept: it is asked for at `at`. A switchboard that serves already looks once more.
    pub(super) fn want(&mut self, at: Instant) {
        if self.state == State::Asking {
            self.again = true;
        } else {
            self.due = Some(self.due.map_or(at, |due| due.min(at)));
        }
    }

    /// Whether something is being brought, or will be in a moment.
    pub(super) fn is_under_way(&self, now: Instant) -> bool {
        self.state != State::Idle || self.asks().is_some_and(|due| self.mourns || due <= now + SOON)
    }

    /// Its client is called. What a dead switchboard has left comes before what is said there: it is not its turn that is waited
    /// for.
    pub(super) fn is_called(&mut self, now: Instant) {
        if self.mourns && self.due.is_some() {
            self.want(now);
        }
    }

    /// When to ask, if ever.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.asks().into_iter().chain(self.wonders()).min()
    }

    /// When to ask for what it has heard of.
    fn asks(&self) -> Option<Instant> {
        self.due.filter(|_| self.unanswered.len() < MOST_UNANSWERED)
    }

    /// When to ask whether it is still served.
    fn wonders(&self) -> Option<Instant> {
        let State::Served(since) = self.state else { return None };
        Some(since + REMINDER)
    }

    /// Whether to ask now. It is under way then.
    pub(super) fn begins(&mut self, now: Instant) -> bool {
        let (asks, wonders) = [self.asks(), self.wonders()].map(|due| due.is_some_and(|due| due <= now)).into();
        let begins = asks || wonders;
        if begins {
            self.reminds = !asks;
            if asks {
                (self.due, self.mourns) = (None, false);
            }
            (self.state, self.again, self.overtaken) = (State::Asking, false, false);
        }
        begins
    }

    pub(super) fn asked(&mut self, asked: Asked, now: Instant) {
        match asked {
            Asked::Nothing => self.end(true, now),
            Asked::Of(node, generation) => {
                (self.state, self.known) = (State::Served(now), Some((node, generation)));
                if std::mem::take(&mut self.again) {
                    self.due = Some(now);
                } else if self.overtaken {
                    self.end(false, now);
                }
            }
            Asked::Perhaps(node, generation) => {
                self.known = Some((node, generation));
                self.end(false, now);
            }
            Asked::Failed => self.end(false, now),
        }
    }

    /// What was under way has ended. `complete`: there is no reason to ask again.
    fn end(&mut self, complete: bool, now: Instant) {
        self.state = State::Idle;
        self.failures = if complete { 0 } else { self.failures + 1 };
        if !complete {
            let pause = PAUSES.0.saturating_mul(1 << (self.failures - 1).min(5)).min(PAUSES.1);
            self.due = Some(now + pause);
        } else if std::mem::take(&mut self.again) {
            self.due = Some(now);
        }
    }

    /// Whether these messages of a sender may be brought once more in this session. If not, all that is of it waits for the next
    /// one: what comes later would come before the rest.
    pub(super) fn may_bring(&mut self, sender: &Passport, messages: &[Uuid]) -> bool {
        let may = self.brought.once_more(messages);
        if !may {
            tracing::info!(%sender, "brought three times and not read: its messages wait for the next sign-in");
            self.waits_for_the_next(sender.clone());
        }
        may
    }

    fn waits_for_the_next(&mut self, sender: Passport) {
        if self.unanswered.len() < MOST_UNANSWERED && !self.unanswered.contains(&sender) {
            self.unanswered.push(sender);
        }
    }

    /// The switchboard has ended, or something is left after all.
    pub(super) fn served(&mut self, complete: bool, unanswered: Vec<Passport>, now: Instant) {
        unanswered.into_iter().for_each(|sender| self.waits_for_the_next(sender));
        match self.state {
            State::Served(_) => self.end(complete, now),
            State::Asking => self.overtaken |= !complete,
            State::Idle if !complete => self.want(now + PAUSES.0),
            State::Idle => {}
        }
    }

    /// A switchboard is dead: what it has left may be asked for at `at`.
    pub(super) fn lost(&mut self, life: &Life, at: Instant) {
        if self.known.take_if(|known| *known == *life).is_some() && matches!(self.state, State::Served(_)) {
            self.state = State::Idle;
        }
        self.mourns |= self.state != State::Asking;
        self.want(at);
    }
}

impl Session {
    /// Whether the client may be rung.
    pub(super) fn may_be_rung(&self) -> bool {
        self.own.is_visible() && self.takes_invitations
    }

    /// What came of asking for what was kept.
    pub(crate) fn asked_for_kept(&mut self, asked: Asked, now: Instant) {
        self.pick_up.asked(asked, now);
    }

    /// The switchboard has brought what was kept, if this session is the one that had asked.
    pub(crate) fn picked_up(&mut self, epoch: Epoch, complete: bool, unanswered: Vec<Passport>, now: Instant) {
        if epoch == self.here.epoch {
            self.pick_up.served(complete, unanswered, now);
        }
    }

    /// Messages that some session was brought have been delivered.
    pub(super) fn were_delivered(&mut self, epoch: Epoch, messages: &[Uuid]) {
        if epoch == self.here.epoch {
            self.pick_up.brought.delivered(messages);
        }
    }

    /// A switchboard is dead.
    pub(crate) fn switchboard_lost(&mut self, node: &NodeId, generation: Generation, at: Instant) {
        self.pick_up.lost(&(node.clone(), generation), at);
    }

    /// Word that something was kept may be lost: it is asked for at `at`.
    pub(crate) fn may_be_kept(&mut self, at: Instant) {
        self.pick_up.want(at);
    }

    /// The directory had lost the session: whoever had something to say to it was told that it is not here. Many are lost at once,
    /// and do not ask for what was kept at the same time.
    pub(crate) fn was_missing(&mut self, now: Instant, env: &dyn Surroundings, out: &mut Out) {
        self.announce(out);
        self.may_be_kept(now + Duration::from_millis(env.random_u64() % MISSING_MS));
    }

    /// The switchboard that served last.
    pub(crate) fn picked_up_by(&self) -> Option<&(NodeId, Generation)> {
        self.pick_up.known.as_ref()
    }

    /// Whether it has not asked in vain just now.
    pub(crate) fn asks_first(&self) -> bool {
        self.pick_up.failures == 0
    }

    /// What it asks the switchboard that is to serve it.
    pub(crate) fn pick_up(&self) -> Notice {
        let PickUp { unanswered, reminds, .. } = &self.pick_up;
        Notice::PickUp { epoch: self.here.epoch, unanswered: unanswered.clone(), reminder: *reminds }
    }
}

/// Finds out whether something was kept and who brings it, and puts the answer into the session's mailbox. `pick_up`: what that one is
/// asked; `patient`: see [`choose`].
pub(super) async fn ask(
    services: Arc<Services>,
    who: Passport,
    epoch: Epoch,
    known: Option<Life>,
    pick_up: Notice,
    patient: bool,
) {
    let asked = match is_kept(&services, &who).await {
        Ok(false) => Asked::Nothing,
        Ok(true) => find(&services, &who, pick_up, known, patient).await,
        Err(error) => {
            tracing::warn!(%who, %error, "can't see whether messages were kept");
            Asked::Failed
        }
    };
    services.hub.tell(&who, epoch, Item::AskedForKept(asked));
}

/// Whether something waits that may be picked up; a switchboard that gossip has just lost counts as dead here, and who
/// serves decides.
async fn is_kept(services: &Services, who: &Passport) -> Result<bool, StoreError> {
    // It is never closed, so there always is a place at last.
    let _place = services.kept_reads.acquire().await;
    let view = services.view();
    let waits = |row: &Participation| row.closed || !view.has(&row.switchboard, row.generation);
    if services.store.participations(who).await?.iter().any(waits) {
        return Ok(true);
    }
    Ok(!services.store.inbox(who, None, 1).await?.messages.is_empty())
}

async fn find(services: &Services, who: &Passport, pick_up: Notice, known: Option<Life>, patient: bool) -> Asked {
    let view = services.view();
    let held = held(services, who, &view, known).await;
    let node = match choose(&view, held, who, patient) {
        Choice::Ask(node) => node,
        Choice::WaitFor((node, generation)) => return Asked::Perhaps(node, generation),
        Choice::Later => return Asked::Failed,
    };
    match services.cluster.hand(node, who, pick_up, PATIENCE).await {
        Outcome::Accepted => Asked::Of(node.id.clone(), node.generation),
        Outcome::Unknown => Asked::Perhaps(node.id.clone(), node.generation),
        _ => Asked::Failed,
    }
}

/// Who has what is not certain of an earlier session, or of this one.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Held {
    /// That one has, or has served last.
    By(Life),
    /// None of them.
    Nowhere,
    /// None that could be asked.
    Unknown,
}

/// Who is asked to bring what was kept.
#[derive(Debug, PartialEq, Eq)]
enum Choice<'a> {
    Ask(&'a Node),
    /// That one has something that is not certain yet, and can't serve now: another one would bring it again.
    WaitFor(Life),
    /// Nobody now.
    Later,
}

/// The switchboard that has served last, or an earlier session, if something of that is not certain yet. Mostly it is the one that
/// ranks first, but others may have come or gone since. All that live are asked: also one that takes no clients at this moment has
/// those that it had.
async fn held(services: &Services, who: &Passport, view: &View, known: Option<Life>) -> Held {
    let known = known.and_then(|(id, life)| view.node(&id).filter(|node| node.generation == life));
    let suspects: Vec<&Node> = match known {
        Some(node) if is_open(view, node) => return Held::By((node.id.clone(), node.generation)),
        Some(node) => vec![node],
        None => view.of(Role::Switchboard).collect(),
    };
    let (mut asked, mut held) = (JoinSet::new(), Held::Nowhere);
    for node in suspects {
        let (cluster, node, who) = (services.cluster.clone(), node.clone(), who.clone());
        asked.spawn(async move {
            // One that does not answer holds up nobody for long.
            let answer = cluster.hand(&node, &who, Notice::Holds, HOLDER).await;
            ((node.id, node.generation), answer)
        });
    }
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok((life, Outcome::Accepted)) => return Held::By(life),
            Ok((_, Outcome::Refused | Outcome::NotHere)) => {}
            // The one that has served last most likely has it.
            Ok((life, _)) if known.is_some() => return Held::By(life),
            _ => held = Held::Unknown,
        }
    }
    held
}

fn is_open(view: &View, node: &Node) -> bool {
    view.open(Role::Switchboard).any(|open| open.id == node.id && open.generation == node.generation)
}

/// The one that has something: it knows what it has handed to a client whose connection is still open, and does not bring that
/// again. While it can't serve, nobody does. `patient`: one that can't be asked may be that one, and is given a moment.
fn choose<'a>(view: &'a View, held: Held, who: &Passport, patient: bool) -> Choice<'a> {
    match held {
        Held::By((id, life)) => match view.node(&id).filter(|node| node.generation == life) {
            Some(node) if is_open(view, node) => Choice::Ask(node),
            Some(_) => Choice::WaitFor((id, life)),
            None => choose(view, Held::Nowhere, who, patient),
        },
        Held::Unknown if patient => Choice::Later,
        Held::Nowhere | Held::Unknown => view.first_for(Role::Switchboard, who).map_or(Choice::Later, Choice::Ask),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life() -> Life {
        (NodeId::parse("sb-1").unwrap(), Generation(1))
    }

    fn of(life: Life) -> Asked {
        Asked::Of(life.0, life.1)
    }

    /// Load must not decide: the switchboard that the client is still connected to would be the other one's.
    #[test]
    fn the_next_session_asks_the_same_switchboard() {
        use super::super::transcript::switchboard;
        let nodes = |loads: [u64; 3]| {
            let all = ["sb-1", "sb-2", "sb-3"].into_iter().zip(loads);
            View::new(all.map(|(id, load)| switchboard(id, load, 100)))
        };
        let who = |number: usize| Passport::parse(&format!("{number}@example.com")).unwrap();
        let chosen = |view: &View, number| match choose(view, Held::Nowhere, &who(number), true) {
            Choice::Ask(node) => node.id.clone(),
            other => panic!("{other:?}"),
        };
        let mut served = std::collections::BTreeMap::<NodeId, usize>::new();
        for number in 0..300 {
            let node = chosen(&nodes([0, 0, 0]), number);
            assert_eq!(chosen(&nodes([90, 1, 50]), number), node);
            *served.entry(node).or_default() += 1;
        }
        assert!(served.len() == 3 && served.values().all(|count| *count > 60), "{served:?}");
        let known = (NodeId::parse("sb-3").unwrap(), Generation(7));
        for number in 0..10 {
            let view = nodes([0, 0, 9]);
            let held = Held::By(known.clone());
            assert!(matches!(choose(&view, held, &who(number), true), Choice::Ask(node) if node.id == known.0));
        }
        assert_eq!(choose(&View::default(), Held::By(known), &who(1), true), Choice::Later);
    }

    /// The client's first connection is still open there: another one would bring what it has not confirmed again.
    #[test]
    fn who_holds_something_and_can_not_serve_is_waited_for() {
        use super::super::transcript::switchboard;
        let who = Passport::parse("bob@example.com").unwrap();
        let holder = (NodeId::parse("sb-1").unwrap(), Generation(7));
        let closed: [fn(&mut Node); 3] =
            [|node| node.load.draining = true, |node| node.linked = false, |node| node.ready = false];
        for close in closed {
            let mut nodes = ["sb-1", "sb-2"].map(|id| switchboard(id, 0, 100));
            assert_eq!(nodes[0].generation, holder.1);
            close(&mut nodes[0]);
            let view = View::new(nodes);
            let chosen = choose(&view, Held::By(holder.clone()), &who, false);
            assert_eq!(chosen, Choice::WaitFor(holder.clone()));
            assert!(matches!(choose(&view, Held::Nowhere, &who, true), Choice::Ask(node) if node.id != holder.0));
            // One that could not be asked is given a moment, once.
            assert_eq!(choose(&view, Held::Unknown, &who, true), Choice::Later);
            assert!(matches!(choose(&view, Held::Unknown, &who, false), Choice::Ask(_)));
        }
        // It lives again, and has nothing any more.
        let mut again = switchboard("sb-1", 0, 100);
        again.generation = Generation(8);
        let view = View::new([again]);
        assert!(matches!(choose(&view, Held::By(holder), &who, true), Choice::Ask(_)));
    }

    #[test]
    fn asks_once_at_a_time_and_again_when_there_is_something_new() {
        let (mut pick_up, now) = (PickUp::default(), Instant::now());
        assert!(pick_up.deadline().is_none() && !pick_up.begins(now));
        pick_up.want(now);
        assert!(pick_up.begins(now) && !pick_up.begins(now));
        pick_up.want(now);
        assert_eq!(pick_up.deadline(), None, "after what is under way");
        pick_up.served(false, Vec::new(), now);
        pick_up.asked(of(life()), now);
        assert!(pick_up.begins(now), "though it serves: the word of its end may have been lost");
        pick_up.asked(of(life()), now);
        assert_eq!(pick_up.asks(), None);
        pick_up.served(true, Vec::new(), now);
        pick_up.want(now);
        assert!(pick_up.begins(now));
        pick_up.asked(Asked::Nothing, now);
        assert_eq!((pick_up.deadline(), pick_up.known.clone()), (None, Some(life())));
    }

    #[test]
    fn asks_again_after_a_failure_ever_later() {
        let (mut pick_up, mut now) = (PickUp::default(), Instant::now());
        pick_up.want(now);
        for secs in [2, 4, 8, 16, 32, 60, 60] {
            assert!(pick_up.begins(now));
            pick_up.asked(Asked::Failed, now);
            assert_eq!(pick_up.deadline(), Some(now + Duration::from_secs(secs)));
            now += Duration::from_secs(secs);
        }
        assert!(pick_up.begins(now));
        pick_up.asked(Asked::Nothing, now);
        assert_eq!((pick_up.deadline(), pick_up.failures), (None, 0));
    }

    /// The word of its end is lost: others' messages would wait for what was kept in each later chat.
    #[test]
    fn who_is_served_for_long_asks_whether_it_still_is() {
        let (mut pick_up, now) = (PickUp::default(), Instant::now());
        pick_up.want(now);
        assert!(pick_up.begins(now) && !pick_up.reminds);
        pick_up.asked(of(life()), now);
        for turn in 1..4 {
            let wonders = now + turn * REMINDER;
            assert_eq!(pick_up.deadline(), Some(wonders));
            assert!(!pick_up.begins(wonders - Duration::from_millis(1)));
            assert!(pick_up.begins(wonders) && pick_up.reminds && !pick_up.begins(wonders));
            pick_up.asked(of(life()), wonders);
            assert!(pick_up.is_under_way(wonders), "it is");
        }
        let later = now + 4 * REMINDER;
        pick_up.want(later);
        assert!(pick_up.begins(later) && !pick_up.reminds, "what it has heard of meanwhile is looked for");
        pick_up.asked(of(life()), later);
        assert!(pick_up.begins(later + REMINDER));
        pick_up.asked(Asked::Nothing, later + REMINDER);
        assert!(!pick_up.is_under_way(later + REMINDER) && pick_up.deadline().is_none(), "it is not");
    }

    #[test]
    fn word_that_something_is_left_is_never_lost() {
        let (mut pick_up, now) = (PickUp::default(), Instant::now());
        let later = Some(now + PAUSES.0);
        pick_up.want(now);
        assert!(pick_up.begins(now));
        // It overtakes the answer.
        pick_up.served(false, Vec::new(), now);
        pick_up.asked(of(life()), now);
        assert_eq!(pick_up.deadline(), later);
        assert!(pick_up.begins(now + PAUSES.0));
        pick_up.asked(of(life()), now);
        pick_up.served(true, Vec::new(), now);
        assert_eq!(pick_up.deadline(), None);
        // It comes when all was thought to be done.
        pick_up.served(false, Vec::new(), now);
        assert_eq!(pick_up.deadline(), later);
    }

    #[test]
    fn who_may_serve_is_asked_again_and_nobody_else() {
        let (mut pick_up, now) = (PickUp::default(), Instant::now());
        pick_up.want(now);
        assert!(pick_up.begins(now));
        pick_up.asked(Asked::Perhaps(life().0, life().1), now);
        assert_eq!((pick_up.deadline(), pick_up.known.clone()), (Some(now + PAUSES.0), Some(life())));
    }

    #[test]
    fn the_death_of_who_serves_ends_that() {
        let (mut pick_up, now) = (PickUp::default(), Instant::now());
        pick_up.want(now);
        assert!(pick_up.begins(now));
        pick_up.asked(of(life()), now);
        pick_up.lost(&(NodeId::parse("sb-2").unwrap(), Generation(1)), now);
        assert!(pick_up.begins(now), "who serves looks once more, since another one is dead");
        pick_up.asked(of(life()), now);
        pick_up.lost(&life(), now);
        assert!(pick_up.begins(now) && pick_up.known.is_none());
    }

    #[test]
    fn who_was_not_answered_is_known_for_the_whole_session() {
        let sender = |number: usize| Passport::parse(&format!("{number}@example.com")).unwrap();
        let (mut pick_up, now) = (PickUp::default(), Instant::now());
        for number in 0..MOST_UNANSWERED {
            pick_up.want(now);
            assert!(pick_up.begins(now), "{number}");
            pick_up.asked(of(life()), now);
            pick_up.served(true, vec![sender(0), sender(number)], now);
            assert_eq!(pick_up.unanswered.len(), number + 1);
        }
        pick_up.want(now);
        pick_up.served(false, vec![sender(MOST_UNANSWERED)], now);
        assert_eq!((pick_up.deadline(), pick_up.begins(now)), (None, false), "nobody is there");
        assert_eq!(pick_up.unanswered.len(), MOST_UNANSWERED);
    }
}
