//! Bringing principals what was kept for them (offline messages): what history holds above the cursors of participations
//! that are over, and what is in the inbox.
//!
//! A notification session asks, once its client may be rung. One sender after the other, the switchboard opens a
//! conversation in the sender's name, rings the client, hands the messages over and leaves. A cursor moves when the same rule
//! as for live messages says that they are delivered, which may be long after that: a message may come twice, never not at
//! all.
//!
//! | file | what |
//! |---|---|
//! | `desk` | where it is asked for |
//! | `plan`, `row`, `shelf` | reading a bounded part of what was kept |
//! | `lives` | which switchboards are dead |
//! | `ledger` | what has become of each message, and which cursors follow from that |
//! | `room` | the conversation with one sender's messages |
//! | `timeline` | the lines that say when they were said |

mod desk;
mod ledger;
mod lives;
mod plan;
mod room;
mod row;
mod shelf;
#[cfg(test)]
mod tests;
mod timeline;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::cluster::Node;
use common::model::{Epoch, ParticipationId, Passport};
use common::store::StoreError;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;
use uuid::Uuid;

use crate::board::Board;
use crate::handing::Progress;
use crate::telling::{self, PickedUp, Word};
use ledger::{Ledger, Write};
use plan::Plan;
use room::Met;
use shelf::Shelf;

pub(crate) use desk::Desk;
pub(crate) use lives::{Life, Lives};

/// Principals who are served at once. Each holds a plan of at most 320 KiB ([`Budget::BYTES`](shelf::Budget::BYTES) and one
/// message), all of them 160 MiB. What is handed over lies in the mailboxes and queues that any client has.
const AT_ONCE: usize = 512;
/// Pages of the store that are looked through at once: a little over 4 MiB each at most, 33 MiB together.
const PAGES: usize = 8;
/// After so many rings in vain the rest waits until it is asked for anew: a client that is mute must not keep its place for
/// as long as it has senders.
const MOST_SILENT: usize = 3;
/// Plans for one principal in a row; then it is the others' turn.
const MOST_PLANS: usize = 100;
/// Attempts at writing a cursor, and the pause before the second one. What can't be written is delivered once more.
const ATTEMPTS: u32 = 6;
const PAUSE: Duration = Duration::from_secs(1);

/// All principals who are being served.
#[derive(Debug)]
pub(crate) struct Pickups {
    served: Mutex<HashMap<Passport, Arc<Pickup>>>,
    places: Arc<Semaphore>,
    pages: Semaphore,
    lives: Lives,
    patience: Duration,
}

/// One principal who is being served.
#[derive(Debug)]
struct Pickup {
    who: Passport,
    state: Mutex<State>,
    /// The session that asks has changed, or it has asked again.
    changed: Notify,
    /// Held while cursors are written, and while a plan is read: a plan never finds what is just being delivered.
    gate: tokio::sync::Mutex<()>,
}

/// What a session asks.
struct Request {
    /// Which.
    epoch: Epoch,
    /// In whose names it was rung in vain.
    unanswered: Vec<Passport>,
    /// It only wonders whether it is still served.
    reminder: bool,
}

#[derive(Debug)]
struct State {
    ledger: Ledger,
    /// The session that is served.
    epoch: Epoch,
    /// Senders in whose name this session was rung in vain: they wait for the next one.
    unanswered: BTreeSet<Passport>,
    running: bool,
    /// It has asked again meanwhile.
    again: bool,
    /// Conversations of which it is not yet known what was delivered.
    open: usize,
}

impl Pickups {
    /// `patience`: how long a client may take to answer a ring.
    pub(crate) fn new(patience: Duration) -> Self {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let pages = Semaphore::new(PAGES);
        Self { served: Mutex::default(), places, pages, lives: Lives::default(), patience }
    }

