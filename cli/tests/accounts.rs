//! `monarch user` and `monarch history` against a store in a directory of its own.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use common::config::{AccountsConfig, StoreConfig};
use common::credentials::{Asker, PasswordHasher, SealingKey};
use common::model::{ChannelId, ConversationId, MessageId, Passport};
use common::store::{HistoryWrite, MessageKind, SharedStore, StoredMessage, open};
use tempfile::TempDir;
use uuid::Uuid;

struct World {
    dir: TempDir,
}

/// Exit code, standard output, standard error.
type Outcome = (i32, String, String);

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = Self { dir };
        assert_eq!(world.monarch("store create", ""), (0, "made a new store in data\n".into(), String::new()));
        world
    }

    fn monarch(&self, line: &str, input: &str) -> Outcome {
        let mut command = Command::new(env!("CARGO_BIN_EXE_monarch"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MONARCH_")) {
            command.env_remove(name);
        }
        command.env("MONARCH_ACCOUNTS_ARGON2_MEMORY_KIB", "8").env("MONARCH_ACCOUNTS_ARGON2_PASSES", "1");
        command.current_dir(self.dir.path()).args(line.split_whitespace());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may refuse before it reads.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    async fn store(&self) -> SharedStore {
        open(&StoreConfig { path: self.dir.path().join("data"), ..StoreConfig::default() }).await.unwrap()
    }
}

fn passport(text: &str) -> Passport {
    Passport::parse(text).unwrap()
}

#[test]
fn an_account_is_added_once_and_listed() {
    let world = World::new();
    let add = "user add Dora@Example.com --name Dora --password-stdin";
    assert_eq!(world.monarch(add, "open sesame\n"), (0, "created dora@example.com\n".into(), String::new()));
    let (code, _, errors) = world.monarch(add, "other\n");
    assert_eq!(code, 1);
    assert!(errors.contains("there is an account dora@example.com already"), "{errors}");

    let (code, listing, _) = world.monarch("user list", "");
    assert_eq!(code, 0);
    let lines: Vec<Vec<_>> = listing.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1][..2], ["dora@example.com", "no"]);
    assert!(lines[1][2].starts_with("20") && lines[1][2].ends_with('Z'), "{listing}");
    assert_eq!(lines[1][3..], ["-", "Dora"]);
}

