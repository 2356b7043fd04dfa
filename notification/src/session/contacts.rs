//! What a client has been shown of its contacts, and what it is to be shown next (protocol reference §6.8, §6.21).

use std::collections::HashMap;

use bytes::Bytes;
use common::cluster::{Mark, Stamp};
use common::model::{Passport, PersonalMessage, Presence};
use common::msnp::{Dialect, TrId, presence};

use super::out::Out;
use crate::repair::{Change, Shown};

/// How the contacts on the forward list look. Others are never entered: a client must not hear of them
/// (`CLIENTS` 17).
pub(crate) struct Contacts {
    dialect: &'static Dialect,
    seen: HashMap<Passport, Box<Seen>>,
    /// The transaction id of the first `CHG`. Before it nothing is shown, only noted.
    first_change: Option<TrId>,
    /// Contacts added while signed in, whose answer to our probe belongs to that request.
    asked: Vec<(Passport, TrId)>,
    /// Those whose looks the client gets once it has read what it has: how they look then, whatever they were meanwhile.
    late: Vec<Passport>,
}

/// What is known of one contact.
struct Seen {
    /// The age of the newest word of it.
    stamp: Stamp,
    /// How it looks; nothing: signed out, or not to be seen.
    presence: Option<Presence>,
    /// The personal message that the client shows.
    message: Option<PersonalMessage>,
    /// The client has been told something of it.
    shown: bool,
    /// The version that the client was shown; nothing: the contact was found to be signed in nowhere.
    mark: Option<Mark>,
    /// The digest of the contact's properties, if those known here are others. Until they are known the version counts as not shown:
    /// the question for them may be lost, and the answer too.
    lacking: Option<u32>,
    /// The age of the newest word of its properties: they are known as they were then.
    properties: Option<Stamp>,
    /// It is among the late.
    late: bool,
    /// The request that its `ILN` answers, if it is late with that.
    initial: Option<TrId>,
}

impl Contacts {
    /// Nobody is known yet.
    pub(crate) fn new(dialect: &'static Dialect) -> Self {
        Self { dialect, seen: HashMap::new(), first_change: None, asked: Vec::new(), late: Vec::new() }
    }

    /// Whether the client has been shown its contacts.
    pub(crate) fn are_shown(&self) -> bool {
        self.first_change.is_some()
    }

    /// The first `CHG`: everyone known to be there is shown as `ILN`, as the socket drains. Those whose answer to
    /// the probe is still on its way follow when it comes.
    pub(crate) fn show(&mut self, trid: TrId, out: &mut Out) {
        self.first_change = Some(trid);
        let there = self.seen.iter_mut().filter_map(|(who, seen)| {
            let presence = seen.presence.clone()?;
            seen.message.clone_from(&presence.personal_message);
            seen.shown = true;
            Some((who.clone(), presence))
        });
        let mut there: Vec<_> = there.collect();
        if there.is_empty() {
            return;
        }
        there.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let dialect = self.dialect;
        let lines = there.into_iter().flat_map(move |(who, presence)| {
            let line = presence::initial(dialect, trid, &who, &presence);
            let message = presence.personal_message.filter(|_| dialect.personal_message);
            let message = message.map(|message| presence::personal_message(&who, Some(&message)));
            std::iter::once(line).chain(message)
        });
        out.source(Box::new(lines));
    }

    /// Word of a contact on the forward list. What is no newer than what is known changes nothing; what looks the
    /// same to this client is not written. `lacking`: the digest of its properties, if they are others than are known; `answer`: it
    /// answers a probe. Returns whether it was new.
    pub(crate) fn hear(
        &mut self,
        who: &Passport,
        stamp: Stamp,
        presence: Option<Presence>,
        (lacking, answer): (Option<u32>, bool),
        out: &mut Out,
    ) -> bool {
        let asked = if answer { self.take_asked(who) } else { None };
        if let Some(known) = self.seen.get_mut(who) {
            if stamp <= known.stamp {
                return false;
            }
            known.stamp = stamp;
        } else {
            self.seen.insert(who.clone(), Box::new(Seen::new(stamp)));
        }
        let Some(seen) = self.seen.get_mut(who) else { return false };
        seen.lacking = lacking;
        seen.mark = Some(seen.shown_version());
        let before = std::mem::replace(&mut seen.presence, presence);
        seen.compare(who, out);
        if let Some(first_change) = self.first_change {
            let initial = (answer && !seen.shown).then(|| asked.unwrap_or(first_change));
            seen.write(self.dialect, who, before.as_ref(), initial, &mut self.late, out);
        }
        true
    }

