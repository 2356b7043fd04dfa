//! Lists, groups, names, properties and privacy of one principal: what a request asks for, whether it may, what
//! is to be written, who must hear of it. Synchronous, without sockets, store, clock or randomness.
//!
//! A session goes through the same steps for every [`Request`]:
//! 1. [`parse`];
//! 2. [`Request::names_account`]: look that account up, as [`Target`];
//! 3. [`plan`]: a reply, edits and effects, or a refusal;
//! 4. write the edits to the store, then [`fold()`] them into memory, then write the reply, then carry out the
//!    effects. If the store fails nothing has happened.
//!
//! Lists may be long: for [`Request::asks_for_lists`], take [`list_lines`] instead of steps 2–4. If it is not known what
//! the store did, [`restamp`] helps to find out, and [`undo()`] to make it certain.
//!
//! What others do to the reverse list arrives as a notice: call [`fold_reverse`], then treat the plan of [`reverse_changed`] as in
//! step 4. The cells of the reverse entry were written by the other side.
//! So is the copy that the owner keeps of a contact's properties, once it is a contact: [`fold_property`] keeps memory
//! up to it.

mod fold;
mod groups;
mod lists;
mod phones;
mod privacy;
mod properties;
mod reverse;
mod texts;
mod undo;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use common::cluster::Notice;
use common::model::{ClaimId, Limits, List, Passport, Properties, Property, Roster};
use common::msnp::groups::GroupRequest;
use common::msnp::lists::{ListRequest, Who};
use common::msnp::privacy::PrivacyRequest;
use common::msnp::properties::{PropertyRequest, Subject};
use common::msnp::sync::{self, SyncRequest};
use common::msnp::{Command, Dialect, ErrorCode, ParseError, TrId};
use common::store::Edit;
use uuid::Uuid;

pub(crate) use fold::{fold, fold_others_part, fold_property, fold_reverse};
pub(crate) use properties::copies_at;
pub(crate) use reverse::{Turn, fold_in, others_part, reverse_changed, reverse_noted};
pub(crate) use undo::undo;

/// A request about the roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// `SYN`, `LST`, `LSG`
    Sync(SyncRequest),
    /// `ADD`, `ADC`, `REM`
    Lists(ListRequest),
    /// `ADG`, `REG`, `RMG`
    Groups(GroupRequest),
    /// `PRP`, `REA`, `SBP`
    Properties(PropertyRequest),
    /// `GTC`, `BLP`
    Privacy(PrivacyRequest),
}

/// Reads a command; nothing if its verb is not about the roster.
///
/// # Errors
/// [`ParseError`]: the connection is to be closed.
pub(crate) fn parse(command: &Command, dialect: &Dialect) -> Result<Option<Request>, ParseError> {
    let request = match &command.verb().0 {
        b"SYN" | b"LST" | b"LSG" => SyncRequest::parse(command, dialect)?.map(Request::Sync),
        b"ADD" | b"ADC" | b"REM" => ListRequest::parse(command, dialect)?.map(Request::Lists),
        b"ADG" | b"REG" | b"RMG" => GroupRequest::parse(command)?.map(Request::Groups),
        b"PRP" | b"REA" | b"SBP" => PropertyRequest::parse(command, dialect)?.map(Request::Properties),
        b"GTC" | b"BLP" => PrivacyRequest::parse(command)?.map(Request::Privacy),
        _ => None,
    };
    Ok(request)
}

impl Request {
    /// The account that the request puts on a list of the owner. Whether it exists must be known to [`plan`].
    pub(crate) fn names_account(&self) -> Option<&Passport> {
        match self {
            Self::Lists(ListRequest::Add(add))
                if matches!(add.list, List::Forward | List::Allow | List::Block) =>
            {
                match &add.who {
                    Who::Handle { passport, .. } => passport.as_ref().ok(),
                    Who::Phone { .. } | Who::Contact { .. } => None,
                }
            }
            _ => None,
        }
    }

    /// Whether it puts somebody on the forward list who is not there: then [`plan`] needs to know how full the reverse
    /// list of that account is.
    pub(crate) fn befriends(&self, roster: &Roster) -> bool {
        let forward = matches!(self, Self::Lists(ListRequest::Add(add)) if add.list == List::Forward);
        forward && self.names_account().is_some_and(|who| !roster.is_on(List::Forward, who))
    }