#[test]
fn columns_stand_below_each_other_however_long_a_name_is() {
    let world = World::new();
    let long = format!("{}@example.com", "d".repeat(60));
    let name = format!("{}世界", "D".repeat(40));
    assert_eq!(world.monarch(&format!("user add {long} --name {name} --password-stdin"), "secret\n").0, 0);
    assert_eq!(world.monarch("user add emil@example.com --name Emil --password-stdin", "secret\n").0, 0);
    let (code, listing, _) = world.monarch("user list", "");
    assert_eq!(code, 0);
    let lines: Vec<_> = listing.lines().collect();
    for (head, column) in [("MD5", "no"), ("CREATED", "20"), ("LAST ACTIVE", "-"), ("NAME", "")] {
        let at = lines[0].find(head).unwrap();
        assert_eq!(at, lines[0].rfind(head).unwrap());
        for line in &lines[1..] {
            assert!(line[at..].starts_with(column) && line[..at].ends_with("  "), "{head}:\n{listing}");
        }
    }
    assert!(lines[1].ends_with(&name) && lines[2].ends_with("Emil"), "{listing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_set_and_changed() {
    let world = World::new();
    let who = passport("dora@example.com");
    assert_eq!(world.monarch("user add dora@example.com --md5 --password-stdin", "first\n").0, 0);
    let store = world.store().await;
    let hasher = PasswordHasher::new(&AccountsConfig::default());
    let key = SealingKey::load(&world.dir.path().join("data/md5.key")).unwrap().unwrap();

    let before = store.account(&who).await.unwrap().unwrap();
    let opens =
        |password: &str, hash: &str| hasher.verify(Some(hash.to_owned()), password.to_owned(), Asker::HERE);
    assert!(opens("first", &before.credentials.password_hash).await.unwrap());
    let sealed = before.credentials.sealed_password.clone().unwrap();
    assert_eq!(key.open(&who, before.claim, &sealed).as_deref(), Some("first"));

    // It stays an account that signs in by MD5, until told otherwise.
    assert_eq!(world.monarch("user password dora@example.com --password-stdin", "second\n").0, 0);
    let after = store.account(&who).await.unwrap().unwrap();
    assert!(opens("second", &after.credentials.password_hash).await.unwrap());
    assert!(!opens("first", &after.credentials.password_hash).await.unwrap());
    assert_eq!(
        key.open(&who, after.claim, &after.credentials.sealed_password.unwrap()).as_deref(),
        Some("second")
    );
    assert_eq!(after.claim, before.claim);
    assert_ne!(after.credentials.epoch, before.credentials.epoch);

    // On a host that lacks the key a second one would be made, and neither account could use it at all servers.
    let (here, elsewhere) = (world.dir.path().join("data/md5.key"), world.dir.path().join("elsewhere"));
    std::fs::rename(&here, &elsewhere).unwrap();
    let (code, _, said) = world.monarch("user add emil@example.com --md5 --password-stdin", "x\n");
    assert!(code == 1 && said.contains("dora@example.com") && said.contains("md5.key"), "{code} {said}");
    assert!(!here.exists() && store.account(&passport("emil@example.com")).await.unwrap().is_none());
    std::fs::rename(&elsewhere, &here).unwrap();

    assert_eq!(world.monarch("user password dora@example.com --no-md5 --password-stdin", "third\n").0, 0);
    assert_eq!(store.account(&who).await.unwrap().unwrap().credentials.sealed_password, None);
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let world = World::new();
    for (line, input, code, said) in [
        ("user add dora --password-stdin", "x\n", 2, "name@domain"),
        ("user add dora@example.com --password-stdin", "\n", 1, "can't be empty"),
        (
            "user add dora@example.com --password-stdin --name %s --set limits.friendly_name_chars=1",
            "x\n",
            2,
            "name",
        ),
        ("user password dora@example.com --password-stdin", "x\n", 1, "no account dora@example.com"),
        ("history show dora@example.com emil@example.com", "", 1, "no account dora@example.com"),
        ("user list --set store.path=nowhere", "", 3, "no store in nowhere"),
        ("user add dora@example.com --password-stdin --set store.path=nowhere", "x\n", 3, "no store in nowhere"),
        ("store migrate --set store.path=nowhere", "", 3, "no store in nowhere"),
        ("up --set store.path=nowhere", "", 3, "no store in nowhere"),
        ("user list --set store.paht=x", "", 2, "store.paht"),
        ("user list --config nowhere.toml", "", 2, "nowhere.toml"),
        ("user", "", 2, "Usage"),
    ] {
        let (found, _, errors) = world.monarch(line, input);
        assert_eq!(found, code, "{line}: {errors}");
        assert!(errors.contains(said), "{line}: {errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_printed_in_order_across_pages() {
    let world = World::new();
    for name in ["alice", "bob", "carol"] {
        assert_eq!(world.monarch(&format!("user add {name}@example.com --password-stdin"), "secret\n").0, 0);
    }
    let store = world.store().await;
    let (alice, bob) = (passport("alice@example.com"), passport("bob@example.com"));
    let claim = async |who| store.account(who).await.unwrap().unwrap().claim;
    let channel = ChannelId::of_pair(claim(&alice).await, claim(&bob).await);
    // More than one page, all within one second of 2025.
    const COUNT: u128 = 450;
    let start = 1_763_823_845_000_u128;
    for index in 0..COUNT {
        let id = MessageId(Uuid::from_u128(((start + index) << 80) | (7 << 76) | (2 << 62)));
        let sender = if index % 2 == 0 { &alice } else { &bob };
        let payload = format!("Content-Type: text/plain; charset=UTF-8\r\n\r\nmessage {index}");
        let message = StoredMessage {
            channel,
            id,
            conversation: ConversationId(Uuid::from_u128(1)),
            sender: sender.clone(),
            kind: MessageKind::Text,
            payload: Bytes::from(payload),
            meant_for: Vec::new(),
        };
        store.append(HistoryWrite { message, participations: Vec::new(), members: Vec::new() }).await.unwrap();
    }
    let world = Arc::new(world);
    let (code, text, errors) = world.monarch("history show bob@example.com alice@example.com", "");
    assert_eq!((code, errors.as_str()), (0, ""));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), COUNT as usize);
    assert_eq!(lines[0], "2025-11-22T15:04:05.000Z alice@example.com: message 0");
    assert_eq!(lines[449], "2025-11-22T15:04:05.449Z bob@example.com: message 449");
    assert!(lines.iter().enumerate().all(|(index, line)| line.ends_with(&format!(": message {index}"))));

    let (code, text, _) = world.monarch("history show --json alice@example.com bob@example.com", "");
    assert_eq!(code, 0);
    let last = text.lines().last().unwrap();
    assert!(
        last.contains("\"sender\":\"bob@example.com\"") && last.contains("\"text\":\"message 449\""),
        "{last}"
    );

    let (code, text, errors) = world.monarch("history show alice@example.com carol@example.com", "");
    assert_eq!((code, text.as_str()), (0, ""));
    assert!(errors.contains("nothing"), "{errors}");
}
