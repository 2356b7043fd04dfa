//! A signed-in session: what it knows, and what it does with requests and notices. No I/O in here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::cluster::{Location, Notice, Outcome, Question, Stamp};
use common::config::NotificationConfig;
use common::model::{Bulletin, ClaimId, Edition, List, Passport, Presence, Roster, digest};
use common::msnp::handshake::{self, Handshake};
use common::msnp::hotmail::Addressee;
use common::msnp::presence::Change;
use common::msnp::verbs::{Phase, gate};
use common::msnp::{Command, Dialect, ErrorCode, ParseError, Service, hotmail, invitation, miscellany, presence};

use super::asking::Asking;
use super::challenge::Challenges;
use super::contacts::Contacts;
use super::copies::Copies;
use super::doubt::Doubt;
use super::others::Others;
use super::out::Out;
use super::own::Own;
use super::pickup::PickUp;
use super::rings::Rings;
use super::{Closing, Surroundings};
use crate::allowance::Allowance;
use crate::hub::Missed;
use crate::metrics::Limited;
use crate::repair::Change as Compared;
use crate::roster::{self, Renamed};

/// A signed-in session. Only its own task touches it.
pub(crate) struct Session {
    /// Whose.
    pub(crate) passport: Passport,
    /// The claim that won the passport.
    pub(crate) claim: ClaimId,
    /// By which of the account's credentials it has signed in.
    pub(crate) edition: Edition,
    /// What its client speaks.
    pub(crate) dialect: &'static Dialect,
    /// Where it is.
    pub(crate) here: Location,
    /// The principal's lists and settings, as the store has them.
    pub(crate) roster: Arc<Roster>,
    /// `SYN` has been asked: it is answered once.
    pub(crate) synced: bool,
    /// `IMS`
    pub(super) takes_invitations: bool,
    pub(super) own: Own,
    pub(super) contacts: Contacts,
    pub(super) others: Others,
    pub(super) asking: Asking,
    pub(super) copies: Copies,
    pub(super) pick_up: PickUp,
    pub(super) rings: Rings,
    /// Whether the last edit has happened is not known.
    pub(super) doubt: Option<Box<Doubt>>,
    challenges: Challenges,
    /// What the account may still do of what costs others something: what earlier sessions have left of it.
    pub(super) allowance: Allowance,
    /// When something that the client has sent was last handled.
    heard: Instant,
    /// When it signed in.
    since: Instant,
}

impl Session {
    /// A session that has just signed in, invisible until its first `CHG`.
    pub(crate) fn new(
        passport: Passport,
        claim: ClaimId,
        edition: Edition,
        dialect: &'static Dialect,
        here: Location,
        roster: Roster,
        now: Instant,
    ) -> Self {
        let own = Own::new(&roster.settings.friendly_name);
        let copies = Copies::owed_by(&roster, now);
        Self {
            passport,
            claim,
            edition,
            dialect,
            here,
            roster: Arc::new(roster),
            synced: false,
            takes_invitations: true,
            own,
            contacts: Contacts::new(dialect),
            others: Others::default(),
            asking: Asking::default(),
            copies,
            pick_up: PickUp::default(),
            rings: Rings::default(),
            doubt: None,
            challenges: Challenges::default(),
            allowance: Allowance::default(),
            heard: now,
            since: now,
        }
    }

    /// Has what it hears of its contacts compared with how they are. Before it hears anything: what is shown of somebody who is not
    /// watched is not noted, and nobody would ever find it wrong.
    pub(crate) fn watch(&self, out: &mut Out) {
        out.changes.extend(self.watched().map(|who| Compared::Watched(who.clone())));
    }

    /// Begins to ask all contacts how they look, so that the answers are there when the client wants them.
    pub(crate) fn begin(&mut self, now: Instant, out: &mut Out) {
        self.ask_all(now, out);
        self.pick_up.want(now);
    }

    /// The contacts whose looks the client wants to know: those on the forward list, without the principal itself.
    pub(crate) fn watched(&self) -> impl Iterator<Item = &Passport> {
        let watched = self.roster.contacts.values().filter(|contact| contact.lists.contains(List::Forward));
        watched.map(|contact| &contact.passport).filter(|who| **who != self.passport)
    }