    /// Whose name it changes, if it changes one. `owner` is who asks.
    pub(crate) fn renames(&self, owner: &Passport) -> Option<Renamed> {
        let Self::Properties(request) = self else { return None };
        match request {
            PropertyRequest::Own { subject: Some(Subject::Name), .. } => Some(Renamed::Owner),
            PropertyRequest::OfContact { subject: Some(Subject::Name), .. } => Some(Renamed::Contact),
            PropertyRequest::Rename { passport: Ok(passport), .. } if passport == owner => Some(Renamed::Owner),
            PropertyRequest::Rename { .. } => Some(Renamed::Contact),
            PropertyRequest::Own { .. } | PropertyRequest::OfContact { .. } => None,
        }
    }

    /// The contact whose name it changes, if it changes one.
    pub(crate) fn renamed_contact<'a>(&'a self, roster: &'a Roster) -> Option<&'a Passport> {
        let Self::Properties(request) = self else { return None };
        match request {
            PropertyRequest::Rename { passport, .. } => passport.as_ref().ok(),
            PropertyRequest::OfContact { id, subject: Some(Subject::Name), .. } => {
                roster.contact_by_id((*id)?).map(|contact| &contact.passport)
            }
            PropertyRequest::Own { .. } | PropertyRequest::OfContact { .. } => None,
        }
    }

    /// Whether it is `SYN`.
    pub(crate) fn is_sync(&self) -> bool {
        matches!(self, Self::Sync(SyncRequest::Sync { .. }))
    }

    /// Whether it asks for lists, all or one, and is answered by [`list_lines`].
    pub(crate) fn asks_for_lists(&self) -> bool {
        matches!(self, Self::Sync(_))
    }
}

/// Whose name a request changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renamed {
    /// That of the principal, as all see it.
    Owner,
    /// That of a contact, as the principal sees it.
    Contact,
}

/// Whose request it is, with all that the rules depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner<'a> {
    /// The principal that is signed in.
    pub(crate) passport: &'a Passport,
    /// The claim of its account, from which the GUIDs of its contacts are made.
    pub(crate) claim: ClaimId,
    /// What its client speaks.
    pub(crate) dialect: &'static Dialect,
    /// How much it may keep.
    pub(crate) limits: &'a Limits,
    /// A group that holds contacts can't be removed (226); otherwise they are unlinked and stay.
    pub(crate) keep_populated_groups: bool,
    /// What it has.
    pub(crate) roster: &'a Roster,
    /// What the contact that a request renames calls itself now, if it is there to be seen.
    pub(crate) present_name: Option<&'a str>,
    /// Others have changed something in the roster that its client was not told of, and is to see at its next SYN.
    pub(crate) untold: bool,
    /// The time, in milliseconds since 1970.
    pub(crate) now_ms: u64,
    /// A fresh random id, for a group.
    pub(crate) new_uuid: Uuid,
}

/// The account that a request names, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// What it has set. Whoever puts it on the forward list takes a copy of what contacts keep.
    pub(crate) properties: Properties,
    /// What it calls itself, if the owner may see it. Only looked at if [`Request::befriends`].
    pub(crate) name: Option<String>,
    /// How many have it on their forward list. Only looked at if [`Request::befriends`].
    pub(crate) reverse_count: usize,
}

/// What a request comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Plan {
    /// What to write to the client, once the edits are durable. Whole lines; may be empty.
    pub(crate) reply: Bytes,
    /// What to write to the store: all or nothing. May be empty.
    pub(crate) edits: Vec<Edit>,
    /// What others must hear of, once the edits are durable.
    pub(crate) effects: Vec<Effect>,
}

/// What follows from an edit outside the owner's roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Route this to a principal.
    Notify(Passport, Notice),
    /// This principal may see the owner now, and could not before. It need not have the owner on its list.
    ShowTo(Passport),
    /// This principal could see the owner, and may not any more.
    HideFrom(Passport),
    /// A new contact: ask how it looks, and show it as `ILN` with this transaction id.
    Watch {
        /// Who.
        who: Passport,
        /// That of the request.
        trid: TrId,
    },
    /// A contact is gone: forget how it looks.
    Unwatch(Passport),
    /// `BLP`: everybody on neither list is shown to or hidden from.
    PrivacyChanged,
    /// The owner's name has changed: tell those who may see it.
    NameChanged,
    /// A property of the owner has changed: tell those who may see it. Decoded; empty when cleared.
    PropertyChanged(Property, String),
}

/// Why a request is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The error line to write.
    Code(ErrorCode, TrId),
    /// The connection is to be closed without a word.
    Close(ParseError),
}

