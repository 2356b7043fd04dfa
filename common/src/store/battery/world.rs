//! Principals, messages and the like for checks.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use uuid::Uuid;

use super::Source;
use crate::clock;
use crate::model::{
    ChannelId, ClaimId, Contact, ConversationId, Generation, List, Lists, MessageId, NodeId, ParticipationId,
    Passport, Roster,
};
use crate::store::{
    ChannelMember, Claimed, Credentials, Cursor, Edit, HistoryWrite, MessageKind, NewAccount, Participation,
    ParticipationUse, SharedStore, StoredMessage,
};

/// Two processes' worth of stores.
pub(super) async fn two(source: &dyn Source) -> (SharedStore, SharedStore) {
    (source.open().await, source.open().await)
}

/// A passport that nobody has.
pub(super) fn passport(name: &str) -> Passport {
    Passport::parse(&format!("{name}-{}@example.com", Uuid::new_v4().simple())).expect("the form is right")
}

pub(super) fn credentials(epoch: u64) -> Credentials {
    Credentials { epoch, password_hash: format!("$argon2id${epoch}"), sealed_password: None }
}

pub(super) fn new_account(passport: &Passport) -> NewAccount {
    NewAccount {
        passport: passport.clone(),
        claim: ClaimId(Uuid::new_v4()),
        credentials: credentials(1),
        friendly_name: "Somebody".into(),
        created: clock::wall_ms(),
    }
}

/// The passport of a new account.
pub(super) async fn account(store: &SharedStore, name: &str) -> Passport {
    let passport = passport(name);
    assert_eq!(store.create_account(new_account(&passport)).await.unwrap(), Claimed::Won);
    passport
}

pub(super) async fn roster(store: &SharedStore, owner: &Passport) -> Roster {
    store.roster(owner).await.unwrap().expect("there is an account")
}

pub(super) async fn contact(store: &SharedStore, owner: &Passport, contact: &Passport) -> Option<Contact> {
    roster(store, owner).await.contacts.remove(contact)
}

/// On which lists of `owner` `contact` is.
pub(super) async fn lists(store: &SharedStore, owner: &Passport, who: &Passport) -> Lists {
    contact(store, owner, who).await.map_or(Lists::NONE, |contact| contact.lists)
}

pub(super) fn list(contact: &Passport, list: List, on: bool) -> Edit {
    Edit::List { contact: contact.clone(), list, on }
}

/// An id made at that millisecond, greater than every one made there before.
pub(super) fn message_id(ms: u64) -> MessageId {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut tail = [0; 10];
    tail[2..].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    MessageId(uuid::Builder::from_unix_timestamp_millis(ms, &tail).into_uuid())
}

pub(super) fn channel() -> ChannelId {
    ChannelId(Uuid::new_v4())
}

/// A text of that channel with nothing but itself to be written.
pub(super) fn text(channel: ChannelId, id: MessageId) -> HistoryWrite {
    let message = StoredMessage {
        channel,
        id,
        conversation: ConversationId(Uuid::nil()),
        sender: Passport::parse("sender@example.com").expect("the form is right"),
        kind: MessageKind::Text,
        payload: Bytes::from(id.to_string()),
        meant_for: Vec::new(),
    };
    HistoryWrite { message, participations: Vec::new(), members: Vec::new() }
}

pub(super) fn member(channel: ChannelId, passport: &Passport, since: MessageId) -> ChannelMember {
    ChannelMember { channel, passport: passport.clone(), since }
}

/// A new admission, used for `channel`.
pub(super) fn usage(passport: &Passport, channel: ChannelId) -> ParticipationUse {
    ParticipationUse {
        passport: passport.clone(),
        participation: ParticipationId(Uuid::new_v4()),
        conversation: ConversationId(Uuid::new_v4()),
        switchboard: NodeId::parse("switchboard-1").expect("the form is right"),
        generation: Generation(clock::wall_ms()),
        channel,
    }
}

/// The row that a use makes.
pub(super) fn row(used: &ParticipationUse) -> Participation {
    Participation {
        passport: used.passport.clone(),
        id: used.participation,
        conversation: used.conversation,
        switchboard: used.switchboard.clone(),
        generation: used.generation,
        channels: BTreeSet::from([used.channel]),
        live_cursor: None,
        offline_cursor: None,
        closed: false,
    }
}

/// Everything from a cursor on, and where that ends.
pub(super) async fn read_all(
    store: &SharedStore,
    channel: ChannelId,
    mut cursor: Option<Cursor>,
    limit: usize,
) -> (Vec<MessageId>, Cursor) {
    let mut ids = Vec::new();
    loop {
        let page = store.read(channel, cursor.as_ref(), limit).await.unwrap();
        assert!(page.messages.len() <= limit);
        ids.extend(page.messages.iter().map(|message| message.id));
        if !page.more {
            return (ids, page.cursor);
        }
        cursor = Some(page.cursor);
    }
}