    /// Which switchboards are dead.
    pub(crate) fn lives(&self) -> &Lives {
        &self.lives
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    /// Switchboards that gossip knows at this moment. To be told about once a second.
    pub(crate) fn see<'a>(&self, switchboards: impl Iterator<Item = &'a Node>) {
        switchboards.for_each(|node| self.lives.see(&node.id, node.generation));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Passport, Arc<Pickup>>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to serve a session, or has whoever serves it already look once more. False if too many are served.
    fn begin(&self, board: &Arc<Board>, who: &Passport, asked: Request) -> bool {
        let Request { epoch, unanswered, reminder } = asked;
        let mut served = self.lock();
        let pickup = served.entry(who.clone()).or_insert_with(|| Pickup::new(who, epoch));
        let pickup = Arc::clone(pickup);
        let mut state = pickup.lock();
        if state.running && epoch < state.epoch {
            // Of a session that has ended since.
            return true;
        }
        if state.running {
            state.is_for(epoch, unanswered);
            state.takes_back(board.tellings.withdraw(who));
            state.again |= !reminder;
            pickup.changed.notify_waiters();
            return true;
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            drop(state);
            Self::forget(&mut served, &pickup);
            return false;
        };
        state.is_for(epoch, unanswered);
        state.takes_back(board.tellings.withdraw(who));
        state.running = true;
        drop(state);
        board.shutdown.spawn(run(Arc::clone(board), pickup, place));
        true
    }

    /// Whether a principal is served, or was handed something of which it is not yet known whether it is delivered.
    fn holds(&self, who: &Passport) -> bool {
        self.lock().contains_key(who)
    }

    /// Forgets a principal of whom nothing is under way.
    fn forget(served: &mut HashMap<Passport, Arc<Pickup>>, pickup: &Pickup) {
        let state = pickup.lock();
        if !state.running && state.open == 0 {
            served.remove(&pickup.who);
        }
    }
}

/// Serves a principal to the end, and says so.
async fn run(board: Arc<Board>, pickup: Arc<Pickup>, place: OwnedSemaphorePermit) {
    loop {
        let epoch = pickup.take_up();
        let complete = pickup.serve(&board, epoch).await.unwrap_or_else(|error| {
            tracing::warn!(who = %pickup.who, %error, "kept messages wait for the store");
            false
        });
        let mut served = board.pickups.lock();
        let mut state = pickup.lock();
        let goes_on = state.again && !board.shutdown.has_begun();
        state.running = goes_on;
        let unanswered = state.unanswered.iter().cloned().collect();
        drop(state);
        if !goes_on {
            Pickups::forget(&mut served, &pickup);
            let how = PickedUp { epoch, complete, unanswered };
            // Before anybody asks again: what is said of an earlier time is withdrawn then.
            telling::tell(&board, &pickup.who, Word::PickedUp(how));
            break;
        }
    }
    drop(place);
}

impl State {
    /// That session is served from now on.
    fn is_for(&mut self, epoch: Epoch, unanswered: Vec<Passport>) {
        if self.epoch != epoch {
            self.unanswered.clear();
        }
        self.epoch = epoch;
        self.unanswered.extend(unanswered);
    }

