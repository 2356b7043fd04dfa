//! One sender's kept messages: a conversation in the sender's name, in which nobody else speaks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::cluster::{Invitation, Kept, Outcome};
use common::model::{ChannelId, ClaimId, ConversationId, Epoch, MessageId, ParticipationId, Passport};
use common::msnp::switchboard::{Speaker, Spoken};
use common::net::{Mailbox, mailbox};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use super::Pickup;
use super::plan::Letter;
use super::timeline::Timeline;
use crate::board::Board;
use crate::conversation::{Conversation, Greeting, Participant, Recorded};
use crate::departure;
use crate::handing::{Handed, Progress};
use crate::participation::Participation;
use crate::pressure::Pressure;
use crate::push::{MAILBOX, Push};

/// How long the recipient's session has to take the invitation.
const INVITATION: Duration = Duration::from_secs(2);
/// How long the store has to tell who the sender is.
const SENDER: Duration = Duration::from_secs(2);
/// So many bytes may be on their way to the recipient without its confirmation.
const WINDOW: usize = 32 * 1024;
/// A recipient that confirms nothing for so long gets the rest another time.
const STALL: Duration = Duration::from_secs(60);

/// What became of the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    /// The recipient came. Whether all was delivered shows later.
    Came,
    /// Nobody answered in time.
    NoAnswer,
    /// The recipient takes no invitations at this moment, or something is amiss.
    Failed,
}

/// Rings the recipient in the sender's name, brings the letters to whoever comes, and leaves when all are confirmed.
pub(super) async fn bring(
    board: &Arc<Board>,
    pickup: &Arc<Pickup>,
    epoch: Epoch,
    sender: &Passport,
    letters: Vec<Letter>,
) -> Met {
    let Some((name, claim)) = introduce(board, sender).await else { return Met::Failed };
    let Some(mut ghost) = Ghost::open(board, sender, &name, claim) else { return Met::Failed };
    let invitation = Invitation {
        conversation: ghost.conversation.id,
        session: ghost.conversation.session,
        switchboard: board.place.node.clone(),
        generation: board.place.generation,
        addr: board.addr,
        caller: sender.clone(),
        caller_name: Arc::clone(&name),
        again: false,
        ring: 0,
        kept: Some(Kept { session: epoch, messages: letters.iter().map(|letter| letter.id).collect() }),
    };
    let invited = timeout(INVITATION, board.peers.invite(&pickup.who, invitation, INVITATION)).await;
    if invited != Ok(Outcome::Accepted) {
        tracing::debug!(?invited, "takes no kept messages now");
        return Met::Failed;
    }
    let Some(listener) = ghost.meets(pickup, epoch).await else { return Met::NoAnswer };
    let mut items = Items::new(&Speaker::new(sender, &name), letters);
    let (told, progress) = watch::channel(Progress::default());
    let ids = std::mem::take(&mut items.ids);
    pickup.follow(board, ids, progress.clone());
    ghost.hand_over(listener, &items.spoken, told, progress).await;
    Met::Came
}

/// The sender's friendly name and claim; nothing if the store does not tell.
async fn introduce(board: &Board, sender: &Passport) -> Option<(Arc<str>, ClaimId)> {
    let account = match timeout(SENDER, board.store.account(sender)).await {
        Ok(Ok(account)) => account,
        Ok(Err(error)) => {
            tracing::warn!(%error, "kept messages wait: the store does not tell who has sent them");
            return None;
        }
        Err(_) => return None,
    };
    // What an erased account has said is delivered all the same.
    let (name, claim) = account
        .map_or((String::new(), ClaimId(Uuid::nil())), |account| (account.settings.friendly_name, account.claim));
    let name = if name.is_empty() { sender.as_str().into() } else { name.into() };
    Some((name, claim))
}

/// What is handed over, in order, with the lines that say the times.
struct Items {
    spoken: Vec<Spoken>,
    /// The letters among them.
    ids: Vec<Option<Uuid>>,
}

impl Items {
    fn new(speaker: &Speaker, letters: Vec<Letter>) -> Self {
        let (mut items, mut timeline) = (Self { spoken: Vec::new(), ids: Vec::new() }, Timeline::default());
        for letter in letters {
            if let Some(line) = timeline.before(letter.made_ms) {
                items.put(speaker, &line, None);
            }
            items.put(speaker, &letter.payload, Some(letter.id));
        }
        items
    }

