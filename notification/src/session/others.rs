//! What others do to the principal's lists, kept by pair until the client is told of it.
//!
//! Memory follows at once. The client is told when it reads and when the store has the stamp: however often somebody has come and
//! gone by then, it is told of the difference, so that nobody can fill its queue. Of somebody who is blocked it is told nothing: it
//! sees that at its next SYN.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::model::{List, Lists, Passport, Property, Roster};
use common::msnp::properties;

use super::Session;
use super::out::Out;
use crate::roster::{self, Turn};

/// What others have changed and the client does not know yet. Each pair is in here once, and only while the two differ: no more
/// than both reverse lists, and the properties of the forward list.
#[derive(Default)]
pub(crate) struct Others {
    /// What the client was told of somebody's place on the reverse list, where that is not so any more.
    told: BTreeMap<Passport, Turn>,
    /// Properties of contacts as they are now.
    properties: BTreeMap<(Passport, Property), Arc<str>>,
    /// Some of it is to be told, as soon as the client reads.
    due: bool,
    /// Notices were left out: the roster is to be read again then.
    read_again: Option<Instant>,
    /// When it was read again last.
    read: Option<Instant>,
    /// While it is read: those of whom there is newer word.
    meanwhile: Option<BTreeSet<Passport>>,
}

impl Others {
    /// The roster is read again this often at most.
    const PAUSE: Duration = Duration::from_secs(5);

    /// Whether the client is to be told of something.
    pub(super) fn are_due(&self) -> bool {
        self.due
    }

    /// Whether the reverse list has changes that the client does not know of: of the blocked, too.
    pub(super) fn are_untold(&self) -> bool {
        !self.told.is_empty()
    }

    /// When the roster is to be read again, if ever.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.read_again
    }

    /// Words of what others have changed were left out of the mailbox.
    pub(super) fn missed(&mut self, now: Instant) {
        let first = self.read.map_or(now, |read| now.max(read + Self::PAUSE));
        self.read_again.get_or_insert(first);
    }

    /// The roster is being read.
    pub(super) fn begin_reading(&mut self, now: Instant) {
        (self.read_again, self.read, self.meanwhile) = (None, Some(now), Some(BTreeSet::new()));
    }

    /// It is read. Those returned have changed meanwhile, before or after: what was read of them is not to be believed, and they
    /// are looked at once more.
    pub(super) fn end_reading(&mut self, now: Instant) -> BTreeSet<Passport> {
        let meanwhile = self.meanwhile.take().unwrap_or_default();
        if !meanwhile.is_empty() {
            self.missed(now);
        }
        meanwhile
    }

    /// A contact is none any more.
    pub(super) fn forget(&mut self, who: &Passport) {
        self.properties.retain(|(of, _), _| of != who);
    }

    fn is_heard_of(&mut self, who: &Passport) {
        if let Some(meanwhile) = &mut self.meanwhile {
            meanwhile.insert(who.clone());
        }
    }
}

impl Session {
    /// Somebody has put the principal on its forward list, with the name it calls itself; or, without, has taken it off.
    ///
    /// Word of that may come late, after it was taken back: from a node that stood still, say. So the store is asked soon how it is.
    pub(super) fn turned(&mut self, by: &Passport, name: Option<&str>, now: Instant) {
        let before = self.roster.lists_of(by);
        roster::fold_reverse(Arc::make_mut(&mut self.roster), self.claim, by, name);
        self.others.is_heard_of(by);
        self.note_turn(by, before, name);
        if self.roster.lists_of(by) != before {
            self.others.missed(now);
        }
    }

    fn note_turn(&mut self, by: &Passport, before: Lists, name: Option<&str>) {
        let now = roster::others_part(self.roster.lists_of(by));
        let name = name.unwrap_or_default();
        let fresh = || Turn { told: roster::others_part(before), name: name.into() };
        let turn = self.others.told.entry(by.clone()).or_insert_with(fresh);
        if turn.told == now {
            self.others.told.remove(by);
        } else {
            turn.name = name.into();
            self.others.due |= !self.roster.is_on(List::Block, by);
        }
    }

