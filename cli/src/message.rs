//! `monarch message`: messages without a client.

use std::io::{Read, Write};

use bytes::Bytes;
use clap::{Args, Subcommand};
use common::clock::MessageClock;
use common::config::Config;
use common::model::{ChannelId, ClaimId, ConversationId, InboxId, Limits, Passport};
use common::store::{ChannelMember, HistoryWrite, InboxMessage, MessageKind, Store, StoredMessage};

use crate::user::unknown;
use crate::{Failure, open_store};

/// What stands before every text (protocol reference §9.1).
const HEAD: &str = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n";

#[derive(Debug, Subcommand)]
pub(crate) enum MessageCommand {
    /// Leave a text in somebody's inbox; it is delivered at the next sign-in, also to somebody who is online now
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
    send(&*store, &from, &to, payload).await?;
    Ok(writeln!(out, "sent; {to} gets it at the next sign-in")?)
}

/// No more than what may be sent, and a little, so that too long a text is told from one that fits.
fn read(input: impl Read, limits: &Limits) -> Result<String, Failure> {
    let mut text = String::new();
    input.take(limits.message as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// The payload of a text; lines end as clients end them.
fn payload(text: &str, limits: &Limits) -> Result<Bytes, Failure> {
    let lines: Vec<&str> = text.trim_end_matches(['\r', '\n']).lines().collect();
    let payload = format!("{HEAD}{}", lines.join("\r\n"));
    if payload.len() == HEAD.len() {
        return Err(Failure::Usage("there is no text to be sent".into()));
    }
    if payload.len() > limits.message {
        let most = limits.message.saturating_sub(HEAD.len());
        return Err(Failure::Usage(format!("a text has at most {most} bytes (limits.message)")));
    }
    Ok(payload.into())
}

/// Into the history of the two, then into the inbox: who reads it there finds it in the history as well.
async fn send(store: &dyn Store, from: &Passport, to: &Passport, payload: Bytes) -> Result<(), Failure> {
    if from == to {
        return Err(Failure::Usage("nobody is rung in their own name: name two accounts".into()));
    }
    let channel = ChannelId::of_pair(claim(store, from).await?, claim(store, to).await?);
    let clock = MessageClock::new().map_err(Failure::failed)?;
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
    let inbox_id = InboxId(clock.uuid());
    store.put_in_inbox(to, InboxMessage { id: inbox_id, message: id, sender: from.clone(), payload }).await?;
    Ok(())
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
        for bad in ["", "\n", &"x".repeat(most + 1)] {
            assert!(matches!(body(bad), Err(Failure::Usage(_))), "{}", bad.len());
        }
        let endless = read(std::io::repeat(b'x'), &limits).unwrap();
        assert!(matches!(body(&endless), Err(Failure::Usage(_))));
    }

    #[tokio::test]
    async fn what_is_sent_is_in_the_history_and_in_the_inbox() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(directory.path()).unwrap();
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
        let (alice, bob) = (passport("alice"), passport("bob"));
        send(&store, &alice, &bob, "hello".into()).await.unwrap();
        let inbox = store.inbox(&bob, 10).await.unwrap();
        let channel = store.channels_of(&alice).await.unwrap()[0].channel;
        assert_eq!(store.channels_of(&bob).await.unwrap()[0].channel, channel);
        let history = store.read(channel, None, 10).await.unwrap().messages;
        assert_eq!((history.len(), inbox.len()), (1, 1));
        assert_eq!((history[0].id, &history[0].sender), (inbox[0].message, &inbox[0].sender));
        assert_eq!((&history[0].payload[..], &inbox[0].payload[..]), (&b"hello"[..], &b"hello"[..]));
        assert!(send(&store, &alice, &alice, "hello".into()).await.is_err());
        assert!(send(&store, &alice, &passport("nobody"), "hello".into()).await.is_err());
        assert!(send(&store, &passport("nobody"), &alice, "hello".into()).await.is_err());
    }
}
