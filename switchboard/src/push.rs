//! What is put into a participant's mailbox, and what its sender hears of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::model::{MessageId, Passport};
use common::msnp::TrId;
use common::msnp::switchboard::{self, AckType, Spoken};
use common::net::Sender;
use common::store::MessageKind;
use tokio::time::Instant;

use crate::board::Board;
use crate::handing::Handed;
use crate::metrics::Fate;

/// Bytes that may wait in a participant's mailbox; its outbox has a bound of its own. One that overflows is
/// disconnected; nobody waits for it.
pub(crate) const MAILBOX: usize = 256 * 1024;

/// Within this the sender of an `A` or `N` knows.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// So long others may hold up an `A` or `N` that was read, before it is taken up and [`PATIENCE`] begins: until all have read, until it
/// can be written to them in time, and for the answer to the call before it, together. Then it is taken up, whoever is behind: it
/// would be NAKed for nothing but its recipient's speed, and one message in so long throws nobody out.
pub(crate) const HELD: Duration = Duration::from_secs(20);
/// So much later a debug build takes it for a mistake.
pub(crate) const MISTAKE: Duration = Duration::from_secs(1);

/// Something for one participant.
#[derive(Debug)]
pub(crate) enum Push {
    /// Whole commands.
    Lines(Bytes),
    /// Somebody has joined. A call of it that waits is answered by this, before the line: the answer of its session comes by
    /// another way, and may come later.
    Joined {
        /// Who.
        who: Passport,
        /// The latest ring before that: what rings later is no answer to it.
        ring: u64,
        /// What says so.
        line: Bytes,
    },
    /// What somebody said.
    Message(Spoken, Heard),
    /// Nothing more comes: write what is queued and close.
    Close(Farewell),
}

/// What is to be noted of a message once it is on its way.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Nothing.
    Unnoted,
    /// It is in history under this id: delivery is a cursor.
    Kept(MessageId),
    /// Its sender waits until it is written.
    Awaited(Ticket),
    /// It was kept, and is handed over now: whoever does that follows how far the listener has got.
    Handed(Handed),
}

/// Why the switchboard ends a participation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// The same principal has joined by another connection.
    Replaced,
    /// Nobody in the conversation has said anything for long.
    Idle,
    /// The process ends.
    Shutdown,
    /// The principal has another password than the one by which it has come.
    Void,
}

impl Push {
    /// What an item counts besides its bytes.
    const OVERHEAD: usize = 64;

    /// What it counts against [`MAILBOX`].
    pub(crate) fn weight(&self) -> usize {
        Self::OVERHEAD
            + match self {
                Self::Lines(lines) | Self::Joined { line: lines, .. } => lines.len(),
                Self::Message(spoken, _) => spoken.len(),
                Self::Close(_) => 0,
            }
    }
}

/// Puts something into a participant's mailbox. One that is full or gone is its own task's business.
pub(crate) fn push(mailbox: &Sender<Push>, item: Push) {
    let weight = item.weight();
    let _ = mailbox.send(item, weight);
}

/// The promise that a message's sender hears what became of it, as its ack type wants it: within [`PATIENCE`] of its being taken up,
/// which is within [`HELD`] of its being read, or its connection closes. It is kept by [`Verdict::give`], or by dropping: what was not decided has failed.
pub(crate) struct Verdict(Option<Owed>);

/// Whom to tell what became of a message, and how.
struct Owed {
    board: Arc<Board>,
    reply: Sender<Push>,
    trid: TrId,
    ack: AckType,
    kind: Option<MessageKind>,
    /// When it was taken up.
    since: Instant,
    /// How long others have held it up before.
    held: Duration,
}

impl Verdict {
    /// What is owed for a message that is taken up.
    pub(crate) fn owed(
        board: &Arc<Board>,
        reply: &Sender<Push>,
        trid: TrId,
        ack: AckType,
        kind: Option<MessageKind>,
    ) -> Self {
        Self(Some(Owed {
            board: Arc::clone(board),
            reply: reply.clone(),
            trid,
            ack,
            kind,
            since: Instant::now(),
            held: Duration::ZERO,
        }))
    }