    fn ask_all(&mut self, now: Instant, out: &mut Out) {
        let mut asking = Asking::default();
        asking.enter(self.watched().cloned(), now);
        self.asking = asking;
        self.ask_some(now, out);
    }

    /// More was said than fitted into the mailbox: it is found out in other ways.
    pub(crate) fn missed(&mut self, missed: Missed, now: Instant, out: &mut Out) {
        if missed.looks {
            self.ask_all(now, out);
        }
        if missed.probes {
            self.announce(out);
        }
        if missed.edits {
            self.others.missed(now);
        }
        if missed.kept {
            self.pick_up.want(now);
        }
    }

    fn ask_some(&mut self, now: Instant, out: &mut Out) {
        let due = self.asking.due(now, out.backlogged);
        self.probe(due.into_iter(), out);
    }

    /// Takes a command. Returns the request of a verb that edits or reads the roster: it needs the store.
    ///
    /// # Errors
    /// [`ParseError`]: close the connection.
    pub(crate) fn command(
        &mut self,
        command: &Command,
        now: Instant,
        env: &dyn Surroundings,
        out: &mut Out,
    ) -> Result<Option<roster::Request>, ParseError> {
        self.heard = now;
        self.take(command, now, env, out).or_else(|error| {
            out.line(command.answer_to_empty(error).ok_or(error)?);
            Ok(None)
        })
    }

    fn take(
        &mut self,
        command: &Command,
        now: Instant,
        env: &dyn Surroundings,
        out: &mut Out,
    ) -> Result<Option<roster::Request>, ParseError> {
        gate(Service::Notification, Some(self.dialect), Phase::SignedIn, command)?;
        if let Some(request) = presence::Request::parse(command, self.dialect, env.limits())? {
            self.presence_request(request, now, env, out);
        } else if let Some(request) = roster::parse(command, self.dialect)? {
            let Some(too_often) = self.edits_too_often(&request, now, env) else { return Ok(Some(request)) };
            out.refuse_too_often(too_often, command.trid()?);
        } else if let Some(request) = invitation::Request::parse(command)? {
            self.invitation_request(request, now, env, out);
        } else if let Some(request) = miscellany::Request::parse(command)? {
            self.other_request(request, env.config(), out);
        } else {
            late_handshake(command, env.config(), out)?;
        }
        Ok(None)
    }

    fn presence_request(
        &mut self,
        request: presence::Request,
        now: Instant,
        env: &dyn Surroundings,
        out: &mut Out,
    ) {
        match request {
            presence::Request::Change(Change { trid, .. }) | presence::Request::PersonalMessage { trid, .. }
                if !self.allowance.take(|of| &mut of.status, env.rates().status(), now) =>
            {
                out.refuse_too_often(Limited::Status, trid);
            }
            presence::Request::Change(change) => {
                if self.change(change, out) {
                    self.have_come(now, env, out);
                }
            }
            presence::Request::PersonalMessage { trid, message } => {
                out.line(presence::personal_message_set(trid));
                self.set_personal_message(message, out);
            }
            presence::Request::ChallengeAnswer { trid, product, answer } => {
                // The gate lets QRY through only where there are challenges.
                if let Some(kind) = self.dialect.challenge {
                    self.challenges.answer(kind, (trid, &product, &answer), env.config(), out);
                }
            }
            presence::Request::Refused(code, trid) => out.refuse(code, trid),
        }
    }

    /// What follows the first `CHG`.
    fn have_come(&mut self, now: Instant, env: &dyn Surroundings, out: &mut Out) {
        if env.config().mail_notification {
            out.line(hotmail::no_mail(self.dialect));
        }
        if self.dialect.challenge.is_some() {
            self.challenges.begin(now, env, out);
        }
    }

    /// What changes too rapidly, if something does. To ask for lists is no edit: it waits when it comes too fast.
    fn edits_too_often(&self, request: &roster::Request, now: Instant, env: &dyn Surroundings) -> Option<Limited> {
        let (may, rates) = (&self.allowance, env.rates());
        let (kind, may) = match request.renames(&self.passport) {
            Some(Renamed::Owner) => (Limited::Name, may.take(|of| &mut of.name, rates.name(), now)),
            Some(Renamed::Contact) => {
                (Limited::ContactName, may.take(|of| &mut of.contact_name, rates.contact_name(), now))
            }
            None if request.asks_for_lists() => return None,
            None => (Limited::List, may.take(|of| &mut of.list, rates.list(), now)),
        };
        (!may).then_some(kind)
    }

