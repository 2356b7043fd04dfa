//! What is to be written to one client: bounded in bytes, unallocated when drained.

use std::collections::VecDeque;
use std::fmt;

use bytes::{Buf, Bytes};

/// Lines that are produced as the socket drains: the answer to SYN.
type Source = Box<dyn Iterator<Item = Bytes> + Send>;

enum Item {
    Line(Bytes),
    Source(Source),
}

/// The queue towards one client.
///
/// Bytes are counted from the beginning of the connection, so that the end of a message can be compared with what
/// the other side has confirmed.
#[derive(Default)]
pub struct Outbox {
    /// Lines of the source that is being written; they go first and don't count against the budget.
    pulled: VecDeque<Bytes>,
    /// The source that is being written.
    source: Option<Source>,
    items: VecDeque<Item>,
    /// Bytes of the lines in `items`.
    queued: usize,
    /// Sources in `items`.
    sources: usize,
    written: u64,
}

/// The client can't keep up: its connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {} bytes or {} lists wait for the client", Outbox::BUDGET, Outbox::SOURCES)]
pub struct Overflow;

impl Outbox {
    /// The most bytes that may wait.
    pub const BUDGET: usize = 256 * 1024;
    /// The most sources that may wait: each keeps what it is made of.
    pub const SOURCES: usize = 16;
    /// A source is asked for more when less than this waits in front of it.
    const LOW_WATER: usize = 8 * 1024;

    /// Queues whole commands. Returns where they end, counted in bytes from the connection's beginning; of
    /// meaning only to connections that use no sources.
    ///
    /// # Errors
    /// [`Overflow`], and nothing is queued.
    pub fn push(&mut self, line: Bytes) -> Result<u64, Overflow> {
        if self.queued + line.len() > Self::BUDGET {
            return Err(Overflow);
        }
        if !line.is_empty() {
            self.queued += line.len();
            self.items.push_back(Item::Line(line));
        }
        Ok(self.written + self.queued as u64)
    }

    /// Queues lines that are made as the socket drains, and don't count against the budget. What is queued behind
    /// them stays behind the last of them.
    ///
    /// # Errors
    /// [`Overflow`], and nothing is queued.
    pub fn push_source(&mut self, lines: impl Iterator<Item = Bytes> + Send + 'static) -> Result<(), Overflow> {
        if self.sources == Self::SOURCES {
            return Err(Overflow);
        }
        self.sources += 1;
        self.items.push_back(Item::Source(Box::new(lines)));
        Ok(())
    }

    /// Bytes that wait, but for those that sources have still to make.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Whether nothing waits. A source counts as something until it has been found empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.pulled.is_empty() && self.source.is_none()
    }

    /// Bytes written to the transport since the connection began.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The pieces to write next, in order; asks a source that has come to the front for more. None are left when
    /// everything is written.
    pub fn pieces(&mut self) -> impl Iterator<Item = &Bytes> {
        self.pull();
        let lines = if self.pulled.is_empty() { usize::MAX } else { 0 };
        self.pulled.iter().chain(self.items.iter().take(lines).map_while(|item| match item {
            Item::Line(line) => Some(line),
            Item::Source(_) => None,
        }))
    }

    /// Makes sure that lines of a source which stands at the front are in `pulled`.
    fn pull(&mut self) {
        loop {
            if self.source.is_none()
                && self.pulled.is_empty()
                && matches!(self.items.front(), Some(Item::Source(_)))
                && let Some(Item::Source(source)) = self.items.pop_front()
            {
                self.sources -= 1;
                self.source = Some(source);
            }
            let Some(source) = &mut self.source else { break };
            let mut waiting: usize = self.pulled.iter().map(Bytes::len).sum();
            while waiting < Self::LOW_WATER {
                match source.next() {
                    Some(line) if line.is_empty() => {}
                    Some(line) => {
                        waiting += line.len();
                        self.pulled.push_back(line);
                    }
                    None => {
                        self.source = None;
                        break;
                    }
                }
            }
            if !self.pulled.is_empty() {
                break;
            }
        }
        self.forget_if_drained();
    }

    /// Takes note that `count` bytes at the front of [`Outbox::pieces`] are written.
    pub fn advance(&mut self, mut count: usize) {
        self.written += count as u64;
        while count > 0
            && let Some(line) = self.pulled.front_mut()
        {
            let part = count.min(line.len());
            line.advance(part);
            count -= part;
            if line.is_empty() {
                self.pulled.pop_front();
            }
        }
        self.queued -= count;
        while count > 0
            && let Some(Item::Line(line)) = self.items.front_mut()
        {
            let part = count.min(line.len());
            line.advance(part);
            count -= part;
            if line.is_empty() {
                self.items.pop_front();
            }
        }
        self.forget_if_drained();
    }

    fn forget_if_drained(&mut self) {
        if self.is_empty() {
            *self = Self { written: self.written, ..Self::default() };
        }
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("queued", &self.queued)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    /// Writes `step` bytes at a time until nothing is left.
    fn drain(outbox: &mut Outbox, step: usize) -> String {
        let mut out = Vec::new();
        loop {
            let ready: Vec<u8> = outbox.pieces().flatten().copied().take(step).collect();
            if ready.is_empty() {
                break;
            }
            outbox.advance(ready.len());
            out.extend(ready);
        }
        assert!(outbox.is_empty());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn keeps_order_whatever_the_socket_takes_at_a_time() {
        for step in 1..20 {
            let mut outbox = Outbox::default();
            outbox.push(line("one ")).unwrap();
            outbox.push_source(["two ", "three "].into_iter().map(line)).unwrap();
            outbox.push_source(std::iter::empty()).unwrap();
            assert_eq!(outbox.push(line("four ")), Ok(9));
            outbox.push_source(["five"].into_iter().map(line)).unwrap();
            assert_eq!(drain(&mut outbox, step), "one two three four five", "{step} at a time");
            assert_eq!(outbox.written(), 23);
            assert_eq!(outbox.push(line("six")), Ok(26));
        }
    }

    #[test]
    fn overflows_by_bytes_and_counts_no_source() {
        let mut outbox = Outbox::default();
        outbox.push(Bytes::from(vec![b'x'; Outbox::BUDGET])).unwrap();
        assert_eq!(outbox.push(line("y")), Err(Overflow));
        outbox.push_source(std::iter::repeat_n(line("z"), 2 * Outbox::BUDGET)).unwrap();
        assert_eq!(drain(&mut outbox, 4096).len(), 3 * Outbox::BUDGET);
    }

    #[test]
    fn sources_are_counted_while_they_wait() {
        let mut outbox = Outbox::default();
        for _ in 0..2 {
            (0..Outbox::SOURCES).for_each(|_| outbox.push_source([line("a")].into_iter()).unwrap());
            assert_eq!(outbox.push_source([line("b")].into_iter()), Err(Overflow));
            assert_eq!(drain(&mut outbox, 3), "a".repeat(Outbox::SOURCES));
        }
    }
}