    /// Whether word of a property of a contact is to be believed: it is not older than what is known.
    ///
    /// Word of somebody who was never heard of is not: it may be from any time. Who is there is asked how it looks, and with that
    /// comes the digest of its properties.
    pub(crate) fn hear_property(&mut self, who: &Passport, stamp: &Stamp) -> bool {
        let Some(seen) = self.seen.get_mut(who) else { return false };
        let Stamp { epoch, node, .. } = &seen.stamp;
        let is_old = (stamp.epoch, &stamp.node) < (*epoch, node)
            || seen.properties.as_ref().is_some_and(|known| stamp < known);
        if !is_old {
            seen.properties = Some(stamp.clone());
        }
        !is_old
    }

    /// The newest word of a contact has shown that its properties are those known here.
    pub(crate) fn properties_are_known(&mut self, who: &Passport) {
        if let Some(seen) = self.seen.get_mut(who)
            && seen.properties.as_ref().is_none_or(|known| *known < seen.stamp)
        {
            seen.properties = Some(seen.stamp.clone());
        }
    }

    /// Word of a property of a contact: `known` is the digest of all that are known now. If nothing before a change was missed, the
    /// client is shown this version from now on; what is repeated says nothing of what else there is in its version.
    pub(crate) fn follow(
        &mut self,
        who: &Passport,
        stamp: &Stamp,
        repeated: bool,
        known: Option<u32>,
        out: &mut Out,
    ) {
        let Some(seen) = self.seen.get_mut(who).filter(|seen| seen.mark.is_some()) else { return };
        let heard = &mut seen.stamp;
        let is_next = heard.epoch == stamp.epoch
            && heard.node == stamp.node
            && heard.version.wrapping_add(1) == stamp.version;
        if seen.lacking.is_some() && seen.lacking == known {
            seen.lacking = None;
        } else if seen.lacking.is_none() && is_next && !repeated {
            heard.version = stamp.version;
        } else {
            return;
        }
        seen.mark = Some(seen.shown_version());
        seen.compare(who, out);
    }

    /// A contact is signed in nowhere, and was not when it was asked because of what was shown then. Whatever has been heard
    /// since counts more.
    pub(crate) fn absent(&mut self, who: &Passport, shown: Mark, out: &mut Out) {
        let Some(seen) = self.seen.get_mut(who).filter(|seen| seen.mark == Some(shown)) else { return };
        seen.mark = None;
        let before = seen.presence.take();
        seen.compare(who, out);
        if self.first_change.is_some() {
            seen.write(self.dialect, who, before.as_ref(), None, &mut self.late, out);
        }
    }

    /// What the client was shown of a contact.
    #[cfg(test)]
    pub(crate) fn mark_of(&self, who: &Passport) -> Option<Mark> {
        self.seen.get(who)?.mark
    }

    /// What a contact calls itself now, if it is there to be seen.
    pub(crate) fn present_name(&self, who: &Passport) -> Option<&str> {
        self.seen.get(who)?.presence.as_ref().map(|presence| &*presence.name)
    }

    /// Whether the client is to be shown something once it has read what it has.
    pub(crate) fn are_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// The client has read what it had: those that changed meanwhile are shown as they are now, as the socket drains.
    pub(crate) fn show_late(&mut self, out: &mut Out) {
        let mut looks = Vec::with_capacity(self.late.len());
        for who in std::mem::take(&mut self.late) {
            let Some(seen) = self.seen.get_mut(&who).filter(|seen| seen.late) else { continue };
            seen.late = false;
            let clears = std::mem::replace(&mut seen.shown, true) && seen.message.is_some();
            seen.message = seen.presence.as_ref().and_then(|presence| presence.personal_message.clone());
            looks.push((who, seen.presence.clone(), seen.initial.take(), clears));
        }
        let dialect = self.dialect;
        let lines = looks.into_iter().map(move |(who, presence, initial, clears)| match presence {
            Some(presence) => whole(dialect, &who, &presence, initial, clears),
            None => presence::offline(&who),
        });
        out.source(Box::new(lines));
    }

