//! `SYN`, and `LST` and `LSG` as requests: the whole state of an account (§6.5, §6.6).

use std::collections::BTreeSet;
use std::ops::{Bound, Deref};
use std::vec;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::dialect::{Dialect, SyncShape};
use super::frame::{Command, TrId};
use super::groups::OTHER_CONTACTS;
use super::line::Line;
use super::{ErrorCode, ParseError, Token, privacy, properties, value};
use crate::model::{Contact, ContactId, Group, GroupId, List, Lists, Passport, PhoneContact, PhoneNumber, Roster};

/// A request for what the server keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyncRequest {
    /// `SYN t v`, from MSNP10 `SYN t ts1 ts2`
    Sync {
        /// Its transaction id.
        trid: TrId,
        /// What the client remembers.
        known: Known,
    },
    /// `LST t FL|AL|BL|RL`, up to MSNP7
    List {
        /// Its transaction id.
        trid: TrId,
        /// Which list.
        list: List,
    },
    /// `LSG t`, MSNP7
    Groups {
        /// Its transaction id.
        trid: TrId,
    },
    /// `LST` in a dialect that has dropped it: an error line, not a broken session (`CLIENTS` 4).
    Dropped {
        /// Its transaction id.
        trid: TrId,
    },
}

/// What a client says that it remembers from its last SYN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Nothing: `0`, or `0 0`. Always gets everything.
    Nothing,
    /// A list version.
    Version(u64),
    /// When lists and settings had last changed, as the server once wrote it.
    Times(Token, Token),
}

impl SyncRequest {
    /// Reads a request for the state; nothing if the verb is another.
    ///
    /// # Errors
    /// [`ParseError`] for missing arguments, a version that is no number, or a list that can't be asked for.
    pub fn parse(command: &Command, dialect: &Dialect) -> Result<Option<Self>, ParseError> {
        let kept = matches!(dialect.sync, SyncShape::ListByList);
        let request = match &command.verb().0 {
            b"SYN" => Self::Sync { trid: command.trid()?, known: parse_known(command, dialect)? },
            b"LST" if !kept => Self::Dropped { trid: command.trid()? },
            b"LST" => {
                let list = List::from_code(command.arg(1).ok_or(ParseError::ArgumentCount)?);
                let list = list.filter(|list| *list != List::Pending).ok_or(ParseError::BadArgument("list"))?;
                Self::List { trid: command.trid()?, list }
            }
            b"LSG" => Self::Groups { trid: command.trid()? },
            _ => return Ok(None),
        };
        Ok(Some(request))
    }

    /// Its transaction id.
    #[must_use]
    pub fn trid(&self) -> TrId {
        match self {
            Self::Sync { trid, .. } | Self::List { trid, .. } | Self::Groups { trid } | Self::Dropped { trid } => {
                *trid
            }
        }
    }
}

fn parse_known(command: &Command, dialect: &Dialect) -> Result<Known, ParseError> {
    let first = command.token(1).ok_or(ParseError::ArgumentCount)?;
    if matches!(dialect.sync, SyncShape::Tagged) {
        let known = command.token(2).filter(|second| first.as_str() != "0" || second.as_str() != "0");
        return Ok(known.map_or(Known::Nothing, |second| Known::Times(first, second)));
    }
    let digits = first.as_str().bytes().all(|b| b.is_ascii_digit());
    match first.as_str().parse() {
        _ if first.is_empty() => Ok(Known::Nothing),
        Ok(0) => Ok(Known::Nothing),
        Ok(version) if digits => Ok(Known::Version(version)),
        _ => Err(ParseError::BadArgument("list version")),
    }
}

/// A time as MSNP10 and later write it: `2004-08-14T23:57:32.8700000Z`. Clients send it back as it was written.
#[must_use]
pub fn time(ms: u64) -> String {
    time_after(ms, SignedDuration::ZERO)
}

fn time_after(ms: u64, more: SignedDuration) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let at = at.and_then(|at| at.checked_add(more).ok()).unwrap_or_default();
    format!("{at:.7}")
}

