//! kill -9 of a process that writes: whatever was confirmed to it is there afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use common::clock;
use common::config::StoreConfig;
use common::model::{
    ChannelId, ConversationId, Generation, List, MessageId, NodeId, ParticipationId, Passport, Property,
};
use common::store::{
    ChannelMember, Claimed, Credentials, Edit, HistoryWrite, MessageKind, NewAccount, ParticipationUse,
    SharedStore, StoredMessage,
};
use uuid::Uuid;

/// Set in the processes that write.
const DIRECTORY: &str = "MONARCH_STORE_KILL_TEST";
const PROCESSES: usize = 2;
const TASKS: u128 = 16;
/// Confirmed messages of a process before it is killed.
const ENOUGH: usize = 400;
const ROUNDS: usize = 3;

#[test]
fn what_was_confirmed_survives_kill_9() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        runtime.block_on(write_until_killed(directory.into()));
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let mut confirmed = BTreeSet::new();
    for _ in 0..ROUNDS {
        let children: Vec<Child> = (0..PROCESSES).map(|_| start(directory.path())).collect();
        let watched: Vec<_> = children.into_iter().map(|child| std::thread::spawn(|| watch(child))).collect();
        for child in watched {
            confirmed.extend(child.join().unwrap());
        }
        runtime.block_on(check(directory.path(), &confirmed));
    }
    assert!(confirmed.len() >= ROUNDS * PROCESSES * ENOUGH);
}

fn start(directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "what_was_confirmed_survives_kill_9", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills the child in the midst of its work. Returns what it said was confirmed: a channel and a message each.
fn watch(mut child: Child) -> BTreeSet<(u128, Uuid)> {
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let (mut confirmed, mut killed) = (BTreeSet::new(), false);
    let mut line = String::new();
    // A line that the kill has cut has no end.
    while lines.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
        let words: Vec<_> = line.split_whitespace().collect();
        if let ["confirmed", channel, id] = words[..] {
            confirmed.insert((channel.parse().unwrap(), id.parse().unwrap()));
        }
        if confirmed.len() >= ENOUGH && !killed {
            child.kill().unwrap();
            killed = true;
        }
        line.clear();
    }
    let status = child.wait().unwrap();
    assert!(killed, "it ended by itself: {status}");
    confirmed
}

async fn open(directory: &Path) -> SharedStore {
    common::store::open(&StoreConfig { path: directory.to_owned(), ..StoreConfig::default() }).await.unwrap()
}

fn passport(task: u128) -> Passport {
    Passport::parse(&format!("p{task}@example.com")).unwrap()
}

fn channel(task: u128) -> ChannelId {
    ChannelId(Uuid::from_u128(task))
}

fn participation(id: MessageId) -> ParticipationId {
    ParticipationId(Uuid::from_u128(id.0.as_u128() ^ 1))
}

/// Long enough that a message does not fit one page of the file.
fn payload(id: MessageId) -> Bytes {
    Bytes::from(id.to_string().repeat(150))
}

async fn write_until_killed(directory: PathBuf) {
    let store = open(&directory).await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let store = SharedStore::clone(&store);
        tasks.spawn(async move {
            sign_up(&store, task).await;
            loop {
                write_one(&store, task).await;
            }
        });
    }
    // None ends but by a panic.
    if let Some(Err(panic)) = tasks.join_next().await {
        panic!("{panic}");
    }
}

async fn sign_up(store: &SharedStore, task: u128) {
    let new = NewAccount {
        passport: passport(task),
        claim: common::model::ClaimId(Uuid::from_u128(task)),
        credentials: Credentials { epoch: 1, password_hash: "hash".into(), sealed_password: None },
        friendly_name: "P".into(),
        created: 1,
    };
    assert_eq!(store.create_account(new).await.unwrap(), Claimed::Won);
}

/// A message with its participation, and now and then an edit; says so once both are confirmed.
async fn write_one(store: &SharedStore, task: u128) {
    let (who, channel, id) = (passport(task), channel(task), MessageId(Uuid::now_v7()));
    let message = StoredMessage {
        channel,
        id,
        conversation: ConversationId(id.0),
        sender: who.clone(),
        kind: MessageKind::Text,
        payload: payload(id),
        meant_for: vec![participation(id)],
    };
    let used = ParticipationUse {
        passport: who.clone(),
        participation: participation(id),
        conversation: ConversationId(id.0),
        switchboard: NodeId::parse("switchboard-1").unwrap(),
        generation: Generation(clock::wall_ms()),
        channel,
    };
    let members = vec![ChannelMember { channel, passport: who.clone(), since: id }];
    store.append(HistoryWrite { message, participations: vec![used], members }).await.unwrap();
    let note = Edit::Property(Property::HomePhone, Some(id.to_string()));
    let friend = Passport::parse(&format!("friend-{id}@example.com")).unwrap();
    let add = Edit::List { contact: friend, list: List::Forward, on: true };
    store.edit(&who, vec![note, add]).await.unwrap();
    // One write of a whole line, so that lines of several tasks do not mix.
    std::io::stdout().write_all(format!("\nconfirmed {task} {id}\n").as_bytes()).unwrap();
}

async fn check(directory: &Path, confirmed: &BTreeSet<(u128, Uuid)>) {
    let store = open(directory).await;
    store.check().await.unwrap();
    for task in 0..TASKS {
        let (mut found, mut cursor) = (BTreeMap::new(), None);
        loop {
            let page = store.read(channel(task), cursor.as_ref(), 500).await.unwrap();
            for message in page.messages {
                assert!(found.insert(message.id, message).is_none(), "twice");
            }
            if !page.more {
                break;
            }
            cursor = Some(page.cursor);
        }
        let rows = store.participations(&passport(task)).await.unwrap();
        let rows: BTreeSet<_> = rows.into_iter().map(|row| row.id).collect();
        let roster = store.roster(&passport(task)).await.unwrap().unwrap();
        for (_, id) in confirmed.iter().filter(|(of, _)| *of == task) {
            let message = &found[&MessageId(*id)];
            assert_eq!(message.payload, payload(message.id));
            assert!(rows.contains(&participation(message.id)));
            let friend = Passport::parse(&format!("friend-{id}@example.com")).unwrap();
            assert!(roster.is_on(List::Forward, &friend));
        }
        // All of a write or none of it, also where it was not confirmed.
        assert_eq!(rows.len(), found.len());
        let noted = roster.settings.properties.get(&Property::HomePhone).map(String::as_str);
        assert!(noted.is_none_or(|id| roster.contacts.keys().any(|friend| friend.as_str().contains(id))));
    }
}
