//! One conversation: who is in it, who is rung, and the order of what is said.
//!
//! All state is behind one short lock that is never held across an await. Whatever participants are to see is put
//! into their mailboxes under that lock, so that all see the same order.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::clock::MessageClock;
use common::cluster::Void;
use common::model::{ChannelId, ClaimId, ConversationId, Edition, Generation, NodeId, ParticipationId, Passport};
use common::msnp::switchboard::{self, Spoken};
use common::msnp::{ErrorCode, TrId};
use common::net::Sender;
use common::store::{ChannelMember, HistoryWrite, MessageKind, ParticipationUse, StoredMessage};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::handing::Handed;
use crate::history::{self, Kept, Made};
use crate::participation::{Participation, Write};
use crate::pressure::{Debt, Pressure};
use crate::purse::Paid;
use crate::push::{Farewell, Heard, Push, Receipt, Ticket, push};
use crate::rings::{BeingRung, Ringing, Rings};

/// How often somebody who waits looks whether it still must, if nothing wakes it.
const LOOK: Duration = Duration::from_secs(1);

/// A live conversation.
#[derive(Debug)]
pub(crate) struct Conversation {
    pub(crate) id: ConversationId,
    /// The number by which clients know it: decimal, from 100,000 (CLIENTS 22) to below 2³¹ (CLIENTS 7).
    pub(crate) session: u32,
    /// The channel of what is said while more than two are there.
    own_channel: ChannelId,
    rules: Rules,
    /// A command has come since the last look.
    touched: AtomicBool,
    /// Looks since the last command.
    quiet: AtomicU64,
    /// Somebody who made others wait does so no more.
    drained: Notify,
    state: Mutex<State>,
}

/// What bounds a conversation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Participants and outstanding invitations together.
    pub(crate) participants: usize,
    /// How long an invitation is outstanding: the life of its cookie.
    pub(crate) ring: Duration,
}

#[derive(Debug, Default)]
struct State {
    participants: Vec<Participant>,
    rings: Rings,
    /// The channel of the two, while exactly two are there.
    pair: Option<ChannelId>,
    /// What those who have left have made others wait lately, the newest last: whoever is called again goes on with it.
    debts: VecDeque<(Passport, Debt)>,
    ended: bool,
}

/// Somebody in a conversation.
#[derive(Debug)]
pub(crate) struct Participant {
    pub(crate) participation: Arc<Participation>,
    /// The friendly name, decoded.
    pub(crate) name: Arc<str>,
    pub(crate) claim: ClaimId,
    /// By which of the account's credentials its cookie was got; nothing for a place that nobody is at.
    pub(crate) edition: Option<Edition>,
    pub(crate) capabilities: u32,
    /// `IRO` and `JOI` to it carry capability numbers.
    pub(crate) wants_capabilities: bool,
    pub(crate) mailbox: Sender<Push>,
    pub(crate) recorded: Recorded,
    pub(crate) pressure: Pressure,
}

/// The channels for which rows of a participant are durable: the newest few. A row that was forgotten is written
/// again, which changes nothing.
#[derive(Debug, Default)]
pub(crate) struct Recorded(VecDeque<Row>);

#[derive(Debug, Clone, Copy)]
struct Row {
    channel: ChannelId,
    member: bool,
    participation: bool,
}

impl Recorded {
    const MOST: usize = 8;

    fn of(&self, channel: ChannelId) -> Row {
        let known = self.0.iter().find(|row| row.channel == channel);
        known.copied().unwrap_or(Row { channel, member: false, participation: false })
    }

    fn note(&mut self, channel: ChannelId, change: impl FnOnce(&mut Row)) {
        if let Some(row) = self.0.iter_mut().find(|row| row.channel == channel) {
            return change(row);
        }
        let mut row = self.of(channel);
        change(&mut row);
        if self.0.len() == Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back(row);
    }
}

/// How somebody comes in.
#[derive(Debug)]
pub(crate) enum Greeting {
    /// As the caller: with the reply to its `USR`.
    Opened(Bytes),
    /// As one who was called: with who is there, in reply to its `ANS`.
    Answered(TrId),
}