    fn put(&mut self, speaker: &Speaker, payload: &Bytes, id: Option<Uuid>) {
        self.spoken.push(speaker.says(payload));
        self.ids.push(id);
    }
}

/// The sender's place in the conversation. What is said to it is kept for the sender: it leaves like anybody who has not
/// read what it was sent. Dropping it leaves.
struct Ghost {
    board: Arc<Board>,
    conversation: Arc<Conversation>,
    participation: Arc<Participation>,
    mailbox: Mailbox<Push>,
}

impl Ghost {
    fn open(board: &Arc<Board>, sender: &Passport, name: &Arc<str>, claim: ClaimId) -> Option<Self> {
        let (reply, mailbox) = mailbox(MAILBOX);
        let participation = Participation::new(sender.clone(), ParticipationId(board.clock.uuid()));
        let participant = Participant {
            participation: Arc::clone(&participation),
            name: Arc::clone(name),
            claim,
            edition: None,
            capabilities: 0,
            wants_capabilities: false,
            mailbox: reply,
            recorded: Recorded::default(),
            pressure: Pressure::exempt(),
        };
        let (id, channel) = (ConversationId(board.clock.uuid()), ChannelId(board.clock.uuid()));
        let greeting = Greeting::Opened(Bytes::new());
        let conversation = board.conversations.open(id, channel, participant, greeting).ok()?;
        Some(Self { board: Arc::clone(board), conversation, participation, mailbox })
    }

    /// Waits for the recipient. Nothing if it does not come in time, or another session of it asks meanwhile.
    async fn meets(&mut self, pickup: &Pickup, epoch: Epoch) -> Option<ParticipationId> {
        let deadline = Instant::now() + self.board.pickups.patience();
        loop {
            if let Some(participation) = self.conversation.participation_of(&pickup.who) {
                return Some(participation);
            }
            tokio::select! {
                item = self.mailbox.recv() => match item {
                    Some(Push::Close(_)) | None => return None,
                    Some(_) => {}
                },
                () = pickup.is_not_for(epoch) => return None,
                () = sleep_until(deadline) => return None,
                () = self.board.shutdown.begun() => return None,
            }
        }
    }

    /// Puts all into the recipient's mailbox, no more at a time than [`WINDOW`], and returns when it has confirmed them, or
    /// will not.
    async fn hand_over(
        &mut self,
        to: ParticipationId,
        spoken: &[Spoken],
        told: watch::Sender<Progress>,
        mut progress: watch::Receiver<Progress>,
    ) {
        let mut told = Some(Arc::new(told));
        let weak = told.as_ref().map(Arc::downgrade).unwrap_or_default();
        let (mut next, mut under_way, mut confirmed) = (0, 0, 0);
        let mut stalled = Instant::now() + STALL;
        while confirmed < spoken.len() {
            // Once the recipient's session has ended nobody but this holds it, and it can't be had any more.
            if let Some(told) = told.take().or_else(|| weak.upgrade()) {
                while let Some(one) = spoken.get(next)
                    && under_way < WINDOW
                {
                    next += 1;
                    under_way += one.len();
                    let handed = Handed { number: next as u64, told: Arc::clone(&told) };
                    self.conversation.hand(to, one, handed);
                }
            }
            tokio::select! {
                moved = progress.changed() => if moved.is_err() { return },
                item = self.mailbox.recv() => match item {
                    Some(Push::Close(_)) | None => return,
                    Some(_) => {}
                },
                () = sleep_until(stalled) => return,
                () = self.board.shutdown.begun() => return,
            }
            let reached = usize::try_from(progress.borrow_and_update().confirmed).unwrap_or(usize::MAX);
            if confirmed < reached.min(next) {
                stalled = Instant::now() + STALL;
            }
            while confirmed < reached.min(next) {
                under_way -= spoken[confirmed].len();
                confirmed += 1;
            }
        }
    }
}

impl Drop for Ghost {
    fn drop(&mut self) {
        self.board.conversations.leave(&self.conversation, self.participation.id);
        let (board, gone) = (Arc::clone(&self.board), Arc::clone(&self.participation));
        // Replies are kept for the sender. It has read none.
        let read: Option<MessageId> = None;
        self.board.shutdown.spawn(departure::settle(board, gone, read));
    }
}
