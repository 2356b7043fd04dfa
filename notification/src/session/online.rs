//! Driving a signed-in session: its client, its mailbox and its deadlines, one thing at a time.

use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use common::cluster::{Notice, Outcome};
use common::msnp::Command;
use common::msnp::miscellany::{self, OutReason};
use common::net::{Connection, Ended, Event, Outbox, Transport, Unread};
use tokio::time::{Instant, Sleep, sleep_until};

use super::inbox::Inbox;
use super::out::{Direct, Out, Piece};
use super::{Closing, Session, copies, doubt, edit, pickup};
use crate::hub::Item;
use crate::repair::Watch;
use crate::services::Services;

/// Notices taken in a row before the client's turn comes.
const BURST: usize = 64;
/// So many bytes are written at once, so that a burst of notices, or of requests for long lists, is judged by what the
/// client takes and not by what comes together.
const LONG: usize = 16 * 1024;
/// With so many bytes waiting for the client it is not rung any more.
const CROWDED: usize = Outbox::BUDGET / 2;
/// A deadline for sessions that wait for nothing.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

/// A signed-in session and what it lives from.
pub(super) struct Online<'a, T> {
    pub(super) connection: &'a mut Connection<T>,
    pub(super) session: &'a mut Session,
    pub(super) inbox: &'a mut Inbox,
    pub(super) services: &'a Arc<Services>,
    watch: &'a Watch,
    /// The client's commands came too fast: none is read until then.
    held: Option<Instant>,
    /// How much of what it has sent is counted.
    counted: u64,
    /// Whether the last flush left something behind.
    backlogged: bool,
    /// Why the session is to end, once that is decided.
    closing: Option<Closing>,
}

impl<'a, T: Transport> Online<'a, T> {
    pub(super) fn new(
        connection: &'a mut Connection<T>,
        session: &'a mut Session,
        inbox: &'a mut Inbox,
        services: &'a Arc<Services>,
        watch: &'a Watch,
    ) -> Self {
        let counted = connection.consumed();
        Self { connection, session, inbox, services, watch, held: None, counted, backlogged: false, closing: None }
    }

    /// Drives the session until it ends.
    pub(super) async fn drive(&mut self) -> Closing {
        self.flush();
        self.watch_contacts();
        Box::pin(edit::catch_up(self)).await;
        let mut out = self.out();
        self.session.begin(Instant::now().into_std(), &mut out);
        self.apply(out);
        let alarm = sleep_until(self.deadline());
        tokio::pin!(alarm);
        while self.closing.is_none() {
            let is_held = self.held().is_some();
            tokio::select! {
                event = next(self.connection, is_held) => match event {
                    Event::Command(command) => self.run(&command).await,
                    Event::Written => self.written(),
                    Event::Ended(ended) => return ended.into(),
                },
                item = self.inbox.recv() => {
                    let Some(item) = item else { return Closing::TooSlow };
                    let mut item = Some(item);
                    for _ in 0..BURST {
                        let Some(item) = item.take().or_else(|| self.inbox.now()) else { break };
                        self.take(item);
                        // What is still in there comes with the next turn of the loop.
                        if self.closing.is_some() { break }
                    }
                    self.flush();
                }
                () = &mut alarm => self.tick().await,
                // In its turn: while others go on and on the client is served too.
                () = std::future::ready(()), if self.session.others.are_due() && !self.backlogged => {
                    // On the heap while it lasts, as for a command.
                    let out = Box::pin(edit::tell_others_edits(self)).await;
                    self.apply(out);
                    self.flush();
                }
            }
            rearm(alarm.as_mut(), self.deadline());
        }
        self.closing.unwrap_or(Closing::Fault)
    }

    fn watch_contacts(&mut self) {
        let mut out = self.out();
        self.session.watch(&mut out);
        self.apply(out);
    }

    fn deadline(&self) -> Instant {
        let deadline = self.session.deadline(&self.services.config).map(Instant::from_std);
        deadline.into_iter().chain(self.held()).min().unwrap_or_else(|| Instant::now() + FAR)
    }

    /// Until when no command is read, if it is so.
    fn held(&self) -> Option<Instant> {
        self.held.filter(|until| *until > Instant::now())
    }

