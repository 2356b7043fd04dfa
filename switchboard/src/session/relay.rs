//! `MSG`: to everybody else, and into history (protocol reference §9; what a sender may believe: ARCHITECTURE.md).

use std::time::Duration;

use bytes::Bytes;
use common::msnp::TrId;
use common::msnp::switchboard::AckType;
use common::net::Transport;
use tokio::time::Instant;

use super::Session;
use crate::metrics::Fate;
use crate::push::{Receipt, Verdict};

impl<T: Transport> Session<T> {
    /// `MSG t U|N|A|D|S len`.
    ///
    /// # Errors
    /// How long it must wait before it is taken up, since its sender has said too much.
    pub(super) fn relay(&mut self, trid: TrId, ack: AckType, payload: &Bytes) -> Result<(), Duration> {
        let stored = matches!(ack, AckType::Never | AckType::Failure | AckType::Always);
        let kind = if stored { self.kinds.of(payload) } else { None };
        self.seat.purse.say(payload.len(), kind.is_some(), Instant::now().into_std())?;
        let verdict = Verdict::owed(&self.board, &self.seat.reply, trid, ack, kind);
        if payload.is_empty() {
            // A relayed empty message ends bitlbee's session (CLIENTS 16).
            verdict.give(Fate::Failed);
            return Ok(());
        }
        let spoken = self.speaker.says(payload);
        let (conversation, me) = (&self.seat.conversation, self.seat.participation.id);
        let len = spoken.len() as u64;
        let heard = if kind.is_some() && !self.may_be_kept(payload.len()) {
            let heard = conversation.relay(me, &spoken, None);
            verdict.give(Fate::Failed);
            heard
        } else if let Some(kind) = kind {
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
        Ok(())
    }

    /// Whether there is room for so much more of this sender in history. Without, it is delivered all the same, and its sender
    /// told as if the store had failed: to leave it out would end a chat that needs no disk.
    fn may_be_kept(&self, bytes: usize) -> bool {
        let why = if self.board.disk.is_low() {
            &self.board.metrics.not_kept_disk
        } else if !self.seat.purse.keep(bytes) {
            &self.board.metrics.not_kept_quota
        } else {
            return true;
        };
        why.inc();
        false
    }
}
