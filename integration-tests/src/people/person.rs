//! One client, as those see it who tell it what to do.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::model::Status;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::Outside;
use super::life::Life;
use super::sign_in::Who;
use crate::checker::Account;

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// With `OUT`.
    Out,
    /// By closing its connection, without a word.
    Close,
    /// By a reset, as one that crashes.
    Reset,
}

/// Where a client tries first to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// At the server that dispatch names.
    Dispatch,
    /// Once at the server that it was at last, as clients do that remember it.
    Last,
    /// At that server, as soon as anybody listens there; once, from then on as dispatch says.
    At(SocketAddr),
}

/// What a client is to do.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// Be signed in and look so; nothing: be signed out.
    pub looks: Option<Status>,
    /// How it leaves, then.
    pub leave: Leave,
    /// Where it signs in.
    pub door: Door,
}

impl Wish {
    /// To be signed in and look so.
    #[must_use]
    pub fn look(status: Status) -> Self {
        Self { looks: Some(status), leave: Leave::Out, door: Door::Dispatch }
    }

    /// To be signed out.
    #[must_use]
    pub fn away(leave: Leave) -> Self {
        Self { looks: None, leave, door: Door::Dispatch }
    }
}

/// A client. It goes on by itself until dropped.
#[derive(Debug)]
pub struct Person {
    /// Whose client it is.
    pub account: Account,
    wish: watch::Sender<(u64, Wish)>,
    /// The number of the wish that is fulfilled.
    fulfilled: Arc<AtomicU64>,
    calls: mpsc::UnboundedSender<Account>,
    life: JoinHandle<()>,
}

impl Person {
    /// A client that is signed out.
    #[must_use]
    pub fn new(outside: &Arc<Outside>, account: Account, dialect: u8, address: IpAddr) -> Self {
        let (wish, wishes) = watch::channel((1, Wish::away(Leave::Out)));
        let (calls, called) = mpsc::unbounded_channel();
        let fulfilled = Arc::new(AtomicU64::new(1));
        let who = Who { passport: outside.passport(account).to_owned(), dialect, address };
        let life = Life {
            outside: Arc::clone(outside),
            account,
            who,
            wishes,
            fulfilled: Arc::clone(&fulfilled),
            calls: called,
            last: None,
            attempts: account,
            talks: JoinSet::new(),
            again: None,
        };
        Self { account, wish, fulfilled, calls, life: tokio::spawn(life.live()) }
    }

    /// Gives it something to do. What it was to do before is forgotten.
    pub fn wish(&self, wish: Wish) {
        self.wish.send_modify(|(number, old)| (*number, *old) = (*number + 1, wish));
    }

    /// How it is to look.
    #[must_use]
    pub fn wished(&self) -> Option<Status> {
        self.wish.borrow().1.looks
    }

    /// Whether it has done what it was to do, and is not without a connection that it should have. Who was displaced by another
    /// client stays away, and has done enough.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.fulfilled.load(Ordering::Relaxed) == self.wish.borrow().0
    }

    /// Has it open a conversation with somebody, once it is signed in, and talk there.
    pub fn call(&self, whom: Account) {
        _ = self.calls.send(whom);
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        self.life.abort();
    }
}