    /// Others have held it up so long since it was read.
    pub(crate) fn held(mut self, held: Duration) -> Self {
        if let Some(owed) = &mut self.0 {
            owed.held = held;
        }
        self
    }

    /// Tells the sender, as its ack type wants it.
    pub(crate) fn give(mut self, fate: Fate) {
        if let Some(owed) = self.0.take() {
            owed.settle(fate);
        }
    }
}

impl Drop for Verdict {
    fn drop(&mut self) {
        let Some(owed) = self.0.take() else { return };
        // A process that stops waits for what is under way, and tells its sender too; what it leaves behind is told nobody.
        let is_over = owed.board.is_over.load(Ordering::Relaxed);
        let excused = std::thread::panicking() || owed.reply.is_closed() || is_over;
        tracing::error!(
            ack = owed.ack.code(),
            "nobody has said what became of a message; its sender is told that it failed"
        );
        owed.settle(Fate::Failed);
        debug_assert!(excused, "a message was given up without a verdict");
    }
}

impl Owed {
    /// Whether it is so late that something is wrong.
    fn is_broken(&self) -> bool {
        let now = Instant::now();
        is_bounded(self.ack)
            && (now.duration_since(self.since) > PATIENCE + MISTAKE || self.held > HELD + MISTAKE)
            && !self.reply.is_closed()
            && !self.board.pulse.has_stood_still(now)
            && !self.board.is_over.load(Ordering::Relaxed)
    }

    fn settle(&self, fate: Fate) {
        debug_assert!(
            std::thread::panicking() || !self.is_broken(),
            "a verdict is late: {:?} after {:?} of being held",
            self.since.elapsed(),
            self.held
        );
        self.board.metrics.message(self.kind, self.ack, fate);
        match fate {
            Fate::Succeeded if self.ack.tells_success() => self.tell(switchboard::ack(self.trid)),
            Fate::Failed if self.ack.tells_failure() => self.tell(switchboard::nak(self.trid)),
            _ => {}
        }
    }

    fn tell(&self, line: Bytes) {
        // A sender that does not take it is being disconnected: that is its answer.
        push(&self.reply, Push::Lines(line));
    }
}

/// Whether the sender of such a message is told within [`PATIENCE`]. Never of `D` and `S`, since a file goes to a slow line as fast
/// as that is.
pub(crate) fn is_bounded(ack: AckType) -> bool {
    matches!(ack, AckType::Always | AckType::Failure)
}

/// The fate of a message that is not stored: shared by the tickets of all who are to get it, and decided when the
/// last of them is gone.
pub(crate) struct Receipt {
    verdict: Option<Verdict>,
    /// When its sender must know.
    deadline: Option<Instant>,
    failed: AtomicBool,
}

impl Receipt {
    /// A receipt that succeeds unless somebody fails it.
    pub(crate) fn new(verdict: Verdict) -> Arc<Self> {
        let ack = verdict.0.as_ref().map(|owed| owed.ack);
        let deadline = ack.is_some_and(is_bounded).then(|| Instant::now() + PATIENCE);
        Arc::new(Self { verdict: Some(verdict), deadline, failed: AtomicBool::new(false) })
    }

    /// It has not reached everybody.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let fate = if *self.failed.get_mut() { Fate::Failed } else { Fate::Succeeded };
        if let Some(verdict) = self.verdict.take() {
            verdict.give(fate);
        }
    }
}

/// One listener's part of a [`Receipt`]: dropped before it is [written](Ticket::written), it fails the whole.
pub(crate) struct Ticket(Option<Arc<Receipt>>);

impl Ticket {
    pub(crate) fn new(receipt: &Arc<Receipt>) -> Self {
        Self(Some(Arc::clone(receipt)))
    }

