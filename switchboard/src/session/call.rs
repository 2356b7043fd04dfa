//! `CAL`: inviting somebody (protocol reference §9).

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use common::cluster::{Invitation, Outcome};
use common::model::{Bucket, Passport, PassportError, Rate};
use common::msnp::switchboard;
use common::msnp::{ErrorCode, Line, TrId};
use common::net::Transport;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::{End, Session};
use crate::board::{Answer, Board};
use crate::conversation::Conversation;
use crate::participation::Participation;
use crate::rings::Ringing;

/// How long an invitation waits for the invited session's answer; then it is 217.
const PATIENCE: Duration = Duration::from_secs(2);
/// So much of that those who are rung have to say, where there is no room, whether they still may come.
const ASKING: Duration = Duration::from_secs(1);
/// Of the failing calls in a row so many are forgiven a minute: who asks once a second whether somebody has come may do so for ever.
const FORGIVEN: u32 = 60;

/// So many calls by one connection, and commands that can't be read, are answered at once, and so many a minute after that; the next
/// ones wait, as what is said too fast does. Far more than `[rates]` let through: it bounds the refusals.
const ANSWERED: (u32, u32) = (1000, 600);

/// The calls of one participant.
#[derive(Default)]
pub(super) struct Calls {
    /// The one that waits for its answer. Boxed, since mostly there is none.
    waiting: Option<Box<Waiting>>,
    /// Failing ones in a row.
    failing: Bucket,
    /// All of them, also those that ring: each is a line to somebody's client.
    bucket: Bucket,
    /// All of them and all that can't be read, whatever is answered: a refusal costs something too.
    commands: Bucket,
}

/// A call that waits for its answer.
struct Waiting {
    trid: TrId,
    callee: Passport,
    /// The number of its ring, or, while it waits for room, of its own.
    ring: u64,
    answer: Answer<Result<(), ErrorCode>>,
}

impl Calls {
    /// How long the next one has to wait before it is taken up; nothing, and it is paid for, if it need not.
    pub(super) fn wait(&mut self) -> Option<Duration> {
        let (rate, now) = (Rate::new(ANSWERED.0, ANSWERED.1), Instant::now().into_std());
        let wait = self.commands.wait(rate, 1, now);
        if wait.is_zero() {
            self.commands.spend(rate, 1, now);
            return None;
        }
        Some(wait)
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Waits for what becomes of the call that waits; for ever if there is none. Safe to cancel. No `async fn`: a session has room
    /// for it all its life.
    pub(super) fn answered(&mut self) -> impl Future<Output = (TrId, Result<(), ErrorCode>)> {
        poll_fn(|cx| {
            let Some(waiting) = &mut self.waiting else { return Poll::Pending };
            let (trid, outcome) = (waiting.trid, ready!(waiting.answer.as_mut().poll(cx)));
            self.waiting = None;
            Poll::Ready((trid, outcome))
        })
    }

    /// The reply to a call in the conversation of that number.
    pub(super) fn reply(
        &mut self,
        trid: TrId,
        outcome: Result<(), ErrorCode>,
        session: u32,
        board: &Board,
    ) -> Bytes {
        match outcome {
            Ok(()) => self.rings(trid, session),
            Err(code) => self.refused(code, trid, board),
        }
    }

    /// Somebody has joined, after all rings up to that one. If the call that waits is of it, this is the answer, whoever may have
    /// called it as well: what its session will say is not waited for.
    pub(super) fn joined(&mut self, who: &Passport, ring: u64, session: u32) -> Option<Bytes> {
        let waiting = self.waiting.take_if(|waiting| waiting.callee == *who && waiting.ring <= ring)?;
        Some(self.rings(waiting.trid, session))
    }

    fn rings(&mut self, trid: TrId, session: u32) -> Bytes {
        self.failing = Bucket::default();
        switchboard::ringing(trid, session)
    }

    /// Who is there or rung has been found, so that such a call has not failed; nor has one that came too often.
    fn refused(&mut self, code: ErrorCode, trid: TrId, board: &Board) -> Bytes {
        if !matches!(code, ErrorCode::AlreadyThere | ErrorCode::TooActive) {
            self.failing.take(failures(board), Instant::now().into_std());
        }
        Line::error(code, trid)
    }

    /// Too many calls have failed just now; or there are too many of whatever kind. Counts it.
    fn is_too_active(&mut self, board: &Board) -> bool {
        let now = Instant::now().into_std();
        let refusals = if !self.failing.has(failures(board), now) {
            &board.metrics.calls_after_failures
        } else if !self.bucket.take(board.calls, now) {
            &board.metrics.calls_too_often
        } else {
            return false;
        };
        refusals.inc();
        true
    }
}

fn failures(board: &Board) -> Rate {
    Rate::new(board.failed_calls, FORGIVEN)
}

impl<T: Transport> Session<T> {
    /// `CAL t H`. The invitation is under way when this returns; the reply follows.
    pub(super) fn call(&mut self, trid: TrId, callee: Result<Passport, PassportError>) -> Result<(), End> {
        if self.calls.is_too_active(&self.board) {
            return self.send(Line::error(ErrorCode::TooActive, trid));
        }
        let begun = callee.map_err(|_| ErrorCode::InvalidUserName).and_then(|callee| self.begin(callee, trid));
        match begun {
            Err(code) => {
                let reply = self.calls.refused(code, trid, &self.board);
                self.send(reply)
            }
            Ok(waiting) => {
                self.calls.waiting = Some(Box::new(waiting));
                Ok(())
            }
        }
    }

