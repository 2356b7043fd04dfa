//! Sessions in tests: a world without sockets, and transcripts played against it.

mod corpus;
mod errands;
mod presence;

use std::cell::Cell;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use common::cluster::{
    Admittance, Cookie, Invitation, Kept, Load, Location, Node, Notice, Question, Role, Stamp, View, Watcher,
};
use common::config::NotificationConfig;
use common::model::{
    Bulletin, BulletinText, ClaimId, Contact, ContactId, ConversationId, Edition, Endpoint, Epoch, Generation,
    Limits, List, Lists, NodeId, ParticipationId, Passport, Presence, Property, Rates, Roster, Settings, Status,
    StrangerPolicy, digest,
};
use common::msnp::{Command, Decoder, Dialect, Service, TrId};
use uuid::Uuid;

use super::out::{Out, Piece};
use super::{Session, Surroundings};
use crate::roster::Effect;

/// The world of a test: the default configuration, a clock that stands, and no chance.
pub(crate) struct World {
    pub(crate) config: NotificationConfig,
    pub(crate) clear_text: bool,
    limits: Limits,
    pub(crate) rates: Rates,
    view: Arc<View>,
    random: Cell<u128>,
}

impl Default for World {
    fn default() -> Self {
        let view = Arc::new(View::new([switchboard("sb-1", 0, 100)]));
        // Its place is behind every first CHG: the scripts that are about it ask for it.
        let config = NotificationConfig { mail_notification: false, ..NotificationConfig::default() };
        let (limits, rates) = Default::default();
        Self { config, clear_text: false, limits, rates, view, random: Cell::new(1) }
    }
}

impl World {
    pub(crate) fn set_random(&self, random: u128) {
        self.random.set(random);
    }
}

