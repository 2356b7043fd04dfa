//! `monarch history`: conversations as the store keeps them.

mod range;
mod write;

use std::collections::VecDeque;
use std::io::Write;

use clap::{Args, Subcommand};
use common::model::{ChannelId, ClaimId, MessageId, Passport};
use common::store::{SharedStore, Store, StoredMessage};
use serde::Serialize;
use uuid::Uuid;

use self::range::{Moment, Range};
use self::write::{time, write_json, write_text};
use crate::Failure;
use crate::terminal::{harmless_json, say};
use crate::user::unknown;

/// Messages read from the store at once.
const PAGE: usize = 200;

#[derive(Debug, Subcommand)]
pub(crate) enum HistoryCommand {
    /// List somebody's conversations, the one with the newest message first
    List(ListArgs),
    /// Print what was said between two people, or in one conversation, oldest first
    Show(ShowArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Whose
    who: Passport,
    /// One JSON object a line: conversation, members, last
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// One of the two
    #[arg(required_unless_present = "conversation", requires = "b")]
    a: Option<Passport>,
    /// The other
    b: Option<Passport>,
    /// A conversation, as `monarch history list` names it, instead of two people
    #[arg(long, value_name = "ID", conflicts_with = "a")]
    conversation: Option<Uuid>,
    /// No more than the last N messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    limit: Option<u64>,
    /// From then on: a date or a time in UTC, such as 2026-11-22 or 2026-11-22T15:04:05Z
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Before then
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// One JSON object a line: id, time, sender, kind, text
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(
    command: HistoryCommand,
    store: &SharedStore,
    out: &mut impl Write,
) -> Result<(), Failure> {
    match command {
        HistoryCommand::List(args) => list(&**store, &args, out).await,
        HistoryCommand::Show(args) => show(&**store, &args, out).await,
    }
}

async fn claim(store: &dyn Store, who: &Passport) -> Result<ClaimId, Failure> {
    let account = store.account(who).await?;
    account.map(|account| account.claim).ok_or_else(|| unknown(who))
}

/// A conversation of somebody.
#[derive(Serialize)]
struct Listed {
    conversation: String,
    members: Vec<String>,
    last: String,
}

async fn list(store: &dyn Store, args: &ListArgs, out: &mut impl Write) -> Result<(), Failure> {
    claim(store, &args.who).await?;
    let mut found: Vec<(MessageId, Listed)> = Vec::new();
    for channel in store.channels_of(&args.who).await? {
        // A channel whose first message could not be written has none.
        let Some(last) = store.read_back(channel.channel, None, 1).await?.pop() else { continue };
        let mut members: Vec<String> =
            store.members(channel.channel).await?.into_iter().map(|member| member.passport.to_string()).collect();
        members.sort_unstable();
        let conversation = channel.channel.0.to_string();
        found.push((last.id, Listed { conversation, members, last: time(last.id) }));
    }
    found.sort_by_key(|(last, _)| std::cmp::Reverse(*last));
    for (_, listed) in &found {
        if args.json {
            let json = serde_json::to_string(listed).map_err(std::io::Error::from)?;
            writeln!(out, "{}", harmless_json(&json))?;
        } else {
            writeln!(out, "{}  {}  {}", listed.conversation, listed.last, listed.members.join(" "))?;
        }
    }
    if found.is_empty() {
        say(format!("{} has said and heard nothing", args.who));
    }
    Ok(())
}

async fn show(store: &dyn Store, args: &ShowArgs, out: &mut impl Write) -> Result<(), Failure> {
    let (channel, nothing) = match (&args.a, &args.b, args.conversation) {
        (Some(a), Some(b), _) => {
            let channel = ChannelId::of_pair(claim(store, a).await?, claim(store, b).await?);
            (channel, format!("{a} and {b} have said nothing to each other"))
        }
        (.., Some(id)) => (ChannelId(id), format!("nothing was said in {id}")),
        _ => return Err(Failure::Usage("name two people, or --conversation ID".into())),
    };
    let range = Range { since: args.since, until: args.until };
    let write = if args.json { write_json } else { write_text };
    let mut printed = 0;
    let print = |message: &StoredMessage| {
        printed += 1;
        write(message, out)
    };
    match args.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)) {
        Some(limit) => print_last(store, channel, range, limit, print).await,
        None => print_all(store, channel, range, print).await,
    }?;
    if printed == 0 {
        let then = if range.is_bounded() { " in that time" } else { "" };
        say(format!("{nothing}{then}"));
    }
    Ok(())
}