/// The answer to a [`SyncRequest`], made while it is read: whole lines, a contact's with those that belong to it.
#[derive(Debug)]
pub struct Answer<R> {
    roster: R,
    dialect: &'static Dialect,
    trid: TrId,
    /// What comes before the contacts.
    head: vec::IntoIter<Bytes>,
    /// The runs of contacts still to begin: lists, or all contacts at once.
    runs: &'static [Option<List>],
    run: Option<Run>,
    /// Behind them come phone contacts, where the dialect has them.
    phones: Phones,
    /// `LST` lines are followed by what belongs to the contact.
    with_properties: bool,
}

/// A run of `LST` lines.
#[derive(Debug)]
struct Run {
    list: Option<List>,
    last: Option<Passport>,
    index: usize,
    count: usize,
}

/// How far the phone contacts are told.
#[derive(Debug)]
enum Phones {
    All,
    After(PhoneNumber),
    Done,
}

/// In this order: gaim finishes on the last line of the reverse list (`CLIENTS` 14).
const LIST_BY_LIST: &[Option<List>] =
    &[Some(List::Forward), Some(List::Allow), Some(List::Block), Some(List::Reverse)];

/// Answers a request. `owner` is whose roster it is.
#[must_use]
pub fn answer<R: Deref<Target = Roster>>(
    roster: R,
    owner: &Passport,
    dialect: &'static Dialect,
    request: &SyncRequest,
) -> Answer<R> {
    let trid = request.trid();
    let writer = Writer { dialect, trid, roster: &roster };
    let (head, runs, with_properties): (_, &'static [_], _) = match request {
        SyncRequest::Sync { known, .. } if writer.is_current(known) => (vec![writer.syn(None)], &[], false),
        SyncRequest::Sync { .. } => (writer.head(owner), writer.runs(), true),
        SyncRequest::List { list, .. } => {
            let at = LIST_BY_LIST.iter().position(|run| *run == Some(*list)).unwrap_or(LIST_BY_LIST.len());
            (Vec::new(), LIST_BY_LIST.get(at..=at).unwrap_or_default(), false)
        }
        SyncRequest::Groups { .. } => (writer.groups(0), &[], false),
        SyncRequest::Dropped { .. } => (vec![Line::error(ErrorCode::CommandDisabled, trid)], &[], false),
    };
    let phones = if with_properties && dialect.phone_contacts { Phones::All } else { Phones::Done };
    Answer { roster, dialect, trid, head: head.into_iter(), runs, run: None, phones, with_properties }
}

impl<R: Deref<Target = Roster>> Iterator for Answer<R> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some(line) = self.head.next() {
            return Some(line);
        }
        let writer = Writer { dialect: self.dialect, trid: self.trid, roster: &self.roster };
        loop {
            if let Some(run) = &mut self.run {
                if let Some(contact) = writer.after(run) {
                    run.index += 1;
                    run.last = Some(contact.passport.clone());
                    return Some(writer.contact(run, contact, self.with_properties));
                }
                self.run = None;
            }
            let Some((list, rest)) = self.runs.split_first() else {
                let phone = writer.phone_after(&self.phones);
                self.phones = phone.map_or(Phones::Done, |phone| Phones::After(phone.number.clone()));
                return phone.map(|phone| writer.phone(phone));
            };
            self.runs = rest;
            let run = Run { list: *list, last: None, index: 0, count: writer.count(*list) };
            if let (Some(list), 0) = (run.list, run.count) {
                return Some(writer.start("LST", Some(list)).arg(0).arg(0).end());
            }
            self.run = Some(run);
        }
    }
}

/// What an `LST` line of the tagged shape says.
struct Tagged<'a> {
    handle: &'a str,
    name: &'a str,
    id: ContactId,
    /// As the client sees them.
    lists: Lists,
    network: u8,
    groups: &'a BTreeSet<GroupId>,
}

impl<'a> Tagged<'a> {
    fn of(contact: &'a Contact, dialect: &Dialect) -> Self {
        Self {
            handle: contact.passport.as_str(),
            name: contact.shown_name(),
            id: contact.id,
            lists: contact.shown_lists(dialect.pending_list),
            network: MESSENGER_NETWORK,
            groups: &contact.groups,
        }
    }
}

/// The network of whoever has an account here (§6.5).
const MESSENGER_NETWORK: u8 = 1;
/// That of phones.
const PHONE_NETWORK: u8 = 4;