    fn invitation_request(
        &mut self,
        request: invitation::Request,
        now: Instant,
        env: &dyn Surroundings,
        out: &mut Out,
    ) {
        match request {
            invitation::Request::Switchboard { trid } if !self.may_be_rung() => {
                out.refuse(ErrorCode::NotWhileHidden, trid);
            }
            invitation::Request::Switchboard { trid }
                if !self.allowance.take(|of| &mut of.chat, env.rates().chat(), now) =>
            {
                out.refuse_too_often(Limited::Chat, trid);
            }
            invitation::Request::Switchboard { trid } => self.open_switchboard(trid, env, out),
            invitation::Request::Invitations { trid, on } => {
                self.takes_invitations = on;
                out.line(invitation::invitations(trid, on));
            }
        }
    }

    fn other_request(&self, request: miscellany::Request, config: &NotificationConfig, out: &mut Out) {
        match request {
            miscellany::Request::Ping => out.line(miscellany::pong(self.dialect, config.ping_secs)),
            miscellany::Request::Out => out.close(Closing::Out),
            miscellany::Request::Url(trid) => out.line(miscellany::url(self.dialect, trid)),
            miscellany::Request::Policy(trid, name) => out.line(miscellany::policy(trid, &name)),
            miscellany::Request::Recommend(trid, verb) => out.line(miscellany::recommended(trid, verb)),
            miscellany::Request::Refused(code, trid) => out.refuse(code, trid),
            miscellany::Request::RefusedForGood(code, trid) => {
                out.refuse(code, trid);
                out.close(Closing::Final);
            }
        }
    }

    /// Takes what happened to others. [`Notice::Invite`] is the driver's: it needs an answer.
    pub(crate) fn notice(&mut self, notice: Notice, now: Instant, config: &NotificationConfig, out: &mut Out) {
        match notice {
            Notice::Presence { from, stamp, presence, properties } => {
                self.hear(&from, stamp, (presence, properties), false, out);
            }
            Notice::ProbeAnswer { from, stamp, presence, properties } => {
                self.hear(&from, stamp, (presence, properties), true, out);
            }
            Notice::Probe { watchers, node, generation } => {
                let quiet = now < self.since + Closing::longest_hold(config);
                self.answer_probe(watchers, (node, generation), quiet, out);
            }
            Notice::Absent { of, shown } => self.contacts.absent(&of, shown, out),
            Notice::Property { of, stamp, .. } if !self.contacts.hear_property(&of, &stamp) => {
                tracing::debug!(%of, ?stamp, "an old word of a property");
            }
            Notice::Property { of, stamp, repeated, property, value } => {
                self.hear_property(&of, property, &value, out);
                let known = self.roster.contacts.get(&of).map(|contact| digest(&contact.properties));
                self.contacts.follow(&of, &stamp, repeated, known, out);
            }
            // At once: that moment has passed.
            Notice::Outstanding { .. } => self.pick_up.want(self.heard),
            Notice::Added { by, name } => self.turned(&by, Some(&name), now),
            Notice::Removed { by } => self.turned(&by, None, now),
            Notice::Delivered { epoch, messages } => self.were_delivered(epoch, &messages),
            Notice::Invite(_) => {}
            // The driver's as well, and the switchboards'.
            Notice::PickedUp { .. } | Notice::PickUp { .. } | Notice::Holds => {}
            Notice::Asked { .. } | Notice::RingOver { .. } => {}
        }
    }

