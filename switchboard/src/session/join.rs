//! `USR` and `ANS`: who comes in (protocol reference §4.3, §9).

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use common::cluster::{Cookie, CookieRole};
use common::model::{ChannelId, ParticipationId, Passport};
use common::msnp::dialect::Number;
use common::msnp::switchboard::{self, Knock, Request};
use common::msnp::verbs::{Phase, gate};
use common::msnp::{Dialect, ErrorCode, Line, ParseError, Service};
use common::net::{Connection, Event, Mailbox, Sender, Stranger, Transport, mailbox};
use tokio::time::{sleep_until, timeout_at};

use super::paced::Wait;
use crate::board::Board;
use crate::conversation::{Conversation, Greeting, NotJoined, Participant, Recorded};
use crate::conversations::NotOpened;
use crate::participation::Participation;
use crate::pressure::Pressure;
use crate::purse::Purse;
use crate::push::{MAILBOX, Push};

/// How long joining waits for the store to tell a friendly name.
const NAME: Duration = Duration::from_secs(1);

/// A place in a conversation. Dropping it leaves.
pub(super) struct Seat {
    pub(super) conversation: Arc<Conversation>,
    pub(super) participation: Arc<Participation>,
    /// The friendly name, decoded.
    pub(super) name: Arc<str>,
    /// The sign of the notification session that has let it in.
    pub(super) session: u32,
    /// It is being brought what was kept for it.
    pub(super) kept_first: bool,
    /// The participant's own mailbox, for what is told later.
    pub(super) reply: Sender<Push>,
    pub(super) purse: Purse,
    board: Arc<Board>,
    left: bool,
}

impl Seat {
    /// Leaves the conversation; the others are told. Repeating it does nothing.
    pub(super) fn leave(&mut self) {
        if !std::mem::replace(&mut self.left, true) {
            self.board.conversations.leave(&self.conversation, self.participation.id);
        }
    }
}

