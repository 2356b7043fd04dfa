//! What a client has been shown of its contacts, and what it is to be shown next (protocol reference §6.8, §6.21).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::cluster::Stamp;
use common::model::{NodeId, Passport, PersonalMessage, Presence};
use common::msnp::{Dialect, TrId, presence};

use super::out::Out;

/// How the contacts on the forward list look. Others are never entered: a client must not hear of them
/// (`CLIENTS` 17).
pub(crate) struct Contacts {
    dialect: &'static Dialect,
    seen: HashMap<Passport, Box<Seen>>,
    /// The transaction id of the first `CHG`. Before it nothing is shown, only noted.
    first_change: Option<TrId>,
    /// Contacts added while signed in, whose answer to our probe belongs to that request.
    asked: Vec<(Passport, TrId)>,
    /// When contacts of a node that died have to have answered.
    patience: Option<Instant>,
    next_key: u64,
}

/// What is known of one contact.
struct Seen {
    /// Its place in the client's queue.
    key: u64,
    /// The age of the newest word of it.
    stamp: Stamp,
    /// How it looks; nothing: signed out, or not to be seen.
    presence: Option<Presence>,
    /// The personal message that the client shows.
    message: Option<PersonalMessage>,
    /// The client has been told something of it.
    shown: bool,
    /// Its node is dead, and it has not been heard of since.
    suspect: bool,
}

impl Contacts {
    /// How long a contact of a dead node has to answer from where it is now.
    const PATIENCE: Duration = Duration::from_secs(5);

    /// Nobody is known yet.
    pub(crate) fn new(dialect: &'static Dialect) -> Self {
        Self { dialect, seen: HashMap::new(), first_change: None, asked: Vec::new(), patience: None, next_key: 0 }
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
    /// same to this client is not written. `answer`: it answers a probe.
    pub(crate) fn hear(
        &mut self,
        who: &Passport,
        stamp: Stamp,
        presence: Option<Presence>,
        answer: bool,
        out: &mut Out,
    ) {
        let asked = if answer { self.take_asked(who) } else { None };
        if let Some(known) = self.seen.get_mut(who) {
            if stamp <= known.stamp {
                return;
            }
            known.stamp = stamp;
        } else {
            self.next_key += 1;
            self.seen.insert(who.clone(), Box::new(Seen::new(self.next_key, stamp)));
        }
        let Some(seen) = self.seen.get_mut(who) else { return };
        seen.suspect = false;
        let before = std::mem::replace(&mut seen.presence, presence);
        let Some(first_change) = self.first_change else { return };
        let initial = (answer && !seen.shown).then(|| asked.unwrap_or(first_change));
        seen.write(self.dialect, who, before.as_ref(), initial, out);
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
    }

    /// A node is dead: those who were there can't say any more that they have gone. Returns who is to be probed.
    pub(crate) fn suspect(&mut self, node: &NodeId) -> Vec<Passport> {
        let mut suspects = Vec::new();
        for (who, seen) in &mut self.seen {
            if seen.presence.is_some() && seen.stamp.node == *node {
                seen.suspect = true;
                suspects.push(who.clone());
            }
        }
        suspects
    }

    /// All suspects will have been probed at that time: who has not answered a while later is shown as gone by
    /// [`Contacts::tick`].
    pub(crate) fn expect_answers(&mut self, probed: Instant) {
        if self.seen.values().any(|seen| seen.suspect) {
            self.patience = Some(probed + Self::PATIENCE);
        }
    }

    /// When [`Contacts::tick`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.patience
    }

    /// Shows suspects that have not answered as gone.
    pub(crate) fn tick(&mut self, now: Instant, out: &mut Out) {
        if self.patience.is_none_or(|patience| now < patience) {
            return;
        }
        self.patience = None;
        for (who, seen) in self.seen.iter_mut().filter(|(_, seen)| seen.suspect) {
            seen.suspect = false;
            let before = seen.presence.take();
            if self.first_change.is_some() {
                seen.write(self.dialect, who, before.as_ref(), None, out);
            }
        }
    }
}

impl Seen {
    fn new(key: u64, stamp: Stamp) -> Self {
        Self { key, stamp, presence: None, message: None, shown: false, suspect: false }
    }

