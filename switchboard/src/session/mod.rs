//! One connection: a task that owns it, from the first byte to the last confirmation.

mod call;
#[cfg(test)]
mod call_tests;
mod close;
#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
mod delivery_tests;
mod join;
mod paced;
#[cfg(test)]
mod pressure_tests;
mod relay;
#[cfg(test)]
mod socket_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod verdict_tests;
mod word;
#[cfg(test)]
mod word_tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::model::MessageId;
use common::msnp::switchboard::{self, AckType, Request, Speaker};
use common::msnp::verbs::{Phase, gate};
use common::msnp::{Command, Decoder, ParseError, Service, TrId};
use common::net::{Connection, Ended, Event, Mailbox, Stranger, Transport};
use tokio::time::{Instant, timeout_at};

use crate::board::Board;
use crate::delivery::{Awaited, LiveCursor};
use crate::departure;
use crate::handing::Handing;
use crate::kind::Kinds;
use crate::push::{Farewell, HELD, Heard, MISTAKE, Push, is_bounded};
use call::Calls;
use join::Seat;
use paced::{Next, Pace, Wait};
use word::Word;

/// How often a connection with something unconfirmed looks how far its client has got.
const LOOK: Duration = Duration::from_secs(1);
/// So much is moved from the mailbox to the outbox before the socket is tried.
const BATCH: usize = 32 * 1024;

/// Serves a client that has come at `came` until it is gone.
pub(crate) async fn serve<T: Transport>(board: Arc<Board>, transport: T, stranger: Box<Stranger>, came: Instant) {
    let decoder = Decoder::new(Service::Switchboard, board.max_message);
    let mut connection = Connection::new(transport, decoder, Arc::clone(&board.pool));
    let admitted = tokio::select! {
        admitted = timeout_at(came + board.authenticate, join::admit(&board, &mut connection, &stranger)) => admitted,
        () = board.shutdown.begun() => Ok(None),
    };
    match admitted {
        Ok(Some((seat, mailbox))) => {
            drop(stranger);
            Session::new(board, connection, seat, mailbox).run().await;
        }
        Ok(None) => {
            // While it reads its last line it gives way again: or whoever is refused and never closes would keep others out.
            stranger.waits();
            stranger.until_gone(Box::pin(close::farewell(&mut connection))).await;
        }
        Err(_) => tracing::debug!("did not say who it is in time"),
    }
}

/// A participant's connection.
struct Session<T> {
    board: Arc<Board>,
    connection: Connection<T>,
    mailbox: Mailbox<Push>,
    seat: Seat,
    speaker: Speaker,
    kinds: Kinds,
    calls: Calls,
    pace: Pace,
    cursor: LiveCursor<MessageId>,
    awaited: Awaited,
    handing: Handing,
    word: Word,
}

/// Why a participation ends.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// The client said `OUT` or `BYE`.
    Left,
    /// The client closed in order. Behind a proxy it may also have vanished.
    Closed,
    /// The connection was reset, or has timed out.
    Broken,
    /// The client can't keep up.
    Overflow,
    /// The client sent what makes no sense.
    Violation,
    /// The switchboard wants it so.
    Told(Farewell),
}

impl From<ParseError> for End {
    fn from(error: ParseError) -> Self {
        tracing::debug!(%error, "closed");
        Self::Violation
    }
}

impl From<common::net::Overflow> for End {
    fn from(_: common::net::Overflow) -> Self {
        Self::Overflow
    }
}

impl<T: Transport> Session<T> {
    fn new(board: Arc<Board>, connection: Connection<T>, seat: Seat, mailbox: Mailbox<Push>) -> Self {
        let who = &seat.participation.passport;
        let word = if seat.kept_first { Word::after_kept(&board, who, seat.session) } else { Word::default() };
        let speaker = Speaker::new(who, &seat.name);
        Self {
            board,
            connection,
            mailbox,
            seat,
            speaker,
            kinds: Kinds::default(),
            calls: Calls::default(),
            pace: Pace::default(),
            cursor: LiveCursor::default(),
            awaited: Awaited::default(),
            handing: Handing::default(),
            word,
        }
    }

    /// From joining to the settling of what history still owes the participant.
    async fn run(mut self) {
        let Err(end) = self.talk().await;
        tracing::debug!(?end, "left");
        if end == End::Overflow {
            self.board.metrics.overflows.inc();
        }
        self.seat.leave();
        let in_order = self.close(&end).await;
        // Nothing more is written: whoever waits for that is told, and does not wait for what is asked below.
        self.awaited = Awaited::default();
        while self.mailbox.now().is_some() {}
        if !in_order {
            Box::pin(self.ask_for_last_word()).await;
        }
        let live_cursor = self.cursor.finish(in_order);
        self.handing.finish(in_order);
        let gone = Arc::clone(&self.seat.participation);
        let board = Arc::clone(&self.board);
        drop(self);
        board.shutdown.spawn(departure::settle(Arc::clone(&board), gone, live_cursor));
    }

