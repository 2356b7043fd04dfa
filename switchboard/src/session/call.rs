//! `CAL`: inviting somebody (protocol reference §9).

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::cluster::{Invitation, Outcome};
use common::model::{Bucket, Passport, PassportError, Rate};
use common::msnp::switchboard;
use common::msnp::{ErrorCode, Line, TrId};
use common::net::Transport;
use tokio::time::Instant;

use super::{End, Session};
use crate::board::{Answer, Board};
use crate::conversation::{Conversation, Ringing};

/// How long an invitation waits for the invited session's answer; then it is 217.
const PATIENCE: Duration = Duration::from_secs(2);
/// Of the failing calls in a row so many are forgiven a minute: who asks once a second whether somebody has come may do so for ever.
const FORGIVEN: u32 = 60;

/// The calls of one participant.
#[derive(Default)]
pub(super) struct Calls {
    /// The one that waits for its answer: its transaction id, and what that will be.
    waiting: Option<(TrId, Answer<Result<u32, ErrorCode>>)>,
    /// Failing ones in a row.
    failing: Bucket,
    /// All of them, also those that ring: each is a line to somebody's client.
    bucket: Bucket,
}

impl Calls {
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Waits for the answer to the call that waits; for ever if there is none. Safe to cancel.
    pub(super) async fn answered(&mut self, board: &Board) -> Bytes {
        let Some((trid, answer)) = &mut self.waiting else { return pending().await };
        let (trid, rings) = (*trid, answer.await);
        self.waiting = None;
        match rings {
            Ok(session) => {
                self.failing = Bucket::default();
                switchboard::ringing(trid, session)
            }
            Err(code) => self.refused(code, trid, board),
        }
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
        let rung = callee.map_err(|_| ErrorCode::InvalidUserName).and_then(|callee| {
            let ringing = self.seat.conversation.ring(&callee)?;
            Ok(Ring { conversation: Arc::clone(&self.seat.conversation), callee, ringing, outcome: None })
        });
        match rung {
            Err(code) => {
                let reply = self.calls.refused(code, trid, &self.board);
                self.send(reply)
            }
            Ok(ring) => {
                self.calls.waiting = Some((trid, self.invite(ring)));
                Ok(())
            }
        }
    }

    fn invite(&self, ring: Ring) -> Answer<Result<u32, ErrorCode>> {
        let (board, seat) = (&self.board, &self.seat);
        let session = seat.conversation.session;
        let invitation = Invitation {
            conversation: seat.conversation.id,
            session,
            switchboard: board.place.node.clone(),
            generation: board.place.generation,
            addr: board.addr,
            caller: seat.participation.passport.clone(),
            caller_name: Arc::clone(&seat.name),
            again: ring.ringing == Ringing::Again,
            kept: None,
        };
        let answer = board.peers.invite(&ring.callee, invitation, PATIENCE);
        Box::pin(async move {
            // The router keeps to its patience; this bound is for the client, whatever the router does.
            let outcome = tokio::time::timeout(PATIENCE, answer).await.unwrap_or(Outcome::Unknown);
            ring.end(outcome);
            match outcome {
                Outcome::Accepted => Ok(session),
                Outcome::AlreadyRung => Err(ErrorCode::AlreadyThere),
                Outcome::TooOften => Err(ErrorCode::TooActive),
                _ => Err(ErrorCode::NotOnline),
            }
        })
    }
}

/// Somebody is noted as rung. Without success that is forgotten again, also when the caller leaves meanwhile; of somebody who
/// was rung before only by a word that it is so no more.
struct Ring {
    conversation: Arc<Conversation>,
    callee: Passport,
    ringing: Ringing,
    outcome: Option<Outcome>,
}

impl Ring {
    /// Takes the whole: an async block that touched one field would capture only that, and ring no longer.
    fn end(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let is_over = matches!(self.outcome, Some(Outcome::NotHere | Outcome::Refused));
        match self.outcome {
            Some(Outcome::Accepted) => self.conversation.ring_taken(&self.callee),
            _ if is_over || self.ringing == Ringing::First => self.conversation.unring(&self.callee),
            _ => {}
        }
    }
}
