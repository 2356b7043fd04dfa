//! Telling sessions what they must hear: that something is outstanding for them, or that they have been brought what was kept.
//!
//! Word gets lost: a node stands still, a link breaks, a queue is full. A session does not look into the store by itself once it
//! has, so that it is told again and again until it has heard, or is signed in nowhere: whoever signs in looks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::clock;
use common::model::{Epoch, ParticipationId, Passport};

use crate::board::Board;

/// How long a session has to hear at each attempt.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts, at first and at last.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// What a session must hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    /// One of its principal's participations was closed with something outstanding.
    Outstanding(ParticipationId),
    /// It has been brought what was kept.
    PickedUp(PickedUp),
}

/// How bringing what was kept has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PickedUp {
    /// The session that is meant.
    pub(crate) epoch: Epoch,
    /// There is no reason to ask again.
    pub(crate) complete: bool,
    /// In whose names it was rung in vain.
    pub(crate) unanswered: Vec<Passport>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Outstanding,
    PickedUp,
}

/// What sessions have not heard yet. One task tells one principal one kind of word.
#[derive(Debug, Default)]
pub(crate) struct Tellings(Mutex<HashMap<(Passport, Kind), Owed>>);

#[derive(Debug)]
struct Owed {
    /// Rises with each word: what was told is settled if no other one has come meanwhile.
    count: u64,
    /// Nothing: it has been withdrawn, and its task is about to see that.
    word: Option<Word>,
}

/// Who is to see to it that a word is heard.
#[derive(Debug, PartialEq, Eq)]
enum Teller {
    /// A task that there is.
    Old,
    /// A new one.
    New,
    /// One that tries once: too many are not heard.
    Once,
}

impl Word {
    fn kind(&self) -> Kind {
        match self {
            Self::Outstanding(_) => Kind::Outstanding,
            Self::PickedUp(_) => Kind::PickedUp,
        }
    }

    /// What there is to say instead of an earlier word that was not heard. That something is left is never unsaid.
    fn after(self, earlier: Option<Self>) -> Self {
        match (self, earlier) {
            (Self::PickedUp(now), Some(Self::PickedUp(before))) if now.epoch == before.epoch => {
                Self::PickedUp(PickedUp { complete: now.complete && before.complete, ..now })
            }
            (now, _) => now,
        }
    }
}

impl Tellings {
    /// Principals who are told again and again. Each takes a task and at most some 10 KiB.
    const MOST: usize = 16_384;

    fn lock(&self) -> MutexGuard<'_, HashMap<(Passport, Kind), Owed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, who: &Passport, word: Word) -> Teller {
        let mut owed = self.lock();
        let is_full = owed.len() >= Self::MOST;
        match owed.entry((who.clone(), word.kind())) {
            Entry::Occupied(entry) => {
                let owed = entry.into_mut();
                owed.count += 1;
                owed.word = Some(word.after(owed.word.take()));
                Teller::Old
            }
            Entry::Vacant(_) if is_full => Teller::Once,
            Entry::Vacant(entry) => {
                entry.insert(Owed { count: 0, word: Some(word) });
                Teller::New
            }
        }
    }

    /// What is to be told now. Nothing, and it is forgotten, if it has been withdrawn.
    fn next(&self, key: &(Passport, Kind)) -> Option<(u64, Word)> {
        let mut all = self.lock();
        let owed = all.get(key)?;
        let next = owed.word.clone().map(|word| (owed.count, word));
        if next.is_none() {
            all.remove(key);
        }
        next
    }

    /// The word of that count was heard. Whether there is no other one.
    fn heard(&self, key: &(Passport, Kind), count: u64) -> bool {
        let mut all = self.lock();
        let is_last = all.get(key).is_none_or(|owed| owed.count == count);
        if is_last {
            all.remove(key);
        }
        is_last
    }

    /// A session that has not heard yet that it has been brought what was kept need not hear it any more: it has asked again.
    pub(crate) fn withdraw(&self, who: &Passport) -> Option<PickedUp> {
        let mut all = self.lock();
        let owed = all.get_mut(&(who.clone(), Kind::PickedUp))?;
        owed.count += 1;
        match owed.word.take()? {
            Word::PickedUp(picked_up) => Some(picked_up),
            Word::Outstanding(_) => None,
        }
    }
}

/// Tells a principal's session, as often as it takes. Does not wait.
pub(crate) fn tell(board: &Arc<Board>, who: &Passport, word: Word) {
    let key = (who.clone(), word.kind());
    match board.tellings.note(who, word.clone()) {
        Teller::Old => {}
        Teller::New => drop(board.shutdown.spawn(until_heard(Arc::clone(board), key))),
        Teller::Once => {
            tracing::warn!(%who, "too many sessions do not hear what they are told: this one is told once");
            let (teller, who) = (Arc::clone(board), who.clone());
            board.shutdown.spawn(async move { say(&teller, &who, word).await });
        }
    }
}

