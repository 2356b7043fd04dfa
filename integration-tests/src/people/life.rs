//! What one client does, from one sign-in to the next.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use common::model::Status;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::Outside;
use super::person::{Door, Leave, Wish};
use super::sign_in::{Knocks, Who, sign_in};
use super::talk::End;
use crate::checker::{Account, Event, SessionId};
use crate::client::{Client, Received};

/// Before a sign-in that failed is tried again.
const AGAIN: Duration = Duration::from_millis(200);
/// Before somebody is called again.
const CALL_AGAIN: Duration = Duration::from_secs(1);
/// How often a client asks whether its server is there.
const PING: Duration = Duration::from_secs(20);
/// How long it waits for the answer: longer than the pauses that a server is forgiven.
const PATIENCE: Duration = Duration::from_secs(18);
/// Why a session is over.
enum Ending {
    /// As it was wished to.
    Left(Leave),
    /// Another client has signed in.
    Displaced,
    /// The client itself has hung and crashed.
    Crashed,
    /// Any other way: it comes back.
    Lost(&'static str),
}

/// What a client does.
pub(super) struct Life {
    pub(super) outside: Arc<Outside>,
    pub(super) account: Account,
    pub(super) who: Who,
    pub(super) wishes: watch::Receiver<(u64, Wish)>,
    pub(super) fulfilled: Arc<AtomicU64>,
    pub(super) calls: mpsc::UnboundedReceiver<Account>,
    pub(super) last: Option<SocketAddr>,
    pub(super) attempts: usize,
    /// Its conversations. Each that it has opened, or tried to, ends with whom to call again.
    pub(super) talks: JoinSet<Option<Account>>,
    /// Whom to call again, and when; sooner if they come online.
    pub(super) again: Option<(Account, Instant)>,
}

impl Life {
    /// Goes on until nobody wishes anything any more.
    pub(super) async fn live(mut self) {
        let mut displaced = 0;
        let mut tried = 0;
        loop {
            let (number, wish) = *self.wishes.borrow_and_update();
            if wish.looks.is_none() || displaced == number {
                self.fulfilled.store(number, Ordering::Relaxed);
                if self.wishes.changed().await.is_err() {
                    return;
                }
                continue;
            }
            self.fulfilled.store(0, Ordering::Relaxed);
            let straight = match wish.door {
                _ if tried == number => None,
                Door::Dispatch => None,
                Door::Last => self.last.map(|last| (last, Knocks::Once)),
                Door::At(there) => Some((there, Knocks::UntilHeard)),
            };
            tried = number;
            self.attempts += 1;
            match sign_in(&self.outside, &self.who, self.attempts, straight).await {
                Ok((client, there)) => {
                    self.last = Some(there);
                    if self.session(client, there).await {
                        displaced = self.wishes.borrow().0;
                    }
                }
                Err(error) => {
                    self.note(self.outside.ledger.session(), Event::Failed(format!("{error:#}")));
                    sleep(AGAIN).await;
                }
            }
        }
    }

    fn note(&self, session: SessionId, event: Event) {
        self.outside.ledger.note(self.account, session, event);
    }

    /// A session from `USR OK` to its end. Whether another client has displaced it.
    async fn session(&mut self, client: Client, there: SocketAddr) -> bool {
        let session = self.outside.ledger.session();
        self.note(session, Event::Began { node: self.outside.node(there) });
        let mut serving = Serving { client, session, pending: None, ringing: Vec::new(), pinged: None };
        let end = self.serve(&mut serving).await.unwrap_or(Ending::Lost("the connection was lost"));
        self.fulfilled.store(0, Ordering::Relaxed);
        let reason = match end {
            Ending::Left(Leave::Out) => {
                _ = serving.client.raw(b"OUT\r\n").await;
                "signed out"
            }
            Ending::Left(Leave::Close) => "closed",
            Ending::Left(Leave::Reset) => {
                _ = serving.client.reset();
                "reset"
            }
            Ending::Displaced => "signed in elsewhere",
            Ending::Crashed => {
                _ = serving.client.reset();
                "crashed"
            }
            Ending::Lost(reason) => reason,
        };
        self.note(session, Event::Ended(reason));
        matches!(end, Ending::Displaced)
    }

    async fn serve(&mut self, serving: &mut Serving) -> Result<Ending> {
        let versions = if self.who.dialect >= 10 { "0 0" } else { "0" };
        serving.client.send("SYN", versions).await?;
        if let Some(end) = self.obey(serving).await? {
            return Ok(end);
        }
        let mut ping = interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let again = self.again.map_or_else(Instant::now, |(_, at)| at);
            let silent = serving.pinged.map_or(PATIENCE, |since| PATIENCE.saturating_sub(since.elapsed()));
            tokio::select! {
                received = serving.client.receive() => {
                    if let Some(end) = self.read(serving, &received?)? {
                        return Ok(end);
                    }
                }
                changed = self.wishes.changed() => {
                    changed?;
                    if let Some(end) = self.obey(serving).await? {
                        return Ok(end);
                    }
                }
                Some(whom) = self.calls.recv() => serving.ask_for_a_board(whom).await?,
                Some(ended) = self.talks.join_next(), if !self.talks.is_empty() => {
                    if let Ok(Some(whom)) = ended {
                        self.call_again(whom);
                    }
                }
                () = sleep_until(again), if self.again.is_some() => {
                    if let Some((whom, _)) = self.again.take() {
                        serving.ask_for_a_board(whom).await?;
                    }
                }
                () = self.outside.hangs(self.account) => {
                    self.note(serving.session, Event::Hung);
                    self.outside.crashes(self.account).await;
                    return Ok(Ending::Crashed);
                }
                _ = ping.tick() => {
                    serving.client.raw(b"PNG\r\n").await?;
                    serving.pinged.get_or_insert_with(Instant::now);
                }
                () = sleep(silent), if serving.pinged.is_some() => return Ok(Ending::Lost("the server is silent")),
            }
        }
    }

