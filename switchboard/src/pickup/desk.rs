//! Where other nodes ask for what was kept, and say that rings are over, or what is void.

use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use common::cluster::{Audience, Deliver, Instruction, Notice, Outcome, Told, Void};
use common::model::{Endpoint, Epoch, Passport};

use super::Request;
use crate::board::Board;

/// Where other nodes ask for what was kept, and say that rings are over. It is there before the switchboard that it belongs to.
#[derive(Default)]
pub(crate) struct Desk(OnceLock<Weak<Board>>);

impl Desk {
    /// From now on requests are served.
    pub(crate) fn open(&self, board: &Arc<Board>) {
        // Opened once.
        let _ = self.0.set(Arc::downgrade(board));
    }
}

#[async_trait]
impl Deliver for Desk {
    async fn deliver(&self, to: &Passport, _: Option<Epoch>, notice: Notice) -> Outcome {
        let Some(board) = self.0.get().and_then(Weak::upgrade) else { return Outcome::Unknown };
        let takes = match notice {
            Notice::PickUp { epoch, unanswered, reminder } => {
                let asked = Request { epoch, unanswered, reminder };
                !board.shutdown.has_begun() && board.pickups.begin(&board, to, asked)
            }
            Notice::Holds => board.pickups.holds(to),
            Notice::RingOver { conversation, ring } => {
                let conversation = board.conversations.find(conversation);
                conversation.inspect(|conversation| conversation.ring_over(to, ring)).is_some()
            }
            _ => return Outcome::NotHere,
        };
        if takes { Outcome::Accepted } else { Outcome::Refused }
    }

    fn displaced(&self, _: &Passport, _: Endpoint, _: Epoch) {}

    fn sessions(&self) -> Vec<(Passport, Endpoint, Epoch)> {
        Vec::new()
    }

    fn reannounce(&self, _: &Passport, _: Epoch) {}

    async fn carry_out(&self, _: &Audience, _: &Instruction) -> Told {
        Told::default()
    }

    fn void(&self, void: &Void) -> u64 {
        // Before there is a board nobody is in a conversation, and the cluster remembers it. Who joins at this moment asks once it has
        // its purse.
        let board = self.0.get().and_then(Weak::upgrade).filter(|board| board.purses.are_open(&void.who));
        board.map_or(0, |board| board.conversations.expel(void))
    }
}