    /// A switchboard asks, at which a client is that a session of that sign has let in. `last_sent`: how long ago the client has sent
    /// something, if that is known. When it was handled would say too much: it may have waited while the store was asked.
    pub(crate) fn asked(
        &mut self,
        session: u32,
        question: Question,
        last_sent: Option<Duration>,
        now: Instant,
        env: &dyn Surroundings,
        out: &mut Out,
    ) -> Outcome {
        let is_meant = session == self.here.epoch.sign();
        match question {
            // Of another client it knows nothing.
            Question::LastHeard if !is_meant => Outcome::Refused,
            Question::LastHeard => {
                let silence = now.saturating_duration_since(self.heard);
                if silence >= Challenges::LATELY {
                    // It is in a conversation and says nothing there: its answer shows next time that it lives.
                    self.challenges.wake(now, env, out);
                }
                let Some(ago) = last_sent else { return Outcome::Refused };
                Outcome::Heard { ms_ago: ago.as_millis().try_into().unwrap_or(u32::MAX) }
            }
            Question::Brought if is_meant && self.pick_up.is_under_way(now) => Outcome::Refused,
            Question::Brought => Outcome::Accepted,
            Question::Rung(conversation) if self.rings.has(conversation, now) => Outcome::Accepted,
            Question::Rung(_) => Outcome::Refused,
        }
    }

    /// Operators have something to say.
    pub(crate) fn bulletin(&self, bulletin: &Bulletin, config: &NotificationConfig, out: &mut Out) {
        let (passport, member_id, info_url) = (&self.passport, self.member_id(), config.info_page());
        out.line(hotmail::bulletin(self.dialect, &Addressee { passport, member_id, info_url }, bulletin));
    }

    /// A number for the account, as clients see it: any that stays the same will do.
    pub(super) fn member_id(&self) -> u64 {
        self.claim.0.as_u64_pair().0
    }

    /// Word of how a contact looks, with the digest of its properties: if these are others than are known here, word of
    /// them was lost.
    fn hear(
        &mut self,
        from: &Passport,
        stamp: Stamp,
        (presence, properties): (Option<Presence>, u32),
        answer: bool,
        out: &mut Out,
    ) {
        let known = self.roster.contacts.get(from).filter(|contact| contact.lists.contains(List::Forward));
        let Some(known) = known else { return };
        let are_known = digest(&known.properties) == properties;
        let lacking = Some(properties).filter(|_| presence.is_some() && !are_known);
        if !self.contacts.hear(from, stamp, presence, (lacking, answer), out) {
            return;
        }
        if are_known {
            self.contacts.properties_are_known(from);
        }
        if lacking.is_some() {
            self.probe_properties(from, out);
        }
    }

    /// When something that the client has sent was last handled.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    /// How long the client may be silent: dialects whose `QNG` tells them when to ping, which then have no excuse.
    /// The others are judged by TCP keep-alive.
    fn longest_silence(&self, config: &NotificationConfig) -> Option<Duration> {
        let secs = 2 * config.ping_secs.max(6) + config.grace_secs;
        self.dialect.ping_interval.then(|| Duration::from_secs(secs))
    }

    /// When [`Session::tick`] has something to do, if ever.
    pub(crate) fn deadline(&self, config: &NotificationConfig) -> Option<Instant> {
        let silence = self.longest_silence(config).map(|silence| self.heard + silence);
        let challenges = self.challenges.deadline();
        let (asking, doubt, copies) = (self.asking.deadline(), self.doubt_deadline(), self.copies_deadline());
        let pick_up = self.pick_up.deadline().filter(|_| self.may_be_rung());
        let deadlines = [challenges, asking, doubt, copies, pick_up, self.others.deadline(), silence];
        deadlines.into_iter().flatten().min()
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant, env: &dyn Surroundings, out: &mut Out) {
        if self.longest_silence(env.config()).is_some_and(|silence| self.heard + silence <= now) {
            return out.close(Closing::Silent);
        }
        self.challenges.tick(now, env, out);
        self.ask_some(now, out);
        out.pick_up |= self.may_be_rung() && self.pick_up.begins(now);
    }
}

/// `CVR` may come late in old dialects (§6.2); `USR` again is 207.
fn late_handshake(command: &Command, config: &NotificationConfig, out: &mut Out) -> Result<(), ParseError> {
    match Handshake::parse(command)? {
        Some(Handshake::ClientVersion { trid, version }) => {
            let reply =
                handshake::client_version(trid, version.as_ref(), config.download_page(), config.info_page());
            out.line(reply);
            Ok(())
        }
        Some(Handshake::Identify { trid, .. } | Handshake::Prove { trid, .. }) => {
            out.refuse(ErrorCode::AlreadySignedIn, trid);
            Ok(())
        }
        _ => Err(ParseError::UnknownVerb),
    }
}
