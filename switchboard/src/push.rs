//! What is put into a participant's mailbox, and what its sender hears of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::model::MessageId;
use common::msnp::TrId;
use common::msnp::switchboard::{self, AckType, Spoken};
use common::net::Sender;
use common::store::MessageKind;
use tokio::time::Instant;

use crate::handing::Handed;
use crate::metrics::{Fate, Metrics};

/// Bytes that may wait in a participant's mailbox; its outbox has a bound of its own. One that overflows is
/// disconnected; nobody waits for it.
pub(crate) const MAILBOX: usize = 256 * 1024;

/// Within this the sender of an `A` or `N` knows.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Something for one participant.
#[derive(Debug)]
pub(crate) enum Push {
    /// Whole commands.
    Lines(Bytes),
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
}

impl Push {
    /// What an item counts besides its bytes.
    const OVERHEAD: usize = 64;

    /// What it counts against [`MAILBOX`].
    pub(crate) fn weight(&self) -> usize {
        Self::OVERHEAD
            + match self {
                Self::Lines(lines) => lines.len(),
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

/// Whom to tell what became of a message, and how.
pub(crate) struct Verdict {
    pub(crate) reply: Sender<Push>,
    pub(crate) trid: TrId,
    pub(crate) ack: AckType,
    pub(crate) kind: Option<MessageKind>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Verdict {
    /// Tells the sender, as its ack type wants it.
    pub(crate) fn give(&self, fate: Fate) {
        self.metrics.message(self.kind, self.ack, fate);
        match fate {
            Fate::Succeeded if self.ack.tells_success() => self.tell(switchboard::ack(self.trid)),
            Fate::Failed if self.ack.tells_failure() => self.tell(switchboard::nak(self.trid)),
            _ => {}
        }
    }

    fn tell(&self, line: Bytes) {
        push(&self.reply, Push::Lines(line));
    }
}

/// The fate of a message that is not stored: shared by the tickets of all who are to get it, and decided when the
/// last of them is gone.
pub(crate) struct Receipt {
    verdict: Verdict,
    made: Instant,
    failed: AtomicBool,
}

impl Receipt {
    /// A receipt that succeeds unless somebody fails it.
    pub(crate) fn new(verdict: Verdict) -> Arc<Self> {
        Arc::new(Self { verdict, made: Instant::now(), failed: AtomicBool::new(false) })
    }

    /// It has not reached everybody.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let fate = if *self.failed.get_mut() { Fate::Failed } else { Fate::Succeeded };
        self.verdict.give(fate);
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

    /// When its sender must know: never for `D` and `S`, since a file goes to a slow line as fast as that is.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let receipt = self.0.as_ref()?;
        let bounded = matches!(receipt.verdict.ack, AckType::Always | AckType::Failure);
        bounded.then(|| receipt.made + PATIENCE)
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
    use common::net::mailbox;
    use common::telemetry::Registry;

    fn receipt(ack: AckType) -> (Arc<Receipt>, common::net::Mailbox<Push>) {
        let (reply, mailbox) = mailbox(MAILBOX);
        let metrics = Arc::new(Metrics::new(&mut Registry::default()));
        (Receipt::new(Verdict { reply, trid: TrId(7), ack, kind: None, metrics }), mailbox)
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
        for (ack, success, failure) in [
            (AckType::Never, "", ""),
            (AckType::Failure, "", "NAK 7\r\n"),
            (AckType::Always, "ACK 7\r\n", "NAK 7\r\n"),
            (AckType::Data, "ACK 7\r\n", "NAK 7\r\n"),
            (AckType::Success, "ACK 7\r\n", ""),
        ] {
            let (shared, mut mailbox) = receipt(ack);
            let (one, two) = (Ticket::new(&shared), Ticket::new(&shared));
            drop(shared);
            one.written();
            assert_eq!(told(&mut mailbox), "");
            two.written();
            assert_eq!(told(&mut mailbox), success, "{ack:?}");

            let (shared, mut mailbox) = receipt(ack);
            let (one, two) = (Ticket::new(&shared), Ticket::new(&shared));
            drop(shared);
            drop(one);
            two.written();
            assert_eq!(told(&mut mailbox), failure, "{ack:?}");
        }
    }
}
