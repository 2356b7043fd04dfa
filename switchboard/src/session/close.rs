//! The end of a connection: what is queued is written, the client's own end awaited, its confirmations counted.

use std::time::Duration;

use common::net::{Connection, Ended, Event, Transport};
use tokio::time::Instant;

use super::{End, Session};

/// How long a client may take to read what it is owed and to close.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the outcome is looked for: nothing announces a confirmation.
const LOOK: Duration = Duration::from_millis(25);

impl<T: Transport> Session<T> {
    /// Closes the connection. Returns whether that happened in order: the client has closed its side, so that
    /// whatever it has confirmed is delivered. A proxy confirms what no client may ever have got, and closes in order whatever has
    /// become of the client: behind one only the client's own word counts.
    pub(super) async fn close(&mut self, end: &End) -> bool {
        if matches!(end, End::Broken | End::Overflow) {
            return false;
        }
        // Messages that were put there before the others saw it leave.
        while let Some(item) = self.mailbox.now() {
            if self.put(item).is_err() {
                break;
            }
        }
        let closed = *end == End::Closed;
        if matches!(end, End::Left | End::Violation) || closed && !self.connection.is_by_proxy() {
            // The client was there to end it, by a word, in order or by nonsense: what it had confirmed by then it has, also
            // if what follows is answered by a reset.
            self.cursor.confirm(self.connection.confirmed());
            self.cursor.closed();
            self.handing.confirm(self.connection.confirmed());
            self.handing.closed();
        }
        // Their senders are not kept waiting for a connection that ends.
        self.awaited.expire(Instant::now(), PATIENCE);
        let needed = self.cursor.end().max(self.handing.end());
        let in_order = linger(&mut self.connection, closed, needed).await;
        self.awaited.written(self.connection.written());
        self.cursor.confirm(self.connection.confirmed());
        self.handing.confirm(self.connection.confirmed());
        in_order && !self.connection.is_by_proxy()
    }
}

/// Writes the last line of a connection that has not joined, and closes it.
pub(super) async fn farewell<T: Transport>(connection: &mut Connection<T>) {
    linger(connection, false, None).await;
}

/// Writes what is queued, closes the own side, and waits until the client has closed its side (`closed`: it has)
/// and confirmed the bytes up to `needed`, at most [`PATIENCE`]. Returns whether it has closed in order.
///
/// Reads until then: a socket that is closed with unread input is reset, and the client loses what it has not
/// yet read.
async fn linger<T: Transport>(connection: &mut Connection<T>, mut closed: bool, needed: Option<u64>) -> bool {
    let deadline = Instant::now() + PATIENCE;
    let mut own_side_open = true;
    loop {
        connection.flush();
        if own_side_open && connection.outbox().is_empty() {
            connection.close_write();
            own_side_open = false;
        }
        if connection.is_broken() {
            return false;
        }
        let confirmed = !own_side_open && needed.is_none_or(|needed| connection.confirmed() >= needed);
        if closed && confirmed || Instant::now() >= deadline {
            return closed;
        }
        if closed {
            // Its input has ended and would be ready for ever.
            tokio::time::sleep(LOOK).await;
            continue;
        }
        tokio::select! {
            event = connection.event() => match event {
                Event::Ended(Ended::Closed) => closed = true,
                Event::Ended(_) => return false,
                Event::Command(_) | Event::Written => {}
            },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}
