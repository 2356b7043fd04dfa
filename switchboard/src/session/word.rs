//! Asking the notification session of the same client: when it was heard there, and whether what was kept for it has been brought.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use common::model::Passport;
use common::net::Transport;
use tokio::time::{Instant, sleep, timeout};

use super::Session;
use crate::board::{Answer, Board};

/// How often it is asked when the client was heard, while it is not known to have read all that it has confirmed.
const EVERY: Duration = Duration::from_secs(30);
/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// So long others' messages wait at most for what was kept.
const KEPT_FIRST: Duration = Duration::from_secs(2);
/// Between two questions whether it has been brought.
const AGAIN: Duration = Duration::from_millis(100);

/// What is asked about one client: mostly nothing.
#[derive(Default)]
pub(super) struct Word(Option<Box<State>>);

#[derive(Default)]
struct State {
    /// When to ask.
    due: Option<Instant>,
    /// What was asked, and when.
    asked: Option<(Instant, Answer<Option<Duration>>)>,
    /// Until then nothing is taken out of the mailbox.
    kept_first: Option<Answer<()>>,
}

impl Word {
    /// Nothing is taken out of the mailbox before what was kept has been brought.
    pub(super) fn after_kept(board: &Arc<Board>, who: &Passport, session: u32) -> Self {
        let (board, who) = (Arc::clone(board), who.clone());
        let brought = async move {
            while board.peers.is_brought(&who, session, KEPT_FIRST).await == Some(false) {
                sleep(AGAIN).await;
            }
        };
        let kept_first: Answer<()> = Box::pin(async move {
            // Late is better than never.
            let _ = timeout(KEPT_FIRST, brought).await;
        });
        Self(Some(Box::new(State { kept_first: Some(kept_first), ..State::default() })))
    }

    /// Whether the mailbox has to wait.
    pub(super) fn is_awaited(&self) -> bool {
        self.0.as_ref().is_some_and(|state| state.kept_first.is_some())
    }

    /// When to ask next, if ever.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.as_ref().and_then(|state| state.due.filter(|_| state.asked.is_none()))
    }

    /// Plans to ask, or forgets to.
    fn plan(&mut self, due: Option<Instant>) {
        match (&mut self.0, due) {
            (Some(state), due) => state.due = due,
            (None, Some(_)) => self.0 = Some(Box::new(State { due, ..State::default() })),
            (None, None) => {}
        }
        self.0.take_if(|state| state.due.is_none() && state.asked.is_none() && state.kept_first.is_none());
    }

    /// Waits for whatever comes first: when the client was heard, or nothing as the end of the waiting for what was kept. For ever
    /// if neither is awaited. Safe to cancel. No `async fn`: a session has room for it all its life.
    pub(super) fn comes(&mut self) -> impl Future<Output = Option<Instant>> {
        poll_fn(|cx| {
            let Some(state) = &mut self.0 else { return Poll::Pending };
            if let Some(brought) = &mut state.kept_first
                && brought.as_mut().poll(cx).is_ready()
            {
                state.kept_first = None;
                return Poll::Ready(None);
            }
            let Some((at, answer)) = &mut state.asked else { return Poll::Pending };
            // By then at the latest: of the way of the answer it is not known how long it was.
            let heard = ready!(answer.as_mut().poll(cx)).and_then(|ago| at.checked_sub(ago));
            state.asked = None;
            Poll::Ready(heard)
        })
    }
}

impl<T: Transport> Session<T> {
    fn is_unsure(&self) -> bool {
        self.cursor.is_unsure() || self.handing.is_unsure()
    }

    /// Asks when it is time to.
    pub(super) fn ask_for_word(&mut self) {
        let now = Instant::now();
        self.cursor.step(now);
        self.handing.step(now);
        let due = self.word.due();
        if !self.is_unsure() {
            self.word.plan(None);
        } else if due.is_none_or(|due| due <= now) {
            self.word.plan(Some(now + EVERY));
            if due.is_some() {
                let answer = self.last_heard();
                if let Some(state) = &mut self.word.0 {
                    state.asked = Some((now, answer));
                }
            }
        }
    }

    fn last_heard(&self) -> Answer<Option<Duration>> {
        let who = &self.seat.participation.passport;
        self.board.peers.last_heard(who, self.seat.session, PATIENCE)
    }

    /// The client was heard, or what was kept for it has been brought.
    pub(super) fn word_came(&mut self, heard: Option<Instant>) {
        if !self.word.is_awaited() {
            self.seat.conversation.take_up(self.seat.participation.id);
        }
        self.heard(heard);
    }

    /// The client was heard.
    fn heard(&mut self, at: Option<Instant>) {
        if let Some(at) = at {
            self.cursor.heard(at);
            self.handing.heard(at);
        }
    }

    /// The connection has broken: what the client had confirmed before it was last heard elsewhere it has read all the same.
    pub(super) async fn ask_for_last_word(&mut self) {
        if self.is_unsure() {
            let (now, answer) = (Instant::now(), self.last_heard());
            let ago = timeout(PATIENCE, answer).await.unwrap_or_default();
            self.heard(ago.and_then(|ago| now.checked_sub(ago)));
        }
    }
}
