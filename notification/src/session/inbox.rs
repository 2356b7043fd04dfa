//! A session's mailbox, which is emptied also while the session waits for the store.

use std::collections::VecDeque;
use std::pin::pin;

use common::cluster::Notice;
use common::net::Mailbox;

use crate::hub::{Item, Missed};

/// The mailbox, and ahead of it what came while the session could not take it.
pub(crate) struct Inbox {
    mailbox: Mailbox<Item>,
    put_off: VecDeque<Item>,
}

impl Inbox {
    /// So much is put off at most. What comes then stays in the mailbox, and its bound decides.
    const MOST_PUT_OFF: usize = 1024;

    pub(crate) fn new(mailbox: Mailbox<Item>) -> Self {
        Self { mailbox, put_off: VecDeque::new() }
    }

    /// The next item; nothing once the mailbox has overflowed and all is out. Safe to cancel.
    pub(super) async fn recv(&mut self) -> Option<Item> {
        match self.take_put_off() {
            Some(item) => Some(item),
            None => self.mailbox.recv().await,
        }
    }

    /// The next item that is there already.
    pub(super) fn now(&mut self) -> Option<Item> {
        self.take_put_off().or_else(|| self.mailbox.now())
    }

    fn take_put_off(&mut self) -> Option<Item> {
        let item = self.put_off.pop_front();
        if self.put_off.is_empty() {
            self.put_off = VecDeque::new();
        }
        item
    }

    /// The next item to arrive, for a session that waits for something else: what it can't take then it puts off.
    /// None arrives once the mailbox has overflowed, or too much is put off. Safe to cancel.
    pub(super) async fn arriving(&mut self) -> Item {
        if self.put_off.len() < Self::MOST_PUT_OFF
            && let Some(item) = self.mailbox.recv().await
        {
            return item;
        }
        std::future::pending().await
    }

    /// Keeps an item for later. It comes behind those put off before, and ahead of what is in the mailbox.
    pub(super) fn put_off(&mut self, item: Item) {
        self.put_off.push_back(item);
    }

    /// Does `work` for a session that has asked nobody yet how they look. What others say of that meanwhile is let go:
    /// they say it again when they are asked.
    pub(super) async fn before_asking<F: Future>(&mut self, work: F) -> F::Output {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                output = &mut work => return output,
                item = self.arriving() => match item {
                    Item::Notice(Notice::Presence { .. } | Notice::Probe { .. }) => {}
                    Item::Missed(missed) => {
                        let missed = Missed { looks: false, probes: false, ..missed };
                        if missed != Missed::default() {
                            self.put_off(Item::Missed(missed));
                        }
                    }
                    item => self.put_off(item),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::model::Passport;
    use common::net::mailbox;

    use super::*;

    fn removed(number: usize) -> Item {
        Item::Notice(Notice::Removed { by: Passport::parse(&format!("{number}@example.com")).unwrap() })
    }

    fn number(item: &Item) -> usize {
        let Item::Notice(Notice::Removed { by }) = item else { panic!("{item:?}") };
        by.as_str().split('@').next().unwrap().parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_put_off_keeps_its_order_and_its_bound() {
        let (sender, mailbox) = mailbox(usize::MAX);
        let mut inbox = Inbox::new(mailbox);
        let all = 2 * Inbox::MOST_PUT_OFF;
        (0..all).for_each(|n| sender.send(removed(n), 1).unwrap());
        inbox.before_asking(tokio::time::sleep(Duration::from_secs(1))).await;
        assert_eq!(inbox.put_off.len(), Inbox::MOST_PUT_OFF, "the rest stays in the mailbox");
        for expected in 0..all {
            let item = if expected % 2 == 0 { inbox.now() } else { inbox.recv().await };
            assert_eq!(number(&item.unwrap()), expected);
        }
        assert!(inbox.now().is_none());
    }
}
