//! How the principal itself looks, and who is told (protocol reference §6.8, §7).
//!
//! There are no subscriptions: who may see the principal follows from its roster, and they are told by routing.

use std::sync::Arc;

use common::cluster::{Mark, Notice, Stamp, Watcher};
use common::model::{
    Generation, List, NodeId, Passport, PersonalMessage, Presence, Property, Status, StrangerPolicy, digest,
};
use common::msnp::presence::Change;

use super::Session;
use super::copies::Change as Copied;
use super::out::{Direct, Out};
use crate::repair::Change as Compared;
use crate::roster::Effect;

/// How the principal looks.
pub(crate) struct Own {
    /// Nothing before the first `CHG`: signed in, and invisible.
    status: Option<Status>,
    name: Arc<str>,
    capabilities: u64,
    object: Option<Arc<str>>,
    personal_message: Option<PersonalMessage>,
    /// How often something was said of it.
    count: u64,
    /// How often somebody could see something different since: what nodes compare to find notices that were lost.
    version: u32,
}

impl Own {
    pub(super) fn new(name: &str) -> Self {
        Self {
            status: None,
            name: name.into(),
            capabilities: 0,
            object: None,
            personal_message: None,
            count: 0,
            version: 0,
        }
    }

    /// Whether anybody may see the principal.
    pub(crate) fn is_visible(&self) -> bool {
        self.status.is_some_and(|status| status != Status::Hidden)
    }

    pub(super) fn has_changed_status(&self) -> bool {
        self.status.is_some()
    }

    pub(super) fn capabilities(&self) -> u64 {
        self.capabilities
    }

    /// What those may see who may see anything.
    fn presence(&self) -> Option<Presence> {
        let status = self.status.filter(|status| *status != Status::Hidden)?;
        Some(Presence {
            status,
            name: Arc::clone(&self.name),
            capabilities: self.capabilities,
            object: self.object.clone(),
            personal_message: self.personal_message.clone(),
        })
    }
}

impl Session {
    /// `CHG`. The first one also shows the contacts, and announces the principal whatever it says: another session
    /// of it, ended a moment ago, may still be seen.
    pub(super) fn change(&mut self, change: Change, out: &mut Out) -> bool {
        let first = !self.own.has_changed_status();
        out.line(change.echo);
        self.alter(first, out, |own| {
            own.status = Some(change.status);
            own.capabilities = change.capabilities;
            own.object = change.object.map(Into::into);
        });
        if first {
            self.contacts.show(change.trid, out);
        }
        first
    }

    /// `UUX`
    pub(super) fn set_personal_message(&mut self, message: Option<String>, out: &mut Out) {
        self.alter(false, out, |own| own.personal_message = message.map(Into::into));
    }

    /// Changes how the principal looks, and tells those who can see the difference.
    fn alter(&mut self, always: bool, out: &mut Out, change: impl FnOnce(&mut Own)) {
        let before = self.own.presence();
        change(&mut self.own);
        let differs = before != self.own.presence();
        if differs {
            self.differ(out);
        }
        if always || differs {
            self.announce(out);
        }
    }

    /// Somebody may see something different from now on: whoever misses the word of it is found by the version.
    fn differ(&mut self, out: &mut Out) {
        self.own.version = self.own.version.wrapping_add(1);
        let mark = self.own.is_visible().then(|| Mark::of(&self.last_stamp()));
        out.changes.push(Compared::Visible(mark));
    }

    /// Tells everyone who may see the principal how it looks, unless nothing was ever said of it.
    pub(crate) fn announce(&mut self, out: &mut Out) {
        if self.own.has_changed_status() {
            let presence = self.own.presence();
            self.tell_watchers(presence.as_ref(), out);
        }
    }

