//! What contacts keep of the principal's name, written behind: it shows in their lists while the principal is away.
//!
//! A name is changed more often than it is read that way, and some clients change it all day. So the copies follow a
//! while after the change, some at a time. What a crash loses of them is made good by the next change.

use std::time::{Duration, Instant};

use common::net::Transport;
use common::store::Edit;

use super::online::Online;
use super::{Session, edit};
use crate::roster;

/// Changes within so long are written together.
const PAUSE: Duration = Duration::from_secs(3);
/// If the store fails, all is tried again after so long.
const RETRY: Duration = Duration::from_secs(30);
/// So many are written at a time: the client's next command waits for no more.
const BATCH: usize = 200;

/// Copies that are to be written.
#[derive(Default)]
pub(crate) struct Copies {
    /// When something is to be written next.
    due: Option<Instant>,
    /// What was changed, until it is known whom it concerns.
    change: Option<Change>,
    /// What is being written.
    queue: Vec<Edit>,
}

/// What contacts are to be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    /// The name.
    Name,
    /// The name and all properties, since some contacts were not given them while they could not see the principal.
    Everything,
}

impl Session {
    /// Has something to be copied to all who may see the principal.
    pub(super) fn copy(&mut self, change: Change) {
        self.copies.change = self.copies.change.max(Some(change));
        self.copies.due.get_or_insert(self.heard() + PAUSE);
    }

    /// When [`write()`] has something to do, if ever.
    pub(super) fn copies_deadline(&self) -> Option<Instant> {
        self.copies.due
    }

    /// What is still to be written, when the session ends.
    pub(super) fn last_copies(&mut self) -> Vec<Vec<Edit>> {
        self.queue_copies();
        std::mem::take(&mut self.copies.queue).chunks(BATCH).map(<[Edit]>::to_vec).collect()
    }

    fn queue_copies(&mut self) {
        let Some(change) = self.copies.change.take() else { return };
        let watchers = self.roster.watchers(&self.passport);
        self.copies.queue = watchers
            .flat_map(|watcher| {
                let properties = change == Change::Everything;
                roster::copies_at(&self.roster.settings, watcher, properties).collect::<Vec<_>>()
            })
            .collect();
    }
}

/// Writes the next copies.
pub(super) async fn write<T: Transport>(online: &mut Online<'_, T>) {
    online.session.queue_copies();
    let copies = &mut online.session.copies;
    let batch: Vec<Edit> = copies.queue.drain(..BATCH.min(copies.queue.len())).collect();
    copies.due = (!copies.queue.is_empty()).then(now);
    if batch.is_empty() {
        return;
    }
    if let Err(error) = edit::write(online, batch).await {
        tracing::warn!(%error, "can't write a name to its owner's contacts; trying again later");
        let copies = &mut online.session.copies;
        copies.queue = Vec::new();
        copies.change = Some(Change::Everything);
        copies.due = Some(now() + RETRY);
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
