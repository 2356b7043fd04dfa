//! How contacts are shown, and how they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use common::model::Status;

use super::ledger::{Account, Entry, Event, SessionId};

/// Who has whom on the forward list, and who blocks whom. Everybody else is allowed.
#[derive(Debug, Clone, Default)]
pub struct Circle {
    /// The contacts of each account.
    pub contacts: Vec<Vec<Account>>,
    /// Who blocks whom.
    pub blocks: BTreeSet<(Account, Account)>,
}

/// A session that is not over.
#[derive(Debug, Clone)]
struct Session {
    account: Account,
    node: Arc<str>,
    /// How the principal looks, once it has been confirmed.
    looks: Option<Status>,
    shown: BTreeMap<Account, Status>,
}

/// A watching that is wrong: one contact as one client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Who sees.
    pub watcher: Account,
    /// On which node.
    pub at: Arc<str>,
    /// Whom.
    pub contact: Account,
    /// The node that the contact is on; nothing if it is not signed in.
    pub on: Option<Arc<str>>,
    /// How the contact is shown; nothing: as offline.
    pub shown: Option<Status>,
    /// How the contact is.
    pub is: Option<Status>,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = |status: Option<Status>| status.map_or("FLN", Status::code);
        let Self { watcher, at, contact, on, shown, is } = self;
        let on = on.as_deref().unwrap_or("nowhere");
        write!(f, "user {watcher} on {at} sees user {contact} on {on} as {}, who is {}", code(*shown), code(*is))
    }
}

/// How everything is after some entries.
#[derive(Debug, Clone, Default)]
pub struct Presence {
    sessions: BTreeMap<SessionId, Session>,
}

impl Presence {
    /// Reads entries from the start on.
    #[must_use]
    pub fn after<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut presence = Self::default();
        entries.into_iter().for_each(|entry| presence.take(entry));
        presence
    }

    fn take(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Began { node } => {
                let (account, node) = (entry.account, Arc::clone(node));
                let session = Session { account, node, looks: None, shown: BTreeMap::new() };
                self.sessions.insert(entry.session, session);
            }
            Event::Ended(_) => _ = self.sessions.remove(&entry.session),
            event => {
                let Some(session) = self.sessions.get_mut(&entry.session) else { return };
                match event {
                    Event::Looks(status) => session.looks = Some(*status),
                    Event::Shown { contact, how: Some(status) } => _ = session.shown.insert(*contact, *status),
                    Event::Shown { contact, how: None } => _ = session.shown.remove(contact),
                    _ => {}
                }
            }
        }
    }

    /// How many watchings there are: the contacts of all who are signed in and have said how they look.
    #[must_use]
    pub fn watchings(&self, circle: &Circle) -> usize {
        self.watchers().map(|session| circle.contacts[session.account].len()).sum()
    }

    fn watchers(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values().filter(|session| session.looks.is_some())
    }

    /// The watchings that are wrong.
    #[must_use]
    pub fn wrong(&self, circle: &Circle) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        for session in self.watchers() {
            for &contact in &circle.contacts[session.account] {
                let shown = session.shown.get(&contact).copied();
                let may = self.may_look(circle, session.account, contact);
                if may.contains(&shown) {
                    continue;
                }
                let on = self.sessions.values().find(|session| session.account == contact);
                wrong.push(Wrong {
                    watcher: session.account,
                    at: Arc::clone(&session.node),
                    contact,
                    on: on.map(|session| Arc::clone(&session.node)),
                    shown,
                    is: may.first().copied().flatten(),
                });
            }
        }
        wrong
    }

    /// How somebody may be shown to a watcher; more than one only where the principal has several sessions, which
    /// [`double`](Self::double) tells.
    fn may_look(&self, circle: &Circle, watcher: Account, contact: Account) -> Vec<Option<Status>> {
        if circle.blocks.contains(&(contact, watcher)) {
            return vec![None];
        }
        let sessions = self.sessions.values().filter(|session| session.account == contact);
        let visible = |looks: Option<Status>| looks.filter(|status| *status != Status::Hidden);
        let looks: Vec<_> = sessions.map(|session| visible(session.looks)).collect();
        if looks.is_empty() { vec![None] } else { looks }
    }

    /// Those who have more than one session.
    #[must_use]
    pub fn double(&self) -> Vec<Account> {
        let mut counts = BTreeMap::<Account, usize>::new();
        self.sessions.values().for_each(|session| *counts.entry(session.account).or_default() += 1);
        counts.into_iter().filter(|(_, count)| *count > 1).map(|(account, _)| account).collect()
    }

    /// Those who have one at least.
    #[must_use]
    pub fn present(&self) -> BTreeSet<Account> {
        self.sessions.values().map(|session| session.account).collect()
    }

    /// Who is signed in at a node.
    #[must_use]
    pub fn on(&self, node: &str) -> BTreeSet<Account> {
        let there = self.sessions.values().filter(|session| &*session.node == node);
        there.map(|session| session.account).collect()
    }
}