impl Seat {
    /// Waits until a command that was kept back may be taken up; for ever if it waits for something else. Boxed, since most
    /// never wait, and a session has room for it all its life.
    pub(super) async fn turn(&self, waits: Wait) {
        match waits {
            Wait::Call => pending().await,
            Wait::Others(until) => {
                let turn = self.conversation.may_speak(self.participation.id);
                match until {
                    None => Box::pin(turn).await,
                    Some(until) => drop(Box::pin(timeout_at(until, turn)).await),
                }
            }
            Wait::Calm(time) | Wait::Rate(time) => Box::pin(sleep_until(time)).await,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Waits for the first command and lets its sender in. Without a seat the connection is to be closed, once what it
/// has to say is written. Who has not yet said what it wants gives way to others.
pub(super) async fn admit<T: Transport>(
    board: &Arc<Board>,
    connection: &mut Connection<T>,
    stranger: &Stranger,
) -> Option<(Seat, Mailbox<Push>)> {
    connection.admit(None, Phase::Start);
    let request = stranger.until_gone(pin!(first(connection))).await??;
    if !stranger.works() {
        return None;
    }
    let (knock, role, session) = match request {
        Ok(Request::Open(knock)) => (knock, CookieRole::Caller, None),
        Ok(Request::Answer { knock, session }) => (knock, CookieRole::Callee, session),
        Ok(_) => return None,
        Err(error) => {
            tracing::debug!(%error, "closed");
            return None;
        }
    };
    match enter(board, &knock, role, session).await {
        Ok(seat) => {
            connection.admit(None, Phase::SignedIn);
            Some(seat)
        }
        Err(code) => {
            board.metrics.refused.inc();
            // It is the connection's last line: whether it fits does not matter.
            let _ = connection.send(Line::error(code, knock.trid));
            None
        }
    }
}

/// What a client that comes wants; nothing if it has gone.
async fn first<T: Transport>(connection: &mut Connection<T>) -> Option<Result<Request, ParseError>> {
    loop {
        let command = match connection.event().await {
            Event::Command(command) => command,
            Event::Written => continue,
            Event::Ended(_) => return None,
        };
        let gated = gate(Service::Switchboard, None, Phase::Start, &command);
        let request = gated.and_then(|_| Request::parse(&command));
        let Some(answer) = request.as_ref().err().and_then(|error| switchboard::unread(&command, *error)) else {
            return Some(request);
        };
        connection.send(answer).ok()?;
        connection.flush();
    }
}

async fn enter(
    board: &Arc<Board>,
    knock: &Knock,
    role: CookieRole,
    session: Option<u32>,
) -> Result<(Seat, Mailbox<Push>), ErrorCode> {
    const REFUSED: ErrorCode = ErrorCode::AuthenticationFailed;
    let who = knock.passport.as_ref().map_err(|_| REFUSED)?;
    let text = std::str::from_utf8(&knock.cookie).map_err(|_| REFUSED)?;
    let refused = |error| {
        tracing::debug!(passport = %who, %error, "its cookie opens nothing");
        REFUSED
    };
    let cookie = board.doorman.admit(text, who, role).map_err(refused)?;
    let called_to = match role {
        CookieRole::Caller => None,
        CookieRole::Callee => {
            let conversation = board.conversations.find(cookie.conversation).ok_or(REFUSED)?;
            if session != Some(conversation.session) {
                return Err(REFUSED);
            }
            Some(conversation)
        }
    };
    board.doorman.spend(&cookie).map_err(refused)?;
    let name = friendly_name(board, who).await;
    is_valid(board, who, &cookie)?;
    // From here on nothing waits: a connection that is given up above has not joined.
    let span = tracing::Span::current();
    span.record("passport", who.as_str()).record("dialect", cookie.dialect);
    tracing::debug!(conversation = %cookie.conversation, "joins");
    let (reply, mailbox) = mailbox(MAILBOX);
    let participation = Participation::new(who.clone(), ParticipationId(board.clock.uuid()));
    let newcomer = participant(&cookie, &participation, &name, reply.clone());
    let conversation = match called_to {
        None => open(board, &cookie, knock, newcomer)?,
        Some(conversation) => {
            let greeting = Greeting::Answered(knock.trid);
            board.conversations.join(&conversation, newcomer, greeting).map_err(|refusal| match refusal {
                NotJoined::Ended => REFUSED,
                NotJoined::Full => ErrorCode::SessionOverload,
            })?;
            conversation
        }
    };
    let (session, kept_first) = (cookie.session, cookie.kept_first);
    let seat = Seat {
        conversation,
        participation,
        name,
        session,
        kept_first,
        reply,
        purse: board.purses.open(who),
        board: Arc::clone(board),
        left: false,
    };
    // Once more: whoever says so in this moment may not have found the newcomer.
    is_valid(board, who, &cookie)?;
    Ok((seat, mailbox))
}

/// Whether the password of the bearer's account is still the one by which it has signed in.
fn is_valid(board: &Board, who: &Passport, cookie: &Cookie) -> Result<(), ErrorCode> {
    if board.doorman.is_void(cookie) {
        tracing::debug!(passport = %who, "its cookie is of an old password");
        return Err(ErrorCode::AuthenticationFailed);
    }
    Ok(())
}

fn open(
    board: &Board,
    cookie: &Cookie,
    knock: &Knock,
    caller: Participant,
) -> Result<Arc<Conversation>, ErrorCode> {
    let greeting = Greeting::Opened(switchboard::opened(knock.trid, &knock.handle, &caller.name));
    let own_channel = ChannelId(board.clock.uuid());
    board.conversations.open(cookie.conversation, own_channel, caller, greeting).map_err(|refusal| match refusal {
        // A notification server made two cookies for one conversation: whoever came first has it.
        NotOpened::Exists => ErrorCode::AuthenticationFailed,
        NotOpened::Closed => ErrorCode::GoingDown,
        NotOpened::NoRandomness => ErrorCode::Internal,
    })
}

fn participant(
    cookie: &Cookie,
    participation: &Arc<Participation>,
    name: &Arc<str>,
    mailbox: Sender<Push>,
) -> Participant {
    let dialect = Dialect::by_number(Number(cookie.dialect));
    Participant {
        participation: Arc::clone(participation),
        name: Arc::clone(name),
        claim: cookie.claim,
        edition: Some(cookie.edition),
        capabilities: cookie.capabilities,
        wants_capabilities: dialect.is_some_and(|dialect| dialect.network_ids),
        mailbox,
        recorded: Recorded::default(),
        pressure: if cookie.kept_first { Pressure::excused() } else { Pressure::default() },
    }
}

/// The name that others see; the passport if the store has none or does not answer: joining must not fail for it.
async fn friendly_name(board: &Board, who: &Passport) -> Arc<str> {
    let account = tokio::time::timeout(NAME, board.store.account(who)).await;
    let name = match account {
        Ok(Ok(account)) => account.map(|account| account.settings.friendly_name),
        Ok(Err(error)) => {
            tracing::warn!(%error, "joins without its friendly name");
            None
        }
        Err(_) => {
            tracing::warn!("joins without its friendly name: the store does not answer");
            None
        }
    };
    // An empty name would leave a token out of every line that carries it.
    name.filter(|name| !name.is_empty()).map_or_else(|| who.as_str().into(), Into::into)
}