    /// The session has not heard how it ended before, but asks again: whom it has not answered is not to be rung once more.
    fn takes_back(&mut self, unheard: Option<PickedUp>) {
        let of_this = unheard.filter(|unheard| unheard.epoch == self.epoch);
        self.unanswered.extend(of_this.into_iter().flat_map(|unheard| unheard.unanswered));
    }
}

impl Pickup {
    fn new(who: &Passport, epoch: Epoch) -> Arc<Self> {
        let (ledger, unanswered) = (Ledger::default(), BTreeSet::new());
        let state = State { ledger, epoch, unanswered, running: false, again: false, open: 0 };
        Arc::new(Self {
            who: who.clone(),
            state: Mutex::new(state),
            changed: Notify::new(),
            gate: tokio::sync::Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_up(&self) -> Epoch {
        let mut state = self.lock();
        state.again = false;
        state.epoch
    }

    /// Waits until another session than that one is served. Safe to cancel.
    async fn is_not_for(&self, epoch: Epoch) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Registered before the look, so that a change in between is not missed.
            changed.as_mut().enable();
            if self.lock().epoch != epoch {
                return;
            }
            changed.await;
        }
    }

    /// Brings what was kept until nothing is left. False if there is reason to ask again.
    async fn serve(self: &Arc<Self>, board: &Arc<Board>, epoch: Epoch) -> Result<bool, StoreError> {
        let (mut in_vain, mut is_passed, mut is_cut_off) = (0, false, false);
        let (mut after, mut earlier) = (None, None::<Duration>);
        for _ in 0..MOST_PLANS {
            let mut plan = self.read(board, after.take()).await?;
            is_cut_off |= plan.is_cut_off;
            let mut moved = self.settle(board).await;
            for (sender, letters) in plan.by_sender() {
                if self.lock().unanswered.contains(&sender) {
                    is_passed = true;
                    continue;
                }
                tracing::debug!(who = %self.who, count = letters.len(), "brings kept messages");
                let met = room::bring(board, self, epoch, &sender, letters).await;
                if self.lock().epoch != epoch || board.shutdown.has_begun() {
                    return Ok(false);
                }
                match met {
                    Met::Came => moved = true,
                    Met::NoAnswer => {
                        (in_vain, is_passed) = (in_vain + 1, true);
                        self.lock().unanswered.insert(sender);
                        if in_vain == MOST_SILENT {
                            return Ok(!is_cut_off);
                        }
                    }
                    Met::Failed => return Ok(false),
                }
            }
            let wait = earlier.take().into_iter().chain(plan.wait).min();
            match wait {
                // What was delivered makes room for more.
                _ if moved => {}
                // What fills the beginning can't be brought now: the rest shall not wait for it.
                _ if plan.cut.is_some() => (after, earlier) = (plan.cut, wait),
                Some(time) => tokio::select! {
                    () = sleep(time) => {}
                    () = self.is_not_for(epoch) => return Ok(false),
                    () = board.shutdown.begun() => return Ok(false),
                },
                None => return Ok(!is_cut_off && (!plan.more || is_passed)),
            }
        }
        Ok(false)
    }

    async fn read(&self, board: &Board, after: Option<ParticipationId>) -> Result<Plan, StoreError> {
        let _gate = self.gate.lock().await;
        let left = |row: &common::store::Participation| {
            let life = board.peers.life(&row.switchboard, row.generation);
            board.pickups.lives.judge(life, &row.switchboard, row.generation)
        };
        let (is_known, part) = (|id| self.lock().ledger.has(id), after.is_some());
        let shelf = Shelf { store: &*board.store, places: &board.pickups.pages };
        let mut plan = plan::read(&shelf, &self.who, after, left, is_known).await?;
        let mut state = self.lock();
        state.ledger.take(std::mem::take(&mut plan.lines), part);
        state.ledger.done(&plan.passed_over);
        Ok(plan)
    }

    /// Notes that letters are on their way, and follows what becomes of them. `ids`: of what is handed over, the letters.
    fn follow(self: &Arc<Self>, board: &Arc<Board>, ids: Vec<Option<Uuid>>, progress: watch::Receiver<Progress>) {
        let letters: Vec<Uuid> = ids.iter().flatten().copied().collect();
        let mut state = self.lock();
        state.ledger.hand(&letters);
        state.open += 1;
        let epoch = state.epoch;
        drop(state);
        board.shutdown.spawn(follow(Arc::clone(board), Arc::clone(self), epoch, ids, progress));
    }

    /// Writes what the ledger has to write. Returns whether there was something.
    async fn settle(&self, board: &Board) -> bool {
        let _gate = self.gate.lock().await;
        let writes = self.lock().ledger.writes();
        for write in &writes {
            let mut pause = PAUSE;
            for attempt in 1..=ATTEMPTS {
                let Err(error) = self.write(board, *write).await else { break };
                if attempt == ATTEMPTS || board.shutdown.has_begun() {
                    tracing::warn!(who = %self.who, %error, "what was delivered comes once more");
                    // So would the others, for as long.
                    return true;
                }
                tokio::select! {
                    () = sleep(pause) => {}
                    () = board.shutdown.begun() => {}
                }
                pause *= 2;
            }
        }
        !writes.is_empty()
    }

    async fn write(&self, board: &Board, write: Write) -> Result<(), StoreError> {
        let store = &board.store;
        match write {
            Write::Cursor(participation, message) => {
                store.set_offline_cursor(&self.who, participation, message).await
            }
            Write::Remove(participation) => store.remove_participation(&self.who, participation).await,
            Write::Watermark(id) => store.set_inbox_watermark(&self.who, id).await,
        }
    }
}

/// Follows how far a recipient gets, to the end of its connection.
async fn follow(
    board: Arc<Board>,
    pickup: Arc<Pickup>,
    epoch: Epoch,
    ids: Vec<Option<Uuid>>,
    mut progress: watch::Receiver<Progress>,
) {
    let mut rest = &ids[..];
    loop {
        let delivered = usize::try_from(progress.borrow_and_update().delivered).unwrap_or(usize::MAX);
        let new = delivered.saturating_sub(ids.len() - rest.len()).min(rest.len());
        if new > 0 {
            let (done, left) = rest.split_at(new);
            rest = left;
            let done: Vec<Uuid> = done.iter().flatten().copied().collect();
            board.metrics.kept_delivered.inc_by(done.len() as u64);
            pickup.lock().ledger.done(&done);
            pickup.settle(&board).await;
            if !done.is_empty() {
                board.peers.delivered(&pickup.who, epoch, done.into());
            }
        }
        // An error: the end, and the last was seen.
        if progress.changed().await.is_err() {
            break;
        }
    }
    let rest: Vec<Uuid> = rest.iter().flatten().copied().collect();
    let mut served = board.pickups.lock();
    let mut state = pickup.lock();
    state.ledger.back(&rest);
    state.open -= 1;
    // Whoever is served has looked already, or was told that nothing more waits.
    let how = if rest.is_empty() {
        None
    } else if state.running {
        state.again = true;
        None
    } else {
        let unanswered = state.unanswered.iter().cloned().collect();
        Some(PickedUp { epoch: state.epoch, complete: false, unanswered })
    };
    drop(state);
    Pickups::forget(&mut served, &pickup);
    if let Some(how) = how {
        telling::tell(&board, &pickup.who, Word::PickedUp(how));
    }
}