async fn until_heard(board: Arc<Board>, key: (Passport, Kind)) {
    let mut pause = PAUSES.0;
    while let Some((count, word)) = board.tellings.next(&key) {
        if say(&board, &key.0, word).await {
            if board.tellings.heard(&key, count) {
                return;
            }
            pause = PAUSES.0;
            continue;
        }
        if board.shutdown.has_begun() {
            // Of a dead switchboard all sessions are told.
            return;
        }
        tracing::debug!(who = %key.0, "does not hear what it is told: it is told again");
        tokio::select! {
            // Many have to be told at the same time.
            () = tokio::time::sleep(clock::spread(pause)) => {}
            () = board.shutdown.begun() => {}
        }
        pause = (2 * pause).min(PAUSES.1);
    }
}

async fn say(board: &Board, who: &Passport, word: Word) -> bool {
    match word {
        Word::Outstanding(participation) => board.peers.outstanding(who, participation, PATIENCE).await,
        Word::PickedUp(picked_up) => board.peers.picked_up(who, picked_up, PATIENCE).await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use uuid::Uuid;

    use super::*;
    use crate::testing::{World, passport};

    fn outstanding(number: u128) -> Word {
        Word::Outstanding(ParticipationId(Uuid::from_u128(number)))
    }

    fn picked_up(epoch: u64, complete: bool) -> PickedUp {
        PickedUp { epoch: Epoch(epoch), complete, unanswered: vec![passport("carol")] }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_heard_is_said_again_and_then_no_more() {
        let (world, bob) = (World::new(), passport("bob"));
        world.peers.lost.store(40, Ordering::Relaxed);
        let begun = tokio::time::Instant::now();
        tell(&world.board, &bob, outstanding(1));
        tell(&world.board, &bob, Word::PickedUp(picked_up(7, true)));
        world.peers.has_told(&bob).await;
        let told = world.peers.have_picked_up(1).await;
        assert_eq!(told, [(bob.clone(), Epoch(7), true)]);
        assert!(begun.elapsed() < 20 * PAUSES.1);
        tokio::time::sleep(10 * PAUSES.1).await;
        assert_eq!((world.peers.told.lock().unwrap().len(), world.peers.picked_up.lock().unwrap().len()), (1, 1));
        assert!(world.board.tellings.lock().is_empty());
    }

    /// Nobody hears at first, so that one task is left with what was said last.
    #[tokio::test(start_paused = true)]
    async fn only_what_is_left_to_say_is_said() {
        let (world, bob) = (World::new(), passport("bob"));
        world.peers.lost.store(2, Ordering::Relaxed);
        for (epoch, complete) in [(7, false), (7, true)] {
            tell(&world.board, &bob, Word::PickedUp(picked_up(epoch, complete)));
        }
        assert_eq!(world.peers.have_picked_up(1).await, [(bob.clone(), Epoch(7), false)], "something was left");
        world.peers.lost.store(2, Ordering::Relaxed);
        for epoch in [7, 8] {
            tell(&world.board, &bob, Word::PickedUp(picked_up(epoch, epoch == 8)));
        }
        assert_eq!(world.peers.have_picked_up(2).await[1], (bob.clone(), Epoch(8), true), "of the newer session");
        world.peers.lost.store(usize::MAX, Ordering::Relaxed);
        tell(&world.board, &bob, Word::PickedUp(picked_up(8, true)));
        tokio::time::sleep(PAUSES.0).await;
        assert_eq!(world.board.tellings.withdraw(&bob), Some(picked_up(8, true)));
        assert_eq!(world.board.tellings.withdraw(&bob), None);
        world.peers.lost.store(0, Ordering::Relaxed);
        tokio::time::sleep(3 * PAUSES.1).await;
        assert_eq!(world.peers.picked_up.lock().unwrap().len(), 2);
        assert!(world.board.tellings.lock().is_empty());
    }

    #[test]
    fn who_is_told_is_bounded() {
        let tellings = Tellings::default();
        for number in 0..Tellings::MOST {
            assert_eq!(tellings.note(&passport(&number.to_string()), outstanding(1)), Teller::New);
        }
        assert_eq!(tellings.note(&passport("bob"), outstanding(1)), Teller::Once);
        assert_eq!(tellings.note(&passport("7"), outstanding(2)), Teller::Old);
        assert_eq!(tellings.lock().len(), Tellings::MOST);
    }
}