/// Why somebody does not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotJoined {
    /// The conversation is over.
    Ended,
    /// As many are there as may be.
    Full,
}

/// The switchboard as history names it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) node: NodeId,
    pub(crate) generation: Generation,
}

impl Conversation {
    pub(crate) fn new(id: ConversationId, session: u32, own_channel: ChannelId, rules: Rules) -> Self {
        let (touched, quiet, state) = (AtomicBool::new(true), AtomicU64::new(0), Mutex::default());
        Self { id, session, own_channel, rules, touched, quiet, drained: Notify::new(), state }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets somebody in and tells the others.
    ///
    /// A principal who is there already takes its own place over: the older connection is closed, and the others
    /// see nothing of it, neither a second entry nor a leave.
    pub(crate) fn join(&self, mut newcomer: Participant, greeting: Greeting) -> Result<(), NotJoined> {
        let mut state = self.lock();
        if state.ended {
            return Err(NotJoined::Ended);
        }
        let who = &newcomer.participation.passport;
        let own_place = state.participants.iter().position(|p| p.participation.passport == *who);
        if own_place.is_none() && state.participants.len() >= self.rules.participants {
            return Err(NotJoined::Full);
        }
        state.rings.answered(who);
        push(&newcomer.mailbox, Push::Lines(greeting.lines(&newcomer, &state.participants)));
        if let Some(place) = own_place {
            let now = Instant::now();
            if let Some(debt) = state.participants[place].pressure.leave(now) {
                newcomer.pressure.owes(debt);
            }
            let old = std::mem::replace(&mut state.participants[place], newcomer);
            push(&old.mailbox, Push::Close(Farewell::Replaced));
        } else {
            if let Some(debt) = state.debt_of(&newcomer.participation.passport) {
                newcomer.pressure.owes(debt);
            }
            state.announce(&newcomer);
            state.participants.push(newcomer);
        }
        state.settle_pair();
        self.settle_pressure(state);
        Ok(())
    }

    /// Takes somebody out and tells the others. Returns whether that was the last one; repeating it does nothing.
    pub(crate) fn leave(&self, who: ParticipationId) -> bool {
        let mut state = self.lock();
        let Some(place) = state.participants.iter().position(|p| p.participation.id == who) else {
            return false;
        };
        let mut gone = state.participants.remove(place);
        state.remember_debt(&mut gone);
        let bye = switchboard::left(&gone.participation.passport, false);
        for other in &state.participants {
            push(&other.mailbox, Push::Lines(bye.clone()));
        }
        state.settle_pair();
        let ended = state.participants.is_empty();
        state.ended = ended;
        self.settle_pressure(state);
        ended
    }

    /// Ends the conversation: each participant sees all others leave and is closed.
    pub(crate) fn end(&self, why: Farewell) {
        let mut state = self.lock();
        state.ended = true;
        let all = std::mem::take(&mut state.participants);
        self.settle_pressure(state);
        for one in &all {
            for other in all.iter().filter(|other| other.participation.id != one.participation.id) {
                let bye = switchboard::left(&other.participation.passport, why == Farewell::Idle);
                push(&one.mailbox, Push::Lines(bye));
            }
            push(&one.mailbox, Push::Close(why));
        }
    }

    /// Takes out whoever has come by a cookie that is void, tells the others and closes its connections. Returns how many that
    /// were, and whether the conversation has ended.
    pub(crate) fn expel(&self, void: &Void) -> (u64, bool) {
        let is_meant = |one: &&Participant| one.edition.is_some_and(|edition| void.holds(one.claim, edition));
        let meant: Vec<_> = self
            .lock()
            .participants
            .iter()
            .filter(is_meant)
            .map(|one| (one.participation.id, one.mailbox.clone()))
            .collect();
        let mut ended = false;
        for (who, mailbox) in &meant {
            ended |= self.leave(*who);
            push(mailbox, Push::Close(Farewell::Void));
        }
        (meant.len() as u64, ended)
    }

    /// A participant has sent something.
    pub(crate) fn touch(&self) {
        if !self.touched.load(Ordering::Relaxed) {
            self.touched.store(true, Ordering::Relaxed);
        }
    }

    /// Looks whether anything was said since the last look, and returns how many looks it has been quiet.
    pub(crate) fn look(&self) -> u64 {
        if self.touched.swap(false, Ordering::Relaxed) {
            self.quiet.store(0, Ordering::Relaxed);
            return 0;
        }
        self.quiet.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Notes that somebody is rung, or says why it can't be (§9): it is there or being rung at this moment (215), which also
    /// answers a call of oneself, or there is no room (712). Who was rung before may be rung again: its session decides.
    pub(crate) fn ring(&self, callee: &Passport) -> Result<Ringing, ErrorCode> {
        let mut state = self.lock();
        let now = Instant::now();
        state.rings.tidy(self.rules.ring, now);
        if state.participants.iter().any(|p| p.participation.passport == *callee) {
            return Err(ErrorCode::AlreadyThere);
        }
        if !state.rings.has(callee) && state.participants.len() + state.rings.len() >= self.rules.participants {
            return Err(ErrorCode::SessionOverload);
        }
        state.rings.ring(callee, now).map_err(|BeingRung| ErrorCode::AlreadyThere)
    }

    /// There is no room: whom to ask whether it still may come, and to which ring, and the number of the call that wants to know.
    pub(crate) fn whom_to_ask(&self) -> (Vec<(Passport, u64)>, u64) {
        let mut state = self.lock();
        (state.rings.whom_to_ask(Instant::now()), state.rings.next())
    }

    /// A session has taken that ring: from now on it may come.
    pub(crate) fn ring_taken(&self, callee: &Passport, number: u64) {
        self.lock().rings.taken(callee, number, Instant::now());
    }

    /// That ring, and what was before it, is over: its place is free.
    pub(crate) fn ring_over(&self, callee: &Passport, number: u64) {
        self.lock().rings.over(callee, number);
    }

    /// Puts a message that is not kept into everybody else's mailbox. With nobody there, or with somebody whose
    /// mailbox does not take it, `receipt` fails. Returns how many were there.
    pub(crate) fn relay(&self, from: ParticipationId, spoken: &Spoken, receipt: Option<&Arc<Receipt>>) -> usize {
        let state = self.lock();
        let mut count = 0;
        for other in state.others(from) {
            count += 1;
            let heard = receipt.map_or(Heard::Unnoted, |receipt| Heard::Awaited(Ticket::new(receipt)));
            push(&other.mailbox, Push::Message(spoken.clone(), heard));
        }
        self.weigh(state);
        if count == 0
            && let Some(receipt) = receipt
        {
            receipt.fail();
        }
        count
    }

    /// Puts a message that is to be kept into everybody else's mailbox, and returns what the store is to write. `pays` is told how
    /// many bytes that is; if it does not pay for them, the message is delivered all the same and not kept: to leave it out
    /// would end a chat that needs no store.
    pub(crate) fn relay_kept(
        self: &Arc<Self>,
        from: ParticipationId,
        spoken: &Spoken,
        kind: MessageKind,
        clock: &MessageClock,
        place: &Place,
        pays: impl FnOnce(u64) -> Option<Paid>,
    ) -> Relayed {
        let state = self.lock();
        let Some(sender) = state.participants.iter().find(|p| p.participation.id == from) else {
            return Relayed::ToNobody;
        };
        if state.participants.len() == 1 {
            return Relayed::ToNobody;
        }
        // Made under the lock: ids rise in the order in which everybody hears the messages.
        let id = clock.tick();
        let sender = sender.participation.passport.clone();
        let message = StoredMessage {
            channel: state.pair.unwrap_or(self.own_channel),
            id,
            conversation: self.id,
            sender,
            kind,
            payload: spoken.payload(),
            meant_for: state.others(from).map(|one| one.participation.id).collect(),
        };
        let write = self.rows(&state, message, place);
        let paid = pays(history::bytes_of(&write));
        let mut writes: Vec<Write> = Vec::with_capacity(state.participants.len() - 1);
        for one in state.others(from) {
            let heard = if paid.is_some() {
                writes.push(one.participation.meant(id));
                Heard::Kept(id)
            } else {
                Heard::Unnoted
            };
            push(&one.mailbox, Push::Message(spoken.clone(), heard));
        }
        let count = state.participants.len() - 1;
        self.weigh(state);
        let Some(paid) = paid else { return Relayed::NotKept(count) };
        let conversation = Arc::clone(self);
        Relayed::Kept(Box::new(Kept { write, writes, paid, made: Made::now(), conversation }))
    }

    /// What the store is to write for a message: besides it the rows of participants that it does not have yet.
    fn rows(&self, state: &State, message: StoredMessage, place: &Place) -> HistoryWrite {
        let StoredMessage { channel, id, .. } = message;
        let (mut members, mut participations) = (Vec::new(), Vec::new());
        for one in &state.participants {
            let Participation { passport, id: participation, .. } = &*one.participation;
            let recorded = one.recorded.of(channel);
            if !recorded.member {
                members.push(ChannelMember { channel, passport: passport.clone(), since: id });
            }
            if !recorded.participation && *passport != message.sender {
                participations.push(ParticipationUse {
                    passport: passport.clone(),
                    participation: *participation,
                    conversation: self.id,
                    switchboard: place.node.clone(),
                    generation: place.generation,
                    channel,
                });
            }
        }
        HistoryWrite { message, participations, members }
    }

    /// The participation by which somebody is there at this moment.
    pub(crate) fn participation_of(&self, who: &Passport) -> Option<ParticipationId> {
        let state = self.lock();
        let mut there = state.participants.iter().map(|p| &p.participation);
        there.find(|participation| participation.passport == *who).map(|participation| participation.id)
    }

    /// Puts a message that was kept for one participant into its mailbox; nothing of it is stored. The others hear
    /// nothing of it, nor does another participation of the same principal: what it confirms says nothing of what came
    /// before.
    pub(crate) fn hand(&self, to: ParticipationId, spoken: &Spoken, handed: Handed) {
        self.touch();
        let state = self.lock();
        if let Some(listener) = state.participants.iter().find(|p| p.participation.id == to) {
            push(&listener.mailbox, Push::Message(spoken.clone(), Heard::Handed(handed)));
        }
        self.weigh(state);
    }

    /// Waits until a participant may say the next thing: nobody else is behind, or they are stuck, and so is it. Whoever makes it wait
    /// for too long is given up meanwhile. Safe to cancel: it still counts as waiting, until it has been told that it may.
    pub(crate) async fn may_speak(&self, who: ParticipationId) {
        loop {
            let mut drained = std::pin::pin!(self.drained.notified());
            // Registered before the look, so that a change in between is not missed.
            drained.as_mut().enable();
            let Some(deadline) = self.wait(who) else { return };
            let _ = timeout_at(deadline, drained).await;
        }
    }

    /// Whether a participant must wait before it says the next thing, and until when to look once more.
    pub(crate) fn wait(&self, who: ParticipationId) -> Option<Instant> {
        let mut state = self.lock();
        match state.wait(who) {
            Turn::Later(deadline) => return Some(deadline),
            Turn::AtLast => self.settle_pressure(state),
            Turn::AtOnce => {}
        }
        None
    }

    /// A participant says something though others may be behind: it has waited for as long as it may.
    pub(crate) fn go_ahead(&self, who: ParticipationId) {
        let mut state = self.lock();
        let one = state.participants.iter_mut().find(|p| p.participation.id == who);
        if one.is_some_and(|one| one.pressure.set_waiting(false)) {
            self.settle_pressure(state);
        }
    }

    /// A participant's session takes out of its mailbox what has waited there for kept messages.
    pub(crate) fn take_up(&self, who: ParticipationId) {
        let mut state = self.lock();
        let one = state.participants.iter_mut().find(|p| p.participation.id == who);
        if one.is_some_and(|one| one.pressure.take_up()) {
            self.settle_pressure(state);
        }
    }

    /// Whether what a participant says next is written to all others soon.
    pub(crate) fn is_calm(&self, who: ParticipationId) -> bool {
        let now = Instant::now();
        self.lock().others(who).all(|other| other.pressure.is_calm(other.mailbox.queued(), now))
    }

    /// A participant's session says what is unread of all that it was sent (in its queue and in the kernel), what of that is to be
    /// written yet, and how much was written and confirmed in all. Returns whether the others wait for it.
    pub(crate) fn report(
        &self,
        who: ParticipationId,
        queued: usize,
        to_write: usize,
        (written, taken): (u64, u64),
    ) -> bool {
        let mut state = self.lock();
        let Some(one) = state.participants.iter_mut().find(|p| p.participation.id == who) else { return false };
        one.pressure.report(queued, taken);
        one.pressure.set_to_write(to_write, written, Instant::now());
        let changed = one.pressure.weigh(one.mailbox.queued());
        let is_behind = one.pressure.is_behind();
        if changed {
            self.settle_pressure(state);
        }
        is_behind
    }

    /// Looks who has become behind by what was just put into mailboxes. Whoever waits, and is behind now itself, must hear of it.
    fn weigh(&self, mut state: MutexGuard<'_, State>) {
        let mut changed = false;
        for one in &mut state.participants {
            changed |= one.pressure.weigh(one.mailbox.queued());
        }
        if changed {
            self.settle_pressure(state);
        }
    }

    /// Something has changed for those who wait.
    fn settle_pressure(&self, mut state: MutexGuard<'_, State>) {
        state.settle(Instant::now());
        drop(state);
        self.drained.notify_waiters();
    }

    /// The store has these rows of a channel: they need not be written again.
    pub(crate) fn recorded(&self, channel: ChannelId, members: &[Passport], participations: &[ParticipationId]) {
        let mut state = self.lock();
        for one in &mut state.participants {
            if members.contains(&one.participation.passport) {
                one.recorded.note(channel, |row| row.member = true);
            }
            if participations.contains(&one.participation.id) {
                one.recorded.note(channel, |row| row.participation = true);
            }
        }
    }
}

/// What became of a message that is to be kept.
#[derive(Debug)]
pub(crate) enum Relayed {
    /// Nobody else is there.
    ToNobody,
    /// It is to be kept.
    Kept(Box<Kept>),
    /// So many hear it, and it is not kept.
    NotKept(usize),
}

/// Whether somebody may speak.
enum Turn {
    AtOnce,
    /// It has waited, and needs to no more.
    AtLast,
    /// It waits, and is to look again by then.
    Later(Instant),
}

impl State {
    /// Everybody but `from`; nobody if `from` is not there (any more).
    fn others(&self, from: ParticipationId) -> impl Iterator<Item = &Participant> {
        let there = self.participants.iter().any(|p| p.participation.id == from);
        self.participants.iter().filter(move |p| there && p.participation.id != from)
    }

    /// Those who have left and whose debts are remembered: as many as may be there at once by the default limits.
    const DEBTS: usize = 50;

    fn remember_debt(&mut self, gone: &mut Participant) {
        let now = Instant::now();
        let Some(debt) = gone.pressure.leave(now) else { return };
        self.debts.retain_mut(|(_, debt)| debt.is_recent(now));
        if self.debts.len() == Self::DEBTS {
            self.debts.pop_front();
        }
        self.debts.push_back((gone.participation.passport.clone(), debt));
    }

    fn debt_of(&mut self, who: &Passport) -> Option<Debt> {
        let now = Instant::now();
        self.debts.retain_mut(|(_, debt)| debt.is_recent(now));
        let place = self.debts.iter().position(|(debtor, _)| debtor == who)?;
        self.debts.remove(place).map(|(_, debt)| debt)
    }

    /// See [`Conversation::wait`]. Gives up those who have made others wait for too long.
    fn wait(&mut self, who: ParticipationId) -> Turn {
        loop {
            let now = Instant::now();
            let Some(place) = self.participants.iter().position(|p| p.participation.id == who) else {
                return Turn::AtOnce;
            };
            let must = self.must_wait(place, now);
            let has_waited = self.participants[place].pressure.set_waiting(must);
            if !must {
                return if has_waited { Turn::AtLast } else { Turn::AtOnce };
            }
            self.settle(now);
            if let Some(next) = self.next_deadline(place, now) {
                return Turn::Later(next);
            }
        }
    }

    /// Whether the one at that place, who has something to say, must wait for others.
    fn must_wait(&mut self, place: usize, now: Instant) -> bool {
        let is_behind = |(at, other): (usize, &Participant)| at != place && other.pressure.is_behind();
        if !self.participants.iter().enumerate().any(is_behind) {
            return false;
        }
        let me = &mut self.participants[place].pressure;
        me.speaks(now);
        // Those who only send don't wait for each other.
        let stuck = me.is_stuck(now);
        let holds_up = |(at, other)| is_behind((at, other)) && !(stuck && other.pressure.is_stuck(now));
        self.participants.iter().enumerate().any(holds_up)
    }

    /// Gives up those who have made others wait for too long. With nobody given up, when whoever waits at that place is to look
    /// again.
    fn next_deadline(&mut self, place: usize, now: Instant) -> Option<Instant> {
        let present = self.participants.len();
        let mut next: Option<Instant> = None;
        let mut given_up = false;
        let mut look = |at: Instant| next = Some(next.map_or(at, |next: Instant| next.min(at)));
        for (at, one) in self.participants.iter_mut().enumerate() {
            if let Some(stuck_at) = one.pressure.stuck_at().filter(|stuck_at| *stuck_at > now) {
                look(stuck_at);
            }
            if at == place && one.pressure.is_behind() {
                // What it takes meanwhile may be seen by nobody else.
                look(now + LOOK);
            }
            let Some(deadline) = one.pressure.deadline(present, now) else { continue };
            if deadline > now {
                look(deadline);
                continue;
            }
            tracing::debug!(passport = %one.participation.passport, "has made others wait for too long");
            one.pressure.give_up(now);
            // Its session ends as that of anybody who can't keep up; the rest comes by its cursor.
            one.mailbox.close();
            given_up = true;
        }
        // Whoever is behind has a deadline while somebody waits; without one there would be no other look.
        (!given_up).then(|| next.unwrap_or(now + LOOK))
    }

    /// Notes who makes others wait from now on, or no more.
    fn settle(&mut self, now: Instant) {
        let waiting = self.participants.iter().filter(|one| one.pressure.is_held_up()).count();
        for one in &mut self.participants {
            let others = waiting - usize::from(one.pressure.is_held_up());
            one.pressure.settle(others > 0, now);
        }
    }

    fn announce(&self, newcomer: &Participant) {
        let who = &newcomer.participation.passport;
        let plain = switchboard::joined(who, &newcomer.name, None);
        let with_capabilities = switchboard::joined(who, &newcomer.name, Some(newcomer.capabilities));
        for other in &self.participants {
            let line = if other.wants_capabilities { &with_capabilities } else { &plain };
            push(&other.mailbox, Push::Joined { who: who.clone(), ring: self.rings.latest(), line: line.clone() });
        }
    }

    fn settle_pair(&mut self) {
        self.pair = match &self.participants[..] {
            [one, other] => Some(ChannelId::of_pair(one.claim, other.claim)),
            _ => None,
        };
    }
}

impl Greeting {
    /// Everything that the newcomer sees first, in one piece.
    fn lines(self, newcomer: &Participant, there: &[Participant]) -> Bytes {
        let trid = match self {
            Self::Opened(reply) => return reply,
            Self::Answered(trid) => trid,
        };
        let who = &newcomer.participation.passport;
        let others: Vec<_> = there.iter().filter(|p| p.participation.passport != *who).collect();
        let mut lines = BytesMut::new();
        for (index, other) in others.iter().enumerate() {
            let capabilities = newcomer.wants_capabilities.then_some(other.capabilities);
            let place = (index + 1, others.len());
            let passport = &other.participation.passport;
            lines.extend_from_slice(&switchboard::present(trid, place, passport, &other.name, capabilities));
        }
        lines.extend_from_slice(&switchboard::answered(trid));
        lines.freeze()
    }
}