    /// Has the principal gone, so that nobody sees it any more? Then these are to be told.
    pub(crate) fn leave(&mut self) -> Vec<(Passport, Notice)> {
        let mut out = Out::default();
        if self.own.is_visible() {
            self.own.version = self.own.version.wrapping_add(1);
            self.tell_watchers(None, &mut out);
        }
        out.posts
    }

    fn tell_watchers(&mut self, presence: Option<&Presence>, out: &mut Out) {
        let (stamp, properties) = (self.stamp(), self.properties_digest());
        let from = &self.passport;
        let notice = || Notice::Presence {
            from: from.clone(),
            stamp: stamp.clone(),
            presence: presence.cloned(),
            properties,
        };
        out.posts.extend(self.watchers().map(|watcher| (watcher.clone(), notice())));
    }

    /// Those who have the principal on their forward list and may see it.
    fn watchers(&self) -> impl Iterator<Item = &Passport> {
        self.roster.watchers(&self.passport)
    }

    /// The age of what is said next.
    fn stamp(&mut self) -> Stamp {
        self.own.count += 1;
        self.last_stamp()
    }

    fn last_stamp(&self) -> Stamp {
        let Own { count, version, .. } = self.own;
        Stamp { epoch: self.here.epoch, node: self.here.node.clone(), count, version }
    }

    fn properties_digest(&self) -> u32 {
        digest(&self.roster.settings.properties)
    }

    /// Tells one principal how this one looks, or that it can't be seen.
    fn tell(&mut self, whom: &Passport, presence: Option<Presence>, out: &mut Out) {
        if self.roster.is_on(List::Reverse, whom) {
            let (stamp, properties) = (self.stamp(), self.properties_digest());
            let notice = Notice::Presence { from: self.passport.clone(), stamp, presence, properties };
            out.posts.push((whom.clone(), notice));
        }
    }

    /// Answers a probe: each who asks hears how the principal looks, or that it may see nothing of it. Whoever asks has the
    /// principal on its forward list: if the principal does not know, word of it may have been lost.
    ///
    /// `quiet`: an earlier session of the principal may still be seen, for which no goodbye was said. Before its first `CHG`, which
    /// tells everybody, this one then says nothing: "not to be seen" would be seen as going and coming.
    pub(super) fn answer_probe(
        &mut self,
        watchers: Vec<Watcher>,
        (node, generation): (NodeId, Generation),
        quiet: bool,
        out: &mut Out,
    ) {
        let (stamp, properties) = (self.stamp(), self.properties_digest());
        let mut letters = Vec::with_capacity(watchers.len());
        for Watcher { who, epoch, properties: wants_properties, .. } in watchers {
            if wants_properties {
                if self.roster.allows(&who) {
                    self.tell_all_properties(&who, out);
                }
                continue;
            }
            if !self.roster.is_on(List::Reverse, &who) {
                // The store says whether that is so: the probe may be older than a removal.
                self.others.missed(self.heard());
            }
            if quiet && !self.own.has_changed_status() {
                continue;
            }
            let presence = self.own.presence().filter(|_| self.roster.allows(&who));
            let (from, stamp) = (self.passport.clone(), stamp.clone());
            letters.push((who, epoch, Notice::ProbeAnswer { from, stamp, presence, properties }));
        }
        if !letters.is_empty() {
            out.direct.push(Direct { node, generation, letters });
        }
    }

    /// Asks contacts how they look.
    pub(super) fn probe(&self, contacts: impl Iterator<Item = Passport>, out: &mut Out) {
        let others = contacts.filter(|contact| *contact != self.passport);
        out.posts.extend(others.map(|contact| {
            let probe = self.probe_of(false);
            (contact, probe)
        }));
    }

    /// Asks a contact for its properties.
    pub(super) fn probe_properties(&self, contact: &Passport, out: &mut Out) {
        out.posts.push((contact.clone(), self.probe_of(true)));
    }

