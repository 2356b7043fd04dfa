//! `MSG`: to everybody else, and into history (protocol reference §9; what a sender may believe: ARCHITECTURE.md).

use bytes::Bytes;
use common::msnp::TrId;
use common::msnp::switchboard::AckType;
use common::net::Transport;

use super::Session;
use crate::metrics::Fate;
use crate::push::{Receipt, Verdict};

impl<T: Transport> Session<T> {
    /// `MSG t U|N|A|D|S len`.
    pub(super) fn relay(&mut self, trid: TrId, ack: AckType, payload: &Bytes) {
        let stored = matches!(ack, AckType::Never | AckType::Failure | AckType::Always);
        let kind = if stored { self.kinds.of(payload) } else { None };
        let verdict = Verdict::owed(&self.board, &self.seat.reply, trid, ack, kind);
        if payload.is_empty() {
            // A relayed empty message ends bitlbee's session (CLIENTS 16).
            return verdict.give(Fate::Failed);
        }
        let spoken = self.speaker.says(payload);
        let (conversation, me) = (&self.seat.conversation, self.seat.participation.id);
        let len = spoken.len() as u64;
        let heard = if let Some(kind) = kind {
            let kept = conversation.relay_kept(me, &spoken, kind, &self.board.clock, &self.board.place);
            let heard = kept.as_ref().map_or(0, |kept| kept.writes.len());
            match kept {
                Some(kept) => self.board.history.keep(kept, verdict),
                None => verdict.give(Fate::Failed),
            }
            heard
        } else if ack == AckType::Never {
            let heard = conversation.relay(me, &spoken, None);
            verdict.give(if heard > 0 { Fate::Succeeded } else { Fate::Failed });
            heard
        } else {
            let receipt = Receipt::new(verdict);
            conversation.relay(me, &spoken, Some(&receipt))
        };
        self.board.metrics.relayed_bytes.inc_by(len * heard as u64);
    }
}