    /// Writes how the contact looks now, as far as the client can tell it from how it looked before. A client with
    /// a backlog gets all of it, since it may replace what still waits.
    fn write(
        &mut self,
        dialect: &Dialect,
        who: &Passport,
        before: Option<&Presence>,
        initial: Option<TrId>,
        out: &mut Out,
    ) {
        let Some(now) = &self.presence else {
            if before.is_some() {
                self.shown = true;
                out.replacing(self.key, presence::offline(who));
            }
            return;
        };
        self.shown = true;
        let all = out.backlogged;
        let mut block = Vec::new();
        if all || before.is_none_or(|before| !presence::look_alike(dialect, before, now)) {
            let line = match initial {
                Some(trid) => presence::initial(dialect, trid, who, now),
                None => presence::online(dialect, who, now),
            };
            block.push(line);
        }
        if dialect.personal_message {
            let message = &now.personal_message;
            if all || self.message != *message || (before.is_none() && message.is_some()) {
                block.push(presence::personal_message(who, message.as_deref()));
            }
            self.message.clone_from(message);
        }
        match block.len() {
            0 => {}
            1 => out.replacing(self.key, block.swap_remove(0)),
            // One piece, so that they are replaced together.
            _ => out.replacing(self.key, Bytes::from(block.concat())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::out::Piece;
    use super::*;
    use common::model::{Epoch, Status};

    fn who(name: &str) -> Passport {
        Passport::parse(&format!("{name}@example.com")).unwrap()
    }

    fn stamp(count: u64) -> Stamp {
        Stamp { epoch: Epoch(1), node: NodeId::parse("ns-1").unwrap(), count }
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
        count: u64,
        presence: Option<Presence>,
        answer: bool,
        backlogged: bool,
    ) -> String {
        let mut out = Out::new(backlogged);
        contacts.hear(&who("bob"), stamp(count), presence, answer, &mut out);
        text(out)
    }

    fn text(out: Out) -> String {
        let text = out.pieces.into_iter().map(|piece| match piece {
            Piece::Line(line) => String::from_utf8(line.to_vec()).unwrap(),
            Piece::Keyed(key, line) => format!("{key}:{}", String::from_utf8(line.to_vec()).unwrap()),
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
        contacts.hear(&who("carol"), stamp(1), None, false, &mut out);
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
    fn a_slow_client_gets_the_whole_picture_to_replace_what_waits() {
        let mut contacts = Contacts::new(&Dialect::MSNP11);
        shown(&mut contacts);
        let mut hear = |count, presence| hear(&mut contacts, count, presence, false, true);
        assert_eq!(hear(1, looks(Status::Online, "<x>")), "1:NLN NLN bob Bob 0/UBX bob 3/<x>");
        assert_eq!(hear(2, looks(Status::Away, "<x>")), "1:NLN AWY bob Bob 0/UBX bob 3/<x>");
        assert_eq!(hear(3, looks(Status::Away, "")), format!("1:NLN AWY bob Bob 0/{CLEAR}"));
        assert_eq!(hear(4, looks(Status::Busy, "")), format!("1:NLN BSY bob Bob 0/{CLEAR}"));
        assert_eq!(hear(5, None), "1:FLN bob/");
    }

    #[test]
    fn who_does_not_answer_after_its_node_died_has_gone() {
        let mut contacts = Contacts::new(&Dialect::MSNP7);
        shown(&mut contacts);
        let now = Instant::now();
        let node = NodeId::parse("ns-1").unwrap();
        hear(&mut contacts, 1, looks(Status::Online, ""), false, false);
        assert!(contacts.suspect(&NodeId::parse("ns-2").unwrap()).is_empty());
        for (answers, line) in [(true, ""), (false, "FLN bob/")] {
            assert_eq!(contacts.suspect(&node), [who("bob")]);
            contacts.expect_answers(now);
            assert_eq!(contacts.deadline(), Some(now + Contacts::PATIENCE));
            if answers {
                assert_eq!(hear(&mut contacts, 2, looks(Status::Online, ""), true, false), "");
            }
            let mut out = Out::default();
            contacts.tick(now, &mut out);
            contacts.tick(now + Contacts::PATIENCE, &mut out);
            assert_eq!(text(out), line);
            assert_eq!(contacts.deadline(), None);
        }
        assert!(contacts.suspect(&node).is_empty());
        contacts.expect_answers(now);
        assert_eq!(contacts.deadline(), None);
    }
}