    fn begin(&self, callee: Passport, trid: TrId) -> Result<Waiting, ErrorCode> {
        let caller = Caller {
            board: Arc::clone(&self.board),
            conversation: Arc::clone(&self.seat.conversation),
            participation: Arc::clone(&self.seat.participation),
            name: Arc::clone(&self.seat.name),
        };
        let deadline = Instant::now() + PATIENCE;
        let (answer, ring): (Answer<_>, _) = match Ring::begin(&caller.conversation, callee.clone()) {
            Ok(ring) => {
                let number = ring.ringing.number;
                (Box::pin(caller.invite(ring, deadline)), number)
            }
            Err(full @ ErrorCode::SessionOverload) => {
                let (rung, number) = caller.conversation.whom_to_ask();
                if rung.is_empty() {
                    return Err(full);
                }
                (Box::pin(caller.make_room(rung, callee.clone(), deadline)), number)
            }
            Err(code) => return Err(code),
        };
        Ok(Waiting { trid, callee, ring, answer })
    }
}

/// Who calls, and where.
struct Caller {
    board: Arc<Board>,
    conversation: Arc<Conversation>,
    participation: Arc<Participation>,
    name: Arc<str>,
}

impl Caller {
    fn invite(&self, ring: Ring, deadline: Instant) -> impl Future<Output = Result<(), ErrorCode>> + Send + use<> {
        let board = &self.board;
        let invitation = Invitation {
            conversation: self.conversation.id,
            session: self.conversation.session,
            switchboard: board.place.node.clone(),
            generation: board.place.generation,
            addr: board.addr,
            caller: self.participation.passport.clone(),
            caller_name: Arc::clone(&self.name),
            again: ring.ringing.again,
            ring: ring.ringing.number,
            kept: None,
        };
        let answer = board.peers.invite(&ring.callee, invitation, deadline.duration_since(Instant::now()));
        async move {
            // The router keeps to its patience; this bound is for the client, whatever the router does.
            let outcome = timeout_at(deadline, answer).await.unwrap_or(Outcome::Unknown);
            ring.end(outcome);
            match outcome {
                Outcome::Accepted => Ok(()),
                Outcome::AlreadyRung => Err(ErrorCode::AlreadyThere),
                Outcome::TooOften => Err(ErrorCode::TooActive),
                _ => Err(ErrorCode::NotOnline),
            }
        }
    }

    /// Asks those who are rung whether they still may come, and rings if one may not. Sessions say by themselves when they
    /// end; that word may be lost.
    async fn make_room(
        self,
        rung: Vec<(Passport, u64)>,
        callee: Passport,
        deadline: Instant,
    ) -> Result<(), ErrorCode> {
        let (mut asked, latest) = (JoinSet::new(), Instant::now() + ASKING);
        for (who, number) in rung {
            let answer = self.board.peers.is_rung(&who, self.conversation.id, ASKING);
            let conversation = Arc::clone(&self.conversation);
            asked.spawn(async move {
                if let Ok(Some(false)) = timeout_at(latest, answer).await {
                    conversation.ring_over(&who, number);
                }
            });
        }
        while asked.join_next().await.is_some() {}
        let ring = Ring::begin(&self.conversation, callee)?;
        self.invite(ring, deadline).await
    }
}

/// Somebody is noted as rung. Without success that is forgotten again, also when the caller leaves meanwhile; of somebody who
/// was rung before only by a word that it is so no more. What came of it after the callee has joined is not waited for: there is
/// nothing to forget then, and a later ring is another one.
struct Ring {
    conversation: Arc<Conversation>,
    callee: Passport,
    ringing: Ringing,
    outcome: Option<Outcome>,
}

impl Ring {
    fn begin(conversation: &Arc<Conversation>, callee: Passport) -> Result<Self, ErrorCode> {
        let ringing = conversation.ring(&callee)?;
        Ok(Self { conversation: Arc::clone(conversation), callee, ringing, outcome: None })
    }

    /// Takes the whole: an async block that touched one field would capture only that, and ring no longer.
    fn end(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let is_over = matches!(self.outcome, Some(Outcome::NotHere | Outcome::Refused));
        match self.outcome {
            Some(Outcome::Accepted) => self.conversation.ring_taken(&self.callee, self.ringing.number),
            _ if is_over || !self.ringing.again => self.conversation.ring_over(&self.callee, self.ringing.number),
            _ => {}
        }
    }
}
