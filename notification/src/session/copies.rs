//! What contacts keep of the principal's name, written behind: it shows in their lists while the principal is away.
//!
//! A name is changed more often than it is read that way, and some clients change it all day. So the copies follow a
//! while after the change, some at a time. That they are owed is noted with the change, and taken back when the last is written: what
//! a crash, or a store that is away, has left of them is written by the next session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::model::{Passport, Roster};
use common::net::Transport;
use common::store::{Edit, StoreError};

use super::online::Online;
use super::{Session, edit};
use crate::roster;
use crate::services::Services;

/// Changes within so long are written together.
const PAUSE: Duration = Duration::from_secs(3);
/// If the store fails, all is tried again after so long.
const RETRY: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });
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
    /// What that is of.
    writing: Option<Change>,
}

impl Copies {
    /// Those that earlier sessions have left, if any: all, since nobody knows how far they came.
    pub(super) fn owed_by(roster: &Roster, now: Instant) -> Self {
        let change = roster.copies_owed.map(|_| Change::Everything);
        Self { due: change.map(|_| now + PAUSE), change, ..Self::default() }
    }
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

    /// What is still to be written when the session ends, and under which mark it is owed.
    pub(super) fn last_copies(&mut self) -> (Vec<Edit>, Option<u64>) {
        self.queue_copies();
        (std::mem::take(&mut self.copies.queue), self.roster.copies_owed)
    }

    fn queue_copies(&mut self) {
        let Some(change) = self.copies.change.take() else { return };
        // What was not written yet of an earlier change is begun anew with it.
        let change = self.copies.writing.map_or(change, |writing| writing.max(change));
        self.copies.writing = Some(change);
        self.copies.queue = copies_of(&self.roster, &self.passport, change);
    }
}

fn copies_of(roster: &Roster, who: &Passport, change: Change) -> Vec<Edit> {
    let properties = change == Change::Everything;
    let copies = |watcher| roster::copies_at(&roster.settings, watcher, properties).collect::<Vec<_>>();
    roster.watchers(who).flat_map(copies).collect()
}

/// Writes the next copies.
pub(super) async fn write<T: Transport>(online: &mut Online<'_, T>) {
    online.session.queue_copies();
    if let Err(error) = write_some(online).await {
        tracing::warn!(%error, "can't write a name to its owner's contacts; trying again later");
        let copies = &mut online.session.copies;
        (copies.queue, copies.writing) = (Vec::new(), None);
        copies.change = Some(Change::Everything);
        copies.due = Some(now() + RETRY);
    }
}

async fn write_some<T: Transport>(online: &mut Online<'_, T>) -> Result<(), StoreError> {
    let copies = &mut online.session.copies;
    let batch: Vec<Edit> = copies.queue.drain(..BATCH.min(copies.queue.len())).collect();
    copies.due = (!copies.queue.is_empty()).then(now);
    if !batch.is_empty() {
        edit::write(online, batch).await?;
    }
    if !online.session.copies.queue.is_empty() {
        return Ok(());
    }
    online.session.copies.writing = None;
    let Some(mark) = online.session.roster.copies_owed else { return Ok(()) };
    let written = vec![Edit::CopiesWritten(mark)];
    edit::write(online, written.clone()).await?;
    edit::fold(online.session, &written);
    Ok(())
}

/// Writes what a session that is over has left. What the store does not take is tried again, until the process ends, or the
/// principal has signed in anew and its session has done it.
pub(super) async fn write_last(services: Arc<Services>, who: Passport, mut copies: Vec<Edit>, owed: Option<u64>) {
    while let Err(error) = write_all(&services, &who, copies, owed).await {
        tracing::warn!(%error, %who, "can't write a name to its owner's contacts; trying again later");
        let Some(mark) = owed else { return };
        copies = loop {
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = services.shutdown.begun() => return,
            }
            // As it is by then: another session may have changed it.
            match services.store.roster(&who).await {
                Ok(Some(roster)) if roster.copies_owed == Some(mark) => {
                    break copies_of(&roster, &who, Change::Everything);
                }
                Ok(_) => return,
                Err(_) => {}
            }
        };
    }
}

async fn write_all(
    services: &Services,
    who: &Passport,
    copies: Vec<Edit>,
    owed: Option<u64>,
) -> Result<(), StoreError> {
    for batch in copies.chunks(BATCH) {
        services.store.edit(who, batch.to_vec()).await?;
    }
    match owed {
        Some(mark) => services.store.edit(who, vec![Edit::CopiesWritten(mark)]).await,
        None => Ok(()),
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use common::msnp::Dialect;

    use super::super::transcript::alice;
    use super::*;

    fn properties(session: &Session) -> usize {
        session.copies.queue.iter().filter(|edit| matches!(edit, Edit::PropertyAtContact { .. })).count()
    }

    /// Some contacts have no properties yet, and would have none if only the name were written.
    #[test]
    fn a_new_name_takes_nothing_away_from_what_is_being_written() {
        let mut session = alice(&Dialect::MSNP8, now());
        session.copy(Change::Everything);
        session.queue_copies();
        let all = properties(&session);
        assert!(all > 1);
        session.copies.queue.pop();
        session.copy(Change::Name);
        session.queue_copies();
        assert_eq!(properties(&session), all);
    }

    #[test]
    fn what_an_earlier_session_has_left_is_written() {
        let mut roster = (*alice(&Dialect::MSNP8, now()).roster).clone();
        assert_eq!(Copies::owed_by(&roster, now()).due, None);
        roster.copies_owed = Some(7);
        let copies = Copies::owed_by(&roster, now());
        assert!(copies.due.is_some() && copies.change == Some(Change::Everything));
    }
}