    /// The message's last byte has been written to this listener.
    pub(crate) fn written(mut self) {
        self.0 = None;
    }

    /// When its sender must know.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.as_ref().and_then(|receipt| receipt.deadline)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(receipt) = self.0.take() {
            receipt.fail();
        }
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ticket")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;
    use common::net::mailbox;

    fn receipt(world: &World, ack: AckType) -> (Arc<Receipt>, common::net::Mailbox<Push>) {
        let (reply, mailbox) = mailbox(MAILBOX);
        (Receipt::new(Verdict::owed(&world.board, &reply, TrId(7), ack, None)), mailbox)
    }

    #[track_caller]
    fn told(mailbox: &mut common::net::Mailbox<Push>) -> String {
        match mailbox.now() {
            Some(Push::Lines(lines)) => String::from_utf8_lossy(&lines).into_owned(),
            _ => String::new(),
        }
    }

    #[tokio::test]
    async fn the_last_listener_decides() {
        let world = World::new();
        for (ack, success, failure) in [
            (AckType::Never, "", ""),
            (AckType::Failure, "", "NAK 7\r\n"),
            (AckType::Always, "ACK 7\r\n", "NAK 7\r\n"),
            (AckType::Data, "ACK 7\r\n", "NAK 7\r\n"),
            (AckType::Success, "ACK 7\r\n", ""),
        ] {
            let (shared, mut mailbox) = receipt(&world, ack);
            let (one, two) = (Ticket::new(&shared), Ticket::new(&shared));
            drop(shared);
            one.written();
            assert_eq!(told(&mut mailbox), "");
            two.written();
            assert_eq!(told(&mut mailbox), success, "{ack:?}");

            let (shared, mut mailbox) = receipt(&world, ack);
            let (one, two) = (Ticket::new(&shared), Ticket::new(&shared));
            drop(shared);
            drop(one);
            two.written();
            assert_eq!(told(&mut mailbox), failure, "{ack:?}");
        }
    }

    /// Also while the process stops.
    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "late")]
    async fn nothing_is_told_late() {
        let world = World::new();
        world.board.shutdown.begin();
        let (reply, _mailbox) = mailbox(MAILBOX);
        let owed = |ack| Verdict::owed(&world.board, &reply, TrId(7), ack, None);
        let (file, text) = (owed(AckType::Data), owed(AckType::Always));
        tokio::time::sleep(PATIENCE).await;
        owed(AckType::Always).give(Fate::Succeeded);
        tokio::time::sleep(2 * MISTAKE).await;
        file.give(Fate::Succeeded);
        text.give(Fate::Succeeded);
    }

    /// Of what was held for too long no verdict is in time.
    #[tokio::test(start_paused = true)]
    #[should_panic(expected = "late")]
    async fn to_be_held_counts() {
        let world = World::new();
        let (reply, _mailbox) = mailbox(MAILBOX);
        let owed = |held| Verdict::owed(&world.board, &reply, TrId(7), AckType::Always, None).held(held);
        owed(HELD).give(Fate::Succeeded);
        owed(HELD + 2 * MISTAKE).give(Fate::Succeeded);
    }

    /// What nobody decides has failed, and a debug build stops there.
    #[tokio::test]
    #[should_panic(expected = "without a verdict")]
    async fn nothing_is_forgotten() {
        let world = World::new();
        world.board.shutdown.begin();
        let (reply, mut mailbox) = mailbox(MAILBOX);
        let verdict = Verdict::owed(&world.board, &reply, TrId(7), AckType::Always, None);
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(verdict)));
        assert_eq!(told(&mut mailbox), "NAK 7\r\n");
        // Nobody is there to be told.
        drop(mailbox);
        drop(Verdict::owed(&world.board, &reply, TrId(8), AckType::Always, None));
        std::panic::resume_unwind(dropped.unwrap_err());
    }
}