impl Surroundings for World {
    fn config(&self) -> &NotificationConfig {
        &self.config
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn rates(&self) -> &Rates {
        &self.rates
    }

    fn clear_text(&self) -> bool {
        self.clear_text
    }

    fn wall_ms(&self) -> u64 {
        1_750_000_000_000
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    fn seal(&self, cookie: &Cookie, bound_to: &Admittance) -> String {
        let life = u64::from(cookie.expires) - self.wall_ms() / 1000;
        let Admittance { principal, switchboard, generation: Generation(generation) } = bound_to;
        let behind = if cookie.kept_first { ".kept-first" } else { "" };
        format!("{:?}.{}.{life}.{principal}.{switchboard}.{generation}{behind}", cookie.role, cookie.dialect)
    }

    fn random(&self) -> u128 {
        self.random.get()
    }
}

pub(crate) fn switchboard(id: &str, load: u64, capacity: u64) -> Node {
    Node {
        id: NodeId::parse(id).unwrap(),
        generation: Generation(7),
        role: Role::Switchboard,
        client_addr: ([192, 0, 2, 20], 1864).into(),
        peer_addr: ([192, 0, 2, 20], 1885).into(),
        gossip_addr: ([192, 0, 2, 20], 1875).into(),
        load: Load { load, capacity, ..Load::default() },
        highest_epoch: Epoch(0),
        ready: true,
        linked: true,
    }
}

/// One command, as the decoder gives it.
#[track_caller]
pub(crate) fn command(bytes: &str) -> Command {
    let mut input = BytesMut::from(bytes.as_bytes());
    let command = Decoder::new(Service::Notification, 0).decode(&mut input).unwrap().unwrap();
    assert!(input.is_empty(), "{bytes:?} is more than one command");
    command
}

pub(super) fn who(name: &str) -> Passport {
    Passport::parse(&format!("{name}@example.com")).unwrap()
}

fn location(name: &str) -> Location {
    let node = NodeId::parse(name).unwrap();
    Location { node, generation: Generation(1), epoch: Epoch(1), endpoint: Endpoint::SOLE }
}

/// Alice: bob is a mutual friend, carol has her and is blocked, dave is on her list only, erin has her and is on no
/// other list.
pub(super) fn alice(dialect: &'static Dialect, now: Instant) -> Session {
    use List::{Allow, Block, Forward, Reverse};
    let contacts: [(&str, &[List]); 4] = [
        ("bob", &[Forward, Allow, Reverse]),
        ("carol", &[Block, Reverse]),
        ("dave", &[Forward, Allow]),
        ("erin", &[Reverse]),
    ];
    session("alice", &contacts, dialect, now)
}

/// Somebody's session, with these contacts.
fn session(name: &str, contacts: &[(&str, &[List])], dialect: &'static Dialect, now: Instant) -> Session {
    let claim = ClaimId(Uuid::from_u128(1));
    let contacts = contacts.iter().map(|(name, lists)| {
        let passport = who(name);
        let id = ContactId::of(claim, &passport);
        let lists: Lists = lists.iter().copied().collect();
        let (name, groups, properties) = ((*name).into(), [].into(), [].into());
        let contact = Contact { passport: passport.clone(), id, lists, name, is_named: false, groups, properties };
        (passport, contact)
    });
    let mut friendly_name = name.to_owned();
    friendly_name[..1].make_ascii_uppercase();
    let settings = Settings {
        friendly_name,
        strangers: StrangerPolicy::Allow,
        add_prompt: common::model::AddPrompt::Ask,
        properties: [].into(),
        list_version: 30,
        lists_changed: 0,
        settings_changed: 0,
        reverse_digest: 0,
    };
    let roster =
        Roster { settings, contacts: contacts.collect(), phones: [].into(), groups: [].into(), copies_owed: None };
    Session::new(who(name), claim, Edition(7), dialect, location("ns-1"), roster, now)
}

/// Plays a script with alice's session. `C:` her client sends, `S:` it gets; `@` an event, `>` a notice to others.
///
/// Everything that a line causes follows it: first what the client gets, then the notices in order of recipients.
/// `/` stands for the end of a line within a command with a payload.
#[track_caller]
fn check(dialect: &'static Dialect, script: &str) {
    check_in(&World::default(), dialect, script);
}

#[track_caller]
fn check_in(world: &World, dialect: &'static Dialect, script: &str) {
    let mut now = Instant::now();
    let mut session = alice(dialect, now);
    let mut count = 0;
    let mut played = String::new();
    let wanted: Vec<_> = script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    for line in wanted.iter().filter(|line| line.starts_with(['C', '@'])) {
        let _ = writeln!(played, "{line}");
        let mut out = Out::default();
        if let Some(sent) = line.strip_prefix("C: ") {
            let (line, payload) = sent.split_once('/').unwrap_or((sent, ""));
            match session.command(&command(&format!("{line}\r\n{payload}")), now, world, &mut out) {
                Ok(None) => {}
                Ok(Some(_)) => panic!("{line} is about the roster"),
                Err(error) => {
                    let _ = writeln!(played, "! {error}");
                }
            }
        } else {
            count += 1;
            event(&mut session, line.trim_start_matches("@ "), count, &mut now, world, &mut out);
        }
        report(out, &mut played);
    }
    assert_eq!(played.lines().collect::<Vec<_>>(), wanted, "{dialect:?}");
}

/// `bob looks STATUS message`, `bob answers STATUS|nothing`, `bob answers STATUS phones`, `bob gone`, `bob absent`,
/// `bob asks [phones]`, `bob calls [again]`, `bob phones VALUE`,
/// `bob kept EPOCH`, `operators say TEXT`, `operators stop MINUTES`, `edit EFFECT who`, `begin`, `reannounce`, `back`, `wait SECONDS`,
/// `outstanding`, `serves`, `brought EPOCH all|part`, `switchboard asks heard|brought`; `elsewhere`: of another session's client.
fn event(session: &mut Session, line: &str, count: u64, now: &mut Instant, world: &World, out: &mut Out) {
    let mut words = line.split(' ');
    let (subject, verb) = (words.next().unwrap(), words.next().unwrap_or_default());
    let rest = words.next().unwrap_or_default();
    let message = words.next().map(Into::into);
    let version = u32::try_from(count).unwrap();
    let stamp = Stamp { epoch: Epoch(1), node: NodeId::parse("ns-2").unwrap(), count, version };
    let properties = digest(&[].into());
    let looks = |status: &str| Presence {
        status: Status::from_code(status).unwrap(),
        name: subject.into(),
        capabilities: 268_435_492,
        object: None,
        personal_message: message.clone(),
    };
    let from = || who(subject);
    match (subject, verb) {
        ("begin", _) => session.begin(*now, out),
        ("reannounce", _) => session.was_missing(*now, world, out),
        ("back", _) => session.may_be_kept(*now),
        ("wait", secs) => {
            *now += Duration::from_secs(secs.parse().unwrap());
            session.tick(*now, world, out);
        }
        ("operators", "say") => {
            let text = BulletinText::parse(rest).unwrap();
            session.bulletin(&Bulletin::Text { number: 7, text }, &world.config, out);
        }
        ("operators", "stop") => {
            session.bulletin(&Bulletin::ShutDown { minutes: rest.parse().unwrap() }, &world.config, out);
        }
        ("outstanding", _) => {
            session.notice(
                Notice::Outstanding { participation: ParticipationId(Uuid::nil()) },
                *now,
                &world.config,
                out,
            );
        }
        ("serves", _) => {
            let asked = super::Asked::Of(NodeId::parse("sb-1").unwrap(), Generation(7));
            session.asked_for_kept(asked, *now);
        }
        ("dies", secs) => {
            let after = Duration::from_secs(secs.parse().unwrap());
            session.switchboard_lost(&NodeId::parse("sb-1").unwrap(), Generation(7), *now + after);
        }
        ("brought", epoch) => session.picked_up(Epoch(epoch.parse().unwrap()), rest == "all", Vec::new(), *now),
        ("switchboard" | "elsewhere", "asks") => {
            let sign = session.here.epoch.sign() + u32::from(subject == "elsewhere");
            let question = match rest {
                "heard" => Question::LastHeard,
                "rung" => Question::Rung(CONVERSATION),
                _ => Question::Brought,
            };
            let outcome = session.asked(sign, question, Some(*now - session.heard()), *now, world, out);
            out.line(format!("({outcome:?})").into());
        }
        (_, "absent") => {
            let shown = session.contacts.mark_of(&from()).expect("somebody who was heard of");
            session.notice(Notice::Absent { of: from(), shown }, *now, &world.config, out);
        }
        ("edit", effect) => edit(session, effect, rest, out),
        (_, "looks") => {
            let presence = Some(looks(rest));
            session.notice(
                Notice::Presence { from: from(), stamp, presence, properties },
                *now,
                &world.config,
                out,
            );
        }
        (_, "gone") => {
            session.notice(
                Notice::Presence { from: from(), stamp, presence: None, properties },
                *now,
                &world.config,
                out,
            );
        }
        (_, "answers") => {
            let presence = (rest != "nothing").then(|| looks(rest));
            let properties = if message.as_deref() == Some("phones") { 7 } else { properties };
            session.notice(
                Notice::ProbeAnswer { from: from(), stamp, presence, properties },
                *now,
                &world.config,
                out,
            );
        }
        (_, "asks") => {
            let Location { node, generation, epoch, .. } = location("ns-2");
            let watchers = vec![Watcher { who: from(), epoch, shown: None, properties: rest == "phones" }];
            session.notice(Notice::Probe { watchers, node, generation }, *now, &world.config, out);
        }
        (_, "phones") => {
            let property = Property::MobilePhone;
            let notice = Notice::Property { of: from(), stamp, repeated: false, property, value: rest.into() };
            session.notice(notice, *now, &world.config, out);
        }
        (_, "calls" | "kept") => {
            let invitation = Invitation {
                conversation: CONVERSATION,
                session: 11_752_013,
                switchboard: NodeId::parse("sb-2").unwrap(),
                generation: Generation(3),
                addr: ([192, 0, 2, 21], 1864).into(),
                caller: from(),
                caller_name: "Bob B".into(),
                again: rest == "again",
                ring: 5,
                kept: rest
                    .parse()
                    .ok()
                    .map(|epoch| Kept { session: Epoch(epoch), messages: [Uuid::from_u128(3)].into() }),
            };
            let outcome = session.invite(&invitation, *now, world, out);
            out.line(format!("({outcome:?})").into());
        }
        _ => panic!("no such event: {line}"),
    }
}

/// An effect of an edit, after the edit itself.
fn edit(session: &mut Session, effect: &str, name: &str, out: &mut Out) {
    let roster = Arc::make_mut(&mut session.roster);
    let mut set = |remove: List, add: List| {
        let contact = roster.contacts.get_mut(&who(name)).unwrap();
        contact.lists = contact.lists.without(remove).with(add);
    };
    let effect = match effect {
        "block" => {
            set(List::Allow, List::Block);
            Effect::HideFrom(who(name))
        }
        "unblock" => {
            set(List::Block, List::Allow);
            Effect::ShowTo(who(name))
        }
        "strangers" => {
            roster.settings.strangers = if name == "BL" { StrangerPolicy::Block } else { StrangerPolicy::Allow };
            Effect::PrivacyChanged
        }
        "rename" => {
            roster.settings.friendly_name = name.into();
            Effect::NameChanged
        }
        "phone" => Effect::PropertyChanged(Property::HomePhone, name.into()),
        "add" => {
            set(List::Block, List::Forward);
            Effect::Watch { who: who(name), trid: TrId(12) }
        }
        "drop" => {
            let contact = roster.contacts.get_mut(&who(name)).unwrap();
            contact.lists = contact.lists.without(List::Forward);
            Effect::Unwatch(who(name))
        }
        _ => panic!("no such effect: {effect}"),
    };
    session.effect(effect, out);
}

fn report(out: Out, played: &mut String) {
    for piece in out.pieces {
        let lines: Vec<_> = match piece {
            Piece::Line(line) => vec![line],
            Piece::Source(lines) => lines.collect(),
        };
        for line in lines {
            let line = String::from_utf8(line.to_vec()).unwrap();
            let _ = writeln!(played, "S: {}", line.trim_end_matches("\r\n").replace("\r\n", "/"));
        }
    }
    let mut posts: Vec<_> = out.posts.iter().map(|(to, notice)| format!("{to} {}", describe(notice))).collect();
    posts.sort();
    posts.iter_mut().for_each(|post| post.truncate(post.trim_end().len()));
    posts.extend(out.direct.iter().flat_map(|direct| {
        let letter = move |(to, _, notice): &(Passport, Epoch, Notice)| {
            format!("{to} at {} {}", direct.node, describe(notice))
        };
        direct.letters.iter().map(letter)
    }));
    for post in posts {
        let _ = writeln!(played, "> {}", post.replace("@example.com", ""));
    }
    if let Some(kind) = out.too_often {
        let _ = writeln!(played, "! too often: {}", kind.label());
    }
    if out.pick_up {
        let _ = writeln!(played, "? kept");
    }
    if let Some(closing) = out.close {
        let _ = writeln!(played, "! {}", closing.label());
    }
}

fn describe(notice: &Notice) -> String {
    match notice {
        Notice::Presence { presence: None, .. } => "gone".into(),
        Notice::Presence { presence: Some(presence), .. } => format!("looks {}", describe_presence(presence)),
        Notice::ProbeAnswer { presence: None, .. } => "answer nothing".into(),
        Notice::ProbeAnswer { presence: Some(presence), .. } => format!("answer {}", describe_presence(presence)),
        Notice::Probe { watchers, .. } if watchers.iter().any(|watcher| watcher.properties) => "phones?".into(),
        Notice::Probe { .. } => "probe".into(),
        Notice::Property { property, value, .. } => format!("{} {value}", property.code()),
        other => format!("{other:?}"),
    }
}

fn describe_presence(presence: &Presence) -> String {
    let Presence { status, name, capabilities, object, personal_message } = presence;
    let mut text = format!("{status} {name} {capabilities}");
    for more in [object, personal_message].into_iter().flatten() {
        let _ = write!(text, " {more}");
    }
    text
}

/// The conversation to which the client is called.
const CONVERSATION: ConversationId = ConversationId(Uuid::from_u128(2));

const MSNP7: &Dialect = &Dialect::MSNP7;
const MSNP8: &Dialect = &Dialect::MSNP8;
const MSNP11: &Dialect = &Dialect::MSNP11;
