//! `CAL`: inviting somebody (protocol reference §9).

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::cluster::{Invitation, Outcome};
use common::model::{Bucket, Passport, PassportError};
use common::msnp::switchboard;
use common::msnp::{ErrorCode, Line, TrId};
use common::net::Transport;
use tokio::time::Instant;

use super::{End, Session};
use crate::board::{Answer, Board};
use crate::conversation::Conversation;

/// How long an invitation waits for the invited session's answer; then it is 217.
const PATIENCE: Duration = Duration::from_secs(2);
/// Failing calls are in a row if no more time has passed since the last that was answered.
const RECOVERY: Duration = Duration::from_secs(10);

/// The calls of one participant.
#[derive(Default)]
pub(super) struct Calls {
    /// The one that waits for its answer: its transaction id, and the session that rings, if one does.
    waiting: Option<(TrId, Answer<Option<u32>>)>,
    /// Failing ones in a row.
    failures: u32,
    last_failure: Option<Instant>,
    /// All of them, also those that ring: each is a line to somebody's client.
    bucket: Bucket,
}

impl Calls {
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Waits for the answer to the call that waits; for ever if there is none. Safe to cancel.
    pub(super) async fn answered(&mut self) -> Bytes {
        let Some((trid, answer)) = &mut self.waiting else { return pending().await };
        let (trid, rings) = (*trid, answer.await);
        self.waiting = None;
        match rings {
            Some(session) => {
                self.failures = 0;
                switchboard::ringing(trid, session)
            }
            None => self.failed(ErrorCode::NotOnline, trid),
        }
    }

    fn failed(&mut self, code: ErrorCode, trid: TrId) -> Bytes {
        self.failures += 1;
        self.last_failure = Some(Instant::now());
        Line::error(code, trid)
    }

    /// Too many calls have failed, and the last of them not long ago; or there are too many of whatever kind. Counts it.
    fn is_too_active(&mut self, board: &Board) -> bool {
        if self.last_failure.is_some_and(|last| last.elapsed() >= RECOVERY) {
            self.failures = 0;
            self.last_failure = None;
        }
        let refusals = if self.failures >= board.failed_calls {
            &board.metrics.calls_after_failures
        } else if !self.bucket.take(board.calls, Instant::now().into_std()) {
            &board.metrics.calls_too_often
        } else {
            return false;
        };
        refusals.inc();
        true
    }
}

impl<T: Transport> Session<T> {
    /// `CAL t H`. The invitation is under way when this returns; the reply follows.
    pub(super) fn call(&mut self, trid: TrId, callee: Result<Passport, PassportError>) -> Result<(), End> {
        if self.calls.is_too_active(&self.board) {
            return self.send(Line::error(ErrorCode::TooActive, trid));
        }
        let rung = callee.map_err(|_| ErrorCode::InvalidUserName).and_then(|callee| {
            self.seat.conversation.ring(&callee)?;
            Ok(Ring { conversation: Arc::clone(&self.seat.conversation), callee, accepted: false })
        });
        match rung {
            Err(code) => {
                let reply = self.calls.failed(code, trid);
                self.send(reply)
            }
            Ok(ring) => {
                self.calls.waiting = Some((trid, self.invite(ring)));
                Ok(())
            }
        }
    }

    fn invite(&self, ring: Ring) -> Answer<Option<u32>> {
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
            kept_for: None,
        };
        let answer = board.peers.invite(&ring.callee, invitation, PATIENCE);
        Box::pin(async move {
            // The router keeps to its patience; this bound is for the client, whatever the router does.
            let outcome = tokio::time::timeout(PATIENCE, answer).await.unwrap_or(Outcome::Unknown);
            let accepted = outcome == Outcome::Accepted;
            ring.end(accepted);
            accepted.then_some(session)
        })
    }
}

/// Somebody is noted as rung; without success that is forgotten again, also when the caller leaves meanwhile.
struct Ring {
    conversation: Arc<Conversation>,
    callee: Passport,
    accepted: bool,
}

impl Ring {
    /// Takes the whole: an async block that touched one field would capture only that, and ring no longer.
    fn end(mut self, accepted: bool) {
        self.accepted = accepted;
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if !self.accepted {
            self.conversation.unring(&self.callee);
        }
    }
}