/// Works out what a request comes to. `target` is the account of [`Request::names_account`]; nothing if it does not
/// exist. Changes nothing.
///
/// # Errors
/// [`Refused`]
pub(crate) fn plan(owner: &Owner<'_>, request: &Request, target: Option<&Target>) -> Result<Plan, Refused> {
    match request {
        // Changes nothing, and is answered by `list_lines`.
        Request::Sync(_) => Ok(Plan::default()),
        Request::Lists(ListRequest::Add(add)) => lists::add(owner, add, target),
        Request::Lists(ListRequest::Remove(remove)) => lists::remove(owner, remove),
        Request::Lists(ListRequest::Dropped { trid }) => Err(Refused::Code(ErrorCode::CommandDisabled, *trid)),
        Request::Groups(request) => groups::plan(owner, request),
        Request::Properties(request) => properties::plan(owner, request),
        Request::Privacy(request) => privacy::plan(owner, request),
    }
}

/// The answer to `SYN`, `LST` or `LSG`, made as it is taken from the roster as it is now: each item is one or more whole
/// lines. For other requests there is none.
pub(crate) fn list_lines(
    roster: Arc<Roster>,
    owner: &Passport,
    dialect: &'static Dialect,
    request: &Request,
) -> Box<dyn Iterator<Item = Bytes> + Send> {
    match request {
        Request::Sync(request) => Box::new(sync::answer(roster, owner, dialect, request)),
        _ => Box::new(std::iter::empty()),
    }
}

/// A stamp that is later than that of any edit planned before, for a session that does not know whether its last one
/// has happened.
pub(crate) fn restamp(owner: &Owner<'_>) -> Edit {
    let settings = &owner.roster.settings;
    Edit::Stamp {
        version: owner.next_version().saturating_add(1),
        lists_changed: owner.later(settings.lists_changed).saturating_add(1),
        settings_changed: owner.later(settings.settings_changed).saturating_add(1),
        reverse_digest: settings.reverse_digest,
    }
}

/// What an edit touches, for the times that dialects from MSNP10 compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Touches {
    Lists,
    Settings,
}

impl Owner<'_> {
    /// The list version as it stands.
    fn version(&self) -> u64 {
        self.roster.settings.list_version
    }

    /// The list version once the edits of one request are made.
    fn next_version(&self) -> u64 {
        self.version().saturating_add(1)
    }

    /// The last of the edits of one request, which leave the roster as `after`. The times rise even if the clock does
    /// not, so that no client that remembers one is told that nothing has changed.
    fn stamp(&self, touches: Touches, after: &Roster) -> Edit {
        self.stamp_as(self.next_version(), touches, after)
    }

    /// As [`Owner::stamp`], with that version.
    fn stamp_as(&self, version: u64, touches: Touches, after: &Roster) -> Edit {
        let settings = &self.roster.settings;
        let (mut lists_changed, mut settings_changed) = (settings.lists_changed, settings.settings_changed);
        match touches {
            Touches::Lists => lists_changed = self.later(lists_changed),
            Touches::Settings => settings_changed = self.later(settings_changed),
        }
        let digest = reverse::digest(after);
        // One that no roster has, so that the next sign-in raises the version.
        let reverse_digest = if self.untold { !digest } else { digest };
        Edit::Stamp { version, lists_changed, settings_changed, reverse_digest }
    }

    /// Now, or just after `last` if the clock says otherwise.
    fn later(&self, last: u64) -> u64 {
        self.now_ms.max(last.saturating_add(1))
    }

    /// Whether copies are owed to contacts once the roster is as `after`: of another name, or of all that is said of the owner to
    /// those who may see it from now on. Whoever is let see it by name is given them with the edit.
    fn owes_copies(&self, after: &Roster) -> bool {
        let watchers = |roster: &Roster| roster.watchers(self.passport).count();
        let policies = [&self.roster.settings, &after.settings].map(|settings| settings.strangers);
        after.settings.friendly_name != self.roster.settings.friendly_name
            || policies[0] != policies[1] && watchers(after) > watchers(self.roster)
    }

    /// The plan of an accepted request. Without edits there is no stamp either.
    fn accept(&self, touches: Touches, reply: Bytes, mut edits: Vec<Edit>, effects: Vec<Effect>) -> Plan {
        if !edits.is_empty() {
            let mut after = self.roster.clone();
            fold(&mut after, self.claim, &edits);
            if self.owes_copies(&after) {
                edits.push(Edit::CopiesOwed(self.later(self.roster.settings.settings_changed)));
            }
            edits.push(self.stamp(touches, &after));
        }
        Plan { reply, edits, effects }
    }
}