    /// Counts a command that was taken. If there were too many the client waits, as for any slow reader: an error would be one that
    /// people see, and some clients give up at.
    fn count(&mut self, asked_for: usize) {
        let bytes = self.connection.consumed().saturating_sub(self.counted);
        self.counted = self.connection.consumed();
        let weight = 1 + bytes / 1024 + asked_for as u64 / 8;
        let (rate, now) = (self.services.rates.command(), Instant::now().into_std());
        let weight = weight.try_into().unwrap_or(u32::MAX);
        self.held = self.session.allowance.spend_commands(weight, rate, now).map(Instant::from_std);
        if self.held.is_some() {
            self.services.metrics.waits.inc();
        }
    }

    /// Waits for `work`, which is no business of the session's own state: the store's, mostly. Others go on meanwhile:
    /// what they say of themselves is taken in, and what needs the store is put off. The client's commands wait, since
    /// they are answered in their order.
    pub(super) async fn beside<F: Future>(&mut self, work: F) -> F::Output {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                output = &mut work => return output,
                item = self.inbox.arriving() => {
                    self.take_beside(item);
                    self.flush();
                }
            }
        }
    }

    /// What is to be done for the session from here on.
    pub(super) fn out(&self) -> Out {
        Out::new(self.backlogged)
    }

    fn flush(&mut self) {
        self.connection.flush();
        self.written();
    }

    /// The client has taken something: all, perhaps, and then it gets what was put off.
    fn written(&mut self) {
        self.backlogged = !self.connection.outbox().is_empty();
        if !self.backlogged && self.session.contacts.are_late() {
            let mut out = self.out();
            self.session.contacts.show_late(&mut out);
            self.apply(out);
        }
    }

    /// A command of the client.
    async fn run(&mut self, command: &Command) {
        self.services.metrics.command(command.verb());
        let (mut out, mut asked_for) = (self.out(), 0);
        match self.session.command(command, Instant::now().into_std(), &**self.services, &mut out) {
            Ok(None) => {}
            Ok(Some(request)) => {
                let trid = command.trid().unwrap_or_default();
                if request.asks_for_lists() {
                    asked_for = self.session.roster.contacts.len();
                }
                // On the heap while it lasts, so that sessions which edit nothing stay small.
                out = Box::pin(edit::request(self, &request, trid)).await;
            }
            Err(error) => {
                tracing::info!(?command, %error, "refused");
                out.close(Closing::Refused(error));
            }
        }
        self.count(asked_for);
        self.apply(out);
    }

    /// Something from the mailbox, while the session waits.
    fn take_beside(&mut self, item: Item) {
        match item {
            Item::Notice(_) | Item::Invite(..) | Item::Asked(..) | Item::Missed(_) => self.take(item),
            Item::AskedForKept(_) | Item::SwitchboardLost { .. } | Item::MayBeKept { .. } => self.take(item),
            Item::Bulletin(_) => self.take(item),
            // These end the session or make it say something of itself: better once it knows where it stands.
            Item::Displaced | Item::Reannounce | Item::SignOut(_) | Item::ShutDown => {
                self.inbox.put_off(item);
            }
        }
    }

    /// Something from the mailbox.
    fn take(&mut self, item: Item) {
        let mut out = self.out();
        match item {
            Item::Bulletin(bulletin) => {
                self.session.bulletin(&bulletin, &self.services.config, &mut out);
            }
            Item::Notice(Notice::PickedUp { epoch, complete, unanswered }) => {
                self.session.picked_up(epoch, complete, unanswered, Instant::now().into_std());
            }
            Item::AskedForKept(asked) => self.session.asked_for_kept(asked, Instant::now().into_std()),
            Item::SwitchboardLost { node, generation, after } => {
                self.session.switchboard_lost(&node, generation, (Instant::now() + after).into_std());
            }
            Item::MayBeKept { after } => self.session.may_be_kept((Instant::now() + after).into_std()),
            Item::Notice(notice) => {
                self.services.metrics.notices_in.inc();
                let now = Instant::now().into_std();
                self.session.notice(notice, now, &self.services.config, &mut out);
            }
            Item::Invite(_, answer) if self.connection.outbox().queued() > CROWDED => {
                // It would be shown too late, and what others cause must not be more than its client can be sent.
                let _ = answer.send(Outcome::Unknown);
                return;
            }
            Item::Invite(invitation, answer) => {
                let now = Instant::now().into_std();
                let outcome = self.session.invite(&invitation, now, &**self.services, &mut out);
                self.apply(out);
                // Whoever asked may have given up.
                let _ = answer.send(outcome);
                return;
            }
            Item::Asked(session, question, answer) => {
                let (last_sent, now) = (self.connection.last_sent(), Instant::now().into_std());
                let outcome = self.session.asked(session, question, last_sent, now, &**self.services, &mut out);
                let _ = answer.send(outcome);
            }
            Item::Displaced => {
                out.line(miscellany::out(OutReason::Elsewhere));
                out.close(Closing::Displaced);
            }
            Item::Reannounce => {
                self.session.was_missing(Instant::now().into_std(), &**self.services, &mut out);
            }
            Item::Missed(missed) => {
                tracing::info!(?missed, "others said too much at once: it is found out again");
                self.session.missed(missed, Instant::now().into_std(), &mut out);
            }
            Item::SignOut(order) => {
                out.line(miscellany::out(OutReason::ordered(self.session.dialect, order)));
                out.close(Closing::Ordered(order));
            }
            Item::ShutDown => {
                out.line(miscellany::out(OutReason::ShuttingDown));
                out.close(Closing::ShuttingDown);
            }
        }
        self.apply(out);
    }

    /// A deadline has come.
    async fn tick(&mut self) {
        let (now, mut out) = (Instant::now().into_std(), self.out());
        self.session.tick(now, &**self.services, &mut out);
        self.apply(out);
        if self.session.doubt_deadline().is_some_and(|again| again <= now) {
            let out = Box::pin(doubt::look_again(self)).await;
            self.apply(out);
        }
        if self.session.others.deadline().is_some_and(|again| again <= now) {
            Box::pin(edit::read_again(self)).await;
        }
        if self.session.copies_deadline().is_some_and(|due| due <= now) {
            Box::pin(copies::write(self)).await;
        }
    }

    /// Somebody else asks, since the session has its client to serve.
    fn ask_for_kept(&self) {
        let (who, epoch) = (self.session.passport.clone(), self.session.here.epoch);
        let (known, asked) = (self.session.picked_up_by().cloned(), self.session.pick_up());
        let (services, patient) = (Arc::clone(self.services), self.session.asks_first());
        self.services.shutdown.spawn(pickup::ask(services, who, epoch, known, asked, patient));
    }

    /// Carries out what the session wants done.
    pub(super) fn apply(&mut self, mut out: Out) {
        if !out.changes.is_empty() {
            self.watch.note(std::mem::take(&mut out.changes));
        }
        if apply(self.connection, self.services, &mut out) && !self.backlogged {
            self.flush();
        }
        if out.pick_up {
            self.ask_for_kept();
        }
        if let Some(closing) = out.close {
            self.closing.get_or_insert(closing);
        }
    }
}