    /// Those of whom the client is to be told, which it is from now on.
    pub(super) fn take_turns(&mut self) -> Vec<(Passport, Turn)> {
        self.others.due = false;
        let roster = &self.roster;
        self.others.told.extract_if(.., |by, _| !roster.is_on(List::Block, by)).collect()
    }

    /// The client is given its lists as they are.
    pub(super) fn forget_turns(&mut self) {
        self.others.told.clear();
    }

    /// A property of a contact has changed. Memory follows also before the client is shown anything, so that its SYN
    /// says it.
    pub(super) fn hear_property(&mut self, of: &Passport, property: Property, value: &Arc<str>, out: &mut Out) {
        self.others.is_heard_of(of);
        let at_once = !out.backlogged;
        if self.note_property(of, property, value, at_once) {
            let version = self.roster.settings.list_version;
            let line = properties::changed(self.dialect, version, of, property, value);
            line.into_iter().for_each(|line| out.line(line));
        }
    }

    /// Returns whether the client is to be told at once.
    fn note_property(&mut self, of: &Passport, property: Property, value: &Arc<str>, at_once: bool) -> bool {
        let known = self.roster.contacts.get(of).filter(|contact| contact.lists.contains(List::Forward));
        let Some(known) = known else { return false };
        // A contact that has unblocked the principal repeats them all.
        let repeated = known.properties.get(&property).map(String::as_str).unwrap_or_default() == &**value;
        if repeated && property.is_kept_by_contacts() {
            return false;
        }
        roster::fold_property(Arc::make_mut(&mut self.roster), of, property, value);
        let key = (of.clone(), property);
        if !self.contacts.are_shown() || (at_once && !self.others.properties.contains_key(&key)) {
            return self.contacts.are_shown();
        }
        self.others.properties.insert(key, Arc::clone(value));
        self.others.due = true;
        false
    }

    /// Tells the client of the properties that it could not be told of when they changed, as the socket drains.
    pub(super) fn tell_late_properties(&mut self, out: &mut Out) {
        let late = std::mem::take(&mut self.others.properties);
        if late.is_empty() {
            return;
        }
        let (dialect, version) = (self.dialect, self.roster.settings.list_version);
        let lines = late.into_iter().filter_map(move |((of, property), value)| {
            properties::changed(dialect, version, &of, property, &value)
        });
        out.source(Box::new(lines));
    }

