//! `monarch message`: messages without a client.

use std::io::{Read, Write};
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};
use common::clock::{MessageClock, since_boot, wall_ms};
use common::config::Config;
use common::model::{ChannelId, ClaimId, ConversationId, InboxId, Limits, Passport};
use common::store::{ChannelMember, HistoryWrite, InboxMessage, MessageKind, Store, StoredMessage};

use crate::user::unknown;
use crate::{Failure, open_store};

/// What stands before every text (protocol reference §9.1).
const HEAD: &str = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n";

/// Within this of the making of an id its write must be confirmed, by every writer: readers rely on it.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Subcommand)]
pub(crate) enum MessageCommand {
    /// Leave a text in somebody's inbox: it is delivered at the next sign-in, as soon as the client shows itself
    ///
    /// To somebody who is online now it may come before that, with other messages that were kept; nothing rings for it alone.
    /// The clock of this machine must be right: the text has its place in the inbox by it. What operators send counts towards no quota of
    /// the sender's, and is written below limits.free_disk_mib too.
    Send(SendArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// The account in whose name it is sent
    from: Passport,
    /// The account that gets it, unless it has blocked the other
    to: Passport,
    /// The text; without it standard input is read to its end
    text: Option<String>,
}

pub(crate) async fn run(command: MessageCommand, config: &Config, out: &mut impl Write) -> Result<(), Failure> {
    let MessageCommand::Send(SendArgs { from, to, text }) = command;
    let store = open_store(config).await?;
    let text = match text {
        Some(text) => text,
        None => read(std::io::stdin().lock(), &config.limits)?,
    };
    let payload = payload(&text, &config.limits)?;
    send(&*store, &from, &to, payload, PATIENCE).await?;
    Ok(writeln!(out, "sent; {to} gets it at the next sign-in")?)
}

/// All of the input, if it may be as long as that.
fn read(input: impl Read, limits: &Limits) -> Result<String, Failure> {
    let mut text = Vec::new();
    // Room for the line ends behind the text, which don't count, and one byte more: it tells too long an input from one that
    // fits.
    input.take(limits.message as u64 + 1).read_to_end(&mut text)?;
    if text.len() > limits.message {
        return Err(too_long(limits));
    }
    String::from_utf8(text).map_err(|_| Failure::Usage("the text is not UTF-8".into()))
}

fn too_long(limits: &Limits) -> Failure {
    let most = limits.message.saturating_sub(HEAD.len());
    Failure::Usage(format!("a text has at most {most} bytes, two for the end of a line (limits.message)"))
}

/// The payload of a text; lines end as clients end them.
fn payload(text: &str, limits: &Limits) -> Result<Bytes, Failure> {
    let lines: Vec<&str> = text.trim_end_matches(['\r', '\n']).lines().collect();
    // No person types one in a client, and what shows the text may obey it.
    if lines.iter().any(|line| line.chars().any(|c| c.is_control() && c != '\t')) {
        return Err(Failure::Usage("the text holds a control character other than tabs and ends of lines".into()));
    }
    let payload = format!("{HEAD}{}", lines.join("\r\n"));
    if payload.len() == HEAD.len() {
        return Err(Failure::Usage("there is no text to be sent".into()));
    }
    if payload.len() > limits.message {
        return Err(too_long(limits));
    }
    Ok(payload.into())
}

/// Into the history of the two, then into the inbox: who reads it there finds it in the history as well.
async fn send(
    store: &dyn Store,
    from: &Passport,
    to: &Passport,
    payload: Bytes,
    patience: Duration,
) -> Result<(), Failure> {
    if from == to {
        return Err(Failure::Usage("nobody is rung in their own name: name two accounts".into()));
    }
    let channel = ChannelId::of_pair(claim(store, from).await?, claim(store, to).await?);
    let clock = MessageClock::new().map_err(Failure::failed)?;
    // Before anything is written.
    is_above_watermark(store, to, InboxId(clock.uuid())).await?;
    let made = Made::now(patience);
    let id = clock.tick();
    let message = StoredMessage {
        channel,
        id,
        conversation: ConversationId(clock.uuid()),
        sender: from.clone(),
        kind: MessageKind::Text,
        payload: payload.clone(),
        meant_for: Vec::new(),
    };
    let member = |passport: &Passport| ChannelMember { channel, passport: passport.clone(), since: id };
    let members = vec![member(from), member(to)];
    store.append(HistoryWrite { message, participations: Vec::new(), members }).await?;
    made.is_in_time()?;
    let made = Made::now(patience);
    let inbox_id = InboxId(clock.uuid());
    store.put_in_inbox(to, InboxMessage { id: inbox_id, message: id, sender: from.clone(), payload }).await?;
    made.is_in_time()?;
    // Somebody who reads the inbox by a clock that is ahead of this one may have passed it over. At its own id it has been read.
    match store.inbox_watermark(to).await {
        Ok(watermark) if watermark.is_none_or(|watermark| watermark <= inbox_id) => Ok(()),
        Ok(_) => Err(uncertain("this machine's clock may be behind")),
        Err(error) => Err(uncertain(&error.to_string())),
    }
}

/// What has been written, and perhaps too late to be read.
fn uncertain(why: &str) -> Failure {
    Failure::failed(format_args!("{why}: the message may arrive or not; send it again"))
}

/// When an id was made, by a clock that goes on while the machine sleeps.
struct Made {
    at: Duration,
    patience: Duration,
}

impl Made {
    fn now(patience: Duration) -> Self {
        Self { at: since_boot(), patience }
    }