/// The next thing that happens to a connection. `is_held`: no command is read; what is queued is written, and the end is seen.
async fn next<T: Transport>(connection: &mut Connection<T>, is_held: bool) -> Event {
    if !is_held {
        return connection.event().await;
    }
    loop {
        match connection.event_unread().await {
            Unread::Written => return Event::Written,
            Unread::Broken => return Event::Ended(Ended::Broken(ErrorKind::ConnectionReset)),
            // What the client has sent before it closed is taken in its time.
            Unread::HungUp => {}
        }
    }
}

/// A deadline that has moved away is only noticed when the old one comes: a client's every command moves one.
fn rearm(alarm: std::pin::Pin<&mut Sleep>, deadline: Instant) {
    if alarm.is_elapsed() || deadline < alarm.deadline() {
        alarm.reset(deadline);
    }
}

/// Carries out what a session wants done, but for its end. Returns whether it is time to write.
pub(super) fn apply<T: Transport>(connection: &mut Connection<T>, services: &Services, out: &mut Out) -> bool {
    let source = out.pieces.iter().any(|piece| matches!(piece, Piece::Source(_)));
    apply_pieces(connection, out);
    if let Some(kind) = out.too_often.take() {
        services.metrics.rate_refusal(kind);
    }
    let posts = std::mem::take(&mut out.posts);
    if !posts.is_empty() {
        services.metrics.notices_out.inc_by(posts.len() as u64);
        services.cluster.post(posts);
    }
    for Direct { node, generation, letters } in std::mem::take(&mut out.direct) {
        services.metrics.notices_out.inc_by(letters.len() as u64);
        services.cluster.post_to(&node, generation, letters);
    }
    source || connection.outbox().queued() >= LONG
}

fn apply_pieces<T: Transport>(connection: &mut Connection<T>, out: &mut Out) {
    for piece in std::mem::take(&mut out.pieces) {
        let queued = match piece {
            Piece::Line(line) => connection.send(line).map(drop),
            Piece::Source(lines) => connection.outbox().push_source(lines),
        };
        if queued.is_err() {
            return out.close(Closing::TooSlow);
        }
    }
}