    /// The roster as the store has it: what others have changed in it and nobody has said takes effect as if it had been said.
    /// What is known of those in `newer` is newer.
    pub(super) fn compare(&mut self, stored: &Roster, newer: &BTreeSet<Passport>) {
        let known: BTreeSet<Passport> = stored
            .contacts
            .keys()
            .chain(self.roster.contacts.keys())
            .filter(|who| !newer.contains(*who))
            .cloned()
            .collect();
        for who in known {
            let (before, there) = (self.roster.lists_of(&who), stored.lists_of(&who));
            let contact = stored.contacts.get(&who);
            if roster::others_part(before) != roster::others_part(there) {
                roster::fold_others_part(Arc::make_mut(&mut self.roster), self.claim, &who, there);
                self.note_turn(&who, before, contact.map(|contact| contact.name.as_str()));
            }
            let Some(contact) = contact else { continue };
            if let Some(known) = Arc::make_mut(&mut self.roster).contacts.get_mut(&who) {
                known.name.clone_from(&contact.name);
                known.is_named = contact.is_named;
            }
            for property in Property::kept_by_contacts() {
                let value = contact.properties.get(&property).map(String::as_str).unwrap_or_default();
                self.note_property(&who, property, &value.into(), false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::out::Piece;
    use super::super::transcript::{alice, who};
    use super::*;
    use common::msnp::Dialect;

    fn session() -> Session {
        alice(&Dialect::MSNP8, Instant::now())
    }

    fn turns(session: &mut Session) -> Vec<String> {
        session.take_turns().into_iter().map(|(by, turn)| format!("{by} {:?}", turn.told)).collect()
    }

    #[test]
    fn who_comes_and_goes_is_no_news() {
        let mut session = session();
        for _ in 0..1000 {
            session.turned(&who("zoe"), Some("Zoe"), Instant::now());
            assert!(session.others.are_untold());
            session.turned(&who("zoe"), None, Instant::now());
            assert!(!session.others.are_untold());
        }
        assert!(turns(&mut session).is_empty());
        session.turned(&who("zoe"), Some("Zoe"), Instant::now());
        assert_eq!(turns(&mut session), ["zoe@example.com {}"]);
        session.turned(&who("zoe"), None, Instant::now());
        assert_eq!(
            turns(&mut session),
            ["zoe@example.com {Reverse, Pending}"],
            "of whom it was told, it is told again"
        );
    }

    #[test]
    fn of_the_blocked_nothing_is_due() {
        let mut session = session();
        assert!(session.roster.is_on(List::Block, &who("carol")));
        session.turned(&who("carol"), Some("Carol"), Instant::now());
        assert!(session.roster.is_on(List::Reverse, &who("carol")), "but the list has it");
        assert!(session.others.are_untold() && !session.others.are_due());
        assert!(turns(&mut session).is_empty());
        session.forget_turns();
        session.turned(&who("carol"), None, Instant::now());
        assert!(session.others.are_untold() && !session.others.are_due());
    }

    #[test]
    fn a_client_that_does_not_read_is_told_of_the_last_value_only() {
        let mut session = session();
        session.contacts.show(common::msnp::TrId(1), &mut Out::default());
        let lines = |mut out: Out| match out.pieces.pop() {
            Some(Piece::Line(line)) => vec![line],
            Some(Piece::Source(lines)) => lines.collect(),
            None => Vec::new(),
        };
        let hears = |session: &mut Session, value: &str, backlogged| {
            let mut out = Out::new(backlogged);
            session.hear_property(&who("bob"), Property::HomePhone, &value.into(), &mut out);
            lines(out)
        };
        assert_eq!(hears(&mut session, "0", false), ["BPR 30 bob@example.com PHH 0\r\n"]);
        for value in ["1", "2", "3"] {
            assert!(hears(&mut session, value, true).is_empty());
        }
        assert!(hears(&mut session, "4", false).is_empty(), "not ahead of what waits");
        assert!(session.others.are_due());
        let mut out = Out::default();
        session.tell_late_properties(&mut out);
        assert_eq!(lines(out), ["BPR 30 bob@example.com PHH 4\r\n"]);
        hears(&mut session, "5", true);
        session.others.forget(&who("bob"));
        let mut out = Out::default();
        session.tell_late_properties(&mut out);
        assert!(out.pieces.is_empty(), "of somebody who is no contact any more");
    }

    #[test]
    fn what_was_not_said_is_seen_in_the_store() {
        let mut session = session();
        let mut stored = (*session.roster).clone();
        let claim = session.claim;
        roster::fold_reverse(&mut stored, claim, &who("zoe"), Some("Zoe"));
        roster::fold_reverse(&mut stored, claim, &who("yan"), Some("Yan"));
        roster::fold_reverse(&mut stored, claim, &who("bob"), None);
        roster::fold_property(&mut stored, &who("bob"), Property::HomePhone, "555");
        session.others.begin_reading(Instant::now());
        session.turned(&who("yan"), Some("Yan"), Instant::now());
        session.turned(&who("yan"), None, Instant::now());
        let newer = session.others.end_reading(Instant::now());
        session.compare(&stored, &newer);
        assert_eq!(turns(&mut session), ["bob@example.com {Reverse}", "zoe@example.com {}"]);
        assert!(session.others.deadline().is_some(), "yan is looked at once more");
        assert_eq!(session.roster.contacts[&who("bob")].properties[&Property::HomePhone], "555");
        session.others.begin_reading(Instant::now());
        let newer = session.others.end_reading(Instant::now());
        session.compare(&stored, &newer);
        assert_eq!(turns(&mut session), ["yan@example.com {}"]);
        assert_eq!(session.roster.contacts, stored.contacts);
        assert_eq!(session.others.deadline(), None);
    }
}