    async fn talk(&mut self) -> Result<std::convert::Infallible, End> {
        // The greeting lies there already: it comes before the answers to what arrived together with `USR` or `ANS`.
        if let Some(greeting) = self.mailbox.now() {
            self.deliver(greeting)?;
        }
        let mut look = std::pin::pin!(tokio::time::sleep(LOOK));
        let mut armed: Option<Instant> = None;
        loop {
            if let Some(next) = self.next_look(armed) {
                look.as_mut().reset(next);
                armed = Some(next);
            }
            let waits = self.pace.waits();
            tokio::select! {
                item = self.mailbox.recv(), if !self.word.is_awaited() => self.deliver(item.ok_or(End::Overflow)?)?,
                heard = self.word.comes() => self.word_came(heard),
                next = self.pace.next(&mut self.connection) => match next {
                    Next::Event(event) => self.happened(event)?,
                    Next::Written => self.written(),
                    Next::Ended(end) => return Err(end),
                },
                (trid, outcome) = self.calls.answered() => {
                    let session = self.seat.conversation.session;
                    let reply = self.calls.reply(trid, outcome, session, &self.board);
                    self.send(reply)?;
                    self.go_on()?;
                }
                () = self.seat.turn(waits.unwrap_or(Wait::Call)), if waits.is_some() => self.go_on()?,
                () = &mut look, if armed.is_some() => {
                    armed = None;
                    self.look();
                }
            }
        }
    }

    /// When to look, if that is earlier than planned.
    fn next_look(&self, planned: Option<Instant>) -> Option<Instant> {
        let next = if self.pace.is_watched(&self.connection) {
            Instant::now() + paced::WATCH
        } else if (planned.is_none() || planned == self.word.due())
            && (self.is_watching() || self.pace.is_behind() || self.is_held_up())
        {
            Instant::now() + LOOK
        } else {
            self.word.due()?
        };
        planned.is_none_or(|planned| planned > next).then_some(next)
    }

    fn happened(&mut self, event: Event) -> Result<(), End> {
        match event {
            Event::Command(command) => {
                self.seat.conversation.touch();
                self.cursor.command(self.connection.consumed());
                self.handing.command(self.connection.consumed());
                if self.calls.is_waiting() {
                    self.pace.hold(command, Wait::Call);
                    return Ok(());
                }
                self.command(command)
            }
            Event::Written => {
                self.written();
                Ok(())
            }
            Event::Ended(Ended::Closed) => Err(End::Closed),
            Event::Ended(Ended::Broken(_)) => Err(End::Broken),
            Event::Ended(Ended::Malformed(error)) => {
                tracing::debug!(%error, "closed");
                Err(End::Violation)
            }
        }
    }

    fn command(&mut self, command: Command) -> Result<(), End> {
        let request = gate(Service::Switchboard, None, Phase::SignedIn, &command);
        let request = match request.and_then(|_| Request::parse(&command)) {
            Ok(request) => request,
            Err(error) => {
                let refusal = switchboard::unread(&command, error).ok_or(error)?;
                return if self.refusals_wait(&command) { Ok(()) } else { self.send(refusal) };
            }
        };
        match request {
            Request::Message { trid, ack, payload } => {
                self.message(command, trid, ack, &payload);
                Ok(())
            }
            Request::Call { trid, callee } => {
                if self.refusals_wait(&command) {
                    return Ok(());
                }
                self.call(trid, callee)
            }
            Request::Leave => Err(End::Left),
            // The gate lets neither through; if it did, they would be out of order.
            Request::Open(_) | Request::Answer { .. } => Err(ParseError::OutOfOrder.into()),
        }
    }

    /// Passes a message on, or keeps it back: until the others have read, until it can be written to all of them in time, and until
    /// its sender may say more. One whose sender is told is held up by others for [`HELD`] at most.
    fn message(&mut self, command: Command, trid: TrId, ack: AckType, payload: &Bytes) {
        let conversation = &self.seat.conversation;
        let left = is_bounded(ack).then(|| HELD.saturating_sub(self.pace.held()));
        // The others first: whoever makes it wait has to answer for that, and only for that.
        if left == Some(Duration::ZERO) {
            conversation.go_ahead(self.seat.participation.id);
        } else if conversation.wait(self.seat.participation.id).is_some() {
            self.board.metrics.waits_for_others.inc();
            return self.pace.hold(command, Wait::Others(left.map(|left| Instant::now() + left)));
        } else if !self.pace.has_waited_for_calm() && self.waits_for_calm(ack, payload) {
            return self.pace.hold_for_calm(command);
        }
        if let Err(wait) = self.relay(trid, ack, payload) {
            self.board.metrics.waits_for_rate.inc();
            self.pace.hold(command, Wait::Rate(Instant::now() + wait));
        }
    }

