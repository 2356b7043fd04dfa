//! Asking contacts how they look: a few at a time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use common::model::Passport;

/// Contacts still to be asked. All at once would answer at once, and hundreds of answers fit neither into the session's
/// mailbox nor into what may wait for its client.
#[derive(Default)]
pub(crate) struct Asking {
    waiting: VecDeque<Passport>,
    next: Option<Instant>,
}

impl Asking {
    /// So many are asked at a time: their answers fit into a mailbox, however long each is.
    pub(crate) const AT_ONCE: usize = 32;
    /// And so much later the next ones: by then most answers are through.
    pub(crate) const PAUSE: Duration = Duration::from_millis(20);

    /// Puts contacts behind those that wait. They are asked from `now` on.
    pub(super) fn enter(&mut self, contacts: impl Iterator<Item = Passport>, now: Instant) {
        self.waiting.extend(contacts);
        if !self.waiting.is_empty() {
            self.next.get_or_insert(now);
        }
    }

    /// When some are to be asked next, if any wait.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Who is to be asked now. A client that has not yet read what it has (`backlogged`) is not sent more: its contacts
    /// wait until it has.
    pub(super) fn due(&mut self, now: Instant, backlogged: bool) -> Vec<Passport> {
        if self.next.is_none_or(|next| now < next) {
            return Vec::new();
        }
        let count = if backlogged { 0 } else { Self::AT_ONCE.min(self.waiting.len()) };
        let due = self.waiting.drain(..count).collect();
        if self.waiting.is_empty() {
            *self = Self::default();
        } else {
            self.next = Some(now + Self::PAUSE);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_asked_a_few_at_a_time() {
        let contacts = || (0..100).map(|n| Passport::parse(&format!("{n}@example.com")).unwrap());
        let (mut asking, mut now) = (Asking::default(), Instant::now());
        assert!(asking.due(now, false).is_empty() && asking.deadline().is_none());
        asking.enter(contacts(), now);
        let mut asked = Vec::new();
        for count in [32, 0, 32, 32, 4, 0] {
            assert!(asking.due(now - Duration::from_millis(1), false).is_empty(), "not yet");
            let due = asking.due(now, count == 0);
            assert_eq!(due.len(), count);
            asked.extend(due);
            now += Asking::PAUSE;
        }
        assert_eq!(asked, contacts().collect::<Vec<_>>());
        assert_eq!(asking.deadline(), None);
    }
}