/// Prints a channel page by page, so that a long history needs no more memory than a short one.
async fn print_all(
    store: &dyn Store,
    channel: ChannelId,
    range: Range,
    mut print: impl FnMut(&StoredMessage) -> std::io::Result<()>,
) -> Result<(), Failure> {
    let mut cursor = None;
    loop {
        let page = store.read(channel, cursor.as_ref(), PAGE).await?;
        page.messages.iter().filter(|message| range.contains(message.id)).try_for_each(&mut print)?;
        let is_past = page.messages.last().is_some_and(|message| range.is_over_at(message.id));
        if !page.more || is_past {
            return Ok(());
        }
        cursor = Some(page.cursor);
    }
}

/// Prints the last `limit` messages of a range.
async fn print_last(
    store: &dyn Store,
    channel: ChannelId,
    range: Range,
    limit: usize,
    print: impl FnMut(&StoredMessage) -> std::io::Result<()>,
) -> Result<(), Failure> {
    let mut found = VecDeque::new();
    let mut before = range.until.map(Moment::first_id);
    while found.len() < limit {
        let wanted = PAGE.min(limit - found.len());
        let page = store.read_back(channel, before, wanted).await?;
        before = page.first().map(|message| message.id);
        let is_last = page.len() < wanted || !before.is_some_and(|first| range.contains(first));
        page.into_iter().rev().filter(|message| range.contains(message.id)).for_each(|one| found.push_front(one));
        if is_last {
            break;
        }
    }
    Ok(found.iter().try_for_each(print)?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use common::model::{ChannelId, ConversationId};
    use common::store::sqlite::SqliteStore;
    use common::store::{ChannelMember, Credentials, HistoryWrite, MessageKind, NewAccount};

    use super::*;

    /// A message every second, `count` of them, in a conversation of three.
    async fn conversation(store: &SharedStore, count: u64) -> (ChannelId, Vec<Passport>) {
        let channel = ChannelId(Uuid::new_v4());
        let people: Vec<Passport> = ["alice", "bob", "carol"]
            .iter()
            .map(|name| Passport::parse(&format!("{name}@example.com")).unwrap())
            .collect();
        for who in &people {
            let credentials = Credentials { epoch: 1, password_hash: "x".into(), sealed_password: None };
            let claim = ClaimId(Uuid::new_v4());
            let (passport, friendly_name) = (who.clone(), "X".to_owned());
            let new = NewAccount { passport, claim, credentials, friendly_name, created: 0 };
            store.create_account(new).await.unwrap();
        }
        for n in 0..count {
            let id = MessageId(Uuid::from_u128(u128::from(1_763_823_845_000 + n * 1000) << 80));
            let message = StoredMessage {
                channel,
                id,
                conversation: ConversationId(Uuid::nil()),
                sender: people[0].clone(),
                kind: MessageKind::Text,
                payload: Bytes::from(format!("MIME-Version: 1.0\r\n\r\ntext {n}")),
                meant_for: Vec::new(),
            };
            let member = |passport: &Passport| ChannelMember { channel, passport: passport.clone(), since: id };
            let members = people.iter().map(member).collect();
            store.append(HistoryWrite { message, participations: Vec::new(), members }).await.unwrap();
        }
        (channel, people)
    }

    async fn shown(store: &SharedStore, line: &str) -> String {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(subcommand)]
            command: HistoryCommand,
        }
        let cli = <Cli as clap::Parser>::try_parse_from(line.split(' ')).unwrap();
        let mut out = Vec::new();
        run(cli.command, store, &mut out).await.unwrap();
        String::from_utf8(out).unwrap()
    }

    #[tokio::test]
    async fn a_conversation_of_three_is_found_and_read() {
        let dir = tempfile::tempdir().unwrap();
        let store: SharedStore = Arc::new(SqliteStore::open(dir.path()).unwrap());
        let (channel, _) = conversation(&store, 500).await;
        let listed = shown(&store, "m list bob@example.com").await;
        let expected = format!(
            "{}  2025-11-22T15:12:24.000Z  alice@example.com bob@example.com carol@example.com\n",
            channel.0
        );
        assert_eq!(listed, expected);

        let texts = async |more: &str| -> Vec<u32> {
            let text = shown(&store, &format!("m show --conversation {}{more}", channel.0)).await;
            text.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect()
        };
        assert_eq!(texts("").await, (0..500).collect::<Vec<_>>());
        assert_eq!(texts(" --limit 300").await, (200..500).collect::<Vec<_>>());
        let minute = " --since 2025-11-22T15:05:05Z --until 2025-11-22T15:06:05Z";
        assert_eq!(texts(minute).await, (60..120).collect::<Vec<_>>());
        assert_eq!(texts(&format!("{minute} --limit 10")).await, (110..120).collect::<Vec<_>>());
        assert_eq!(texts(" --since 2025-11-23").await, Vec::<u32>::new());
        assert_eq!(shown(&store, "m show alice@example.com bob@example.com").await, "");
    }
}