    /// What was confirmed later than that may have been passed over by its readers: the promise is the one of a `NAK`.
    fn is_in_time(&self) -> Result<(), Failure> {
        if since_boot().saturating_sub(self.at) < self.patience {
            return Ok(());
        }
        Err(uncertain("the store took too long"))
    }
}

/// What is put in at or below the watermark is never read. An id that is made now is above it unless this machine's clock is
/// behind that of a server.
async fn is_above_watermark(store: &dyn Store, who: &Passport, id: InboxId) -> Result<(), Failure> {
    let Some(watermark) = store.inbox_watermark(who).await?.filter(|watermark| *watermark >= id) else {
        return Ok(());
    };
    let behind = watermark.made_ms().saturating_sub(wall_ms()).div_ceil(1000).max(1);
    Err(Failure::failed(format_args!(
        "{who} has read messages that are at least {behind} s younger than this machine's clock says it is: set that clock, and \
         send the message then; now it would not be delivered"
    )))
}

async fn claim(store: &dyn Store, who: &Passport) -> Result<ClaimId, Failure> {
    let account = store.account(who).await?;
    account.map(|account| account.claim).ok_or_else(|| unknown(who))
}

#[cfg(test)]
mod tests {
    use common::store::sqlite::SqliteStore;
    use common::store::{Credentials, NewAccount};
    use uuid::Uuid;

    use super::*;

    fn passport(name: &str) -> Passport {
        Passport::parse(&format!("{name}@example.com")).unwrap()
    }

    #[test]
    fn a_text_becomes_a_payload_or_a_complaint() {
        let limits = Limits::default();
        let body = |text: &str| payload(text, &limits).map(|payload| payload.slice(HEAD.len()..));
        assert_eq!(body("one\ntwo\r\nthree\n\n").unwrap(), "one\r\ntwo\r\nthree");
        assert_eq!(body("Grüße").unwrap(), "Grüße");
        let most = limits.message - HEAD.len();
        assert_eq!(body(&"x".repeat(most)).unwrap().len(), most);
        assert_eq!(body("a\tb").unwrap(), "a\tb");
        for bad in ["", "\n", &"x".repeat(most + 1), "\x1b[2J", "a\rb", "a\0", "\u{9b}1m", "a\u{7f}\nb"] {
            assert!(matches!(body(bad), Err(Failure::Usage(_))), "{}", bad.len());
        }
    }

