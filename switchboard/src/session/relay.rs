//! `MSG`: to everybody else, and into history (protocol reference §9; what a sender may believe: ARCHITECTURE.md).

use std::time::Duration;

use bytes::Bytes;
use common::msnp::TrId;
use common::msnp::switchboard::AckType;
use common::net::Transport;
use tokio::time::Instant;

use super::Session;
use crate::conversation::Relayed;
use crate::metrics::Fate;
use crate::purse::Paid;
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
        let verdict = Verdict::owed(&self.board, &self.seat.reply, trid, ack, kind).held(self.pace.held());
        if payload.is_empty() {
            // A relayed empty message ends bitlbee's session (CLIENTS 16).
            verdict.give(Fate::Failed);
            return Ok(());
        }
        let spoken = self.speaker.says(payload);
        let (conversation, me) = (&self.seat.conversation, self.seat.participation.id);
        let len = spoken.len() as u64;
        let heard = if let Some(kind) = kind {
            let (clock, place) = (&self.board.clock, &self.board.place);
            match conversation.relay_kept(me, &spoken, kind, clock, place, |bytes| self.pays(bytes)) {
                Relayed::Kept(kept) => {
                    let heard = kept.writes.len();
                    self.board.history.keep(*kept, verdict);
                    heard
                }
                Relayed::NotKept(heard) => {
                    verdict.give(Fate::Failed);
                    heard
                }
                Relayed::ToNobody => {
                    verdict.give(Fate::Failed);
                    0
                }
            }
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

    /// Takes room in history for so many bytes, out of the sender's quota. Without, the message's sender is told as if the store had
    /// failed.
    fn pays(&self, bytes: u64) -> Option<Paid> {
        let is_low = self.board.disk.is_low();
        let paid = if is_low { None } else { self.seat.purse.keep(bytes) };
        if paid.is_none() {
            let metrics = &self.board.metrics;
            let why = if is_low { &metrics.not_kept_disk } else { &metrics.not_kept_quota };
            why.inc();
        }
        paid
    }
}