/// The smallest part of a time that clients are told.
const TICK: SignedDuration = SignedDuration::from_nanos(100);

/// Writes the lines of one answer.
struct Writer<'a> {
    dialect: &'static Dialect,
    trid: TrId,
    roster: &'a Roster,
}

impl Writer<'_> {
    fn is_current(&self, known: &Known) -> bool {
        let settings = &self.roster.settings;
        match known {
            Known::Nothing => false,
            Known::Version(version) => *version == settings.list_version,
            Known::Times(lists, rest) => {
                lists.as_str() == self.lists_changed() && rest.as_str() == time(settings.settings_changed)
            }
        }
    }

    /// When the lists have changed, as the client is told. Where phones are left out it is a tick later: a newer client
    /// that finds what an older one remembered must not take it for the whole list.
    fn lists_changed(&self) -> String {
        let left_out = !self.dialect.phone_contacts && !self.roster.phones.is_empty();
        let tick = if left_out { TICK } else { SignedDuration::ZERO };
        time_after(self.roster.settings.lists_changed, tick)
    }

    /// The start of a line: with transaction id and version where the dialect has them on every line.
    fn start(&self, verb: &str, list: Option<List>) -> Line {
        let line = Line::new(verb);
        match self.dialect.sync {
            SyncShape::ListByList => line.arg(self.trid).maybe(list).arg(self.roster.settings.list_version),
            SyncShape::Merged | SyncShape::Tagged => line,
        }
    }

    /// `SYN t v`, with counts if everything follows.
    fn syn(&self, counts: Option<(usize, usize)>) -> Bytes {
        let settings = &self.roster.settings;
        let line = Line::new("SYN").arg(self.trid);
        let line = match self.dialect.sync {
            SyncShape::ListByList => return line.arg(settings.list_version).end(),
            SyncShape::Merged => line.arg(settings.list_version),
            SyncShape::Tagged => line.arg(self.lists_changed()).arg(time(settings.settings_changed)),
        };
        line.maybe(counts.map(|counts| counts.0)).maybe(counts.map(|counts| counts.1)).end()
    }

    fn head(&self, owner: &Passport) -> Vec<Bytes> {
        let settings = &self.roster.settings;
        let phones = if self.dialect.phone_contacts { self.roster.phones.len() } else { 0 };
        let contacts = self.count(None) + phones;
        let groups = self.groups(contacts);
        let mut head = vec![
            self.syn(Some((contacts, groups.len()))),
            self.start("GTC", None).arg(privacy::prompt_code(settings.add_prompt)).end(),
            self.start("BLP", None).arg(privacy::policy_code(settings.strangers)).end(),
        ];
        if matches!(self.dialect.sync, SyncShape::Tagged) {
            let name = if settings.friendly_name.is_empty() { owner.as_str() } else { &settings.friendly_name };
            head.push(Line::new("PRP").arg("MFN").text(name).end());
        }
        let own = properties::own_in_sync(self.dialect, &settings.properties);
        head.extend(own.map(|(code, value)| properties::own_line(self.start("PRP", None), code, value)));
        head.extend(groups);
        head
    }

    /// The `LSG` lines. Group 0 comes first, but last when no contact follows: libpurple then finishes on it
    /// (`CLIENTS` 14).
    fn groups(&self, contacts: usize) -> Vec<Bytes> {
        if !self.dialect.groups {
            return Vec::new();
        }
        let zero_last = matches!(self.dialect.sync, SyncShape::Merged) && contacts == 0;
        let groups = self.roster.groups.values().map(Some);
        let (first, last) = match self.dialect.sync {
            SyncShape::Tagged => (None, None),
            _ if zero_last => (None, Some(None)),
            _ => (Some(None), None),
        };
        let count = self.roster.groups.len() + 1;
        let all = first.into_iter().chain(groups).chain(last).enumerate();
        all.map(|(at, group)| self.group(at + 1, count, group)).collect()
    }

    fn group(&self, index: usize, count: usize, group: Option<&Group>) -> Bytes {
        let line = self.start("LSG", None);
        let (number, name) = group.map_or((0, OTHER_CONTACTS), |group| (group.number, &group.name));
        match self.dialect.sync {
            SyncShape::ListByList => line.arg(index).arg(count).arg(number).text(name).arg(0),
            SyncShape::Merged => line.arg(number).text(name).arg(0),
            SyncShape::Tagged => line.text(name).maybe(group.map(|group| group.id)),
        }
        .end()
    }

    fn runs(&self) -> &'static [Option<List>] {
        match self.dialect.sync {
            SyncShape::ListByList => LIST_BY_LIST,
            SyncShape::Merged | SyncShape::Tagged => &[None],
        }
    }

    fn shows(&self, list: Option<List>, contact: &Contact) -> bool {
        let lists = contact.shown_lists(self.dialect.pending_list);
        list.map_or(!lists.is_empty(), |list| lists.contains(list))
    }

    fn count(&self, list: Option<List>) -> usize {
        self.roster.contacts.values().filter(|contact| self.shows(list, contact)).count()
    }

    fn after(&self, run: &Run) -> Option<&Contact> {
        let from = run.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let behind = self.roster.contacts.range::<Passport, _>((from, Bound::Unbounded));
        behind.map(|(_, contact)| contact).find(|contact| self.shows(run.list, contact))
    }

    fn contact(&self, run: &Run, contact: &Contact, with_properties: bool) -> Bytes {
        let on_forward = contact.lists.contains(List::Forward);
        let line = match (self.dialect.sync, run.list) {
            (SyncShape::ListByList, list) => {
                let line = self.start("LST", list).arg(run.index).arg(run.count);
                let line = line.arg(&contact.passport).text(contact.shown_name());
                let in_groups = list == Some(List::Forward) && self.dialect.groups;
                line.maybe(in_groups.then(|| self.numbers(contact))).end()
            }
            (SyncShape::Merged, _) => {
                let line = Line::new("LST").arg(&contact.passport).text(contact.shown_name());
                let line = line.arg(contact.shown_lists(self.dialect.pending_list).bits());
                line.maybe(on_forward.then(|| self.numbers(contact))).end()
            }
            (SyncShape::Tagged, _) => self.tagged(&Tagged::of(contact, self.dialect)),
        };
        if !with_properties || !on_forward || run.list.is_some_and(|list| list != List::Forward) {
            return line;
        }
        let version = self.roster.settings.list_version;
        let told = properties::told_in_sync(self.dialect, version, &contact.passport, &contact.properties);
        if told.is_empty() { line } else { [line.as_ref(), &told].concat().into() }
    }

    /// `LST N=H F=N [C=K] bits [net] [G,G,...]`. Always with `F=`: msnp11-sdk drops a line without it.
    fn tagged(&self, entry: &Tagged<'_>) -> Bytes {
        let name = value::encode(entry.name);
        let line = Line::new("LST").arg(format_args!("N={}", entry.handle)).arg(format_args!("F={name}"));
        let on_forward = entry.lists.contains(List::Forward);
        let line = line.maybe(on_forward.then(|| format!("C={}", entry.id)));
        let line = line.arg(entry.lists.bits()).maybe(self.dialect.network_ids.then_some(entry.network));
        let ids: Vec<_> = self.roster.groups_of(entry.groups).map(|group| group.id.to_string()).collect();
        line.maybe((on_forward && !ids.is_empty()).then(|| ids.join(","))).end()
    }

    fn phone_after(&self, told: &Phones) -> Option<&PhoneContact> {
        let from = match told {
            Phones::All => Bound::Unbounded,
            Phones::After(number) => Bound::Excluded(number),
            Phones::Done => return None,
        };
        self.roster.phones.range::<PhoneNumber, _>((from, Bound::Unbounded)).map(|(_, phone)| phone).next()
    }

    fn phone(&self, phone: &PhoneContact) -> Bytes {
        self.tagged(&Tagged {
            handle: phone.number.as_str(),
            name: phone.shown_name(),
            id: phone.id,
            lists: phone.lists,
            network: PHONE_NETWORK,
            groups: &phone.groups,
        })
    }

    /// The groups of a contact by number; `0` when it is in none.
    fn numbers(&self, contact: &Contact) -> String {
        let numbers: Vec<_> =
            self.roster.groups_of(&contact.groups).map(|group| group.number.to_string()).collect();
        if numbers.is_empty() { "0".to_owned() } else { numbers.join(",") }
    }
}

#[cfg(test)]
mod tests;