    /// Refused, never cut: least of all within a character.
    #[test]
    fn an_input_is_read_whole_or_not_at_all() {
        let limits = Limits { message: HEAD.len() + 10, ..Limits::default() };
        let send = |input: &[u8]| read(input, &limits).and_then(|text| payload(&text, &limits));
        let fits = ["Grüße ß", "Grüße ß\n", "Grüße ß\r\n\n\n", "one\ntwo!!"];
        for text in fits {
            assert!(send(text.as_bytes()).is_ok(), "{text:?}");
        }
        for text in ["Grüße ßß", "one\ntwo!!!"] {
            let error = send(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("a text has at most 10 bytes"), "{error}");
        }
        let error = send(b"Gr\xfc").unwrap_err().to_string();
        assert_eq!(error, "the text is not UTF-8");
        // The bound of the reading is within the last character, or anywhere.
        for len in limits.message..limits.message + 4 {
            let text = "ß".repeat(len);
            for input in [text.as_bytes(), &text.as_bytes()[1..]] {
                let error = send(input).unwrap_err().to_string();
                assert!(error.starts_with("a text has at most"), "{error}");
            }
        }
        assert!(matches!(read(std::io::repeat(b'x'), &limits), Err(Failure::Usage(_))));
    }

    /// A store with alice and bob.
    async fn store(directory: &std::path::Path) -> SqliteStore {
        let store = SqliteStore::open(directory).unwrap();
        for name in ["alice", "bob"] {
            let credentials = Credentials { epoch: 1, password_hash: String::new(), sealed_password: None };
            let claim = ClaimId(Uuid::new_v4());
            let new = NewAccount {
                passport: passport(name),
                claim,
                credentials,
                friendly_name: name.into(),
                created: 1,
            };
            store.create_account(new).await.unwrap();
        }
        store
    }

    #[tokio::test]
    async fn what_is_sent_is_in_the_history_and_in_the_inbox() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path()).await;
        let (alice, bob) = (passport("alice"), passport("bob"));
        let send = async |from: &Passport, to: &Passport| send(&store, from, to, "hello".into(), PATIENCE).await;
        send(&alice, &bob).await.unwrap();
        let inbox = store.inbox(&bob, None, 10).await.unwrap().messages;
        let channel = store.channels_of(&alice).await.unwrap()[0].channel;
        assert_eq!(store.channels_of(&bob).await.unwrap()[0].channel, channel);
        let history = store.read(channel, None, 10).await.unwrap().messages;
        assert_eq!((history.len(), inbox.len()), (1, 1));
        assert_eq!((history[0].id, &history[0].sender), (inbox[0].message, &inbox[0].sender));
        assert_eq!((&history[0].payload[..], &inbox[0].payload[..]), (&b"hello"[..], &b"hello"[..]));
        assert!(send(&alice, &alice).await.is_err());
        assert!(send(&alice, &passport("nobody")).await.is_err());
        assert!(send(&passport("nobody"), &alice).await.is_err());
    }

    /// Bob has read what was sent by a clock that is ahead of this one: nothing is written that nobody would ever read.
    #[tokio::test]
    async fn a_clock_that_is_behind_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path()).await;
        let (alice, bob) = (passport("alice"), passport("bob"));
        let read = Uuid::from_u128((u128::from(wall_ms() + 100_000) << 80) | (7 << 76) | (2 << 62));
        store.set_inbox_watermark(&bob, InboxId(read)).await.unwrap();
        let error = send(&store, &alice, &bob, "hello".into(), PATIENCE).await.unwrap_err().to_string();
        assert!(["100 s", "99 s"].iter().any(|behind| error.contains(behind)), "{error}");
        assert_eq!(store.channels_of(&alice).await.unwrap(), []);
        send(&store, &bob, &alice, "hello".into(), PATIENCE).await.unwrap();
    }

    #[tokio::test]
    async fn what_takes_too_long_is_not_said_to_be_sent() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path()).await;
        let (alice, bob) = (passport("alice"), passport("bob"));
        let late = send(&store, &alice, &bob, "hello".into(), Duration::ZERO).await.unwrap_err().to_string();
        assert!(late.contains("took too long"), "{late}");
        assert_eq!(store.inbox(&bob, None, 10).await.unwrap().messages, [], "it goes no further");
    }
}