    /// Somebody is called again, as long as people talk.
    fn call_again(&mut self, whom: Account) {
        if self.outside.is_talking() {
            self.again = Some((whom, Instant::now() + CALL_AGAIN));
        }
    }

    /// Does what is wished now; the end, if that is to leave.
    async fn obey(&mut self, serving: &mut Serving) -> Result<Option<Ending>> {
        let (number, wish) = *self.wishes.borrow_and_update();
        let Some(status) = wish.looks else { return Ok(Some(Ending::Left(wish.leave))) };
        let capabilities = if self.who.dialect >= 8 { " 0" } else { "" };
        let trid = serving.client.send("CHG", &format!("{status}{capabilities}")).await?;
        serving.pending = Some((trid, number, status));
        Ok(None)
    }

    fn read(&mut self, serving: &mut Serving, received: &Received) -> Result<Option<Ending>> {
        let mut shown = |passport: &str, how: Option<Status>| {
            // Everybody on these lists has an account.
            let contact = self.outside.account(passport).with_context(|| format!("{passport} is a stranger"))?;
            self.note(serving.session, Event::Shown { contact, how });
            if let Some((_, at)) = self.again.as_mut().filter(|(whom, _)| *whom == contact && how.is_some()) {
                *at = Instant::now();
            }
            anyhow::Ok(None)
        };
        match received.verb() {
            "ILN" => return shown(received.token(3), Status::from_code(received.token(2))),
            "NLN" => return shown(received.token(2), Status::from_code(received.token(1))),
            "FLN" => return shown(received.token(1), None),
            "QNG" => serving.pinged = None,
            "OUT" if received.token(1) == "OTH" => return Ok(Some(Ending::Displaced)),
            "OUT" => return Ok(Some(Ending::Lost("sent away"))),
            "RNG" => {
                let (end, ring) = (self.end(serving), received.clone());
                self.talks.spawn(async move {
                    // Who was called waits to be called again.
                    end.finish(end.answer(&ring).await);
                    None
                });
            }
            verb => return self.read_answer(serving, verb, received),
        }
        Ok(None)
    }

    fn read_answer(&mut self, serving: &mut Serving, verb: &str, received: &Received) -> Result<Option<Ending>> {
        let Ok(answered) = received.token(1).parse::<u32>() else { return Ok(None) };
        match (verb, serving.pending) {
            ("CHG", Some((trid, number, status))) if trid == answered => {
                self.note(serving.session, Event::Looks(status));
                self.fulfilled.store(number, Ordering::Relaxed);
                serving.pending = None;
            }
            ("XFR", _) => {
                let Some(at) = serving.ringing.iter().position(|(trid, _)| *trid == answered) else {
                    return Ok(None);
                };
                let (_, whom) = serving.ringing.swap_remove(at);
                let (end, board, cookie) = (self.end(serving), received.token(3).parse()?, received.token(5));
                let cookie = cookie.to_owned();
                self.talks.spawn(async move {
                    end.finish(end.call(board, &cookie, whom).await);
                    Some(whom)
                });
            }
            (error, _) if is_error(error) && serving.ringing.iter().any(|(trid, _)| *trid == answered) => {
                let refused = serving.ringing.extract_if(.., |(trid, _)| *trid == answered);
                refused.for_each(|(_, whom)| self.call_again(whom));
            }
            (error, Some((trid, ..))) if trid == answered && is_error(error) => {
                return Ok(Some(Ending::Lost("CHG was refused")));
            }
            _ => {}
        }
        Ok(None)
    }

    fn end(&self, serving: &Serving) -> End {
        End {
            outside: Arc::clone(&self.outside),
            account: self.account,
            session: serving.session,
            address: self.who.address,
        }
    }
}

/// What belongs to one session.
struct Serving {
    client: Client,
    session: SessionId,
    /// The `CHG` that is not answered: its transaction id, the number of the wish, the status.
    pending: Option<(u32, u64, Status)>,
    /// `XFR SB` that are not answered, and who is to be called then.
    ringing: Vec<(u32, Account)>,
    /// Since when an answer to `PNG` is due.
    pinged: Option<Instant>,
}

impl Serving {
    /// Asks for a switchboard on which to call somebody.
    async fn ask_for_a_board(&mut self, whom: Account) -> Result<()> {
        let trid = self.client.send("XFR", "SB").await?;
        self.ringing.push((trid, whom));
        Ok(())
    }
}

fn is_error(verb: &str) -> bool {
    verb.bytes().all(|byte| byte.is_ascii_digit())
}