    /// Whether a command that may be refused, or is, has to wait, since too many came before it. Keeps it back then.
    fn refusals_wait(&mut self, command: &Command) -> bool {
        let Some(wait) = self.calls.wait() else { return false };
        self.board.metrics.waits_for_rate.inc();
        self.pace.hold(command.clone(), Wait::Rate(Instant::now() + wait));
        true
    }

    /// Whether a message has to wait until it can be written to everybody within the time in which its sender is told: one of a type
    /// that is not stored, which succeeds when it is written.
    fn waits_for_calm(&self, ack: AckType, payload: &[u8]) -> bool {
        is_bounded(ack)
            && !self.seat.conversation.is_calm(self.seat.participation.id)
            && self.kinds.peek(payload).is_none()
    }

    /// Takes up a command that had to wait.
    fn go_on(&mut self) -> Result<(), End> {
        if let Some(command) = self.pace.take() {
            self.command(command)?;
            self.pace.settle();
        }
        Ok(())
    }

    /// Whether a message whose sender is told is held for longer than it may be, whatever holds it. A debug build looks.
    fn is_held_too_long(&self) -> bool {
        let is_bounded = |command: &Command| match Request::parse(command) {
            Ok(Request::Message { ack, .. }) => is_bounded(ack),
            _ => false,
        };
        self.pace.held() > HELD + MISTAKE
            && self.pace.command().is_some_and(is_bounded)
            && !self.board.pulse.has_stood_still(Instant::now())
    }

    /// Bytes have been written.
    fn written(&mut self) {
        self.awaited.written(self.connection.written());
        self.weigh();
    }

    /// Says how much is unread, so that others wait while it is too much.
    fn weigh(&mut self) {
        let (unread, taken) = self.pace.unread(&mut self.connection);
        let to_write = self.connection.outbox().queued();
        let so_far = (self.connection.written(), taken);
        let is_behind = self.seat.conversation.report(self.seat.participation.id, unread, to_write, so_far);
        self.pace.set_behind(is_behind);
    }

    /// Queues a reply. It is written once the input is used up, or with what is delivered next.
    fn send(&mut self, line: Bytes) -> Result<(), End> {
        self.connection.send(line)?;
        Ok(())
    }

    /// Moves what is in the mailbox to the outbox and writes what the socket takes.
    fn deliver(&mut self, first: Push) -> Result<(), End> {
        let mut next = Some(first);
        let mut unwritten = 0;
        while let Some(item) = next {
            unwritten += item.weight();
            self.put(item)?;
            if unwritten > BATCH {
                self.connection.flush();
                unwritten = 0;
            }
            next = self.mailbox.now();
        }
        if self.pace.waits() == Some(Wait::Call) && !self.calls.is_waiting() {
            self.go_on()?;
        }
        self.connection.flush();
        self.written();
        Ok(())
    }

    fn put(&mut self, item: Push) -> Result<(), End> {
        match item {
            Push::Lines(lines) => self.send(lines),
            Push::Joined { who, ring, line } => {
                if let Some(reply) = self.calls.joined(&who, ring, self.seat.conversation.session) {
                    self.send(reply)?;
                }
                self.send(line)
            }
            Push::Message(spoken, heard) => {
                self.connection.send(spoken.first)?;
                let end = self.connection.send(spoken.rest)?;
                match heard {
                    Heard::Unnoted => {}
                    Heard::Kept(message) => self.cursor.queued(message, end),
                    Heard::Awaited(ticket) => self.awaited.queued(ticket, end),
                    Heard::Handed(handed) => self.handing.queued(handed, end),
                }
                Ok(())
            }
            Push::Close(why) => Err(End::Told(why)),
        }
    }

    /// Whether something is held of which a debug build looks for how long.
    fn is_held_up(&self) -> bool {
        cfg!(debug_assertions) && self.pace.waits().is_some()
    }

    /// Whether there is something to look after from time to time.
    fn is_watching(&self) -> bool {
        let row = &self.seat.participation;
        let unreported = self.cursor.has_moved() && (row.has_row() || row.is_being_written());
        let live = self.cursor.is_waiting() || self.cursor.wants_mark() || unreported;
        live || self.awaited.is_bounded() || self.handing.is_watching()
    }

    fn look(&mut self) {
        debug_assert!(!self.is_held_too_long(), "a message is held for {:?}", self.pace.held());
        if self.cursor.is_waiting() {
            self.cursor.confirm(self.connection.confirmed());
        }
        if self.cursor.wants_mark() {
            self.cursor.mark(self.connection.arrived());
        }
        if self.handing.is_watching() {
            self.handing.confirm(self.connection.confirmed());
            self.handing.mark(self.connection.arrived());
        }
        self.ask_for_word();
        let Seat { participation, .. } = &self.seat;
        if participation.has_row()
            && let Some(message) = self.cursor.report()
        {
            self.board.cursors.moved(&participation.passport, participation.id, message);
        }
        self.awaited.expire(Instant::now(), LOOK);
        if self.pace.is_behind() {
            self.weigh();
        }
    }
}