    /// Whether the contact is gone is no question here: it may have lost its connection, and be back in a moment. Its node says so,
    /// or what nodes compare.
    fn probe_of(&self, properties: bool) -> Notice {
        let (who, epoch) = (self.passport.clone(), self.here.epoch);
        let watchers = vec![Watcher { who, epoch, shown: None, properties }];
        Notice::Probe { watchers, node: self.here.node.clone(), generation: self.here.generation }
    }

    /// What an edit of the roster, already done, means for others and for what the client sees.
    pub(crate) fn effect(&mut self, effect: Effect, out: &mut Out) {
        match effect {
            Effect::Notify(whom, notice) => out.posts.push((whom, notice)),
            Effect::ShowTo(whom) => {
                self.differ(out);
                self.show_or_hide(&whom, out);
                self.tell_all_properties(&whom, out);
            }
            Effect::HideFrom(whom) => {
                if self.own.is_visible() {
                    self.differ(out);
                    self.tell(&whom, None, out);
                }
            }
            Effect::Watch { who, trid } => {
                if who != self.passport {
                    out.changes.push(Compared::Watched(who.clone()));
                }
                self.contacts.ask(who.clone(), trid);
                self.probe(std::iter::once(who), out);
            }
            Effect::Unwatch(who) => {
                self.contacts.forget(&who);
                self.others.forget(&who);
                out.changes.push(Compared::Unwatched(who));
            }
            Effect::PrivacyChanged => self.privacy_changed(out),
            Effect::NameChanged => {
                let name: Arc<str> = self.roster.settings.friendly_name.as_str().into();
                self.alter(false, out, |own| own.name = name);
                self.copy(Copied::Name);
            }
            Effect::PropertyChanged(property, value) => self.tell_property(property, &value, out),
        }
    }

    fn show_or_hide(&mut self, whom: &Passport, out: &mut Out) {
        if self.own.is_visible() {
            let presence = self.own.presence().filter(|_| self.roster.allows(whom));
            self.tell(whom, presence, out);
        }
    }

    /// Somebody may see the principal who was not told of its properties for a while.
    fn tell_all_properties(&self, whom: &Passport, out: &mut Out) {
        if !self.own.is_visible() || !self.roster.is_on(List::Reverse, whom) {
            return;
        }
        let own = &self.roster.settings.properties;
        let stamp = self.last_stamp();
        out.posts.extend(Property::kept_by_contacts().map(|property| {
            let value = own.get(&property).map(String::as_str).unwrap_or_default().into();
            let (of, stamp) = (self.passport.clone(), stamp.clone());
            (whom.clone(), Notice::Property { of, stamp, repeated: true, property, value })
        }));
    }

    /// `BLP` has changed: it decides for those on neither the allow nor the block list.
    fn privacy_changed(&mut self, out: &mut Out) {
        let strangers = self.roster.contacts.values().filter(|contact| {
            let lists = contact.lists;
            lists.contains(List::Reverse) && !lists.contains(List::Allow) && !lists.contains(List::Block)
        });
        let strangers: Vec<_> = strangers.map(|contact| contact.passport.clone()).collect();
        let hide = self.roster.settings.strangers == StrangerPolicy::Block;
        if !hide && !strangers.is_empty() {
            self.copy(Copied::Everything);
        }
        tracing::debug!(strangers = strangers.len(), hide, "privacy changed");
        self.differ(out);
        for stranger in &strangers {
            self.show_or_hide(stranger, out);
        }
    }

    fn tell_property(&mut self, property: Property, value: &str, out: &mut Out) {
        // Whoever looks offline says nothing; the contacts' lists have it all the same.
        if !self.own.is_visible() {
            return;
        }
        self.differ(out);
        let (value, stamp): (Arc<str>, _) = (value.into(), self.stamp());
        let notice = || Notice::Property {
            of: self.passport.clone(),
            stamp: stamp.clone(),
            repeated: false,
            property,
            value: Arc::clone(&value),
        };
        out.posts.extend(self.watchers().map(|watcher| (watcher.clone(), notice())));
    }
}
