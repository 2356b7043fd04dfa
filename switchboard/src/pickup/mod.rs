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
//! | `plan` | reading a bounded part of what was kept |
//! | `lives` | which switchboards are dead |
//! | `ledger` | what has become of each message, and which cursors follow from that |
//! | `room` | the conversation with one sender's messages |
//! | `timeline` | the lines that say when they were said |

mod ledger;
mod lives;
mod plan;
mod room;
#[cfg(test)]
mod tests;
mod timeline;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use common::cluster::{Audience, Deliver, Instruction, Node, Notice, Outcome, Told};
use common::model::{Endpoint, Epoch, ParticipationId, Passport};
use common::store::StoreError;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;
use uuid::Uuid;

use crate::board::Board;
use crate::handing::Progress;
use ledger::{Ledger, Write};
use lives::Lives;
use plan::Plan;
use room::Met;

pub(crate) use lives::Life;

/// Principals who are served at once. Each holds at most about 600 KiB of messages.
const AT_ONCE: usize = 512;
/// After so many rings that nobody has answered the rest waits for the next sign-in as well: a client that is mute must not
/// keep its place for as long as it has senders.
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

#[derive(Debug)]
struct State {
    ledger: Ledger,
    /// The session that is served.
    epoch: Epoch,
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
        Self { served: Mutex::default(), places, lives: Lives::default(), patience }
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
    fn begin(&self, board: &Arc<Board>, who: &Passport, epoch: Epoch) -> bool {
        let mut served = self.lock();
        let pickup = served.entry(who.clone()).or_insert_with(|| Pickup::new(who, epoch));
        let pickup = Arc::clone(pickup);
        let mut state = pickup.lock();
        if state.running && epoch < state.epoch {
            // Of a session that has ended since.
            return true;
        }
        if state.running {
            (state.epoch, state.again) = (epoch, true);
            pickup.changed.notify_waiters();
            return true;
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            drop(state);
            Self::forget(&mut served, &pickup);
            return false;
        };
        (state.epoch, state.running) = (epoch, true);
        drop(state);
        board.shutdown.spawn(run(Arc::clone(board), pickup, place));
        true
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
        drop(state);
        if !goes_on {
            Pickups::forget(&mut served, &pickup);
            drop(served);
            board.peers.picked_up(&pickup.who, epoch, complete);
            break;
        }
    }
    drop(place);
}

impl Pickup {
    fn new(who: &Passport, epoch: Epoch) -> Arc<Self> {
        let state = State { ledger: Ledger::default(), epoch, running: false, again: false, open: 0 };
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
        let (mut silent, mut after, mut earlier) = (HashSet::new(), None, None::<Duration>);
        for _ in 0..MOST_PLANS {
            let mut plan = self.read(board, after.take()).await?;
            let mut moved = self.settle(board).await;
            for (sender, letters) in plan.by_sender() {
                if silent.contains(&sender) {
                    continue;
                }
                tracing::debug!(who = %self.who, count = letters.len(), "brings kept messages");
                match room::bring(board, self, epoch, &sender, letters).await {
                    Met::Came => moved = true,
                    Met::NoAnswer if silent.len() + 1 >= MOST_SILENT => return Ok(true),
                    Met::NoAnswer => _ = silent.insert(sender),
                    Met::Failed => return Ok(false),
                }
                if self.lock().epoch != epoch || board.shutdown.has_begun() {
                    return Ok(false);
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
                None => return Ok(!plan.more || !silent.is_empty()),
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
        let is_known = |id| self.lock().ledger.has(id);
        let mut plan = plan::read(&*board.store, &self.who, after, left, is_known).await?;
        let mut state = self.lock();
        state.ledger.take(std::mem::take(&mut plan.lines));
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
    let later = (!rest.is_empty() && state.epoch > epoch).then_some(state.epoch);
    drop(state);
    Pickups::forget(&mut served, &pickup);
    drop(served);
    if let Some(later) = later {
        // The recipient has signed in anew meanwhile, and was told that nothing more waits.
        board.peers.picked_up(&pickup.who, later, false);
    }
}

/// Where other nodes ask for what was kept. It is there before the switchboard that it belongs to.
#[derive(Default)]
pub(crate) struct Desk(OnceLock<Weak<Board>>);

impl Desk {
    /// From now on requests are served.
    pub(crate) fn open(&self, board: &Arc<Board>) {
        // Opened once.
        let _ = self.0.set(Arc::downgrade(board));
    }
}

#[async_trait]
impl Deliver for Desk {
    async fn deliver(&self, to: &Passport, _: Option<Epoch>, notice: Notice) -> Outcome {
        let Notice::PickUp { epoch } = notice else { return Outcome::NotHere };
        let Some(board) = self.0.get().and_then(Weak::upgrade) else { return Outcome::Unknown };
        let takes = !board.shutdown.has_begun() && board.pickups.begin(&board, to, epoch);
        if takes { Outcome::Accepted } else { Outcome::Refused }
    }

    fn displaced(&self, _: &Passport, _: Endpoint, _: Epoch) {}

    fn sessions(&self) -> Vec<(Passport, Endpoint, Epoch)> {
        Vec::new()
    }

    fn reannounce(&self, _: &Passport, _: Epoch) {}

    async fn carry_out(&self, _: &Audience, _: &Instruction) -> Told {
        Told::default()
    }
}