    /// A contact was put on the forward list by that request: its answer to the probe is `ILN` with that
    /// transaction id.
    pub(crate) fn ask(&mut self, who: Passport, trid: TrId) {
        self.forget(&who);
        self.asked.push((who, trid));
    }

    fn take_asked(&mut self, who: &Passport) -> Option<TrId> {
        let at = self.asked.iter().position(|(asked, _)| asked == who)?;
        Some(self.asked.swap_remove(at).1)
    }

    /// A contact was taken off the forward list.
    pub(crate) fn forget(&mut self, who: &Passport) {
        self.seen.remove(who);
        self.asked.retain(|(asked, _)| asked != who);
        self.late.retain(|late| late != who);
    }
}

/// Everything that a client can be shown of somebody who is there, in one piece. `clears`: without a personal message
/// it is told so.
fn whole(dialect: &Dialect, who: &Passport, presence: &Presence, initial: Option<TrId>, clears: bool) -> Bytes {
    let line = status(dialect, who, presence, initial);
    let message = &presence.personal_message;
    if dialect.personal_message && (clears || message.is_some()) {
        return Bytes::from([line, presence::personal_message(who, message.as_deref())].concat());
    }
    line
}

/// `ILN` or `NLN`.
fn status(dialect: &Dialect, who: &Passport, presence: &Presence, initial: Option<TrId>) -> Bytes {
    match initial {
        Some(trid) => presence::initial(dialect, trid, who, presence),
        None => presence::online(dialect, who, presence),
    }
}

impl Seen {
    fn new(stamp: Stamp) -> Self {
        let (presence, message, mark, lacking, properties, initial) = Default::default();
        Self { stamp, presence, message, shown: false, mark, lacking, properties, late: false, initial }
    }

    /// The newest version, if all of it is known; otherwise one before it.
    fn shown_version(&self) -> Mark {
        let Stamp { version, .. } = self.stamp;
        let version = if self.lacking.is_some() { version.wrapping_sub(1) } else { version };
        Mark::of(&Stamp { version, ..self.stamp.clone() })
    }

    /// Others may have to compare what is shown now.
    fn compare(&self, who: &Passport, out: &mut Out) {
        let online_at = self.presence.as_ref().map(|_| self.stamp.node.clone());
        out.changes.push(Change::Shown(who.clone(), Shown { mark: self.mark, online_at }));
    }

