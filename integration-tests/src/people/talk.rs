//! One end of a conversation: says numbered messages, and writes down what becomes of them and what it hears.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Outside;
use crate::checker::{Account, Event, MessageId, SessionId};
use crate::client::{self, Client, Received};

/// How long it takes to come into a conversation, at most.
const PATIENCE: Duration = Duration::from_secs(10);
/// Every so many messages one is of ack type `N`.
const WITHOUT_ACK: u32 = 4;

/// Why a client talks no more.
enum Over {
    /// The other one has left.
    Alone,
    /// It hangs itself.
    Hung,
}

/// Whose end it is.
#[derive(Debug)]
pub(super) struct End {
    pub(super) outside: Arc<Outside>,
    pub(super) account: Account,
    pub(super) session: SessionId,
    pub(super) address: IpAddr,
}

impl End {
    /// Goes to a switchboard with a cookie and calls somebody; talks until the other one leaves.
    pub(super) async fn call(&self, board: SocketAddr, cookie: &str, whom: Account) -> Result<()> {
        let entering = async {
            let mut client = Client::over(self.outside.connect(self.address, board).await?)?;
            let me = self.outside.passport(self.account);
            let ok = client.request("USR", &format!("{me} {cookie}")).await?;
            ensure!(ok.token(2) == "OK", "{:?} for USR", ok.tokens);
            let trid = client.send("CAL", self.outside.passport(whom)).await?.to_string();
            // Who is quick joins before the answer to the call has come, and talks.
            let (mut ringing, mut joined, mut early) = (None, false, Vec::new());
            loop {
                let received = client.receive().await?;
                match received.verb() {
                    "CAL" => ringing = Some(room(received.token(3), board)),
                    "JOI" => joined = true,
                    "MSG" => early.push(received),
                    _ => ensure!(received.token(1) != trid, "{:?} for CAL", received.tokens),
                }
                if joined && let Some(room) = ringing.take() {
                    self.outside.open(&room);
                    early.iter().for_each(|received| self.hear(received, &room));
                    return anyhow::Ok((client, room));
                }
            }
        };
        let (client, room) = timeout(PATIENCE, entering).await.context("nobody comes")??;
        self.talk(client, room, whom).await
    }

    /// Answers a ring; talks until the other one leaves. Where what was kept is brought it only listens.
    pub(super) async fn answer(&self, ring: &Received) -> Result<()> {
        let board: SocketAddr = ring.token(2).parse()?;
        let room = room(ring.token(1), board);
        self.note(Event::Rang(Arc::clone(&room)));
        let answered = self.enter(ring, board, &room).await;
        if answered.is_err() {
            self.note(Event::Left(Arc::clone(&room)));
        }
        let (client, whom) = answered?;
        self.note(Event::Entered(Arc::clone(&room)));
        self.talk(client, room, whom).await
    }

    async fn enter(&self, ring: &Received, board: SocketAddr, room: &Arc<str>) -> Result<(Client, Account)> {
        let whom = self.outside.account(ring.token(5)).context("a stranger rings")?;
        let entering = async {
            let mut client = Client::over(self.outside.connect(self.address, board).await?)?;
            let me = self.outside.passport(self.account);
            let (cookie, number) = (ring.token(4), ring.token(1));
            let trid = client.send("ANS", &format!("{me} {cookie} {number}")).await?.to_string();
            loop {
                let received = client.receive().await?;
                match received.verb() {
                    "ANS" => return anyhow::Ok((client, whom)),
                    "MSG" => self.hear(&received, room),
                    verb => ensure!(verb == "IRO" || received.token(1) != trid, "{:?} for ANS", received.tokens),
                }
            }
        };
        timeout(PATIENCE, entering).await.context("the conversation is silent")?
    }

    /// Writes down why it ended, if not as it should.
    pub(super) fn finish(&self, outcome: Result<()>) {
        if let Err(error) = outcome {
            self.note(Event::Failed(format!("{error:#}")));
        }
    }

    async fn talk(&self, mut client: Client, room: Arc<str>, whom: Account) -> Result<()> {
        let mut waiting = BTreeMap::new();
        let ended = self.talk_on(&mut client, &room, whom, &mut waiting).await;
        // Also of what succeeds in silence: when that has succeeded, the checker knows.
        waiting.into_values().for_each(|message| self.note(Event::Unsure(message)));
        if let Ok(Over::Hung) = ended {
            self.outside.crashes(self.account).await;
            self.note(Event::Left(room));
            return client.reset();
        }
        self.note(Event::Left(room));
        _ = client.raw(b"OUT\r\n").await;
        ended.map(drop)
    }

    async fn talk_on(
        &self,
        client: &mut Client,
        room: &Arc<str>,
        whom: Account,
        waiting: &mut BTreeMap<u32, MessageId>,
    ) -> Result<Over> {
        let talking = self.outside.talking.subscribe();
        // Not all at the same moment.
        let mut tick = interval(Duration::from_millis(300 + self.account as u64 * 37 % 200));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                received = client.receive() => {
                    let received = received?;
                    match received.verb() {
                        "BYE" => return Ok(Over::Alone),
                        "MSG" => self.hear(&received, room),
                        "ACK" | "NAK" => self.learn(&received, waiting),
                        _ => {}
                    }
                }
                () = self.outside.hangs(self.account) => return Ok(Over::Hung),
                _ = tick.tick() => {
                    if *talking.borrow() && self.outside.is_open(room) {
                        self.say(client, room, whom, waiting).await?;
                    }
                }
            }
        }
    }

    async fn say(
        &self,
        client: &mut Client,
        room: &Arc<str>,
        to: Account,
        waiting: &mut BTreeMap<u32, MessageId>,
    ) -> Result<()> {
        let number = self.outside.number(self.account);
        let message = MessageId { room: Arc::clone(room), from: self.account, to, number };
        let answered = !number.is_multiple_of(WITHOUT_ACK);
        self.note(Event::Sent { message: message.clone(), answered });
        let sent = client.message(if answered { "A" } else { "N" }, &client::text(&message.text())).await;
        match sent {
            Ok(trid) => _ = waiting.insert(trid, message),
            Err(error) => {
                self.note(Event::Unsure(message));
                return Err(error);
            }
        }
        Ok(())
    }

    /// An answer to a message.
    fn learn(&self, received: &Received, waiting: &mut BTreeMap<u32, MessageId>) {
        let trid = received.token(1).parse().ok();
        let Some(message) = trid.and_then(|trid| waiting.remove(&trid)) else { return };
        let acknowledged = received.verb() == "ACK";
        self.note(if acknowledged { Event::Acknowledged(message) } else { Event::Refused(message) });
    }

    /// Of messages only texts are looked at, which name themselves.
    fn hear(&self, received: &Received, room: &Arc<str>) {
        let payload = String::from_utf8_lossy(&received.payload);
        let Some((head, text)) = payload.split_once("\r\n\r\n") else { return };
        if head.contains("text/plain")
            && let Some(message) = MessageId::parse(text)
        {
            self.note(Event::Received { message, room: Arc::clone(room) });
        }
    }

    fn note(&self, event: Event) {
        self.outside.ledger.note(self.account, self.session, event);
    }
}

/// The number of a conversation is its switchboard's own.
fn room(number: &str, board: SocketAddr) -> Arc<str> {
    format!("{number}@{board}").into()
}