    /// Writes how the contact looks now, as far as the client can tell it from how it looked before. A client with
    /// a backlog gets it later.
    fn write(
        &mut self,
        dialect: &Dialect,
        who: &Passport,
        before: Option<&Presence>,
        initial: Option<TrId>,
        late: &mut Vec<Passport>,
        out: &mut Out,
    ) {
        if before.is_none() && self.presence.is_none() {
            return;
        }
        if out.backlogged || self.late {
            self.initial = self.initial.or(initial);
            if !std::mem::replace(&mut self.late, true) {
                late.push(who.clone());
            }
            return;
        }
        let clears = std::mem::replace(&mut self.shown, true) && self.message.is_some();
        let Some(now) = &self.presence else { return out.line(presence::offline(who)) };
        let message = &now.personal_message;
        let same_message = !dialect.personal_message || self.message == *message;
        self.message.clone_from(message);
        match before {
            None => out.line(whole(dialect, who, now, initial, clears)),
            Some(before) => {
                if !presence::look_alike(dialect, before, now) {
                    out.line(status(dialect, who, now, initial));
                }
                if !same_message {
                    out.line(presence::personal_message(who, message.as_deref()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::out::Piece;
    use super::*;
    use common::model::{Epoch, NodeId, Status};

    fn who(name: &str) -> Passport {
        Passport::parse(&format!("{name}@example.com")).unwrap()
    }

    fn stamp(count: u32) -> Stamp {
        Stamp { epoch: Epoch(1), node: NodeId::parse("ns-1").unwrap(), count: count.into(), version: count }
    }

    fn looks(status: Status, message: &str) -> Option<Presence> {
        let personal_message = (!message.is_empty()).then(|| message.into());
        Some(Presence { status, name: "Bob".into(), capabilities: 0, object: None, personal_message })
    }

    fn shown(contacts: &mut Contacts) {
        contacts.show(TrId(9), &mut Out::default());
    }

    /// What one word of bob makes the client see.
    fn hear(
        contacts: &mut Contacts,
        count: u32,
        presence: Option<Presence>,
        answer: bool,
        backlogged: bool,
    ) -> String {
        let mut out = Out::new(backlogged);
        contacts.hear(&who("bob"), stamp(count), presence, (None, answer), &mut out);
        text(out)
    }

    fn text(out: Out) -> String {
        let text = out.pieces.into_iter().map(|piece| match piece {
            Piece::Line(line) => String::from_utf8(line.to_vec()).unwrap(),
            Piece::Source(lines) => lines.map(|line| String::from_utf8(line.to_vec()).unwrap()).collect(),
        });
        text.collect::<String>().replace("\r\n", "/").replace("@example.com", "")
    }

    const CLEAR: &str = "UBX bob 53/<Data><PSM></PSM><CurrentMedia></CurrentMedia></Data>";

    #[test]
    fn only_what_is_newer_and_differs_is_written() {
        let mut contacts = Contacts::new(&Dialect::MSNP11);
        shown(&mut contacts);
        let mut hear = |count, presence| hear(&mut contacts, count, presence, false, false);
        assert_eq!(hear(1, looks(Status::Online, "")), "NLN NLN bob Bob 0/");
        assert_eq!(hear(2, looks(Status::Online, "")), "");
        assert_eq!(hear(3, looks(Status::Online, "<x>")), "UBX bob 3/<x>");
        assert_eq!(hear(5, looks(Status::Away, "<x>")), "NLN AWY bob Bob 0/");
        assert_eq!(hear(4, None), "");
        assert_eq!(hear(5, None), "");
        assert_eq!(hear(6, None), "FLN bob/");
        assert_eq!(hear(7, None), "");
        assert_eq!(hear(8, looks(Status::Online, "<x>")), "NLN NLN bob Bob 0/UBX bob 3/<x>");
        assert_eq!(hear(9, looks(Status::Busy, "")), format!("NLN BSY bob Bob 0/{CLEAR}"));
    }

    #[test]
    fn a_client_without_personal_messages_sees_none() {
        let mut contacts = Contacts::new(&Dialect::MSNP8);
        shown(&mut contacts);
        assert_eq!(hear(&mut contacts, 1, looks(Status::Online, "<x>"), false, false), "NLN NLN bob Bob 0/");
        assert_eq!(hear(&mut contacts, 2, looks(Status::Online, "<y>"), false, false), "");
    }

    #[test]
    fn those_known_before_the_first_chg_come_with_it() {
        let mut contacts = Contacts::new(&Dialect::MSNP11);
        assert_eq!(hear(&mut contacts, 4, looks(Status::Busy, "<x>"), true, false), "");
        let mut out = Out::default();
        contacts.hear(&who("carol"), stamp(1), None, (None, false), &mut out);
        contacts.show(TrId(9), &mut out);
        assert_eq!(text(out), "ILN 9 BSY bob Bob 0/UBX bob 3/<x>");
        assert_eq!(hear(&mut contacts, 5, looks(Status::Away, "<x>"), false, false), "NLN AWY bob Bob 0/");
    }

    #[test]
    fn late_answers_are_initial_too_and_only_they() {
        let mut contacts = Contacts::new(&Dialect::MSNP7);
        shown(&mut contacts);
        assert_eq!(hear(&mut contacts, 4, looks(Status::Busy, ""), true, false), "ILN 9 BSY bob Bob/");
        assert_eq!(hear(&mut contacts, 5, looks(Status::Away, ""), true, false), "NLN AWY bob Bob/");
        contacts.forget(&who("bob"));
        assert_eq!(hear(&mut contacts, 6, looks(Status::Away, ""), false, false), "NLN AWY bob Bob/");
        contacts.ask(who("bob"), TrId(12));
        assert_eq!(hear(&mut contacts, 7, looks(Status::Away, ""), true, false), "ILN 12 AWY bob Bob/");
    }

    #[test]
    fn a_slow_client_is_shown_later_how_its_contacts_look_then() {
        let mut contacts = Contacts::new(&Dialect::MSNP11);
        shown(&mut contacts);
        let late = |contacts: &mut Contacts| {
            assert!(contacts.are_late());
            let mut out = Out::default();
            contacts.show_late(&mut out);
            assert!(!contacts.are_late());
            text(out)
        };
        // Its first word answers the probe, so it is initial, whatever comes behind.
        assert_eq!(hear(&mut contacts, 1, looks(Status::Online, "<x>"), true, true), "");
        assert_eq!(hear(&mut contacts, 2, looks(Status::Away, "<y>"), false, true), "");
        assert_eq!(late(&mut contacts), "ILN 9 AWY bob Bob 0/UBX bob 3/<y>");
        assert_eq!(hear(&mut contacts, 3, looks(Status::Away, ""), false, true), "");
        // Not ahead of what is late.
        assert_eq!(hear(&mut contacts, 4, looks(Status::Busy, ""), false, false), "");
        assert_eq!(late(&mut contacts), format!("NLN BSY bob Bob 0/{CLEAR}"));
        assert_eq!(hear(&mut contacts, 5, None, false, true), "");
        assert_eq!(late(&mut contacts), "FLN bob/");
        assert_eq!(hear(&mut contacts, 6, None, false, true), "");
        assert!(!contacts.are_late(), "it has not changed");
        assert_eq!(hear(&mut contacts, 7, looks(Status::Away, ""), false, true), "");
        contacts.forget(&who("bob"));
        assert!(!contacts.are_late());
        assert_eq!(hear(&mut contacts, 1, looks(Status::Online, ""), false, false), "NLN NLN bob Bob 0/");
    }

    #[test]
    fn who_is_surely_nowhere_is_shown_as_gone_unless_heard_of_since() {
        let mut contacts = Contacts::new(&Dialect::MSNP7);
        shown(&mut contacts);
        let absent = |contacts: &mut Contacts, mark| {
            let mut out = Out::default();
            contacts.absent(&who("bob"), mark, &mut out);
            text(out)
        };
        hear(&mut contacts, 1, looks(Status::Online, ""), false, false);
        let asked = contacts.mark_of(&who("bob")).unwrap();
        hear(&mut contacts, 2, looks(Status::Away, ""), false, false);
        assert_eq!(absent(&mut contacts, asked), "", "he has been heard of since");
        let asked = contacts.mark_of(&who("bob")).unwrap();
        assert_eq!(absent(&mut contacts, asked), "FLN bob/");
        assert_eq!(contacts.mark_of(&who("bob")), None);
        assert_eq!(absent(&mut contacts, asked), "");
        // He was there after all.
        assert_eq!(hear(&mut contacts, 3, looks(Status::Away, ""), true, false), "NLN AWY bob Bob/");
    }

    #[test]
    fn the_version_follows_a_property_only_if_nothing_was_missed() {
        let mut contacts = Contacts::new(&Dialect::MSNP7);
        hear(&mut contacts, 4, looks(Status::Online, ""), false, false);
        let mark = |version| Mark::of(&Stamp { version, ..stamp(1) });
        let follow = |contacts: &mut Contacts, count, repeated, known| {
            contacts.follow(&who("bob"), &stamp(count), repeated, Some(known), &mut Out::default());
            contacts.mark_of(&who("bob"))
        };
        for (count, known) in [(6, 4), (5, 5), (5, 5), (6, 6)] {
            assert_eq!(follow(&mut contacts, count, false, 0), Some(mark(known)));
        }
        assert_eq!(follow(&mut contacts, 7, true, 0), Some(mark(6)), "what is repeated has not changed");
        contacts.follow(&who("carol"), &stamp(1), false, Some(0), &mut Out::default());
        assert_eq!(contacts.mark_of(&who("carol")), None);
        // All of a version but the properties: not shown until they are known, whatever gets lost.
        contacts.hear(&who("bob"), stamp(9), looks(Status::Away, ""), (Some(7), true), &mut Out::default());
        assert_ne!(contacts.mark_of(&who("bob")), Some(mark(9)));
        assert_eq!(follow(&mut contacts, 9, true, 6), Some(mark(8)));
        assert_eq!(follow(&mut contacts, 10, false, 6), Some(mark(8)));
        assert_eq!(follow(&mut contacts, 9, true, 7), Some(mark(9)));
        assert_eq!(follow(&mut contacts, 10, false, 8), Some(mark(10)));
    }
}
